//! Recalculation: the limits and lists in force now, applied to stored readings as of each reading's own time.
//!
//! Vehicle by vehicle, in the order of their keys, some hundreds of readings in one transaction: under the vehicles' locks
//! every reading of the span is decoded again from its raw payload and judged by the code that judged it first
//! ([`crate::pipeline::again`]); verdicts, outcomes and findings of single readings are brought in step; then the same
//! evaluation that follows any reading says what becomes of the episodes. So no state is ever visible in which an episode
//! contradicts its readings, and a look that changes nothing is the same transaction rolled back.
//!
//! - **Only what differs is restated.** A finding that says the same by another version of the register or of a list keeps
//!   the versions it was made by: they are the truth about how it came about, and the police need no news of them.
//! - **Old verdicts are kept** in `rejudgement`, with the run that replaced them. A finding that a run took back carries
//!   the run, and no later evaluation states it again; a later run may.
//! - **Of the vehicle that passed.** The present register corrects what it said when the reading arrived, except where the
//!   plate is another vehicle's since, and except for states, which are changes ([`crate::vehicle::past`]). A reading that
//!   was live stays what it was.
//! - **No intercept** is ever raised: nobody is stopped for what a correction of the past found out.
//! - **A run that was interrupted** goes on where it was when the same is asked for on the same basis; one that is
//!   repeated changes nothing.
//!
//! Findings of single readings are known by their id, which is made of rule, station and record; nothing else may be keyed
//! so. Readings whose plate was not read hold no finding and are not looked at.

mod change;
mod readings;
pub mod run;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::{
    reconcile::{self, Change, Existing},
    tasks::{self, Kind, Subject},
    vehicle,
};
use crate::{
    finding::{Finding, finding_id},
    judge::RuleBook,
    pipeline::{
        again::{Again, Before},
        assemble::{Assembler, Missing},
    },
    reading::{PlateKey, Timestamp},
    store::prepared::Prepared,
    vehicle::past,
};
use readings::{Stored, Verdict};
use run::Run;

/// Readings in one transaction, unless one vehicle alone has more: about a tenth of a second.
const READINGS: i64 = 500;

/// Which readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    /// The number and the name of the only station.
    pub station: Option<(i32, String)>,
}

/// What becomes of the work of each transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Keep,
    Undo,
}

/// Everything a recalculation goes by.
pub struct Rejudge<'a> {
    pub assembler: &'a Assembler,
    pub book: &'a RuleBook,
    pub span: Span,
}

/// What one transaction did, or would have done.
#[derive(Debug, Default)]
pub struct Step {
    pub vehicles: usize,
    pub readings: u64,
    /// Readings by verdict before and after, where they differ.
    pub verdicts: BTreeMap<(i16, i16), u64>,
    /// Readings that stand as they are because they cannot be judged again, by reason.
    pub left: BTreeMap<&'static str, u64>,
    pub changes: Vec<Told>,
    pub events: u64,
    /// Highest plate key done.
    pub cursor: i64,
}

/// A finding that changes, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    pub change: Became,
    pub finding: Uuid,
    pub rule: String,
    pub subject: String,
    pub from: Timestamp,
    pub to: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub content: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    Raised,
    Restated,
    Revoked,
}

