-- SM2 signatures of terminals: what is to be verified, what came of it, and with which keys.

-- One row for each stored packet that may be signed, written by the storing transaction; verification takes it away.
CREATE TABLE signature_task (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sent_at     timestamptz NOT NULL,
    device      int4        NOT NULL,
    digest      int8        NOT NULL,
    -- It was verified before and a key has come since.
    again       bool        NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- What came of each packet; the key names a row of terminal_packet.
CREATE TABLE signature_check (
    device      int4        NOT NULL,
    sent_at     timestamptz NOT NULL,
    digest      int8        NOT NULL,
    result      int2        NOT NULL,
    checked_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN signature_check.result IS
    '0 ok, 1 failed, 2 no_key, 3 malformed, 4 skipped (not in the sample), 5 unsigned, 6 unsupported (several signatures)';

-- timescale: begin
SELECT create_hypertable('signature_check', 'sent_at', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false);
-- timescale: end

-- Device first: it is asked for one device's packets, and filled off the path of ingest, where the price is paid in peace.
CREATE UNIQUE INDEX signature_check_key ON signature_check (device, sent_at, digest);
CREATE INDEX signature_check_failed ON signature_check (device, sent_at) WHERE result = 1;

-- timescale-tsl: begin
ALTER TABLE signature_check SET (timescaledb.compress, timescaledb.compress_segmentby = 'device', timescaledb.compress_orderby = 'sent_at');
-- timescale-tsl: end

-- Keys that terminals filed with an activation; no retention policy touches them. Only those whose own signature held
-- (result 0) verify anything.
CREATE TABLE terminal_key (
    device      int4        NOT NULL,
    filed_at    timestamptz NOT NULL,
    -- The activation in terminal_packet.
    digest      int8        NOT NULL,
    chip_id     bytea       NOT NULL CHECK (octet_length(chip_id) = 16),
    public_key  bytea       NOT NULL CHECK (octet_length(public_key) = 64),
    vin         text,
    result      int2        NOT NULL,
    PRIMARY KEY (device, filed_at, digest)
);

-- X and Y of the key in hex, where the office knows it; outranks what the terminal filed.
ALTER TABLE device_versions ADD COLUMN public_key text;

-- Chooses the sample of mode "sample"; secret, so that nobody can make a packet that is not in it.
CREATE TABLE signature_salt (salt bytea NOT NULL);
INSERT INTO signature_salt VALUES (decode(replace(gen_random_uuid()::text, '-', ''), 'hex'));
