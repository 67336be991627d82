//! A sheet of an XLSX workbook as rows of text, cell by cell: never a grid, which a single far cell would blow up.
//!
//! - Numbers come out as they are written: `3`, not `3.0`. One of more than fifteen digits was rounded by the workbook,
//!   so its row is refused: a VIN or document number of which the last digits are made up is worse than none.
//! - Dates come out as `2016-09-30` or `2016-09-30 08:15:00`. A date that the workbook holds as a bare number is a number.
//! - An error value (`#N/A`) refuses its row.
//! - The first sheet is read unless another is named; those passed over are told.

use std::{fs::File, io::BufReader, path::Path};

use calamine::{DataRef, Reader as _, Xlsx, XlsxError};
use csv::StringRecord;

use super::archive::{self, ArchiveError};

/// Columns looked at; no dataset has a tenth of it.
const MAX_COLUMNS: u32 = 1_000;
/// Cells of one sheet: a full sheet of fifty columns.
const MAX_CELLS: u64 = 50_000_000;
/// Digits that survive in a workbook's numbers.
const EXACT_DIGITS: usize = 15;

/// Why a workbook cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    #[error("open the workbook: {0}")]
    Archive(#[from] ArchiveError),
    #[error("read the workbook: {0}")]
    Broken(&'static str),
    #[error("the workbook has no sheet{}; it has {}", .wanted.as_deref().map(|name| format!(" `{name}`")).unwrap_or_default(), .sheets.join(", "))]
    NoSheet { wanted: Option<String>, sheets: Vec<String> },
    #[error("the sheet holds {0}")]
    TooLarge(&'static str),
}

/// The library's own text may quote what the file holds.
impl From<XlsxError> for WorkbookError {
    fn from(error: XlsxError) -> Self {
        Self::Broken(match error {
            XlsxError::Io(_) | XlsxError::Zip(_) => "its archive is damaged",
            XlsxError::Password => "it is protected by a password",
            XlsxError::FileNotFound(_) | XlsxError::RelationshipNotFound | XlsxError::WorksheetNotFound(_) => {
                "a part is missing"
            }
            _ => "its content makes no sense",
        })
    }
}

/// One row: its number as the program shows it, and its cells; or why it cannot be taken.
pub type WorkbookRow<'a> = (u64, Result<&'a StringRecord, String>);

pub struct Workbook {
    book: Xlsx<BufReader<File>>,
    sheet: String,
    /// Further sheets, which nobody reads.
    pub passed_over: Vec<String>,
}

impl Workbook {
    pub fn open(path: &Path, sheet: Option<&str>) -> Result<Self, WorkbookError> {
        archive::check(path)?;
        let file = File::open(path).map_err(|_| ArchiveError::Unreadable)?;
        let book = Xlsx::new(BufReader::new(file))?;
        let sheets = book.sheet_names();
        let found = match sheet {
            Some(wanted) => sheets.iter().find(|name| *name == wanted),
            None => sheets.first(),
        };
        let Some(found) = found.cloned() else {
            return Err(WorkbookError::NoSheet { wanted: sheet.map(Into::into), sheets });
        };
        let passed_over = sheets.into_iter().filter(|name| *name != found && sheet.is_none()).collect();
        Ok(Self { book, sheet: found, passed_over })
    }

    /// Every row with a cell in it, in order, until `take` has enough.
    pub fn rows(&mut self, mut take: impl FnMut(WorkbookRow<'_>) -> bool) -> Result<(), WorkbookError> {
        let mut cells = self.book.worksheet_cells_reader(&self.sheet)?;
        let mut record = StringRecord::new();
        let mut wrong = None;
        let mut row = None;
        let mut count = 0_u64;
        while let Some(cell) = cells.next_cell()? {
            let (at, column) = cell.get_position();
            count += 1;
            if count > MAX_CELLS {
                return Err(WorkbookError::TooLarge("more than 50 million cells"));
            }
            if *cell.get_value() == DataRef::Empty {
                continue;
            }
            if column >= MAX_COLUMNS {
                return Err(WorkbookError::TooLarge("a value beyond column 1000"));
            }
            match row {
                Some(current) if current == at => {}
                Some(current) if current > at => return Err(WorkbookError::Broken("its rows are out of order")),
                current => {
                    if let Some(current) = current
                        && !take((number(current), wrong.take().map_or(Ok(&record), Err)))
                    {
                        return Ok(());
                    }
                    record.clear();
                    row = Some(at);
                }
            }
            if (column as usize) < record.len() {
                return Err(WorkbookError::Broken("its cells are out of order"));
            }
            while record.len() < column as usize {
                record.push_field("");
            }
            match text(cell.get_value()) {
                Ok(text) => record.push_field(&text),
                Err(why) => {
                    record.push_field("");
                    wrong.get_or_insert_with(|| format!("column {}: {why}", column + 1));
                }
            }
        }
        if let Some(current) = row {
            take((number(current), wrong.map_or(Ok(&record), Err)));
        }
        Ok(())
    }
}

/// The number that a spreadsheet program shows beside the row.
fn number(row: u32) -> u64 {
    u64::from(row) + 1
}

fn text(value: &DataRef<'_>) -> Result<String, &'static str> {
    Ok(match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(flag) => flag.to_string(),
        DataRef::Int(whole) => exact(whole.to_string())?,
        DataRef::Float(number) => exact(number.to_string())?,
        DataRef::DateTime(at) if at.is_duration() => return Err("a duration"),
        DataRef::DateTime(at) => {
            let at = at.as_datetime().ok_or("a date that does not exist")?;
            let midnight = at.time() == chrono::NaiveTime::MIN;
            at.format(if midnight { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" }).to_string()
        }
        DataRef::DurationIso(_) => return Err("a duration"),
        DataRef::Error(_) => return Err("an error value of the workbook"),
    })
}

/// The text of a number; one with more digits than a workbook keeps is refused.
fn exact(number: String) -> Result<String, &'static str> {
    let whole = !number.contains('.');
    if whole && number.bytes().filter(u8::is_ascii_digit).count() > EXACT_DIGITS {
        return Err("a number of more than 15 digits, which the workbook has rounded; format the column as text");
    }
    Ok(number)
}

#[cfg(test)]
pub(in crate::vehicle) mod tests;
