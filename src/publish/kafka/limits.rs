//! What fits into a record: known beforehand, so that a producer is not lost over an event that is too large.
//!
//! A broker refuses a batch by its size on the wire, after compression. We count before it: librdkafka sends a batch as it
//! is where compression makes it no smaller, so what fits by this count always goes, and what does not goes as a stand-in
//! although it might have been compressed enough.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use rdkafka::{
    admin::{AdminOptions, ResourceSpecifier},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    ASK, CONTENT_TYPE_HEADER, Fault, ORIGIN_HEADER, POSITION_HEADER, Settings,
    settings::{self, Admin},
};
use crate::publish::{
    event::{CONTENT_TYPE, Topic},
    outbox::Positioned,
};

/// The property of a topic that says what a broker takes, bytes of a batch.
const TOPIC_LIMIT: &str = "max.message.bytes";

/// Bytes of a batch of one record besides key, value and headers, at most: the batch's header (61), attributes, and the
/// record's length, time, offset, sizes of key and value, and number of headers as variable-length integers (KIP-98).
const FRAME: usize = 61 + 1 + 5 + 10 + 5 + 5 + 5 + 5;

/// A header besides its name and value: two variable-length integers.
const HEADER_FRAME: usize = 5 + 5;

/// Digits of the largest position, characters of a UUID.
const HEADERS: usize = 3 * HEADER_FRAME
    + POSITION_HEADER.len()
    + 20
    + ORIGIN_HEADER.len()
    + 36
    + CONTENT_TYPE_HEADER.len()
    + CONTENT_TYPE.len();

/// What is asked, for messages.
const QUESTION: &str = "ask how large a record the topics take";

/// It is told once for the process that a cluster does not let us ask.
static TOLD: AtomicBool = AtomicBool::new(false);

/// How large a batch each topic takes, bytes; a topic whose limit is not known has none.
#[derive(Debug, Default)]
pub(super) struct Limits {
    topics: BTreeMap<Topic, usize>,
    /// What our own producer takes.
    producer: usize,
}

/// Bytes that a record with this event needs, alone in a batch, at most.
fn record_bytes(event: &Positioned) -> usize {
    FRAME + HEADERS + event.key.len() + event.payload.len()
}

impl Limits {
    /// Asks the cluster. Where it does not let us ask, there are no limits but the producer's, and a refusal by the broker is
    /// what shows that an event is too large; that is told once.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn ask(settings: &Settings, admin: &Admin) -> Result<Self, Fault> {
        let wanted = Topic::ALL.map(|topic| ResourceSpecifier::Topic(topic.name()));
        let options = AdminOptions::new().request_timeout(Some(ASK));
        let mut limits = Self { topics: BTreeMap::new(), producer: settings.largest_message() };
        let answers = match settings::wait(admin.describe_configs(&wanted, &options))? {
            Ok(answers) => answers,
            Err(error) if error.rdkafka_error_code().is_some_and(is_of_the_moment) => {
                return Err(Fault::kafka(QUESTION)(error));
            }
            Err(error) => {
                tell(&error.to_string());
                return Ok(limits);
            }
        };
        for (topic, answer) in Topic::ALL.into_iter().zip(answers) {
            match answer {
                Ok(described) => {
                    let value = described.get(TOPIC_LIMIT).and_then(|entry| entry.value.as_deref());
                    limits.topics.extend(value.and_then(|text| text.parse().ok()).map(|bytes| (topic, bytes)));
                }
                Err(code) if is_of_the_moment(code) => return Err(Fault::kafka(QUESTION)(KafkaError::AdminOp(code))),
                Err(code) => tell(&code.to_string()),
            }
        }
        Ok(limits)
    }

    /// What the event's topic takes, when that is less than the event needs; both in bytes.
    pub fn exceeded_by(&self, event: &Positioned) -> Option<(usize, usize)> {
        let bytes = record_bytes(event);
        // The producer counts a record a little smaller.
        let limit = self.topics.get(&event.topic).map_or(self.producer, |limit| self.producer.min(*limit));
        (bytes > limit).then_some((bytes, limit))
    }

    /// Bytes up to which a producer may put records together: a batch is refused whole, so it fits every topic.
    pub fn batch_bytes(&self) -> usize {
        self.topics.values().fold(self.producer, |least, limit| least.min(*limit)).max(1)
    }
}

/// Whether the answer is about the moment: nobody is there, or a topic that was just made is not known everywhere yet.
const fn is_of_the_moment(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, OperationTimedOut, RequestTimedOut, UnknownTopicOrPartition,
    };
    matches!(
        code,
        AllBrokersDown | BrokerTransportFailure | OperationTimedOut | RequestTimedOut | UnknownTopicOrPartition
    )
}

fn tell(why: &str) {
    if !TOLD.swap(true, Relaxed) {
        tracing::warn!(
            error = why,
            "Kafka does not say how large a record its topics take, so an event too large for them is found only by its \
             refusal, which holds up the others for seconds: allow the service DescribeConfigs on its topics"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Timestamp;

    #[test]
    fn an_event_is_measured_with_all_that_goes_with_it() {
        let event = |topic, bytes| Positioned {
            position: i64::MAX,
            topic,
            id: uuid::Uuid::nil(),
            key: "鲁C12345:yellow".into(),
            payload: vec![b' '; bytes],
            created_at: Timestamp::EPOCH,
            stand_in: false,
        };
        let limits = Limits { topics: BTreeMap::from([(Topic::Intercepts, 10_000)]), producer: 20_000 };
        let around = record_bytes(&event(Topic::Intercepts, 0));
        assert!((200..400).contains(&around), "{around}");
        assert_eq!(limits.exceeded_by(&event(Topic::Intercepts, 10_000 - around)), None);
        assert_eq!(limits.exceeded_by(&event(Topic::Intercepts, 10_001 - around)), Some((10_001, 10_000)));
        assert_eq!(limits.exceeded_by(&event(Topic::Violations, 20_000 - around)), None, "not known: ours");
        assert_eq!(limits.exceeded_by(&event(Topic::Violations, 20_001 - around)), Some((20_001, 20_000)));
        assert_eq!(limits.batch_bytes(), 10_000);
    }
}
