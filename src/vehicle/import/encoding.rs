//! What a file is: a text in one of several encodings, a workbook, or something else by its first bytes. And a reader that
//! gives UTF-8 whichever text it is.

mod decoded;
mod evidence;
mod foreign;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use encoding_rs::{Encoding, GB18030, UTF_8, UTF_16BE, UTF_16LE};
use sha2::{Digest as _, Sha256};

pub use decoded::Decoded;
use evidence::Evidence;
pub use evidence::Leaning;
pub use foreign::Foreign;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;

/// What a first pass over the file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Of a text whose bytes do not decide, only the likelier one until [`super::settle`] looked at its rows.
    pub form: Form,
    pub bytes: u64,
    pub sha256: [u8; 32],
    /// Line ends counted: an upper bound of the rows, for progress; of a workbook nobody knows before it is read.
    pub lines: u64,
    /// What the bytes lead to where UTF-8 and GBK are both possible; `None` where there is no doubt.
    pub doubt: Option<Leaning>,
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text(TextEncoding),
    /// XLSX; whether the archive really holds one shows when it is opened.
    Workbook,
}

impl Form {
    pub const fn name(self) -> &'static str {
        match self {
            Form::Text(encoding) => encoding.name(),
            Form::Workbook => "XLSX",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TextEncoding {
    #[value(name = "utf-8", alias = "utf8")]
    Utf8,
    /// Read as GB 18030, which holds GBK and GB 2312 whole.
    #[value(name = "gbk", aliases = ["gb18030", "gb2312"])]
    Gbk,
    #[value(name = "utf-16le")]
    Utf16Le,
    #[value(name = "utf-16be")]
    Utf16Be,
}

impl TextEncoding {
    pub const fn name(self) -> &'static str {
        match self {
            TextEncoding::Utf8 => "UTF-8",
            TextEncoding::Gbk => "GBK",
            TextEncoding::Utf16Le => "UTF-16LE",
            TextEncoding::Utf16Be => "UTF-16BE",
        }
    }

    fn table(self) -> &'static Encoding {
        match self {
            TextEncoding::Utf8 => UTF_8,
            TextEncoding::Gbk => GB18030,
            TextEncoding::Utf16Le => UTF_16LE,
            TextEncoding::Utf16Be => UTF_16BE,
        }
    }
}

/// Why the bytes of a file cannot be read as a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    #[error("the file is {}; {}", .0.what(), .0.advice())]
    Foreign(Foreign),
    #[error(
        "the file can be read as UTF-8 and as GBK{}, and nothing in it tells which is meant; nothing was taken. Name the \
         encoding with `--encoding utf-8` or `--encoding gbk`, or save it as .xlsx",
        .row.map(|row| format!(" (row {row} says something else in each)")).unwrap_or_default()
    )]
    Undecided { row: Option<u64> },
    #[error(
        "{utf8} rows are right only in UTF-8 and {gbk} only in GBK: two files were put together; nothing was taken. Save \
         both in one encoding, or name the one to believe with `--encoding`"
    )]
    Mixed { utf8: u64, gbk: u64 },
}

/// Reads the whole file once: its hash, its length, what it is, and what its bytes say about its encoding.
///
/// A byte order mark decides, and so do the zero bytes of UTF-16. Between UTF-8 and GBK bytes do not: see
/// [`super::settle`].
pub fn inspect(path: &Path) -> io::Result<Result<Inspected, EncodingError>> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut evidence = Evidence::default();
    let mut start: Vec<u8> = Vec::with_capacity(foreign::START);
    let mut block = vec![0; BLOCK];
    loop {
        let length = match file.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = block.get(..length).unwrap_or_default();
        start.extend(read.iter().take(foreign::START - start.len()));
        hash.update(read);
        evidence.take(read);
    }
    let foreign = foreign::by_start(&start, || foreign::is_encrypted_workbook(path))?;
    if let Some(foreign) = foreign {
        return Ok(Err(EncodingError::Foreign(foreign)));
    }
    let mut doubt = None;
    let form = match *start {
        [b'P', b'K', 3, 4, ..] => Form::Workbook,
        [0xef, 0xbb, 0xbf, ..] => Form::Text(TextEncoding::Utf8),
        [0xff, 0xfe, ..] => Form::Text(TextEncoding::Utf16Le),
        [0xfe, 0xff, ..] => Form::Text(TextEncoding::Utf16Be),
        [0x84, 0x31, 0x95, 0x33, ..] => Form::Text(TextEncoding::Gbk),
        _ => Form::Text(match evidence.utf16() {
            Some(encoding) => encoding,
            None if evidence.is_ascii() => TextEncoding::Utf8,
            None => {
                let leaning = evidence.leaning();
                doubt = Some(leaning);
                if leaning == Leaning::Gbk { TextEncoding::Gbk } else { TextEncoding::Utf8 }
            }
        }),
    };
    let lines = if form == Form::Workbook { 0 } else { evidence.lines() };
    Ok(Ok(Inspected { form, bytes: evidence.bytes(), sha256: hash.finalize().into(), lines, doubt }))
}
