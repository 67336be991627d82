//! The device fleet: a made-up district publishing over real MQTT, and the ledger of what the broker took over.
//!
//! ```text
//! fleet (who there is, by seed) -> script (what they say, by seed, start and rate) -> schedule (when)
//!   -> connections (MQTT 5, QoS 1, many devices on each) -> PUBACK -> ledger
//! ```
//!
//! Everything up to the schedule is pure. The ledger is the outside's book: whatever stands in it must be in the tables
//! once. A message is sent again with the same bytes until it is acknowledged, so the broker may get it more than once
//! and the ledger has it once.
//!
//! For demo and tests, never part of `serve`.

mod blast;
mod broker;
mod connection;
#[cfg(test)]
mod cross;
pub mod demo_files;
pub mod dice;
mod engine;
pub mod fleet;
pub mod ledger;
pub mod message;
pub mod mix;
mod outbox;
pub mod passage;
pub mod progress;
pub mod scenario;
mod schedule;
pub mod script;
mod spoil;
mod terminal;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

pub use blast::{Blast, BlastError, BlastSummary};
pub use broker::{Broker, BrokerError};
pub use connection::ConnectionFailure;
pub use fleet::{Fleet, FleetSize};
pub use ledger::Ledger;
pub use mix::{Mix, Source};
pub use progress::{Counts, Progress};
pub use scenario::{BadKind, Scenario};

use connection::Connection;
use message::Message;
use passage::PassageDetail;
use schedule::Schedule;
use script::{Script, ScriptOptions};

use crate::reading::Timestamp;

/// Messages a connection may have waiting before the making of messages waits for it.
const QUEUE: usize = 1024;
/// How often the schedule is looked at when many messages a second are due.
const TICK: Duration = Duration::from_millis(2);
/// Devices of one connection that announce their state; more would only delay the readings.
const ANNOUNCED: usize = 64;

/// A run of the fleet.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    pub broker: Broker,
    /// Messages a second, above zero.
    pub rate: f64,
    /// Ends after this many seconds; `None`: when cancelled or when `messages` are made.
    pub seconds: Option<u64>,
    /// Ends after this many messages.
    pub messages: Option<u64>,
    pub seed: u64,
    /// First instant of the script; `None`: now.
    pub start: Option<Timestamp>,
    pub mix: Mix,
    pub scenario: Scenario,
    pub detail: PassageDetail,
    /// `None`: as large as rate and mix keep busy, see [`Script::fleet_size`].
    pub fleet: Option<Arc<Fleet>>,
    /// MQTT connections that share the devices, at least 1.
    pub connections: u16,
    /// Client ids are `{prefix}-{number}`; `None`: a prefix that no other run has.
    pub client_id_prefix: Option<String>,
    pub ledger: Option<PathBuf>,
    /// How long the broker may take to be there at first.
    pub patience: Duration,
    /// How long outstanding acknowledgements are waited for at the end.
    pub drain: Duration,
    pub progress: Arc<Progress>,
    /// Ends the making of messages; what was made is still delivered.
    pub cancel: CancellationToken,
}

impl SimulateOptions {
    /// A calm fleet of seed 1 with the default mix at 30 messages a second, until cancelled.
    pub fn new(broker: Broker) -> Self {
        Self {
            broker,
            rate: 30.0,
            seconds: None,
            messages: None,
            seed: fleet::DEMO_SEED,
            start: None,
            mix: Mix::default(),
            scenario: Scenario::calm(),
            detail: PassageDetail::Full,
            fleet: None,
            connections: 4,
            client_id_prefix: None,
            ledger: None,
            patience: Duration::from_secs(20),
            drain: Duration::from_secs(30),
            progress: Arc::default(),
            cancel: CancellationToken::new(),
        }
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub counts: Counts,
    /// From the first message due to the last acknowledgement.
    pub took: Duration,
}

impl Summary {
    /// Messages made that the broker did not acknowledge within the time to drain, or refused.
    pub fn undelivered(&self) -> u64 {
        self.counts.made.saturating_sub(self.counts.acked)
    }

