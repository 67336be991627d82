//! Findings with their evidence and events, in the transaction that holds what they are about.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};
use tokio_postgres::{Error, Transaction};
use uuid::Uuid;

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

/// Adds the statement that stores findings that are not there yet; [`complete`] takes its answer.
pub fn add<'a>(flight: &mut Flight<'a>, findings: &[&'a Finding]) -> usize {
    let id: Vec<Uuid> = findings.iter().map(|f| f.id).collect();
    let rule: Vec<&str> = findings.iter().map(|f| f.rule.as_ref()).collect();
    let kind: Vec<i16> = findings.iter().map(|f| subject_kind(&f.subject)).collect();
    let subject: Vec<String> = findings.iter().map(|f| f.subject.to_string()).collect();
    let from: Vec<Timestamp> = findings.iter().map(|f| f.from).collect();
    let to: Vec<Timestamp> = findings.iter().map(|f| f.to).collect();
    let review: Vec<serde_json::Value> = findings.iter().map(|f| review_json(&f.review)).collect();
    let content: Vec<&serde_json::Value> = findings.iter().map(|f| &f.content).collect();
    flight.add(
        "INSERT INTO finding (id, rule, subject_kind, subject, from_at, to_at, review, content) \
         SELECT DISTINCT ON (id) * FROM unnest($1::uuid[], $2::text[], $3::int2[], $4::text[], $5::timestamptz[], \
         $6::timestamptz[], $7::jsonb[], $8::jsonb[]) AS f (id, rule, kind, subject, from_at, to_at, review, content) \
         ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id",
        vec![
            value(id),
            value(rule),
            value(kind),
            value(subject),
            value(from),
            value(to),
            value(review),
            value(content),
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
    let mut new: Vec<Uuid> = inserted.rows.iter().map(|row| row.get(0)).collect();
    let (mut events, mut rules, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for finding in findings {
        // Each id once, also when the batch holds the finding twice.
        let Some(place) = new.iter().position(|id| *id == finding.id) else { continue };
        new.swap_remove(place);
        rules.push(Raised { rule: finding.rule.clone(), intercept: finding.intercept });
        fresh.push(*finding);
        events.extend(event::raised(finding, 1));
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
