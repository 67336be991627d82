//! JSON from outside, read by one set of rules wherever it comes from: passages, terminals, status messages, zones, lines of
//! files, bodies of requests.
//!
//! - A byte order mark of UTF-8 is passed over at the very beginning, once. Other encodings are refused by name.
//! - RFC 8259 and nothing else: no NaN, no comments, no trailing commas, no half surrogates, also in what nobody reads.
//! - No key twice in one object, at any depth, however it is spelled (`"pla\u0074e"` is `plate`): whichever of two values
//!   were taken could be the wrong one.
//! - Numbers fit a double. At most [`MAX_DEPTH`] levels of arrays and objects.
//! - An array is split into its elements first ([`split`]), so that one that is not even JSON costs itself only.
//!
//! Readers of serde ([`Passed`], [`value()`]) keep these rules in one pass; where one fails, [`check()`] walks the text once more
//! and says what is wrong and where. Both say the same of every text, which a property test holds them to.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::fault::{Reason, Refusal};

mod check;
mod elements;
mod keys;
mod value;

pub use check::check;
pub use elements::{Piece, TooMany, split};
pub use keys::{Keys, hash};
pub use value::{Passed, value};

/// Most levels of arrays and objects within each other; no message in use has more than five.
pub const MAX_DEPTH: usize = 64;

/// U+FEFF in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub problem: Problem,
    /// Offset of the byte in question, from the beginning of the text.
    pub at: usize,
    /// Names and numbers that lead there, as far as they are names of fields and not content: `position.lon`.
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    Empty,
    NotUtf8,
    /// The encoding it seems to have.
    Encoding(&'static str),
    EndsEarly,
    /// What stands where something else should.
    Syntax(&'static str),
    Doubled,
    TooDeep,
    TooLarge,
    /// An array that can be split no further from here.
    Undecidable(&'static str),
}

impl Problem {
    pub const fn reason(self) -> Reason {
        match self {
            Problem::Doubled => Reason::WrongType,
            Problem::TooLarge => Reason::OutOfRange,
            _ => Reason::NotJson,
        }
    }
}

impl Fault {
    fn new(problem: Problem, at: usize) -> Self {
        Self { problem, at, path: String::new() }
    }

    /// The same fault in a text of which this one is a part.
    #[must_use]
    pub fn behind(mut self, bytes: usize) -> Self {
        self.at += bytes;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::Empty => return f.write_str("empty message"),
            Problem::NotUtf8 => write!(f, "not UTF-8")?,
            Problem::Encoding(name) => write!(f, "this is {name}; texts are read in UTF-8")?,
            Problem::EndsEarly => write!(f, "broken JSON: the text ends early")?,
            Problem::Syntax(what) => write!(f, "broken JSON: {what}")?,
            Problem::Doubled => write!(f, "a field is given twice")?,
            Problem::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels")?,
            Problem::TooLarge => write!(f, "a number too large")?,
            Problem::Undecidable(why) => write!(f, "broken array: {why}")?,
        }
        write!(f, ", at byte {}", self.at)?;
        if !self.path.is_empty() {
            write!(f, " ({})", self.path)?;
        }
        Ok(())
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Refusal::new(fault.problem.reason(), fault.to_string())
    }
}

/// The bytes behind a byte order mark at the beginning, and the length of that mark. Encodings of two and four bytes a
/// character are refused: JSON begins with an ASCII character, so that they show in the first bytes.
pub fn opened(bytes: &[u8]) -> Result<(usize, &[u8]), Fault> {
    let other = |name| Err(Fault::new(Problem::Encoding(name), 0));
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, _, ..] | [_, 0, 0, 0, ..] => other("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=255, ..] | [1..=255, 0, ..] => other("UTF-16"),
        _ => Ok(bytes.strip_prefix(BYTE_ORDER_MARK).map_or((0, bytes), |rest| (BYTE_ORDER_MARK.len(), rest))),
    }
}

/// The text of a message behind its byte order mark, and the length of that mark.
pub fn text(bytes: &[u8]) -> Result<(usize, &str), Fault> {
    let (mark, rest) = opened(bytes)?;
    match utf8(rest) {
        Ok(text) => Ok((mark, text)),
        Err(fault) => Err(fault.behind(mark)),
    }
}

pub fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| Fault::new(Problem::NotUtf8, error.valid_up_to()))
}

/// Why a document is not what was expected; for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    Json(Fault),
    /// Good JSON of another content.
    #[error("{0}")]
    Content(String),
}

/// Reads a whole document that is not on the path of readings: walked through once, then read.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ReadError> {
    let (mark, text) = text(bytes).map_err(ReadError::Json)?;
    check(text).map_err(|fault| ReadError::Json(fault.behind(mark)))?;
    serde_json::from_str(text).map_err(|error| ReadError::Content(error.to_string()))
}

#[cfg(test)]
mod tests;