    /// Acknowledged messages a second.
    pub fn rate(&self) -> f64 {
        self.counts.acked as f64 / self.took.as_secs_f64().max(1e-3)
    }
}

/// Why a run could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error("rate must be a number above 0 and at most {MAX_RATE}")]
    Rate,
    #[error("at least one connection is needed")]
    Connections,
    #[error("write the ledger {path}")]
    Ledger { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Connection(#[from] ConnectionFailure),
}

/// Largest rate that is taken, messages a second: far above what one machine can do.
pub const MAX_RATE: f64 = 1_000_000.0;

/// Runs the fleet until its end, delivers what was made, and closes the ledger.
///
/// # Cancel safety
///
/// Use [`SimulateOptions::cancel`]. Dropping the future drops the connections, so last wills are published and what is
/// not acknowledged is not in the ledger.
pub async fn run(options: SimulateOptions) -> Result<Summary, SimulateError> {
    if !(options.rate > 0.0 && options.rate <= MAX_RATE) {
        return Err(SimulateError::Rate);
    }
    if options.connections == 0 {
        return Err(SimulateError::Connections);
    }
    let ledger = match &options.ledger {
        None => None,
        Some(path) => {
            let wrong = |source| SimulateError::Ledger { path: path.clone(), source };
            Some(Arc::new(Ledger::create(path).map_err(wrong)?))
        }
    };
    let fleet = options
        .fleet
        .clone()
        .unwrap_or_else(|| Arc::new(Fleet::new(options.seed, Script::fleet_size(options.rate, &options.mix))));
    let start = options.start.unwrap_or_else(Timestamp::now);
    let script = Script::new(ScriptOptions {
        fleet: Arc::clone(&fleet),
        run: run_name(options.seed, start),
        rate: options.rate,
        start,
        mix: options.mix,
        scenario: options.scenario.clone(),
        detail: options.detail,
    });

    let mut lines = JoinSet::new();
    let queues = connect(&options, &fleet, ledger.as_ref(), &mut lines);
    let began = Instant::now();
    let flushing = ledger.clone().map(|ledger| tokio::spawn(flush_regularly(ledger)));

    let feeding = feed(&options, script, queues);
    let failure = deliver(feeding, &mut lines, options.drain).await;
    let took = began.elapsed();

    if let Some(flushing) = flushing {
        flushing.abort();
    }
    if let (Some(ledger), Some(path)) = (&ledger, &options.ledger) {
        ledger.flush().map_err(|source| SimulateError::Ledger { path: path.clone(), source })?;
    }
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(Summary { counts: options.progress.counts(), took }),
    }
}

/// Different for every start, so that a second run into the same store is not taken for a replay.
fn run_name(seed: u64, start: Timestamp) -> Box<str> {
    format!("s{seed:x}-{:x}", start.micros() / 1000).into()
}

type Lines = JoinSet<Result<(), ConnectionFailure>>;

/// Starts the connections and returns their queues.
fn connect(
    options: &SimulateOptions,
    fleet: &Fleet,
    ledger: Option<&Arc<Ledger>>,
    lines: &mut Lines,
) -> Vec<mpsc::Sender<Message>> {
    let prefix = options
        .client_id_prefix
        .clone()
        .unwrap_or_else(|| format!("dieselwatch-sim-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]));
    let count = usize::from(options.connections);
    let mut topics = vec![Vec::new(); count];
    for (device, topic) in script::status_topics(fleet, &options.mix) {
        let of_line: &mut Vec<Box<str>> = &mut topics[device as usize % count];
        if of_line.len() < ANNOUNCED {
            of_line.push(topic);
        }
    }
    let start = |(number, status_topics)| {
        let (queue, messages) = mpsc::channel(QUEUE);
        let connection = Connection {
            broker: options.broker.clone(),
            client_id: format!("{prefix}-{number}"),
            patience: options.patience,
            status_topics,
            progress: Arc::clone(&options.progress),
            ledger: ledger.cloned(),
        };
        lines.spawn(connection::run(connection, messages));
        queue
    };
    topics.into_iter().enumerate().map(start).collect()
}

/// Makes messages as they fall due and queues them; ends when the run does, or when a connection has given up.
async fn feed(options: &SimulateOptions, mut script: Script, queues: Vec<mpsc::Sender<Message>>) {
    let schedule = Schedule::new(options.rate);
    let began = Instant::now();
    let limit = options.messages.unwrap_or(u64::MAX);
    let end = options.seconds.map(|seconds| began + Duration::from_secs(seconds));
    let last_due = options.seconds.map_or(u64::MAX, |seconds| schedule.due(Duration::from_secs(seconds)));
    let (mut made, mut looked) = (0, began);
    while made < limit.min(last_due) {
        let next = (began + schedule.when(made + 1)).max(looked + TICK);
        let over = tokio::select! {
            () = options.cancel.cancelled() => true,
            () = time::sleep_until(end.map_or(next, |end| next.min(end))) => false,
        };
        let now = Instant::now();
        let burst = schedule.burst(now - began, made, now - looked).min(limit.min(last_due) - made);
        looked = now;
        if over {
            return;
        }
        for _ in 0..burst {
            let message = script.next_message();
            let Some(queue) = queues.get(message.device as usize % queues.len()) else { return };
            Progress::add(&options.progress.made, 1);
            if queue.send(message).await.is_err() {
                return;
            }
            made += 1;
        }
        // A broker that cannot keep up must not stretch the run.
        if end.is_some_and(|end| now >= end) {
            return;
        }
    }
}

/// Feeds, then waits for the connections to deliver, at most `drain`. The first connection that gives up ends it all.
async fn deliver(feeding: impl Future<Output = ()>, lines: &mut Lines, drain: Duration) -> Option<ConnectionFailure> {
    {
        let mut feeding = std::pin::pin!(feeding);
        loop {
            tokio::select! {
                () = &mut feeding => break,
                Some(ended) = lines.join_next() => if let Some(failure) = failure_of(ended) {
                    return Some(failure);
                },
            }
        }
    }
    let all = async {
        while let Some(ended) = lines.join_next().await {
            if let Some(failure) = failure_of(ended) {
                return Some(failure);
            }
        }
        None
    };
    let outcome = time::timeout(drain, all).await;
    lines.abort_all();
    outcome.unwrap_or_default()
}

fn failure_of(ended: Result<Result<(), ConnectionFailure>, tokio::task::JoinError>) -> Option<ConnectionFailure> {
    match ended {
        Ok(result) => result.err(),
        // A panic of ours goes on as one; nothing else ends these tasks early.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

async fn flush_regularly(ledger: Arc<Ledger>) {
    let mut ticks = time::interval(ledger::FLUSH_EVERY);
    loop {
        ticks.tick().await;
        let ledger = Arc::clone(&ledger);
        // A full disk shows at the last flush, which reports; nothing is lost from memory by a failed one before it.
        let _ = tokio::task::spawn_blocking(move || ledger.flush()).await;
    }
}

#[cfg(test)]
mod tests;
