//! What keeps the store from growing for ever: TimescaleDB's policies where it has them, deletes in small bites elsewhere.
//!
//! Findings, evidence and dead letters are not touched by anything in here.

use tokio_postgres::Client;

use super::migrate::Flavour;
use crate::config::Retention;

/// Rows deleted in one statement on plain PostgreSQL: short locks, little WAL at a time.
const BITE: i64 = 10_000;

/// Tables with readings, or what is said of each: name, time column, and whether they hold raw packets.
const READINGS: [(&str, &str, bool); 5] = [
    ("passage", "passed_at", false),
    ("terminal_stream", "collected_at", false),
    ("terminal_item", "collected_at", false),
    ("terminal_packet", "sent_at", true),
    // As long as readings: a day's count of failures must not shrink while its packets may still be resent.
    ("signature_check", "sent_at", false),
];

fn days(retention: &Retention, raw: bool) -> u32 {
    if raw { retention.raw_packets_days } else { retention.readings_days }
}

/// Sets TimescaleDB's compression, retention and refresh policies to what is configured; harmless to repeat.
pub async fn apply_policies(
    client: &Client,
    flavour: Flavour,
    retention: &Retention,
) -> Result<(), tokio_postgres::Error> {
    if flavour != Flavour::Timescale {
        return Ok(());
    }
    let compress = retention.compress_after_days;
    for (table, _, raw) in READINGS {
        let keep = days(retention, raw);
        // A policy cannot be altered, only replaced; both in one transaction, so that none is ever missing.
        client
            .batch_execute(&format!(
                "BEGIN; \
                 SELECT remove_retention_policy('{table}', if_exists => true); \
                 SELECT add_retention_policy('{table}', INTERVAL '{keep} days'); \
                 SELECT remove_compression_policy('{table}', if_exists => true); \
                 SELECT add_compression_policy('{table}', INTERVAL '{compress} days'); \
                 COMMIT"
            ))
            .await?;
    }
    // Refresh what may still change (late data) and is not compressed yet.
    for view in ["passage_hourly", "terminal_hourly"] {
        client
            .batch_execute(&format!(
                "BEGIN; \
                 SELECT remove_continuous_aggregate_policy('{view}', if_exists => true); \
                 SELECT add_continuous_aggregate_policy('{view}', start_offset => INTERVAL '{start} days', \
                   end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '30 minutes'); \
                 COMMIT",
                start = compress.saturating_sub(1).max(1)
            ))
            .await?;
    }
    Ok(())
}

/// A table from which rows past their retention are deleted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    pub table: &'static str,
    time: &'static str,
    raw: bool,
}

/// Plain tables under either flavour.
const PLAIN: [(&str, &str, bool); 4] = [
    ("passage_key", "passed_at", false),
    ("nox_over", "at", false),
    ("terminal_window", "at", false),
    ("terminal_day", "day", false),
];

/// What is to be looked through; TimescaleDB drops the chunks of its own.
pub fn aged(flavour: Flavour) -> impl Iterator<Item = Aged> {
    let readings = READINGS.into_iter().filter(move |_| flavour == Flavour::Plain);
    readings.chain(PLAIN).map(|(table, time, raw)| Aged { table, time, raw })
}

/// Deletes one bite of what is older than its retention; returns the rows deleted. Called until it returns 0, then hourly.
pub async fn delete_one_bite(
    client: &Client,
    Aged { table, time, raw }: Aged,
    retention: &Retention,
) -> Result<u64, tokio_postgres::Error> {
    delete_older(client, table, time, days(retention, raw)).await
}

async fn delete_older(client: &Client, table: &str, time: &str, days: u32) -> Result<u64, tokio_postgres::Error> {
    client
        .execute(
            &format!(
                "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} \
                 WHERE {time} < now() - INTERVAL '{days} days' LIMIT {BITE}))"
            ),
            &[],
        )
        .await
}
