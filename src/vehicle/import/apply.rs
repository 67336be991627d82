//! Puts one file into the database as one version: staging by COPY, duplicates refused, difference counted and applied,
//! pointer moved, replicas notified, all in one transaction. A dry run is the same transaction rolled back.
//!
//! Two imports of one dataset exclude each other by the lock on its pointer row, taken after the staging, so that a long
//! upload blocks nobody.

use std::path::Path;

use futures_util::{TryStreamExt as _, pin_mut};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Transaction, binary_copy::BinaryCopyInWriter, types::Type};

use super::{
    Dataset, ImportError, Refusals,
    encoding::Inspected,
    rows::{Column, Stored},
};

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
}

/// Who imports what from where, and how strictly.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub dataset: Dataset,
    pub file: &'a Path,
    pub inspected: Inspected,
    pub imported_by: &'a str,
    /// Refuse the file when one row is refused.
    pub strict: bool,
    pub dry_run: bool,
    /// Accept a file without a single row, which empties the dataset.
    pub allow_empty: bool,
}

/// Why a readable file was not put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    DryRun,
    /// Rows were refused and the import is strict.
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
    mut batches: mpsc::Receiver<Batch<E>>,
    read: impl Future<Output = Result<ReadSummary, ImportError>>,
) -> Result<Outcome, ImportError> {
    let tables = Tables::of::<E>(&request.dataset);
    let transaction = client.transaction().await?;
    stage(&transaction, &tables, &mut batches).await?;
    let mut read = read.await?;
    refuse_duplicates::<E>(&transaction, &tables, &mut read.refusals).await?;
    let (previous_version, version) = lock_version(&transaction, &tables.dataset).await?;
    let difference = transaction.query_one(&tables.difference(), &[]).await?;
    let outcome = Outcome {
        dataset: tables.dataset.clone(),
        previous_version,
        version,
        added: difference.try_get("added")?,
        changed: difference.try_get("changed")?,
        removed: difference.try_get("removed")?,
        kept: difference.try_get("kept")?,
        withheld: None,
        read,
    };
    if let Some(reason) = withheld(request, &outcome) {
        transaction.rollback().await?;
        return Ok(Outcome { withheld: Some(reason), ..outcome });
    }
    replace(&transaction, &tables, version).await?;
    record(&transaction, request, &outcome).await?;
    transaction.commit().await?;
    Ok(outcome)
}

fn withheld(request: &Request, outcome: &Outcome) -> Option<Withheld> {
    let taken = outcome.added + outcome.changed + outcome.kept;
    if request.strict && outcome.read.refusals.count() > 0 {
        return Some(Withheld::Strict);
    }
    if taken == 0 && !(request.allow_empty && outcome.read.rows == 0) {
        return Some(Withheld::NothingTaken);
    }
    request.dry_run.then_some(Withheld::DryRun)
}

async fn stage<E: Stored>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    batches: &mut mpsc::Receiver<Batch<E>>,
) -> Result<(), ImportError> {
    transaction.batch_execute(&tables.create_staging()).await?;
    let sink = transaction.copy_in(&tables.copy()).await?;
    let types: Vec<Type> = std::iter::once(Type::INT8).chain(E::COLUMNS.iter().map(|c| c.of.clone())).collect();
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    while let Some(batch) = batches.recv().await {
        for (number, row) in &batch {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            let mut values = row.values();
            values.insert(0, &number);
            writer.as_mut().write(&values).await?;
        }
    }
    writer.finish().await?;
    transaction.batch_execute("ANALYZE staging").await?;
    Ok(())
}

/// Takes rows out of the staging that another row contradicts or repeats (see the parent module).
async fn refuse_duplicates<E: Stored>(
    transaction: &Transaction<'_>,
    tables: &Tables,
    refusals: &mut Refusals,
) -> Result<(), ImportError> {
    let rows = transaction.query_raw::<_, i32, _>(&tables.duplicates(), []).await?;
    pin_mut!(rows);
    let mut refused: Vec<i64> = Vec::new();
    let mut found = Refusals::default();
    while let Some(row) = rows.try_next().await? {
        let numbers: Vec<i64> = row.try_get("numbers")?;
        let contents: i64 = row.try_get("contents")?;
        let taken = if contents > 1 { 0 } else { 1 };
        for number in numbers.iter().skip(taken) {
            let other = numbers.iter().find(|other| *other != number).copied().unwrap_or_default();
            let reason = if contents > 1 {
                format!("same {} as row {other} with other content: neither is taken", E::KEY_WORDS)
            } else {
                format!("repeats row {other}")
            };
            found.push(u64::try_from(*number).unwrap_or_default(), reason);
            refused.push(*number);
        }
    }
    refusals.merge(found);
    transaction.execute("DELETE FROM staging WHERE row_number = ANY($1)", &[&refused]).await?;
    Ok(())
}

