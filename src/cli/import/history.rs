//! Who imported what, when, from which file, and what it changed.

use std::io::Write as _;

use tokio_postgres::Client;

use crate::{
    reading::Timestamp,
    vehicle::import::{Dataset, ImportError},
};

/// Prints every version, the latest last; of one dataset or of all.
pub async fn show(client: &Client, dataset: Option<&Dataset>) -> Result<(), ImportError> {
    let text = text(client, dataset).await?;
    // Standard output may be closed early, by `head` for instance.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

pub async fn text(client: &Client, dataset: Option<&Dataset>) -> Result<String, ImportError> {
    let rows = client
        .query(
            "SELECT dataset, version, state = 'in_force', imported_at, imported_by, file_name, file_sha256, rows_added,
                    rows_changed, rows_removed, rows_kept, rows_refused, rows_contradictory, mapping, rolled_back_to
             FROM imports WHERE $1::text IS NULL OR dataset = $1 ORDER BY dataset, version",
            &[&dataset.map(Dataset::to_string)],
        )
        .await?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        let (dataset, version, in_force): (&str, i32, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (at, by, file): (Timestamp, &str, &str) = (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
        let sha256: &[u8] = row.try_get(6)?;
        let counts = (7..13).map(|column| row.try_get::<_, i64>(column)).collect::<Result<Vec<_>, _>>()?;
        let names = ["added", "changed", "removed", "unchanged", "refused", "contradictory"];
        let counts = names.iter().zip(counts).map(|(name, count)| format!("{name} {count}"));
        let mapping = row.try_get::<_, Option<&str>>(13)?.map(|name| format!(" through {name}")).unwrap_or_default();
        let origin = match row.try_get::<_, Option<i32>>(14)? {
            Some(version) => format!("back to version {version}: {file}"),
            None => file.to_owned(),
        };
        lines.push(format!(
            "{dataset} version {version}{} {at} by {by}, {origin}{mapping}, sha256 {}, {}\n",
            if in_force { " (in force)" } else { "" },
            hex::encode(sha256),
            counts.collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(if lines.is_empty() { "nothing was imported yet\n".into() } else { lines.concat() })
}
