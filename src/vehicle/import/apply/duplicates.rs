//! Rows of one file that say the same twice or contradict each other, found in the staging table.

use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::Transaction;

use super::{
    super::{
        ImportError, Refusals,
        accounts::ReadSummary,
        rows::{CONTRADICTS_ITSELF, Stored, contradicts, shares},
    },
    statements::Tables,
};

/// Takes rows out of the staging that another row contradicts or repeats, and puts what contradicting rows agree on in their
/// place where the dataset keeps them (see the parent module).
pub(super) async fn find_duplicates<E: Stored>(
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
        if is_kept {
            // Together they are one entry.
            read.merged += numbers.len().saturating_sub(1) as u64;
        }
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
