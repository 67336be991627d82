//! The acts about warnings: issued, lifted, corrected, withdrawn. Rows are only ever added, each with who, when and why.
//!
//! [`next`] decides what an act makes of what stands, without a clock or a database; [`act`] carries it out in one
//! transaction that also counts up the dataset's version and notifies every replica, which loads the warnings as it loads a
//! list. The lock on that version lets one act happen at a time, so two desks cannot issue one level twice.
//!
//! An act does not judge stored readings again. Where it changes what was in force before now, [`Done::past`] says so.

use serde::Serialize;
use tokio_postgres::{Client, Row};

use super::{Level, Warning};
use crate::{reading::Timestamp, vehicle::watch::CHANNEL};

/// Key of the version of all warnings, and the payload of notifications.
pub const DATASET: &str = "warnings";

/// Longest document number, name or reason, bytes.
const MAX_TEXT_BYTES: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Issue,
    Lift,
    Correct,
    Withdraw,
}

impl Action {
    pub const fn name(self) -> &'static str {
        match self {
            Action::Issue => "issue",
            Action::Lift => "lift",
            Action::Correct => "correct",
            Action::Withdraw => "withdraw",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Action::Issue, Action::Lift, Action::Correct, Action::Withdraw]
            .into_iter()
            .find(|action| action.name() == name)
    }
}

/// One act, and how the warning stands after it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Revision {
    pub warning: i64,
    pub revision: i32,
    pub action: Action,
    pub level: Level,
    /// First instant in force.
    #[schema(value_type = String, format = DateTime)]
    pub issued_at: Timestamp,
    /// First instant no longer in force; null while it is not lifted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lifted_at: Option<Timestamp>,
    /// Issued by mistake: it was never in force.
    pub withdrawn: bool,
    pub document_no: Option<String>,
    pub done_by: String,
    #[schema(value_type = String, format = DateTime)]
    pub done_at: Timestamp,
    pub why: Option<String>,
}

impl Revision {
    /// The warning as it stands after the act, and whether it is withdrawn.
    pub fn standing(self) -> (Warning, bool) {
        let warning = Warning {
            id: self.warning,
            revision: self.revision,
            level: self.level,
            issued_at: self.issued_at,
            lifted_at: self.lifted_at,
            document_no: self.document_no.map(Into::into),
        };
        (warning, self.withdrawn)
    }

    fn overlaps(&self, other: &Revision) -> bool {
        let ends_after = |one: &Revision, at| one.lifted_at.is_none_or(|lifted| at < lifted);
        ends_after(self, other.issued_at) && ends_after(other, self.issued_at)
    }
}

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Issue {
        level: Level,
        issued_at: Timestamp,
        lifted_at: Option<Timestamp>,
        document_no: Option<String>,
    },
    Lift {
        warning: i64,
        lifted_at: Timestamp,
    },
    /// What is `None` stays; `Some(None)` takes a lifting back.
    Correct {
        warning: i64,
        level: Option<Level>,
        issued_at: Option<Timestamp>,
        lifted_at: Option<Option<Timestamp>>,
        document_no: Option<String>,
    },
    Withdraw {
        warning: i64,
    },
}

/// Who does it and why; a correction and a withdrawal need a reason.
#[derive(Clone, Debug, PartialEq)]
pub struct By {
    pub name: String,
    pub why: Option<String>,
}

/// Why an act cannot be done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("there is no warning {0}")]
    NoSuch(i64),
    #[error("warning {0} was withdrawn")]
    Withdrawn(i64),
    #[error("warning {warning} is lifted at {lifted_at} already; correct it")]
    Lifted { warning: i64, lifted_at: Timestamp },
    #[error("the lifting is not after the issue")]
    Empty,
    #[error("warning {0} of the same level is in force in that time")]
    Overlap(i64),
    #[error("nothing would change")]
    Nothing,
    #[error("a name is needed")]
    NoName,
    #[error("a reason is needed")]
    NoReason,
    #[error("a text is longer than {MAX_TEXT_BYTES} bytes or holds a control character")]
    Text,
}

