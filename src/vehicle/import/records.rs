//! A text with delimiters as records, line by line.
//!
//! Every physical line comes out in exactly one record, so no row can vanish into another. A quotation mark that is left
//! open would do that: the lines up to the next mark become one cell. So a record goes over several lines only where that
//! is certain: the mark stands at the begin of a cell and closes at the end of one, and no line in between looks like a row
//! of its own. Otherwise:
//!
//! - a mark that nothing closes, or that closes in the middle of a cell, is a fault of its line alone; the next line is read
//!   as a row again;
//! - between two marks that fit, with rows in between, nobody can tell whether they are a remark or vehicles: every line of
//!   it is at fault, and named.
//!
//! A quotation mark in the middle of a cell is a character like others, as spreadsheet programs have it (`pipe 12" long`).

use std::{
    collections::VecDeque,
    io::{self, BufRead, Read as _},
};

use csv::StringRecord;

use crate::reading::Plate;

/// Longest line taken, bytes.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// How far a quotation mark is searched that closes one: longer than any cell that is taken.
const MAX_AHEAD_BYTES: usize = 4_096;

/// One record, whose cells are in the caller's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The line on which it begins, from 1.
    pub row: u64,
    /// Why its cells are not what was meant.
    pub fault: Option<String>,
}

/// Records of a text in which every line ends with `\n`.
pub struct Records<S> {
    source: S,
    delimiter: u8,
    /// Cells of the header; a line with as many may be a row.
    width: usize,
    /// Lines given out so far.
    given: u64,
    ahead: VecDeque<Line>,
    /// The lines to come that stand between two quotation marks, and where those are.
    enclosed: Option<(u64, u64)>,
}

struct Line {
    text: String,
    too_long: bool,
}

/// Why a record does not end with its line.
enum Unfinished {
    /// A quotation mark opened in this column, from 1, and is not closed.
    Open { column: usize },
    /// One was closed and text follows.
    AfterClose { column: usize },
}

impl<S: BufRead> Records<S> {
    pub fn new(source: S) -> Self {
        Self { source, delimiter: b',', width: 2, given: 0, ahead: VecDeque::new(), enclosed: None }
    }

    /// What separates cells, and how many a row has: known once the header was read.
    pub fn set_shape(&mut self, delimiter: u8, width: usize) {
        (self.delimiter, self.width) = (delimiter, width);
    }

    /// Lines given out so far; at the end of the file, all it has.
    pub fn lines(&self) -> u64 {
        self.given
    }

    /// The next line as it stands, taken out of the file.
    pub fn line(&mut self) -> io::Result<Option<(u64, String)>> {
        let Some(line) = self.pull()? else { return Ok(None) };
        self.given += 1;
        Ok(Some((self.given, line.text)))
    }

    /// Puts a line back that [`line`](Self::line) gave.
    pub fn put_back(&mut self, text: String) {
        self.given -= 1;
        self.enclosed = None;
        self.ahead.push_front(Line { text, too_long: false });
    }

    /// The next record.
    pub fn read(&mut self, record: &mut StringRecord) -> io::Result<Option<Read>> {
        record.clear();
        let Some(line) = self.pull()? else { return Ok(None) };
        self.given += 1;
        let row = self.given;
        let fault = |text: String| Ok(Some(Read { row, fault: Some(text) }));
        if line.too_long {
            return fault(format!("the line is longer than {MAX_LINE_BYTES} bytes"));
        }
        if let Some((from, to)) = self.enclosed {
            if row == to {
                self.enclosed = None;
            }
            return fault(format!(
                "stands between the quotation marks that open in row {from} and close in row {to}; delete the one that is \
                 not meant"
            ));
        }
        match split(&line.text, self.delimiter, record) {
            Ok(()) => Ok(Some(Read { row, fault: None })),
            Err(Unfinished::AfterClose { column }) => fault(format!(
                "column {column}: text follows a closing quotation mark; put the cell between two marks, or delete them"
            )),
            Err(Unfinished::Open { column }) => self.over_lines(row, column, line.text, record),
        }
    }

