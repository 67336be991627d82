//! One MQTT connection that carries the messages of many devices.
//!
//! Two tasks: one does nothing but poll the client and book what it reports, the other hands messages over. They must not
//! be one, because the client only empties its request queue while it is polled, so waiting for room in it from the
//! polling task would wait for ever. Each connection gets a new client; what an old one held is dropped with it, the
//! [`Outbox`] has every unacknowledged message.
//!
//! A broker that refuses our credentials or was never there ends the run; one that goes away is waited for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, ConnectionError, Event,
        mqttbytes::{
            QoS,
            v5::{ConnectReturnCode, LastWill, Packet, PubAckReason},
        },
    },
};
use tokio::{
    sync::{mpsc, watch},
    time,
};

use super::{
    broker::Broker,
    dice::Dice,
    ledger::Ledger,
    message::Message,
    outbox::{Item, Outbox, Sent},
    progress::Progress,
};
use crate::reading::Timestamp;

/// Requests the client holds before handing over waits; a few flushes' worth.
const REQUESTS: usize = 256;
/// Unacknowledged messages per connection; the broker's own limit counts where it is lower.
const IN_FLIGHT: u16 = 2000;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(3);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Header, topic length, packet number, properties: upper bound of what a PUBLISH adds to topic and payload, bytes.
const PUBLISH_OVERHEAD: usize = 16;

/// Stages of a connection: messages may come; only acknowledgements are waited for; the goodbye is said.
const RUNNING: u8 = 0;
const CLOSING: u8 = 1;
const LEFT: u8 = 2;

/// Why a connection gave up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionFailure {
    #[error("broker {address} does not let us in: {code:?}")]
    Denied { address: String, code: ConnectReturnCode },
    /// The cause is text, because the client's errors already name theirs when printed.
    #[error("broker {address} could not be reached within {patience:?}: {cause}")]
    Unreachable { address: String, patience: Duration, cause: String },
}

/// A connection to be made.
pub(super) struct Connection {
    pub broker: Broker,
    pub client_id: String,
    /// How long the first connection may take.
    pub patience: Duration,
    /// Status topics of the devices on this connection; the last will speaks for the first.
    pub status_topics: Vec<Box<str>>,
    pub progress: Arc<Progress>,
    pub ledger: Option<Arc<Ledger>>,
}

/// A client as the handing-over task sees it.
#[derive(Clone)]
struct Session {
    epoch: u64,
    client: AsyncClient,
    /// Largest packet the broker takes, bytes.
    max_packet: usize,
}

/// Runs the connection until the queue is closed and everything in it acknowledged.
///
/// # Cancel safety
///
/// Dropping it drops the connection without a goodbye, so the broker publishes the last will.
pub(super) async fn run(connection: Connection, queue: mpsc::Receiver<Message>) -> Result<(), ConnectionFailure> {
    let outbox = Outbox::default();
    let (opened, sessions) = watch::channel(None);
    let stage = AtomicU8::new(RUNNING);
    let poll = keep_connected(&connection, &outbox, opened, &stage);
    let hand_over = hand_over(&connection, &outbox, sessions, queue, &stage);
    // The handing-over ends when all is delivered, and the polling ends after it; or the polling ends with an error.
    let (polled, ()) = tokio::join!(poll, hand_over);
    polled
}

async fn keep_connected(
    connection: &Connection,
    outbox: &Outbox,
    opened: watch::Sender<Option<Session>>,
    stage: &AtomicU8,
) -> Result<(), ConnectionFailure> {
    let started = Instant::now();
    let mut jitter = Dice::new(u64::from(std::process::id()));
    let mut wait = BACKOFF_FIRST;
    let mut connected_before = false;
    loop {
        let (connected, error) = poll_one(connection, outbox, &opened, stage, connected_before).await;
        if stage.load(Ordering::Acquire) == LEFT {
            return Ok(());
        }
        let address = connection.broker.address();
        if let ConnectionError::ConnectionRefused(code) = error
            && is_denial(code)
        {
            return Err(ConnectionFailure::Denied { address, code });
        }
        connected_before |= connected;
        if !connected_before && started.elapsed() > connection.patience {
            let cause = error.to_string();
            return Err(ConnectionFailure::Unreachable { address, patience: connection.patience, cause });
        }
        wait = if connected { BACKOFF_FIRST } else { (wait * 2).min(BACKOFF_LONGEST) };
        time::sleep(wait.mul_f64(0.5 + jitter.unit() / 2.0)).await;
    }
}

fn is_denial(code: ConnectReturnCode) -> bool {
    use ConnectReturnCode as Code;
    matches!(
        code,
        Code::BadUserNamePassword
            | Code::NotAuthorized
            | Code::Banned
            | Code::BadAuthenticationMethod
            | Code::ClientIdentifierNotValid
            | Code::UnsupportedProtocolVersion
            | Code::RefusedProtocolVersion
    )
}

