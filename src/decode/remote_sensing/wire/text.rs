//! Text of a passage, read straight into what it stands for.

use std::fmt;

use serde::de;

use crate::{
    fault::Reason,
    reading::{
        Plate, PlateColor, RecordId, StationId, Timestamp,
        passage::{FuelHint, MAX_HINT_BYTES, MAX_HINT_CHARS, RigResult},
        plate::folded::Spelling,
    },
};

/// Text that was read as a `T`, or the reason why it is none: kept apart from serde's errors, which have no reasons.
pub(super) struct Text<T>(pub(super) Result<T, Reason>);

pub(super) trait FromText: Sized {
    fn from_text(text: &str) -> Result<Self, Reason>;
}

impl FromText for StationId {
    fn from_text(text: &str) -> Result<Self, Reason> {
        StationId::parse(text).map_err(|_| Reason::OutOfRange)
    }
}

impl FromText for RecordId {
    fn from_text(text: &str) -> Result<Self, Reason> {
        RecordId::parse(text).map_err(|_| Reason::OutOfRange)
    }
}

impl FromText for Timestamp {
    fn from_text(text: &str) -> Result<Self, Reason> {
        Timestamp::parse_rfc3339(text).ok_or(Reason::WrongType)
    }
}

impl FromText for (Plate, Option<Spelling>) {
    fn from_text(text: &str) -> Result<Self, Reason> {
        Plate::read(text).map_err(|_| Reason::PlateImpossible)
    }
}

impl FromText for PlateColor {
    fn from_text(text: &str) -> Result<Self, Reason> {
        PlateColor::parse(text).ok_or(Reason::WrongType)
    }
}

impl FromText for FuelHint {
    fn from_text(text: &str) -> Result<Self, Reason> {
        Ok(match text {
            "petrol" => FuelHint::Petrol,
            "diesel" => FuelHint::Diesel,
            "gas" => FuelHint::Gas,
            "electric" => FuelHint::Electric,
            "other" => FuelHint::Other,
            _ => return Err(Reason::WrongType),
        })
    }
}

impl FromText for RigResult {
    fn from_text(text: &str) -> Result<Self, Reason> {
        Ok(match text {
            "over" => RigResult::Over,
            "pass" => RigResult::Pass,
            "invalid" => RigResult::Invalid,
            _ => return Err(Reason::WrongType),
        })
    }
}

/// Whether a word is one of a fuel, for those who write mappings.
pub fn fuel_hint_word(text: &str) -> bool {
    FuelHint::from_text(text).is_ok()
}

/// Whether a word is a rig's verdict.
pub fn rig_result_word(text: &str) -> bool {
    RigResult::from_text(text).is_ok()
}

/// The vehicle kind as a rig words it: free text. Its length is counted in characters, as the published schema does; a
/// Chinese word has a third as many of them as bytes.
impl FromText for Box<str> {
    fn from_text(text: &str) -> Result<Self, Reason> {
        // The bytes first: a megabyte need not be counted through.
        let too_long = text.len() > MAX_HINT_BYTES || text.chars().count() > MAX_HINT_CHARS;
        if too_long || text.contains('\0') {
            return Err(Reason::OutOfRange);
        }
        Ok(text.into())
    }
}

impl<'de, T: FromText> de::Deserialize<'de> for Text<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<T: FromText> de::Visitor<'_> for Visitor<T> {
            type Value = Text<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
                // NUL first: whatever else is wrong with such text, NUL is what cannot be stored.
                let parsed = T::from_text(text);
                Ok(Text(parsed.map_err(|reason| if text.contains('\0') { Reason::NulCharacter } else { reason })))
            }
        }
        deserializer.deserialize_str(Visitor(std::marker::PhantomData))
    }
}

/// A whole number, also one written `2.0` or `2e0`: to JSON Schema they are the same.
pub(super) struct Whole(pub(super) i64);

impl<'de> de::Deserialize<'de> for Whole {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Whole, E> {
                Ok(Whole(i64::try_from(number).unwrap_or(i64::MAX)))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole, E> {
                // The cast saturates, and no field reaches as far.
                if number.fract() == 0.0 { Ok(Whole(number as i64)) } else { Err(E::custom("not a whole number")) }
            }
        }
        deserializer.deserialize_i64(Visitor)
    }
}
