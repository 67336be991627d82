//! The task behind [`Relay`]: opens a session, stands by until the lock is free, leads, and starts over when the session
//! ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::Rng as _;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    feed::{self, Feed},
    kafka::Settings,
    leader, outbox,
    session::{Session, SessionError, Sessions},
    status::{KafkaLink, Role, Status},
};
use crate::{
    config,
    telemetry::{Books, Meters},
};

/// How often a standby tries to get the lock, and so how long events wait at most when a leader dies.
const TRY_LOCK: Duration = Duration::from_millis(500);

/// Longest pause before a session is opened again after it ended.
const REOPEN: Duration = Duration::from_millis(500);

/// What the task and its parts share.
pub(super) struct Shared {
    pub sessions: Sessions,
    pub kafka: Option<Settings>,
    pub nudge: Notify,
    pub stop: CancellationToken,
    pub status: watch::Sender<Status>,
    pub feed: Feed,
    pub meters: Arc<Meters>,
    pub books: Arc<Books>,
}

/// The running relay of this replica. Dropping it ends it at once, as a crash would; [`Relay::stop`] lets it finish.
pub struct Relay {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Starts the relay. Nothing has to be reachable yet: database and Kafka are tried for ever.
pub fn start(sessions: Sessions, kafka: Option<&config::Kafka>, meters: Arc<Meters>, books: Arc<Books>) -> Relay {
    let kafka = kafka.map(Settings::new);
    let shown = if kafka.is_some() { KafkaLink::Resting } else { KafkaLink::NotConfigured };
    let shared = Arc::new(Shared {
        sessions,
        kafka,
        nudge: Notify::new(),
        stop: CancellationToken::new(),
        status: watch::Sender::new(Status { kafka: shown, ..Status::default() }),
        feed: Feed::new(),
        meters,
        books,
    });
    let task = tokio::spawn(run(Arc::clone(&shared)));
    Relay { shared, task: Mutex::new(Some(task)) }
}

impl Relay {
    /// Says that events were committed; to be called after the commit. Cheap, never waits; many calls are one.
    pub fn nudge(&self) {
        self.shared.nudge.notify_one();
    }

    /// Where this replica's relay stands.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Follows the status; for whoever waits for a change.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Events as they get their positions, for server-sent events.
    pub fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    /// Lets everything committed get out, if Kafka takes it, and gives the lock back. `false` when that took longer than
    /// `limit` and was broken off; nothing is lost by that, the next relay goes on where this one stopped.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.shared.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else { return true };
        let in_time = tokio::time::timeout(limit, &mut task).await.is_ok();
        task.abort();
        in_time
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn run(shared: Arc<Shared>) {
    let mut told = None;
    while !shared.stop.is_cancelled() {
        let Err(error) = serve(&shared).await else { return };
        let text = error.to_string();
        // Once for each trouble, not for each attempt.
        if told.as_ref() != Some(&text) {
            tracing::warn!(error = %text, "the relay has no database session; trying again");
        }
        shared.status.send_modify(|status| {
            status.role = Role::Connecting;
            status.kafka = resting(&shared);
            status.last_error = Some(text.clone());
        });
        told = Some(text);
        shared.stop.run_until_cancelled(tokio::time::sleep(pause())).await;
    }
}

/// One session from its opening to its end, or to the orderly stop.
async fn serve(shared: &Shared) -> Result<(), SessionError> {
    let opening = Session::open(&shared.sessions);
    let Some(session) = shared.stop.run_until_cancelled(opening).await else { return Ok(()) };
    let mut session = session?;
    if stand_by(shared, &mut session).await? {
        leader::lead(shared, &mut session).await?;
    }
    Ok(())
}

/// Waits until the lock is ours (`true`) or the relay is to stop. Meanwhile passes our nudges on to the leader and what
/// the leader positions on to our readers.
async fn stand_by(shared: &Shared, session: &mut Session) -> Result<bool, SessionError> {
    if session.try_lock().await? {
        return Ok(true);
    }
    tracing::info!("another replica relays the events; standing by");
    session.listen(outbox::POSITIONS).await?;
    let mut told = outbox::state(&session.client).await?.last;
    let mut attempt = interval(TRY_LOCK);
    attempt.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        enum Wake {
            Nudge,
            Positions,
            Attempt,
            Stop,
        }
        let wake = tokio::select! {
            () = shared.nudge.notified() => Wake::Nudge,
            heard = session.notified() => { heard?; Wake::Positions }
            _ = attempt.tick() => Wake::Attempt,
            () = shared.stop.cancelled() => Wake::Stop,
        };
        match wake {
            // Not in the storing transactions: NOTIFY makes their commits wait for one another.
            Wake::Nudge => session.client.batch_execute(&format!("NOTIFY {}", outbox::WAITING)).await?,
            Wake::Positions => {
                told = pass_on(shared, session, told).await?;
                // Whoever waits for new events by the status hears of them as soon as on the leader.
                shared.status.send_if_modified(|s| std::mem::replace(&mut s.last_position, told) != told);
            }
            Wake::Stop => return Ok(false),
            Wake::Attempt => {
                if session.try_lock().await? {
                    return Ok(true);
                }
                // A notification can be missed when the leader changes.
                told = pass_on(shared, session, told).await?;
                show(shared, session).await?;
            }
        }
    }
}

/// Sends events after `told` to our readers; returns the position reached.
async fn pass_on(shared: &Shared, session: &Session, mut told: i64) -> Result<i64, SessionError> {
    if !shared.feed.has_readers() {
        // Whoever comes later reads what was before from pages.
        return Ok(outbox::state(&session.client).await?.last);
    }
    loop {
        let page = feed::events_after(&session.client, told, feed::PAGE_ROWS).await?;
        let Some(last) = page.last() else { return Ok(told) };
        told = last.position;
        let events: Vec<_> = page.into_iter().map(Arc::new).collect();
        shared.feed.send(&events);
    }
}

async fn show(shared: &Shared, session: &Session) -> Result<(), SessionError> {
    let state = outbox::state(&session.client).await?;
    let kafka = resting(shared);
    shared.status.send_replace(Status {
        role: Role::Standby,
        kafka,
        last_position: state.last,
        sent_position: state.sent,
        unpositioned: outbox::waiting(&session.client, 0, leader::COUNTED).await?,
        not_in_full: 0,
        oldest_unsent: None,
        last_error: None,
    });
    // The leader tells these; two replicas telling them would count twice.
    shared.books.levels.events_not_in_full.set(0);
    shared.books.levels.outbox_unsent.set(0);
    shared.books.levels.relay_lag_ms.set(0);
    Ok(())
}

fn resting(shared: &Shared) -> KafkaLink {
    if shared.kafka.is_some() { KafkaLink::Resting } else { KafkaLink::NotConfigured }
}

/// Shortened at random, so that replicas do not come back in step.
fn pause() -> Duration {
    REOPEN.mul_f64(rand::rng().random_range(0.5..=1.0))
}
