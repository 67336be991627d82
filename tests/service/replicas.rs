//! Two replicas, an orderly end under load, and a new list while traffic runs.

use super::{Fleet, World, balanced, import_district, tables};
use crate::support::{self, http::metric, service::Service};

async fn settled_by(service: &Service) -> f64 {
    metric(&service.metrics().await, "dieselwatch_messages_settled_total", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_share_the_load_and_the_one_that_is_left_takes_it_all() {
    let Some(world) = World::new().await else { return };
    import_district(&world.setting).await;
    let mut second = world.setting.clone();
    second.instance = "two".into();
    let one = Service::start_ready(&world.setting).await;
    let two = Service::start_ready(&second).await;
    let running = Fleet::new(&world, 250.0, 8).start();
    support::until("both to have worked", async || {
        (settled_by(&one).await > 200.0 && settled_by(&two).await > 200.0).then_some(())
    })
    .await;
    two.kill().await;
    let before = settled_by(&one).await;
    let summary = running.await.unwrap();
    assert_eq!(summary.undelivered(), 0);
    // What the dead one held comes back through its sessions, which the other one drains once their leases end.
    tables::until_as_in_ledger(&world.client, &[&world.path("ledger.jsonl")]).await;
    assert!(settled_by(&one).await > before);
    balanced(&one).await;
    assert_eq!(one.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_in_order_under_load_and_a_successor_finds_nothing_lost() {
    let Some(world) = World::new().await else { return };
    import_district(&world.setting).await;
    // Before the first subscription there is nobody whom the broker would keep messages for.
    let mut service = Service::start_ready(&world.setting).await;
    let running = Fleet::new(&world, 300.0, 8).start();
    for round in 1..=3 {
        support::until("it to be at work", async || (settled_by(&service).await > 150.0).then_some(())).await;
        assert_eq!(service.stop().await, Some(0), "round {round}");
        service = Service::start_ready(&world.setting).await;
    }
    assert_eq!(running.await.unwrap().undelivered(), 0);
    tables::until_as_in_ledger(&world.client, &[&world.path("ledger.jsonl")]).await;
    balanced(&service).await;
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_imported_under_load_holds_from_then_on() {
    let Some(world) = World::new().await else { return };
    import_district(&world.setting).await;
    let service = Service::start_ready(&world.setting).await;
    let running = Fleet::new(&world, 250.0, 8).start();
    let scrapped = "SELECT count(*) FROM finding WHERE rule LIKE '%scrapped%'";
    support::until("traffic", async || (settled_by(&service).await > 300.0).then_some(())).await;
    // Every vehicle of the register is scrapped now, so that some passage soon shows the new version.
    let register = include_str!("../../schemas/demo/vehicles.csv");
    let mut list = "plate,plate_color,valid_from,valid_to,reason,document_no\n".to_owned();
    for line in register.lines().skip(1) {
        let mut fields = line.split(',');
        let (plate, color) = (fields.next().unwrap(), fields.next().unwrap());
        list += &format!("{plate},{color},2025-01-01,,报废,2026-9\n");
    }
    let before = world.count(scrapped).await;
    world.import(&["list", "scrapped"], "all-scrapped.csv", &list).await;
    let swapped = world.count("SELECT count(*) FROM passage").await;
    support::until("the new list to hold", async || (world.count(scrapped).await > before + 20).then_some(())).await;
    assert_eq!(running.await.unwrap().undelivered(), 0);
    tables::until_as_in_ledger(&world.client, &[&world.path("ledger.jsonl")]).await;
    assert!(world.count("SELECT count(*) FROM passage").await > swapped, "traffic went on");
    // Each such finding names the version it was judged by, and the two versions never mix in one finding.
    let versions = "SELECT count(DISTINCT v) FROM (SELECT substring(content::text FROM 'scrapped@v[0-9]+') AS v \
                    FROM finding WHERE rule LIKE '%scrapped%') AS t WHERE v IS NOT NULL";
    assert!((1..=2).contains(&world.count(versions).await));
    balanced(&service).await;
    assert_eq!(service.stop().await, Some(0));
}
