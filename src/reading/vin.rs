//! Vehicle identification numbers, GB 16735.

use std::fmt;

use serde::{Serialize, Serializer};

/// Seventeen printable ASCII characters as a terminal sent them. A wrong check digit or a letter that GB 16735 excludes
/// is a property to flag, never a reason to refuse: real fleets send both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vin([u8; 17]);

/// Weights by position 1..17 (GB 16735).
const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

impl Vin {
    /// Takes exactly 17 bytes of printable ASCII without spaces.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let array: [u8; 17] = bytes.try_into().ok()?;
        array.iter().all(u8::is_ascii_graphic).then_some(Self(array))
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// `I`, `O`, `Q`, lower case and signs never appear in a legal VIN.
    pub fn has_illegal_character(&self) -> bool {
        self.0.iter().any(|&c| transliterate(c).is_none())
    }

    /// Whether position 9 holds the remainder of the weighted sum modulo 11; `false` where a character is illegal.
    pub fn check_digit_holds(&self) -> bool {
        let mut sum = 0;
        for (&character, weight) in self.0.iter().zip(WEIGHTS) {
            let Some(value) = transliterate(character) else { return false };
            sum += value * weight;
        }
        let expected = match sum % 11 {
            10 => b'X',
            digit => b'0' + digit as u8,
        };
        self.0[8] == expected
    }
}

/// The value of a character by GB 16735: digits are themselves, letters by its table.
fn transliterate(character: u8) -> Option<u32> {
    Some(match character {
        b'0'..=b'9' => u32::from(character - b'0'),
        b'A'..=b'H' => u32::from(character - b'A') + 1,
        b'J'..=b'N' => u32::from(character - b'J') + 1,
        b'P' => 7,
        b'R' => 9,
        b'S'..=b'Z' => u32::from(character - b'S') + 2,
        _ => return None,
    })
}

impl fmt::Display for Vin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Vin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vin({})", self.as_str())
    }
}

impl Serialize for Vin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digit() {
        for good in ["1M8GDM9AXKP042788", "11111111111111111"] {
            assert!(Vin::parse(good).expect("17 characters").check_digit_holds(), "{good}");
        }
        let wrong = Vin::parse("LWHTEST1234567895").expect("17 characters");
        assert!(!wrong.check_digit_holds() && !wrong.has_illegal_character());
        assert!(Vin::parse("IOQ00000000000000").expect("17 characters").has_illegal_character());
        assert_eq!(Vin::parse("SHORT"), None);
    }
}
