-- What inspection stations report about vehicles, and what a recalculation changed.

-- A journal: a row is never changed. A report that comes again with other content is a correction, the next revision of
-- the same report; the highest one holds, the others stay readable.
CREATE TABLE inspection (
    -- The inspection station, which is no roadside station.
    station       text        NOT NULL,
    report_no     text        NOT NULL,
    revision      int4        NOT NULL CHECK (revision > 0),
    plate_key     int8        NOT NULL,
    -- The last moment of the day where the report names a day only.
    inspected_at  timestamptz NOT NULL,
    whole_day     bool        NOT NULL,
    kind          text        NOT NULL,
    passed        bool        NOT NULL,
    content_hash  int8        NOT NULL,
    imported_by   text        NOT NULL,
    imported_at   timestamptz NOT NULL DEFAULT now(),
    file_sha256   bytea       NOT NULL CHECK (octet_length(file_sha256) = 32),
    PRIMARY KEY (station, report_no, revision)
);
CREATE INDEX inspection_history ON inspection (plate_key, inspected_at);

-- One run of `rejudge --apply`. A run that was interrupted goes on behind `cursor` when the same is asked for again.
CREATE TABLE rejudge_run (
    run             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_at         timestamptz NOT NULL,
    to_at           timestamptz NOT NULL,
    station         text,
    limits_version  text        NOT NULL,
    -- Hash of the table of limits and settings, and the versions of register and lists that the run goes by.
    basis           text        NOT NULL,
    -- Highest plate key that is done.
    cursor          bigint      NOT NULL DEFAULT -1,
    readings        bigint      NOT NULL DEFAULT 0,
    started_by      text        NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);

-- The verdict a reading had before a run and the one it has since. Plain and append-only: no retention policy touches it.
CREATE TABLE rejudgement (
    run              bigint      NOT NULL REFERENCES rejudge_run (run),
    station          int4        NOT NULL,
    record_id        text        NOT NULL,
    passed_at        timestamptz NOT NULL,
    verdict_before   int2        NOT NULL,
    verdict_after    int2        NOT NULL,
    outcomes_before  int2        NOT NULL,
    outcomes_after   int2        NOT NULL,
    PRIMARY KEY (run, station, record_id)
);

-- A finding that a run took back stays back: the evaluator must not state it again because no other passage stands for
-- its reading. NULL where no run did, or where a later one made it again.
ALTER TABLE finding ADD COLUMN rejudged_by bigint REFERENCES rejudge_run (run);
