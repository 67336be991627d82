//! From the `[kafka]` section to librdkafka's properties, and the topics that must be there.

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::RDKafkaErrorCode,
    producer::{BaseProducer, Producer as _, ProducerContext},
};
use secrecy::ExposeSecret as _;

use super::{ASK, Fault};
use crate::{config, publish::event::Topic};

/// Connection parameters; cheap to clone, holds the password.
#[derive(Clone)]
pub struct Settings {
    base: ClientConfig,
    transactional_id: String,
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
    pub(super) fn producer(&self) -> ClientConfig {
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
        config
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
pub(super) fn partitions<C: ProducerContext>(
    settings: &Settings,
    producer: &BaseProducer<C>,
) -> Result<Vec<(Topic, Vec<i32>)>, Fault> {
    let mut found = Vec::new();
    for topic in Topic::ALL {
        let mut partitions = ask(producer, topic)?;
        if partitions.is_empty() {
            create(settings, topic)?;
            partitions = ask(producer, topic)?;
        }
        if partitions.is_empty() {
            return Err(Fault::NoPartitions(topic.name()));
        }
        found.push((topic, partitions));
    }
    Ok(found)
}

fn ask<C: ProducerContext>(producer: &BaseProducer<C>, topic: Topic) -> Result<Vec<i32>, Fault> {
    let metadata =
        producer.client().fetch_metadata(Some(topic.name()), ASK).map_err(Fault::kafka("ask for the topics"))?;
    Ok(metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect())
}

fn create(settings: &Settings, topic: Topic) -> Result<(), Fault> {
    let admin: AdminClient<DefaultClientContext> =
        settings.base.create().map_err(Fault::kafka("make an administration client"))?;
    // -1: as many partitions and replicas as the cluster's administrator set as default.
    let new = NewTopic::new(topic.name(), -1, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(ASK)).request_timeout(Some(ASK));
    // The library's future is driven by a thread of its own; this one only waits.
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|_| Fault::Gone)?;
    let created = runtime.block_on(admin.create_topics([&new], &options)).map_err(Fault::kafka("create a topic"))?;
    match created.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(Fault::kafka("create a topic")(rdkafka::error::KafkaError::AdminOp(code)))
        }
        _ => Ok(()),
    }
}
