-- Client-id slots of the MQTT session. The broker keeps a session, and goes on dealing messages of the shared group to
-- it, for as long as its client id may come back; so an id is leased, never invented, and the session of a replica that
-- is gone is emptied by a living one. Times are this server's.
CREATE TABLE ingest_slot (
    prefix      text        NOT NULL,   -- mqtt.client_id_prefix; the client id is prefix-slot
    slot        integer     NOT NULL CHECK (slot BETWEEN 0 AND 65535),
    holder      text        NOT NULL,   -- instance that leases it; empty after an orderly stop
    lease_until timestamptz NOT NULL,   -- free for anyone after this
    PRIMARY KEY (prefix, slot)
);
