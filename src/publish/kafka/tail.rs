//! What Kafka already holds: the end of every partition, read after predecessors are fenced.
//!
//! Transactions are committed one after the other in the order of positions, each whole or not at all over all partitions.
//! So what is committed is everything up to the highest position found, and one number says it.
//!
//! Where to look from: before the first transaction ever, the database notes the ends of the partitions; after each
//! transaction it notes where its records ended. So only what came after the note has to be read, however much others
//! write to the same topics, and a lost or old note only makes the reading longer.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message as _, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{ASK, Fault, Settings, deliveries, own_position};
use crate::publish::{
    event::Topic,
    outbox::{Ends, Progress, State},
};

/// Longest wait for transactions of other producers to end, and for the next record while reading.
const PATIENCE: Duration = Duration::from_secs(30);

/// librdkafka reports the end of a partition as an error of the client, and rdkafka would log it as one; it is what is looked
/// for here.
struct Reader;

impl ClientContext for Reader {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        deliveries::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        deliveries::note(&error, reason);
    }
}

impl ConsumerContext for Reader {}

/// The highest position of ours that is committed (at least the one the database knows of), and where partitions end.
pub(super) fn read(settings: &Settings, topics: &[(Topic, Vec<i32>)], state: &State) -> Result<Progress, Fault> {
    let consumer = |isolation| -> Result<BaseConsumer<Reader>, Fault> {
        settings.consumer(isolation).create_with_context(Reader).map_err(Fault::kafka("make a consumer"))
    };
    // Two views, because a read-committed client is told that a partition ends where the first open transaction begins.
    let everything = consumer("read_uncommitted")?;
    let virgin = state.sent == 0 && state.ends.is_empty();
    let mut progress = Progress { sent: state.sent, ends: Ends::new() };
    for (topic, partitions) in topics {
        let mut spans = Vec::new();
        for &partition in partitions {
            let (low, high) = ends(&everything, *topic, partition)?;
            progress.ends.insert((*topic, partition), high);
            // A note outside the partition is of another life of the topic.
            let noted = state.ends.get(&(*topic, partition)).filter(|end| (low..=high).contains(*end));
            let from = noted.copied().unwrap_or(low);
            if !virgin && from < high {
                spans.push(Span { partition, from, to: high });
            }
        }
        if spans.is_empty() {
            continue;
        }
        // One for each topic: the end of a partition is reported without the topic's name.
        let committed = consumer("read_committed")?;
        for span in &spans {
            wait_stable(&committed, *topic, span)?;
        }
        if let Some(found) = highest(&committed, *topic, &spans, state)? {
            progress.sent = progress.sent.max(found);
        }
    }
    Ok(progress)
}

/// Offsets `from..to` of a partition.
struct Span {
    partition: i32,
    from: i64,
    to: i64,
}

fn ends(consumer: &BaseConsumer<Reader>, topic: Topic, partition: i32) -> Result<(i64, i64), Fault> {
    consumer.fetch_watermarks(topic.name(), partition, ASK).map_err(Fault::kafka("ask where a partition ends"))
}

/// Waits until no open transaction hides a part of the span. Ours are over; those of others end on their own.
fn wait_stable(committed: &BaseConsumer<Reader>, topic: Topic, span: &Span) -> Result<(), Fault> {
    let deadline = Instant::now() + PATIENCE;
    while ends(committed, topic, span.partition)?.1 < span.to {
        if Instant::now() >= deadline {
            return Err(Fault::Hidden { topic: topic.name(), partition: span.partition });
        }
        // Nothing is assigned yet, so this only waits.
        let _ = committed.poll(Duration::from_millis(50));
    }
    Ok(())
}

/// Reads the spans and returns the highest position of ours in them.
fn highest(consumer: &BaseConsumer<Reader>, topic: Topic, spans: &[Span], state: &State) -> Result<Option<i64>, Fault> {
    let mut assignment = TopicPartitionList::new();
    for span in spans {
        assignment
            .add_partition_offset(topic.name(), span.partition, Offset::Offset(span.from))
            .map_err(Fault::kafka("point a consumer at a partition"))?;
    }
    consumer.assign(&assignment).map_err(Fault::kafka("assign partitions"))?;
    let mut open: BTreeSet<i32> = spans.iter().map(|span| span.partition).collect();
    let mut highest = None;
    let mut deadline = Instant::now() + PATIENCE;
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                deadline = Instant::now() + PATIENCE;
                highest = highest.max(own_position(message.headers(), state.origin));
                if spans.iter().any(|s| s.partition == message.partition() && message.offset() + 1 >= s.to) {
                    open.remove(&message.partition());
                }
            }
            // Markers of transactions fill offsets without being records, so a span mostly ends here.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            // Retention took the start of the span while we read: the reading starts over.
            Some(Err(error @ KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                return Err(Fault::kafka("read the end of a partition")(error));
            }
            // A broker went away; librdkafka keeps trying.
            Some(Err(error)) if Instant::now() >= deadline => {
                return Err(Fault::kafka("read the end of a partition")(error));
            }
            Some(Err(_)) => {}
            None if Instant::now() >= deadline => return Err(Fault::Slow),
            None => {}
        }
    }
    Ok(highest)
}
