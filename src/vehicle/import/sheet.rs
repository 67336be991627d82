//! A CSV file or a workbook's sheet as named cells: the header in any order, further columns passed over and named, rows
//! one by one. With a mapping the names are foreign ones and every cell is put into our form before anybody looks at it.

use std::{fs::File, io::BufReader, path::Path, sync::Arc};

use csv::StringRecord;

use super::{
    ImportError, Refusals,
    encoding::{Decoded, Form},
    workbook::Workbook,
};
use crate::mapping::{Mapping, Rule};

/// The columns a dataset knows.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// A file without one of these is refused.
    pub required: &'static [&'static str],
    /// A file without one of these has it empty in every row.
    pub optional: &'static [&'static str],
}

impl Columns {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.required.iter().chain(self.optional).copied()
    }
}

/// Why a header is not that of the dataset.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("the file is empty")]
    Empty,
    #[error("missing column{} {}", if .0.len() == 1 { "" } else { "s" }, .0.join(", "))]
    Missing(Vec<String>),
    #[error("column `{0}` appears twice")]
    Twice(String),
    /// Taken as an extra column, its content would silently count as not registered.
    #[error("unknown column `{found}` looks like `{meant}`; correct or rename it")]
    Misspelt { found: String, meant: String },
}

/// Similarity from which a name one keystroke away counts as a misspelling (Jaro-Winkler, 0..=1). Of a name of three or four
/// letters one letter is too much: the abbreviations of two things often differ by no more.
const MISSPELT: f64 = 0.9;
/// Similarity from which a name is suggested for a missing column.
const SUGGESTED: f64 = 0.85;

/// Longest cell taken, bytes; an unclosed quotation mark makes longer ones.
const MAX_CELL_BYTES: usize = 4_096;

/// Where each known column stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    places: Vec<(&'static str, usize)>,
    width: usize,
    /// Names of columns nobody asked for, each with the absent one that may have been meant.
    pub ignored: Vec<String>,
    /// Optional columns that the file lacks.
    pub absent: Vec<&'static str>,
}

impl Header {
    fn parse(record: &StringRecord, columns: Columns) -> Result<Self, HeaderError> {
        let names: Vec<String> = record.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        if names.iter().all(String::is_empty) {
            return Err(HeaderError::Empty);
        }
        let mut places = Vec::new();
        let mut ignored = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match columns.all().find(|known| known == name) {
                Some(known) if places.iter().any(|&(seen, _)| seen == known) => {
                    return Err(HeaderError::Twice(known.into()));
                }
                Some(known) => places.push((known, place)),
                None => ignored.push(name.clone()),
            }
        }
        let has = |column: &&str| places.iter().any(|(known, _)| known == column);
        let missing: Vec<String> =
            columns.required.iter().filter(|column| !has(column)).map(|column| suggest(column, &ignored)).collect();
        if !missing.is_empty() {
            return Err(HeaderError::Missing(missing));
        }
        let absent: Vec<&'static str> = columns.optional.iter().copied().filter(|column| !has(column)).collect();
        let present: Vec<&str> = places.iter().map(|&(known, _)| known).collect();
        refuse_misspelt(&absent, &ignored, &present)?;
        let ignored = ignored.into_iter().map(|found| hinted(found, &absent, &present)).collect();
        Ok(Self { places, width: names.len(), ignored, absent })
    }

    /// The header of a file with foreign names: `places` are those of the record that [`Translation`] makes.
    fn parse_mapped(
        record: &StringRecord,
        columns: Columns,
        mapping: &Mapping,
    ) -> Result<(Self, Translation), HeaderError> {
        let names: Vec<String> = record.iter().map(|name| name.trim().to_lowercase()).collect();
        if names.iter().all(String::is_empty) {
            return Err(HeaderError::Empty);
        }
        let mut found: Vec<Option<usize>> = vec![None; mapping.rules().len()];
        let mut ignored = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match mapping.rules().iter().position(|rule| rule.foreign().to_lowercase() == *name) {
                Some(rule) => {
                    if let Some(slot) = found.get_mut(rule)
                        && slot.replace(place).is_some()
                    {
                        return Err(HeaderError::Twice(name.clone()));
                    }
                }
                None if mapping.ignores(name) => {}
                None => ignored.push(name.clone()),
            }
        }
        let lacking = || mapping.rules().iter().zip(&found).filter(|(_, place)| place.is_none()).map(|(rule, _)| rule);
        let missing: Vec<String> = lacking()
            .filter(|rule| columns.required.contains(&rule.column()))
            .map(|rule| suggest(rule.foreign(), &ignored))
            .collect();
        if !missing.is_empty() {
            return Err(HeaderError::Missing(missing));
        }
        let theirs: Vec<&str> = lacking().map(Rule::foreign).collect();
        refuse_misspelt(&theirs, &ignored, &[])?;
        let ignored = ignored.into_iter().map(|found| hinted(found, &theirs, &[])).collect();
        let places: Vec<(Option<usize>, Rule)> = mapping
            .rules()
            .iter()
            .zip(found)
            .filter_map(|(rule, place)| Some((Some(place?), rule.clone())))
            .chain(mapping.constants().iter().map(|rule| (None, rule.clone())))
            .collect();
        let ours: Vec<(&'static str, usize)> =
            places.iter().enumerate().map(|(place, (_, rule))| (rule.column(), place)).collect();
        let has = |column: &str| ours.iter().any(|(known, _)| *known == column);
        let absent = columns.optional.iter().copied().filter(|column| !has(column)).collect();
        Ok((Self { places: ours, width: names.len(), ignored, absent }, Translation { places }))
    }
}