    /// Looks for the mark that closes one, in the lines that follow.
    fn over_lines(
        &mut self,
        row: u64,
        column: usize,
        mut text: String,
        record: &mut StringRecord,
    ) -> io::Result<Option<Read>> {
        let fault = |text: String| Ok(Some(Read { row, fault: Some(text) }));
        let open = || {
            fault(format!(
                "column {column}: a quotation mark opens and is not closed; delete it or close it. Only this line is refused"
            ))
        };
        let (mut lines, mut like_rows) = (0, false);
        loop {
            if text.len() > MAX_AHEAD_BYTES || !self.look_ahead(lines)? {
                return open();
            }
            let Some(line) = self.ahead.get(lines).filter(|line| !line.too_long) else { return open() };
            lines += 1;
            text.push('\n');
            text.push_str(&line.text);
            like_rows |= self.looks_like_row(&line.text);
            if !line.text.contains('"') {
                continue;
            }
            match split(&text, self.delimiter, record) {
                Ok(()) => break,
                Err(Unfinished::Open { .. }) => {}
                Err(Unfinished::AfterClose { .. }) => return open(),
            }
        }
        let last = row + lines as u64;
        if like_rows {
            self.enclosed = Some((row, last));
            return fault(format!(
                "column {column}: a quotation mark opens and closes in row {last}, with rows in between; delete the one that \
                 is not meant. No row up to {last} was taken"
            ));
        }
        self.ahead.drain(..lines);
        self.given = last;
        Ok(Some(Read { row, fault: None }))
    }

    /// Whether a line inside quotation marks may have been a row: it has the cells of one, or a plate.
    fn looks_like_row(&self, line: &str) -> bool {
        let cells = || line.split(char::from(self.delimiter)).map(|cell| cell.trim_matches(['"', ' ', '\t']));
        cells().count() >= self.width.max(2) || cells().any(|cell| Plate::parse(cell).is_ok())
    }

    fn pull(&mut self) -> io::Result<Option<Line>> {
        self.look_ahead(0)?;
        Ok(self.ahead.pop_front())
    }

    /// Makes sure that so many lines and one more wait, if the file has them.
    fn look_ahead(&mut self, lines: usize) -> io::Result<bool> {
        while self.ahead.len() <= lines {
            let Some(line) = self.next_line()? else { return Ok(false) };
            self.ahead.push_back(line);
        }
        Ok(true)
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::with_capacity(128);
        (&mut self.source).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut bytes)?;
        let mut too_long = false;
        match bytes.last() {
            None => return Ok(None),
            Some(b'\n') => drop(bytes.pop()),
            Some(_) => {
                let mut rest = Vec::new();
                while (&mut self.source).take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut rest)? > 0 {
                    too_long = true;
                    if rest.last() == Some(&b'\n') {
                        break;
                    }
                    rest.clear();
                }
            }
        }
        // The source gives UTF-8; a line cut at its greatest length may end within a character.
        let text =
            String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Some(Line { text, too_long }))
    }
}

/// The cells of one text, which may hold line ends within quotation marks.
fn split(text: &str, delimiter: u8, record: &mut StringRecord) -> Result<(), Unfinished> {
    record.clear();
    let delimiter = char::from(delimiter);
    if !text.contains('"') {
        text.split(delimiter).for_each(|cell| record.push_field(cell));
        return Ok(());
    }
    let mut rest = text;
    let mut column = 1;
    let mut unquoted = String::new();
    loop {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            unquoted.clear();
            let after = unquote(quoted, &mut unquoted).ok_or(Unfinished::Open { column })?;
            record.push_field(&unquoted);
            // Blanks behind the mark are passed over, unless they are the delimiter themselves.
            let cut = after.find(|c: char| c == delimiter || !matches!(c, ' ' | '\t')).unwrap_or(after.len());
            let after = after.get(cut..).unwrap_or_default();
            if !(after.is_empty() || after.starts_with(delimiter)) {
                return Err(Unfinished::AfterClose { column });
            }
            after
        } else {
            let end = rest.find(delimiter).unwrap_or(rest.len());
            let (cell, after) = rest.split_at(end);
            record.push_field(cell);
            after
        };
        match after.strip_prefix(delimiter) {
            Some(next) => rest = next,
            None => return Ok(()),
        }
        column += 1;
    }
}

