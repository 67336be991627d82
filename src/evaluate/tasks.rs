//! Claiming evaluation tasks, and why no reading is missed.
//!
//! The storing transaction of a reading leaves a task in the same commit. An evaluator takes tasks in three moves:
//!
//! 1. **See.** One statement reads open tasks together with `pg_snapshot_xmax`, the horizon: every transaction that was
//!    under way while the statement's snapshot was taken has an id below it.
//! 2. **Ripen.** It waits until `pg_snapshot_xmin` has reached the horizon: every one of those transactions has ended.
//! 3. **Claim.** In one transaction it deletes the tasks (`SKIP LOCKED`, so another evaluator's are left alone), takes an
//!    advisory lock per subject in sorted order, and only then, in later statements with later snapshots, reads the facts,
//!    reconciles, and commits.
//!
//! **Proof that no reading is missed.** Let R be a reading that matters for a subject and let T be its storing transaction.
//!
//! * *R is guilty* (over a limit, or raised a finding): T leaves a task for the subject unconditionally. The task is visible
//!   only once T has committed, so whoever claims it reads R. The subject lock orders evaluators: of two that work on one
//!   subject the second starts reading after the first committed, so the last one to run sees every reading whose task
//!   was claimed, and both sets of findings.
//! * *R is innocent* (a valid pass that might split an episode, or a second lane's view of one passage): T leaves a task only
//!   if `evaluation_interest` holds the subject in the snapshot that T takes *after* it wrote R, so T has an id by then. If the
//!   interest was there, T left a task and the first case applies. If not, then every guilty transaction G of this subject
//!   committed after T's snapshot. G left a task. When an evaluator *sees* that task, T's id is either below the horizon
//!   or T started after the horizon was taken; the latter is impossible, because T had its id before its snapshot, which was
//!   before G's commit, which was before the task could be seen. So by move 2 T has ended before the claim,
//!   and the facts hold R.
//!
//! * *R is a report of an inspection*, which can end a series and begins none: it is written like an innocent reading, and
//!   its transaction asks for the interest in the same way.
//! * *R is changed by a recalculation*: it holds the subject's lock, evaluates in its own transaction what it changed, and
//!   leaves a task as a guilty reading does, so that an innocent one which committed meanwhile is seen as well.
//!
//! Waiting for ripeness costs as long as the longest transaction that was writing at the moment, some tens of
//! milliseconds; a stuck one is ended by `idle_in_transaction_session_timeout`. Without it, an episode could be published
//! and revoked a moment later, which would be right in the end and wrong towards the driver.

use std::{collections::BTreeMap, time::Duration};

use tokio_postgres::{Client, Transaction};

use crate::reading::Timestamp;

/// Tasks taken in one go: one transaction of tens of milliseconds.
pub(super) const TASKS: i64 = 500;

/// Between looks at the horizon.
const RIPENING: Duration = Duration::from_millis(3);

/// Name space of the subject locks, so that they meet no other advisory lock of the database.
const LOCK_SPACE: i64 = 0x6477_0000_0000_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Vehicle,
    Nox,
    /// Has a table of its own, `terminal_task`: see [`super::terminal::evaluator`].
    Terminal,
    /// Sightings of a plate at two places.
    Clone,
}

impl Kind {
    fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Kind::Vehicle),
            2 => Some(Kind::Nox),
            3 => Some(Kind::Terminal),
            4 => Some(Kind::Clone),
            _ => None,
        }
    }

    const fn code(self) -> i64 {
        match self {
            Kind::Vehicle => 1,
            Kind::Nox => 2,
            Kind::Terminal => 3,
            Kind::Clone => 4,
        }
    }
}

/// What to evaluate: a vehicle's whole history, a terminal's seconds around a span, a plate's sightings in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub kind: Kind,
    pub id: i64,
}

/// Tasks that were seen, with the horizon that must pass.
pub struct Seen {
    ids: Vec<i64>,
    horizon: i64,
}

impl Seen {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Subjects claimed in a transaction, each with the span its tasks name.
pub type Claimed = BTreeMap<Subject, (Timestamp, Timestamp)>;

/// Kinds of tasks that are taken. Others belong to a newer release that runs beside this one, and are left to it.
const KINDS: [i16; 3] = [1, 2, 4];

/// Move 1; `None` when there is nothing to do.
pub async fn see(client: &Client) -> Result<Option<Seen>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT id, pg_snapshot_xmax(pg_current_snapshot())::text::int8 FROM evaluation_task \
             WHERE kind = ANY($2) ORDER BY id LIMIT $1",
            &[&TASKS, &KINDS.as_slice()],
        )
        .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    Ok(Some(Seen { horizon: first.get(1), ids: rows.iter().map(|row| row.get(0)).collect() }))
}

/// Move 2.
pub async fn ripen(client: &Client, seen: &Seen) -> Result<(), tokio_postgres::Error> {
    let statement = client.prepare("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8").await?;
    loop {
        let oldest: i64 = client.query_one(&statement, &[]).await?.get(0);
        if oldest >= seen.horizon {
            return Ok(());
        }
        tokio::time::sleep(RIPENING).await;
    }
}

/// Move 3, up to the locks: from here on, later statements of the transaction read all there is to know.
pub async fn claim(transaction: &Transaction<'_>, seen: &Seen) -> Result<Claimed, tokio_postgres::Error> {
    let rows = transaction
        .query(
            "DELETE FROM evaluation_task WHERE id IN \
             (SELECT id FROM evaluation_task WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED) \
             RETURNING kind, subject, from_at, to_at",
            &[&seen.ids],
        )
        .await?;
    let mut claimed = Claimed::new();
    for row in rows {
        let Some(kind) = Kind::from_code(row.get(0)) else { continue };
        let (from, to): (Timestamp, Timestamp) = (row.get(2), row.get(3));
        let span = claimed.entry(Subject { kind, id: row.get(1) }).or_insert((from, to));
        *span = (span.0.min(from), span.1.max(to));
    }
    lock(transaction, claimed.keys().copied()).await?;
    Ok(claimed)
}

/// Keeps everybody else who follows these subjects away until the transaction ends. What is read in later statements is
/// all that was committed by those who held the locks before.
pub async fn lock(
    transaction: &Transaction<'_>,
    subjects: impl Iterator<Item = Subject>,
) -> Result<(), tokio_postgres::Error> {
    let mut locks: Vec<i64> = subjects.map(lock_key).collect();
    locks.sort_unstable();
    transaction.execute("SELECT count(pg_advisory_xact_lock(k)) FROM unnest($1::int8[]) AS u (k)", &[&locks]).await?;
    Ok(())
}

/// Two subjects may share a lock, which only makes them wait for each other.
pub(super) fn lock_key(subject: Subject) -> i64 {
    let bytes = [subject.kind.code().to_be_bytes(), subject.id.to_be_bytes()].concat();
    LOCK_SPACE | (xxhash_rust::xxh3::xxh3_64(&bytes) >> 16) as i64
}
