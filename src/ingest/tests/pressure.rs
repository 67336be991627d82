//! What happens when the pipeline is slow, and at the end.

use std::{collections::BTreeSet, time::Duration};

use super::support::*;
use crate::{config::Mqtt, ingest::Activity};

/// Ten of these fill the budget.
const SIZE: usize = 8_000;

fn tight(url: &str) -> Mqtt {
    Mqtt { budget_bytes: 10 * (SIZE as u32 + 256), ..mqtt(url) }
}

fn large(numbers: std::ops::Range<u32>) -> impl Iterator<Item = (String, Vec<u8>)> {
    numbers.map(|number| (TOPIC.to_owned(), format!("{number:0SIZE$}").into_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_stops_when_the_budget_is_used_up_and_goes_on_when_it_is_given_back() {
    for broker in AnyBroker::both().await {
        let mut service = Service::start(&tight(&broker.url()), &[0]).await;
        publish(&broker.url(), large(0..100)).await;
        let mut held = service.take(10).await;
        assert_eq!(service.ingest.held_bytes(), 10 * (SIZE as u64 + 256));
        let mut seen: BTreeSet<u32> = held.iter().map(number).collect();
        while seen.len() < 100 {
            settle(held);
            held = service.take(1).await;
            seen.extend(held.iter().map(number));
            assert!(service.ingest.held_bytes() <= 10 * (SIZE as u64 + 256));
        }
        settle(held);
        service.until_settled(100).await;
        assert_eq!(service.ingest.held_bytes(), 0);
        assert_eq!(service.book(), (100, 100, 0, 0));
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stall_pauses_the_connection_without_losing_it_and_without_double_work() {
    let [left, right] = AnyBroker::both().await;
    tokio::join!(stall(left), stall(right));
}

async fn stall(broker: AnyBroker) {
    let mut service = Service::start(&tight(&broker.url()), &[0]).await;
    publish(&broker.url(), large(0..100)).await;
    let held = service.take(10).await;
    eventually("the connection pauses", || service.ingest.status()[0].activity == Activity::Paused).await;
    // Pings go on: the broker throws a client out after 1.5 times the keep-alive of 5 s without a sign of life.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(service.ingest.status()[0].connected);
    assert_eq!(service.ingest.status()[0].reconnects, 0);
    assert!(service.inbox.is_empty());
    settle(held);
    let mut seen = BTreeSet::new();
    while seen.len() < 90 {
        let some = service.take(1).await;
        assert!(some.iter().all(|delivery| seen.insert(number(delivery))), "came twice");
        settle(some);
    }
    assert_eq!(seen, (10..100).collect());
    service.until_settled(100).await;
    // Exactly one new connection, for what was refused.
    assert_eq!(service.ingest.status()[0].reconnects, 1);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_takes_nothing_new_and_still_acknowledges() {
    for broker in AnyBroker::both().await {
        let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
        publish(&broker.url(), numbered(0..10)).await;
        let held = service.take(10).await;
        service.ingest.stop_reading();
        eventually("the connection drains", || service.ingest.status()[0].activity == Activity::Draining).await;
        publish(&broker.url(), numbered(10..20)).await;
        let mut none = Vec::new();
        assert_eq!(service.inbox.recv_many(&mut none, 100).await, 0, "the inbox is closed");
        settle(held);
        service.until_settled(10).await;
        let finish = service.ingest.finish(CEILING).await;
        assert!(finish.clean);
        assert_eq!(service.ingest.books()[0].in_flight, 0);
        let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
        let rest = service.take(10).await;
        assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), (10..20).collect::<Vec<_>>());
        settle(rest);
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finish_waits_for_receipts_that_are_open() {
    let broker = Mosquitto::start().await;
    let mut service = Service::start(&mqtt(&broker.url()), &[0]).await;
    publish(&broker.url(), numbered(0..10)).await;
    let held = service.take(10).await;
    let (ingest, inbox) = (std::sync::Arc::new(service.ingest), service.inbox);
    let finishing = tokio::spawn({
        let ingest = std::sync::Arc::clone(&ingest);
        async move { ingest.finish(CEILING).await }
    });
    eventually("it drains", || ingest.status()[0].activity == Activity::Draining).await;
    assert!(!finishing.is_finished());
    settle(held);
    assert!(finishing.await.expect("no panic").clean);
    assert_eq!(ingest.books()[0].settled, 10);
    drop(inbox);
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_tried_again_and_shown() {
    let port = free_port();
    let service = Service::begin(&mqtt(&format!("mqtt://127.0.0.1:{port}")), crate::ingest::Slots::Fixed(vec![0]));
    eventually("the error is shown", || {
        service.ingest.status().first().is_some_and(|status| status.last_error.is_some() && !status.connected)
    })
    .await;
    assert!(!service.ingest.is_ready());
    let broker = crate::embedded::broker::Broker::start(port).await.expect("the port is free");
    service.until_ready().await;
    service.finish().await;
    broker.shutdown().await;
}
