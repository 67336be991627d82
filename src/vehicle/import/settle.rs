//! Which of two encodings a text is in, decided by what its rows must hold.
//!
//! Validity does not decide: 鲁 and 豫 in GBK are good UTF-8, and most UTF-8 can be read as GBK. But a plate begins with a
//! province, three bytes in one encoding and two in the other, and no reading of the one is a plate in the other. So both
//! are read, as a sample, and the one in which more rows are right is meant; the others of its rows are refused as any wrong
//! row is. Where no row tells (stations without a name, say), the bytes lead; where these lead nowhere, nobody guesses.
//!
//! The cost: the first rows (`SAMPLE`) are read twice more, some tenths of a second; all rows where none of these tells.

use std::path::Path;

use super::{
    ImportError,
    accounts::ReadSummary,
    encoding::{EncodingError, Form, Inspected, Leaning, TextEncoding},
    sheet::{Cells, Columns, Reading, Sheet},
};

/// Rows looked at, unless none of them tells.
const SAMPLE: u64 = 50_000;

/// Puts the encoding into `inspected` that the operator names or the rows tell.
pub fn settle<E: PartialEq>(
    path: &Path,
    inspected: &mut Inspected,
    reading: &Reading,
    columns: Columns,
    parse: impl Fn(&Cells) -> Result<E, String> + Copy,
) -> Result<(), ImportError> {
    if inspected.form == Form::Workbook {
        return Ok(());
    }
    if let Some(encoding) = reading.encoding {
        inspected.form = Form::Text(encoding);
        inspected.doubt = None;
        return Ok(());
    }
    let Some(leaning) = inspected.doubt.take() else { return Ok(()) };
    let rows = |encoding, rows| sample(path, encoding, reading, columns, parse, rows);
    let encoding = match (rows(TextEncoding::Utf8, SAMPLE), rows(TextEncoding::Gbk, SAMPLE)) {
        (Ok(utf8), Ok(gbk)) if utf8.is_empty() && gbk.is_empty() && inspected.lines > SAMPLE => {
            by_rows(&rows(TextEncoding::Utf8, u64::MAX)?, &rows(TextEncoding::Gbk, u64::MAX)?, leaning)?
        }
        (Ok(utf8), Ok(gbk)) => by_rows(&utf8, &gbk, leaning)?,
        // The header is one in this encoding only.
        (Ok(_), Err(ImportError::Header(_))) => TextEncoding::Utf8,
        (Err(ImportError::Header(_)), Ok(_)) => TextEncoding::Gbk,
        // Opening the file will say what is wrong with it.
        (Err(ImportError::Header(_)), Err(ImportError::Header(_))) => return Ok(()),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    inspected.form = Form::Text(encoding);
    Ok(())
}

/// Right rows by number.
type Right<E> = Vec<(u64, E)>;

/// The right ones among the first rows that hold something other than ASCII.
fn sample<E>(
    path: &Path,
    encoding: TextEncoding,
    reading: &Reading,
    columns: Columns,
    parse: impl Fn(&Cells) -> Result<E, String>,
    rows: u64,
) -> Result<Right<E>, ImportError> {
    let mut sheet = Sheet::open(path, Form::Text(encoding), reading, columns)?;
    let mut right = Vec::new();
    let tell = |cells: &Cells| if cells.is_ascii() { Ok(None) } else { parse(cells).map(Some) };
    sheet.read_up_to(rows, tell, &mut ReadSummary::default(), |number, row| {
        right.extend(row.map(|row| (number, row)));
        (right.len() as u64) < SAMPLE
    })?;
    Ok(right)
}

fn by_rows<E: PartialEq>(utf8: &Right<E>, gbk: &Right<E>, leaning: Leaning) -> Result<TextEncoding, EncodingError> {
    let (mut only_utf8, mut only_gbk, mut differs) = (0, 0, None);
    let (mut left, mut right) = (utf8.iter().peekable(), gbk.iter().peekable());
    loop {
        match (left.peek(), right.peek()) {
            (Some((a, row)), Some((b, other))) if a == b => {
                if row != other {
                    differs = differs.or(Some(*a));
                }
                left.next();
                right.next();
            }
            (Some((a, _)), Some((b, _))) if a < b => {
                only_utf8 += 1;
                left.next();
            }
            (Some(_), None) => {
                only_utf8 += 1;
                left.next();
            }
            (_, Some(_)) => {
                only_gbk += 1;
                right.next();
            }
            (None, None) => break,
        }
    }
    match leaning {
        _ if only_utf8 > only_gbk => Ok(TextEncoding::Utf8),
        _ if only_gbk > only_utf8 => Ok(TextEncoding::Gbk),
        _ if only_utf8 > 0 => Err(EncodingError::Mixed { utf8: only_utf8, gbk: only_gbk }),
        Leaning::Gbk => Ok(TextEncoding::Gbk),
        Leaning::Neither if differs.is_some() => Err(EncodingError::Undecided { row: differs }),
        Leaning::Utf8 | Leaning::Neither => Ok(TextEncoding::Utf8),
    }
}
