//! Bringing the findings that exist in step with those that should: pure comparison, then one write per kind of change.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use crate::{
    finding::{Finding, Review, Subject},
    publish::{
        event::{self, Event},
        outbox,
    },
    reading::{DeviceId, PlateKey, Timestamp},
    store::{
        findings::{self, insert_evidence},
        prepared::Prepared,
    },
};

/// A finding as stored, with the readings behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Existing {
    pub finding: Finding,
    pub in_force: bool,
    pub revision: i32,
    pub readings: Vec<String>,
    /// A recalculation took it back; only another one may state it again.
    pub rejudged: bool,
}

/// What must change for one subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Not there yet.
    Raise(Finding),
    /// There, but with another span or content, or revoked: in force again as given, one revision further.
    Restate { finding: Finding, revision: i32 },
    /// In force and no longer true.
    Revoke { finding: Finding, revision: i32, why: String },
}

impl Change {
    /// The finding that a change puts in force, for those who complete it.
    pub fn finding_in_force(&mut self) -> Option<&mut Finding> {
        match self {
            Change::Raise(finding) | Change::Restate { finding, .. } => Some(finding),
            Change::Revoke { .. } => None,
        }
    }
}

/// Which findings should be in force.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Findings that the evaluation makes by itself, complete.
    pub made: Vec<Finding>,
    /// Whether the evaluation is the maker of a rule's findings; others are only kept or withdrawn.
    pub maker_of: Vec<&'static str>,
    /// Findings of single readings that must not stand, with the reason: their reading does not represent its passage.
    pub withdrawn: BTreeMap<Uuid, String>,
}

/// Compares; the same input gives the same changes, and applying them leaves nothing to change.
pub fn compare(desired: Desired, existing: Vec<Existing>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut made: BTreeMap<Uuid, Finding> = desired.made.into_iter().map(|f| (f.id, f)).collect();
    for old in existing {
        let revision = old.revision + 1;
        let made_here = desired.maker_of.iter().any(|rule| *rule == old.finding.rule);
        match (made.remove(&old.finding.id), made_here) {
            (Some(finding), _) => {
                if !old.in_force || differs(&finding, &old.finding) {
                    changes.push(Change::Restate { finding, revision });
                }
            }
            (None, true) if old.in_force => changes.push(Change::Revoke {
                finding: old.finding,
                revision,
                why: "the readings on record no longer bear it out".into(),
            }),
            (None, true) => {}
            (None, false) => match desired.withdrawn.get(&old.finding.id) {
                Some(why) if old.in_force => {
                    changes.push(Change::Revoke { finding: old.finding, revision, why: why.clone() });
                }
                None if !old.in_force && !old.rejudged => {
                    changes.push(Change::Restate { finding: old.finding, revision })
                }
                _ => {}
            },
        }
    }
    changes.extend(made.into_values().map(Change::Raise));
    changes
}

fn differs(new: &Finding, old: &Finding) -> bool {
    (new.from, new.to, &new.review, &new.content) != (old.from, old.to, &old.review, &old.content)
}

/// Writes the changes with their events; returns the number of events.
pub async fn apply(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    changes: &[Change],
) -> Result<u64, tokio_postgres::Error> {
    let raised: Vec<&Finding> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Raise(finding) => Some(finding),
            _ => None,
        })
        .collect();
    let mut written = 0;
    if !raised.is_empty() {
        written += findings::insert(transaction, prepared, &raised).await?.1;
    }
    let mut events: Vec<Event> = Vec::new();
    for change in changes {
        match change {
            Change::Raise(_) => {}
            Change::Restate { finding, revision } => {
                set(transaction, prepared, finding, true, *revision).await?;
                insert_evidence(transaction, prepared, &[finding]).await?;
                events.extend(event::raised(finding, *revision));
            }
            Change::Revoke { finding, revision, why } => {
                set(transaction, prepared, finding, false, *revision).await?;
                events.push(event::revoked(finding, *revision, why));
            }
        }
    }
    outbox::insert(transaction, &events).await?;
    Ok(written + events.len() as u64)
}

