//! Names that devices and registers give: parsed once, then trusted. No plain `String` crosses a stage.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("identifier is empty")]
    Empty,
    #[error("identifier is longer than {MAX_ID_CHARS} characters")]
    TooLong,
    /// NUL cannot be stored by PostgreSQL; the rest of C0 and `/ + #` would break topics and logs.
    #[error("identifier holds a control character or one of / + #")]
    IllegalCharacter,
}

/// Longest identifier taken, characters: fits every code and every Chinese name in use and keeps index rows small. The
/// published schemas count characters too.
pub const MAX_ID_CHARS: usize = 64;
/// The same in bytes of UTF-8, whatever the characters.
pub const MAX_ID_BYTES: usize = 4 * MAX_ID_CHARS;

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    // Most are shorter in bytes than they may be in characters, and a megabyte need not be counted through.
    if text.len() > MAX_ID_CHARS && (text.len() > MAX_ID_BYTES || text.chars().count() > MAX_ID_CHARS) {
        return Err(IdError::TooLong);
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f || matches!(b, b'/' | b'+' | b'#')) {
        return Err(IdError::IllegalCharacter);
    }
    Ok(())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes 1..=64 characters without control characters and without `/ + #`.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an identifier")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

identifier!(
    /// A roadside remote-sensing station.
    StationId
);
identifier!(
    /// A terminal or machine: the VIN of an OBD terminal's vehicle, a retrofit terminal's number, a machine's code.
    DeviceId
);
identifier!(
    /// A station's own number for one passage; unique within the station.
    RecordId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_checked() {
        assert!(StationId::parse("370306-01").is_ok());
        assert_eq!(StationId::parse(""), Err(IdError::Empty));
        assert_eq!(StationId::parse("a/b"), Err(IdError::IllegalCharacter));
        assert_eq!(RecordId::parse("a\0b"), Err(IdError::IllegalCharacter));
        assert_eq!(DeviceId::parse(&"x".repeat(65)), Err(IdError::TooLong));
        for longest in ["x", "站", "𫟷"].map(|character| character.repeat(64)) {
            assert!(RecordId::parse(&longest).is_ok(), "{longest}");
            assert_eq!(RecordId::parse(&format!("{longest}x")), Err(IdError::TooLong));
        }
    }
}
