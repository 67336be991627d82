//! Handles of the metrics that only Prometheus reads, registered once, so that recording costs an atomic and no look-up.

use std::sync::Arc;

use metrics::{Counter, Histogram, counter, histogram};

use super::{Books, metrics as name};

/// What is done about a failed operation (label `class`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Tried again.
    Transient,
    /// The data is at fault: put aside.
    Poison,
    /// The service stops.
    Fatal,
}

impl ErrorClass {
    pub const ALL: [ErrorClass; 3] = [ErrorClass::Transient, ErrorClass::Poison, ErrorClass::Fatal];

    pub const fn name(self) -> &'static str {
        match self {
            ErrorClass::Transient => "transient",
            ErrorClass::Poison => "poison",
            ErrorClass::Fatal => "fatal",
        }
    }
}

/// Everything that is recorded besides the books. Register after [`install`](super::metrics::install); handles registered
/// before it record nowhere.
pub struct Meters {
    books: Arc<Books>,
    pub batch_readings: Histogram,
    /// Seconds from the start of a batch's transaction to its commit.
    pub batch_commit_seconds: Histogram,
    /// Seconds from a message's arrival to its settlement.
    pub ack_seconds: Histogram,
    /// Seconds to evaluate and reconcile one subject.
    pub evaluation_seconds: Histogram,
    /// Seconds from an event's creation to its being readable.
    pub event_publish_seconds: Histogram,
    /// Seconds from handing a batch of events to Kafka to its commit.
    pub kafka_transaction_seconds: Histogram,
    database_errors: [Counter; 3],
    kafka_errors: [Counter; 3],
}

impl Meters {
    pub fn register(books: Arc<Books>) -> Self {
        Self {
            books,
            batch_readings: histogram!(name::BATCH_READINGS),
            batch_commit_seconds: histogram!(name::BATCH_COMMIT_SECONDS),
            ack_seconds: histogram!(name::ACK_SECONDS),
            evaluation_seconds: histogram!(name::EVALUATION_SECONDS),
            event_publish_seconds: histogram!(name::EVENT_PUBLISH_SECONDS),
            kafka_transaction_seconds: histogram!(name::KAFKA_TRANSACTION_SECONDS),
            database_errors: ErrorClass::ALL.map(|class| counter!(name::DATABASE_ERRORS, "class" => class.name())),
            kafka_errors: ErrorClass::ALL.map(|class| counter!(name::KAFKA_ERRORS, "class" => class.name())),
        }
    }

    pub fn database_error(&self, class: ErrorClass) {
        self.database_errors[class as usize].increment(1);
    }

    pub fn kafka_error(&self, class: ErrorClass) {
        self.kafka_errors[class as usize].increment(1);
    }

    /// Counts a finding that was committed; `rule` is a constant of the code, so the label's set is closed.
    pub fn finding_made(&self, rule: &str, intercept: bool) {
        counter!(name::FINDINGS, "rule" => rule.to_owned()).increment(1);
        self.books.findings.add(1);
        self.books.intercepts.add(u64::from(intercept));
    }

    /// Counts a finding that was withdrawn.
    pub fn finding_revoked(&self, rule: &str) {
        counter!(name::FINDINGS_REVOKED, "rule" => rule.to_owned()).increment(1);
        self.books.revoked.add(1);
    }

    /// Counts readings of machines for which a rule lacked an input; both words are constants of `judge::nonroad`.
    pub fn rule_undetermined(&self, rule: &'static str, missing: &'static str, n: u64) {
        counter!(name::RULES_UNDETERMINED, "rule" => rule, "missing" => missing).increment(n);
    }

    /// Counts a packet whose signature was looked at; `result` is one of `signature::Outcome`.
    pub fn signature_checked(&self, result: &'static str) {
        counter!(name::SIGNATURES, "result" => result).increment(1);
    }

    /// Counts events put out; `topic` is one of the contract's.
    pub fn events_published(&self, topic: &'static str, n: u64) {
        counter!(name::EVENTS_PUBLISHED, "topic" => topic).increment(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_found_by_their_discriminant() {
        for (place, class) in ErrorClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
        }
    }
}
