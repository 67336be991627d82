//! The cells of one sheet, row by row: never a grid, which a single far cell would blow up.

use std::borrow::Cow;

use csv::StringRecord;
use quick_xml::events::{BytesStart, Event};

use super::{
    WorkbookError,
    styles::Format,
    value,
    xml::{self, XML, Xml, attribute, is_set},
};

/// Columns looked at; no dataset has a tenth of it.
const MAX_COLUMNS: usize = 1_000;
/// Cells of one sheet: a full sheet of fifty columns.
const MAX_CELLS: u64 = 50_000_000;
/// Rows that a spreadsheet program has.
const MAX_ROWS: u64 = 1_048_576;

const UNCOMPUTED: &str = "a formula whose value nobody computed; open the file in a spreadsheet program and save it";

/// What the cells of every sheet are read with.
pub(super) struct Context<'a> {
    pub texts: &'a [Box<str>],
    pub formats: &'a [Format],
    pub from_1904: bool,
    pub uncomputed: bool,
}

/// One row as it stands in the file.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The number that a spreadsheet program shows beside it.
    pub number: u64,
    pub cells: StringRecord,
    /// Cells without a value that anybody could take, by column from 0.
    pub faults: Vec<(usize, Cow<'static, str>)>,
    pub hidden: bool,
}

/// Reads the rows of a sheet in order.
pub(super) struct Cells<'a> {
    xml: Xml<'a>,
    context: Context<'a>,
    buffer: Vec<u8>,
    last: u64,
    count: u64,
}

impl<'a> Cells<'a> {
    /// Goes to where the rows begin.
    pub fn begin(mut xml: Xml<'a>, context: Context<'a>) -> Result<Self, WorkbookError> {
        let mut buffer = Vec::with_capacity(1_024);
        loop {
            buffer.clear();
            match xml.read_event_into(&mut buffer).map_err(|_| WorkbookError::Broken(XML))? {
                Event::Start(element) if element.local_name().as_ref() == "sheetData" => break,
                Event::Eof => return Err(WorkbookError::Broken("a sheet holds no rows")),
                _ => {}
            }
        }
        Ok(Self { xml, context, buffer, last: 0, count: 0 })
    }

    /// The next row into `row`; whether there was one.
    pub fn next(&mut self, row: &mut Row) -> Result<bool, WorkbookError> {
        loop {
            self.buffer.clear();
            match self.xml.read_event_into(&mut self.buffer).map_err(|_| WorkbookError::Broken(XML))? {
                Event::Start(element) if element.local_name().as_ref() == "row" => {
                    let number = match attribute(&element, "r")? {
                        Some(number) => {
                            number.trim().parse().map_err(|_| WorkbookError::Broken("a row has no number"))?
                        }
                        None => self.last + 1,
                    };
                    let hidden = is_set(&element, "hidden")?;
                    if number > MAX_ROWS {
                        return Err(WorkbookError::TooLarge("a row beyond 1048576"));
                    }
                    if number <= self.last {
                        return Err(WorkbookError::Broken("its rows are out of order"));
                    }
                    self.last = number;
                    row.number = number;
                    row.hidden = hidden;
                    self.cells(row)?;
                    return Ok(true);
                }
                Event::End(element) if element.local_name().as_ref() == "sheetData" => return Ok(false),
                Event::Eof => return Err(WorkbookError::Broken(XML)),
                _ => {}
            }
        }
    }

    fn cells(&mut self, row: &mut Row) -> Result<(), WorkbookError> {
        row.cells.clear();
        row.faults.clear();
        let mut next = 0;
        loop {
            self.buffer.clear();
            match self.xml.read_event_into(&mut self.buffer).map_err(|_| WorkbookError::Broken(XML))? {
                Event::Start(element) if element.local_name().as_ref() == "c" => {
                    let Head { column, kind, format } = Head::of(&element, &self.context, row.number)?;
                    let column = column.unwrap_or(next);
                    if column < next {
                        return Err(WorkbookError::Broken("its cells are out of order"));
                    }
                    self.count += 1;
                    if self.count > MAX_CELLS {
                        return Err(WorkbookError::TooLarge("more than 50 million cells"));
                    }
                    next = column + 1;
                    let text = self.cell(&kind, format)?;
                    if text.as_ref().is_ok_and(String::is_empty) {
                        continue;
                    }
                    if column >= MAX_COLUMNS {
                        return Err(WorkbookError::TooLarge("a value beyond column 1000"));
                    }
                    while row.cells.len() < column {
                        row.cells.push_field("");
                    }
                    match text {
                        Ok(text) => row.cells.push_field(&text),
                        Err(why) => {
                            row.cells.push_field("");
                            row.faults.push((column, why));
                        }
                    }
                }
                Event::End(element) if element.local_name().as_ref() == "row" => return Ok(()),
                Event::Eof => return Err(WorkbookError::Broken(XML)),
                _ => {}
            }
        }
    }

