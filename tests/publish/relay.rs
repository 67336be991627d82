//! With a real Kafka: order, no repeats, crashes between the two commits, competing relays.

use dieselwatch::publish::status::Role;

use super::*;

#[tokio::test]
async fn events_arrive_once_in_order_with_their_headers() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let relay = start(&database, Some(&kafka.brokers()), "happy");
    for start in (0..200).step_by(20) {
        commit(&mut client, start..start + 20).await;
        relay.nudge();
    }
    assert!(relay.stop(STOP).await, "stopping lets everything out: {:?}", relay.status());
    let records = in_kafka(kafka, &origin).await;
    assert_eq!(records.len(), 200);
    assert_equal(&client, &records).await;
}

/// The crash that matters: Kafka has committed, the database does not know. The lost session is made by holding the
/// row that the relay has to write, and ending its backend while it waits.
#[tokio::test]
async fn a_crash_between_kafka_and_database_repeats_nothing() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let brokers = kafka.brokers();
    let relay = start(&database, Some(&brokers), "crash");
    commit(&mut client, 0..5).await;
    until_sent(&relay, 5).await;
    assert!(relay.stop(STOP).await);
    for round in 1..4 {
        // Positions are given beforehand, because that needs the row, too.
        let first = round * 100;
        commit(&mut client, first..first + 40).await;
        let relay = start(&database, None, "");
        let last = 5 + i64::from(round) * 40;
        until(&relay, "positions", |s| s.last_position == last).await;
        assert!(relay.stop(STOP).await);

        let mut holder = database.client().await;
        let held = holder.transaction().await.unwrap();
        held.execute("SELECT FROM outbox_relay FOR UPDATE", &[]).await.unwrap();
        let relay = start(&database, Some(&brokers), "crash");
        support::until("the events in Kafka", async || {
            (in_kafka(kafka, &origin).await.len() as i64 == last).then_some(())
        })
        .await;
        let waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event_type = 'Lock' AND query LIKE '%outbox_relay%'";
        support::until("the relay to wait for its row", async || {
            (client.query(waiting, &[]).await.unwrap().len() == 1).then_some(())
        })
        .await;
        drop(relay);
        held.rollback().await.unwrap();
        let known: i64 = client.query_one("SELECT sent_position FROM outbox_relay", &[]).await.unwrap().get(0);
        assert_eq!(known, last - 40, "the database does not know of them");

        let relay = start(&database, Some(&brokers), "crash");
        until_sent(&relay, last).await;
        assert!(relay.stop(STOP).await);
        let records = in_kafka(kafka, &origin).await;
        assert_eq!(records.len() as i64, last);
        assert_equal(&client, &records).await;
    }
}

/// Crashes at whatever moment it is, again and again, under load.
#[tokio::test]
async fn crashes_at_any_moment_repeat_and_lose_nothing() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let mut number = 0;
    for round in 0..12_i64 {
        let relay = start(&database, Some(&kafka.brokers()), "crashes");
        // From before the line is open to well into the stream; the commits themselves take the time.
        let enough = number.max(u32::try_from(round * 15).unwrap());
        while number < enough + 20 || (round % 3 == 2 && relay.status().sent_position + 60 < i64::from(number)) {
            commit(&mut client, number..number + 1).await;
            relay.nudge();
            number += 1;
        }
        if round % 3 != 0 {
            let sent = relay.status().sent_position;
            until(&relay, "some progress", |s| s.sent_position > sent || s.sent_position >= i64::from(number)).await;
            for _ in 0..round {
                commit(&mut client, number..number + 1).await;
                relay.nudge();
                number += 1;
            }
        }
        drop(relay);
    }
    let relay = start(&database, Some(&kafka.brokers()), "crashes");
    until_sent(&relay, i64::from(number)).await;
    assert!(relay.stop(STOP).await);
    assert_equal(&client, &in_kafka(kafka, &origin).await).await;
}

#[tokio::test]
async fn two_relays_make_one_order() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let mut client = database.client().await;
    let origin = origin(&client).await;
    let brokers = kafka.brokers();
    let mut relays = [start(&database, Some(&brokers), "pair"), start(&database, Some(&brokers), "pair")];
    let mut number = 0;
    for round in 0..4 {
        for _ in 0..30 {
            commit(&mut client, number..number + 1).await;
            relays[number as usize % 2].nudge();
            number += 1;
        }
        // The leader's session goes, or its whole process does.
        let leader =
            support::until("a leader", async || relays.iter().position(|r| r.status().role == Role::Leader)).await;
        if round % 2 == 0 {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                        (SELECT oid FROM pg_database WHERE datname = current_database())";
            client.execute(kill, &[]).await.unwrap();
        } else {
            relays[leader] = start(&database, Some(&brokers), "pair");
        }
    }
    support::until("everything in Kafka", async || {
        relays.iter().any(|r| r.status().sent_position == i64::from(number)).then_some(())
    })
    .await;
    for relay in &relays {
        assert!(relay.stop(STOP).await);
    }
    assert_equal(&client, &in_kafka(kafka, &origin).await).await;
}

