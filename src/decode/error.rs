//! Why a frame was refused.

use std::ops::Range;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::fault::Reason;

use super::serialize::UpperHex;

/// The codes of the `decode` command, and those of the JSON forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameCode {
    NoStartMarker,
    Truncated,
    LengthMismatch,
    ChecksumMismatch,
    UnknownCommand,
    Encrypted,
    NoDialectFits,
    AmbiguousCommand,
    NotHex,
    TooLarge,
    NotJson,
    WrongType,
    MissingField,
    OutOfRange,
    NulCharacter,
    TooManyElements,
}

impl FrameCode {
    pub const fn reason(self) -> Reason {
        match self {
            Self::NoStartMarker => Reason::NoStartMarker,
            Self::Truncated => Reason::Truncated,
            Self::LengthMismatch => Reason::LengthMismatch,
            Self::ChecksumMismatch => Reason::ChecksumMismatch,
            Self::UnknownCommand => Reason::UnknownCommand,
            Self::Encrypted => Reason::Encrypted,
            Self::NoDialectFits => Reason::NoDialectFits,
            Self::AmbiguousCommand => Reason::AmbiguousCommand,
            Self::NotHex => Reason::NotHex,
            Self::TooLarge => Reason::TooLarge,
            Self::NotJson => Reason::NotJson,
            Self::WrongType => Reason::WrongType,
            Self::MissingField => Reason::MissingField,
            Self::OutOfRange => Reason::OutOfRange,
            Self::NulCharacter => Reason::NulCharacter,
            Self::TooManyElements => Reason::TooManyElements,
        }
    }

    /// The word in JSON, the same as the reason's.
    pub const fn name(self) -> &'static str {
        self.reason().name()
    }
}

/// A refused frame (or element of a JSON array), with the bytes it came as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} at {at}: {detail}", code.name())]
pub struct FrameError {
    pub code: FrameCode,
    /// Offset in `raw` of the byte that is wrong or missing.
    pub at: usize,
    /// For a person; never holds an identifier, a position or payload.
    pub detail: String,
    /// The refused bytes as received: the frame, or the run of bytes in which no frame was found, or the text.
    pub raw: Vec<u8>,
    /// As in [`super::Frame::wrapper`].
    pub wrapper: Option<Range<usize>>,
}

impl FrameError {
    pub const fn reason(&self) -> Reason {
        self.code.reason()
    }
}

/// `{"error":{"code":..,"at":..,"detail":..},"raw":"2323.."}`
impl Serialize for FrameError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Cause<'a> {
            code: &'static str,
            at: usize,
            detail: &'a str,
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("error", &Cause { code: self.code.name(), at: self.at, detail: &self.detail })?;
        map.serialize_entry("raw", &UpperHex(&self.raw))?;
        map.end()
    }
}

/// A fault found inside a frame, before its bytes are put beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: FrameCode,
    /// Offset in the frame.
    pub at: usize,
    pub detail: String,
}

impl Fault {
    pub fn new(code: FrameCode, at: usize, detail: impl Into<String>) -> Self {
        Self { code, at, detail: detail.into() }
    }

    pub fn with_raw(self, raw: &[u8]) -> FrameError {
        FrameError { code: self.code, at: self.at, detail: self.detail, raw: raw.to_vec(), wrapper: None }
    }
}