/// The version in force and the next one. Holds off other imports of the dataset until the transaction ends.
async fn lock_version(transaction: &Transaction<'_>, dataset: &str) -> Result<(i32, i32), ImportError> {
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
    if let Some(identities) = tables.identities {
        transaction.batch_execute(identities).await?;
    }
    Ok(())
}

async fn record(transaction: &Transaction<'_>, request: &Request<'_>, outcome: &Outcome) -> Result<(), ImportError> {
    let supersede = "UPDATE imports SET state = 'superseded' WHERE dataset = $1 AND state = 'in_force'";
    transaction.execute(supersede, &[&outcome.dataset]).await?;
    let file_name = request.file.file_name().unwrap_or_default().to_string_lossy();
    let Inspected { encoding, bytes, sha256, .. } = &request.inspected;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let import: i64 = transaction
        .query_one(
            "INSERT INTO imports (dataset, version, state, imported_by, file_name, file_bytes, file_sha256, file_encoding,
                 rows_read, rows_added, rows_changed, rows_removed, rows_kept, rows_refused)
             VALUES ($1, $2, 'in_force', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING import_id",
            &[
                &outcome.dataset,
                &outcome.version,
                &request.imported_by,
                &file_name,
                &count(*bytes),
                &sha256.as_slice(),
                &encoding.name(),
                &count(outcome.read.rows),
                &outcome.added,
                &outcome.changed,
                &outcome.removed,
                &outcome.kept,
                &count(outcome.read.refusals.count()),
            ],
        )
        .await?
        .try_get(0)?;
    let rows = outcome.read.refusals.rows();
    let numbers: Vec<i64> = rows.iter().map(|refused| count(refused.row)).collect();
    let reasons: Vec<&str> = rows.iter().map(|refused| refused.reason.as_str()).collect();
    let refusals = "INSERT INTO import_refusals SELECT $1, * FROM unnest($2::bigint[], $3::text[])";
    transaction.execute(refusals, &[&import, &numbers, &reasons]).await?;
    let entries = outcome.added + outcome.changed + outcome.kept;
    let point = "UPDATE dataset_versions SET version = $2, entries = $3 WHERE dataset = $1";
    transaction.execute(point, &[&outcome.dataset, &outcome.version, &entries]).await?;
    transaction.execute("SELECT pg_notify($1, $2)", &[&crate::vehicle::watch::CHANNEL, &outcome.dataset]).await?;
    Ok(())
}

/// The statements of one dataset. Names and expressions are constants of this crate; the one text that comes from an
/// operator, a list's name, holds nothing but letters, digits and underscores ([`super::ListName`]).
struct Tables {
    dataset: String,
    table: &'static str,
    columns: String,
    /// `col, col` with `@.` before each.
    aliased: String,
    key: &'static [&'static str],
    /// Column and value that all rows of the dataset share.
    scope: Option<(&'static str, String)>,
    identities: Option<&'static str>,
}

impl Tables {
    fn of<E: Stored>(dataset: &Dataset) -> Self {
        let names = || E::COLUMNS.iter().map(|Column { name, .. }| *name);
        Self {
            dataset: dataset.to_string(),
            table: E::TABLE,
            columns: names().collect::<Vec<_>>().join(", "),
            aliased: names().map(|name| format!("@.{name}")).collect::<Vec<_>>().join(", "),
            key: E::KEY,
            scope: match dataset {
                Dataset::List(name) => Some(("list", name.to_string())),
                _ => None,
            },
            identities: match dataset {
                Dataset::Stations => Some(STATION_IDENTITIES),
                Dataset::Devices => Some(DEVICE_IDENTITIES),
                _ => None,
            },
        }
    }

    fn create_staging(&self) -> String {
        let Self { columns, table, .. } = self;
        format!(
            "DROP TABLE IF EXISTS pg_temp.staging;
             CREATE TEMP TABLE staging ON COMMIT DROP AS
             SELECT 0::bigint AS row_number, {columns} FROM {table} WITH NO DATA"
        )
    }

