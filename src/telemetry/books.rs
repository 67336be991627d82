//! The two books (contract section 8), and the levels beside them, as plain numbers this process can read back.
//!
//! Messages: `received = settled + in flight + returned`. The ack rings count all four, each at its own event, so they are
//! asked, never mirrored: [`Books::attach_messages`]. Readings: `decoded = stored + duplicate + conflict + quarantined`;
//! the pipeline adds to a [`SourceMeters`] as things happen, one relaxed atomic addition each.
//!
//! `metrics` handles cannot be read back, so the numbers live here and are copied into the recorder at each scrape
//! (`Books::publish`); nothing else writes those series. A reading book is exact when nothing is under way; while
//! readings are, `decoded` is ahead by those ([`ReadingBook::under_way`]).

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use metrics::{counter, gauge};
use serde::Serialize;

use super::metrics as name;
use crate::{fault::Reason, reading::Timestamp};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that moves both ways, set by whoever measures it.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The message book of one source at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct MessageBook {
    pub received: u64,
    /// Acknowledged after everything in them was committed.
    pub settled: u64,
    pub in_flight: u64,
    /// The connection was lost before the acknowledgement; the broker sends them again.
    pub returned: u64,
}

impl MessageBook {
    pub fn balanced(&self) -> bool {
        self.received == self.settled + self.in_flight + self.returned
    }
}

/// The reading book of one source at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReadingBook {
    pub decoded: u64,
    pub stored: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub quarantined: u64,
}

impl ReadingBook {
    /// Holds when nothing is under way, such as after a drain.
    pub fn balanced(&self) -> bool {
        self.decoded == self.stored + self.duplicate + self.conflict + self.quarantined
    }

    /// Decoded and not yet accounted for.
    pub fn under_way(&self) -> u64 {
        self.decoded.saturating_sub(self.stored + self.duplicate + self.conflict + self.quarantined)
    }
}

/// What the pipeline adds to for one source.
#[derive(Debug)]
pub struct SourceMeters {
    /// `name` of the `[[source]]`.
    pub source: Box<str>,
    /// Good and bad ones alike: a message that yields nothing readable counts as one reading.
    pub decoded: Tally,
    pub stored: Tally,
    pub duplicate: Tally,
    pub conflict: Tally,
    /// Fields of readings that nobody reads.
    pub unknown_fields: Tally,
    quarantined: [Tally; Reason::ALL.len()],
}

impl SourceMeters {
    fn new(source: &str) -> Self {
        Self {
            source: source.into(),
            decoded: Tally::default(),
            stored: Tally::default(),
            duplicate: Tally::default(),
            conflict: Tally::default(),
            unknown_fields: Tally::default(),
            quarantined: std::array::from_fn(|_| Tally::default()),
        }
    }

    /// The count of readings put aside for `reason`. A reading counted as `conflict` is not counted here too.
    pub fn quarantined(&self, reason: Reason) -> &Tally {
        // In range: the array is as long as `Reason::ALL`, which is in declaration order (tested in `fault`).
        &self.quarantined[reason as usize]
    }

    /// Outcomes are read before `decoded`, so that a reading under way is never seen as one too many outcomes.
    pub fn reading_book(&self) -> ReadingBook {
        let quarantined = self.quarantined.iter().map(Tally::get).sum();
        let (stored, duplicate, conflict) = (self.stored.get(), self.duplicate.get(), self.conflict.get());
        ReadingBook { decoded: self.decoded.get(), stored, duplicate, conflict, quarantined }
    }
}

/// How far behind each stage is; each set by the stage that measures it.
#[derive(Debug, Default)]
pub struct Levels {
    /// Payload bytes decoded and waiting for a writer.
    pub store_queue_bytes: Level,
    /// Age at its commit of the oldest message of the last batch, milliseconds; while nothing commits, how long messages have
    /// been waiting, 0 for none.
    pub commit_lag_ms: Level,
    /// When the last batch was committed, milliseconds since 1970.
    pub committed_at_ms: Level,
    /// Evaluation tasks nobody has finished.
    pub evaluation_backlog: Level,
    /// Age of the oldest of them, milliseconds.
    pub evaluation_oldest_ms: Level,
    /// Windows of terminals that are due and nobody has looked at.
    pub terminal_backlog: Level,
    /// How long the first of them has been due, milliseconds.
    pub terminal_oldest_ms: Level,
    /// Packets whose signature waits for verification.
    pub signature_backlog: Level,
    /// How long the oldest of them has waited, milliseconds.
    pub signature_lag_ms: Level,
    /// Events that Kafka has not taken in full.
    pub events_not_in_full: Level,
    /// Committed events that are not out yet.
    pub outbox_unsent: Level,
    /// Age of the oldest of them, milliseconds.
    pub relay_lag_ms: Level,
}

type AskMessages = Box<dyn Fn() -> Vec<MessageBook> + Send + Sync>;

/// Both books of every source since the start of this process, and the levels.
pub struct Books {
    since: Timestamp,
    sources: Box<[SourceMeters]>,
    messages: OnceLock<AskMessages>,
    pub levels: Levels,
    /// Findings made, of every rule.
    pub findings: Tally,
    /// Findings withdrawn.
    pub revoked: Tally,
    /// Findings that asked for an officer at once.
    pub intercepts: Tally,
}

