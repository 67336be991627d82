//! From committed batches to the few plates that were at two places: see [`super`] for why none is missed.
//!
//! Not part of the evaluator's step, because an episode must not wait for it. A look every second takes several batches
//! together; nothing about a clone is so urgent that the database should be asked more often.
//!
//! What it costs, as processor time of PostgreSQL 15 with 4 million rows of 300 000 plates in `passage_key`, on a machine
//! under other load, so that only the ratio means much: storing the row in `passage_key` 26.6 us, leaving it in
//! `sighting_sweep` 0.5 us, narrowing down 3.3 us (4.1 us where a unit that moves makes the reach two hours). A look for
//! each sighting, in the order they came, took 9.9 us.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use tokio_postgres::{Client, Transaction};
use tokio_util::sync::CancellationToken;

use super::{
    Place, Rule, contradiction, distance_m,
    history::{reading_place, station_place},
};
use crate::{
    reading::{Area, Timestamp},
    store::{
        connect::{Backoff, Connector},
        error::{class_of, describe},
    },
    telemetry::metrics as names,
};

/// Batches taken in one go: about ten thousand sightings under full load, some tens of milliseconds.
const BATCHES: i64 = 16;

/// Fewer sightings than this are looked up one by one.
const WORTH_A_SCAN: usize = 32;

/// Between looks, when there was nothing more to do.
const POLL: Duration = Duration::from_secs(1);

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub batches: usize,
    pub sightings: usize,
    pub tasks: u64,
}

/// Works until cancelled; `on_tasks` is called after a commit that left evaluation tasks.
pub async fn run(connector: Connector, rule: Rule, on_tasks: impl Fn(), cancel: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    while let Some(mut client) = connector.connect_by_key_patiently("sweep", &cancel).await {
        let failed = loop {
            let swept = match step(&mut client, &rule).await {
                Ok(swept) => swept,
                Err(error) => break error,
            };
            backoff.reset();
            if swept.tasks > 0 {
                on_tasks();
            }
            let wait = if swept.batches < BATCHES as usize { POLL } else { Duration::ZERO };
            if cancel.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        };
        let class = class_of(&failed);
        tracing::warn!(?class, error = %describe(&failed), "a sweep of sightings was interrupted; trying again");
        if cancel.run_until_cancelled(backoff.wait()).await.is_none() {
            return;
        }
    }
}

/// One sighting of a claimed batch.
#[derive(Clone, Copy)]
struct Seen {
    plate_key: i64,
    station: i32,
    at: Timestamp,
}

/// A sighting with the span of time in which another one may contradict it.
#[derive(Clone, Copy)]
struct Asked {
    seen: Seen,
    place: Place,
    from: Timestamp,
    to: Timestamp,
}

/// Claims batches, compares and leaves tasks, in one transaction.
pub async fn step(client: &mut Client, rule: &Rule) -> Result<Swept, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let rows = transaction
        .query(
            "DELETE FROM sighting_sweep WHERE id IN \
             (SELECT id FROM sighting_sweep ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) \
             RETURNING plate_key, passed_at, station",
            &[&BATCHES],
        )
        .await?;
    let mut seen = Vec::new();
    for row in &rows {
        let (keys, at, stations): (Vec<i64>, Vec<Timestamp>, Vec<i32>) = (row.get(0), row.get(1), row.get(2));
        let all = keys.into_iter().zip(at).zip(stations);
        seen.extend(all.map(|((plate_key, at), station)| Seen { plate_key, station, at }));
    }
    let mut swept = Swept { batches: rows.len(), sightings: seen.len(), tasks: 0 };
    if rule.window_seconds > 0 && !seen.is_empty() {
        let spans = contradicted(&transaction, &seen, rule).await?;
        if !spans.is_empty() {
            swept.tasks = leave_tasks(&transaction, &spans).await?;
        }
    }
    let waiting: i64 = match rows.len() < BATCHES as usize {
        true => 0,
        false => transaction.query_one("SELECT count(*) FROM sighting_sweep", &[]).await?.get(0),
    };
    transaction.commit().await?;
    metrics::gauge!(names::SIGHTING_SWEEP_BACKLOG).set(waiting as f64);
    Ok(swept)
}

