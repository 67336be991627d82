//! What goes on beside the path of a reading: counting commits, showing how the parts are, cleaning up.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::bring_up::show_knowledge;
use crate::{
    api::readiness::{Board, Condition, Part},
    config::Config,
    evaluate::evaluator::Evaluator,
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
    meters.batch_readings.record(readings as f64);
    meters.batch_commit_seconds.record(progress.took.as_secs_f64());
    if let Some(oldest) = progress.oldest {
        let age = Timestamp::now().micros_since(oldest).max(0);
        meters.ack_seconds.record(age as f64 / 1e6);
        books.levels.commit_lag_ms.set(age as u64 / 1000);
    }
}

/// Shows on the board and in the levels how the parts are, once a second.
pub(super) async fn watch_parts(
    ingest: Arc<Ingest>,
    relay: Arc<publish::Relay>,
    board: Arc<Board>,
    knowledge: KnowledgeHandle,
    evaluator: Arc<Evaluator>,
    books: Arc<Books>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
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
        books.levels.evaluation_backlog.set(evaluator.backlog().max(0) as u64);
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

/// Deletes what is older than its retention: in small bites at start, then every hour.
pub(super) async fn keep_house(connector: Connector, flavour: Flavour, config: Config, stop: CancellationToken) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    while stop.run_until_cancelled(hour.tick()).await.is_some() {
        let Some(client) = connector.connect_patiently("housekeeping", &stop).await else { return };
        if let Err(error) = clean(&client, flavour, &config, &stop).await {
            let error = crate::store::error::describe(&error);
            tracing::warn!(error, "housekeeping was interrupted; it goes on in an hour");
        }
    }
}

async fn clean(
    client: &Client,
    flavour: Flavour,
    config: &Config,
    stop: &CancellationToken,
) -> Result<(), tokio_postgres::Error> {
    while !stop.is_cancelled() {
        let deleted = housekeeping::delete_one_bite(client, flavour, &config.retention).await?
            + publish::outbox::prune(
                client,
                Timestamp::now().plus_seconds(-EVENTS_KEPT_SECONDS),
                config.kafka.is_some(),
            )
            .await?;
        if deleted == 0 {
            break;
        }
        tracing::info!(rows = deleted, "deleted rows past their retention");
    }
    Ok(())
}
