//! Keeps the snapshot in memory at the versions in force.
//!
//! A connection of its own listens for the notification that ends every import; because a notification is lost when
//! nobody listens, the versions are also compared every so often, and after each reconnection. While the database is
//! away the snapshot in memory keeps serving.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use rand::Rng as _;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;

use super::{
    database::{Link, LinkConnection},
    import::LIST_PREFIX,
    knowledge::{KnowledgeHandle, Versions},
    load::{LoadError, load_changed},
};
use crate::telemetry::metrics as names;

/// The channel that imports notify; the payload is the dataset.
pub const CHANNEL: &str = "dieselwatch_knowledge";

/// First and longest wait between connection attempts.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Loads what changed since the snapshot in force, puts it in force and retires the old one. `None` when nothing
/// changed. One step of [`run`]; also the first load at start.
///
/// # Cancel safety
///
/// Dropped midway it leaves the snapshot as it was.
pub async fn refresh_once(client: &mut Client, handle: &KnowledgeHandle) -> Result<Option<Versions>, LoadError> {
    let started = Instant::now();
    let Some(next) = load_changed(client, &handle.load()).await? else { return Ok(None) };
    let versions = next.versions();
    for (kind, size) in next.sizes() {
        metrics::gauge!(names::KNOWLEDGE_ENTRIES, "part" => kind).set(size as f64);
        // Names of lists are the operator's and no labels: all lists together show their highest version.
        let of_kind = |dataset: &str| dataset == kind || (kind == "lists" && dataset.starts_with(LIST_PREFIX));
        let highest = versions.iter().filter(|(dataset, _)| of_kind(dataset)).map(|(_, version)| *version).max();
        metrics::gauge!(names::KNOWLEDGE_VERSION, "part" => kind).set(f64::from(highest.unwrap_or(0)));
    }
    let old = handle.swap(next);
    tokio::spawn(KnowledgeHandle::retire(old));
    metrics::counter!(names::KNOWLEDGE_RELOADS).increment(1);
    metrics::histogram!(names::KNOWLEDGE_LOAD_SECONDS).record(started.elapsed().as_secs_f64());
    tracing::info!(elapsed_ms = started.elapsed().as_millis() as u64, ?versions, "loaded register, lists and zones");
    Ok(Some(versions))
}

/// Runs until `stop`: connects, listens, refreshes on notification and every `poll`; connects again with back-off.
pub async fn run(link: Link, handle: KnowledgeHandle, poll: Duration, stop: CancellationToken) {
    let mut wait = BACKOFF_MIN;
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = session(&link, &handle, poll, &mut wait) => outcome,
        };
        metrics::counter!(names::KNOWLEDGE_FAILURES).increment(1);
        let Err(error) = outcome;
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "lost the register's connection; the loaded one serves on"
        );
        let jittered = wait.mul_f64(rand::rng().random_range(0.5..1.0));
        wait = (wait * 2).min(BACKOFF_MAX);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(jittered) => {}
        }
    }
}

/// One connection's life; ends with the error that ended it. A refresh that succeeds resets the back-off.
async fn session(
    link: &Link,
    handle: &KnowledgeHandle,
    poll: Duration,
    wait: &mut Duration,
) -> Result<std::convert::Infallible, LoadError> {
    let (mut client, connection) = link.connect().await?;
    let notified = Arc::new(Notify::new());
    let driver = drive(connection, notified.clone());
    let work = async {
        // Listening first: an import that commits before the first refresh is seen by it, one after it is notified.
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        let mut tick = tokio::time::interval(poll);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = notified.notified() => {}
            }
            refresh_once(&mut client, handle).await?;
            *wait = BACKOFF_MIN;
        }
    };
    tokio::select! {
        result = work => result,
        error = driver => Err(error.into()),
    }
}

/// Drives the connection; notifications become one permit, however many there are.
async fn drive(mut connection: LinkConnection, notified: Arc<Notify>) -> tokio_postgres::Error {
    let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
    loop {
        match messages.next().await {
            Some(Ok(AsyncMessage::Notification(_))) => notified.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error,
            // The server closed the stream without an error; whoever waits for an answer is told by the client.
            None => std::future::pending().await,
        }
    }
}
