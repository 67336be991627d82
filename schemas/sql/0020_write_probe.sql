-- Written while no batch is committed, so that readiness does not rest on reads: see `store::probe`. One row.
CREATE TABLE write_probe (
    place      int2        PRIMARY KEY CHECK (place = 1),
    written_at timestamptz NOT NULL,
    filler     bytea       NOT NULL
);
-- Stored as it is: what is written must need its room.
ALTER TABLE write_probe ALTER COLUMN filler SET STORAGE EXTERNAL;
