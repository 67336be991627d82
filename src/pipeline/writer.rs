//! One writer: takes messages from the inbox, makes a batch of them, commits it, and only then settles the receipts.
//!
//! Several writers share the inbox. Whoever holds its lock fills a batch; the others commit meanwhile, so the next batch
//! fills while one commits and no message waits behind a commit it is not part of. Nobody asks the database under that
//! lock: one session that is stuck must not stop all.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    assemble::{Assembler, Message, Missing},
    salvage::{Piece, Pieces},
};
use crate::{
    fault::{Reason, Refusal},
    ingest::{Inbox, Receipt},
    reading::Timestamp,
    store::{
        batch::Batch,
        commit::{Committed, Committer},
        connect::{Backoff, Connector},
        error::{Class, class_of, describe},
    },
    telemetry::Meters,
};

/// Messages taken from the inbox in one go; small, so that decoding them does not hold a runtime thread for long.
const TAKE: usize = 64;

/// Between takes while a batch fills: long enough that a wake-up serves many messages, short against the latency aimed at.
const PACE: Duration = Duration::from_millis(1);

/// Longest a batch waits for more because commits are slow.
const LONGEST_LINGER: Duration = Duration::from_millis(50);

/// A batch is sent off when its encoded rows reach this, whatever their number, bytes.
const BATCH_BYTES: usize = 8 << 20;

/// What a writer shares with the rest of the process.
pub struct Shared {
    pub assembler: Assembler,
    pub connector: Connector,
    pub inbox: Mutex<Inbox>,
    pub sources: Vec<String>,
    pub batch_readings: usize,
    pub linger: Duration,
    pub meters: Arc<Meters>,
    /// Called after each commit: books, relay, evaluator.
    pub on_commit: Box<dyn Fn(Progress<'_>) + Send + Sync>,
    /// Called with what is in the way of a commit, each time it is.
    pub on_trouble: Box<dyn Fn(&str) + Send + Sync>,
}

/// One commit, for those who count.
pub struct Progress<'a> {
    pub committed: &'a Committed,
    /// From the start of the transaction to its end.
    pub took: Duration,
    /// Arrival of the message that waited longest.
    pub oldest: Option<Timestamp>,
}

pub struct Writer {
    shared: Arc<Shared>,
    name: String,
    /// Gives up waiting for the database; the messages stay unacknowledged and come again.
    abandon: CancellationToken,
    committer: Option<Committer>,
    was_connected: bool,
    /// How long the last commit took.
    took: Duration,
}

/// Messages with their receipts and the batch made of them.
struct Filled {
    messages: Vec<Message>,
    receipts: Vec<Receipt>,
    batch: Batch,
    /// Messages of stations and devices without a number, not in the batch yet; and the bytes of their payloads.
    newcomers: Vec<(Message, Receipt)>,
    newcomer_bytes: usize,
}

impl Filled {
    fn new(shared: &Shared) -> Self {
        Self {
            messages: Vec::with_capacity(shared.batch_readings),
            receipts: Vec::with_capacity(shared.batch_readings),
            batch: Batch::new(shared.sources.len()),
            newcomers: Vec::new(),
            newcomer_bytes: 0,
        }
    }

    fn keep(&mut self, message: Message, receipt: Receipt) {
        self.messages.push(message);
        self.receipts.push(receipt);
    }

    /// Without a number its readings are not known; it has one at least.
    fn is_full(&self, shared: &Shared) -> bool {
        self.batch.readings() + self.newcomers.len() >= shared.batch_readings
            || self.batch.size() + self.newcomer_bytes >= BATCH_BYTES
    }
}

impl Writer {
    pub fn new(shared: Arc<Shared>, name: String, abandon: CancellationToken) -> Self {
        Self { shared, name, abandon, committer: None, was_connected: false, took: Duration::ZERO }
    }

    /// Works until the inbox is closed and empty, or until `abandon`. Returns whether everything taken was settled.
    pub async fn run(mut self) -> bool {
        loop {
            let Some(filled) = self.fill().await else { return !self.abandon.is_cancelled() };
            if self.commit(&filled.batch, &filled.messages).await.is_none() {
                return false;
            }
            Receipt::settle_all(filled.receipts);
        }
    }

    /// How long a batch waits for more. A transaction costs the database some milliseconds whatever is in it, so when it
    /// falls behind, and commits take long, waiting half as long makes fewer and larger ones and helps it to catch up.
    fn linger(&self) -> Duration {
        self.shared.linger.max((self.took / 2).min(LONGEST_LINGER))
    }

