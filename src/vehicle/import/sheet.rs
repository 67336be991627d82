//! A CSV file or a workbook's sheet as named cells: the header in any order, further columns passed over and named, rows
//! one by one. With a mapping the names are foreign ones and every cell is put into our form before anybody looks at it.
//!
//! Every row is counted: taken, refused with a reason, or blank. What a cell may not be is the same for every form of file
//! (module `cell`); cells of columns that nobody reads refuse nothing.

mod cell;
mod header;
#[cfg(test)]
mod tests;

use std::{fs::File, io::BufReader, path::Path, sync::Arc};

use csv::StringRecord;

use super::{
    ImportError,
    accounts::ReadSummary,
    encoding::{Decoded, Form, TextEncoding},
    records::{Read, Records},
    workbook::{SheetRow, Workbook},
};
use crate::mapping::Mapping;
use header::Translation;
pub use header::{Columns, Header, HeaderError};

/// The cells of one row by column name.
pub struct Cells<'a> {
    header: &'a Header,
    record: &'a StringRecord,
}

impl<'a> Cells<'a> {
    /// The trimmed cell; empty where the file has no such column.
    pub fn get(&self, column: &str) -> &'a str {
        let place = self.header.places.iter().find(|(known, _)| *known == column).map(|&(_, place)| place);
        place.and_then(|place| self.record.get(place)).map(str::trim).unwrap_or_default()
    }

    /// Whether no cell that is read holds anything but ASCII.
    pub fn is_ascii(&self) -> bool {
        self.header.places.iter().all(|(_, place)| self.record.get(*place).is_none_or(str::is_ascii))
    }
}

/// How a file is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Foreign names and codes; without one the names are ours.
    pub mapping: Option<Arc<Mapping>>,
    /// The sheet of a workbook; without a name the only one that shows anything.
    pub sheet: Option<String>,
    /// The encoding of a text; without one it is found out.
    pub encoding: Option<TextEncoding>,
}

/// An open file behind its header.
pub struct Sheet {
    source: Source,
    header: Header,
    translation: Option<Translation>,
}

enum Source {
    Text(Box<Records<BufReader<Decoded<BufReader<File>>>>>),
    /// And the row of its header.
    Workbook(Box<Workbook>, u64),
}

/// What separates the cells of a text, tried in this order.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

