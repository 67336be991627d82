-- Readings, raw payloads, findings, dead letters and books.
--
-- Passages live in two tables. `passage_key` is a narrow plain table that holds one row per reading for two years: its
-- primary key is the natural key, its second index is the vehicle's history. `passage` is the wide hypertable with the
-- raw payload; it needs no unique index, because nothing gets there that `passage_key` did not take in the same
-- transaction. So a redelivery into a compressed chunk never touches the chunk, and the natural key holds across chunks.

CREATE TABLE passage_key (
    station       int4        NOT NULL,
    record_id     text        NOT NULL,
    passed_at     timestamptz NOT NULL,
    plate_key     int8,
    content_hash  int8        NOT NULL,
    lane          int2,
    -- two bits a pollutant, lowest first, in the order opacity, opacity_k, ringelmann, no, co, hc:
    -- 0 no valid test, 1 not over, 2 over
    outcomes      int2        NOT NULL,
    PRIMARY KEY (station, record_id)
);
CREATE INDEX passage_key_history ON passage_key (plate_key, passed_at) WHERE plate_key IS NOT NULL;

CREATE TABLE passage (
    passed_at          timestamptz NOT NULL,
    station            int4        NOT NULL,
    record_id          text        NOT NULL,
    plate              text,
    plate_color        int2        NOT NULL,
    plate_key          int8,
    verdict            int2        NOT NULL,
    outcomes           int2        NOT NULL,
    lane               int2,
    plate_confidence   real,
    speed_kmh          real,
    acceleration_ms2   real,
    vsp_kwt            real,
    co2_pct            real,
    co_pct             real,
    hc_ppm             real,
    no_ppm             real,
    opacity_pct        real,
    opacity_k_m1       real,
    ringelmann         real,
    flags              int4        NOT NULL,
    received_at        timestamptz NOT NULL,
    raw_sha256         bytea       NOT NULL,
    raw                bytea       NOT NULL
);
COMMENT ON COLUMN passage.verdict IS '0 pass, 1 over_limit, 2 invalid, 3 not_applicable, 4 undetermined';
COMMENT ON COLUMN passage.flags IS 'bit 0 station unknown, 1 plate unread, 2 unknown fields in the payload, 3 not live';

-- One raw packet of a terminal; rows of terminal_stream and terminal_item name it by `packet` = `digest`.
CREATE TABLE terminal_packet (
    sent_at      timestamptz NOT NULL,
    device       int4        NOT NULL,
    digest       int8        NOT NULL,
    protocol     text        NOT NULL,
    command      text        NOT NULL,
    serial       int4,
    flags        text[]      NOT NULL,
    received_at  timestamptz NOT NULL,
    content_hash int8        NOT NULL,
    raw_sha256   bytea       NOT NULL,
    raw          bytea       NOT NULL
);

CREATE TABLE terminal_stream (
    collected_at        timestamptz NOT NULL,
    device              int4        NOT NULL,
    ordinal             int2        NOT NULL,
    packet              int8        NOT NULL,
    content_hash        int8        NOT NULL,
    -- three bits a channel in column order: 0 value, 1 not_available, 2 sensor_error, 3 reserved, 4 out_of_range, 5 not sent
    states              int8        NOT NULL,
    speed_kmh           real,
    barometric_kpa      real,
    net_torque_pct      real,
    friction_torque_pct real,
    engine_rpm          real,
    fuel_flow_lph       real,
    nox_upstream_ppm    real,
    nox_downstream_ppm  real,
    reagent_pct         real,
    intake_air_kgph     real,
    scr_inlet_c         real,
    scr_outlet_c        real,
    dpf_dp_kpa          real,
    coolant_c           real,
    fuel_tank_pct       real,
    odometer_km         float8,
    egr_actual_pct      real,
    egr_commanded_pct   real,
    work_state          text,
    position_valid      bool,
    lon                 float8,
    lat                 float8,
    flags               int4        NOT NULL
);

-- Everything a terminal sends that is not a stream second, in the shape of the contract's decoded item.
CREATE TABLE terminal_item (
    collected_at  timestamptz NOT NULL,
    device        int4        NOT NULL,
    kind          text        NOT NULL,
    ordinal       int2        NOT NULL,
    packet        int8        NOT NULL,
    content_hash  int8        NOT NULL,
    body          jsonb       NOT NULL,
    flags         int4        NOT NULL
);
COMMENT ON COLUMN terminal_item.flags IS 'bit 0 device unknown, 3 not live';

