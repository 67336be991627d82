//! What goes on beside the path of a reading: counting commits, showing how the parts are, cleaning up.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::bring_up::show_knowledge;
use crate::{
    api::readiness::{Board, Condition, Part},
    config::Config,
    ingest::Ingest,
    pipeline::writer::Progress,
    publish::{self, status::KafkaLink},
    reading::Timestamp,
    store::{connect::Connector, housekeeping, migrate::Flavour},
    telemetry::{Books, Meters},
    vehicle::knowledge::KnowledgeHandle,
};

/// Events that are out stay readable over HTTP for thirty days.
const EVENTS_KEPT_SECONDS: i64 = 30 * 86_400;

fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().micros() / 1000).unwrap_or_default()
}

/// How long messages have been waiting while nothing commits; asked once a second.
#[derive(Debug, Default)]
struct Waiting {
    /// Since when there have been messages in flight.
    since_ms: Option<u64>,
}

/// A commit within this time says itself how late it was.
const COMMITS_OFTEN_MS: u64 = 3_000;

impl Waiting {
    /// `None` while commits say it themselves or nothing waits.
    fn look(&mut self, in_flight: u64, committed_at_ms: u64, now_ms: u64) -> Option<u64> {
        if in_flight == 0 {
            self.since_ms = None;
            return None;
        }
        let since = (*self.since_ms.get_or_insert(now_ms)).max(committed_at_ms);
        Some(now_ms.saturating_sub(since)).filter(|waited| *waited > COMMITS_OFTEN_MS)
    }
}

pub(super) fn note_commit(books: &Books, meters: &Meters, progress: &Progress<'_>) {
    let committed = progress.committed;
    let mut readings = 0;
    for (index, tally) in committed.tallies.iter().enumerate() {
        let Some(source) = books.source(index) else { continue };
        readings += tally.decoded;
        source.decoded.add(tally.decoded);
        source.stored.add(tally.stored);
        source.duplicate.add(tally.duplicate);
        source.conflict.add(tally.conflict);
        source.unknown_fields.add(tally.unknown_fields);
    }
    for (index, reason) in &committed.refused {
        if let Some(source) = books.source(*index)
            && *reason != crate::fault::Reason::Conflict
        {
            source.quarantined(*reason).add(1);
        }
    }
    for finding in &committed.findings {
        meters.finding_made(&finding.rule, finding.intercept);
    }
    for (&(rule, missing), &count) in &committed.undecided {
        meters.rule_undetermined(rule, missing, count);
    }
    meters.batch_readings.record(readings as f64);
    meters.batch_commit_seconds.record(progress.took.as_secs_f64());
    if let Some(oldest) = progress.oldest {
        let age = Timestamp::now().micros_since(oldest).max(0);
        meters.ack_seconds.record(age as f64 / 1e6);
        books.levels.commit_lag_ms.set(age as u64 / 1000);
    }
    books.levels.committed_at_ms.set(now_ms());
}

/// Shows on the board and in the levels how the parts are, once a second.
pub(super) async fn watch_parts(
    ingest: Arc<Ingest>,
    relay: Arc<publish::Relay>,
    board: Arc<Board>,
    knowledge: KnowledgeHandle,
    books: Arc<Books>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut waiting = Waiting::default();
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let connections = ingest.status();
        let up = connections.iter().filter(|connection| connection.connected).count();
        let detail = match connections.iter().find_map(|connection| connection.last_error.as_deref()) {
            Some(error) if up < connections.len() => format!("{up} of {} connections; {error}", connections.len()),
            _ => format!("{up} of {} connections", connections.len()),
        };
        let condition = match (ingest.is_ready(), up) {
            (true, _) => Condition::Up,
            (false, 0) => Condition::Down,
            (false, _) => Condition::Degraded,
        };
        board.set(Part::Broker, condition, detail);
        show_relay(&relay.status(), &board);
        show_knowledge(&knowledge, &board);
        books.levels.store_queue_bytes.set(ingest.held_bytes());
        let in_flight = books.message_books().iter().map(|book| book.in_flight).sum();
        if let Some(waited) = waiting.look(in_flight, books.levels.committed_at_ms.get(), now_ms()) {
            books.levels.commit_lag_ms.set(waited);
        }
    }
}

/// Tells the streams of events when positions were given; ends with the relay.
pub(super) async fn wake_streams(
    mut status: watch::Receiver<publish::Status>,
    new_events: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut last = 0;
    while let Some(Ok(())) = stop.run_until_cancelled(status.changed()).await {
        let position = status.borrow_and_update().last_position;
        if position != last {
            last = position;
            new_events.notify_one();
        }
    }
}

fn show_relay(status: &publish::Status, board: &Board) {
    let condition = match (status.kafka, status.is_ready()) {
        (KafkaLink::Away, _) => Condition::Down,
        (KafkaLink::Connecting, _) => Condition::Starting,
        (_, true) => Condition::Up,
        (_, false) => Condition::Degraded,
    };
    let detail = match &status.last_error {
        Some(error) => format!("{} events not out yet; {error}", status.unsent()),
        None => format!("{} events not out yet", status.unsent()),
    };
    board.set(Part::Kafka, condition, detail);
}

/// Deletes what is older than its retention: in small bites at start, then every hour. A table that cannot be cleaned keeps no
/// other one waiting.
pub(super) async fn keep_house(connector: Connector, flavour: Flavour, config: Config, stop: CancellationToken) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    while stop.run_until_cancelled(hour.tick()).await.is_some() {
        let Some(client) = connector.connect_patiently("housekeeping", &stop).await else { return };
        let retention = &config.retention;
        for aged in housekeeping::aged(flavour) {
            clean(aged.table, &stop, || housekeeping::delete_one_bite(&client, aged, retention)).await;
        }
        let (before, kafka) = (Timestamp::now().plus_seconds(-EVENTS_KEPT_SECONDS), config.kafka.is_some());
        clean("outbox", &stop, || publish::outbox::prune(&client, before, kafka)).await;
    }
}

/// Bites until nothing is left or one fails.
async fn clean<Bite>(table: &str, stop: &CancellationToken, mut bite: impl FnMut() -> Bite)
where
    Bite: Future<Output = Result<u64, tokio_postgres::Error>>,
{
    let mut rows = 0;
    while !stop.is_cancelled() {
        match bite().await {
            Ok(0) => break,
            Ok(deleted) => rows += deleted,
            Err(error) => {
                let error = crate::store::error::describe(&error);
                tracing::warn!(table, error, "housekeeping was interrupted; it goes on in an hour");
                break;
            }
        }
    }
    if rows > 0 {
        tracing::info!(table, rows, "deleted rows past their retention");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_nobody_commits_grow_old() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.look(0, 0, 50_000), None, "nothing waits");
        assert_eq!(waiting.look(7, 10_000, 60_000), None, "they came a moment ago, whenever the last commit was");
        assert_eq!(waiting.look(7, 10_000, 75_000), Some(15_000));
        assert_eq!(waiting.look(7, 74_000, 75_000), None, "a commit says it itself");
        assert_eq!(waiting.look(7, 74_000, 79_000), Some(5_000));
        assert_eq!(waiting.look(0, 74_000, 80_000), None);
        assert_eq!(waiting.look(1, 74_000, 90_000), None);
    }
}