impl Sheet {
    pub fn open(path: &Path, form: Form, reading: &Reading, columns: Columns) -> Result<Self, ImportError> {
        let mapping = reading.mapping.as_deref();
        match form {
            Form::Text(encoding) => {
                let source = Decoded::open(path, encoding)
                    .map_err(|source| ImportError::Read { path: path.display().to_string(), source })?;
                let mut records = Records::new(BufReader::new(source));
                let (header, translation) = head(&mut records, columns, mapping)?;
                Ok(Self { source: Source::Text(records.into()), header, translation })
            }
            Form::Workbook => {
                let mut workbook = Workbook::open(path, reading.sheet.as_deref())?;
                let (number, record) = workbook.head()?.ok_or(HeaderError::Empty)?;
                let (header, translation) = Header::read(&record, columns, mapping)?;
                Ok(Self { source: Source::Workbook(workbook.into(), number), header, translation })
            }
        }
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Sheets of the workbook that are not read.
    pub fn passed_over(&self) -> &[String] {
        match &self.source {
            Source::Text(_) => &[],
            Source::Workbook(workbook, _) => &workbook.passed_over,
        }
    }

    /// Columns that are read and that the operator does not see.
    pub fn hidden_columns(&self) -> Vec<String> {
        match &self.source {
            Source::Text(_) => Vec::new(),
            Source::Workbook(workbook, _) => {
                let hidden = self.header.used.iter().filter(|used| workbook.hides_column(used.place));
                hidden.map(|used| used.calls.clone()).collect()
            }
        }
    }

    /// Reads every row: `parse` makes it an entry or says why not, `take` gets the entry with its row number and says
    /// whether to go on. Every row is counted in `read`.
    pub fn read<E>(
        &mut self,
        parse: impl Fn(&Cells) -> Result<E, String>,
        read: &mut ReadSummary,
        take: impl FnMut(u64, E) -> bool,
    ) -> Result<(), ImportError> {
        self.read_up_to(u64::MAX, parse, read, take)
    }

    /// The same for the first rows only.
    pub(super) fn read_up_to<E>(
        &mut self,
        rows: u64,
        parse: impl Fn(&Cells) -> Result<E, String>,
        read: &mut ReadSummary,
        mut take: impl FnMut(u64, E) -> bool,
    ) -> Result<(), ImportError> {
        let Self { source, header, translation } = self;
        let mut reader = Rows { header, translation: translation.as_ref(), ours: StringRecord::new(), read };
        match source {
            Source::Text(records) => {
                let mut record = StringRecord::new();
                while let Some(Read { row, fault }) = records.read(&mut record).map_err(ImportError::Rows)? {
                    let checked = fault.map_or(Ok(()), Err);
                    if !reader.row(row, &record, checked, &parse, &mut take) || reader.read.rows >= rows {
                        break;
                    }
                }
            }
            Source::Workbook(workbook, head) => {
                let mut padded = StringRecord::new();
                let mut last = *head;
                workbook.rows(|SheetRow { number, record, faults, hidden, merged }| {
                    if number <= *head {
                        return true;
                    }
                    // Rows that the file does not hold are shown as blank ones.
                    if number > last + 1 {
                        reader.blank(last + 1, number - 1);
                    }
                    last = number;
                    let used = |column: usize| reader.header.used.iter().find(|used| used.place == column);
                    let checked = if hidden {
                        Err("the row is hidden (filtered out or folded away), so nobody sees it; show all rows, delete \
                             those that are not meant, and save"
                            .into())
                    } else if let Some((used, why)) = faults.iter().find_map(|(at, why)| Some((used(*at)?, why))) {
                        Err(format!("{}: {why}", used.calls))
                    } else if let Some(used) = reader.header.used.iter().find(|used| merged(used.place)) {
                        Err(format!(
                            "{}: the cell is merged with others; undo the merging and fill in each",
                            used.calls
                        ))
                    } else {
                        Ok(())
                    };
                    // A sheet has no trailing empty cells; a text has.
                    let width = reader.header.width;
                    let record = if record.len() < width {
                        padded.clone_from(record);
                        (record.len()..width).for_each(|_| padded.push_field(""));
                        &padded
                    } else {
                        record
                    };
                    // A cell that cannot be read is not blank.
                    let blank = faults.is_empty() && !(0..width).any(merged);
                    reader.row_unless(blank, number, record, checked, &parse, &mut take)
                })?;
            }
        }
        Ok(())
    }
}

/// The header of a text and what separates its cells: what the line `sep=;` says, or that by which the header is one.
fn head(
    records: &mut Records<BufReader<Decoded<BufReader<File>>>>,
    columns: Columns,
    mapping: Option<&Mapping>,
) -> Result<(Header, Option<Translation>), ImportError> {
    let mut said = None;
    let (row, line) = loop {
        let Some((row, line)) = records.line().map_err(ImportError::Rows)? else {
            return Err(HeaderError::Empty.into());
        };
        let visible = line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        match visible.strip_prefix("sep=").map(str::as_bytes) {
            Some([]) if line.contains('\t') => said = Some(b'\t'),
            Some(&[delimiter]) => said = Some(delimiter),
            _ if visible.is_empty() || visible.bytes().all(|byte| DELIMITERS.contains(&byte)) => {}
            _ => break (row, line),
        }
    };
    records.put_back(line.clone());
    // With a delimiter that is not the file's, a quoted header is at fault, and an unquoted one has a single cell.
    let (mut problem, mut fault, mut narrow) = (None, None, None);
    for delimiter in said.map_or(DELIMITERS.to_vec(), |said| vec![said]) {
        let mut record = StringRecord::new();
        records.set_shape(delimiter, 2);
        let Some(read) = records.read(&mut record).map_err(ImportError::Rows)? else { break };
        if let Some(why) = read.fault {
            fault = fault.or(Some(HeaderError::Unreadable { row, why }));
        } else if records.lines() > row {
            let why = "a cell of it goes over several lines; write every name on one line".to_owned();
            return Err(HeaderError::Unreadable { row, why }.into());
        } else {
            match Header::read(&record, columns, mapping) {
                Ok((header, translation)) => {
                    records.set_shape(delimiter, header.width);
                    return Ok((header, translation));
                }
                Err(error) if record.len() > 1 => problem = problem.or(Some(error)),
                Err(error) => narrow = narrow.or(Some(error)),
            }
        }
        records.put_back(line.clone());
    }
    Err(problem.or(fault).or(narrow).unwrap_or(HeaderError::Empty).into())
}

/// What every row goes through.
struct Rows<'a> {
    header: &'a Header,
    translation: Option<&'a Translation>,
    ours: StringRecord,
    read: &'a mut ReadSummary,
}

