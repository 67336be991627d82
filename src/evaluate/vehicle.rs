//! The history of vehicles: which readings stand for which passages, and the episodes they make.
//!
//! Facts come from `passage_key` (every reading of a read plate, two years of them), from the reports of inspection
//! stations, and from the findings of single readings, which the storing transaction wrote: those hold the values, limits
//! and review reasons that an episode names.
//!
//! Findings that began before those two years rest: what they were made of is no longer looked at, so nothing here may
//! state, change or withdraw them, and a series that goes on from one of them is not told as a new episode.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::Value;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::{
    cloned::CLONE_RULE,
    episode::{self, CONSECUTIVE_RULE, Episode, History, Measured, Reading, Rule, Tested},
    recheck::{self, Passed},
    reconcile::{self, Change, Desired, Existing},
};
use crate::{
    finding::{Evidence, Finding, Review},
    judge::{OVER_RULE, Pollutant, RETROFIT_RULE, RuleBook, SCREENING_ONLY},
    pipeline::passage::{outcome_of, reading_name},
    reading::{PlateKey, Timestamp},
    store::prepared::Prepared,
    vehicle::carrier::{Carrier, NOT_SURE},
};

/// Where the wide row of a reading lies.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub station: i32,
    pub passed_at: Timestamp,
}

/// One row of `passage_key`.
struct Stored {
    station_id: String,
    record_id: String,
    outcomes: i16,
    place: Place,
    /// Who carried the plate; see `vehicle::carrier`.
    carrier: Option<i64>,
}

/// Compares the findings of each vehicle with what its history says.
pub async fn evaluate(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    plate_keys: &[i64],
    book: &RuleBook,
) -> Result<Vec<Change>, tokio_postgres::Error> {
    let keys: Vec<PlateKey> = plate_keys.iter().filter_map(|&key| PlateKey::from_i64(key)).collect();
    let subjects: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let mut stored = load(transaction, prepared, plate_keys).await?;
    let passed = recheck::load(transaction, plate_keys, book).await?;
    let resting = resting_before(transaction).await?;
    let mut existing = reconcile::existing(transaction, prepared, &subjects).await?;
    let mut changes = Vec::new();
    for (key, subject) in keys.iter().zip(&subjects) {
        let facts = stored.remove(&key.as_i64()).unwrap_or_default();
        let mut existing = existing.remove(subject).unwrap_or_default();
        // Made, kept and withdrawn by another evaluation.
        existing.retain(|old| old.finding.rule != CLONE_RULE);
        let (rest, existing): (Vec<_>, Vec<_>) = existing.into_iter().partition(|old| old.finding.from < resting);
        let passed = passed.get(&key.as_i64()).map(Vec::as_slice).unwrap_or_default();
        let places: HashMap<String, Place> = facts.iter().map(|f| (name(f), f.place)).collect();
        let mut desired = decide(*key, &facts, passed, &existing, book);
        desired.made.retain(|finding| !continues(finding, &rest));
        let kept: HashMap<Uuid, Vec<String>> =
            existing.iter().map(|old| (old.finding.id, old.readings.clone())).collect();
        let mut found = reconcile::compare(desired, existing);
        for finding in found.iter_mut().filter_map(Change::finding_in_force) {
            // A long series grows by one reading at a time; the raw payloads of the others are kept already.
            let kept = kept.get(&finding.id).map(Vec::as_slice).unwrap_or_default();
            drop_evidence(transaction, prepared, finding, kept).await?;
            finding.evidence.retain(|evidence| !kept.contains(&evidence.reading));
            finding.evidence = evidence(transaction, prepared, finding, &places).await?;
        }
        changes.extend(found);
    }
    Ok(changes)
}

fn name(stored: &Stored) -> String {
    reading_name(&stored.station_id, &stored.record_id)
}

async fn load(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    plate_keys: &[i64],
) -> Result<HashMap<i64, Vec<Stored>>, tokio_postgres::Error> {
    let rows = prepared
        .query(
            transaction,
            "SELECT k.plate_key, s.station_id, k.record_id, k.outcomes, k.station, k.passed_at, \
               k.carrier \
             FROM passage_key k JOIN stations s ON s.id = k.station \
             WHERE k.plate_key = ANY($1) AND k.passed_at > now() - INTERVAL '732 days'",
            &[&plate_keys],
        )
        .await?;
    let mut by_vehicle: HashMap<i64, Vec<Stored>> = HashMap::new();
    let stored = |row: &Row| Stored {
        station_id: row.get(1),
        record_id: row.get(2),
        outcomes: row.get(3),
        place: Place { station: row.get(4), passed_at: row.get(5) },
        carrier: row.get(6),
    };
    for row in &rows {
        by_vehicle.entry(row.get(0)).or_default().push(stored(row));
    }
    Ok(by_vehicle)
}

