-- no-transaction
-- Hourly figures by station and by terminal: continuous aggregates where TimescaleDB's licence has them, views elsewhere.

-- timescale-tsl: begin
CREATE MATERIALIZED VIEW passage_hourly WITH (timescaledb.continuous) AS
SELECT time_bucket(INTERVAL '1 hour', passed_at) AS hour, station, verdict, count(*) AS passages,
       avg(opacity_pct) AS opacity_pct_mean, max(opacity_pct) AS opacity_pct_max, avg(no_ppm) AS no_ppm_mean
FROM passage GROUP BY 1, 2, 3 WITH NO DATA;
-- next statement
CREATE MATERIALIZED VIEW terminal_hourly WITH (timescaledb.continuous) AS
SELECT time_bucket(INTERVAL '1 hour', collected_at) AS hour, device, count(*) AS seconds,
       avg(nox_downstream_ppm) AS nox_downstream_ppm_mean, max(nox_downstream_ppm) AS nox_downstream_ppm_max
FROM terminal_stream GROUP BY 1, 2 WITH NO DATA;
-- timescale-tsl: end

-- plain: begin
CREATE VIEW passage_hourly AS
SELECT date_trunc('hour', passed_at) AS hour, station, verdict, count(*) AS passages,
       avg(opacity_pct) AS opacity_pct_mean, max(opacity_pct) AS opacity_pct_max, avg(no_ppm) AS no_ppm_mean
FROM passage GROUP BY 1, 2, 3;
-- next statement
CREATE VIEW terminal_hourly AS
SELECT date_trunc('hour', collected_at) AS hour, device, count(*) AS seconds,
       avg(nox_downstream_ppm) AS nox_downstream_ppm_mean, max(nox_downstream_ppm) AS nox_downstream_ppm_max
FROM terminal_stream GROUP BY 1, 2;
-- plain: end
