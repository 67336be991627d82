//! How long an event takes from its commit to a consumer. Prints figures; the bound it checks is a loose one, because
//! other tests run beside it.

use std::time::Instant;

use super::*;
use crate::support::kafka;

/// Events measured, and the pause between commits: a few dozen commits a second, as at half load.
const COUNT: u32 = 300;
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_commit_to_consumer() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let relay = start(&database, Some(&kafka.brokers()), "speed");
    commit(&mut client, 0..1).await;
    until_sent(&relay, 1).await;

    let brokers = kafka.brokers();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || {
        let topic = Topic::Violations.name();
        let consumer = kafka::consumer(&brokers, topic, rdkafka::Offset::Beginning);
        let mut ready = Some(ready);
        let mut seen = std::collections::HashMap::new();
        let violations = (0..=COUNT).filter(|n| n % 7 != 0).count();
        while seen.len() < violations {
            match consumer_poll(&consumer) {
                Some(record) if record.header("origin") == Some(&origin) => {
                    let json: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
                    seen.insert(json["data"]["number"].as_u64().unwrap(), Instant::now());
                }
                Some(_) => {}
                None => drop(ready.take().map(|ready| ready.send(()))),
            }
        }
        seen
    });
    is_ready.await.unwrap();
    let mut committed = std::collections::HashMap::new();
    let mut tick = tokio::time::interval(PAUSE);
    for number in 1..=COUNT {
        tick.tick().await;
        commit(&mut client, number..number + 1).await;
        committed.insert(u64::from(number), Instant::now());
        relay.nudge();
    }
    let seen = tokio::time::timeout(support::LIMIT, reader).await.unwrap().unwrap();
    let mut delays: Vec<Duration> =
        seen.iter().filter_map(|(number, at)| Some(at.saturating_duration_since(*committed.get(number)?))).collect();
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    eprintln!(
        "commit to consumer: p50 {:?}, p90 {:?}, p99 {:?}, worst {:?} of {}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
        delays.len()
    );
    assert!(at(0.5) < Duration::from_secs(1), "waiting for a poll instead of a nudge: {:?}", at(0.5));
    assert!(relay.stop(STOP).await);
}

/// A record, or `None` at the end of what is there now.
fn consumer_poll(consumer: &rdkafka::consumer::BaseConsumer) -> Option<Record> {
    use rdkafka::error::KafkaError;
    match consumer.poll(support::LIMIT).expect("records or the end of the partition") {
        Ok(message) => Some(kafka::record(&message)),
        Err(KafkaError::PartitionEOF(_)) => None,
        Err(error) => panic!("{error}"),
    }
}
