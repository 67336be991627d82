//! Remote-sensing passages: JSON in, [`Passage`]s out, each element of an array on its own.
//!
//! Contract: one object, or an array of at most [`MAX_ELEMENTS`]. An element that is refused never harms its
//! neighbours, and its own bytes come along, so that exactly it can be put aside and later replayed. Fields that nobody
//! named are ignored and counted. Text of a refusal names the field and never repeats what stood in it.
//!
//! A single object is parsed once, straight into its fields; only an array pays for a first pass that finds where its
//! elements begin and end.

use serde::de::{self, DeserializeSeed};
use serde_json::value::RawValue;

use crate::{
    fault::{Reason, Refusal},
    mapping::Mapping,
    reading::passage::Passage,
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
    /// Exactly the bytes of this element as they came.
    pub raw: &'a [u8],
    pub passage: Result<Passage, Refusal>,
    /// Fields of the element that the contract does not name.
    pub unknown_fields: u32,
}

/// Finds the passages of a message; each is decoded when the iterator reaches it.
///
/// Fails as a whole where elements cannot be told apart: not UTF-8, neither object nor array, an array with broken
/// syntax or with more than [`MAX_ELEMENTS`]. A single broken object is one element with a refusal.
pub fn decode(payload: &[u8]) -> Result<Elements<'_>, Refusal> {
    decode_mapped(payload, None)
}

/// The same for a source that has its own names, units and codes: each object is read through the mapping. Refusals
/// name the source's own fields; `raw` stays what the source sent.
pub fn decode_mapped<'a>(payload: &'a [u8], mapping: Option<&'a Mapping>) -> Result<Elements<'a>, Refusal> {
    let text = std::str::from_utf8(payload)
        .map_err(|e| Refusal::new(Reason::NotJson, format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    match text.bytes().find(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
        Some(b'{') => Ok(Elements { index: 0, mapping, rest: Rest::One(Some(text)) }),
        Some(b'[') => Ok(Elements { index: 0, mapping, rest: Rest::Many(split(text)?.into_iter()) }),
        None => Err(Refusal::new(Reason::NotJson, "empty message")),
        Some(_) if serde_json::from_str::<&RawValue>(text).is_ok() => {
            Err(Refusal::new(Reason::WrongType, "neither an object nor an array"))
        }
        Some(_) => Err(Refusal::new(Reason::NotJson, "begins like no JSON value")),
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
    One(Option<&'a str>),
    Many(std::vec::IntoIter<&'a RawValue>),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let text = match &mut self.rest {
            Rest::One(text) => text.take()?,
            Rest::Many(slices) => slices.next()?.get(),
        };
        let index = self.index;
        self.index += 1;
        let (passage, unknown_fields) = wire::object(text, self.mapping);
        Some(Element { index, raw: text.as_bytes(), passage, unknown_fields })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.rest {
            Rest::One(text) => usize::from(text.is_some()),
            Rest::Many(slices) => slices.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

fn split(text: &str) -> Result<Vec<&RawValue>, Refusal> {
    let mut too_many = false;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let slices = Slices { too_many: &mut too_many }
        .deserialize(&mut deserializer)
        .and_then(|slices| deserializer.end().map(|()| slices));
    slices.map_err(|error| match too_many {
        true => Refusal::new(Reason::TooManyElements, format!("more than {MAX_ELEMENTS} elements in one message")),
        false => wire::syntax(&error),
    })
}

/// Collects the slices of an array and stops reading at the first one too many.
struct Slices<'p> {
    too_many: &'p mut bool,
}

impl<'de> DeserializeSeed<'de> for Slices<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> de::Visitor<'de> for Slices<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of passages")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut slices = Vec::new();
        while let Some(slice) = seq.next_element()? {
            if slices.len() == MAX_ELEMENTS {
                *self.too_many = true;
                return Err(de::Error::custom("too many elements"));
            }
            slices.push(slice);
        }
        Ok(slices)
    }
}

#[cfg(test)]
mod tests;
