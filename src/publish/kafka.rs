//! The transactional producer, on a thread of its own because every call of librdkafka that matters blocks.
//!
//! A [`Line`] lives from `init_transactions` to its first failure. Whatever goes wrong (time out, fenced, unknown result
//! of a commit), the answer is the same: drop it and open another one, which fences what is left of the old one, lets the
//! broker finish or roll back its last transaction, and reads from the topics what came of it. An event that does not fit
//! is no failure: it is found before anything is sent (module `limits`), and the line stays.

mod deliveries;
mod limits;
mod settings;
mod tail;

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig},
};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use deliveries::Deliveries;
use limits::Limits;
pub use settings::Settings;

use super::{
    event::{CONTENT_TYPE, Topic},
    outbox::{Positioned, Progress, State},
};

/// Record header with the event's position, decimal text.
pub const POSITION_HEADER: &str = "position";

/// Record header with the id of the database the position counts in.
pub const ORIGIN_HEADER: &str = "origin";

/// Record header with the payload's media type.
const CONTENT_TYPE_HEADER: &str = "content-type";

/// Longest wait for one answer while opening; a broker that is away is asked again after a pause.
const ASK: Duration = Duration::from_secs(5);

/// Longest wait for `init_transactions`; the broker may first have to finish the last transaction of a predecessor.
const INIT: Duration = Duration::from_secs(30);

/// Between looks at delivery reports: small against a round trip to a broker, long enough to cost nothing.
const REPORTS: Duration = Duration::from_micros(250);

/// Longest wait for the records of a transaction and then for its commit. Longer than `transaction.timeout.ms`, after
/// which the broker has rolled it back, so that a short outage is waited out inside the transaction.
const COMMIT: Duration = Duration::from_secs(40);

/// How often an idle line asks whether the brokers are there.
const HEALTH: Duration = Duration::from_secs(5);

