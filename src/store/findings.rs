//! Findings with their evidence and events, in the transaction that holds what they are about.

use std::{borrow::Cow, collections::HashMap};

use sha2::{Digest as _, Sha256};
use tokio_postgres::{Error, Transaction};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    flight::{Answer, Flight, value},
    prepared::Prepared,
};
use crate::{
    finding::{Finding, Review, Subject},
    publish::{event, outbox},
    reading::Timestamp,
};

/// A finding that was not there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    pub rule: Cow<'static, str>,
    pub intercept: bool,
}

/// Stores findings that are not there yet, with evidence and events; returns the rules raised and the events written.
pub async fn insert(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    findings: &[&Finding],
) -> Result<(Vec<Raised>, u64), Error> {
    let mut flight = Flight::default();
    let place = add(&mut flight, findings);
    let answers = flight.send(transaction, prepared).await?;
    complete(transaction, prepared, findings, &answers[place]).await
}

/// Records of one station this close in time can be one drive past two lanes: the officer is asked for once, by the first.
/// The later record's finding is withdrawn by the evaluation, and one that comes before the first is asked for as well,
/// because it is the first then. Seconds; the default of `judge.same_passage_seconds` (UNSOURCED-medium).
const ONE_DRIVE_SECONDS: i64 = 60;

/// Name space of the locks of [`asks`], so that they meet no other advisory lock of the database.
const LOCK_SPACE: i64 = 0x6478_0000_0000_0000;

/// Whether each finding asks for an officer, and the locks under which that is decided: two transactions with a record each
/// of one drive must not both be the first.
fn asks(findings: &[&Finding]) -> (Vec<bool>, Vec<i64>) {
    let mut asking: Vec<usize> = (0..findings.len()).collect();
    let finding = |place: usize| findings.get(place).copied();
    asking.retain(|&place| finding(place).is_some_and(|f| f.intercept && f.review == Review::NotNeeded));
    asking.sort_by_key(|&place| finding(place).map(|f| (f.from, f.id)));
    let (mut asks, mut first) = (vec![false; findings.len()], HashMap::new());
    for place in asking {
        let Some(Finding { rule, subject, content, from, .. }) = finding(place) else { continue };
        let station = content.get("station_id").and_then(serde_json::Value::as_str);
        let drive = first.entry((rule, subject.to_string(), station)).or_insert(None);
        let again = drive.is_some_and(|at: Timestamp| from.micros_since(at) < ONE_DRIVE_SECONDS * 1_000_000);
        if !again && let Some(asks) = asks.get_mut(place) {
            (*drive, *asks) = (Some(*from), true);
        }
    }
    let lock = |(_, subject, _): &(_, String, _)| LOCK_SPACE | (xxh3_64(subject.as_bytes()) >> 16) as i64;
    let mut locks: Vec<i64> = first.keys().map(lock).collect();
    locks.sort_unstable();
    locks.dedup();
    (asks, locks)
}

/// Adds the statement that stores findings that are not there yet; [`complete`] takes its answer.
pub fn add<'a>(flight: &mut Flight<'a>, findings: &[&'a Finding]) -> usize {
    let (asks, locks) = asks(findings);
    if !locks.is_empty() {
        flight.add("SELECT count(pg_advisory_xact_lock(k)) FROM unnest($1::int8[]) AS u (k)", vec![value(locks)]);
    }
    let id: Vec<Uuid> = findings.iter().map(|f| f.id).collect();
    let rule: Vec<&str> = findings.iter().map(|f| f.rule.as_ref()).collect();
    let kind: Vec<i16> = findings.iter().map(|f| subject_kind(&f.subject)).collect();
    let subject: Vec<String> = findings.iter().map(|f| f.subject.to_string()).collect();
    let from: Vec<Timestamp> = findings.iter().map(|f| f.from).collect();
    let to: Vec<Timestamp> = findings.iter().map(|f| f.to).collect();
    let review: Vec<serde_json::Value> = findings.iter().map(|f| review_json(&f.review)).collect();
    let content: Vec<&serde_json::Value> = findings.iter().map(|f| &f.content).collect();
    flight.add(
        "INSERT INTO finding (id, rule, subject_kind, subject, from_at, to_at, review, content, intercept) \
         SELECT DISTINCT ON (id) id, rule, kind, subject, from_at, to_at, review, content, asks AND NOT EXISTS (\
           SELECT FROM finding o WHERE o.subject = f.subject AND o.rule = f.rule AND o.intercept AND o.state = 0 \
           AND o.from_at <= f.from_at AND o.from_at > f.from_at - $10::int8 * INTERVAL '1 second' \
           AND o.content->>'station_id' = f.content->>'station_id') \
         FROM unnest($1::uuid[], $2::text[], $3::int2[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::jsonb[], \
         $8::jsonb[], $9::bool[]) AS f (id, rule, kind, subject, from_at, to_at, review, content, asks) \
         ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id, intercept",
        vec![
            value(id),
            value(rule),
            value(kind),
            value(subject),
            value(from),
            value(to),
            value(review),
            value(content),
            value(asks),
            value(ONE_DRIVE_SECONDS),
        ],
    )
}

/// Keeps evidence and events of the findings that the answer says are new.
pub async fn complete(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    findings: &[&Finding],
    inserted: &Answer,
) -> Result<(Vec<Raised>, u64), Error> {
    let mut new: Vec<(Uuid, bool)> = inserted.rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let (mut events, mut rules, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for finding in findings {
        // Each id once, also when the batch holds the finding twice.
        let Some(place) = new.iter().position(|(id, _)| *id == finding.id) else { continue };
        let (_, intercept) = new.swap_remove(place);
        rules.push(Raised { rule: finding.rule.clone(), intercept });
        fresh.push(*finding);
        events.extend(match finding.intercept == intercept {
            true => event::raised(finding, 1),
            false => event::raised(&Finding { intercept, ..(*finding).clone() }, 1),
        });
    }
    let evidence = insert_evidence(transaction, prepared, &fresh);
    futures_util::future::try_join(evidence, outbox::insert(transaction, &events)).await?;
    Ok((rules, events.len() as u64))
}

/// Keeps the raw readings behind the findings, once each.
pub async fn insert_evidence(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    findings: &[&Finding],
) -> Result<(), Error> {
    let pairs: Vec<_> = findings.iter().flat_map(|f| f.evidence.iter().map(|e| (f.id, e))).collect();
    if pairs.is_empty() {
        return Ok(());
    }
    let id: Vec<Uuid> = pairs.iter().map(|(id, _)| *id).collect();
    let reading: Vec<&str> = pairs.iter().map(|(_, e)| e.reading.as_str()).collect();
    let raw: Vec<&[u8]> = pairs.iter().map(|(_, e)| e.raw.as_ref()).collect();
    let digest: Vec<Vec<u8>> = pairs.iter().map(|(_, e)| Sha256::digest(&e.raw).to_vec()).collect();
    prepared
        .execute(
            transaction,
            "INSERT INTO evidence (finding, reading, raw, sha256) \
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[]) ON CONFLICT DO NOTHING",
            &[&id, &reading, &raw, &digest],
        )
        .await?;
    Ok(())
}

pub fn subject_kind(subject: &Subject) -> i16 {
    match subject {
        Subject::Vehicle(_) => 0,
        Subject::Terminal(_) => 1,
        Subject::Machine(_) => 2,
    }
}

pub fn review_json(review: &Review) -> serde_json::Value {
    match review {
        Review::NotNeeded => serde_json::json!({"state": "not_needed"}),
        Review::Needed(why) => serde_json::json!({"state": "needed", "why": why}),
    }
}