-- timescale: begin
SELECT create_hypertable('passage', 'passed_at', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false);
SELECT create_hypertable('terminal_packet', 'sent_at', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false);
SELECT create_hypertable('terminal_stream', 'collected_at', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false);
SELECT create_hypertable('terminal_item', 'collected_at', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false);
-- timescale: end

-- Time first: an index that grows at its right edge costs a fraction of one that starts with the device.
CREATE INDEX passage_time ON passage (passed_at, station);
CREATE UNIQUE INDEX terminal_packet_key ON terminal_packet (sent_at, device, digest);
CREATE UNIQUE INDEX terminal_stream_key ON terminal_stream (collected_at, device, ordinal);
CREATE UNIQUE INDEX terminal_item_key ON terminal_item (collected_at, device, kind, ordinal);

-- Seconds of downstream NOx over the configured limit under the configured conditions: the only seconds that can make
-- an episode. Any other second breaks a run by being absent, so this narrow table answers what the hypertable cannot.
CREATE TABLE nox_over (
    device      int4        NOT NULL,
    at          timestamptz NOT NULL,
    ppm         real        NOT NULL,
    packet      int8        NOT NULL,
    packet_at   timestamptz NOT NULL,
    PRIMARY KEY (device, at)
);

-- Findings and evidence are plain tables; no retention policy touches them.
CREATE TABLE finding (
    id           uuid PRIMARY KEY,
    rule         text        NOT NULL,
    subject_kind int2        NOT NULL,
    subject      text        NOT NULL,
    from_at      timestamptz NOT NULL,
    to_at        timestamptz NOT NULL,
    state        int2        NOT NULL DEFAULT 0,
    revision     int4        NOT NULL DEFAULT 1,
    review       jsonb       NOT NULL,
    content      jsonb       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN finding.state IS '0 in force, 1 revoked';
COMMENT ON COLUMN finding.subject_kind IS '0 vehicle, 1 terminal, 2 machine';
CREATE INDEX finding_subject ON finding (subject, rule);
CREATE INDEX finding_time ON finding (from_at, id);

CREATE TABLE evidence (
    finding  uuid  NOT NULL REFERENCES finding (id),
    reading  text  NOT NULL,
    raw      bytea NOT NULL,
    sha256   bytea NOT NULL,
    PRIMARY KEY (finding, reading)
);

-- What was put aside: refused messages and readings, and readings that contradict a stored one (reason `conflict`).
CREATE TABLE dead_letter (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at  timestamptz NOT NULL,
    source       text        NOT NULL,
    topic        text        NOT NULL,
    reason       text        NOT NULL,
    detail       text        NOT NULL,
    element      int4,
    raw          bytea       NOT NULL,
    sha256       bytea       NOT NULL,
    replayed_at  timestamptz,
    replay_result text
);
CREATE UNIQUE INDEX dead_letter_once ON dead_letter (sha256, topic, reason);
CREATE INDEX dead_letter_open ON dead_letter (reason, id) WHERE replayed_at IS NULL;

-- The readings' book in the database: each writer owns its rows, so that no commit waits for another's.
CREATE TABLE book (
    holder       text  NOT NULL,
    source       text  NOT NULL,
    messages     int8  NOT NULL,
    decoded      int8  NOT NULL,
    stored       int8  NOT NULL,
    duplicate    int8  NOT NULL,
    conflict     int8  NOT NULL,
    quarantined  int8  NOT NULL,
    PRIMARY KEY (holder, source)
) WITH (fillfactor = 50);

-- timescale-tsl: begin
ALTER TABLE passage SET (timescaledb.compress, timescaledb.compress_segmentby = 'station', timescaledb.compress_orderby = 'passed_at');
ALTER TABLE terminal_packet SET (timescaledb.compress, timescaledb.compress_segmentby = 'device', timescaledb.compress_orderby = 'sent_at');
ALTER TABLE terminal_stream SET (timescaledb.compress, timescaledb.compress_segmentby = 'device', timescaledb.compress_orderby = 'collected_at');
ALTER TABLE terminal_item SET (timescaledb.compress, timescaledb.compress_segmentby = 'device', timescaledb.compress_orderby = 'collected_at');
-- timescale-tsl: end
