-- Events on their way out. A row is written by the transaction that makes the finding; the relay gives committed rows a
-- position and moves them to Kafka in that order.
--
-- `id` is the order of insertion, which is not the order of commit; `position` is the order everybody else sees. There
-- is no index on `id` alone: the relay only ever asks for the rows that have no position yet.

CREATE TABLE outbox (
    event_id    uuid        PRIMARY KEY,
    id          bigint      GENERATED ALWAYS AS IDENTITY,
    topic       int2        NOT NULL,
    key         text        NOT NULL,
    payload     bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    position    bigint,
    refused     text
) WITH (
    -- Every row dies once, when it gets its position; the index of waiting rows must not fill with the dead.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.02
);
COMMENT ON COLUMN outbox.topic IS '1 dieselwatch.violations.v1, 2 dieselwatch.intercepts.v1';
COMMENT ON COLUMN outbox.refused IS 'why Kafka will never take this event; it is skipped there and served over HTTP';
CREATE INDEX outbox_waiting ON outbox (id) WHERE position IS NULL;
CREATE UNIQUE INDEX outbox_position ON outbox (position) WHERE position IS NOT NULL;

-- How far the relay has come; one row.
CREATE TABLE outbox_relay (
    single         bool        PRIMARY KEY DEFAULT true CHECK (single),
    -- Tells our records from those that another database wrote to the same topics.
    origin         uuid        NOT NULL DEFAULT gen_random_uuid(),
    last_position  bigint      NOT NULL DEFAULT 0,
    sent_position  bigint      NOT NULL DEFAULT 0,
    -- "topic number/partition" -> offset from which on a record of ours may be that sent_position does not know of
    ends           jsonb       NOT NULL DEFAULT '{}',
    changed_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
INSERT INTO outbox_relay DEFAULT VALUES;