/// Why a line ended.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{what}")]
    Kafka { what: &'static str, source: KafkaError },
    /// The broker will not take an event, however often it is tried. Of one that is too large this shows only where its topic's
    /// limit is not known, or was lowered since it was asked.
    #[error("Kafka refuses an event")]
    Refused { position: i64, code: RDKafkaErrorCode },
    /// Another producer's open transaction hides records after it.
    #[error("a transaction of another producer is open in {topic}/{partition}")]
    Hidden { topic: &'static str, partition: i32 },
    #[error("topic {0} has no partitions")]
    NoPartitions(&'static str),
    #[error("records were not delivered in time")]
    Slow,
    #[error("the Kafka thread ended")]
    Gone,
}

impl Fault {
    pub(super) fn kafka(what: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { what, source }
    }
}

/// A handle on the thread. Dropping it ends the thread after what it is doing.
#[derive(Debug)]
pub struct Line {
    batches: mpsc::Sender<Batch>,
    healthy: watch::Receiver<bool>,
}

struct Batch {
    events: Vec<Arc<Positioned>>,
    done: oneshot::Sender<Result<Published, Fault>>,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Published {
    Sent(Progress),
    /// Nothing was sent, because of these events.
    TooLarge(Vec<TooLarge>),
}

/// An event that does not fit into its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    pub position: i64,
    /// Size of its record, bytes.
    pub bytes: usize,
    /// What the topic takes, bytes.
    pub limit: usize,
}

/// What comes back from the thread.
pub type Answer<T> = oneshot::Receiver<Result<T, Fault>>;

impl Line {
    /// Starts to open a line. The answer says up to which position Kafka holds everything, and where its partitions end.
    pub fn open(settings: Settings, state: State) -> (Self, Answer<Progress>) {
        let (batches, commands) = mpsc::channel();
        let (opened, answer) = oneshot::channel();
        let (health, healthy) = watch::channel(true);
        let thread = std::thread::Builder::new().name("kafka".into());
        // When no thread can be had, the closure is dropped with `opened` in it, which the answer shows.
        if let Err(error) = thread.spawn(move || serve(settings, &state, opened, &commands, &health)) {
            tracing::error!(error = %error, "no thread for Kafka");
        }
        (Self { batches, healthy }, answer)
    }

    /// Sends the events in one transaction; they must follow what was sent before. One batch at a time.
    pub fn publish(&self, events: Vec<Arc<Positioned>>) -> Answer<Published> {
        let (done, answer) = oneshot::channel();
        // A thread that is gone drops the batch, which the answer shows.
        let _ = self.batches.send(Batch { events, done });
        answer
    }

    /// Whether the brokers answered when they were last asked.
    pub fn healthy(&self) -> bool {
        *self.healthy.borrow()
    }
}

fn serve(
    settings: Settings,
    state: &State,
    opened: oneshot::Sender<Result<Progress, Fault>>,
    batches: &mpsc::Receiver<Batch>,
    health: &watch::Sender<bool>,
) {
    let mut session = match Session::open(settings, state) {
        Ok((session, progress)) => {
            if opened.send(Ok(progress)).is_err() {
                return;
            }
            session
        }
        Err(fault) => {
            // Nobody left to tell is as good as told.
            let _ = opened.send(Err(fault));
            return;
        }
    };
    loop {
        match batches.recv_timeout(HEALTH) {
            Ok(batch) => {
                let result = session.publish(&batch.events);
                health.send_replace(result.is_ok());
                let ended = result.is_err();
                if batch.done.send(result).is_err() || ended {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                session.producer.poll(Duration::ZERO);
                health.send_replace(
                    session.producer.client().fetch_metadata(Some(Topic::Violations.name()), ASK).is_ok(),
                );
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Session {
    settings: Settings,
    producer: BaseProducer<Deliveries>,
    limits: Limits,
    origin: String,
}

impl Session {
    /// Fences predecessors, then reads what they left behind: in this order, so that nothing comes after the reading.
    fn open(settings: Settings, state: &State) -> Result<(Self, Progress), Fault> {
        let admin = settings.admin()?;
        let partitions = settings::partitions(&admin)?;
        let limits = Limits::ask(&settings, &admin)?;
        let producer: BaseProducer<Deliveries> = settings
            .producer(limits.batch_bytes())
            .create_with_context(Deliveries::default())
            .map_err(Fault::kafka("make a producer"))?;
        producer.init_transactions(INIT).map_err(Fault::kafka("start transactions"))?;
        let progress = tail::read(&settings, &partitions, state)?;
        Ok((Self { settings, producer, limits, origin: state.origin.to_string() }, progress))
    }

    fn publish(&mut self, events: &[Arc<Positioned>]) -> Result<Published, Fault> {
        let too_large = self.too_large(events)?;
        if !too_large.is_empty() {
            return Ok(Published::TooLarge(too_large));
        }
        let sent = self.transaction(events);
        if let Err(Fault::Refused { .. }) = sent {
            self.abort();
        }
        sent.map(Published::Sent)
    }

    /// The events that do not fit. Asks the cluster again before it says so of any: the limit may have been raised.
    fn too_large(&mut self, events: &[Arc<Positioned>]) -> Result<Vec<TooLarge>, Fault> {
        let exceeds = |event: &Arc<Positioned>| self.limits.exceeded_by(event).is_some();
        if !events.iter().any(exceeds) {
            return Ok(Vec::new());
        }
        self.limits = Limits::ask(&self.settings, &self.settings.admin()?)?;
        let too_large = events.iter().filter_map(|event| {
            let (bytes, limit) = self.limits.exceeded_by(event)?;
            Some(TooLarge { position: event.position, bytes, limit })
        });
        Ok(too_large.collect())
    }

    /// Rolls the transaction back while the brokers answer, so that the next line need not wait until they do it. Whether that
    /// worked the next line finds out.
    ///
    /// An abort waits for the reports of what was not sent, and nobody takes them but this thread: five seconds in vain.
    fn abort(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let deadline = Instant::now() + ASK;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.take_reports();
        }
        let _ = self.producer.abort_transaction(ASK);
    }

    fn transaction(&self, events: &[Arc<Positioned>]) -> Result<Progress, Fault> {
        self.producer.context().clear();
        self.producer.begin_transaction().map_err(Fault::kafka("begin a transaction"))?;
        for (place, event) in events.iter().enumerate() {
            self.send(place, event)?;
        }
        self.wait_delivered()?;
        let progress = self.producer.context().progress(events)?;
        self.producer.commit_transaction(COMMIT).map_err(Fault::kafka("commit a transaction"))?;
        Ok(progress)
    }

    fn send(&self, place: usize, event: &Positioned) -> Result<(), Fault> {
        let position = event.position.to_string();
        let headers = OwnedHeaders::new_with_capacity(3)
            .insert(Header { key: POSITION_HEADER, value: Some(&position) })
            .insert(Header { key: ORIGIN_HEADER, value: Some(&self.origin) })
            .insert(Header { key: CONTENT_TYPE_HEADER, value: Some(CONTENT_TYPE) });
        let mut record = BaseRecord::with_opaque_to(event.topic.name(), place)
            .key(event.key.as_str())
            .payload(event.payload.as_slice())
            .headers(headers);
        let deadline = Instant::now() + COMMIT;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    self.take_reports();
                    record = back;
                }
                Err((KafkaError::MessageProduction(code), _)) if is_refusal(code) => {
                    return Err(Fault::Refused { position: event.position, code });
                }
                Err((error, _)) => return Err(Fault::kafka("hand over a record")(error)),
            }
        }
    }

    /// Waits for every delivery report, or for the first failure: it fails the whole transaction, and what librdkafka has not
    /// sent by then it keeps until the transaction is rolled back.
    ///
    /// Not by `flush`: that of rdkafka 0.39 polls in slices that always last their full 100 ms, which was the whole
    /// delay of an event (commit after 102 ms with it, 6 to 8 ms without, on a local broker).
    fn wait_delivered(&self) -> Result<(), Fault> {
        let deadline = Instant::now() + COMMIT;
        while self.producer.in_flight_count() > 0 && !self.producer.context().any_failed() {
            if Instant::now() >= deadline {
                return Err(Fault::Slow);
            }
            self.take_reports();
        }
        Ok(())
    }

    /// Takes the delivery reports that are there and gives up the processor for a moment.
    ///
    /// Not by a `poll` with a time out: that of rdkafka 0.39 waits in whole milliseconds and asks without waiting for
    /// what is left of the last one, so with one millisecond it kept a core busy (44 % of this process' samples under
    /// load were the clock).
    fn take_reports(&self) {
        self.producer.poll(Duration::ZERO);
        std::thread::park_timeout(REPORTS);
    }
}

/// Whether the broker's answer is about the record and not about the moment.
const fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord)
}

/// The position in a record's headers, when the record is from the database `origin`.
fn own_position(headers: Option<&rdkafka::message::BorrowedHeaders>, origin: Uuid) -> Option<i64> {
    use rdkafka::message::Headers as _;
    let headers = headers?;
    let find = |name: &str| headers.iter().find(|h| h.key == name).and_then(|h| h.value);
    let ours = std::str::from_utf8(find(ORIGIN_HEADER)?).ok()?.parse::<Uuid>().ok()? == origin;
    let position = std::str::from_utf8(find(POSITION_HEADER)?).ok()?.parse().ok()?;
    ours.then_some(position)
}
