//! One byte of a list is another one: whatever it is, no vehicle is gone and none is another without a refused row.
//!
//! What a damaged file says is what a person sees who opens it; a digit that became another digit nobody can tell. So an
//! independent reader, which splits lines and cells without any cleverness, says what is seen. Then: every line is taken,
//! refused or blank; a row that is taken has the plate that is seen; and rows without the damaged byte are taken as ever.

use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
};

use encoding_rs::GB18030;

use super::*;
use crate::{
    reading::{Plate, PlateKey},
    vehicle::import::rows::{ListRow, Row as _},
};

const ROWS: usize = 200;

/// Bytes that mean something to a reader of tables, and some that do not.
const VALUES: [u8; 16] =
    [b'"', b',', b'\n', b'\r', 0, b' ', b';', b'\t', b'1', b'A', b'\'', 0x80, 0xb3, 0xc2, 0xef, 0xff];

fn table(quoted: bool, end: &str) -> String {
    let line = |cells: [&str; 4]| {
        let cells = cells.map(|cell| if quoted { format!("\"{cell}\"") } else { cell.to_owned() });
        cells.join(",") + end
    };
    let mut text = line(["plate", "plate_color", "valid_from", "reason"]);
    for number in 0..ROWS {
        text += &line([&format!("鲁C{:05}", 10_000 + number), "yellow", "2026-01-01", "stage III"]);
    }
    text
}

/// The lines that a person sees, whatever ends them.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        lines.push(&rest[..end]);
        rest = &rest[end..];
        rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\n', '\r'])).unwrap_or(rest);
    }
    lines
}

struct Damaged<'a> {
    bytes: &'a [u8],
    decode: fn(&[u8]) -> String,
    original: &'a [(u64, ListRow)],
}

impl Damaged<'_> {
    /// Whether the file was taken; panics where it is not what is seen.
    fn check(&self, position: usize, value: u8, file: &mut tempfile::NamedTempFile) -> bool {
        let mut bytes = self.bytes.to_vec();
        let context = format!("byte {position} is {value:#04x} instead of {:#04x}", bytes[position]);
        bytes[position] = value;
        file.as_file().set_len(0).expect("emptied");
        std::io::Seek::rewind(file).expect("at the begin");
        file.write_all(&bytes).expect("written");
        let Ok((taken, summary)) = read(file.path(), &Reading::default(), ListRow::HEADER, ListRow::parse) else {
            return false;
        };
        let seen = (self.decode)(&bytes);
        let seen = lines(seen.trim_start_matches('\u{feff}'));
        // A line end within quotation marks is a part of its cell, and the row goes over two lines.
        let lines = seen.len() as u64 - 1;
        let within = matches!(value, b'\n' | b'\r') && summary.rows + 1 == lines;
        assert!(summary.rows == lines || within, "{context}: every line below the header is a row");
        let by_row: HashMap<u64, &ListRow> = taken.iter().map(|(row, entry)| (*row, entry)).collect();
        let keys: HashSet<PlateKey> = taken.iter().map(|(_, entry)| entry.key).collect();
        let refused = |row: u64| summary.refusals.rows().iter().any(|refused| refused.row == row);
        for (row, entry) in &taken {
            let line = seen[*row as usize - 1];
            let plate = line.split(',').next().unwrap_or_default().trim_matches('"');
            let key = Plate::parse(plate).map(|plate| PlateKey::new(plate, entry.key.colour()));
            assert_eq!(key.as_ref(), Ok(&entry.key), "{context}: row {row} is another vehicle than is seen");
        }
        // Rows before the damage have their numbers; those behind it may have moved by the line that it made or took.
        let before = self.bytes[..position].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
        let moved = seen.len() as i64 - (ROWS as i64 + 1);
        let header = self.bytes.iter().position(|&byte| byte == b'\n').unwrap_or_default();
        for (row, entry) in self.original {
            if position <= header {
                // A name of a column that is another one may cost its cells, or every row; none without being named.
                assert!(keys.contains(&entry.key) || summary.refusals.count() > 0, "{context}: row {row} is gone");
                continue;
            }
            let (row, is_near) = match row.cmp(&before) {
                std::cmp::Ordering::Less => (*row, false),
                // The damaged row itself, and the next one where the damage took the end between the two.
                std::cmp::Ordering::Equal => (*row, true),
                std::cmp::Ordering::Greater => {
                    let now = row.saturating_add_signed(moved);
                    (now, self.bytes[position] < 0x20 && *row == before + 1)
                }
            };
            let found = by_row.get(&row).copied();
            if is_near {
                // Named, or there as it is seen (checked above), or one with the row before, which then is named.
                assert!(
                    found.is_some() || refused(row) || refused(before) || moved != 0,
                    "{context}: row {row} is gone"
                );
            } else {
                assert_eq!(found, Some(entry), "{context}: row {row} has no part in it");
            }
        }
        let original: HashSet<PlateKey> = self.original.iter().map(|(_, row)| row.key).collect();
        let same = taken.iter().filter(|(_, row)| original.contains(&row.key)).count();
        assert!(same + 1 >= ROWS || summary.refusals.count() > 0, "{context}: fewer without a refused row");
        true
    }
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn gbk(bytes: &[u8]) -> String {
    GB18030.decode_without_bom_handling(bytes).0.into_owned()
}

