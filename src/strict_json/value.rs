//! Readers that keep the rules while serde reads: one that builds the document, and one that only passes over it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{Fault, Keys, MAX_DEPTH, check, hash};

/// A whole document.
pub fn value(text: &str) -> Result<Value, Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Build { depth: 0 }.deserialize(&mut deserializer);
    match read.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        // Both keep the same rules; where they did not, nothing is taken.
        Err(error) => match check(text) {
            Err(fault) => Err(fault),
            Ok(()) => Err(Fault::new(super::Problem::Syntax("it cannot be read"), error.column())),
        },
    }
}

/// A value that nobody reads: passed over, but by the same rules as one that is read. It stands in an object of the
/// document's first level.
pub struct Passed;

impl Passed {
    /// For a value so many levels down: 1 in the document's own object.
    pub const fn at_depth(depth: usize) -> Skim {
        Skim { depth }
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::at_depth(1).deserialize(deserializer)
    }
}

/// [`Passed`] at some depth.
#[derive(Clone, Copy)]
pub struct Skim {
    /// Arrays and objects around the value.
    depth: usize,
}

impl Skim {
    fn inner<E: Error>(self) -> Result<Self, E> {
        inner(self.depth).map(|depth| Self { depth })
    }
}

fn inner<E: Error>(depth: usize) -> Result<usize, E> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(E::custom("too deep")) }
}

impl<'de> DeserializeSeed<'de> for Skim {
    type Value = Passed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Passed, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skim {
    type Value = Passed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_str<E>(self, _: &str) -> Result<Passed, E> {
        Ok(Passed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Passed, A::Error> {
        let inner = self.inner()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(Passed)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Passed, A::Error> {
        let inner = self.inner()?;
        let mut keys = Keys::default();
        while let Some(Hash(key)) = map.next_key()? {
            if !keys.add(key) {
                return Err(A::Error::custom("a key twice"));
            }
            map.next_value_seed(inner)?;
        }
        if keys.differ() { Ok(Passed) } else { Err(A::Error::custom("a key twice")) }
    }
}

/// A key of which only the hash is kept.
struct Hash(u64);

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;
        impl Visitor<'_> for OfText {
            type Value = Hash;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, key: &str) -> Result<Hash, E> {
                Ok(Hash(hash(key)))
            }
        }
        deserializer.deserialize_identifier(OfText)
    }
}

struct Build {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Build {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("a number too large"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = inner(self.depth)?;
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element_seed(Build { depth })? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = inner(self.depth)?;
        let mut fields = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if fields.insert(key, map.next_value_seed(Build { depth })?).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(Value::Object(fields))
    }
}
