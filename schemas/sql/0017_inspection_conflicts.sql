-- Reports of inspection stations that contradict each other: kept beside each other until a person decides.

-- A number that a station gave twice (numbering restarted with the year) names two reports: two editions, each with its
-- own revisions. What is there already is the first edition.
ALTER TABLE inspection ADD COLUMN edition int4 NOT NULL DEFAULT 1 CHECK (edition > 0);
-- A decision moved the report to another station: this revision says that it holds here no more.
ALTER TABLE inspection ADD COLUMN withdrawn bool NOT NULL DEFAULT false;
ALTER TABLE inspection DROP CONSTRAINT inspection_pkey;
ALTER TABLE inspection ADD PRIMARY KEY (station, report_no, edition, revision);

-- A report that came again for another vehicle, of another kind, in another year or under another station. A row is never
-- changed: what was decided about it stands in `inspection_decision`.
CREATE TABLE inspection_conflict (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station        text        NOT NULL,
    report_no      text        NOT NULL,
    plate_key      int8        NOT NULL,
    -- The last moment of the day where the report names a day only.
    inspected_at   timestamptz NOT NULL,
    whole_day      bool        NOT NULL,
    kind           text        NOT NULL,
    passed         bool        NOT NULL,
    content_hash   int8        NOT NULL,
    -- The report that it contradicts, which has the same number.
    first_station  text        NOT NULL,
    edition        int4        NOT NULL,
    differs        text[]      NOT NULL,
    imported_by    text        NOT NULL,
    imported_at    timestamptz NOT NULL DEFAULT now(),
    file_sha256    bytea       NOT NULL CHECK (octet_length(file_sha256) = 32),
    row_number     int8        NOT NULL,
    -- The same file again makes no second conflict.
    UNIQUE (station, report_no, content_hash)
);
-- By both vehicles, because neither is convicted while it is open.
CREATE INDEX inspection_conflict_second ON inspection_conflict (plate_key);
CREATE INDEX inspection_conflict_first ON inspection_conflict (first_station, report_no, edition);
CREATE INDEX inspection_conflict_file ON inspection_conflict (file_sha256);

-- One decision of a person about one conflict.
CREATE TABLE inspection_decision (
    conflict       bigint      PRIMARY KEY REFERENCES inspection_conflict (id),
    decision       text        NOT NULL CHECK (decision IN ('keep_first', 'take_second', 'keep_both')),
    -- Which revision of the first report held at that moment.
    first_revision int4        NOT NULL,
    decided_by     text        NOT NULL CHECK (decided_by <> ''),
    decided_at     timestamptz NOT NULL DEFAULT now(),
    why            text        NOT NULL CHECK (why <> '')
);
