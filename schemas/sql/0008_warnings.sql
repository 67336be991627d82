-- Zones for some vehicles only and with permits; heavy-pollution warnings; the power of machines.

ALTER TABLE zones
    -- Beginnings of GA/T 16.4 kinds, `H,Q1`; NULL is every vehicle
    ADD COLUMN vehicle_classes text,
    -- Name of the list whose entries are permits
    ADD COLUMN permits text,
    -- The datum of the imported file where it was not WGS-84; `geometry` is WGS-84 whatever it was
    ADD COLUMN drawn_in text CHECK (drawn_in = 'gcj02');
CREATE OR REPLACE VIEW current_zones AS SELECT * FROM zones WHERE to_version IS NULL;

-- Rated power of a machine, which decides its smoke limit; watts, so that 18.9 kW stays below 19.
ALTER TABLE device_versions ADD COLUMN power_w integer CHECK (power_w > 0);
CREATE OR REPLACE VIEW current_devices AS
    SELECT d.id, d.device_id, d.kind, d.known, d.first_seen_at, v.protocol, v.bound_to, v.installed_on, v.emission_stage,
           v.power_w
    FROM devices d
    LEFT JOIN device_versions v ON v.device_id = d.device_id AND v.kind = d.kind AND v.to_version IS NULL;

-- A warning is never changed: every act about it is a further row that says who did it, when and why, and how the warning
-- stands after it. The last row counts. dataset_versions('warnings') counts the acts, so that replicas notice each.
CREATE TABLE warning_revisions (
    warning     bigint      NOT NULL CHECK (warning > 0),
    revision    integer     NOT NULL CHECK (revision > 0),
    action      text        NOT NULL CHECK (action IN ('issue', 'lift', 'correct', 'withdraw')),
    level       text        NOT NULL CHECK (level IN ('yellow', 'orange', 'red')),
    -- In force at t when issued_at <= t < lifted_at; NULL is not lifted yet.
    issued_at   timestamptz NOT NULL,
    lifted_at   timestamptz,
    -- Issued by mistake: it was never in force.
    withdrawn   boolean     NOT NULL,
    document_no text,
    done_by     text        NOT NULL CHECK (done_by <> ''),
    done_at     timestamptz NOT NULL DEFAULT now(),
    why         text,
    PRIMARY KEY (warning, revision),
    CHECK (issued_at < lifted_at)
);

CREATE FUNCTION warning_revisions_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of warning_revisions are only ever added';
END
$$;
CREATE TRIGGER warning_revisions_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON warning_revisions
    FOR EACH STATEMENT EXECUTE FUNCTION warning_revisions_stay();

CREATE VIEW current_warnings AS
    SELECT DISTINCT ON (warning) * FROM warning_revisions ORDER BY warning, revision DESC;