/// Why a step failed; nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum RejudgeError {
    #[error("recalculate: {}", crate::store::error::describe(.0))]
    Database(#[from] tokio_postgres::Error),
    #[error("number a station")]
    Station(#[from] crate::vehicle::directory::DirectoryError),
}

impl Rejudge<'_> {
    /// Readings of read plates in the span.
    pub async fn count(&self, client: &Client) -> Result<i64, tokio_postgres::Error> {
        let Span { from, to, station } = &self.span;
        let station = station.as_ref().map(|(number, _)| *number);
        let sql = "SELECT count(*) FROM passage_key WHERE plate_key IS NOT NULL AND passed_at >= $1 AND passed_at < $2 \
                   AND ($3::int4 IS NULL OR station = $3)";
        Ok(client.query_one(sql, &[from, to, &station]).await?.get(0))
    }

    /// One transaction: the vehicles behind `after`. `None` when there are no more.
    pub async fn step(
        &self,
        client: &mut Client,
        run: &Run,
        after: i64,
        then: Then,
    ) -> Result<Option<Step>, RejudgeError> {
        let keys = readings::next_vehicles(client, &self.span, after, READINGS).await?;
        let Some(&cursor) = keys.last() else { return Ok(None) };
        let transaction = client.transaction().await?;
        let run = match then {
            Then::Keep => run.number,
            Then::Undo => run.begin(&transaction).await?,
        };
        tasks::lock(&transaction, keys.iter().map(|&id| Subject { kind: Kind::Vehicle, id })).await?;
        let mut step = Step { vehicles: keys.len(), cursor, ..Step::default() };
        let changed = self.readings(&transaction, run, &keys, &mut step).await?;
        // The vehicles whose readings all stand as they were are evaluated too: the table of limits may ask for another
        // number of tests.
        let mut of_history = vehicle::evaluate(&transaction, &mut Prepared::default(), &keys, self.book).await?;
        for change in &mut of_history {
            if let Change::Revoke { why, .. } = change {
                *why = format!("{why}, after rejudge run {run}");
            }
        }
        step.events += reconcile::apply(&transaction, &mut Prepared::default(), &of_history).await?;
        step.changes.extend(of_history.iter().map(Told::of));
        step.changes = net(std::mem::take(&mut step.changes));
        readings::leave_tasks(&transaction, &changed).await?;
        match then {
            Then::Keep => {
                run::advance(&transaction, run, cursor, step.readings).await?;
                transaction.commit().await?;
            }
            Then::Undo => transaction.rollback().await?,
        }
        Ok(Some(step))
    }

    /// Judges the readings of the vehicles again and brings what they alone say in step; the vehicles that changed.
    async fn readings(
        &self,
        transaction: &Transaction<'_>,
        run: i64,
        keys: &[i64],
        step: &mut Step,
    ) -> Result<Vec<(i64, Timestamp)>, RejudgeError> {
        let stored = readings::load(transaction, &self.span, keys).await?;
        step.readings = stored.len() as u64;
        let mut judged: Vec<(Verdict<'_>, Vec<Finding>)> = Vec::new();
        let asked: Vec<(i64, Timestamp)> = stored.iter().map(|stored| (stored.plate_key, stored.received_at)).collect();
        let registered = past::load(transaction, &asked).await?;
        for (reading, register) in stored.iter().zip(registered) {
            let before = Before { live: reading.live, register };
            match self.again(transaction, reading, &before).await? {
                Again::Judged { verdict, outcomes, carrier, explained, findings } => {
                    judged.push((Verdict { reading, verdict, outcomes, carrier, explained }, findings));
                }
                Again::Left(why) => *step.left.entry(why).or_default() += 1,
            }
        }
        let mut of_readings = existing(transaction, keys, &judged).await?;
        let (mut verdicts, mut all) = (Vec::new(), change::Compared::default());
        let mut changed: Vec<(i64, Timestamp)> = Vec::new();
        let mut carriers: Vec<(&Stored, Option<i64>)> = Vec::new();
        for (judged, findings) in judged {
            let reading = judged.reading;
            let differs = (judged.verdict, judged.outcomes) != (reading.verdict, reading.outcomes);
            let is_anothers = judged.carrier != reading.carrier;
            carriers.extend(is_anothers.then_some((reading, judged.carrier)));
            if differs {
                *step.verdicts.entry((reading.verdict, judged.verdict)).or_default() += 1;
                verdicts.push(judged);
            }
            let of_reading = of_readings.remove(&reading.natural_key()).unwrap_or_default();
            let compared = change::compare(findings, of_reading, &self.why(run));
            if differs || is_anothers || !compared.changes.is_empty() {
                changed.push((reading.plate_key, reading.passed_at));
            }
            all.changes.extend(compared.changes);
            all.quiet.extend(compared.quiet);
            all.gone.extend(compared.gone);
        }
        readings::set_verdicts(transaction, run, &verdicts).await?;
        readings::set_carriers(transaction, &carriers).await?;
        step.events += reconcile::apply(transaction, &mut Prepared::default(), &all.changes).await?;
        readings::mark(transaction, run, &all).await?;
        step.changes.extend(all.changes.iter().map(Told::of));
        Ok(changed)
    }

    fn why(&self, run: i64) -> String {
        let version = self.book.limits.version();
        format!("rejudge run {run}: limits {version} and the lists in force now do not bear it out")
    }

    async fn again(
        &self,
        transaction: &Transaction<'_>,
        reading: &Stored,
        before: &Before,
    ) -> Result<Again, RejudgeError> {
        let Stored { station_id, received_at, content_hash, raw, .. } = reading;
        let Some(raw) = raw else { return Ok(Again::Left("raw_payload_gone")) };
        loop {
            match self.assembler.judge_again(station_id, raw, *received_at, *content_hash, before) {
                Ok(again) => return Ok(again),
                Err(missing) => self.number(transaction, &missing).await?,
            }
        }
    }

    /// A station that reported after this run loaded the register.
    async fn number(&self, transaction: &Transaction<'_>, missing: &Missing) -> Result<(), RejudgeError> {
        Ok(self.assembler.give_number(transaction.client(), missing).await?)
    }
}

/// The findings of single readings by `station/record`: those about the vehicles, and those the readings make now.
async fn existing(
    transaction: &Transaction<'_>,
    keys: &[i64],
    judged: &[(Verdict<'_>, Vec<Finding>)],
) -> Result<HashMap<String, Vec<Existing>>, tokio_postgres::Error> {
    let subjects: Vec<String> =
        keys.iter().filter_map(|&key| PlateKey::from_i64(key)).map(|key| key.to_string()).collect();
    let mut all: BTreeMap<Uuid, Existing> = BTreeMap::new();
    for old in reconcile::existing(transaction, &mut Prepared::default(), &subjects).await?.into_values().flatten() {
        all.insert(old.finding.id, old);
    }
    let made = judged.iter().flat_map(|(_, findings)| findings).map(|finding| finding.id);
    let others: Vec<Uuid> = made.filter(|id| !all.contains_key(id)).collect();
    if !others.is_empty() {
        all.extend(reconcile::named(transaction, &others).await?.into_iter().map(|old| (old.finding.id, old)));
    }
    let mut by_reading: HashMap<String, Vec<Existing>> = HashMap::new();
    for old in all.into_values() {
        let [reading] = old.readings.as_slice() else { continue };
        let Some(key) = reading.strip_prefix("passage ").map(str::to_owned) else { continue };
        if old.finding.id == finding_id(&old.finding.rule, &key) {
            by_reading.entry(key).or_default().push(old);
        }
    }
    Ok(by_reading)
}

impl Told {
    fn of(change: &Change) -> Self {
        let (kind, finding, why) = match change {
            Change::Raise(finding) => (Became::Raised, finding, None),
            Change::Restate { finding, .. } => (Became::Restated, finding, None),
            Change::Revoke { finding, why, .. } => (Became::Revoked, finding, Some(why.clone())),
        };
        Self {
            change: kind,
            finding: finding.id,
            rule: finding.rule.to_string(),
            subject: finding.subject.to_string(),
            from: finding.from,
            to: finding.to,
            why,
            content: finding.content.clone(),
        }
    }
}

/// What remains of changes to the same finding: one that was raised and taken back, because another reading stands for its
/// passage, was never there; otherwise the last word counts, and what was not there before is raised.
fn net(changes: Vec<Told>) -> Vec<Told> {
    let mut last: BTreeMap<Uuid, Told> = BTreeMap::new();
    for change in changes {
        let raised = last.remove(&change.finding).is_some_and(|before| before.change == Became::Raised);
        let net = match (raised, change.change) {
            (true, Became::Revoked) => continue,
            (true, _) => Told { change: Became::Raised, ..change },
            (false, _) => change,
        };
        last.insert(net.finding, net);
    }
    last.into_values().collect()
}

#[cfg(test)]
mod tests;