async fn set(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    finding: &Finding,
    in_force: bool,
    revision: i32,
) -> Result<(), tokio_postgres::Error> {
    let state = i16::from(!in_force);
    let review = findings::review_json(&finding.review);
    prepared
        .execute(
            transaction,
            "UPDATE finding SET state = $2, revision = $3, from_at = $4, to_at = $5, review = $6, content = $7, \
             changed_at = now() WHERE id = $1",
            &[&finding.id, &state, &revision, &finding.from, &finding.to, &review, &finding.content],
        )
        .await?;
    Ok(())
}

/// Reads the findings of the subjects whose text forms are given.
pub async fn existing(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    subjects: &[String],
) -> Result<BTreeMap<String, Vec<Existing>>, tokio_postgres::Error> {
    let rows = prepared
        .query(
            transaction,
            "SELECT f.*, coalesce((SELECT array_agg(e.reading ORDER BY e.reading) FROM evidence e WHERE e.finding = f.id), \
             '{}') AS readings FROM finding f WHERE f.subject = ANY($1) ORDER BY f.id",
            &[&subjects],
        )
        .await?;
    let mut by_subject: BTreeMap<String, Vec<Existing>> = BTreeMap::new();
    for row in &rows {
        if let Some(existing) = parse(row) {
            by_subject.entry(row.get("subject")).or_default().push(existing);
        }
    }
    Ok(by_subject)
}

/// Reads those of some rules that ended in a span, of one subject.
pub async fn existing_in(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    subject: &Subject,
    rules: &[&str],
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Existing>, tokio_postgres::Error> {
    let rows = prepared
        .query(
            transaction,
            "SELECT f.*, coalesce((SELECT array_agg(e.reading ORDER BY e.reading) FROM evidence e WHERE e.finding = f.id), \
             '{}') AS readings FROM finding f \
             WHERE f.subject = $1 AND f.rule = ANY($2) AND f.to_at BETWEEN $3 AND $4 ORDER BY f.id",
            &[&subject.to_string(), &rules, &from, &to],
        )
        .await?;
    Ok(rows.iter().filter_map(parse).filter(|existing| existing.finding.subject == *subject).collect())
}

/// Reads findings by their ids, whoever they are about.
pub async fn named(transaction: &Transaction<'_>, ids: &[Uuid]) -> Result<Vec<Existing>, tokio_postgres::Error> {
    let rows = transaction
        .query(
            "SELECT f.*, coalesce((SELECT array_agg(e.reading ORDER BY e.reading) FROM evidence e WHERE e.finding = f.id), \
             '{}') AS readings FROM finding f WHERE f.id = ANY($1) ORDER BY f.id",
            &[&ids],
        )
        .await?;
    Ok(rows.iter().filter_map(parse).collect())
}

/// `None` for a subject that this version cannot read; it is left as it is.
fn parse(row: &Row) -> Option<Existing> {
    let subject: String = row.get("subject");
    let subject = match row.get::<_, i16>("subject_kind") {
        0 => Subject::Vehicle(plate_key(&subject)?),
        1 => Subject::Terminal(DeviceId::parse(&subject).ok()?),
        2 => Subject::Machine(DeviceId::parse(&subject).ok()?),
        _ => return None,
    };
    let finding = Finding {
        id: row.get("id"),
        rule: Cow::Owned(row.get("rule")),
        subject,
        from: row.get("from_at"),
        to: row.get("to_at"),
        review: review(&row.get::<_, Value>("review")),
        // An intercept is for the moment of the passage; a finding that is stated again later never raises one.
        intercept: false,
        content: row.get("content"),
        evidence: Vec::new(),
    };
    let in_force = row.get::<_, i16>("state") == 0;
    let rejudged = row.get::<_, Option<i64>>("rejudged_by").is_some();
    Some(Existing { finding, in_force, revision: row.get("revision"), readings: row.get("readings"), rejudged })
}

fn plate_key(subject: &str) -> Option<PlateKey> {
    let (plate, colour) = subject.split_once(':')?;
    Some(PlateKey::new(crate::reading::Plate::parse(plate).ok()?, crate::reading::PlateColor::parse(colour)?))
}

fn review(json: &Value) -> Review {
    match json.get("why").and_then(Value::as_array) {
        Some(why) => {
            Review::Needed(why.iter().filter_map(Value::as_str).map(|text| Cow::Owned(text.to_owned())).collect())
        }
        None => Review::NotNeeded,
    }
}
