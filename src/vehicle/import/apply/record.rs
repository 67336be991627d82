//! The record of who imported what, and the pointer to the version in force.

use tokio_postgres::Transaction;

use super::{
    super::{ImportError, encoding::Inspected},
    Outcome, Request, Source, count,
};

/// What the record says a version came from.
pub(crate) struct Provenance {
    pub(super) file_name: String,
    pub(super) bytes: i64,
    pub(super) sha256: Vec<u8>,
    pub(super) form: String,
    pub(super) mapping: Option<String>,
    pub(super) rolled_back_to: Option<i32>,
    /// Contradicting rows that were not found by reading a file.
    pub(super) contradictory: Option<i64>,
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
