//! Failed signatures of one terminal and China day: one finding, counted from the stored results.
//!
//! Whoever wrote a result that failed, or one that may have stopped failing, states the day again in the same transaction,
//! under a lock of that day. Of two that write results of one day the second counts after the first has committed, so the
//! last one counts all of them, in whatever order they came.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{Days, NaiveDate, NaiveTime};
use serde_json::json;
use tokio_postgres::Transaction;

use super::check::{Outcome, Rules};
use crate::{
    config::{SignatureMode, SourceKind},
    evaluate::reconcile::{self, Change, Desired},
    finding::{Evidence, Finding, Review, Subject, finding_id},
    reading::{DeviceId, Timestamp},
    store::prepared::Prepared,
};

pub const FAILED_RULE: &str = "terminal.signature_failed";

/// Name space of the day locks.
const DAY_LOCKS: i64 = 0x6477_7332_0000_0000;

/// Packets kept as evidence for each day: those with the smallest digests, a choice that no order of arrival changes. All
/// of them would be 4 MB a terminal and day when a whole fleet fails.
const EVIDENCE: i64 = 16;

/// One terminal and one calendar day in China.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Number of the device.
    pub device: i32,
    pub day: NaiveDate,
}

impl Day {
    pub fn of(device: i32, at: Timestamp) -> Self {
        Self { device, day: at.china_day() }
    }

    /// First instant of the day and of the next.
    fn span(self) -> (Timestamp, Timestamp) {
        let midnight = |day: NaiveDate| Timestamp::from_china_naive(day.and_time(NaiveTime::MIN));
        let next = self.day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX);
        (midnight(self.day), midnight(next))
    }
}

/// Whose day it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    pub device: DeviceId,
    pub kind: SourceKind,
}

impl Whose {
    fn subject(&self) -> Subject {
        match self.kind {
            SourceKind::Nonroad => Subject::Machine(self.device.clone()),
            _ => Subject::Terminal(self.device.clone()),
        }
    }
}

/// The failures of one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failures {
    count: i64,
    first: Timestamp,
    last: Timestamp,
}

/// Compares the findings of the days with what the results say.
pub async fn days(
    transaction: &Transaction<'_>,
    days: &BTreeMap<Day, Whose>,
    rules: &Rules,
) -> Result<Vec<Change>, tokio_postgres::Error> {
    // The map is sorted, so two transactions with the same days queue instead of deadlocking.
    let mut locks: Vec<i64> = days.keys().map(|day| lock_key(*day)).collect();
    locks.sort_unstable();
    transaction.execute("SELECT count(pg_advisory_xact_lock(k)) FROM unnest($1::int8[]) AS u (k)", &[&locks]).await?;
    let mut changes = Vec::new();
    for (day, whose) in days {
        let failures = failures(transaction, *day).await?;
        let subject = whose.subject();
        let id = finding_id(FAILED_RULE, &natural_key(whose, *day));
        let text = subject.to_string();
        let mut existing =
            reconcile::existing(transaction, &mut Prepared::default(), std::slice::from_ref(&text)).await?;
        let mut existing = existing.remove(&text).unwrap_or_default();
        existing.retain(|old| old.finding.id == id);
        let mut desired = Desired { maker_of: vec![FAILED_RULE], ..Desired::default() };
        desired.made.extend(failures.map(|failures| finding(whose, *day, failures, rules)));
        let mut found = reconcile::compare(desired, existing);
        for finding in found.iter_mut().filter_map(Change::finding_in_force) {
            finding.evidence = evidence(transaction, *day, whose).await?;
        }
        changes.extend(found);
    }
    Ok(changes)
}

/// Two days may share a lock, which only makes them wait for each other.
fn lock_key(day: Day) -> i64 {
    let key = format!("{}/{}", day.device, day.day);
    DAY_LOCKS | i64::from((xxhash_rust::xxh3::xxh3_64(key.as_bytes()) >> 33) as u32)
}

fn natural_key(whose: &Whose, day: Day) -> String {
    format!("{}/{}", whose.device, day.day)
}

async fn failures(transaction: &Transaction<'_>, day: Day) -> Result<Option<Failures>, tokio_postgres::Error> {
    let (from, to) = day.span();
    let row = transaction
        .query_one(
            "SELECT count(*), min(sent_at), max(sent_at) FROM signature_check \
             WHERE device = $1 AND result = 1 AND sent_at >= $2 AND sent_at < $3",
            &[&day.device, &from, &to],
        )
        .await?;
    let (first, last): (Option<Timestamp>, Option<Timestamp>) = (row.get(1), row.get(2));
    Ok(first.zip(last).map(|(first, last)| Failures { count: row.get(0), first, last }))
}

fn finding(whose: &Whose, day: Day, failures: Failures, rules: &Rules) -> Finding {
    let settings = &rules.settings;
    let sample = (settings.mode == SignatureMode::Sample).then_some(settings.sample_share);
    Finding {
        id: finding_id(FAILED_RULE, &natural_key(whose, day)),
        rule: FAILED_RULE.into(),
        subject: whose.subject(),
        from: failures.first,
        to: failures.last,
        review: Review::Needed(vec!["signed_bytes_not_public".into()]),
        intercept: false,
        content: json!({
            "rule": FAILED_RULE,
            "device": whose.device,
            "day": day.day.to_string(),
            "count": failures.count,
            "first": failures.first,
            "last": failures.last,
            "sample_share": sample,
            "algorithm": "SM2 with SM3",
            "form": settings.form,
            "signed_from": settings.signed_from,
            "signed_lengths": settings.signed_lengths,
            "header_length": settings.header_length,
            "standard": "HJ 1239.1-2021",
            "clause": "5.5",
            "source": "which bytes are signed, and for which user id, is configuration of this service",
            "confidence": "unsourced-low",
        }),
        evidence: Vec::new(),
    }
}

/// Some of the packets that failed, as long as retention has not taken them.
async fn evidence(
    transaction: &Transaction<'_>,
    day: Day,
    whose: &Whose,
) -> Result<Vec<Evidence>, tokio_postgres::Error> {
    let (from, to) = day.span();
    let rows = transaction
        .query(
            "SELECT p.sent_at, p.digest, p.raw FROM (SELECT sent_at, device, digest FROM signature_check \
             WHERE device = $1 AND result = $2 AND sent_at >= $3 AND sent_at < $4 ORDER BY digest, sent_at LIMIT $5) c \
             JOIN terminal_packet p ON p.sent_at = c.sent_at AND p.device = c.device AND p.digest = c.digest \
             WHERE p.sent_at >= $3 AND p.sent_at < $4",
            &[&day.device, &Outcome::Failed.code(), &from, &to, &EVIDENCE],
        )
        .await?;
    let named = |row: &tokio_postgres::Row| Evidence {
        reading: format!("packet {}/{}/{:016x}", whose.device, row.get::<_, Timestamp>(0), row.get::<_, i64>(1)),
        raw: Bytes::from(row.get::<_, Vec<u8>>(2)),
    };
    Ok(rows.iter().map(named).collect())
}