fn each(bytes: &[u8], decode: fn(&[u8]) -> String, tried: impl Iterator<Item = (usize, u8)>) {
    let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
    file.write_all(bytes).expect("written");
    let (original, read) = read(file.path(), &Reading::default(), ListRow::HEADER, ListRow::parse).expect("undamaged");
    assert_eq!((original.len(), read.refusals.count()), (ROWS, 0));
    let damaged = &Damaged { bytes, decode, original: &original };
    let header = bytes.iter().position(|&byte| byte == b'\n').expect("a header");
    let tried: Vec<_> = tried.filter(|&(position, value)| bytes[position] != value).collect();
    std::thread::scope(|scope| {
        for part in tried.chunks(tried.len().div_ceil(4).max(1)) {
            scope.spawn(move || {
                let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
                for &(position, value) in part {
                    let taken = damaged.check(position, value, &mut file);
                    assert!(
                        taken || position <= header,
                        "byte {position} as {value:#04x}: the file need not be refused"
                    );
                }
            });
        }
    });
}

#[test]
fn any_byte_of_a_list_may_be_damaged() {
    let text = table(false, "\n");
    // Every position with one value of the sample each, in turn.
    each(text.as_bytes(), utf8, (0..text.len()).map(|position| (position, VALUES[position * 7 % VALUES.len()])));
}

#[test]
fn any_byte_of_a_quoted_list_may_be_damaged() {
    let text = table(true, "\r\n");
    each(
        text.as_bytes(),
        utf8,
        (0..text.len()).step_by(3).map(|position| (position, VALUES[position / 3 % VALUES.len()])),
    );
}

#[test]
fn any_value_may_stand_in_a_damaged_byte() {
    for (quoted, end) in [(false, "\n"), (true, "\n")] {
        let text = table(quoted, end);
        // A name of the header, its end, the begin of a row and its end.
        let line = text.lines().nth(1).map_or(0, str::len) + 1;
        let header = text.lines().next().map_or(0, str::len);
        let begin = header + 1 + 100 * line;
        let positions = [2, header, begin, begin + 1, begin + line - 1];
        let tried = positions.into_iter().flat_map(|position| (0..=u8::MAX).map(move |value| (position, value)));
        each(text.as_bytes(), utf8, tried);
    }
}

#[test]
fn any_byte_of_a_gbk_list_may_be_damaged() {
    let bytes = GB18030.encode(&table(false, "\n")).0.into_owned();
    each(&bytes, gbk, (0..bytes.len()).step_by(5).map(|position| (position, VALUES[position / 5 % VALUES.len()])));
}

#[test]
fn a_damaged_byte_order_mark_costs_no_vehicle() {
    let bytes = [b"\xef\xbb\xbf", table(false, "\n").as_bytes()].concat();
    each(&bytes, utf8, (0..3).flat_map(|position| VALUES.map(|value| (position, value))));
}
