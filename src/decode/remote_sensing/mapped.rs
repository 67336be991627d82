//! A foreign object read as if it were ours: keys are renamed and values converted while they are parsed, so that a
//! mapped passage takes one pass and the very code that reads our own form.

use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer as _, MapAccess};
use serde_json::value::RawValue;

use crate::{
    fault::Reason,
    mapping::{Feed, Mapping, Rule},
    strict_json::{self, Keys},
};

/// A name that is no field of ours: counted as unknown, passed over.
const UNKNOWN: &str = "";

pub(super) struct Mapped<'s, 'de, A> {
    foreign: &'s mut A,
    mapping: &'de Mapping,
    /// What the value that comes next becomes.
    next: Next<'de>,
    /// Constants not given out yet; they follow the foreign fields.
    constants: &'de [Rule],
    /// Why a value has no form of ours.
    unfit: &'s mut Option<Reason>,
    counts: &'s mut Counts,
    /// Foreign keys that fill no field; those that do are known by their field.
    unused: Keys,
}

/// What a mapping changes in the count of unknown fields.
#[derive(Default)]
pub(super) struct Counts {
    /// Unknown fields that the mapping knows of.
    pub expected: u32,
    /// Known fields whose word nobody knows, taken as missing.
    pub unknown_words: u32,
}

#[derive(Clone, Copy)]
enum Next<'s> {
    Skipped,
    Field(&'s Rule),
    Constant(&'s Rule, &'s str),
}

impl<'s, 'de, A> Mapped<'s, 'de, A> {
    pub(super) fn new(
        foreign: &'s mut A,
        mapping: &'de Mapping,
        unfit: &'s mut Option<Reason>,
        counts: &'s mut Counts,
    ) -> Self {
        Self {
            foreign,
            mapping,
            next: Next::Skipped,
            constants: mapping.constants(),
            unfit,
            counts,
            unused: Keys::default(),
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Mapped<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let name = match self.foreign.next_key_seed(LookUp(self.mapping))? {
            Some(Found::Rule(rule)) => {
                self.next = Next::Field(rule);
                rule.column()
            }
            Some(Found::Unused { hash, expected }) => {
                if !self.unused.add(hash) {
                    return Err(de::Error::custom("a key twice"));
                }
                self.next = Next::Skipped;
                self.counts.expected += u32::from(expected);
                UNKNOWN
            }
            None if !self.unused.differ() => return Err(de::Error::custom("a key twice")),
            None => {
                let Some((rule, rest)) = self.constants.split_first() else { return Ok(None) };
                self.constants = rest;
                self.next = Next::Constant(rule, rule.constant().unwrap_or_default());
                rule.column()
            }
        };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.next {
            Next::Skipped => self.foreign.next_value_seed(seed),
            Next::Field(rule) => {
                let raw: &'de RawValue = self.foreign.next_value()?;
                self.convert(rule, raw.get(), seed)
            }
            Next::Constant(rule, text) => self.convert(rule, text, seed),
        }
    }
}

impl<'de, A> Mapped<'_, 'de, A> {
    fn convert<V: DeserializeSeed<'de>, E: de::Error>(
        &mut self,
        rule: &'de Rule,
        raw: &'de str,
        seed: V,
    ) -> Result<V::Value, E> {
        let reason = match rule.feed(raw) {
            // Our parser calls a number too large for its float broken JSON.
            Ok(feed) => {
                self.counts.unknown_words += u32::from(feed == Feed::Unknown);
                match seed.deserialize(feed) {
                    Ok(value) => return Ok(value),
                    Err(error) if error.classify() == serde_json::error::Category::Data => Reason::WrongType,
                    Err(_) => Reason::OutOfRange,
                }
            }
            Err(reason) => reason,
        };
        *self.unfit = Some(reason);
        Err(E::custom("a value that the mapping has no form for"))
    }
}

enum Found<'s> {
    Rule(&'s Rule),
    /// A field that fills none of ours; `expected` where the mapping says so.
    Unused {
        hash: u64,
        expected: bool,
    },
}

/// Reads a key as what the mapping makes of it, without keeping its text.
struct LookUp<'s>(&'s Mapping);

impl<'de, 's> DeserializeSeed<'de> for LookUp<'s> {
    type Value = Found<'s>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Found<'s>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'s> de::Visitor<'_> for LookUp<'s> {
    type Value = Found<'s>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Found<'s>, E> {
        Ok(match self.0.rule(name) {
            Some(rule) => Found::Rule(rule),
            None => Found::Unused { hash: strict_json::hash(name), expected: self.0.ignores(name) },
        })
    }
}