/// How a foreign row becomes one of ours: for each of our columns the place of theirs and what to do with it.
struct Translation {
    places: Vec<(Option<usize>, Rule)>,
}

impl Translation {
    /// A refusal calls the column by its foreign name first.
    fn translate(&self, theirs: &StringRecord, ours: &mut StringRecord) -> Result<(), String> {
        ours.clear();
        for (place, rule) in &self.places {
            let cell = match place {
                Some(place) => theirs.get(*place).unwrap_or_default().trim(),
                None => rule.constant().unwrap_or_default(),
            };
            match rule.text(cell) {
                Ok(text) => ours.push_field(&text),
                Err(unfit) => return Err(format!("{}: {unfit}", rule.calls())),
            }
        }
        Ok(())
    }

    /// Puts the foreign name before a reason that begins with ours.
    fn rename(&self, reason: String) -> String {
        let named = reason.split_once(':').and_then(|(column, why)| {
            let (_, rule) = self.places.iter().find(|(_, rule)| rule.column() == column)?;
            Some(format!("{}:{why}", rule.calls()))
        });
        named.unwrap_or(reason)
    }
}

/// Refuses a header in which an absent column stands misspelt. What is further away than one keystroke is a column of its
/// own, ignored and named.
fn refuse_misspelt(absent: &[&str], ignored: &[String], present: &[&str]) -> Result<(), HeaderError> {
    for meant in absent {
        let misspelt = |found: &&String| {
            strsim::damerau_levenshtein(meant, found) <= 1
                && strsim::jaro_winkler(meant, found) >= MISSPELT
                && !is_word_of(found, present)
        };
        if let Some(found) = ignored.iter().find(misspelt) {
            return Err(HeaderError::Misspelt { found: found.clone(), meant: (*meant).into() });
        }
    }
    Ok(())
}

/// Whether a name is a word of a column the file has, such as `stage` beside `emission_stage`: a word of the domain, and
/// what it would say stands there already.
fn is_word_of(name: &str, present: &[&str]) -> bool {
    present.iter().any(|column| column.split('_').any(|word| word == name))
}

/// An ignored column's name, with the absent one that it is similar to.
fn hinted(name: String, absent: &[&str], present: &[&str]) -> String {
    if is_word_of(&name, present) {
        return name;
    }
    let scored = absent.iter().map(|meant| (strsim::jaro_winkler(meant, &name), meant));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, meant)) if score >= SUGGESTED => format!("{name} (did you mean `{meant}`?)"),
        _ => name,
    }
}

/// The missing column with the most similar name that the file does have.
fn suggest(missing: &str, ignored: &[String]) -> String {
    let scored = ignored.iter().map(|found| (strsim::jaro_winkler(missing, found), found));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, found)) if score >= SUGGESTED => format!("`{missing}` (did you mean it by `{found}`?)"),
        _ => format!("`{missing}`"),
    }
}

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
}

/// How a file is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Foreign names and codes; without one the names are ours.
    pub mapping: Option<Arc<Mapping>>,
    /// The sheet of a workbook; without a name its first.
    pub sheet: Option<String>,
}

/// An open file behind its header.
pub struct Sheet {
    source: Source,
    header: Header,
    translation: Option<Translation>,
}

