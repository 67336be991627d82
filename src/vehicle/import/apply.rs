//! Puts one file, or the content of an earlier version, into the database as the next version: staging, contradictions set
//! aside, difference counted and applied, pointer moved, replicas notified, all in one transaction. A dry run is the same
//! transaction rolled back.
//!
//! Two imports of one dataset exclude each other by the lock on its pointer row, taken after the staging, so that a long
//! upload blocks nobody.

mod report;
mod statements;

use std::path::Path;

use futures_util::{TryStreamExt as _, pin_mut};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Transaction, binary_copy::BinaryCopyInWriter, types::Type};

use super::{
    Dataset, ImportError, Refusals,
    encoding::Inspected,
    rows::{CONTRADICTS_ITSELF, Stored, contradicts, shares},
};
use statements::Tables;

/// Entries between the file's reader and COPY: batches of [`BATCH`] rows, a few so that neither waits for the other.
pub const BATCHES_AHEAD: usize = 8;
pub const BATCH: usize = 1_024;

/// Rows with their numbers in the file.
pub type Batch<E> = Vec<(u64, E)>;

/// What the reader of the file found besides entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    pub rows: u64,
    pub refusals: Refusals,
    /// Rows kept and flagged because another row, or they themselves, say otherwise.
    pub contradictions: Refusals,
}

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

/// What the record says a version came from.
pub(crate) struct Provenance {
    file_name: String,
    bytes: i64,
    sha256: Vec<u8>,
    form: String,
    mapping: Option<String>,
    rolled_back_to: Option<i32>,
    /// Contradicting rows that were not found by reading a file.
    contradictory: Option<i64>,
}

impl Provenance {
    /// Of a file that is read now.
    pub(crate) fn of(source: &Source<'_>) -> Self {
        let Inspected { form, bytes, sha256, .. } = &source.inspected;
        Self {
            file_name: source.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: count(*bytes),
            sha256: sha256.to_vec(),
            form: form.name().to_owned(),
            mapping: source.mapping.map(Into::into),
            rolled_back_to: None,
            contradictory: None,
        }
    }
}

/// Why a readable file was not put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    DryRun,
    /// Rows were refused or contradict each other, and the import is strict.
    Strict,
    /// No row could be taken: the version in force stays rather than everything vanishing.
    NothingTaken,
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
    /// `None`: in force.
    pub withheld: Option<Withheld>,
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
    find_duplicates::<E>(&transaction, &tables, &mut read).await?;
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
    let outcome = Outcome {
        dataset: tables.dataset.clone(),
        previous_version,
        version,
        added: difference.try_get("added")?,
        changed: difference.try_get("changed")?,
        removed: difference.try_get("removed")?,
        kept: difference.try_get("kept")?,
        by_column,
        withheld: None,
        read,
    };
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
    let taken = outcome.added + outcome.changed + outcome.kept;
    if request.strict && outcome.read.refusals.count() + outcome.read.contradictions.count() > 0 {
        return Some(Withheld::Strict);
    }
    if taken == 0 && !(request.allow_empty && outcome.read.rows == 0) {
        return Some(Withheld::NothingTaken);
    }
    request.dry_run.then_some(Withheld::DryRun)
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

/// Takes rows out of the staging that another row contradicts or repeats, and puts what contradicting rows agree on in their
/// place where the dataset keeps them (see the parent module).
async fn find_duplicates<E: Stored>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    read: &mut ReadSummary,
) -> Result<(), ImportError> {
    let rows = transaction.query_raw::<_, i32, _>(&tables.duplicates(), []).await?;
    pin_mut!(rows);
    let (mut refused, mut disputed): (Vec<i64>, Vec<i64>) = Default::default();
    let (mut found, mut kept) = (Refusals::default(), Refusals::default());
    while let Some(row) = rows.try_next().await? {
        let numbers: Vec<i64> = row.try_get("numbers")?;
        let contents: i64 = row.try_get("contents")?;
        let mut columns: Vec<&str> = row.try_get("columns")?;
        // It follows from the others.
        columns.retain(|column| *column != "contradictory");
        let is_kept = contents > 1 && E::AGREES;
        let taken = if contents > 1 { 0 } else { 1 };
        for &number in numbers.iter().skip(taken) {
            let other = numbers.iter().find(|other| **other != number).copied().unwrap_or_default();
            let (row, other) = (u64::try_from(number).unwrap_or_default(), u64::try_from(other).unwrap_or_default());
            if is_kept {
                kept.push(row, contradicts::<E>(other, &columns));
                disputed.push(number);
                continue;
            }
            refused.push(number);
            found.push(
                row,
                match contents {
                    1 => format!("repeats row {other}"),
                    _ => format!("same {} as row {other} with other content: neither is taken", E::KEY_WORDS),
                },
            );
        }
    }
    read.refusals.merge(found);
    read.contradictions.merge(kept);
    transaction.execute("DELETE FROM staging WHERE row_number = ANY($1)", &[&refused]).await?;
    if E::AGREES {
        let [aside, delete, agreed] = tables.set_aside();
        transaction.execute(&aside, &[&disputed]).await?;
        transaction.execute(&delete, &[&disputed]).await?;
        if tables.contradictions.is_some() {
            note_flagged(transaction, read).await?;
        }
        transaction.execute(&agreed, &[]).await?;
    }
    flag_shared(transaction, tables, read).await
}