/// A predecessor that lost the lock without noticing: its line is still open when the next one leads.
#[tokio::test]
async fn a_predecessor_that_is_not_quite_dead_is_fenced() {
    use dieselwatch::publish::kafka::{Line, Published, Settings};
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let mut client = database.client().await;
    let origin = origin(&client).await;
    commit(&mut client, 0..10).await;
    let relay = start(&database, None, "");
    until(&relay, "positions", |s| s.last_position == 10).await;
    assert!(relay.stop(STOP).await);
    let settings = Settings::new(&config::Kafka {
        brokers: kafka.brokers(),
        transactional_id: "fenced".into(),
        properties: Default::default(),
        password: None,
    });
    let (old, opened) = Line::open(settings, outbox::state(&client).await.unwrap());
    let found = opened.await.unwrap().unwrap();
    assert_eq!(found.sent, 0);
    outbox::catch_up(&client, &found).await.unwrap();
    let events: Vec<_> = outbox::backlog(&client, 0).await.unwrap().into_iter().map(Arc::new).collect();
    let sent = old.publish(events[..4].to_vec()).await.unwrap().unwrap();
    assert!(matches!(sent, Published::Sent(progress) if progress.sent == 4));

    let relay = start(&database, Some(&kafka.brokers()), "fenced");
    until_sent(&relay, 10).await;
    let late = old.publish(events[4..].to_vec()).await.unwrap();
    assert!(late.is_err(), "fenced: {late:?}");
    assert!(relay.stop(STOP).await);
    assert_equal(&client, &in_kafka(kafka, &origin).await).await;
}

/// Another database writes to the same topics, with positions of its own.
#[tokio::test]
async fn others_in_the_same_topics_do_not_matter() {
    let Some(database) = outbox().await else { return };
    let Some(other) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let (mut client, mut stranger) = (database.client().await, other.client().await);
    let brokers = kafka.brokers();
    for _ in 0..2 {
        let count: i64 = client.query_one("SELECT count(*) FROM outbox", &[]).await.unwrap().get(0);
        let from = u32::try_from(count).unwrap();
        let (ours, theirs) = (start(&database, Some(&brokers), "ours"), start(&other, Some(&brokers), "theirs"));
        commit(&mut client, from..from + 25).await;
        commit(&mut stranger, from * 3..from * 3 + 75).await;
        until_sent(&ours, count + 25).await;
        until_sent(&theirs, (count + 25) * 3).await;
    }
    let records = in_kafka(kafka, &origin(&client).await).await;
    assert_eq!(records.len(), 50);
    assert_equal(&client, &records).await;
    assert_eq!(in_kafka(kafka, &origin(&stranger).await).await.len(), 150);
}

/// After a restore the database knows less than Kafka: new events must not take positions that are passed already.
#[tokio::test]
async fn a_restored_database_goes_on_after_what_kafka_holds() {
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    let mut client = database.client().await;
    let brokers = kafka.brokers();
    let relay = start(&database, Some(&brokers), "restored");
    commit(&mut client, 0..10).await;
    until_sent(&relay, 10).await;
    assert!(relay.stop(STOP).await);
    client
        .batch_execute("CREATE TABLE backup AS TABLE outbox; CREATE TABLE relay_backup AS TABLE outbox_relay")
        .await
        .unwrap();
    let relay = start(&database, Some(&brokers), "restored");
    commit(&mut client, 10..20).await;
    until_sent(&relay, 20).await;
    assert!(relay.stop(STOP).await);
    client
        .batch_execute(
            "DELETE FROM outbox WHERE position > 10; DELETE FROM outbox_relay; INSERT INTO outbox_relay TABLE relay_backup",
        )
        .await
        .unwrap();
    let relay = start(&database, Some(&brokers), "restored");
    until(&relay, "Kafka", |s| s.kafka == KafkaLink::Connected).await;
    commit(&mut client, 20..25).await;
    until_sent(&relay, 25).await;
    assert!(relay.stop(STOP).await);
    let records = in_kafka(kafka, &origin(&client).await).await;
    assert_eq!(records.len(), 25);
    let last: serde_json::Value = serde_json::from_slice(&records[24].payload).unwrap();
    assert_eq!(last["data"]["number"], 24);
}

/// A transaction of somebody else hides what we committed after it began, until it ends. Taking the hidden end for the
/// end would send everything behind it again.
#[tokio::test]
async fn records_hidden_by_a_transaction_of_others_are_waited_for() {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    let Some(database) = outbox().await else { return };
    let Some(kafka) = Kafka::start().await else { return };
    let mut client = database.client().await;
    let brokers = kafka.brokers();
    let relay = start(&database, Some(&brokers), "hidden");
    commit(&mut client, 0..10).await;
    until_sent(&relay, 10).await;
    client.batch_execute("CREATE TABLE before AS TABLE outbox_relay").await.unwrap();

    let stranger: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("transactional.id", "stranger")
        .create()
        .unwrap();
    stranger.init_transactions(support::LIMIT).unwrap();
    stranger.begin_transaction().unwrap();
    for partition in 0..3 {
        let record = BaseRecord::to(Topic::Violations.name()).key("x").payload("x").partition(partition);
        stranger.send(record).map_err(|(error, _)| error).unwrap();
    }
    while stranger.in_flight_count() > 0 {
        stranger.poll(Duration::from_millis(1));
    }
    commit(&mut client, 10..30).await;
    until_sent(&relay, 30).await;
    assert!(relay.stop(STOP).await);
    client
        .batch_execute("UPDATE outbox_relay SET sent_position = before.sent_position, ends = before.ends FROM before")
        .await
        .unwrap();

    let relay = start(&database, Some(&brokers), "hidden");
    let mut watch = relay.watch();
    until(&relay, "to lead", |s| s.role == Role::Leader).await;
    for _survey in 0..3 {
        watch.changed().await.unwrap();
    }
    assert_eq!(relay.status().sent_position, 10, "cannot know yet");
    stranger.abort_transaction(support::LIMIT).unwrap();
    until_sent(&relay, 30).await;
    assert!(relay.stop(STOP).await);
    assert_equal(&client, &in_kafka(&kafka, &origin(&client).await).await).await;
}
