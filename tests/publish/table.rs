//! Without Kafka: positions, pages, live events, standing by, pruning.

use dieselwatch::{
    publish::{self, feed, outbox, status::Role},
    reading::Timestamp,
};

use super::*;
use outbox::{BATCH_BYTES, BATCH_ROWS};

#[tokio::test]
async fn committed_events_get_positions_without_kafka() {
    let Some(database) = outbox().await else { return };
    let mut client = database.client().await;
    let relay = start(&database, None, "");
    assert_eq!(commit(&mut client, 0..3).await, 3);
    assert_eq!(commit(&mut client, 2..5).await, 2, "an event is taken once");
    relay.nudge();
    until(&relay, "positions", |s| s.last_position == 5).await;
    let page = feed::events_after(&client, 1, 3).await.unwrap();
    assert_eq!(page.iter().map(|e| e.position).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(page[0].payload, numbered(1).payload);
    assert_eq!(feed::range(&client).await.unwrap(), Some((1, 5)));
    let status = until(&relay, "a survey", |s| s.role == Role::Leader && s.unpositioned == 0).await;
    assert_eq!((status.unsent(), status.is_ready(), status.sent_position), (0, true, 0));
    assert!(relay.stop(STOP).await);
}

#[tokio::test]
async fn rows_of_a_transaction_that_commits_late_come_after() {
    let Some(database) = outbox().await else { return };
    let (mut slow, mut quick) = (database.client().await, database.client().await);
    let relay = start(&database, None, "");
    let late = slow.transaction().await.unwrap();
    outbox::insert(&late, &[numbered(1)]).await.unwrap();
    commit(&mut quick, 2..3).await;
    relay.nudge();
    until(&relay, "the quick one", |s| s.last_position == 1).await;
    late.commit().await.unwrap();
    // No nudge: the relay looks by itself, too.
    until(&relay, "the slow one", |s| s.last_position == 2).await;
    let ids: Vec<Uuid> = feed::events_after(&quick, 0, 10).await.unwrap().iter().map(|e| e.id).collect();
    assert_eq!(ids, [numbered(2).id, numbered(1).id]);
}

#[tokio::test]
async fn a_standby_passes_nudges_and_events_and_takes_over() {
    let Some(database) = outbox().await else { return };
    let mut client = database.client().await;
    let leader = start(&database, None, "");
    until(&leader, "the first to lead", |s| s.role == Role::Leader).await;
    let standby = start(&database, None, "");
    until(&standby, "the second to stand by", |s| s.role == Role::Standby).await;

    let mut follow = standby.feed().follow(0);
    let reader = database.client().await;
    for number in 0..20 {
        commit(&mut client, number..number + 1).await;
        standby.nudge();
        let next = follow.next(async |after| feed::events_after(&reader, after, 10).await);
        let event = tokio::time::timeout(support::LIMIT, next).await.unwrap().unwrap().unwrap();
        assert_eq!((event.position, event.id), (i64::from(number) + 1, numbered(number).id));
    }
    drop(leader);
    until(&standby, "the second to lead", |s| s.role == Role::Leader).await;
    commit(&mut client, 20..21).await;
    standby.nudge();
    let next = follow.next(async |after| feed::events_after(&reader, after, 10).await);
    assert_eq!(tokio::time::timeout(support::LIMIT, next).await.unwrap().unwrap().unwrap().position, 21);
    assert!(standby.stop(STOP).await);
}

#[tokio::test]
async fn a_large_backlog_is_positioned_in_order_of_insertion() {
    let Some(database) = outbox().await else { return };
    let mut client = database.client().await;
    for start in 0..10 {
        commit(&mut client, start * 333..(start + 1) * 333).await;
    }
    let relay = start(&database, None, "");
    until(&relay, "all positions", |s| s.last_position == 3330).await;
    let wrong: i64 = client.query_one("SELECT count(*) FROM outbox WHERE position <> id", &[]).await.unwrap().get(0);
    assert_eq!(wrong, 0);
}

#[tokio::test]
async fn only_events_that_are_out_are_pruned() {
    let Some(database) = outbox().await else { return };
    let mut client = database.client().await;
    commit(&mut client, 0..10).await;
    let now = Timestamp::now().plus_seconds(60);
    assert_eq!(outbox::prune(&client, now, false).await.unwrap(), 0, "no positions yet");
    let relay = start(&database, None, "");
    until(&relay, "positions", |s| s.last_position == 10).await;
    assert!(relay.stop(STOP).await);
    assert_eq!(outbox::prune(&client, now, true).await.unwrap(), 0, "not in Kafka yet");
    client.batch_execute("UPDATE outbox_relay SET sent_position = 4").await.unwrap();
    assert_eq!(outbox::prune(&client, now.plus_seconds(-3600), true).await.unwrap(), 0, "too young");
    assert_eq!(outbox::prune(&client, now, true).await.unwrap(), 4);
    assert_eq!(feed::range(&client).await.unwrap(), Some((5, 10)));
    assert_eq!(outbox::prune(&client, now, false).await.unwrap(), 6);
}

#[tokio::test]
async fn a_lost_session_is_opened_again() {
    let Some(database) = outbox().await else { return };
    let mut client = database.client().await;
    let relay = start(&database, None, "");
    until(&relay, "to lead", |s| s.role == Role::Leader).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(client.query(kill, &[]).await.unwrap().len(), 1);
    until(&relay, "the loss to show", |s| s.role != Role::Leader).await;
    commit(&mut client, 0..1).await;
    until(&relay, "the event to get a position", |s| s.role == Role::Leader && s.last_position == 1).await;
}

/// Rows that the nodes of a plan produced or looked at in vain, all together.
fn rows_touched(node: &serde_json::Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    let removed = number("Rows Removed by Filter") + number("Rows Removed by Join Filter");
    let own = (number("Actual Rows") + removed) * number("Actual Loops");
    own + node["Plans"].as_array().into_iter().flatten().map(rows_touched).sum::<f64>()
}

/// What a step of the relay touches, as the server counts it; the step is rolled back.
async fn touched_by_a_step(client: &mut Client) -> f64 {
    let transaction = client.transaction().await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE step ({BATCH_ROWS}, {BATCH_BYTES}, 0, '{{}}', 0)");
    let row = transaction.query_one(&explain, &[]).await.unwrap();
    let plan: serde_json::Value = row.get(0);
    assert_eq!(plan[0]["Plan"]["Actual Rows"].as_f64(), Some(BATCH_ROWS as f64), "a whole batch");
    rows_touched(&plan[0]["Plan"])
}

#[tokio::test]
async fn a_step_costs_what_its_batch_holds_and_not_what_waits() {
    let Some(database) = outbox().await else { return };
    let mut client = database.client().await;
    client.batch_execute(publish::SETTINGS).await.unwrap();
    let insert = |rows: u32, position: &str| {
        format!(
            "INSERT INTO outbox (event_id, topic, key, payload, position) \
             SELECT gen_random_uuid(), 1, 'k' || i % 50, '{{}}', {position} FROM generate_series(1, {rows}) AS i"
        )
    };
    // Planned once, on an empty table, as by a relay that has run since the first start.
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE step AS {}", outbox::STEP);
    client.batch_execute(&prepare).await.unwrap();
    client.batch_execute(&insert(1_000, "NULL")).await.unwrap();
    let few = touched_by_a_step(&mut client).await;
    client.batch_execute(&insert(9_000, "NULL")).await.unwrap();
    assert_eq!(touched_by_a_step(&mut client).await, few, "the plan of an empty table");
    client.batch_execute("SET plan_cache_mode = force_custom_plan").await.unwrap();
    assert_eq!(touched_by_a_step(&mut client).await, few, "never analysed");
    client.batch_execute("ANALYZE outbox").await.unwrap();
    assert_eq!(touched_by_a_step(&mut client).await, few, "analysed with the queue in it");
    // What made it slow: analysed while all was out, and then a queue.
    let history = format!("DELETE FROM outbox; {}; UPDATE outbox_relay SET last_position = 20000", insert(20_000, "i"));
    client.batch_execute(&history).await.unwrap();
    client.batch_execute("ANALYZE outbox").await.unwrap();
    client.batch_execute(&insert(10_000, "NULL")).await.unwrap();
    assert_eq!(touched_by_a_step(&mut client).await, few, "analysed while nothing waited");
    assert!(few < 20.0 * BATCH_ROWS as f64, "{few} rows");
}
