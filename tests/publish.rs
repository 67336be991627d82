//! The outbox relay against a real PostgreSQL, librdkafka's mock cluster and a real Apache Kafka.

mod outage;
mod refused;
mod relay;
mod speed;
mod table;

use std::{sync::Arc, time::Duration};

use dieselwatch::{
    config,
    publish::{
        self, Event, Relay, Sessions, Status,
        event::{self, Topic},
        outbox,
        status::KafkaLink,
    },
    telemetry::{Books, Meters},
};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{
    self,
    kafka::{Kafka, Record},
    postgres::{self, TestDatabase},
};

const SCHEMA: &str =
    concat!(include_str!("../schemas/sql/0004_outbox.sql"), include_str!("../schemas/sql/0018_refused_events.sql"));

/// An outbox of the test's own.
async fn outbox() -> Option<TestDatabase> {
    let database = postgres::database().await?;
    database.client().await.batch_execute(SCHEMA).await.unwrap();
    Some(database)
}

fn sessions(database: &TestDatabase) -> Sessions {
    let url = database.url().to_owned();
    Sessions::new(move |on_message| {
        let url = url.clone();
        async move {
            let (client, mut connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
            tokio::spawn(async move {
                while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                    on_message(message);
                }
            });
            Ok::<_, tokio_postgres::Error>(client)
        }
    })
}

/// A relay of this database; its name fences those of the same name only.
fn start(database: &TestDatabase, brokers: Option<&str>, name: &str) -> Relay {
    let kafka = brokers.map(|brokers| config::Kafka {
        brokers: brokers.into(),
        transactional_id: name.into(),
        properties: Default::default(),
        password: None,
    });
    let books = Arc::new(Books::new(Vec::new()));
    publish::start(sessions(database), kafka.as_ref(), Arc::new(Meters::register(Arc::clone(&books))), books)
}

/// Event `number`: every seventh is an intercept, keys repeat, ids do not.
fn numbered(number: u32) -> Event {
    let topic = if number.is_multiple_of(7) { Topic::Intercepts } else { Topic::Violations };
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes());
    let payload = format!(r#"{{"id":"{id}","data":{{"number":{number}}}}}"#).into_bytes();
    event::Event { topic, id, key: format!("鲁C{:05}:blue", number % 13), payload }
}

/// Commits the events in one transaction.
async fn commit(client: &mut Client, numbers: std::ops::Range<u32>) -> u64 {
    let events: Vec<Event> = numbers.map(numbered).collect();
    let transaction = client.transaction().await.unwrap();
    let new = outbox::insert(&transaction, &events).await.unwrap();
    transaction.commit().await.unwrap();
    new
}

pub(crate) async fn origin(client: &Client) -> String {
    client.query_one("SELECT origin::text FROM outbox_relay", &[]).await.unwrap().get(0)
}

/// Every record of this database in both topics, by position; checks what must hold of any history.
fn checked(mut records: Vec<Record>, origin: &str) -> Vec<Record> {
    records.retain(|record| record.header("origin") == Some(origin));
    let position = |record: &Record| record.header("position").unwrap().parse::<i64>().unwrap();
    let mut ends: std::collections::HashMap<(String, i32), i64> = Default::default();
    for record in &records {
        let before = ends.insert((record.topic.clone(), record.partition), position(record));
        assert!(before < Some(position(record)), "order within {}/{}", record.topic, record.partition);
    }
    let mut homes: std::collections::HashMap<(String, String), i32> = Default::default();
    for record in &records {
        let home = *homes.entry((record.topic.clone(), record.key.clone())).or_insert(record.partition);
        assert_eq!(home, record.partition, "one key, one partition");
    }
    records.sort_by_key(position);
    for pair in records.windows(2) {
        assert_ne!(position(&pair[0]), position(&pair[1]), "nothing is there twice");
    }
    records
}

/// The records of this database on a real broker.
pub(crate) async fn in_kafka(kafka: &Kafka, origin: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for topic in Topic::ALL {
        records.extend(kafka.records(topic.name()).await);
    }
    checked(records, origin)
}

/// Compares Kafka with the table: the same events in the same order, all of them, each once.
pub(crate) async fn assert_equal(client: &Client, records: &[Record]) {
    let rows =
        client.query("SELECT position, event_id, key, payload FROM outbox ORDER BY position", &[]).await.unwrap();
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(records) {
        assert_eq!(row.get::<_, i64>(0).to_string(), record.header("position").unwrap());
        assert_eq!((row.get::<_, &str>(2), row.get::<_, &[u8]>(3)), (record.key.as_str(), record.payload.as_slice()));
        let json: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
        assert_eq!(json["id"], row.get::<_, Uuid>(1).to_string());
        assert_eq!(record.header("content-type"), Some(event::CONTENT_TYPE));
    }
}

async fn until(relay: &Relay, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
    let mut watch = relay.watch();
    let waited = tokio::time::timeout(support::LIMIT, watch.wait_for(&holds)).await;
    match waited {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!("waited in vain for {what}; last: {:?}", relay.status()),
    }
}

async fn until_sent(relay: &Relay, position: i64) {
    until(relay, &format!("position {position} in Kafka"), |s| s.sent_position >= position).await;
}

const STOP: Duration = Duration::from_secs(30);
