//! Database and broker taken away and given back under load.

use dieselwatch::{embedded::postgres::EmbeddedPostgres, simulate::Scenario};

use super::{Fleet, World, balanced, import_district, tables};
use crate::support::{
    self,
    http::metric,
    mosquitto::Mosquitto,
    postgres,
    service::{Service, Setting},
};

/// Waits until the service has received this much in all.
async fn received(service: &Service, messages: f64) {
    support::until("messages to arrive", async || {
        let text = service.metrics().await;
        (metric(&text, "dieselwatch_messages_received_total", &[]) >= messages).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stops_or_crashes_under_load_costs_time_and_nothing_else() {
    let Some((folder, mut server)) = postgres::private().await else { return };
    let Some(broker) = Mosquitto::start().await else { return };
    let place = support::scratch();
    let setting = Setting::new(place.path(), &broker.url(), server.url());
    setting.succeed(&["migrate"]).await;
    import_district(&setting).await;
    let service = Service::start_ready(&setting).await;
    let ledger = place.path().join("ledger.jsonl");
    let fleet = Fleet {
        broker: broker.url(),
        rate: 250.0,
        seconds: 9,
        seed: 1,
        scenario: Scenario { arrays: 0.02, duplicates: 0.02, ..Scenario::calm() },
        ledger: ledger.clone(),
    };
    let running = fleet.start();
    for round in 1..=2_u8 {
        received(&service, 400.0 * f64::from(round)).await;
        match round {
            1 => server.stop().await.unwrap(),
            _ => server.crash().await,
        }
        // Readiness tells, and reading goes on until the budget is used up.
        support::until("readiness to tell", async || {
            let answer = support::http::get(service.http(), "/readyz").await;
            matches!(answer, Ok((503, _))).then_some(())
        })
        .await;
        // So do the metrics, which is what wakes somebody.
        support::until("the metrics to tell", async || {
            let text = service.metrics().await;
            let down = metric(&text, "dieselwatch_part_up", &["part=\"database\""]) == 0.0;
            (down && metric(&text, "dieselwatch_commit_lag_seconds", &[]) > 3.0).then_some(())
        })
        .await;
        server = EmbeddedPostgres::start(folder.path()).await.unwrap();
    }
    let summary = running.await.unwrap();
    assert_eq!(summary.undelivered(), 0);
    let client = postgres::connect(server.url()).await;
    tables::until_as_in_ledger(&client, &[&ledger]).await;
    balanced(&service).await;
    service.ready().await;
    assert_eq!(service.stop().await, Some(0));
    drop(client);
    server.stop().await.unwrap();
}

/// mosquitto 2.0.11 forgets shared subscriptions when it restarts (it restores `$share/..` as a plain topic), and what
/// is published before the service is back is nobody's. So here the service subscribes plainly, with one connection,
/// which is how such a broker has to be used; the queue of a persistent session then survives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_under_load_costs_time_and_nothing_else() {
    let Some(mut world) = World::new().await else { return };
    world.setting.mqtt = "group = \"\"\nconnections = 1".into();
    import_district(&world.setting).await;
    let service = Service::start_ready(&world.setting).await;
    let mut fleet = Fleet::new(&world, 250.0, 9);
    fleet.scenario = Scenario { arrays: 0.02, duplicates: 0.02, ..Scenario::calm() };
    let running = fleet.start();
    for round in 1..=2 {
        received(&service, 400.0 * f64::from(round)).await;
        world.broker.restart().await;
    }
    let summary = running.await.unwrap();
    assert_eq!(summary.undelivered(), 0);
    tables::until_as_in_ledger(&world.client, &[&world.path("ledger.jsonl")]).await;
    balanced(&service).await;
    assert_eq!(service.stop().await, Some(0));
}
