//! Kafka going away and coming back, and a broker that refuses an event.

use dieselwatch::publish::{feed, refused};
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::*;
use crate::support::kafka;

/// The mock speaks the real protocol but knows no markers: it shows what is rolled back, too. So here the outages are
/// short enough to be waited out inside a transaction.
fn mock() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    for topic in Topic::ALL {
        cluster.create_topic(topic.name(), 3, 1).unwrap();
    }
    cluster
}

async fn in_mock(cluster: &MockCluster<'_, DefaultProducerContext>, origin: &str) -> Vec<Record> {
    let brokers = cluster.bootstrap_servers();
    let read = move || Topic::ALL.iter().flat_map(|topic| kafka::records(&brokers, topic.name())).collect();
    checked(tokio::task::spawn_blocking(read).await.unwrap(), origin)
}

#[tokio::test]
async fn a_broker_that_goes_and_comes_gets_everything_once() {
    let Some(database) = outbox().await else { return };
    let cluster = mock();
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let relay = start(&database, Some(&cluster.bootstrap_servers()), "mock");
    let mut number = 0;
    for _ in 0..3 {
        commit(&mut client, number..number + 50).await;
        number += 50;
        until_sent(&relay, i64::from(number)).await;
        cluster.broker_down(-1).unwrap();
        for _ in 0..20 {
            commit(&mut client, number..number + 10).await;
            relay.nudge();
            number += 10;
        }
        // Positions, and with them HTTP, do not wait for Kafka: they are there while the transaction still is under way, and not
        // when it is given up.
        let given = |s: &Status| s.last_position == i64::from(number);
        let status = until(&relay, "positions", given).await;
        assert_eq!(status.kafka, KafkaLink::Connected);
        assert!(relay.status().sent_position < i64::from(number));
        cluster.broker_up(-1).unwrap();
    }
    until_sent(&relay, i64::from(number)).await;
    assert!(relay.stop(STOP).await);
    assert_equal(&client, &in_mock(&cluster, &origin).await).await;
}

#[tokio::test]
async fn kafka_may_come_later_than_the_service() {
    let Some(database) = outbox().await else { return };
    let cluster = mock();
    cluster.broker_down(-1).unwrap();
    let mut client = database.client().await;
    let relay = start(&database, Some(&cluster.bootstrap_servers()), "late");
    commit(&mut client, 0..10).await;
    let status = until(&relay, "the trouble to show", |s| s.kafka == KafkaLink::Away && s.last_error.is_some()).await;
    assert!(!status.is_ready());
    until(&relay, "the backlog to show", |s| s.unsent() == 10).await;
    cluster.broker_up(-1).unwrap();
    until_sent(&relay, 10).await;
    let status = until(&relay, "readiness", Status::is_ready).await;
    assert_eq!((status.kafka, status.last_error), (KafkaLink::Connected, None));
    assert!(relay.stop(STOP).await);
    assert_equal(&client, &in_mock(&cluster, &origin(&client).await).await).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_kafka_that_is_away() {
    let Some(database) = outbox().await else { return };
    let cluster = mock();
    cluster.broker_down(-1).unwrap();
    let mut client = database.client().await;
    let relay = start(&database, Some(&cluster.bootstrap_servers()), "away");
    commit(&mut client, 0..10).await;
    until(&relay, "the trouble to show", |s| s.kafka == KafkaLink::Away).await;
    assert!(relay.stop(STOP).await);
    assert_eq!(relay.status().last_position, 10);
}

#[tokio::test]
async fn an_event_that_kafka_refuses_does_not_hold_up_the_others() {
    let Some(database) = outbox().await else { return };
    let cluster = mock();
    let mut client = database.client().await;
    let relay = start(&database, Some(&cluster.bootstrap_servers()), "refused");
    commit(&mut client, 0..1).await;
    until_sent(&relay, 1).await;
    // The mock does not say what its topics take. Four of one key are one request to one partition; it is refused whole, then
    // the first of them alone, then even its stand-in.
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[refusal, refusal, refusal]);
    let same_key: Vec<Event> = [13, 26, 39, 52].map(numbered).to_vec();
    let transaction = client.transaction().await.unwrap();
    outbox::insert(&transaction, &same_key).await.unwrap();
    transaction.commit().await.unwrap();
    until_sent(&relay, 5).await;
    let status = until(&relay, "the count", |s| s.not_in_full == 1).await;
    assert_eq!(status.unsent(), 0, "it does not wait");
    let refused = refused::list(&client, 0, 10).await.unwrap();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].position, refused[0].id, refused[0].stand_in), (2, numbered(13).id, false));
    assert!(refused[0].reason.starts_with("the broker refuses it: "), "{}", refused[0].reason);
    assert!(relay.stop(STOP).await);
    let records = in_mock(&cluster, &origin(&client).await).await;
    let positions: Vec<_> = records.iter().map(|r| r.header("position").unwrap()).collect();
    assert_eq!(positions, ["1", "3", "4", "5"]);
    assert_eq!(feed::events_after(&client, 0, 10).await.unwrap().len(), 5, "HTTP serves it all the same");
}

#[tokio::test]
async fn a_kafka_that_crashes_gets_everything_once() {
    let Some(database) = outbox().await else { return };
    let Some(mut kafka) = Kafka::start().await else { return };
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let relay = start(&database, Some(&kafka.brokers()), "outage");
    let mut number = 0;
    for _ in 0..2 {
        for _ in 0..50 {
            commit(&mut client, number..number + 2).await;
            relay.nudge();
            number += 2;
        }
        let sent = relay.status().sent_position;
        until(&relay, "the stream to flow", |s| s.sent_position > sent || s.sent_position == i64::from(number)).await;
        // In the middle of a stream of transactions.
        for _ in 0..10 {
            commit(&mut client, number..number + 1).await;
            relay.nudge();
            number += 1;
        }
        kafka.kill().await;
        for _ in 0..50 {
            commit(&mut client, number..number + 2).await;
            relay.nudge();
            number += 2;
        }
        until(&relay, "positions", |s| s.last_position == i64::from(number)).await;
        kafka.start_again().await;
    }
    until_sent(&relay, i64::from(number)).await;
    assert!(relay.stop(STOP).await);
    assert_equal(&client, &in_kafka(&kafka, &origin).await).await;
}
