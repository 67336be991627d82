//! Puts one file, or the content of an earlier version, into the database as the next version: staging, contradictions set
//! aside, difference counted and applied, pointer moved, replicas notified, all in one transaction. A dry run is the same
//! transaction rolled back.
//!
//! Two imports of one dataset exclude each other by the lock on its pointer row, taken after the staging, so that a long
//! upload blocks nobody.

mod duplicates;
mod record;
mod report;
mod statements;

use std::path::Path;

use futures_util::pin_mut;
use tokio::sync::mpsc;
use tokio_postgres::{Client, Transaction, binary_copy::BinaryCopyInWriter, types::Type};

use super::{Dataset, ImportError, accounts::ReadSummary, encoding::Inspected, rows::Stored};
pub(crate) use record::{Provenance, lock_version, record};
use statements::Tables;

/// Entries between the file's reader and COPY: batches of [`BATCH`] rows, a few so that neither waits for the other.
pub const BATCHES_AHEAD: usize = 8;
pub const BATCH: usize = 1_024;

/// Rows with their numbers in the file.
pub type Batch<E> = Vec<(u64, E)>;

/// Who imports what from where, and how strictly.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub dataset: Dataset,
    pub imported_by: &'a str,
    /// Refuse the file when one row is refused or contradictory.
    pub strict: bool,
    pub dry_run: bool,
    /// Accept a file without a single row, which empties the dataset.
    pub allow_empty: bool,
    /// Accept that more of what is in force goes than [`max_removed_share`](Self::max_removed_share).
    pub yes: bool,
    /// The share of what is in force, 0..=1, that may go without being asked for.
    pub max_removed_share: f64,
    /// Where the whole difference is written.
    pub report: Option<&'a Path>,
    /// Told what the database is doing once all rows are read.
    pub on_phase: fn(&str),
}

/// A file about to be imported.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    pub path: &'a Path,
    pub inspected: Inspected,
    /// The mapping through which it is read.
    pub mapping: Option<&'a str>,
}

/// Why a readable file was not put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    DryRun,
    /// Rows were refused or contradict each other, and the import is strict.
    Strict,
    /// No row could be taken: the version in force stays rather than everything vanishing.
    NothingTaken,
    /// More of what is in force would go than may without `--yes`.
    RemovesMuch,
}

/// The difference between the file and the version that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub dataset: String,
    pub previous_version: i32,
    /// The version made, or that would have been.
    pub version: i32,
    pub added: i64,
    pub changed: i64,
    pub removed: i64,
    pub kept: i64,
    /// Changed rows by column, those without any left out.
    pub by_column: Vec<(&'static str, i64)>,
    pub read: ReadSummary,
    /// More of what was in force goes than may without `--yes`, whether it was given or not.
    pub removes_much: bool,
    /// `None`: in force.
    pub withheld: Option<Withheld>,
}

impl Outcome {
    /// Entries that were in force before.
    pub fn before(&self) -> i64 {
        self.changed + self.removed + self.kept
    }

    /// Entries of the version made.
    pub fn after(&self) -> i64 {
        self.added + self.changed + self.kept
    }
}

/// Carries out an import of rows that arrive through `batches`; `read` ends with what else the reader found.
///
/// # Cancel safety
///
/// Dropped at any point before the commit it leaves nothing behind.
pub async fn apply<E: Stored>(
    client: &mut Client,
    request: &Request<'_>,
    source: &Source<'_>,
    mut batches: mpsc::Receiver<Batch<E>>,
    read: impl Future<Output = Result<ReadSummary, ImportError>>,
) -> Result<Outcome, ImportError> {
    let tables = Tables::of::<E>(&request.dataset);
    let transaction = client.transaction().await?;
    prepare(&transaction, &tables).await?;
    copy(&transaction, &tables, &mut batches).await?;
    let mut read = read.await?;
    (request.on_phase)("looking for repeated and contradicting rows");
    transaction.batch_execute("ANALYZE staging").await?;
    duplicates::find_duplicates::<E>(&transaction, &tables, &mut read).await?;
    put_in_force(transaction, &tables, request, Provenance::of(source), read).await
}

