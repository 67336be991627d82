-- One plate at two places: what was seen where, on its way to the sweep that looks for a second place.

-- Where a unit that moves stood when it saw the vehicle; stations with a place of their own leave both empty.
ALTER TABLE passage_key ADD COLUMN lon float8, ADD COLUMN lat float8;

-- One row for each committed batch with readings of read plates, left by the storing transaction and deleted by the sweep;
-- src/evaluate/cloned.rs proves that it misses none. Three arrays of one length.
CREATE TABLE sighting_sweep (
    id          bigint        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plate_key   int8[]        NOT NULL,
    passed_at   timestamptz[] NOT NULL,
    station     int4[]        NOT NULL,
    created_at  timestamptz   NOT NULL DEFAULT now()
) WITH (
    -- Every row dies within seconds.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000
);
-- Compressing what lives for a second takes longer than writing it.
ALTER TABLE sighting_sweep
    ALTER COLUMN plate_key SET STORAGE EXTERNAL,
    ALTER COLUMN passed_at SET STORAGE EXTERNAL,
    ALTER COLUMN station SET STORAGE EXTERNAL;

COMMENT ON COLUMN evaluation_task.kind IS
    '1 vehicle (subject = plate key), 2 NOx of a terminal (subject = device), 4 sightings of a plate (subject = plate key)';
COMMENT ON COLUMN passage.flags IS
    'bit 0 station unknown, 1 plate unread, 2 unknown fields in the payload, 3 not live, 4 of another place, '
    '5 plate perhaps misread from a listed one, 6 fuel unknown and diesel suspected';
