//! Tables as operators send them: one content in every form, with any byte damaged, and the files that once went wrong.

mod cases;
mod damage;
mod forms;

use std::path::{Path, PathBuf};

use super::{
    ImportError,
    accounts::ReadSummary,
    encoding::{EncodingError, Foreign},
    offline::inspect_file,
    settle::settle,
    sheet::{Cells, Columns, Reading, Sheet},
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import/cases").join(name)
}

/// Right rows with their numbers, and the account of all rows, before duplicates are looked for.
type Read<E> = (Vec<(u64, E)>, ReadSummary);

fn read<E: PartialEq>(
    path: &Path,
    reading: &Reading,
    columns: Columns,
    parse: impl Fn(&Cells) -> Result<E, String> + Copy,
) -> Result<Read<E>, ImportError> {
    let mut inspected = inspect_file(path)?;
    settle(path, &mut inspected, reading, columns, parse)?;
    let mut sheet = Sheet::open(path, inspected.form, reading, columns)?;
    let (mut taken, mut summary) = (Vec::new(), ReadSummary::default());
    sheet.read(parse, &mut summary, |number, row| {
        taken.push((number, row));
        true
    })?;
    summary.balance(taken.len() as u64)?;
    Ok((taken, summary))
}

/// The refusals of a file, a line each.
fn refusals(summary: &ReadSummary) -> String {
    summary.refusals.rows().iter().map(|refused| format!("row {}: {}\n", refused.row, refused.reason)).collect()
}

/// An error and its causes in one line.
fn told(error: &ImportError) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
