//! The fleet against a real mosquitto.

mod mosquitto;

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use mosquitto::{Mosquitto, Subscriber, until};

use super::*;

fn options(broker: &Mosquitto) -> SimulateOptions {
    let broker = Broker::parse(&broker.url(), None, None, None).expect("a URL");
    SimulateOptions { rate: 600.0, connections: 3, seed: 5, ..SimulateOptions::new(broker) }
}

/// How often each message id was counted.
fn tally<'a>(ids: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    let mut tally = HashMap::new();
    ids.for_each(|id| *tally.entry(id).or_default() += 1);
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_has_exactly_what_a_subscriber_gets() {
    let broker = Mosquitto::start("");
    let subscriber = Subscriber::start(&broker, "dw/v1/+/+/+").await;
    let ledger = broker.folder().join("ledger.jsonl");
    let scenario = Scenario { arrays: 0.1, duplicates: 0.05, bad: 0.05, late: 0.05, ..Scenario::demo() };
    let run =
        super::run(SimulateOptions { messages: Some(900), scenario, ledger: Some(ledger.clone()), ..options(&broker) });
    let summary = run.await.expect("the run ends well");
    assert_eq!((summary.counts.made, summary.counts.acked, summary.undelivered()), (900, 900, 0));

    let entries = ledger::read(&ledger).expect("a ledger");
    assert_eq!(entries.len(), 900);
    until("all messages are there", || subscriber.readings().len() >= 900).await;
    let received = subscriber.readings();
    assert_eq!(received.len(), 900);
    assert_eq!(
        tally(entries.iter().map(|entry| entry.topic.as_str())),
        tally(received.iter().map(|(topic, _)| topic.as_str())),
    );
    let first: HashMap<_, _> = entries.iter().map(|entry| (entry.id.as_str(), entry)).collect();
    let sent_once = entries.iter().filter(|entry| !entry.duplicate).count();
    assert_eq!(first.len(), sent_once, "ids differ unless a message is marked as a duplicate");
    assert!(entries.iter().any(|entry| entry.duplicate) && entries.iter().any(|entry| entry.kind == "bad"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_broker_restarts() {
    let mut broker = Mosquitto::start("");
    let subscriber = Subscriber::start(&broker, "dw/v1/rs/+/passage").await;
    let ledger = broker.folder().join("ledger.jsonl");
    let progress = Arc::new(Progress::default());
    let options = SimulateOptions {
        messages: Some(1500),
        mix: Mix::only_passages(),
        ledger: Some(ledger.clone()),
        progress: Arc::clone(&progress),
        ..options(&broker)
    };
    let run = tokio::spawn(super::run(options));
    until("the run is under way", || progress.acked.load(Ordering::Relaxed) >= 200).await;
    broker.stop();
    until("messages wait", || progress.made.load(Ordering::Relaxed) > progress.acked.load(Ordering::Relaxed) + 100)
        .await;
    broker.restart();
    let summary = run.await.expect("no panic").expect("the run ends well");
    assert_eq!(summary.undelivered(), 0, "{summary:?}");
    assert!(summary.counts.reconnects >= 3, "every connection came back: {summary:?}");

    let entries = ledger::read(&ledger).expect("a ledger");
    let lines = tally(entries.iter().map(|entry| entry.id.as_str()));
    assert_eq!(lines.len(), 1500);
    assert!(lines.values().all(|count| *count == 1), "one line each, however often it was sent");
    until("each message arrived", || subscriber.record_ids().len() == 1500).await;
    let received = subscriber.record_ids();
    assert!(lines.keys().all(|id| received.contains(*id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_say_when_they_leave() {
    let broker = Mosquitto::start("");
    let run = super::run(SimulateOptions { messages: Some(20), ..options(&broker) });
    run.await.expect("the run ends well");
    // Retained, so a later subscriber learns them too.
    let subscriber = Subscriber::start(&broker, "dw/v1/+/+/status").await;
    let devices = script::status_topics(&Fleet::demo(), &Mix::default()).len();
    until("every device has a state", || subscriber.messages().len() >= devices).await;
    let offline = |payload: &[u8]| {
        let state: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
        state["state"] == "offline" && state["at"].as_str().and_then(Timestamp::parse_rfc3339).is_some()
    };
    assert!(subscriber.messages().iter().all(|(_, payload)| offline(payload)));

    // A run that is dropped says goodbye by its last will.
    let subscriber = Subscriber::start(&broker, "dw/v1/rs/370306-01/status").await;
    let run = tokio::spawn(super::run(SimulateOptions { connections: 1, ..options(&broker) }));
    until("the station is online", || subscriber.messages().iter().any(|(_, payload)| !offline(payload))).await;
    run.abort();
    until("the will was published", || subscriber.messages().last().is_some_and(|(_, last)| offline(last))).await;
}

#[tokio::test]
async fn a_broker_that_says_no_or_nothing_ends_the_run() {
    let broker = Mosquitto::start("allow_anonymous false");
    let denied = super::run(SimulateOptions { messages: Some(1), ..options(&broker) }).await;
    let denied = denied.expect_err("nobody is let in");
    assert!(matches!(denied, SimulateError::Connection(ConnectionFailure::Denied { .. })), "{denied}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let broker = Broker::parse(&format!("mqtt://{nobody}"), None, None, None).expect("a URL");
    let patience = Duration::from_millis(300);
    let absent = super::run(SimulateOptions { patience, ..SimulateOptions::new(broker) }).await;
    let absent = absent.expect_err("nobody is there");
    assert!(matches!(absent, SimulateError::Connection(ConnectionFailure::Unreachable { .. })), "{absent}");
}

#[tokio::test]
async fn impossible_options_are_refused() {
    let broker = Broker::parse("mqtt://127.0.0.1:1", None, None, None).expect("a URL");
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let run = super::run(SimulateOptions { rate, ..SimulateOptions::new(broker.clone()) }).await;
        assert!(matches!(run, Err(SimulateError::Rate)));
    }
    let ledger = Some("/nowhere/ledger.jsonl".into());
    let run = super::run(SimulateOptions { ledger, ..SimulateOptions::new(broker) }).await;
    assert!(matches!(run, Err(SimulateError::Ledger { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fast_publisher_sends_passages_that_arrive() {
    let broker = Mosquitto::start("");
    let subscriber = Subscriber::start(&broker, "dw/v1/rs/+/passage").await;
    let address = Broker::parse(&broker.url(), None, None, None).expect("a URL");
    let blast = Blast { messages: Some(3000), ..Blast::new(address, Arc::new(Fleet::demo()), "b1") };
    let summary = blast.run().await.expect("the run ends well");
    assert_eq!((summary.sent, summary.acked), (3000, 3000));
    until("each message arrived", || subscriber.record_ids().len() == 3000).await;
}
