//! What the broker said about each record of a transaction.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rdkafka::{
    ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::ProducerContext,
};

use super::{Fault, is_refusal};
use crate::publish::outbox::{Ends, Positioned, Progress};

/// Partition and offset of a record, or why it was not delivered.
type Delivery = Result<(i32, i64), RDKafkaErrorCode>;

/// Collects the delivery reports of one transaction by place in the batch.
#[derive(Default)]
pub(super) struct Deliveries(Mutex<HashMap<usize, Delivery>>);

impl Deliveries {
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub fn any_failed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().any(Result::is_err)
    }

    pub fn progress(&self, events: &[Arc<Positioned>]) -> Result<Progress, Fault> {
        let reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut progress = Progress { sent: 0, ends: Ends::new() };
        let mut failed = None;
        for (place, event) in events.iter().enumerate() {
            match reports.get(&place) {
                Some(Ok((partition, offset))) => {
                    progress.sent = event.position;
                    let end = progress.ends.entry((event.topic, *partition)).or_default();
                    *end = (*end).max(offset + 1);
                }
                // One refused record fails the whole transaction, so the refusal is looked for behind other failures.
                Some(Err(code)) if is_refusal(*code) => {
                    return Err(Fault::Refused { position: event.position, code: *code });
                }
                Some(Err(code)) => failed = failed.or(Some(*code)),
                None => failed = failed.or(Some(RDKafkaErrorCode::MessageTimedOut)),
            }
        }
        match failed {
            None => Ok(progress),
            Some(code) => Err(Fault::kafka("deliver a record")(KafkaError::MessageProduction(code))),
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        note(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        let report = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, report);
    }
}

/// librdkafka repeats itself with every attempt while brokers are away; the relay says it once, as a warning.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(level = ?level, facility, message, "librdkafka");
}

/// Every error that matters comes back from a call as well.
pub(super) fn note(error: &KafkaError, reason: &str) {
    tracing::debug!(error = %error, reason, "librdkafka reports an error");
}
