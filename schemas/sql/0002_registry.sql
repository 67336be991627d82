-- Register, lists, stations, devices and zones: what an operator imports, every version of it.
--
-- A version is not a copy. Each row says from which version of its dataset on it holds (`from_version`) and with which
-- version it stopped (`to_version`, NULL while it is in force), so an import writes only what differs, and any version v
-- can be read back as `from_version <= v AND (to_version IS NULL OR to_version > v)`. `dataset_versions` points at the
-- version in force; an import changes rows and pointer in one transaction and ends it with NOTIFY dieselwatch_knowledge.

CREATE TABLE imports (
    import_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- vehicles, list:NAME, zones, stations, devices
    dataset       text        NOT NULL,
    version       integer     NOT NULL CHECK (version > 0),
    state         text        NOT NULL CHECK (state IN ('in_force', 'superseded')),
    imported_by   text        NOT NULL,
    imported_at   timestamptz NOT NULL DEFAULT now(),
    file_name     text        NOT NULL,
    file_bytes    bigint      NOT NULL,
    file_sha256   bytea       NOT NULL CHECK (octet_length(file_sha256) = 32),
    file_encoding text        NOT NULL,
    rows_read     bigint      NOT NULL,
    rows_added    bigint      NOT NULL,
    rows_changed  bigint      NOT NULL,
    rows_removed  bigint      NOT NULL,
    rows_kept     bigint      NOT NULL,
    rows_refused  bigint      NOT NULL,
    UNIQUE (dataset, version)
);

-- The first refused rows of each import, as they were reported; the reason never repeats the row's content.
CREATE TABLE import_refusals (
    import_id  bigint NOT NULL REFERENCES imports ON DELETE CASCADE,
    row_number bigint NOT NULL,
    reason     text   NOT NULL
);
CREATE INDEX import_refusals_import ON import_refusals (import_id, row_number);

CREATE TABLE dataset_versions (
    dataset text    PRIMARY KEY,
    version integer NOT NULL CHECK (version >= 0),
    -- Rows in force, so that a loader can size its memory before it starts.
    entries bigint  NOT NULL DEFAULT 0
);

CREATE TABLE vehicles (
    plate_key           bigint   NOT NULL,
    plate               text     NOT NULL,
    plate_color         text     NOT NULL,
    vin                 text,
    -- GA/T 16.9 letters
    fuel                text,
    -- 0..6, 99 zero-emission, NULL not registered
    emission_stage      smallint CHECK (emission_stage BETWEEN 0 AND 6 OR emission_stage = 99),
    vehicle_kind        text,
    use_nature          text,
    -- letters of GA/T 16 vehicle state, sorted
    state               text,
    registered_on       date,
    owner_unit          text,
    local               boolean,
    retrofit            boolean  NOT NULL,
    reference_torque_nm integer,
    from_version        integer  NOT NULL,
    to_version          integer,
    PRIMARY KEY (plate_key, from_version)
);
CREATE UNIQUE INDEX vehicles_in_force ON vehicles (plate_key) WHERE to_version IS NULL;
CREATE INDEX vehicles_vin_in_force ON vehicles (vin) WHERE to_version IS NULL AND vin IS NOT NULL;

CREATE TABLE list_entries (
    list         text        NOT NULL,
    plate_key    bigint      NOT NULL,
    plate        text        NOT NULL,
    plate_color  text        NOT NULL,
    -- In force at t when valid_from <= t < valid_to; NULL is open.
    valid_from   timestamptz,
    valid_to     timestamptz,
    reason       text,
    document_no  text,
    from_version integer     NOT NULL,
    to_version   integer,
    CHECK (valid_from < valid_to)
);
CREATE UNIQUE INDEX list_entries_key
    ON list_entries (list, plate_key, COALESCE(valid_from, '-infinity'::timestamptz), from_version);
CREATE INDEX list_entries_in_force ON list_entries (list, plate_key) WHERE to_version IS NULL;
CREATE INDEX list_entries_plate ON list_entries (plate_key);

