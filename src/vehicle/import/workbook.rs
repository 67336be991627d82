//! A sheet of an XLSX workbook as rows of text, as a person sees it on the screen.
//!
//! - The sheet read is the one that is shown. Where several are shown with content, `--sheet` must name one; hidden ones are
//!   never read unless named, and every sheet passed over is told.
//! - Numbers come out as they are shown: `3`, not `3.0`. One of more than fifteen digits was rounded by the workbook, so its
//!   cell is at fault: a VIN or document number of which the last digits are made up is worse than none.
//! - Dates come out as `2016-09-30` or `2016-09-30 08:15:00`. A date that the workbook holds as a bare number is a number.
//! - A formula without a value, an error value (`#N/A`), a cell that is covered by a merged one: at fault.
//! - A row that is hidden is marked; nobody sees it.
//!
//! Why not a library for workbooks: those at hand give an empty cell for what they cannot read, and tell neither hidden
//! rows nor formulas without a value.

mod book;
mod cells;
mod styles;
mod survey;
#[cfg(test)]
pub(in crate::vehicle) mod tests;
mod value;
mod xml;

use std::{borrow::Cow, fs::File, io::BufReader, path::Path};

use csv::StringRecord;
use quick_xml::events::Event;
use zip::ZipArchive;

use super::archive::{self, ArchiveError};
use book::{Book, Kind};
use cells::{Cells, Context, Row};
use styles::Format;
use survey::Survey;
use xml::{Archive, XML};

/// Texts of a workbook; each takes some tens of bytes in memory, however short it is.
const MAX_TEXTS: usize = 20_000_000;

/// Why a workbook cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkbookError {
    #[error("open the workbook: {0}")]
    Archive(#[from] ArchiveError),
    #[error("read the workbook: {0}; open it in a spreadsheet program and save it again")]
    Broken(&'static str),
    #[error("the file is {0}; open it in a spreadsheet program and save it as .xlsx or as CSV in UTF-8")]
    NoWorkbook(&'static str),
    #[error("the workbook has no sheet `{wanted}`; it has {}", .sheets.join(", "))]
    NoSheet { wanted: String, sheets: Vec<String> },
    #[error("the sheet `{0}` is a chart or macro sheet, not a table")]
    NoTable(String),
    #[error("the workbook shows {} sheets with content ({}); name the one to read with --sheet, or hide or delete the others", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    #[error("no sheet that the workbook shows has content; not read {}", if .0.is_empty() { "is none".to_owned() } else { format!("are {} (--sheet names one)", .0.join(", ")) })]
    NothingShown(Vec<String>),
    #[error("the workbook holds {0}")]
    TooLarge(&'static str),
}

/// One row of the sheet.
pub struct SheetRow<'a> {
    /// As the program shows it.
    pub number: u64,
    pub record: &'a StringRecord,
    /// Columns, from 0, whose cell has no value that anybody could take, and why.
    pub faults: &'a [(usize, Cow<'static, str>)],
    pub hidden: bool,
    /// Whether the cell of a column is covered by a merged one.
    pub merged: &'a dyn Fn(usize) -> bool,
}

pub struct Workbook {
    archive: Archive,
    path: String,
    texts: Vec<Box<str>>,
    formats: Vec<Format>,
    from_1904: bool,
    uncomputed: bool,
    survey: Survey,
    /// Further sheets, which nobody reads, each with what it is.
    pub passed_over: Vec<String>,
}

impl Workbook {
    pub fn open(path: &Path, wanted: Option<&str>) -> Result<Self, WorkbookError> {
        archive::check(path)?;
        let file = File::open(path).map_err(|_| ArchiveError::Unreadable)?;
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|_| ArchiveError::Unreadable)?;
        let book = Book::read(&mut archive)?;
        let (chosen, passed_over) = choose(&mut archive, &book, wanted)?;
        let texts = match &book.texts {
            Some(path) => texts(&mut archive, path)?,
            None => Vec::new(),
        };
        let formats = match &book.styles {
            Some(path) => styles::read(&mut archive, path)?,
            None => Vec::new(),
        };
        let survey = Survey::of(part(&mut archive, &chosen)?)?;
        let Book { from_1904, uncomputed, .. } = book;
        Ok(Self { archive, path: chosen, texts, formats, from_1904, uncomputed, survey, passed_over })
    }

    pub fn hides_column(&self, column: usize) -> bool {
        self.survey.hides(column)
    }

    /// The first row with anything in it: its number and its cells.
    pub fn head(&mut self) -> Result<Option<(u64, StringRecord)>, WorkbookError> {
        let mut first = None;
        self.rows(|row| {
            if row.record.iter().all(|cell| cell.trim().is_empty()) {
                return true;
            }
            first = Some((row.number, row.record.clone()));
            false
        })?;
        Ok(first)
    }

    /// Every row that the file holds, in order, until `take` has enough.
    pub fn rows(&mut self, mut take: impl FnMut(SheetRow<'_>) -> bool) -> Result<(), WorkbookError> {
        let Self { archive, path, texts, formats, from_1904, uncomputed, survey, .. } = self;
        let context = Context { texts, formats, from_1904: *from_1904, uncomputed: *uncomputed };
        let mut cells = Cells::begin(part(archive, path)?, context)?;
        let mut sweep = survey.sweep();
        let mut row = Row::default();
        while cells.next(&mut row)? {
            sweep.go_to(row.number);
            let merged = |column| sweep.covers(column);
            let Row { number, cells: record, faults, hidden } = &row;
            if !take(SheetRow { number: *number, record, faults, hidden: *hidden, merged: &merged }) {
                break;
            }
        }
        Ok(())
    }
}