impl Rows<'_> {
    fn blank(&mut self, first: u64, last: u64) {
        self.read.rows += last - first + 1;
        self.read.blank.push(first, last);
    }

    fn row<E>(
        &mut self,
        number: u64,
        record: &StringRecord,
        checked: Result<(), String>,
        parse: &impl Fn(&Cells) -> Result<E, String>,
        take: &mut impl FnMut(u64, E) -> bool,
    ) -> bool {
        let blank = checked.is_ok();
        self.row_unless(blank, number, record, checked, parse, take)
    }

    /// `may_be_blank`: whether a row without characters has nothing at all in it.
    fn row_unless<E>(
        &mut self,
        may_be_blank: bool,
        number: u64,
        record: &StringRecord,
        checked: Result<(), String>,
        parse: &impl Fn(&Cells) -> Result<E, String>,
        take: &mut impl FnMut(u64, E) -> bool,
    ) -> bool {
        if may_be_blank && record.iter().all(|cell| cell.trim().is_empty()) {
            self.blank(number, number);
            return true;
        }
        self.read.rows += 1;
        match checked.and_then(|()| self.entry(number, record, parse)) {
            Ok(entry) => take(number, entry),
            Err(reason) => {
                self.read.refusals.push(number, reason);
                true
            }
        }
    }

    fn entry<E>(
        &mut self,
        number: u64,
        record: &StringRecord,
        parse: &impl Fn(&Cells) -> Result<E, String>,
    ) -> Result<E, String> {
        let header = self.header;
        if record.len() != header.width {
            let more =
                if record.len() > header.width { "; a cell may hold a delimiter, or two rows became one" } else { "" };
            return Err(format!("{} cells where the header has {}{more}", record.len(), header.width));
        }
        let characters = cell::may_be_flawed(record.as_slice());
        let mut doubt = None;
        for used in &header.used {
            let text = record.get(used.place).map(str::trim).unwrap_or_default();
            if let Some(why) = cell::flaw(text, used.column, characters) {
                return Err(format!("{}: {why}", used.calls));
            }
            if let Some(why) = cell::doubt(text, used.column) {
                doubt = Some(format!("{}: {why}", used.calls));
            }
        }
        let entry = match self.translation {
            None => parse(&Cells { header, record }),
            Some(translation) => {
                translation.translate(record, &mut self.ours)?;
                parse(&Cells { header, record: &self.ours }).map_err(|reason| translation.rename(reason))
            }
        }?;
        if let Some(doubt) = doubt {
            self.read.doubts.push(number, doubt);
        }
        Ok(entry)
    }
}