-- Identity of a station: the small key that readings carry. It outlives every version and exists, with known = false,
-- for stations that report before any register names them.
CREATE TABLE stations (
    id            integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_id    text        NOT NULL UNIQUE,
    known         boolean     NOT NULL DEFAULT false,
    first_seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE station_versions (
    station_id        text             NOT NULL,
    name              text,
    kind              text             NOT NULL
                      CHECK (kind IN ('fixed_vertical', 'fixed_horizontal', 'mobile', 'black_smoke')),
    -- WGS-84 degrees
    longitude         double precision CHECK (longitude BETWEEN -180 AND 180),
    latitude          double precision CHECK (latitude BETWEEN -90 AND 90),
    lane_count        smallint,
    slope_deg         real,
    calibrated_at     timestamptz,
    -- First instant at which the certificate no longer holds.
    certificate_until timestamptz,
    from_version      integer          NOT NULL,
    to_version        integer,
    PRIMARY KEY (station_id, from_version)
);
CREATE UNIQUE INDEX station_versions_in_force ON station_versions (station_id) WHERE to_version IS NULL;

CREATE TABLE devices (
    id            integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id     text        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('obd', 'retrofit', 'nonroad')),
    known         boolean     NOT NULL DEFAULT false,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (device_id, kind)
);

CREATE TABLE device_versions (
    device_id      text     NOT NULL,
    kind           text     NOT NULL CHECK (kind IN ('obd', 'retrofit', 'nonroad')),
    -- NULL: as the source says
    protocol       text     CHECK (protocol IN ('auto', 'gb17691', 'hj1239', 'hj1014')),
    -- A VIN, or plate and colour as `plate:colour`
    bound_to       text,
    installed_on   date,
    -- GB 20891 stage of a machine
    emission_stage smallint CHECK (emission_stage BETWEEN 0 AND 4),
    from_version   integer  NOT NULL,
    to_version     integer,
    PRIMARY KEY (device_id, kind, from_version)
);
CREATE UNIQUE INDEX device_versions_in_force ON device_versions (device_id, kind) WHERE to_version IS NULL;

CREATE TABLE zones (
    name         text        NOT NULL,
    kind         text        NOT NULL,
    rule         text        NOT NULL,
    valid_from   timestamptz,
    valid_to     timestamptz,
    -- Daily windows in Asia/Shanghai, `07:00-09:00,22:00-06:00`; NULL is all day
    hours        text,
    -- GeoJSON Polygon or MultiPolygon, WGS-84
    geometry     jsonb       NOT NULL,
    from_version integer     NOT NULL,
    to_version   integer,
    CHECK (valid_from < valid_to)
);
CREATE UNIQUE INDEX zones_key ON zones (name, rule, COALESCE(valid_from, '-infinity'::timestamptz), from_version);

CREATE VIEW current_vehicles AS SELECT * FROM vehicles WHERE to_version IS NULL;
CREATE VIEW current_list_entries AS SELECT * FROM list_entries WHERE to_version IS NULL;
CREATE VIEW current_zones AS SELECT * FROM zones WHERE to_version IS NULL;
-- Every station and device that was ever named or heard, with what the register in force says about it.
CREATE VIEW current_stations AS
    SELECT s.id, s.station_id, s.known, s.first_seen_at, v.name, v.kind, v.longitude, v.latitude, v.lane_count,
           v.slope_deg, v.calibrated_at, v.certificate_until
    FROM stations s LEFT JOIN station_versions v ON v.station_id = s.station_id AND v.to_version IS NULL;
CREATE VIEW current_devices AS
    SELECT d.id, d.device_id, d.kind, d.known, d.first_seen_at, v.protocol, v.bound_to, v.installed_on, v.emission_stage
    FROM devices d
    LEFT JOIN device_versions v ON v.device_id = d.device_id AND v.kind = d.kind AND v.to_version IS NULL;
