//! The MQTT session: from the broker to [`Delivery`], and back from settled receipts to acknowledgements.
//!
//! Contract:
//!
//! - **Nothing is acknowledged that was not settled.** A message is acknowledged when its [`Receipt`] and those of all
//!   earlier messages of the same connection are settled, in arrival order, and only by the connection it came by.
//!   Everything else comes again: the sessions are persistent.
//! - **Memory is bounded**: by a byte budget over all connections, by the un-acknowledged window of each, and by the
//!   bound of the inbox. When a bound is reached, reading stops (see the `session` module); nothing is dropped.
//! - **The books balance** at any moment ([`Ingest::books`]).
//! - **It never gives up**: a broker or a database that is away is tried again for ever, with back-off and jitter.
//!
//! Several connections share the load as members of one shared-subscription group, each with a client id of its own
//! (see the `slots` module). Where a broker refuses a subscription or grants less than QoS 1, the connection is not
//! taken for one and is tried again. A change of `mqtt.group` or of the filters leaves the old subscriptions in
//! sessions that outlive it; use another `client_id_prefix` then, or the old ones go on until they expire.
//!
//! What the broker does not promise: mosquitto (seen with 2.0.11) writes plain subscriptions of a persistent session to
//! disk, but not shared ones. After a restart it takes messages, and acknowledges them to their publishers, with nobody
//! to keep them for until the first of us is back and has subscribed anew: those are lost. A short `backoff_min_ms`
//! makes the gap short; a service that runs alone closes it with an empty `mqtt.group` (a plain subscription, one
//! connection, one replica).
//!
//! Two size limits: the broker knows `max_packet_bytes` from CONNECT and discards larger messages on its own (MQTT
//! 5.0, 3.1.2.11.4), so they are lost at the broker, never a reconnect loop; keep it at or above the broker's own limit.
//! A payload between `max_payload_bytes` and that is delivered, for the pipeline to quarantine.
//!
//! Not done here: MQTT 3.1.1 (it has no receive maximum, so the broker alone would set the window), and publishing
//! (with `rumqttc`, acknowledgements queue behind the publishes of the same client).

mod backoff;
mod budget;
mod delivery;
mod devices;
mod gate;
mod line;
mod meter;
mod options;
mod receipt;
mod ring;
mod session;
mod slots;
mod supervisor;
mod topic;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rumqttc::v5::MqttOptions;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{
    budget::Budget,
    devices::Devices,
    gate::Gate,
    line::{Line, Order},
    meter::Meter,
    ring::Book,
    topic::Topics,
};
pub use self::{
    delivery::{Delivery, Inbox, UNKNOWN_SOURCE},
    devices::{Connectivity, DeviceCounts, DeviceState, MAX_DEVICES},
    line::{Activity, ConnectionStatus},
    meter::{MessageBook, UNKNOWN},
    options::StartError,
    receipt::Receipt,
    slots::{LeaseArgs, Slots},
    topic::FilterError,
};
use crate::config::{Mqtt, Source};

/// Everything [`start`] needs.
pub struct StartArgs<'a> {
    pub config: &'a Mqtt,
    /// In the order of the configuration; [`Delivery::source`] is an index into it.
    pub sources: &'a [Source],
    pub slots: Slots,
}

/// The running session. Dropping it without [`Ingest::finish`] ends the connections as if the process had died.
pub struct Ingest {
    shared: Arc<Shared>,
    stop_reading: CancellationToken,
    finish: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

/// How [`Ingest::finish`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Whether every connection was left in order and every receipt was decided before.
    pub clean: bool,
    /// Messages whose receipt was still open at the end; they come again at the next start.
    pub unsettled: u64,
}

/// What all tasks of the session share.
struct Shared {
    config: Mqtt,
    sources: Vec<Source>,
    options: MqttOptions,
    topics: Topics,
    budget: Budget,
    devices: Devices,
    meter: Meter,
    /// One per slot ever used: their books go on when the connection has ended.
    gates: Mutex<BTreeMap<u16, Arc<Gate>>>,
    lines: Mutex<BTreeMap<u16, Arc<Line>>>,
}

/// Room in the inbox besides a full window of every connection: for what connections that are gone left behind.
const INBOX_HEADROOM: usize = 1024;