/// Findings that began before this rest. A day later than the oldest reading that [`load`] gives, so that the passage of
/// every finding that is looked at is there whole.
async fn resting_before(transaction: &Transaction<'_>) -> Result<Timestamp, tokio_postgres::Error> {
    Ok(transaction.query_one("SELECT now() - INTERVAL '731 days'", &[]).await?.get(0))
}

/// Whether an episode holds a reading of one that rests.
fn continues(finding: &Finding, rest: &[Existing]) -> bool {
    let of_rule = rest.iter().filter(|old| old.finding.rule == finding.rule);
    of_rule.flat_map(|old| &old.readings).any(|reading| finding.evidence.iter().any(|e| e.reading == *reading))
}

/// The pure part: everything that should be in force for one vehicle.
fn decide(key: PlateKey, facts: &[Stored], passed: &[Passed], existing: &[Existing], book: &RuleBook) -> Desired {
    // What the findings of single readings say of their reading: values over the limit, and whether a person must look.
    let mut said: HashMap<&str, &Finding> = HashMap::new();
    for old in existing.iter().filter(|old| old.finding.rule == OVER_RULE) {
        for reading in &old.readings {
            said.insert(reading, &old.finding);
        }
    }
    let names: Vec<String> = facts.iter().map(name).collect();
    let readings: Vec<Reading<'_>> = facts
        .iter()
        .zip(&names)
        .map(|(fact, name)| {
            let finding = said.get(name.as_str()).copied();
            Reading {
                station: &fact.station_id,
                record: &fact.record_id,
                passed_at: fact.place.passed_at,
                tested: match fact.carrier {
                    Some(NOT_SURE) => [Tested::No; Pollutant::COUNT],
                    _ => Pollutant::ALL.map(|pollutant| tested(fact.outcomes, pollutant, finding)),
                },
                carrier: Carrier::from_i64(fact.carrier),
                needs_review: finding.is_some_and(|finding| is_doubtful(&finding.review)),
            }
        })
        .collect();
    let rechecks: Vec<_> = passed.iter().map(Passed::recheck).collect();
    let history = episode::history(&readings, &rechecks, Rule::of(book));
    let made = |episode: &Episode<'_>| {
        let mut finding = episode::finding(key, episode, &history, book)?;
        // The names tell whose raw payloads belong to it; the bytes are fetched later.
        finding.evidence = episode
            .readings
            .iter()
            .map(|r| Evidence { reading: reading_name(r.station, r.record), raw: Bytes::new() })
            .collect();
        Some(finding)
    };
    Desired {
        made: history.episodes.iter().filter_map(made).collect(),
        maker_of: vec![CONSECUTIVE_RULE],
        withdrawn: withdrawn(&history, existing),
    }
}

/// Whether a person must look for another reason than that the limits only screen, which each test says for itself.
fn is_doubtful(review: &Review) -> bool {
    matches!(review, Review::Needed(why) if why.iter().any(|why| why != SCREENING_ONLY))
}

fn tested(outcomes: i16, pollutant: Pollutant, finding: Option<&Finding>) -> Tested {
    match outcome_of(outcomes, pollutant) {
        None => Tested::No,
        // Values of tests that were passed are not part of any finding.
        Some(false) => Tested::Under(None),
        Some(true) => Tested::Over(finding.and_then(|finding| measured(finding, pollutant))),
    }
}

/// Value and limit of a pollutant out of the finding of its reading.
fn measured(finding: &Finding, pollutant: Pollutant) -> Option<Measured> {
    let all = finding.content.pointer("/verdict/pollutants")?.as_array()?;
    let entry = all.iter().find(|entry| entry.get("pollutant") == Some(&pollutant.name().into()))?;
    let number = |field: &str| entry.get(field).and_then(Value::as_f64).map(|number| number as f32);
    let screening = entry.get("screening").and_then(Value::as_bool).unwrap_or(false);
    Some(Measured { value: number("value")?, limit: number("limit")?, screening })
}

