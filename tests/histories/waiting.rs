//! What chance rarely brings about, step by step: an evaluator waits for readings under way and for whoever has its vehicle.

use dieselwatch::{
    evaluate::tasks::{self, Kind, Subject},
    reading::{Plate, PlateColor, PlateKey},
    store::migrate,
};
use tokio_postgres::Client;

use super::{
    Stage, assemble, commit,
    naive::{Seen, Test},
    start, step,
    story::{STATIONS, Story, at, plate},
};
use crate::support::{self, postgres};

const DAY: i64 = 86_400;

/// Over the limit, a pass thirty days later, over again thirty days after that: with all of it known, no episode.
fn story() -> Story {
    let seen = |record: &str, days: i64, opacity| Seen {
        vehicle: 0,
        station: STATIONS[0].to_owned(),
        record: record.to_owned(),
        second: start() + days * DAY,
        opacity,
        no: Test::None,
        sure: true,
    };
    let readings = vec![seen("a", 0, Test::Over), seen("pass", 30, Test::Pass), seen("b", 60, Test::Over)];
    Story { readings, rechecks: Vec::new() }
}

fn key() -> i64 {
    PlateKey::new(Plate::parse(&plate(0)).unwrap(), PlateColor::Yellow).as_i64()
}

async fn store(stage: &mut Stage, story: &Story, readings: &[usize]) {
    let batch = assemble(&stage.assembler, &stage.committers[0], story, readings).await;
    commit(&mut stage.committers[0], &batch).await;
}

/// Episodes that were ever raised: none may be published and taken back.
async fn ever_raised(client: &Client) -> i64 {
    let sql = "SELECT count(*) FROM finding WHERE rule = 'HJ845.consecutive'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until an evaluator is seen so some times in a row.
async fn until_evaluator(client: &Client, what: &str, condition: &str) {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'evaluator' AND {condition}");
    let times = std::cell::Cell::new(0);
    support::until(what, async || {
        let seen = client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) > 0;
        times.set(if seen { times.get() + 1 } else { 0 });
        (times.get() >= 5).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evaluator_waits_for_an_innocent_reading_under_way() {
    let Some(database) = postgres::database().await else { return };
    migrate::run(&database.client().await).await.unwrap();
    let mut stage = Stage::new(database.url()).await;
    let (story, mut writer) = (story(), database.client().await);
    // The station's number, before the pass is written under it.
    assemble(&stage.assembler, &stage.committers[0], &story, &[0]).await;
    // Written when nobody was interested in the vehicle yet, so it leaves no task; not committed yet.
    let under_way = writer.transaction().await.unwrap();
    let pass = "INSERT INTO passage_key SELECT id, 'pass', $2, $3, 1, NULL, 1 FROM stations WHERE station_id = $1";
    under_way.execute(pass, &[&STATIONS[0], &at(start() + 30 * DAY), &key()]).await.unwrap();
    store(&mut stage, &story, &[0, 2]).await;
    let watch = async {
        until_evaluator(&stage.client, "an evaluator to wait for the horizon", "query LIKE '%pg_snapshot_xmin%'").await;
        assert_eq!(ever_raised(&stage.client).await, 0);
        under_way.commit().await.unwrap();
    };
    tokio::join!(step(&stage.evaluator, &mut stage.evaluators[0]), watch);
    assert_eq!(stage.client.query_one("SELECT count(*) FROM evaluation_task", &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(ever_raised(&stage.client).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evaluator_reads_only_once_it_has_the_vehicle() {
    let Some(database) = postgres::database().await else { return };
    migrate::run(&database.client().await).await.unwrap();
    let mut stage = Stage::new(database.url()).await;
    let (story, mut other) = (story(), database.client().await);
    store(&mut stage, &story, &[0, 2]).await;
    let holds = other.transaction().await.unwrap();
    tasks::lock(&holds, std::iter::once(Subject { kind: Kind::Vehicle, id: key() })).await.unwrap();
    let batch = assemble(&stage.assembler, &stage.committers[0], &story, &[1]).await;
    let watch = async {
        until_evaluator(&stage.client, "an evaluator to wait for the vehicle", "wait_event = 'advisory'").await;
        commit(&mut stage.committers[0], &batch).await;
        holds.rollback().await.unwrap();
    };
    tokio::join!(step(&stage.evaluator, &mut stage.evaluators[0]), watch);
    assert_eq!(ever_raised(&stage.client).await, 0);
}