/// Why an act was not done.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("change the warnings")]
    Database(#[from] tokio_postgres::Error),
    /// Only a hand in the database can bring this about.
    #[error("a stored warning is none that this program writes: the table was changed by hand")]
    Corrupt,
}

/// An act that was done.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub revision: Revision,
    /// The span before `done_at` in which something else is in force than before the act.
    pub past: Option<(Timestamp, Timestamp)>,
}

/// The row that the act adds to those that stand (the last one of each warning).
pub fn next(standing: &[Revision], act: &Act, by: &By, now: Timestamp) -> Result<Done, Refused> {
    let (document, reason) = (document_of(act), by.why.as_deref());
    if by.name.trim().is_empty() {
        return Err(Refused::NoName);
    }
    let bad = |text: &str| text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control);
    if [Some(by.name.as_str()), document, reason].into_iter().flatten().any(bad) {
        return Err(Refused::Text);
    }
    if matches!(act, Act::Correct { .. } | Act::Withdraw { .. }) && reason.is_none_or(|why| why.trim().is_empty()) {
        return Err(Refused::NoReason);
    }
    let find = |warning: i64| match standing.iter().find(|revision| revision.warning == warning) {
        None => Err(Refused::NoSuch(warning)),
        Some(found) if found.withdrawn => Err(Refused::Withdrawn(warning)),
        Some(found) => Ok(found),
    };
    let (before, mut after) = match act {
        Act::Issue { level, issued_at, lifted_at, document_no } => {
            let warning = standing.iter().map(|revision| revision.warning).max().unwrap_or(0) + 1;
            let made = Revision {
                warning,
                revision: 0,
                action: Action::Issue,
                level: *level,
                issued_at: *issued_at,
                lifted_at: *lifted_at,
                withdrawn: false,
                document_no: document_no.clone(),
                done_by: String::new(),
                done_at: now,
                why: None,
            };
            (None, made)
        }
        Act::Lift { warning, lifted_at } => {
            let found = find(*warning)?;
            if let Some(lifted_at) = found.lifted_at.filter(|known| known <= lifted_at) {
                return Err(Refused::Lifted { warning: *warning, lifted_at });
            }
            let lifted = Revision { action: Action::Lift, lifted_at: Some(*lifted_at), ..found.clone() };
            (Some(found), lifted)
        }
        Act::Correct { warning, level, issued_at, lifted_at, document_no } => {
            let found = find(*warning)?;
            let corrected = Revision {
                action: Action::Correct,
                level: level.unwrap_or(found.level),
                issued_at: issued_at.unwrap_or(found.issued_at),
                lifted_at: lifted_at.unwrap_or(found.lifted_at),
                document_no: document_no.clone().or_else(|| found.document_no.clone()),
                ..found.clone()
            };
            if stands_as(&corrected, found) && corrected.document_no == found.document_no {
                return Err(Refused::Nothing);
            }
            (Some(found), corrected)
        }
        Act::Withdraw { warning } => {
            let found = find(*warning)?;
            (Some(found), Revision { action: Action::Withdraw, withdrawn: true, ..found.clone() })
        }
    };
    if after.lifted_at.is_some_and(|lifted| lifted <= after.issued_at) {
        return Err(Refused::Empty);
    }
    let others = standing.iter().filter(|other| other.warning != after.warning && !other.withdrawn);
    if let Some(other) = others.into_iter().find(|other| other.level == after.level && other.overlaps(&after))
        && !after.withdrawn
    {
        return Err(Refused::Overlap(other.warning));
    }
    after.revision += 1;
    after.done_by = by.name.trim().to_owned();
    after.done_at = now;
    after.why = by.why.clone();
    let past = changed_past(before, &after, now);
    Ok(Done { revision: after, past })
}

fn document_of(act: &Act) -> Option<&str> {
    match act {
        Act::Issue { document_no, .. } | Act::Correct { document_no, .. } => document_no.as_deref(),
        Act::Lift { .. } | Act::Withdraw { .. } => None,
    }
}

