//! What is older than evaluation looks back stays as it was found.

use dieselwatch::store::migrate;

use super::{
    Stage, Whole,
    naive::{Fact, Seen, Test},
    start,
    story::{Delivery, Round, STATIONS, Story, Telling},
};
use crate::support::postgres;

fn over(record: &str, second: i64) -> Seen {
    let (vehicle, station, record) = (0, STATIONS[0].to_owned(), record.to_owned());
    Seen { vehicle, station, record, second, opacity: Test::Over, no: Test::None, sure: true }
}

fn one_by_one(readings: std::ops::Range<usize>) -> Telling {
    let round = |place| Round { batches: vec![vec![Delivery::Reading(place)]], evaluators: 1 };
    Telling { rounds: readings.map(round).collect() }
}

/// Records of the findings of single readings, and of each episode.
fn records(found: &Whole) -> (Vec<String>, Vec<Vec<String>>) {
    let (mut single, mut episodes) = (Vec::new(), Vec::new());
    for (fact, ..) in found {
        match fact {
            Fact::Over { reading, .. } => single.push(reading.1.clone()),
            Fact::Episode { readings, .. } => {
                episodes.push(readings.iter().map(|(_, record)| record.clone()).collect())
            }
        }
    }
    (single, episodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn years_later_nothing_of_an_old_episode_is_withdrawn_or_comes_back() {
    let Some(database) = postgres::database().await else { return };
    migrate::run(&database.client().await).await.unwrap();
    let mut stage = Stage::new(database.url()).await;
    let (first, second) = (start(), start() + 30 * 86_400);
    // The second lane saw the first passage too, and its finding was taken back.
    let story = Story {
        readings: vec![over("a", first), over("a2", first + 5), over("b", second), over("c", second + 86_400)],
        rechecks: Vec::new(),
    };
    let known = (vec!["a".to_owned(), "b".to_owned()], vec![vec!["a".to_owned(), "b".to_owned()]]);
    assert_eq!(records(&stage.tell(&story, &one_by_one(0..3)).await), known);

    // Two years pass.
    let pass = "UPDATE passage_key SET passed_at = passed_at - INTERVAL '2 years';
                UPDATE passage SET passed_at = passed_at - INTERVAL '2 years';
                UPDATE finding SET from_at = from_at - INTERVAL '2 years', to_at = to_at - INTERVAL '2 years'";
    database.client().await.batch_execute(pass).await.unwrap();
    let (single, episodes) = records(&stage.go_on(&story, &one_by_one(3..4)).await);
    assert_eq!(single, ["a", "b", "c"]);
    assert_eq!(episodes, [["a", "b"]]);
    let revoked = "SELECT count(*) FROM finding WHERE state = 1";
    assert_eq!(database.client().await.query_one(revoked, &[]).await.unwrap().get::<_, i64>(0), 1);
}