    /// A batch of what waits; `None` at the end.
    async fn fill(&mut self) -> Option<Filled> {
        let mut filled = self.take().await?;
        // The inbox is free for others while the database gives numbers.
        for (message, receipt) in std::mem::take(&mut filled.newcomers) {
            self.assemble(&message, 0..usize::MAX, &mut filled.batch).await?;
            filled.keep(message, receipt);
        }
        Some(filled)
    }

    /// Takes messages, under the lock of the inbox, until the batch is full or its first message has waited for `linger`.
    async fn take(&mut self) -> Option<Filled> {
        let shared = Arc::clone(&self.shared);
        let mut inbox = self.abandon.run_until_cancelled(shared.inbox.lock()).await?;
        let mut deliveries = Vec::with_capacity(TAKE);
        if self.abandon.run_until_cancelled(inbox.recv_many(&mut deliveries, TAKE)).await? == 0 {
            return None;
        }
        let deadline = Instant::now() + self.linger();
        let mut filled = Filled::new(&shared);
        loop {
            let taken = deliveries.len();
            for delivery in deliveries.drain(..) {
                let (message, receipt) = Message::of(delivery);
                match shared.assembler.add(&message, 0..usize::MAX, &mut filled.batch) {
                    Ok(_) => filled.keep(message, receipt),
                    Err(_missing) => {
                        filled.newcomer_bytes += message.payload.len();
                        filled.newcomers.push((message, receipt));
                    }
                }
            }
            let now = Instant::now();
            if filled.is_full(&shared) || now >= deadline {
                return Some(filled);
            }
            if taken < TAKE {
                tokio::time::sleep(PACE.min(deadline - now)).await;
            }
            // More only if it is there already: the deadline belongs to the messages taken, not to those to come.
            let more = inbox.recv_many(&mut deliveries, TAKE);
            match tokio::time::timeout(Duration::ZERO, more).await {
                Ok(0) | Err(_) if Instant::now() >= deadline => return Some(filled),
                Ok(0) => return Some(filled),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Adds the readings `elements` of a message to the batch, giving numbers to stations and devices never seen.
    async fn assemble(
        &mut self,
        message: &Message,
        elements: std::ops::Range<usize>,
        batch: &mut Batch,
    ) -> Option<usize> {
        let shared = Arc::clone(&self.shared);
        loop {
            match shared.assembler.add(message, elements.clone(), batch) {
                Ok(count) => return Some(count),
                Err(missing) => {
                    if let Err(why) = self.give_number(&missing).await? {
                        let refusal = Refusal::new(Reason::RefusedByStore, why);
                        return Some(shared.assembler.put_aside_whole(message, refusal, &elements, batch));
                    }
                }
            }
        }
    }

    /// Asks for a number, whatever it takes; `Err` when the server will never take the identity, and why.
    async fn give_number(&mut self, missing: &Missing) -> Option<Result<(), String>> {
        let mut backoff = backoff();
        loop {
            self.connected().await?;
            let Some(committer) = &self.committer else { continue };
            let asked = self.shared.assembler.give_number(committer.client(), missing);
            let error = match self.abandon.run_until_cancelled(asked).await? {
                Ok(()) => return Some(Ok(())),
                Err(error) => error,
            };
            let (class, why) = (error.class(), error.describe());
            self.failed(class, &why, "a number for a station or device");
            if class == Class::Poison {
                return Some(Err(why));
            }
            self.abandon.run_until_cancelled(backoff.wait()).await?;
        }
    }

    /// What follows from every failure, whichever statement it was: it is counted and told, and the session given up unless
    /// it is sound. `what` was wanted.
    fn failed(&mut self, class: Class, why: &str, what: &str) {
        self.shared.meters.database_error(class.metric());
        let writer = &self.name;
        match class {
            Class::Poison => tracing::warn!(writer, error = why, "the database does not take {what} as it is"),
            Class::Away => tracing::warn!(writer, error = why, "lost the database over {what}; it is kept"),
            Class::Again | Class::Duplicate => tracing::debug!(writer, error = why, "repeating {what}"),
            Class::Operator => {
                tracing::error!(writer, error = why, "the database refuses {what}; it is kept and tried again");
            }
        }
        (self.shared.on_trouble)(why);
        if !class.keeps_session() {
            self.committer = None;
        }
    }

    /// Commits, whatever it takes; `None` only when abandoned.
    async fn commit(&mut self, batch: &Batch, messages: &[Message]) -> Option<()> {
        match self.try_commit(batch, Patience::Some).await? {
            Tried::Committed => Some(()),
            Tried::Poisoned(_) | Tried::TooMuch => self.salvage(messages).await,
        }
    }

    /// Repeats the batch until it is committed, found to hold a row that the server will never take, or, where patience
    /// has an end, found to be more than the server does in one transaction.
    async fn try_commit(&mut self, batch: &Batch, patience: Patience) -> Option<Tried> {
        let mut backoff = backoff();
        let mut too_much = 0;
        loop {
            self.connected().await?;
            let Some(committer) = &mut self.committer else { continue };
            let started = Instant::now();
            let result = self.abandon.run_until_cancelled(committer.commit(batch)).await?;
            let error = match result {
                Ok(committed) => {
                    let oldest = batch.messages.iter().map(|message| message.received_at).min();
                    self.took = started.elapsed();
                    (self.shared.on_commit)(Progress { committed: &committed, took: self.took, oldest });
                    return Some(Tried::Committed);
                }
                Err(error) => error,
            };
            let (class, why) = (class_of(&error), describe(&error));
            // A commit that was lost may have happened: the keys make the repeat safe.
            self.failed(class, &why, "a batch");
            if is_too_much(&error) {
                too_much += 1;
                if patience == Patience::Some && too_much == TRIES_WHOLE {
                    tracing::warn!(writer = self.name, error = why, "a batch is too much for one transaction");
                    self.committer = None;
                    return Some(Tried::TooMuch);
                }
            }
            match (class, &mut self.committer) {
                (Class::Poison, _) => return Some(Tried::Poisoned(why)),
                (Class::Again | Class::Duplicate, Some(committer)) => committer.expect_duplicates(),
                _ => {}
            }
            self.abandon.run_until_cancelled(backoff.wait()).await?;
        }
    }

    /// Finds the rows the server refuses by halving, puts those aside, and commits all others.
    async fn salvage(&mut self, messages: &[Message]) -> Option<()> {
        tracing::warn!(
            writer = self.name,
            messages = messages.len(),
            "the database does not take a batch as it is; halving it"
        );
        let mut pieces = Pieces::all(messages.len());
        while let Some(piece) = pieces.take() {
            let mut batch = Batch::new(self.shared.sources.len());
            let mut elements = 0;
            for message in messages.get(piece.messages()).unwrap_or_default() {
                elements = self.assemble(message, piece.elements(), &mut batch).await?;
            }
            let why = match self.try_commit(&batch, Patience::Some).await? {
                Tried::Committed => continue,
                Tried::Poisoned(why) => Some(why),
                Tried::TooMuch => None,
            };
            let Some(Piece::Reading { message, element }) = pieces.split(piece, elements) else { continue };
            let Some(message) = messages.get(message) else { continue };
            let Some(why) = why else {
                // One reading is not too much: it is the server that cannot work now.
                self.insist(&batch).await?;
                continue;
            };
            let refusal = Refusal::new(Reason::RefusedByStore, why);
            let mut letter = Batch::new(self.shared.sources.len());
            self.shared.assembler.put_aside(message, element, refusal, &mut letter);
            self.insist(&letter).await?;
        }
        Some(())
    }

    /// Commits what cannot be made smaller. A dead letter holds bytes and sanitised text, so that there is nothing in it
    /// to refuse; if one is refused all the same, its message is not acknowledged without it.
    async fn insist(&mut self, batch: &Batch) -> Option<()> {
        let mut backoff = backoff();
        while let Tried::Poisoned(why) = self.try_commit(batch, Patience::Endless).await? {
            tracing::error!(writer = self.name, why, "the database refuses a dead letter; it is kept and tried again");
            self.abandon.run_until_cancelled(backoff.wait()).await?;
        }
        Some(())
    }

    async fn connected(&mut self) -> Option<()> {
        if self.committer.as_ref().is_some_and(|committer| !committer.is_closed()) {
            return Some(());
        }
        let client = self.shared.connector.connect_patiently(&self.name, &self.abandon).await?;
        let mut committer = Committer::new(client, self.name.clone(), self.shared.sources.clone());
        if self.was_connected {
            committer.expect_duplicates();
        }
        self.was_connected = true;
        self.committer = Some(committer);
        Some(())
    }
}

enum Tried {
    Committed,
    Poisoned(String),
    /// The server failed at it again and again, and not for one row.
    TooMuch,
}

/// Whether a batch may come back as [`Tried::TooMuch`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Some,
    Endless,
}

/// How often a batch is tried whole before it is halved because the server cannot do it in one transaction.
const TRIES_WHOLE: u32 = 3;

/// Failures that a smaller batch may avoid: the table of locks is full (thousands of chunks in one transaction), memory
/// ran out, a statement took longer than it may, or the server failed inside.
fn is_too_much(error: &tokio_postgres::Error) -> bool {
    use tokio_postgres::error::SqlState;
    error.code().is_some_and(|state| {
        [SqlState::OUT_OF_MEMORY, SqlState::QUERY_CANCELED].contains(state) || state.code().starts_with("XX")
    })
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_secs(5))
}
