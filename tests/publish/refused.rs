//! With a real Kafka: events larger than their topic takes, their stand-ins, and sending them again.

use std::process::Output;

use dieselwatch::{publish::refused, reading::Timestamp};
use serde_json::{Value, json};

use super::*;

/// What the topic takes until it is raised, and what an event that is larger holds, bytes.
const LIMIT: u32 = 4_000;
const LARGE: usize = 6_000;

fn large(number: u32) -> Event {
    let Event { topic, id, key, .. } = numbered(number);
    // Nothing that compression makes smaller: the broker looks at what is left of it.
    let noise = (0u32..).map(|n| Uuid::new_v5(&id, &n.to_be_bytes()).simple().to_string());
    let data: String = noise.take(LARGE / 32).collect();
    let time = "2026-03-01T08:00:01+08:00";
    let payload = json!({ "id": id, "type": "test.large", "time": time, "data": data });
    event::Event { topic, id, key, payload: payload.to_string().into_bytes() }
}

/// A number whose event goes to the topic of violations.
const LARGES: [u32; 3] = [11, 13, 27];

/// Events `0..30` in one transaction, of which some are large.
async fn commit_some_large(client: &mut Client) {
    let events: Vec<Event> = (0..30).map(|n| if LARGES.contains(&n) { large(n) } else { numbered(n) }).collect();
    let transaction = client.transaction().await.unwrap();
    outbox::insert(&transaction, &events).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn events_command(database: &TestDatabase, brokers: &str, words: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dieselwatch"));
    command.arg("events").args(words).env("DIESELWATCH__DATABASE__URL", database.url());
    command.env("DIESELWATCH__KAFKA__BROKERS", brokers).env("DIESELWATCH__KAFKA__TRANSACTIONAL_ID", "refused");
    command.output().await.unwrap()
}

fn json_of(record: &Record) -> Value {
    serde_json::from_slice(&record.payload).unwrap()
}

/// The records are events `0..30` in order, each once, with stand-ins for the large ones.
fn assert_stand_ins(records: &[Record]) {
    assert_eq!(records.len(), 30);
    for (number, record) in (0..30).zip(records) {
        let event = numbered(number);
        assert_eq!(record.header("position"), Some(&*(number + 1).to_string()));
        assert_eq!(record.key, event.key);
        if !LARGES.contains(&number) {
            assert_eq!(record.payload, event.payload, "a neighbour is whole");
            continue;
        }
        let stand_in = json_of(record);
        assert_eq!(record.header("content-type"), Some(event::CONTENT_TYPE));
        assert_eq!((&stand_in["type"], &stand_in["subject"]), (&json!(event::STAND_IN), &json!(event.key)));
        assert_ne!(stand_in["id"], json!(event.id), "or whoever has seen it would drop the event itself");
        let data = &stand_in["data"];
        assert_eq!((&data["event"], &data["type"]), (&json!(event.id), &json!("test.large")));
        assert_eq!(data["bytes"], json!(large(number).payload.len()));
        assert_eq!(data["href"], json!(format!("/api/v1/events/{}", event.id)));
        assert!(data["why"].as_str().unwrap().contains("the topic takes 4000"), "{data}");
    }
}

/// The records behind the first thirty are the large events in their order, whole and each once.
fn assert_sent_again(records: &[Record]) {
    assert_stand_ins(&records[..30]);
    let again: Vec<_> = records[30..].iter().map(|record| record.payload.clone()).collect();
    assert_eq!(again, LARGES.map(|number| large(number).payload));
}

#[tokio::test]
async fn an_event_too_large_goes_as_a_stand_in_and_whole_once_there_is_room() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::start().await else { return };
    kafka.limit(Topic::Violations.name(), LIMIT).await;
    let mut client = database.client().await;
    let origin = origin(&client).await;
    commit_some_large(&mut client).await;
    let relay = start(&database, Some(&kafka.brokers()), "refused");
    until_sent(&relay, 30).await;
    assert_stand_ins(&in_kafka(&kafka, &origin).await);
    let status = until(&relay, "the count", |s| s.not_in_full == 3).await;
    assert_eq!((status.kafka, status.unsent()), (KafkaLink::Connected, 0));

    let listed = events_command(&database, &kafka.brokers(), &["list", "--json"]).await;
    let lines = String::from_utf8(listed.stdout).unwrap();
    let ids: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, LARGES.map(|number| json!(numbered(number).id)));

    // Nothing was mended: they are refused again, and said to be.
    let id = numbered(LARGES[0]).id.to_string();
    let output = events_command(&database, &kafka.brokers(), &["resend", "--id", &id]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("0 in Kafka in full, 1 not") && said.contains("the topic takes 4000"), "{said}");
    let repeated = in_kafka(&kafka, &origin).await;
    assert_eq!(json_of(&repeated[30])["id"], json_of(&repeated[11])["id"], "the same stand-in");

    // They outlive the outbox's retention.
    until_sent(&relay, 31).await;
    outbox::prune(&client, Timestamp::now().plus_seconds(60), true).await.unwrap();
    kafka.limit(Topic::Violations.name(), 1_000_000).await;
    let output = events_command(&database, &kafka.brokers(), &["resend", "--all"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("3 handed over") && said.contains("3 in Kafka in full, 0 not"), "{said}");
    until(&relay, "the count to fall", |s| s.not_in_full == 0).await;
    let mut records = in_kafka(&kafka, &origin).await;
    records.remove(30);
    // The one that was refused a second time had gone behind the others.
    let order = [LARGES[1], LARGES[2], LARGES[0]];
    assert_stand_ins(&records[..30]);
    let again: Vec<_> = records[30..].iter().map(|record| record.payload.clone()).collect();
    assert_eq!(again, order.map(|number| large(number).payload));
    assert!(relay.stop(STOP).await);
}