impl Books {
    /// Opens the books of these sources, in the order of the configuration.
    pub fn new<'a>(sources: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            since: Timestamp::now(),
            sources: sources.into_iter().map(SourceMeters::new).collect(),
            messages: OnceLock::new(),
            levels: Levels::default(),
            findings: Tally::default(),
            revoked: Tally::default(),
            intercepts: Tally::default(),
        }
    }

    /// Names whoever counts messages: one book per source, in the order of the sources. The first call holds.
    pub fn attach_messages(&self, ask: impl Fn() -> Vec<MessageBook> + Send + Sync + 'static) {
        let _first_holds = self.messages.set(Box::new(ask));
    }

    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// What to add to for a source, by its index in the configuration.
    pub fn source(&self, index: usize) -> Option<&SourceMeters> {
        self.sources.get(index)
    }

    pub fn sources(&self) -> &[SourceMeters] {
        &self.sources
    }

    /// One per source, all zero until ingest runs.
    pub fn message_books(&self) -> Vec<MessageBook> {
        let mut books = self.messages.get().map(|ask| ask()).unwrap_or_default();
        books.resize(self.sources.len(), MessageBook::default());
        books
    }

    pub fn reading_book(&self, index: usize) -> ReadingBook {
        self.source(index).map(SourceMeters::reading_book).unwrap_or_default()
    }

    /// Whether both books of every source balance; meant for when nothing is under way.
    pub fn balanced(&self) -> bool {
        self.message_books().iter().all(MessageBook::balanced)
            && self.sources.iter().all(|source| source.reading_book().balanced())
    }

    /// Copies the numbers into the recorder.
    pub(super) fn publish(&self) {
        for (source, book) in self.sources.iter().zip(self.message_books()) {
            let label = || source.source.to_string();
            counter!(name::MESSAGES_RECEIVED, "source" => label()).absolute(book.received);
            counter!(name::MESSAGES_SETTLED, "source" => label()).absolute(book.settled);
            counter!(name::MESSAGES_RETURNED, "source" => label()).absolute(book.returned);
            gauge!(name::MESSAGES_IN_FLIGHT, "source" => label()).set(book.in_flight as f64);
            counter!(name::READINGS_STORED, "source" => label()).absolute(source.stored.get());
            counter!(name::READINGS_DUPLICATE, "source" => label()).absolute(source.duplicate.get());
            counter!(name::READINGS_CONFLICT, "source" => label()).absolute(source.conflict.get());
            for reason in Reason::ALL {
                counter!(name::READINGS_QUARANTINED, "source" => label(), "reason" => reason.name())
                    .absolute(source.quarantined(reason).get());
            }
            counter!(name::UNKNOWN_FIELDS, "source" => label()).absolute(source.unknown_fields.get());
            counter!(name::READINGS_DECODED, "source" => label()).absolute(source.decoded.get());
        }
        let seconds = |milliseconds: &Level| milliseconds.get() as f64 / 1e3;
        gauge!(name::STORE_QUEUE_BYTES).set(self.levels.store_queue_bytes.get() as f64);
        gauge!(name::COMMIT_LAG_SECONDS).set(seconds(&self.levels.commit_lag_ms));
        gauge!(name::EVALUATION_BACKLOG).set(self.levels.evaluation_backlog.get() as f64);
        gauge!(name::EVALUATION_OLDEST_SECONDS).set(seconds(&self.levels.evaluation_oldest_ms));
        gauge!(name::TERMINAL_BACKLOG).set(self.levels.terminal_backlog.get() as f64);
        gauge!(name::TERMINAL_OLDEST_SECONDS).set(seconds(&self.levels.terminal_oldest_ms));
        gauge!(name::SIGNATURE_BACKLOG).set(self.levels.signature_backlog.get() as f64);
        gauge!(name::SIGNATURE_LAG_SECONDS).set(seconds(&self.levels.signature_lag_ms));
        gauge!(name::EVENTS_NOT_IN_FULL).set(self.levels.events_not_in_full.get() as f64);
        gauge!(name::OUTBOX_UNSENT).set(self.levels.outbox_unsent.get() as f64);
        gauge!(name::RELAY_LAG_SECONDS).set(seconds(&self.levels.relay_lag_ms));
        counter!(name::INTERCEPTS).absolute(self.intercepts.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reading_book_balances_when_every_outcome_is_counted() {
        let books = Books::new(["rs", "obd"]);
        let rs = books.source(0).expect("rs");
        rs.decoded.add(10);
        assert_eq!((books.reading_book(0).under_way(), books.balanced()), (10, false));
        rs.stored.add(6);
        rs.duplicate.add(1);
        rs.conflict.add(1);
        rs.quarantined(Reason::NotJson).add(1);
        rs.quarantined(Reason::TimeImplausible).add(1);
        let expected = ReadingBook { decoded: 10, stored: 6, duplicate: 1, conflict: 1, quarantined: 2 };
        assert_eq!(books.reading_book(0), expected);
        assert!(books.balanced());
        assert_eq!(books.reading_book(7), ReadingBook::default());
    }

    #[test]
    fn the_message_book_is_the_one_attached() {
        let books = Books::new(["rs", "obd"]);
        assert_eq!(books.message_books(), [MessageBook::default(); 2]);
        books.attach_messages(|| vec![MessageBook { received: 5, settled: 3, in_flight: 1, returned: 1 }]);
        assert!(books.balanced(), "a source that counts nothing balances");
        let other = Books::new(["rs"]);
        other.attach_messages(|| vec![MessageBook { received: 5, settled: 3, in_flight: 1, returned: 0 }]);
        assert!(!other.balanced());
    }
}
