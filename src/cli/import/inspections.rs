//! `import inspections`: the file is read whole, then stored a few thousand rows a transaction.
//!
//! Unlike the versions of a register this is a journal, so an import that was interrupted is completed by the same file
//! again. A dry run is the same work with every transaction rolled back; with `--strict` it goes first.

use tokio_postgres::Client;

use super::{super::progress::Progress, Notes, blocking};
use crate::vehicle::import::{
    ImportError,
    accounts::ReadSummary,
    apply::{Outcome, Provenance, Request, Source, Withheld, lock_version, record},
    inspections::{InspectionRow, Origin, Stored, batches, refuse_repeats, store},
    sheet::{Reading, Sheet},
};

type Rows = Vec<(u64, InspectionRow)>;

pub(super) async fn import(
    client: &mut Client,
    request: &Request<'_>,
    source: &Source<'_>,
    reading: &Reading,
) -> Result<(Outcome, Notes), ImportError> {
    let (rows, mut read, mut notes) = read(source, reading).await?;
    let rehearse = request.dry_run || request.strict;
    let mut sums =
        if rehearse { store_all(client, request, source, &rows, Then::Undo).await? } else { Stored::default() };
    let strict = request.strict && read.refusals.count() + sums.not_taken.count() > 0;
    let empty = rows.is_empty() && !(request.allow_empty && read.refusals.count() == 0);
    let withheld = match () {
        () if strict => Some(Withheld::Strict),
        () if empty => Some(Withheld::NothingTaken),
        () if request.dry_run => Some(Withheld::DryRun),
        () => None,
    };
    if withheld.is_none() {
        sums = store_all(client, request, source, &rows, Then::Keep).await?;
    }
    // Under --strict nothing was kept that could be decided.
    notes.conflicts = if withheld == Some(Withheld::Strict) { 0 } else { sums.conflicts };
    read.refusals.merge(sums.not_taken);
    let transaction = client.transaction().await?;
    let dataset = request.dataset.to_string();
    let (previous_version, version) = lock_version(&transaction, &dataset).await?;
    let outcome = Outcome {
        dataset,
        previous_version,
        version,
        added: sums.added,
        changed: sums.corrected,
        removed: 0,
        kept: sums.repeated,
        by_column: Vec::new(),
        read,
        // A journal loses nothing.
        removes_much: false,
        withheld,
    };
    if outcome.withheld.is_none() {
        record(&transaction, request, &Provenance::of(source), &outcome).await?;
        transaction.commit().await?;
    }
    Ok((outcome, notes))
}

async fn read(source: &Source<'_>, reading: &Reading) -> Result<(Rows, ReadSummary, Notes), ImportError> {
    let (path, form, reading) = (source.path.to_owned(), source.inspected.form, reading.clone());
    let (taken, read, sheet) = blocking(move || {
        let mut sheet = Sheet::open(&path, form, &reading, InspectionRow::HEADER)?;
        let (mut taken, mut read) = (Rows::new(), ReadSummary::default());
        sheet.read(InspectionRow::parse, &mut read, |number, row| {
            taken.push((number, row));
            true
        })?;
        let taken = refuse_repeats(taken, &mut read.refusals);
        read.balance(taken.len() as u64)?;
        Ok((taken, read, sheet))
    })
    .await?;
    Ok((taken, read, Notes::of(source, &sheet)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Keep,
    Undo,
}

async fn store_all(
    client: &mut Client,
    request: &Request<'_>,
    source: &Source<'_>,
    rows: &Rows,
    then: Then,
) -> Result<Stored, ImportError> {
    let origin = Origin { imported_by: request.imported_by, sha256: source.inspected.sha256 };
    let mut progress = Progress::new(&request.dataset.to_string(), "rows", rows.len() as u64);
    let mut sums = Stored::default();
    for batch in batches(rows) {
        let transaction = client.transaction().await?;
        let stored = store(&transaction, origin, batch).await?;
        match then {
            Then::Keep => transaction.commit().await?,
            Then::Undo => transaction.rollback().await?,
        }
        sums.add(stored);
        progress.advance(batch.len() as u64);
    }
    progress.finish();
    Ok(sums)
}
