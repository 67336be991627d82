//! Remote-sensing passages: JSON in, [`Passage`]s out, each element of an array on its own.
//!
//! Contract: one object, or an array of 1 to [`MAX_ELEMENTS`]. An element that is refused never harms its
//! neighbours, and its own bytes come along, so that exactly it can be put aside and later replayed. Fields that nobody
//! named are ignored and counted. Text of a refusal names the field and never repeats what stood in it.
//!
//! A single object is parsed once, straight into its fields; only an array pays for a first pass that finds where its
//! elements begin and end. What is JSON and what is not, [`strict_json`] says.

use crate::{
    fault::{Reason, Refusal},
    mapping::Mapping,
    reading::passage::Passage,
    strict_json::{self, Piece, TooMany},
};

mod mapped;
pub mod message;
mod wire;

pub use wire::{FIELDS, fuel_hint_word, rig_result_word};

/// Most passages taken from one message (contract section 2).
pub const MAX_ELEMENTS: usize = 500;

/// One passage of a message, or why it is none.
#[derive(Debug)]
pub struct Element<'a> {
    /// Place in the array; 0 for a single object.
    pub index: usize,
    /// Exactly the bytes of this element as they came; those of the whole message for a single object.
    pub raw: &'a [u8],
    pub passage: Result<Passage, Refusal>,
    /// Fields of the element that the contract does not name.
    pub unknown_fields: u32,
}

/// Finds the passages of a message; each is decoded when the iterator reaches it.
///
/// Fails as a whole where nothing can be told apart: another encoding, neither object nor array, an array without elements
/// or with more than [`MAX_ELEMENTS`]. A single broken object is one element with a refusal, and so is what cannot be told
/// apart in the rest of an array.
pub fn decode(payload: &[u8]) -> Result<Elements<'_>, Refusal> {
    decode_mapped(payload, None)
}

/// The same for a source that has its own names, units and codes: each object is read through the mapping. Refusals
/// name the source's own fields; `raw` stays what the source sent.
pub fn decode_mapped<'a>(payload: &'a [u8], mapping: Option<&'a Mapping>) -> Result<Elements<'a>, Refusal> {
    let (mark, bytes) = strict_json::opened(payload)?;
    let rest = match bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        Some(b'{') => Rest::One(Some((payload, mark))),
        Some(b'[') => Rest::Many(split(bytes)?.into_iter()),
        _ => return Err(no_message(bytes, mark)),
    };
    Ok(Elements { index: 0, mapping, rest })
}

fn no_message(bytes: &[u8], mark: usize) -> Refusal {
    match strict_json::utf8(bytes).and_then(strict_json::check) {
        Err(fault) => fault.behind(mark).into(),
        Ok(()) => Refusal::new(Reason::WrongType, "neither an object nor an array"),
    }
}

fn split(bytes: &[u8]) -> Result<Vec<Piece<'_>>, Refusal> {
    match strict_json::split(bytes, MAX_ELEMENTS) {
        Ok(pieces) if pieces.is_empty() => Err(Refusal::new(Reason::MissingField, "an array without elements")),
        Ok(pieces) => Ok(pieces),
        Err(TooMany) => {
            let detail = format!("more than {MAX_ELEMENTS} elements in one message");
            Err(Refusal::new(Reason::TooManyElements, detail))
        }
    }
}

/// The elements of one message in order.
#[derive(Debug)]
pub struct Elements<'a> {
    index: usize,
    mapping: Option<&'a Mapping>,
    rest: Rest<'a>,
}

#[derive(Debug)]
enum Rest<'a> {
    /// The message, and the length of its byte order mark.
    One(Option<(&'a [u8], usize)>),
    Many(std::vec::IntoIter<Piece<'a>>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (raw, mark, fault) = match &mut self.rest {
            Rest::One(message) => message.take().map(|(raw, mark)| (raw, mark, None))?,
            Rest::Many(pieces) => pieces.next().map(|piece| (piece.raw, 0, piece.fault))?,
        };
        let index = self.index;
        self.index += 1;
        let text = fault.map_or_else(|| strict_json::utf8(raw.get(mark..).unwrap_or_default()), Err);
        let (passage, unknown_fields) = match text {
            Ok(text) => wire::object(text, mark, self.mapping),
            Err(fault) => (Err(fault.behind(mark).into()), 0),
        };
        Some(Element { index, raw, passage, unknown_fields })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.rest {
            Rest::One(message) => usize::from(message.is_some()),
            Rest::Many(pieces) => pieces.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

#[cfg(test)]
mod tests;