fn stands_as(one: &Revision, other: &Revision) -> bool {
    let facts = |of: &Revision| (of.level, of.issued_at, of.lifted_at, of.withdrawn);
    facts(one) == facts(other)
}

/// The part before `now` of the time in which the two differ.
fn changed_past(before: Option<&Revision>, after: &Revision, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let end = |of: &Revision| of.lifted_at.unwrap_or(now).min(now);
    let span = match before {
        None => (after.issued_at, end(after)),
        Some(before) if stands_as(before, after) => return None,
        Some(before) if before.level == after.level && !after.withdrawn && before.issued_at == after.issued_at => {
            (end(before).min(end(after)), end(before).max(end(after)))
        }
        Some(before) => (before.issued_at.min(after.issued_at), end(before).max(end(after))),
    };
    (span.0 < span.1).then_some(span)
}

/// Carries out an act: one row, the next version, a notification; all or nothing.
///
/// # Cancel safety
///
/// Dropped before the commit it leaves nothing behind.
pub async fn act(client: &mut Client, act: &Act, by: &By) -> Result<Done, LedgerError> {
    let transaction = client.transaction().await?;
    // Holds off every other act until this one has ended.
    let count_up = "INSERT INTO dataset_versions (dataset, version) VALUES ($1, 1)
         ON CONFLICT (dataset) DO UPDATE SET version = dataset_versions.version + 1";
    transaction.execute(count_up, &[&DATASET]).await?;
    let rows = transaction.query(&select("current_warnings"), &[]).await?;
    let standing = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let now: Timestamp = transaction.query_one("SELECT clock_timestamp()", &[]).await?.try_get(0)?;
    let done = next(&standing, act, by, now)?;
    let Revision {
        warning,
        revision,
        action,
        level,
        issued_at,
        lifted_at,
        withdrawn,
        document_no,
        done_by,
        done_at,
        why,
    } = &done.revision;
    transaction
        .execute(
            "INSERT INTO warning_revisions (warning, revision, action, level, issued_at, lifted_at, withdrawn,
                 document_no, done_by, done_at, why)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &[
                warning,
                revision,
                &action.name(),
                &level.name(),
                issued_at,
                lifted_at,
                withdrawn,
                document_no,
                done_by,
                done_at,
                why,
            ],
        )
        .await?;
    let entries = "UPDATE dataset_versions SET entries = (SELECT count(*) FROM current_warnings WHERE NOT withdrawn)
         WHERE dataset = $1";
    transaction.execute(entries, &[&DATASET]).await?;
    transaction.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &DATASET]).await?;
    transaction.commit().await?;
    Ok(done)
}

/// How every warning stands, or with `history` every act, in the order of warnings and acts.
pub async fn list(client: &Client, history: bool) -> Result<Vec<Revision>, LedgerError> {
    let statement = select(if history { "warning_revisions" } else { "current_warnings" });
    client.query(&statement, &[]).await?.iter().map(read).collect()
}

/// The statement behind [`list`], for transactions.
pub fn select(table: &'static str) -> String {
    format!(
        "SELECT warning, revision, action, level, issued_at, lifted_at, withdrawn, document_no, done_by, done_at, why
         FROM {table} ORDER BY warning, revision"
    )
}

