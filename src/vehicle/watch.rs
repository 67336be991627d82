//! Keeps the snapshot in memory at the versions in force.
//!
//! A connection of its own listens for the notification that ends every import; because a notification is lost when
//! nobody listens, the versions are also compared every so often, and after each reconnection. While the database is
//! away the snapshot in memory keeps serving.

use std::time::Duration;

use rand::Rng as _;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;

use super::{
    import::LIST_PREFIX,
    knowledge::{KnowledgeHandle, Versions},
    load::{LoadError, load_changed},
};
use crate::{
    store::{
        connect::{ConnectError, Connector},
        server::Need,
    },
    telemetry::metrics as names,
};

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
pub async fn run(connector: Connector, handle: KnowledgeHandle, poll: Duration, stop: CancellationToken) {
    let mut wait = BACKOFF_MIN;
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = session(&connector, &handle, poll, &mut wait) => outcome,
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

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("listen for imports")]
    Listen(#[from] tokio_postgres::Error),
    #[error("the connection ended")]
    Ended,
}

/// One connection's life; ends with the error that ended it. A refresh that succeeds resets the back-off.
async fn session(
    connector: &Connector,
    handle: &KnowledgeHandle,
    poll: Duration,
    wait: &mut Duration,
) -> Result<std::convert::Infallible, Lost> {
    // One is enough: a notification says that there is something, not how much.
    let (notify, mut notified) = mpsc::channel(1);
    let on_message = move |message| {
        if let AsyncMessage::Notification(_) = message {
            // Full: the one in there says the same.
            let _ = notify.try_send(());
        }
    };
    // It only reads, and goes on while nothing can be written.
    let mut client = connector.listen("knowledge", Need::Read, on_message).await?;
    // Listening first: an import that commits before the first refresh is seen by it, one after it is notified.
    client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
    let mut tick = tokio::time::interval(poll);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            heard = notified.recv() => heard.ok_or(Lost::Ended)?,
        }
        refresh_once(&mut client, handle).await?;
        *wait = BACKOFF_MIN;
    }
}