enum Source {
    Text(Box<csv::Reader<Decoded<BufReader<File>>>>),
    /// And the row of its header.
    Workbook(Box<Workbook>, u64),
}

impl Sheet {
    pub fn open(path: &Path, form: Form, reading: &Reading, columns: Columns) -> Result<Self, ImportError> {
        let (source, record) = match form {
            Form::Text(encoding) => {
                let source = Decoded::open(path, encoding)
                    .map_err(|source| ImportError::Read { path: path.display().to_string(), source })?;
                let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(source);
                let mut record = StringRecord::new();
                if !reader.read_record(&mut record)? {
                    return Err(HeaderError::Empty.into());
                }
                (Source::Text(Box::new(reader)), record)
            }
            Form::Workbook => {
                let mut workbook = Workbook::open(path, reading.sheet.as_deref())?;
                let mut first = None;
                workbook.rows(|(number, row)| {
                    first = Some((number, row.cloned()));
                    false
                })?;
                let (number, record) = first.ok_or(HeaderError::Empty)?;
                let record = record.map_err(|_| HeaderError::Empty)?;
                (Source::Workbook(Box::new(workbook), number), record)
            }
        };
        let (header, translation) = match &reading.mapping {
            None => (Header::parse(&record, columns)?, None),
            Some(mapping) => {
                let (header, translation) = Header::parse_mapped(&record, columns, mapping)?;
                (header, Some(translation))
            }
        };
        Ok(Self { source, header, translation })
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

    /// Reads every row: `parse` makes it an entry or says why not, `take` gets the entry with its row number and says
    /// whether to go on. Gives back the number of rows read.
    pub fn read<E>(
        &mut self,
        parse: impl Fn(&Cells) -> Result<E, String>,
        refusals: &mut Refusals,
        mut take: impl FnMut(u64, E) -> bool,
    ) -> Result<u64, ImportError> {
        let Self { source, header, translation } = self;
        let mut translated = StringRecord::new();
        let mut rows = 0;
        let mut row = |number: u64, record: Result<&StringRecord, String>| {
            rows += 1;
            let entry = record.and_then(|record| {
                check(record, header.width)?;
                let Some(translation) = translation else { return parse(&Cells { header, record }) };
                translation.translate(record, &mut translated)?;
                parse(&Cells { header, record: &translated }).map_err(|reason| translation.rename(reason))
            });
            match entry {
                Ok(entry) => take(number, entry),
                Err(reason) => {
                    refusals.push(number, reason);
                    true
                }
            }
        };
        match source {
            Source::Text(reader) => lines(reader, row)?,
            Source::Workbook(workbook, head) => {
                let width = header.width;
                let mut padded = StringRecord::new();
                workbook.rows(|(number, record)| {
                    if number <= *head {
                        return true;
                    }
                    // A sheet has no trailing empty cells; a text has.
                    match record {
                        Ok(record) if record.len() < width => {
                            padded.clone_from(record);
                            (record.len()..width).for_each(|_| padded.push_field(""));
                            row(number, Ok(&padded))
                        }
                        other => row(number, other),
                    }
                })?;
            }
        }
        Ok(rows)
    }
}

/// Every line of a text that is not blank, by its number.
fn lines(
    reader: &mut csv::Reader<Decoded<BufReader<File>>>,
    mut row: impl FnMut(u64, Result<&StringRecord, String>) -> bool,
) -> Result<(), ImportError> {
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        // The line on which the row begins. `record.position()` would count blank lines before it as its own.
        let ends = record.iter().map(|cell| cell.bytes().filter(|&byte| byte == b'\n').count() as u64).sum::<u64>();
        let number = reader.position().line().saturating_sub(ends + 1);
        if !row(number, Ok(&record)) {
            break;
        }
    }
    Ok(())
}

