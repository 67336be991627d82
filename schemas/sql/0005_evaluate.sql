-- Durable evaluation tasks: what the history says is decided after the commit, by whoever claims the task.

CREATE TABLE evaluation_task (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        int2        NOT NULL,
    subject     int8        NOT NULL,
    from_at     timestamptz NOT NULL,
    to_at       timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN evaluation_task.kind IS '1 vehicle (subject = plate key), 2 NOx of a terminal (subject = device)';

-- Vehicles that any finding was ever raised for. An innocent passage leaves a task only when its vehicle is in here;
-- src/evaluate/tasks.rs proves that none is missed.
CREATE TABLE evaluation_interest (
    kind     int2 NOT NULL,
    subject  int8 NOT NULL,
    PRIMARY KEY (kind, subject)
);