fn part<'a>(archive: &'a mut Archive, path: &str) -> Result<xml::Xml<'a>, WorkbookError> {
    xml::part(archive, path)?.ok_or(WorkbookError::Broken("a part is missing"))
}

/// The path of the sheet to read, and what the others are.
fn choose(archive: &mut Archive, book: &Book, wanted: Option<&str>) -> Result<(String, Vec<String>), WorkbookError> {
    let sheets = &book.sheets;
    let mut content = Vec::with_capacity(sheets.len());
    for sheet in sheets {
        content.push(sheet.kind == Kind::Table && has_content(archive, &sheet.path)?);
    }
    let chosen = match wanted {
        Some(wanted) => {
            let found = sheets.iter().position(|sheet| sheet.name == wanted);
            let found = found.or_else(|| sheets.iter().position(|sheet| sheet.name.trim() == wanted.trim()));
            let names = || sheets.iter().map(|sheet| sheet.name.clone()).collect();
            found.ok_or_else(|| WorkbookError::NoSheet { wanted: wanted.to_owned(), sheets: names() })?
        }
        None => {
            let shown = |place: &usize| {
                sheets.get(*place).is_some_and(|sheet| sheet.shown) && content.get(*place) == Some(&true)
            };
            let candidates: Vec<usize> = (0..sheets.len()).filter(shown).collect();
            match *candidates {
                [one] => one,
                [] => return Err(WorkbookError::NothingShown(described(book, &content, None))),
                _ => {
                    let names = candidates.iter().filter_map(|&place| sheets.get(place));
                    return Err(WorkbookError::Several(names.map(|sheet| sheet.name.clone()).collect()));
                }
            }
        }
    };
    match sheets.get(chosen) {
        Some(sheet) if sheet.kind == Kind::Table => Ok((sheet.path.clone(), described(book, &content, Some(chosen)))),
        Some(sheet) => Err(WorkbookError::NoTable(sheet.name.clone())),
        None => Err(WorkbookError::Broken("it has no sheet")),
    }
}

/// The sheets but one, each with why it may be left out.
fn described(book: &Book, content: &[bool], but: Option<usize>) -> Vec<String> {
    let others = book.sheets.iter().zip(content).enumerate().filter(|(place, _)| Some(*place) != but);
    let described = others.map(|(_, (sheet, content))| {
        let mut what = Vec::new();
        if !sheet.shown {
            what.push("hidden");
        }
        match sheet.kind {
            Kind::Chart => what.push("a chart"),
            Kind::Other => what.push("no table"),
            Kind::Table if !content => what.push("empty"),
            Kind::Table => {}
        }
        if what.is_empty() { sheet.name.clone() } else { format!("{} ({})", sheet.name, what.join(", ")) }
    });
    described.collect()
}

/// Whether any cell of a sheet holds a value.
fn has_content(archive: &mut Archive, path: &str) -> Result<bool, WorkbookError> {
    let mut xml = part(archive, path)?;
    let mut buffer = Vec::with_capacity(1_024);
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer).map_err(|_| WorkbookError::Broken(XML))? {
            Event::Start(element) if matches!(element.local_name().as_ref(), "f" | "is" | "v") => {
                let mut text = String::new();
                xml::text(&mut xml, &mut buffer, &mut text)?;
                if !text.trim().is_empty() {
                    return Ok(true);
                }
            }
            Event::End(element) if element.local_name().as_ref() == "sheetData" => return Ok(false),
            Event::Eof => return Ok(false),
            _ => {}
        }
    }
}

/// The texts that cells name by number.
fn texts(archive: &mut Archive, path: &str) -> Result<Vec<Box<str>>, WorkbookError> {
    let mut xml = part(archive, path)?;
    let mut texts = Vec::new();
    let mut buffer = Vec::with_capacity(1_024);
    loop {
        buffer.clear();
        match xml.read_event_into(&mut buffer).map_err(|_| WorkbookError::Broken(XML))? {
            Event::Start(element) if element.local_name().as_ref() == "si" => {
                texts.push(cells::string(&mut xml, &mut buffer)?.into_boxed_str());
                if texts.len() > MAX_TEXTS {
                    return Err(WorkbookError::TooLarge("more than 20 million texts"));
                }
            }
            Event::Eof => return Ok(texts),
            _ => {}
        }
    }
}