fn check(record: &StringRecord, width: usize) -> Result<(), String> {
    if record.iter().any(|cell| cell.len() > MAX_CELL_BYTES) {
        return Err(format!("a cell is longer than {MAX_CELL_BYTES} bytes; a quotation mark may be left open"));
    }
    if record.len() != width {
        return Err(format!("{} cells where the header has {width}", record.len()));
    }
    if record.iter().any(|cell| cell.contains('\u{fffd}')) {
        return Err("bytes that are no text in the encoding of the file".into());
    }
    if record.iter().any(|cell| cell.contains('\0')) {
        return Err("a NUL character".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{super::encoding::TextEncoding, *};

    const COLUMNS: Columns = Columns { required: &["plate", "plate_color"], optional: &["reason", "valid_from"] };

    fn header(line: &str) -> Result<Header, HeaderError> {
        Header::parse(&line.split(',').collect::<Vec<_>>().into(), COLUMNS)
    }

    type Numbered = Vec<(u64, String)>;

    /// Rows taken and rows refused.
    fn rows(text: &str) -> (Numbered, Numbered) {
        let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
        file.write_all(text.as_bytes()).expect("written");
        let mut sheet =
            Sheet::open(file.path(), Form::Text(TextEncoding::Utf8), &Reading::default(), COLUMNS).expect("a sheet");
        let (mut taken, mut refusals) = (Vec::new(), Refusals::default());
        let parse = |cells: &Cells| match cells.get("plate") {
            "" => Err("no plate".to_owned()),
            plate => Ok(format!("{plate}/{}/{}", cells.get("plate_color"), cells.get("reason"))),
        };
        let keep = |row, entry| {
            taken.push((row, entry));
            true
        };
        sheet.read(parse, &mut refusals, keep).expect("rows");
        (taken, refusals.rows().iter().map(|r| (r.row, r.reason.clone())).collect())
    }

    #[test]
    fn columns_in_any_order_with_extras() {
        let found = header("note, Plate_Color ,PLATE").expect("a header");
        assert_eq!(found.places, [("plate_color", 1), ("plate", 2)]);
        assert_eq!((found.ignored, found.absent), (vec!["note".to_owned()], vec!["reason", "valid_from"]));
    }

    #[test]
    fn a_wrong_header_names_what_is_missing_and_what_is_near() {
        let wrong = header("plate,plate_colour").expect_err("wrong");
        assert_eq!(wrong.to_string(), "missing column `plate_color` (did you mean it by `plate_colour`?)");
        let wrong = header("a,b").expect_err("wrong");
        assert_eq!(wrong.to_string(), "missing columns `plate`, `plate_color`");
        assert_eq!(header("plate,plate,plate_color"), Err(HeaderError::Twice("plate".into())));
        assert_eq!(header(" ,"), Err(HeaderError::Empty));
        let wrong = header("plate,plate_color,valid_form").expect_err("misspelt");
        assert_eq!(wrong, HeaderError::Misspelt { found: "valid_form".into(), meant: "valid_from".into() });
    }

    #[test]
    fn a_similar_name_is_a_column_of_its_own_and_a_slip_is_refused() {
        const VEHICLES: Columns = Columns {
            required: &["plate", "emission_stage"],
            optional: &["vin", "state", "retrofit", "calibrated_at", "valid_to"],
        };
        let parse = |line: &str| Header::parse(&line.split(',').collect::<Vec<_>>().into(), VEHICLES);
        let further = parse("plate,emission_stage,stage,retrofit_date,calibrated_by,vni,note").expect("extras");
        let named =
            ["stage", "retrofit_date (did you mean `retrofit`?)", "calibrated_by (did you mean `calibrated_at`?)"];
        assert_eq!(further.ignored[..3], named);
        assert_eq!(further.ignored[3..], ["vni", "note"]);
        for (found, meant) in [("valid_too", "valid_to"), ("statee", "state"), ("retorfit", "retrofit")] {
            let wrong = parse(&format!("plate,emission_stage,{found}")).expect_err(found);
            assert_eq!(wrong, HeaderError::Misspelt { found: found.into(), meant: meant.into() });
        }
        let without = parse("plate,stage").expect_err("a required column is missing");
        assert!(matches!(without, HeaderError::Missing(_)), "{without}");
    }

    #[test]
    fn rows_are_numbered_by_line_and_refused_alone() {
        let text = "plate,plate_color,reason\n\n鲁C1,blue,\"two\nlines, one cell\"\n鲁C2,blue\n,blue,x\n , ,\n鲁C3,blue,a\u{fffd}\n鲁C4,yellow,z";
        assert_eq!(rows(text), rows(&text.replace('\n', "\r\n")));
        let (taken, refused) = rows(text);
        assert_eq!(taken, [(3, "鲁C1/blue/two\nlines, one cell".to_owned()), (9, "鲁C4/yellow/z".to_owned())]);
        let numbers: Vec<u64> = refused.iter().map(|(row, _)| *row).collect();
        assert_eq!(numbers, [5, 6, 8]);
        assert_eq!(refused[0].1, "2 cells where the header has 3");
    }
}