/// Makes one connection and polls it until it is lost. Tells whether it was ever up, and why it ended.
async fn poll_one(
    connection: &Connection,
    outbox: &Outbox,
    opened: &watch::Sender<Option<Session>>,
    stage: &AtomicU8,
    again: bool,
) -> (bool, ConnectionError) {
    let will = connection
        .status_topics
        .first()
        .map(|topic| LastWill::new(&**topic, status("offline"), QoS::AtLeastOnce, true, None));
    let options = connection.broker.options(&connection.client_id, IN_FLIGHT, will);
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    let mut connected = false;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                connected = true;
                if again {
                    Progress::add(&connection.progress.reconnects, 1);
                }
                let limit = ack.properties.and_then(|properties| properties.max_packet_size);
                let max_packet = limit.map_or(usize::MAX, |limit| limit as usize);
                let state = if stage.load(Ordering::Acquire) >= CLOSING { "offline" } else { "online" };
                let epoch = outbox.begin_epoch(announcements(connection, state));
                opened.send_replace(Some(Session { epoch, client: client.clone(), max_packet }));
            }
            Ok(Event::Outgoing(Outgoing::Publish(packet))) => match outbox.on_sent(packet) {
                Sent::First => Progress::add(&connection.progress.sent, 1),
                Sent::Again => Progress::add(&connection.progress.resent, 1),
                Sent::Uncounted => {}
            },
            Ok(Event::Incoming(Packet::PubAck(ack))) => {
                let taken = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                if let Some(message) = outbox.on_acked(ack.pkid) {
                    acknowledge(connection, &message, taken);
                }
            }
            Ok(_) => {}
            Err(error) => return (connected, error),
        }
    }
}

fn acknowledge(connection: &Connection, message: &Message, taken: bool) {
    if !taken {
        Progress::add(&connection.progress.refused, 1);
        return;
    }
    if let Some(ledger) = &connection.ledger {
        ledger.record(message, Timestamp::now());
    }
    Progress::add(&connection.progress.acked, 1);
}

/// Hands messages to whichever client is up; returns when all are acknowledged, or when the polling gave up.
async fn hand_over(
    connection: &Connection,
    outbox: &Outbox,
    mut sessions: watch::Receiver<Option<Session>>,
    mut queue: mpsc::Receiver<Message>,
    stage: &AtomicU8,
) {
    loop {
        let session = sessions.borrow_and_update().clone();
        if let Some(session) = session
            && serve_session(connection, outbox, &session, &mut sessions, &mut queue, stage).await
        {
            stage.store(LEFT, Ordering::Release);
            // A goodbye that does not get through changes nothing: all is acknowledged.
            let _ = time::timeout(GOODBYE, session.client.disconnect()).await;
            return;
        }
        if sessions.changed().await.is_err() {
            return;
        }
    }
}

/// Serves one session; true when everything is delivered, false when the session is over.
async fn serve_session(
    connection: &Connection,
    outbox: &Outbox,
    session: &Session,
    sessions: &mut watch::Receiver<Option<Session>>,
    queue: &mut mpsc::Receiver<Message>,
    stage: &AtomicU8,
) -> bool {
    loop {
        let closing = stage.load(Ordering::Acquire) >= CLOSING;
        while let Some(item) = outbox.hand_over(session.epoch) {
            let (topic, payload, retain) = match item {
                Item::Status { topic, payload } => (topic, payload, true),
                Item::Reading(message) => (message.topic, message.payload, false),
            };
            if topic.len() + payload.len() + PUBLISH_OVERHEAD > session.max_packet {
                outbox.withdraw(session.epoch);
                Progress::add(&connection.progress.refused, 1);
                continue;
            }
            let publish = session.client.publish(String::from(topic), QoS::AtLeastOnce, retain, payload);
            tokio::select! {
                handed = publish => if handed.is_err() { return false },
                changed = sessions.changed() => return leave_session(sessions, changed.is_ok()),
            }
        }
        if closing && outbox.is_empty() {
            return true;
        }
        tokio::select! {
            changed = sessions.changed() => return leave_session(sessions, changed.is_ok()),
            message = queue.recv(), if !closing => match message {
                Some(message) => outbox.add(message),
                None => {
                    stage.store(CLOSING, Ordering::Release);
                    outbox.announce(announcements(connection, "offline"));
                }
            },
            () = outbox.drained.notified(), if closing => {}
        }
    }
}

/// The caller waits for a change of session; a change that was just seen must not be lost to it.
fn leave_session(sessions: &mut watch::Receiver<Option<Session>>, changed: bool) -> bool {
    if changed {
        sessions.mark_changed();
    }
    false
}

fn announcements(connection: &Connection, state: &str) -> Vec<Item> {
    let payload = Bytes::from(status(state));
    let topics = connection.status_topics.iter().cloned();
    topics.map(|topic| Item::Status { topic, payload: payload.clone() }).collect()
}

fn status(state: &str) -> String {
    format!(r#"{{"state":"{state}","at":"{}"}}"#, Timestamp::now())
}
