-- Events that are not out in full, kept whole until they are: longer than the outbox keeps its rows.
ALTER TABLE outbox ADD COLUMN stand_in bool NOT NULL DEFAULT false;
COMMENT ON COLUMN outbox.refused IS
    'why this event does not go to Kafka in full at this position; it is served over HTTP, and kept in refused_event';
COMMENT ON COLUMN outbox.stand_in IS 'where refused is given: a stand-in goes out in its place; false: nothing does';

CREATE TABLE refused_event (
    event_id        uuid        PRIMARY KEY,
    -- Where it stands, or would stand, in the order of events; one that is sent again gets a new place.
    position        bigint      NOT NULL,
    topic           int2        NOT NULL,
    key             text        NOT NULL,
    payload         bytea       NOT NULL,
    created_at      timestamptz NOT NULL,
    reason          text        NOT NULL,
    stand_in        bool        NOT NULL,
    refused_at      timestamptz NOT NULL DEFAULT now(),
    -- Since when it is on its way again; taken back when it is refused again.
    resend_asked_at timestamptz
);
CREATE INDEX refused_event_position ON refused_event (position);
CREATE INDEX refused_event_resent ON refused_event (event_id) WHERE resend_asked_at IS NOT NULL;

-- What earlier versions passed over. Of those whose row has been deleted since nothing is known.
INSERT INTO refused_event (event_id, position, topic, key, payload, created_at, reason, stand_in)
SELECT event_id, position, topic, key, payload, created_at, refused, false
FROM outbox WHERE refused IS NOT NULL AND position IS NOT NULL;