pub fn read(row: &Row) -> Result<Revision, LedgerError> {
    Ok(Revision {
        warning: row.try_get(0)?,
        revision: row.try_get(1)?,
        action: Action::parse(row.try_get(2)?).ok_or(LedgerError::Corrupt)?,
        level: Level::parse(row.try_get(3)?).ok_or(LedgerError::Corrupt)?,
        issued_at: row.try_get(4)?,
        lifted_at: row.try_get(5)?,
        withdrawn: row.try_get(6)?,
        document_no: row.try_get(7)?,
        done_by: row.try_get(8)?,
        done_at: row.try_get(9)?,
        why: row.try_get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warning::Warnings;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(hour * 3600)
    }

    fn by(why: Option<&str>) -> By {
        By { name: "duty desk".into(), why: why.map(str::to_owned) }
    }

    fn issue(level: Level, from: i64, to: Option<i64>) -> Act {
        Act::Issue { level, issued_at: hour(from), lifted_at: to.map(hour), document_no: Some("2026-7".into()) }
    }

    fn correct(warning: i64) -> Act {
        Act::Correct { warning, level: None, issued_at: None, lifted_at: None, document_no: None }
    }

    /// Does the acts one after the other at hour 50, as the ledger would.
    fn after(acts: &[Act]) -> (Vec<Revision>, Vec<Option<(Timestamp, Timestamp)>>) {
        let (mut all, mut pasts) = (Vec::<Revision>::new(), Vec::new());
        for act in acts {
            let standing: Vec<Revision> = all
                .iter()
                .filter(|r| !all.iter().any(|o| o.warning == r.warning && o.revision > r.revision))
                .cloned()
                .collect();
            let done = next(&standing, act, &by(Some("a slip")), hour(50)).expect("legal");
            all.push(done.revision);
            pasts.push(done.past);
        }
        (all, pasts)
    }

    #[test]
    fn an_act_adds_a_row_and_the_last_one_counts() {
        let (acts, pasts) = after(&[
            issue(Level::Orange, 50, None),
            Act::Lift { warning: 1, lifted_at: hour(60) },
            Act::Correct {
                warning: 1,
                level: Some(Level::Red),
                issued_at: Some(hour(45)),
                lifted_at: None,
                document_no: None,
            },
            issue(Level::Yellow, 10, Some(20)),
            Act::Withdraw { warning: 2 },
        ]);
        assert_eq!(
            acts.iter().map(|act| (act.warning, act.revision)).collect::<Vec<_>>(),
            [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
        );
        let span = |from, to| Some((hour(from), hour(to)));
        assert_eq!(pasts, [None, None, span(45, 50), span(10, 20), span(10, 20)]);
        // In whatever order they are read.
        let warnings = Warnings::of_acts(5, acts.into_iter().rev().map(Revision::standing));
        let [only] = warnings.iter().collect::<Vec<_>>()[..] else { panic!("the other one was withdrawn") };
        assert_eq!((only.level, only.issued_at, only.lifted_at), (Level::Red, hour(45), Some(hour(60))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let (standing, _) = after(&[issue(Level::Orange, 10, Some(20)), issue(Level::Orange, 30, None)]);
        let refused = |act: Act, why: Option<&str>| next(&standing, &act, &by(why), hour(50)).expect_err("refused");
        assert_eq!(refused(issue(Level::Orange, 19, Some(25)), None), Refused::Overlap(1));
        assert_eq!(refused(issue(Level::Orange, 60, None), None), Refused::Overlap(2));
        assert!(next(&standing, &issue(Level::Orange, 20, Some(30)), &by(None), hour(50)).is_ok(), "they touch");
        assert!(next(&standing, &issue(Level::Red, 10, None), &by(None), hour(50)).is_ok(), "levels may overlap");
        assert_eq!(refused(issue(Level::Red, 10, Some(10)), None), Refused::Empty);
        assert_eq!(refused(Act::Lift { warning: 2, lifted_at: hour(30) }, None), Refused::Empty);
        let lifted = Refused::Lifted { warning: 1, lifted_at: hour(20) };
        assert_eq!(refused(Act::Lift { warning: 1, lifted_at: hour(40) }, None), lifted);
        assert_eq!(refused(Act::Lift { warning: 3, lifted_at: hour(40) }, None), Refused::NoSuch(3));
        assert_eq!(refused(correct(1), Some("why")), Refused::Nothing);
        assert_eq!(refused(correct(1), None), Refused::NoReason);
        assert_eq!(refused(Act::Withdraw { warning: 1 }, Some(" ")), Refused::NoReason);
        let nobody = By { name: " ".into(), why: None };
        assert_eq!(next(&standing, &issue(Level::Red, 10, None), &nobody, hour(50)), Err(Refused::NoName));
        assert_eq!(refused(issue(Level::Red, 10, None), Some("a\0b")), Refused::Text);
    }
}
