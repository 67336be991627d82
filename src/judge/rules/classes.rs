//! Classes of vehicles by the codes of the register: beginnings of GA/T 16.4 kinds, letters of GA/T 16.3 uses.

use crate::vehicle::facts::Vehicle;

/// The beginning of a GA/T 16.4 code: a letter, or a letter and a digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindPrefix {
    letter: u8,
    /// Zero: any.
    digit: u8,
}

impl KindPrefix {
    pub fn parse(text: &str) -> Option<Self> {
        match *text.as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(Self { letter, digit: 0 }),
            [letter @ b'A'..=b'Z', digit @ b'0'..=b'9'] => Some(Self { letter, digit }),
            _ => None,
        }
    }

    /// Whether a kind begins like this; an unknown kind (zeros) never does.
    #[inline]
    pub fn fits(self, kind: [u8; 3]) -> bool {
        let [letter, digit, _] = kind;
        self.letter == letter && (self.digit == 0 || self.digit == digit)
    }

    pub(super) fn all(texts: &[String], problems: &mut Vec<String>) -> Box<[Self]> {
        let parse = |text: &String| {
            let parsed = Self::parse(text);
            if parsed.is_none() {
                problems.push(format!("kind {text:?} is not the beginning of a GA/T 16.4 code, such as H or H1"));
            }
            parsed
        };
        texts.iter().filter_map(parse).collect()
    }
}

/// Bits of capital letters: bit 0 is `A`.
pub(super) fn letters(texts: &[String], problems: &mut Vec<String>) -> u32 {
    texts.iter().fold(0, |bits, text| match *text.as_bytes() {
        [letter @ b'A'..=b'Z'] => bits | 1 << (letter - b'A'),
        _ => {
            problems.push(format!("{text:?} is not one capital letter"));
            bits
        }
    })
}

/// Words that several rules use.
#[derive(Clone, Debug)]
pub struct Classes {
    pub(super) trucks: Box<[KindPrefix]>,
    /// Bits of use letters.
    pub(super) operating: u32,
}

impl Classes {
    /// `None` where the register holds no kind.
    #[inline]
    pub fn is_truck(&self, vehicle: &Vehicle) -> Option<bool> {
        let known = vehicle.kind.first().is_some_and(|letter| *letter != 0);
        known.then(|| self.trucks.iter().any(|prefix| prefix.fits(vehicle.kind)))
    }

    /// `None` where the register holds no use.
    #[inline]
    pub fn is_operating(&self, vehicle: &Vehicle) -> Option<bool> {
        let letter = vehicle.use_nature;
        letter.is_ascii_uppercase().then(|| self.operating & (1 << (letter - b'A')) != 0)
    }
}
