//! From the `[kafka]` section to librdkafka's properties, and the topics that must be there.

use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};
use secrecy::ExposeSecret as _;

use super::{ASK, Fault, deliveries};
use crate::{config, publish::event::Topic};

/// Connection parameters; cheap to clone, holds the password.
#[derive(Clone)]
pub struct Settings {
    base: ClientConfig,
    transactional_id: String,
}

/// What librdkafka takes for `message.max.bytes` where nothing else is configured, and for `batch.size`.
const DEFAULT_BYTES: usize = 1_000_000;

/// Questions about the cluster; what fails comes back from the question.
pub(super) type Admin = AdminClient<Quiet>;

pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        deliveries::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        deliveries::note(&error, reason);
    }
}

impl Settings {
    pub fn new(kafka: &config::Kafka) -> Self {
        let mut base = ClientConfig::new();
        // Back within a second after the brokers are; librdkafka's own ceiling is ten.
        base.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        base.set("socket.nagle.disable", "true").set("log.connection.close", "false").set("client.id", "dieselwatch");
        for (name, value) in &kafka.properties {
            base.set(name, value);
        }
        if let Some(password) = &kafka.password {
            base.set("sasl.password", password.expose_secret());
        }
        base.set("bootstrap.servers", &kafka.brokers);
        Self { base, transactional_id: kafka.transactional_id.clone() }
    }

    /// What exactly-once and order rest on is not for `[kafka.properties]` to change.
    ///
    /// `batch_bytes`: records are put together up to this size, because a broker refuses a batch that is too large whole.
    pub(super) fn producer(&self, batch_bytes: usize) -> ClientConfig {
        let mut config = ClientConfig::new();
        // A batch is complete when it is handed over, so lingering only adds delay. The timeout is the longest outage
        // that is waited out inside a transaction, and the longest time an unfinished one hides later records.
        config.set("linger.ms", "0").set("transaction.timeout.ms", "30000").set("compression.type", "lz4");
        config.set("queue.buffering.max.kbytes", "32768");
        for (name, value) in self.base.config_map() {
            config.set(name, value);
        }
        config.set("transactional.id", &self.transactional_id).set("enable.idempotence", "true").set("acks", "all");
        // The partitioner of the Java clients: the same key goes where their producers would put it.
        config.set("partitioner", "murmur2_random");
        config.set("batch.size", self.bytes("batch.size").min(batch_bytes).to_string());
        config
    }

    /// The largest message that a producer with these settings takes, bytes.
    pub(super) fn largest_message(&self) -> usize {
        self.bytes("message.max.bytes")
    }

    fn bytes(&self, property: &str) -> usize {
        self.base.get(property).and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_BYTES)
    }

    /// A client for questions about the cluster, and for making topics.
    pub(super) fn admin(&self) -> Result<Admin, Fault> {
        self.base.create_with_context(Quiet).map_err(Fault::kafka("make an administration client"))
    }

    /// A consumer that is assigned its partitions by hand and never commits.
    pub(super) fn consumer(&self, isolation: &str) -> ClientConfig {
        let mut config = self.base.clone();
        config.set("group.id", format!("{}-tail", self.transactional_id));
        config.set("enable.auto.commit", "false").set("enable.partition.eof", "true").set("isolation.level", isolation);
        config.set("auto.offset.reset", "error").set("fetch.wait.max.ms", "50");
        config
    }
}

/// The partitions of every topic we publish to. Asks for missing topics to be made with the broker's own defaults.
pub(super) fn partitions(admin: &Admin) -> Result<Vec<(Topic, Vec<i32>)>, Fault> {
    let mut found = Vec::new();
    for topic in Topic::ALL {
        let mut partitions = ask(admin, topic)?;
        if partitions.is_empty() {
            create(admin, topic)?;
            partitions = ask(admin, topic)?;
        }
        if partitions.is_empty() {
            return Err(Fault::NoPartitions(topic.name()));
        }
        found.push((topic, partitions));
    }
    Ok(found)
}

fn ask(admin: &Admin, topic: Topic) -> Result<Vec<i32>, Fault> {
    let metadata = admin.inner().fetch_metadata(Some(topic.name()), ASK).map_err(Fault::kafka("ask for the topics"))?;
    Ok(metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect())
}

fn create(admin: &Admin, topic: Topic) -> Result<(), Fault> {
    // -1: as many partitions and replicas as the cluster's administrator set as default.
    let new = NewTopic::new(topic.name(), -1, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(ASK)).request_timeout(Some(ASK));
    let created = wait(admin.create_topics([&new], &options))?.map_err(Fault::kafka("create a topic"))?;
    match created.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(Fault::kafka("create a topic")(KafkaError::AdminOp(code)))
        }
        _ => Ok(()),
    }
}

/// Waits for an answer to an administration client, which is driven by a thread of its own.
pub(super) fn wait<T>(answer: impl Future<Output = T>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|_| Fault::Gone)?;
    Ok(runtime.block_on(answer))
}