/// Plates with a contradiction that one of these sightings is part of, with the span of the sightings concerned.
async fn contradicted(
    transaction: &Transaction<'_>,
    seen: &[Seen],
    rule: &Rule,
) -> Result<BTreeMap<i64, (Timestamp, Timestamp)>, tokio_postgres::Error> {
    let stations = transaction.query("SELECT id, kind, longitude, latitude FROM current_stations", &[]).await?;
    let fixed: HashMap<i32, Place> =
        stations.iter().filter_map(|row| Some((row.get("id"), station_place(row, &rule.area)?))).collect();
    let reaches = reaches(&fixed, fixed.len() == stations.len(), rule);
    let moving = own_places(transaction, seen, &fixed, &rule.area).await?;

    let mut asked: Vec<Asked> = Vec::new();
    for (number, sighting) in (0_i32..).zip(seen) {
        let place = fixed.get(&sighting.station).or_else(|| moving.get(&number));
        // A unit that moves may be anywhere, so only the window bounds its reach.
        let window = f64::from(rule.window_seconds);
        let reach = match fixed.contains_key(&sighting.station) {
            true => reaches.get(&sighting.station).copied().flatten(),
            false => Some(window),
        };
        let (Some(&place), Some(reach)) = (place, reach) else { continue };
        // Rounded up: a second too much costs nothing, one too few a pair.
        let reach = reach.min(window).ceil() as i64 + 1;
        let (from, to) = (sighting.at.plus_seconds(-reach), sighting.at.plus_seconds(reach));
        asked.push(Asked { seen: *sighting, place, from, to });
    }
    let asked = at_two_stations(transaction, asked).await?;
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let number: Vec<i32> = (0..asked.len() as i32).collect();
    let keys: Vec<i64> = asked.iter().map(|asked| asked.seen.plate_key).collect();
    let at_station: Vec<i32> = asked.iter().map(|asked| asked.seen.station).collect();
    let from: Vec<Timestamp> = asked.iter().map(|asked| asked.from).collect();
    let to: Vec<Timestamp> = asked.iter().map(|asked| asked.to).collect();
    // OFFSET 0 keeps the planner from anything but one short look into the index for each sighting.
    let others = transaction
        .query(
            "SELECT u.n, p.station, p.passed_at, p.lon, p.lat \
             FROM unnest($1::int4[], $2::int8[], $3::int4[], $4::timestamptz[], $5::timestamptz[]) \
             AS u (n, plate_key, station, from_at, to_at) CROSS JOIN LATERAL \
             (SELECT k.station, k.passed_at, k.lon, k.lat FROM passage_key k WHERE k.plate_key = u.plate_key \
              AND k.passed_at BETWEEN u.from_at AND u.to_at AND k.station <> u.station OFFSET 0) AS p",
            &[&number, &keys, &at_station, &from, &to],
        )
        .await?;
    let mut spans: BTreeMap<i64, (Timestamp, Timestamp)> = BTreeMap::new();
    for row in &others {
        let Some(Asked { seen, place, .. }) = usize::try_from(row.get::<_, i32>("n")).ok().and_then(|n| asked.get(n))
        else {
            continue;
        };
        let other_place = fixed.get(&row.get("station")).copied().or_else(|| reading_place(row, &rule.area));
        let other_at: Timestamp = row.get("passed_at");
        let Some(other_place) = other_place else { continue };
        if contradiction((*place, seen.at), (other_place, other_at), rule).is_some() {
            let span = spans.entry(seen.plate_key).or_insert((seen.at, seen.at));
            *span = (span.0.min(seen.at).min(other_at), span.1.max(seen.at).max(other_at));
        }
    }
    Ok(spans)
}

