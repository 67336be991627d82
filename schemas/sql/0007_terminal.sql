-- What the records of a terminal say together: windows of ten minutes, days, and the tasks to look at them again.

-- One row for each window that a stored reading belongs to. Plain inserts: a task that is there already proves nothing to
-- a transaction that has not committed yet. One index, which grows at its right edge: what is due is taken by time.
CREATE TABLE terminal_task (
    device      int4        NOT NULL,
    -- start of the window
    at          timestamptz NOT NULL,
    -- start of the window in which the packet was sent that brought the reading; NULL for a passage
    sent_in     timestamptz,
    -- time of a reading or packet that lies between two whole seconds
    instant     timestamptz,
    -- end of the window or of the time in which the terminal may resend, or the time of arrival if that is later
    due_at      timestamptz NOT NULL
);
CREATE INDEX terminal_task_due ON terminal_task (due_at);

-- The rows of one window, condensed (src/evaluate/terminal/facts.rs).
CREATE TABLE terminal_window (
    device      int4        NOT NULL,
    at          timestamptz NOT NULL,
    -- tells facts that were made with other numbers
    fingerprint int8        NOT NULL,
    facts       jsonb       NOT NULL,
    PRIMARY KEY (device, at)
);

-- A day in China of one terminal.
CREATE TABLE terminal_day (
    device         int4        NOT NULL,
    -- its midnight
    day            timestamptz NOT NULL,
    packets        int4        NOT NULL,
    live_packets   int4        NOT NULL,
    -- by the gaps between serials; NULL where packets have none
    missing        int4,
    loss_rate      float8,
    restarts       int4        NOT NULL,
    records        int4        NOT NULL,
    online_seconds float8      NOT NULL,
    first_at       timestamptz,
    last_at        timestamptz,
    -- rules that could not be decided, each with what is missing
    undetermined   text[]      NOT NULL,
    PRIMARY KEY (device, day)
);

-- No index on terminal_stream or terminal_packet that begins with the device: measured, a second index there doubles
-- the time of COPY. The rows of one device in one window are found by asking the key for each of its seconds, and for the
-- instants between seconds that tasks brought along.
