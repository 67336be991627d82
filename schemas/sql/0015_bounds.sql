-- A topic may have 64 KiB and an index entry 2.7 kB: a refused message with a long topic could not be put aside.
DROP INDEX dead_letter_once;
CREATE UNIQUE INDEX dead_letter_once ON dead_letter (sha256, hashtextextended(topic, 0), reason);

-- What is past its retention is looked for every hour; without an index by time that reads the whole of tables that
-- hold years. They grow in the order of time, so that a summary of each megabyte is enough and costs inserts nothing.
CREATE INDEX passage_key_age ON passage_key USING brin (passed_at) WITH (autosummarize = on);
CREATE INDEX nox_over_age ON nox_over USING brin (at) WITH (autosummarize = on);
CREATE INDEX terminal_window_age ON terminal_window USING brin (at) WITH (autosummarize = on);
CREATE INDEX terminal_day_age ON terminal_day USING brin (day) WITH (autosummarize = on);
CREATE INDEX signature_check_age ON signature_check USING brin (sent_at) WITH (autosummarize = on);
