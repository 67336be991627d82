-- What an operator's files contradict, and where a version came from.

-- Rows that contradict each other, or themselves, leave a vehicle that holds what they agree on. Nothing enforces on it
-- without a person.
ALTER TABLE vehicles ADD COLUMN contradictory boolean NOT NULL DEFAULT false;
CREATE OR REPLACE VIEW current_vehicles AS SELECT * FROM vehicles WHERE to_version IS NULL;

-- Every row of a plate and colour that others of the same file contradict, as it was written. Versions as in `vehicles`.
CREATE TABLE vehicle_contradictions (
    -- Line of the file in which this content first stood.
    row_number          bigint   NOT NULL,
    plate_key           bigint   NOT NULL,
    plate               text     NOT NULL,
    plate_color         text     NOT NULL,
    vin                 text,
    fuel                text,
    emission_stage      smallint,
    vehicle_kind        text,
    use_nature          text,
    state               text,
    registered_on       date,
    owner_unit          text,
    local               boolean,
    retrofit            boolean  NOT NULL,
    reference_torque_nm integer,
    contradictory       boolean  NOT NULL,
    from_version        integer  NOT NULL,
    to_version          integer
);
CREATE INDEX vehicle_contradictions_in_force ON vehicle_contradictions (plate_key) WHERE to_version IS NULL;

ALTER TABLE imports
    -- Rows kept and flagged, in `vehicle_contradictions` or contradicting themselves.
    ADD COLUMN rows_contradictory bigint NOT NULL DEFAULT 0,
    -- The mapping through which foreign names and codes were read.
    ADD COLUMN mapping text,
    -- The version whose content this one brought back; then the file is that version's.
    ADD COLUMN rolled_back_to integer;