    fn copy(&self) -> String {
        format!("COPY staging (row_number, {}) FROM STDIN (FORMAT binary)", self.columns)
    }

    fn duplicates(&self) -> String {
        let key = self.key.join(", ").replace('@', "s");
        let values = self.aliased.replace('@', "s");
        format!(
            "SELECT array_agg(s.row_number ORDER BY s.row_number) AS numbers, count(DISTINCT ({values})) AS contents
             FROM staging s WHERE ({key}) IN (SELECT {key} FROM staging s GROUP BY {key} HAVING count(*) > 1)
             GROUP BY {key}"
        )
    }

    /// The rows in force.
    fn in_force(&self, alias: &str) -> String {
        let scope = self.scope.as_ref().map(|(column, value)| format!(" AND {alias}.{column} = '{value}'"));
        format!("{alias}.to_version IS NULL{}", scope.unwrap_or_default())
    }

    fn same_key(&self, a: &str, b: &str) -> String {
        let equal = self.key.iter().map(|key| format!("{} = {}", key.replace('@', a), key.replace('@', b)));
        equal.collect::<Vec<_>>().join(" AND ")
    }

    fn same_content(&self, a: &str, b: &str) -> String {
        format!("({}) IS NOT DISTINCT FROM ({})", self.aliased.replace('@', a), self.aliased.replace('@', b))
    }

    fn difference(&self) -> String {
        let Self { table, .. } = self;
        let (in_force, same_key, same) = (self.in_force("t"), self.same_key("s", "c"), self.same_content("s", "c"));
        format!(
            "SELECT count(*) FILTER (WHERE c.from_version IS NULL) AS added,
                    count(*) FILTER (WHERE s.row_number IS NULL) AS removed,
                    count(*) FILTER (WHERE c.from_version IS NOT NULL AND s.row_number IS NOT NULL AND NOT ({same}))
                        AS changed,
                    count(*) FILTER (WHERE c.from_version IS NOT NULL AND s.row_number IS NOT NULL AND {same}) AS kept
             FROM staging s FULL JOIN (SELECT * FROM {table} t WHERE {in_force}) c ON {same_key}"
        )
    }

    /// Ends every row in force that the file does not name, or names with other content.
    fn close(&self) -> String {
        let Self { table, .. } = self;
        let (in_force, same_key, same) = (self.in_force("t"), self.same_key("s", "t"), self.same_content("s", "t"));
        format!(
            "UPDATE {table} t SET to_version = $1
             WHERE {in_force} AND NOT EXISTS (SELECT FROM staging s WHERE {same_key} AND {same})"
        )
    }

    /// Begins every row of the file that is not in force (any more).
    fn insert(&self) -> String {
        let Self { table, columns, .. } = self;
        let (in_force, same_key) = (self.in_force("t"), self.same_key("s", "t"));
        let (scope_column, scope_value) = match &self.scope {
            Some((column, value)) => (format!("{column}, "), format!("'{value}', ")),
            None => Default::default(),
        };
        format!(
            "INSERT INTO {table} ({scope_column}{columns}, from_version)
             SELECT {scope_value}{}, $1::integer FROM staging s
             WHERE NOT EXISTS (SELECT FROM {table} t WHERE {in_force} AND {same_key})",
            self.aliased.replace('@', "s")
        )
    }
}

/// Gives every station of the file its identity and sets `known` by the version now in force.
const STATION_IDENTITIES: &str = "
    INSERT INTO stations (station_id)
        SELECT s.station_id FROM staging s WHERE NOT EXISTS (SELECT FROM stations t WHERE t.station_id = s.station_id)
        ON CONFLICT DO NOTHING;
    UPDATE stations t SET known = NOT t.known
        WHERE t.known IS DISTINCT FROM EXISTS (
            SELECT FROM station_versions v WHERE v.station_id = t.station_id AND v.to_version IS NULL)";

const DEVICE_IDENTITIES: &str = "
    INSERT INTO devices (device_id, kind)
        SELECT s.device_id, s.kind FROM staging s
        WHERE NOT EXISTS (SELECT FROM devices t WHERE t.device_id = s.device_id AND t.kind = s.kind)
        ON CONFLICT DO NOTHING;
    UPDATE devices t SET known = NOT t.known
        WHERE t.known IS DISTINCT FROM EXISTS (
            SELECT FROM device_versions v
            WHERE v.device_id = t.device_id AND v.kind = t.kind AND v.to_version IS NULL)";