/// Kafka has committed what was sent again, the database does not know: as in `relay`.
#[tokio::test]
async fn a_crash_while_sending_again_repeats_nothing() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::start().await else { return };
    kafka.limit(Topic::Violations.name(), LIMIT).await;
    let mut client = database.client().await;
    let origin = origin(&client).await;
    commit_some_large(&mut client).await;
    let relay = start(&database, Some(&kafka.brokers()), "again");
    until_sent(&relay, 30).await;
    assert!(relay.stop(STOP).await);
    kafka.limit(Topic::Violations.name(), 1_000_000).await;
    let ids = LARGES.map(|number| numbered(number).id);
    for handed in [3, 0] {
        let transaction = client.transaction().await.unwrap();
        assert_eq!(refused::resend(&transaction, &ids).await.unwrap(), handed, "the second time changes nothing");
        transaction.commit().await.unwrap();
    }
    let relay = start(&database, None, "");
    until(&relay, "positions", |s| s.last_position == 33).await;
    assert!(relay.stop(STOP).await);
    assert_eq!(refused::list(&client, 0, 10).await.unwrap().len(), 3, "positions are not Kafka");

    let mut holder = database.client().await;
    let held = holder.transaction().await.unwrap();
    held.execute("SELECT FROM outbox_relay FOR UPDATE", &[]).await.unwrap();
    let relay = start(&database, Some(&kafka.brokers()), "again");
    support::until("the events in Kafka", async || (in_kafka(&kafka, &origin).await.len() == 33).then_some(())).await;
    drop(relay);
    held.rollback().await.unwrap();
    assert_eq!(refused::list(&client, 0, 10).await.unwrap().len(), 3, "the database does not know of them");

    let relay = start(&database, Some(&kafka.brokers()), "again");
    until(&relay, "the count to fall", |s| s.sent_position == 33 && s.not_in_full == 0).await;
    assert!(relay.stop(STOP).await);
    assert_sent_again(&in_kafka(&kafka, &origin).await);
    assert_eq!(refused::list(&client, 0, 10).await.unwrap(), []);
}

/// The broker's refusal is what shows it then: a transaction is lost, and nothing else.
#[tokio::test]
async fn a_limit_that_is_lowered_under_an_open_line_holds_up_nobody() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::start().await else { return };
    kafka.limit(Topic::Violations.name(), 1_000_000).await;
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let relay = start(&database, Some(&kafka.brokers()), "lowered");
    until(&relay, "a line", |s| s.kafka == KafkaLink::Connected).await;
    kafka.limit(Topic::Violations.name(), LIMIT).await;
    let began = std::time::Instant::now();
    commit_some_large(&mut client).await;
    relay.nudge();
    until_sent(&relay, 30).await;
    println!("the refusal took {:?}", began.elapsed());
    until(&relay, "the count", |s| s.not_in_full == 3).await;
    assert!(relay.stop(STOP).await);
    assert_stand_ins(&in_kafka(&kafka, &origin).await);
}