/// Starts connecting, in the background; returns at once.
///
/// # Errors
/// Mistakes in the configuration. A broker or a database that cannot be reached is no error.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn start(args: StartArgs<'_>) -> Result<(Ingest, Inbox), StartError> {
    let StartArgs { config, sources, slots } = args;
    let shared = Arc::new(Shared {
        config: config.clone(),
        sources: sources.to_vec(),
        options: options::options(config)?,
        topics: Topics::new(sources)?,
        budget: Budget::new(config.budget_bytes),
        devices: Devices::default(),
        meter: Meter::new(sources),
        gates: Mutex::default(),
        lines: Mutex::default(),
    });
    let capacity = usize::from(config.connections) * usize::from(config.receive_maximum) + INBOX_HEADROOM;
    let (deliveries, inbox) = mpsc::channel(capacity);
    let (stop_reading, finish) = (CancellationToken::new(), CancellationToken::new());
    let supervisor =
        supervisor::Supervisor::new(Arc::clone(&shared), slots, deliveries, stop_reading.clone(), finish.clone());
    let supervisor = Mutex::new(Some(tokio::spawn(supervisor.run())));
    Ok((Ingest { shared, stop_reading, finish, supervisor }, Inbox::new(inbox)))
}

impl Ingest {
    /// The message book of every source in the order of the configuration, and last that of unknown topics.
    pub fn books(&self) -> Vec<MessageBook> {
        self.shared.meter.name(&self.shared.books())
    }

    /// Every connection of this process, by slot. Empty while no slot could be leased.
    pub fn status(&self) -> Vec<ConnectionStatus> {
        self.shared.lines().values().map(|line| line.status()).collect()
    }

    /// Whether all connections that are configured are reading.
    pub fn is_ready(&self) -> bool {
        let reading = |line: &&Arc<Line>| line.status().activity == Activity::Reading;
        self.shared.lines().values().filter(reading).count() >= usize::from(self.shared.config.connections)
    }

    pub fn device_counts(&self) -> DeviceCounts {
        self.shared.devices.counts()
    }

    /// The latest state of every device that ever said one, at most [`MAX_DEVICES`], in no order.
    pub fn device_states(&self) -> Vec<DeviceState> {
        self.shared.devices.states()
    }

    /// Payload bytes and overhead now held against `mqtt.budget_bytes`.
    pub fn held_bytes(&self) -> u64 {
        self.shared.budget.held()
    }

    /// Copies the books and states to the metrics; done every second anyway.
    pub fn show_metrics(&self) {
        self.shared.show_metrics();
    }

    /// Takes nothing new from now on. What was delivered can still be settled, and its acknowledgements still leave; the
    /// inbox closes when it is drained. What the broker sends meanwhile is left to come again.
    pub fn stop_reading(&self) {
        self.stop_reading.cancel();
        for line in self.shared.lines().values() {
            line.give(Order::Drain);
        }
    }

    /// Ends the session: waits until every receipt is decided and the acknowledgements are written, disconnects
    /// (the broker keeps the sessions) and releases the slots. At the deadline what is left is cut off; it comes again.
    ///
    /// Whoever holds receipts must settle or drop them, and whoever holds the [`Inbox`] drain or drop it.
    pub async fn finish(&self, deadline: Duration) -> Finish {
        let until = tokio::time::Instant::now() + deadline;
        self.stop_reading();
        let lines: Vec<_> = self.shared.lines().values().cloned().collect();
        for line in &lines {
            line.give(Order::Leave);
        }
        self.finish.cancel();
        let supervisor = self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut clean = true;
        if let Some(mut supervisor) = supervisor
            && tokio::time::timeout_at(until, &mut supervisor).await.is_err()
        {
            clean = false;
            supervisor.abort();
            // Only waits for the tasks to be dropped.
            let _cancelled = supervisor.await;
        }
        let unsettled = self.shared.gates().values().map(|gate| gate.standing().open as u64).sum();
        for gate in self.shared.gates().values() {
            gate.close();
        }
        self.shared.show_metrics();
        Finish { clean: clean && unsettled == 0, unsettled }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(supervisor) = supervisor {
            supervisor.abort();
        }
    }
}

impl Shared {
    fn gates(&self) -> MutexGuard<'_, BTreeMap<u16, Arc<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<u16, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> Vec<Book> {
        let mut sums = vec![Book::default(); self.sources.len() + 1];
        for gate in self.gates().values() {
            for (sum, book) in sums.iter_mut().zip(gate.books()) {
                sum.add(&book);
            }
        }
        sums
    }

    fn show_metrics(&self) {
        self.meter.show_books(&self.books());
        let (all, up) = {
            let lines = self.lines();
            (lines.len(), lines.values().filter(|line| line.status().connected).count())
        };
        self.meter.show_state(all, up, self.budget.held(), self.devices.counts());
    }
}

#[cfg(test)]
mod tests;
