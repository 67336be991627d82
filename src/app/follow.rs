//! What goes on beside the path of a reading: showing how the parts are.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{bring_up::show_knowledge, commits::Commits};
use crate::{
    api::readiness::{Board, Condition, Part},
    ingest::Ingest,
    publish::{self, status::KafkaLink},
    telemetry::Books,
    vehicle::knowledge::KnowledgeHandle,
};

/// Shows on the board and in the levels how the parts are, once a second.
pub(super) async fn watch_parts(
    ingest: Arc<Ingest>,
    relay: Arc<publish::Relay>,
    board: Arc<Board>,
    knowledge: KnowledgeHandle,
    books: Arc<Books>,
    commits: Arc<Commits>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let connections = ingest.status();
        let up = connections.iter().filter(|connection| connection.connected).count();
        let mut detail = format!("{up} of {} connections", connections.len());
        let errors = connections.iter().filter(|_| up < connections.len() || !ingest.is_ready());
        // What a broker lacks is told also while everything is connected.
        let lacks = connections.iter().flat_map(|connection| connection.lacks.iter().map(String::as_str));
        for why in errors.filter_map(|connection| connection.last_error.as_deref()).take(1).chain(lacks.take(1)) {
            detail += &format!("; {why}");
        }
        let condition = match (ingest.is_ready(), up) {
            (true, _) => Condition::Up,
            (false, 0) => Condition::Down,
            (false, _) => Condition::Degraded,
        };
        board.set(Part::Broker, condition, detail);
        show_relay(&relay.status(), &board);
        show_knowledge(&knowledge, &board);
        books.levels.store_queue_bytes.set(ingest.held_bytes());
        commits.look(&books);
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
    let mut detail = format!("{} events not out yet", status.unsent());
    if status.not_in_full > 0 {
        detail += &format!("; {} not out in full", status.not_in_full);
    }
    if let Some(error) = &status.last_error {
        detail += &format!("; {error}");
    }
    board.set(Part::Kafka, condition, detail);
}