/// Findings of readings that do not stand for their passage. A limit exceeded stands if its reading is the passage's first
/// test of one of the pollutants exceeded, and so does the retrofit that it obliges to; anything else (a listed vehicle
/// seen, a suspicion) with the first reading of the passage that has it: the very first may have been invalid, and then it
/// had nothing to suspect.
fn withdrawn(history: &History<'_>, existing: &[Existing]) -> BTreeMap<Uuid, String> {
    let mut withdrawn = BTreeMap::new();
    for passage in history.passages.iter().filter(|passage| passage.len() > 1) {
        let is_test = |reading: &Reading<'_>, pollutant: Pollutant| reading.tested[pollutant as usize] != Tested::No;
        let first_test = |pollutant| passage.iter().find(|reading| is_test(reading, pollutant));
        let same = |a: &Reading<'_>, b: &Reading<'_>| (a.station, a.record) == (b.station, b.record);
        let mut first_of: BTreeMap<&str, &Reading<'_>> = BTreeMap::new();
        for reading in passage {
            let name = reading_name(reading.station, reading.record);
            // What a recalculation took back stands for nothing: the passage would be left without any finding.
            let of_reading = existing.iter().filter(|old| {
                old.finding.rule != CONSECUTIVE_RULE
                    && !old.rejudged
                    && old.readings.len() == 1
                    && old.readings.contains(&name)
            });
            for old in of_reading {
                let stands = if [OVER_RULE, RETROFIT_RULE].contains(&&*old.finding.rule) {
                    Pollutant::ALL.into_iter().any(|pollutant| {
                        matches!(reading.tested[pollutant as usize], Tested::Over { .. })
                            && first_test(pollutant).is_some_and(|first| same(first, reading))
                    })
                } else {
                    same(first_of.entry(&old.finding.rule).or_insert(reading), reading)
                };
                let first = match old.finding.rule == OVER_RULE {
                    true => passage.first(),
                    false => first_of.get(&*old.finding.rule).copied(),
                };
                if !stands && let Some(first) = first {
                    let first = reading_name(first.station, first.record);
                    withdrawn.insert(old.finding.id, format!("the same passage as {first}, which stands for it"));
                }
            }
        }
    }
    withdrawn
}

/// Takes readings away from a finding that no longer names them: a split episode must not show the tests of the other
/// half. Each of them has a finding of its own that keeps its payload.
async fn drop_evidence(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    finding: &Finding,
    kept: &[String],
) -> Result<(), tokio_postgres::Error> {
    let named = |reading: &&String| finding.evidence.iter().any(|evidence| evidence.reading == **reading);
    if finding.rule != CONSECUTIVE_RULE || kept.iter().all(|reading| named(&reading)) {
        return Ok(());
    }
    let gone: Vec<&String> = kept.iter().filter(|reading| !named(reading)).collect();
    let sql = "DELETE FROM evidence WHERE finding = $1 AND reading = ANY($2)";
    prepared.execute(transaction, sql, &[&finding.id, &gone]).await?;
    Ok(())
}

/// The raw payloads of a finding's readings, all in one statement.
pub(super) async fn evidence(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    finding: &Finding,
    places: &HashMap<String, Place>,
) -> Result<Vec<Evidence>, tokio_postgres::Error> {
    let wanted: Vec<(&str, &Place)> = finding
        .evidence
        .iter()
        .filter_map(|evidence| Some((evidence.reading.as_str(), places.get(&evidence.reading)?)))
        .collect();
    let at: Vec<Timestamp> = wanted.iter().map(|(_, place)| place.passed_at).collect();
    let (Some(from), Some(to)) = (at.iter().min(), at.iter().max()) else { return Ok(Vec::new()) };
    let station: Vec<i32> = wanted.iter().map(|(_, place)| place.station).collect();
    let record: Vec<&str> =
        wanted.iter().map(|(reading, _)| reading.rsplit_once('/').map_or("", |(_, record)| record)).collect();
    let name: Vec<&str> = wanted.iter().map(|(reading, _)| *reading).collect();
    // The bounds keep other chunks closed; a join alone would open them all.
    let rows = prepared
        .query(
            transaction,
            "SELECT u.name, p.raw FROM unnest($1::timestamptz[], $2::int4[], $3::text[], $4::text[]) \
             AS u (at, station, record, name) JOIN passage p \
             ON p.passed_at = u.at AND p.station = u.station AND p.record_id = u.record \
             WHERE p.passed_at BETWEEN $5 AND $6",
            &[&at, &station, &record, &name, from, to],
        )
        .await?;
    let kept = |row: &Row| Evidence { reading: row.get(0), raw: Bytes::from(row.get::<_, Vec<u8>>(1)) };
    Ok(rows.iter().map(kept).collect())
}

#[cfg(test)]
mod tests;