/// Flags and notes the rows that share what only one vehicle has.
async fn flag_shared(
    transaction: &Transaction<'_>,
    tables: &Tables,
    read: &mut ReadSummary,
) -> Result<(), ImportError> {
    let Some((column, statement)) = tables.flag_shared() else { return Ok(()) };
    let rows = transaction.query_raw::<_, i32, _>(&statement, []).await?;
    pin_mut!(rows);
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    let mut flagged = Refusals::default();
    while let Some(row) = rows.try_next().await? {
        flagged.push(number(row.try_get(0)?), shares(number(row.try_get(1)?), column));
    }
    read.contradictions.merge(flagged);
    Ok(())
}

/// Notes the staged rows that are marked as contradictory by themselves.
async fn note_flagged(transaction: &Transaction<'_>, read: &mut ReadSummary) -> Result<(), ImportError> {
    let rows = transaction.query_raw::<_, i32, _>("SELECT row_number FROM staging WHERE contradictory", []).await?;
    pin_mut!(rows);
    let mut flagged = Refusals::default();
    while let Some(row) = rows.try_next().await? {
        let number: i64 = row.try_get(0)?;
        flagged.push(u64::try_from(number).unwrap_or_default(), CONTRADICTS_ITSELF);
    }
    read.contradictions.merge(flagged);
    Ok(())
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The version in force and the next one. Holds off other imports of the dataset until the transaction ends.
pub(crate) async fn lock_version(transaction: &Transaction<'_>, dataset: &str) -> Result<(i32, i32), ImportError> {
    let make = "INSERT INTO dataset_versions (dataset, version) VALUES ($1, 0) ON CONFLICT DO NOTHING";
    transaction.execute(make, &[&dataset]).await?;
    let lock = "SELECT version FROM dataset_versions WHERE dataset = $1 FOR UPDATE";
    let current: i32 = transaction.query_one(lock, &[&dataset]).await?.try_get(0)?;
    let highest = "SELECT COALESCE(max(version), 0) FROM imports WHERE dataset = $1";
    let highest: i32 = transaction.query_one(highest, &[&dataset]).await?.try_get(0)?;
    Ok((current, current.max(highest) + 1))
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

/// Enters the import in the record of who imported what, and moves the pointer of its dataset.
pub(crate) async fn record(
    transaction: &Transaction<'_>,
    request: &Request<'_>,
    provenance: &Provenance,
    outcome: &Outcome,
) -> Result<(), ImportError> {
    // When it was put in force, and not when minutes of reading began: until then the version before was judged by.
    let supersede = "UPDATE imports SET state = 'superseded' WHERE dataset = $1 AND state = 'in_force'";
    transaction.execute(supersede, &[&outcome.dataset]).await?;
    let import: i64 = transaction
        .query_one(
            "INSERT INTO imports (dataset, version, state, imported_by, file_name, file_bytes, file_sha256, file_encoding,
                 rows_read, rows_added, rows_changed, rows_removed, rows_kept, rows_refused, rows_contradictory, mapping,
                 rolled_back_to, imported_at)
             VALUES ($1, $2, 'in_force', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, clock_timestamp())
             RETURNING import_id",
            &[
                &outcome.dataset,
                &outcome.version,
                &request.imported_by,
                &provenance.file_name,
                &provenance.bytes,
                &provenance.sha256,
                &provenance.form,
                &count(outcome.read.rows),
                &outcome.added,
                &outcome.changed,
                &outcome.removed,
                &outcome.kept,
                &count(outcome.read.refusals.count()),
                &provenance.contradictory.unwrap_or_else(|| count(outcome.read.contradictions.count())),
                &provenance.mapping,
                &provenance.rolled_back_to,
            ],
        )
        .await?
        .try_get(0)?;
    // Both are what the operator was told about single rows.
    let rows = || outcome.read.refusals.rows().iter().chain(outcome.read.contradictions.rows());
    let numbers: Vec<i64> = rows().map(|refused| count(refused.row)).collect();
    let reasons: Vec<&str> = rows().map(|refused| refused.reason.as_str()).collect();
    let refusals = "INSERT INTO import_refusals SELECT $1, * FROM unnest($2::bigint[], $3::text[])";
    transaction.execute(refusals, &[&import, &numbers, &reasons]).await?;
    let entries = outcome.added + outcome.changed + outcome.kept;
    let point = "UPDATE dataset_versions SET version = $2, entries = $3 WHERE dataset = $1";
    transaction.execute(point, &[&outcome.dataset, &outcome.version, &entries]).await?;
    transaction.execute("SELECT pg_notify($1, $2)", &[&crate::vehicle::watch::CHANNEL, &outcome.dataset]).await?;
    Ok(())
}