/// Makes a version with the content of an earlier one.
///
/// # Cancel safety
///
/// As [`apply`].
pub async fn roll_back<E: Stored>(client: &mut Client, request: &Request<'_>, to: i32) -> Result<Outcome, ImportError> {
    let tables = Tables::of::<E>(&request.dataset);
    let transaction = client.transaction().await?;
    let origin = "SELECT file_name, file_bytes, file_sha256, file_encoding, mapping, rows_contradictory FROM imports
                  WHERE dataset = $1 AND version = $2";
    let Some(origin) = transaction.query_opt(origin, &[&tables.dataset, &to]).await? else {
        return Err(ImportError::NoVersion { dataset: tables.dataset, version: to });
    };
    prepare(&transaction, &tables).await?;
    let rows = transaction.execute(&tables.stage_version(to), &[]).await?;
    if let Some(statement) = tables.stage_contradictions(to) {
        transaction.execute(&statement, &[]).await?;
    }
    transaction.batch_execute("ANALYZE staging").await?;
    let provenance = Provenance {
        file_name: origin.try_get(0)?,
        bytes: origin.try_get(1)?,
        sha256: origin.try_get(2)?,
        form: origin.try_get(3)?,
        mapping: origin.try_get(4)?,
        rolled_back_to: Some(to),
        contradictory: Some(origin.try_get(5)?),
    };
    let read = ReadSummary { rows, ..ReadSummary::default() };
    put_in_force(transaction, &tables, request, provenance, read).await
}

/// Compares what is staged with what is in force and puts it in its place, or says why not.
async fn put_in_force(
    transaction: Transaction<'_>,
    tables: &Tables,
    request: &Request<'_>,
    provenance: Provenance,
    read: ReadSummary,
) -> Result<Outcome, ImportError> {
    let (previous_version, version) = lock_version(&transaction, &tables.dataset).await?;
    (request.on_phase)("comparing with the version in force");
    let difference = transaction.query_one(&tables.difference(), &[]).await?;
    let by_column: Vec<i64> = difference.try_get("by_column")?;
    let by_column = tables.names().iter().copied().zip(by_column).filter(|(_, count)| *count > 0).collect();
    let mut outcome = Outcome {
        dataset: tables.dataset.clone(),
        previous_version,
        version,
        added: difference.try_get("added")?,
        changed: difference.try_get("changed")?,
        removed: difference.try_get("removed")?,
        kept: difference.try_get("kept")?,
        by_column,
        removes_much: false,
        withheld: None,
        read,
    };
    outcome.read.balance(u64::try_from(outcome.after()).unwrap_or_default())?;
    outcome.removes_much = outcome.removed as f64 > outcome.before() as f64 * request.max_removed_share;
    if let Some(path) = request.report {
        (request.on_phase)("writing the report");
        report::write(&transaction, tables, &outcome, path).await?;
    }
    if let Some(reason) = withheld(request, &outcome) {
        transaction.rollback().await?;
        return Ok(Outcome { withheld: Some(reason), ..outcome });
    }
    (request.on_phase)("putting the new version in force");
    replace(&transaction, tables, version).await?;
    record(&transaction, request, &provenance, &outcome).await?;
    transaction.commit().await?;
    Ok(outcome)
}

fn withheld(request: &Request, outcome: &Outcome) -> Option<Withheld> {
    let read = &outcome.read;
    if request.strict && read.refusals.count() + read.contradictions.count() > 0 {
        return Some(Withheld::Strict);
    }
    if outcome.after() == 0 && !(request.allow_empty && read.refusals.count() == 0) {
        return Some(Withheld::NothingTaken);
    }
    if request.dry_run {
        return Some(Withheld::DryRun);
    }
    (outcome.removes_much && !request.yes).then_some(Withheld::RemovesMuch)
}

/// Makes the tables to work in.
async fn prepare(transaction: &Transaction<'_>, tables: &Tables) -> Result<(), ImportError> {
    // Ten million rows are sorted and joined a few times; the server's usual few megabytes would spill each of them into
    // hundreds of files. Only for this transaction.
    transaction.batch_execute("SET LOCAL work_mem = '256MB'; SET LOCAL jit = off").await?;
    transaction.batch_execute(&tables.create_staging()).await?;
    Ok(())
}

async fn copy<E: Stored>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    batches: &mut mpsc::Receiver<Batch<E>>,
) -> Result<(), ImportError> {
    let sink = transaction.copy_in(&tables.copy()).await?;
    let types: Vec<Type> = std::iter::once(Type::INT8).chain(E::COLUMNS.iter().map(|c| c.of.clone())).collect();
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    while let Some(batch) = batches.recv().await {
        for (number, row) in &batch {
            let number = count(*number);
            let mut values = row.values();
            values.insert(0, &number);
            writer.as_mut().write(&values).await?;
        }
    }
    writer.finish().await?;
    Ok(())
}

async fn replace(transaction: &Transaction<'_>, tables: &Tables, version: i32) -> Result<(), ImportError> {
    transaction.execute(&tables.close(), &[&version]).await?;
    transaction.execute(&tables.insert(), &[&version]).await?;
    for statement in tables.replace_contradictions().into_iter().flatten() {
        transaction.execute(&statement, &[&version]).await?;
    }
    if let Some(identities) = tables.identities {
        transaction.batch_execute(identities).await?;
    }
    Ok(())
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
