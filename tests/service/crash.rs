//! The service killed with messages in flight: the ledger against the tables, and the tables against Kafka's topics.

use std::time::Duration;

use dieselwatch::simulate::Scenario;

use super::{Fleet, World, balanced, import_district, tables};
use crate::{
    publish,
    support::{self, http::metric, kafka::Kafka, service::Service},
};

/// Often enough to hit reading, COPY, COMMIT and acknowledging.
const KILLS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_loses_nothing_and_stores_nothing_twice() {
    let Some(mut world) = World::new().await else { return };
    let Some(kafka) = Kafka::shared().await else { return };
    // A name of its own: the same one would fence the relays of other tests.
    world.setting.further =
        format!("[kafka]\nbrokers = \"{}\"\ntransactional_id = \"killed-service\"\n", kafka.brokers());
    import_district(&world.setting).await;
    let mut fleet = Fleet::new(&world, 300.0, 15);
    fleet.scenario = Scenario { duplicates: 0.02, bad: 0.02, arrays: 0.05, late: 0.02, ..Scenario::calm() };
    fleet.scenario.bad_kinds.retain(|kind| *kind != dieselwatch::simulate::BadKind::TooLarge);
    let mut service = Service::start_ready(&world.setting).await;
    let mut running = fleet.start();
    for kill in 0..KILLS {
        // Each time at another moment of the work: after a few messages, after many.
        let wanted = 40.0 + 60.0 * kill as f64;
        support::until("messages to arrive", async || {
            let received = metric(&service.metrics().await, "dieselwatch_messages_received_total", &[]);
            (received >= wanted || running.is_finished()).then_some(())
        })
        .await;
        service.kill().await;
        service = Service::start(&world.setting).await;
    }
    let summary = tokio::time::timeout(Duration::from_secs(120), &mut running).await.unwrap().unwrap();
    assert_eq!(summary.undelivered(), 0);
    let entries = tables::until_as_in_ledger(&world.client, &[&world.path("ledger.jsonl")]).await;
    assert_eq!(entries as u64, summary.counts.acked);
    balanced(&service).await;
    // The book in the database is written in the transaction of the rows, so no kill can part them.
    let book = "SELECT sum(stored)::int8 FROM book";
    let rows = "SELECT (SELECT count(*) FROM passage_key) + (SELECT count(*) FROM terminal_stream) \
                + (SELECT count(*) FROM terminal_item)";
    assert_eq!(world.count(book).await, world.count(rows).await);
    assert_eq!(
        world.count("SELECT sum(decoded - stored - duplicate - conflict - quarantined)::int8 FROM book").await,
        0
    );
    // Findings and their events are complete once the evaluation has nothing left to do; then an orderly end sends them all.
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    assert_eq!(service.stop().await, Some(0));
    assert!(world.count("SELECT count(*) FROM outbox").await > 0, "the fleet had findings");
    let missing = "SELECT count(*) FROM finding f WHERE state = 0 AND NOT EXISTS \
                   (SELECT FROM outbox o WHERE convert_from(o.payload, 'UTF8')::jsonb -> 'data' ->> 'finding' = f.id::text)";
    assert_eq!(world.count(missing).await, 0, "each finding has its event");
    let origin = publish::origin(&world.client).await;
    publish::assert_equal(&world.client, &publish::in_kafka(kafka, &origin).await).await;
}
