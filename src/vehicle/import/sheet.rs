//! A CSV file as named cells: the header in any order, further columns passed over and named, rows one by one.

use std::{fs::File, io::BufReader, path::Path};

use csv::StringRecord;

use super::{
    ImportError, Refusals,
    encoding::{Decoded, TextEncoding},
};

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
    Misspelt { found: String, meant: &'static str },
}

/// Similarity from which a foreign name counts as a misspelling (Jaro-Winkler, 0..=1).
const MISSPELT: f64 = 0.9;
/// Similarity from which a foreign name is suggested for a missing column.
const SUGGESTED: f64 = 0.85;

/// Longest cell taken, bytes; an unclosed quotation mark makes longer ones.
const MAX_CELL_BYTES: usize = 4_096;

/// Where each known column stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    places: Vec<(&'static str, usize)>,
    width: usize,
    /// Names of columns nobody asked for.
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
        for meant in &absent {
            if let Some(found) = ignored.iter().find(|found| strsim::jaro_winkler(meant, found) >= MISSPELT) {
                return Err(HeaderError::Misspelt { found: found.clone(), meant });
            }
        }
        Ok(Self { places, width: names.len(), ignored, absent })
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

/// An open file behind its header.
pub struct Sheet {
    reader: csv::Reader<Decoded<BufReader<File>>>,
    header: Header,
}

impl Sheet {
    pub fn open(path: &Path, encoding: TextEncoding, columns: Columns) -> Result<Self, ImportError> {
        let source = Decoded::open(path, encoding)
            .map_err(|source| ImportError::Read { path: path.display().to_string(), source })?;
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(source);
        let mut record = StringRecord::new();
        if !reader.read_record(&mut record)? {
            return Err(HeaderError::Empty.into());
        }
        let header = Header::parse(&record, columns)?;
        Ok(Self { reader, header })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads every row: `parse` makes it an entry or says why not, `take` gets the entry with its row number and says
    /// whether to go on. Gives back the number of rows read.
    pub fn read<E>(
        &mut self,
        parse: impl Fn(&Cells) -> Result<E, String>,
        refusals: &mut Refusals,
        mut take: impl FnMut(u64, E) -> bool,
    ) -> Result<u64, ImportError> {
        let mut record = StringRecord::new();
        let mut rows = 0;
        while self.reader.read_record(&mut record)? {
            if record.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            rows += 1;
            // The line on which the row begins. `record.position()` would count blank lines before it as its own.
            let ends = record.iter().map(|cell| cell.bytes().filter(|&byte| byte == b'\n').count() as u64).sum::<u64>();
            let row = self.reader.position().line().saturating_sub(ends + 1);
            let entry = self.check(&record).and_then(|()| parse(&Cells { header: &self.header, record: &record }));
            match entry {
                Ok(entry) => {
                    if !take(row, entry) {
                        break;
                    }
                }
                Err(reason) => refusals.push(row, reason),
            }
        }
        Ok(rows)
    }

    fn check(&self, record: &StringRecord) -> Result<(), String> {
        if record.iter().any(|cell| cell.len() > MAX_CELL_BYTES) {
            return Err(format!("a cell is longer than {MAX_CELL_BYTES} bytes; a quotation mark may be left open"));
        }
        if record.len() != self.header.width {
            return Err(format!("{} cells where the header has {}", record.len(), self.header.width));
        }
        if record.iter().any(|cell| cell.contains('\u{fffd}')) {
            return Err("bytes that are no text in the encoding of the file".into());
        }
        if record.iter().any(|cell| cell.contains('\0')) {
            return Err("a NUL character".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const COLUMNS: Columns = Columns { required: &["plate", "plate_color"], optional: &["reason", "valid_from"] };

    fn header(line: &str) -> Result<Header, HeaderError> {
        Header::parse(&line.split(',').collect::<Vec<_>>().into(), COLUMNS)
    }

    type Numbered = Vec<(u64, String)>;

    /// Rows taken and rows refused.
    fn rows(text: &str) -> (Numbered, Numbered) {
        let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
        file.write_all(text.as_bytes()).expect("written");
        let mut sheet = Sheet::open(file.path(), TextEncoding::Utf8, COLUMNS).expect("a sheet");
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
        assert_eq!(wrong, HeaderError::Misspelt { found: "valid_form".into(), meant: "valid_from" });
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