/// Takes the text up to the closing mark, doubled marks being single ones; gives back what follows.
fn unquote<'a>(mut quoted: &'a str, cell: &mut String) -> Option<&'a str> {
    loop {
        let (before, after) = quoted.split_once('"')?;
        cell.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                cell.push('"');
                quoted = more;
            }
            None => return Some(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Seen = Vec<(u64, Result<Vec<String>, String>)>;

    fn read(text: &str, width: usize) -> Seen {
        let mut records = Records::new(text.as_bytes());
        records.set_shape(b',', width);
        let (mut record, mut seen) = (StringRecord::new(), Vec::new());
        while let Some(Read { row, fault }) = records.read(&mut record).expect("in memory") {
            let cells = record.iter().map(str::to_owned).collect();
            seen.push((row, fault.map_or(Ok(cells), Err)));
        }
        assert_eq!(records.lines(), text.lines().count() as u64);
        seen
    }

    fn right(seen: &Seen) -> Vec<u64> {
        seen.iter().filter(|(_, cells)| cells.is_ok()).map(|(row, _)| *row).collect()
    }

    #[test]
    fn a_cell_of_several_lines_is_kept_whole() {
        let seen = read("a,b,\"two\nlines, \"\"one\"\" cell\" \nc,d,12\" pipe\n\"e\",\"\",\"\"\n", 3);
        assert_eq!(seen[0].1.as_ref().expect("whole")[2], "two\nlines, \"one\" cell");
        assert_eq!((seen[1].0, seen[1].1.as_ref().expect("whole")[2].as_str()), (3, "12\" pipe"));
        assert_eq!(seen[2].1.as_ref().expect("whole"), &["e", "", ""]);
    }

    #[test]
    fn an_open_mark_costs_its_line_and_no_other() {
        // Never closed; closed in the middle of a cell; closed where rows stand in between.
        let open = read("a,b,\"x\nc,d,e\nf,g,h\n", 3);
        assert_eq!(right(&open), [2, 3]);
        let clashing = read("a,b,\"12 inch\nc,d,e\nf,g,\"6 inch\nh,i,j\n", 3);
        assert_eq!(right(&clashing), [2, 4]);
        let fitting = read("a,b,\"x\nc,d,e\nf,g,y\"\nh,i,j\n", 3);
        assert_eq!(right(&fitting), [4]);
        assert!(fitting[1].1.as_ref().expect_err("named").contains("open in row 1 and close in row 3"));
        let plates = read("a,b,c,d,\"x\n鲁C12345\ny\"\n", 5);
        assert_eq!((plates.len(), right(&plates).len()), (3, 0), "a plate alone on a line may be a row");
    }

    #[test]
    fn a_line_without_end_is_one_row() {
        let text = format!("a,b\n{}\nc,d\n", "x".repeat(3 * MAX_LINE_BYTES));
        let seen = read(&text, 2);
        assert_eq!(right(&seen), [1, 3]);
    }

    proptest! {
        /// Whatever stands in a text, each of its lines is in one record, and what is written by rule is read as it was.
        #[test]
        fn every_line_is_in_one_record(text in "[a,\"\n鲁C1]{0,200}", width in 2usize..4) {
            let mut text = text;
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            let seen = read(&text, width);
            prop_assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }

        #[test]
        fn quoted_cells_come_back(rows in prop::collection::vec(prop::collection::vec("[a \"鲁;]{0,8}", 3), 1..9)) {
            let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let text: String = rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n").collect();
            let seen: Vec<_> = read(&text, 3).into_iter().map(|(_, cells)| cells.expect("by rule")).collect();
            prop_assert_eq!(seen, rows);
        }
    }
}