/// Keeps the sightings of plates that were at two stations about that time. Most were not, and one index scan over the
/// sorted keys of all says so at a third of what a look for each sighting costs.
async fn at_two_stations(
    transaction: &Transaction<'_>,
    mut asked: Vec<Asked>,
) -> Result<Vec<Asked>, tokio_postgres::Error> {
    asked.sort_unstable_by_key(|asked| (asked.from, asked.seen.plate_key));
    let mut kept = Vec::new();
    let mut rest = asked.as_slice();
    while let Some(first) = rest.first() {
        // A run of sightings whose spans overlap; late uploads make runs of their own.
        let mut to = first.to;
        let overlapping = rest.iter().take_while(|asked| {
            let overlaps = asked.from <= to;
            to = to.max(asked.to);
            overlaps
        });
        let (run, after) = rest.split_at(overlapping.count().max(1));
        rest = after;
        if run.len() < WORTH_A_SCAN {
            kept.extend_from_slice(run);
            continue;
        }
        let mut keys: Vec<i64> = run.iter().map(|asked| asked.seen.plate_key).collect();
        keys.sort_unstable();
        keys.dedup();
        let to = run.iter().map(|asked| asked.to).max().unwrap_or(to);
        let rows = transaction
            .query(
                "SELECT plate_key FROM passage_key WHERE plate_key = ANY($1) AND passed_at BETWEEN $2 AND $3 \
                 GROUP BY plate_key HAVING min(station) <> max(station)",
                &[&keys, &first.from, &to],
            )
            .await?;
        let at_two: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        kept.extend(run.iter().filter(|asked| at_two.contains(&asked.seen.plate_key)));
    }
    // By key, so that neighbours in the index are asked for one after the other.
    kept.sort_unstable_by_key(|asked| (asked.seen.plate_key, asked.seen.at));
    Ok(kept)
}

/// For each fixed station the seconds within which the farthest other place contradicts it; `None` where none can.
/// Where some station has no place of its own (`all_fixed` is false), its readings may come from anywhere.
fn reaches(fixed: &HashMap<i32, Place>, all_fixed: bool, rule: &Rule) -> HashMap<i32, Option<f64>> {
    let window = f64::from(rule.window_seconds);
    let reach = |place: &Place| {
        if !all_fixed {
            return Some(window);
        }
        let farthest = fixed.values().map(|other| distance_m(*place, *other)).fold(0.0, f64::max);
        rule.reach_seconds(farthest)
    };
    fixed.iter().map(|(station, place)| (*station, reach(place))).collect()
}

/// Places that readings of other than fixed stations brought themselves, by their number in `seen`.
async fn own_places(
    transaction: &Transaction<'_>,
    seen: &[Seen],
    fixed: &HashMap<i32, Place>,
    area: &Area,
) -> Result<HashMap<i32, Place>, tokio_postgres::Error> {
    let moving = (0_i32..).zip(seen).filter(|(_, seen)| !fixed.contains_key(&seen.station));
    let (number, moving): (Vec<i32>, Vec<Seen>) = moving.map(|(number, seen)| (number, *seen)).unzip();
    if moving.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<i64> = moving.iter().map(|seen| seen.plate_key).collect();
    let at: Vec<Timestamp> = moving.iter().map(|seen| seen.at).collect();
    let station: Vec<i32> = moving.iter().map(|seen| seen.station).collect();
    let rows = transaction
        .query(
            "SELECT u.n, p.lon, p.lat FROM unnest($1::int4[], $2::int8[], $3::timestamptz[], $4::int4[]) \
             AS u (n, plate_key, at, station) CROSS JOIN LATERAL \
             (SELECT k.lon, k.lat FROM passage_key k WHERE k.plate_key = u.plate_key AND k.passed_at = u.at \
              AND k.station = u.station AND k.lon IS NOT NULL ORDER BY k.record_id LIMIT 1) AS p",
            &[&number, &keys, &at, &station],
        )
        .await?;
    Ok(rows.iter().filter_map(|row| Some((row.get("n"), reading_place(row, area)?))).collect())
}

/// One task for each plate; sorted, as all who leave tasks do.
async fn leave_tasks(
    transaction: &Transaction<'_>,
    spans: &BTreeMap<i64, (Timestamp, Timestamp)>,
) -> Result<u64, tokio_postgres::Error> {
    let keys: Vec<i64> = spans.keys().copied().collect();
    let (from, to): (Vec<Timestamp>, Vec<Timestamp>) = spans.values().copied().unzip();
    transaction
        .execute(
            "INSERT INTO evaluation_task (kind, subject, from_at, to_at) \
             SELECT 4, k, f, t FROM unnest($1::int8[], $2::timestamptz[], $3::timestamptz[]) AS u (k, f, t)",
            &[&keys, &from, &to],
        )
        .await
}
