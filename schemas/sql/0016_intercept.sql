-- Whether an officer was asked for. Two lanes that see one vehicle make two records and two findings, of which one is
-- withdrawn later; the officer is asked for once (src/store/findings.rs).
ALTER TABLE finding ADD COLUMN intercept bool NOT NULL DEFAULT false;
