//! The difference in full, as JSON lines for the operator who asked for it. It holds plates, so it goes into the file that
//! was named and nowhere else.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use futures_util::{TryStreamExt as _, pin_mut};
use serde_json::{Value, json};
use tokio_postgres::Transaction;

use super::{super::ImportError, Outcome, statements::Tables};

/// Writes every refused, contradicting, added, changed and removed row, and the counts at the end.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    tables: &Tables,
    outcome: &Outcome,
    path: &Path,
) -> Result<(), ImportError> {
    let failed = |source| ImportError::Report { path: path.display().to_string(), source };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut line = |line: Value| writeln!(file, "{line}").map_err(failed);
    for row in outcome.read.refusals.rows() {
        line(json!({"change": "refused", "row": row.row, "reason": row.reason}))?;
    }
    for row in outcome.read.contradictions.rows() {
        line(json!({"change": "contradictory", "row": row.row, "reason": row.reason}))?;
    }
    for row in outcome.read.doubts.rows() {
        line(json!({"change": "doubtful", "row": row.row, "reason": row.reason}))?;
    }
    let rows = transaction.query_raw::<_, i32, _>(&tables.differences(), []).await?;
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await? {
        let content = |column| -> Result<Value, tokio_postgres::Error> {
            let text: Option<&str> = row.try_get(column)?;
            // What the database wrote as JSON is JSON.
            Ok(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null))
        };
        let (change, number, columns): (&str, Option<i64>, Vec<&str>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let mut entry = json!({"change": change, "row": number.filter(|&number| number > 0)});
        if change == "changed" {
            entry["columns"] = json!(columns);
        }
        if change != "added" {
            entry["old"] = content(3)?;
        }
        if change != "removed" {
            entry["new"] = content(4)?;
        }
        line(entry)?;
    }
    let Outcome { added, changed, removed, kept, read, .. } = outcome;
    line(json!({
        "change": "counts", "added": added, "changed": changed, "removed": removed, "unchanged": kept,
        "refused": read.refusals.count(), "contradictory": read.contradictions.count(),
        "rows": read.rows, "taken": read.taken(), "merged": read.merged, "blank": read.blank.count(),
        "removes_much": outcome.removes_much,
    }))?;
    file.flush().map_err(failed)
}