    /// What stands in a cell, or why nobody can say.
    fn cell(&mut self, kind: &str, format: Format) -> Result<Result<String, Cow<'static, str>>, WorkbookError> {
        let (mut value, mut inline, mut formula) = (None, None, false);
        loop {
            self.buffer.clear();
            match self.xml.read_event_into(&mut self.buffer).map_err(|_| WorkbookError::Broken(XML))? {
                Event::Start(element) => match element.local_name().as_ref() {
                    "v" => {
                        let mut text = String::new();
                        xml::text(&mut self.xml, &mut self.buffer, &mut text)?;
                        value = Some(text);
                    }
                    "is" => inline = Some(string(&mut self.xml, &mut self.buffer)?),
                    "f" => {
                        formula = true;
                        xml::skip(&mut self.xml, &mut self.buffer)?;
                    }
                    _ => xml::skip(&mut self.xml, &mut self.buffer)?,
                },
                Event::End(_) => break,
                Event::Eof => return Err(WorkbookError::Broken(XML)),
                _ => {}
            }
        }
        if formula && self.context.uncomputed {
            return Ok(Err(UNCOMPUTED.into()));
        }
        let text = match kind {
            "s" => {
                let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(empty(formula)) };
                let text = value.trim().parse().ok().and_then(|place: usize| self.context.texts.get(place));
                text.map(ToString::to_string).ok_or("it names a text that the workbook does not hold".into())
            }
            "inlineStr" => match inline.or(value) {
                Some(text) => Ok(text),
                None => return Ok(empty(formula)),
            },
            // A formula may well compute an empty text.
            "str" => match value.map(xml::unescape).or(inline) {
                Some(text) => Ok(text),
                None => return Ok(empty(formula)),
            },
            "d" => Ok(value.unwrap_or_default()),
            "b" => match value.as_deref().map(str::trim) {
                Some("1" | "true") => Ok("true".to_owned()),
                Some("0" | "false") => Ok("false".to_owned()),
                None | Some("") => return Ok(empty(formula)),
                Some(_) => Err("is neither true nor false".into()),
            },
            "e" => Err("an error value of a spreadsheet program; correct its formula and save again".into()),
            "n" | "" => match value.filter(|value| !value.trim().is_empty()) {
                Some(value) => value::number(&value, format, self.context.from_1904).map_err(Cow::Borrowed),
                None => match inline {
                    Some(text) => Ok(text),
                    None => return Ok(empty(formula)),
                },
            },
            _ => Err("a value of a kind that no workbook has".into()),
        };
        Ok(text)
    }
}

fn empty(formula: bool) -> Result<String, Cow<'static, str>> {
    if formula { Err(UNCOMPUTED.into()) } else { Ok(String::new()) }
}

/// What an element `c` says of its cell.
struct Head {
    /// From 0; `None` where the cell follows the one before.
    column: Option<usize>,
    kind: String,
    format: Format,
}

impl Head {
    fn of(element: &BytesStart<'_>, context: &Context<'_>, row: u64) -> Result<Self, WorkbookError> {
        let mut head = Self { column: None, kind: String::new(), format: Format::Number };
        for attribute in element.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| WorkbookError::Broken(XML))?;
            let value = attribute.value.as_ref();
            match attribute.key.local_name().as_ref() {
                "r" => {
                    let (at, column) = place(value).ok_or(WorkbookError::Broken("a cell has no place"))?;
                    if at != row {
                        return Err(WorkbookError::Broken("a cell stands in another row than it says"));
                    }
                    head.column = Some(column);
                }
                "t" => value.clone_into(&mut head.kind),
                "s" => {
                    let style = value.parse().ok().and_then(|style: usize| context.formats.get(style));
                    head.format = style.copied().unwrap_or(Format::Number);
                }
                _ => {}
            }
        }
        Ok(head)
    }
}

/// Row, from 1, and column, from 0, of `B2`.
pub(super) fn place(reference: &str) -> Option<(u64, usize)> {
    let reference = reference.trim().trim_matches('$');
    let letters = reference.find(|c: char| !c.is_ascii_alphabetic())?;
    let (column, row) = reference.split_at(letters);
    let row = row.trim_start_matches('$').parse().ok().filter(|row| (1..=MAX_ROWS).contains(row))?;
    let letter = |so_far: usize, letter: u8| {
        so_far.checked_mul(26)?.checked_add(usize::from(letter.to_ascii_uppercase() - b'A') + 1)
    };
    let column = column.bytes().try_fold(0, letter)?;
    (1..=16_384).contains(&column).then(|| (row, column - 1))
}

/// A text in one or more runs, without the reading aids of East Asian texts.
pub(super) fn string(xml: &mut Xml<'_>, buffer: &mut Vec<u8>) -> Result<String, WorkbookError> {
    let mut whole = String::new();
    let mut depth = 0_usize;
    loop {
        buffer.clear();
        match xml.read_event_into(buffer).map_err(|_| WorkbookError::Broken(XML))? {
            Event::Start(element) => match element.local_name().as_ref() {
                "t" => {
                    let kept = attribute(&element, "space")?.is_some_and(|space| space == "preserve");
                    let mut text = String::new();
                    xml::text(xml, buffer, &mut text)?;
                    let text = if kept { text } else { text.trim_matches([' ', '\t', '\r', '\n']).to_owned() };
                    whole += &xml::unescape(text);
                }
                "rPh" => xml::skip(xml, buffer)?,
                _ => depth += 1,
            },
            Event::End(_) if depth == 0 => return Ok(whole),
            Event::End(_) => depth -= 1,
            Event::Eof => return Err(WorkbookError::Broken(XML)),
            _ => {}
        }
    }
}
