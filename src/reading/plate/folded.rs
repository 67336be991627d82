//! What a camera read with `O` or `I`, which GA 36 gives to no plate: read as `0` and `1`, and remembered as it was read.
//!
//! Both are the nearest to what is impossible there, but not the only ones (`O` may have been `D` or `Q`), so whatever is found
//! about such a plate waits for a person and counts for nothing else. Folding happens only where the text is no plate as it
//! stands, and only where it gives one: `鲁O12345` has a letter too few then and stays impossible. Only cameras are read so.

use std::fmt;

use super::{BITS, MAX_SYMBOLS, Plate, PlateError, character_of, form_is_known, normalise, symbol_of};

/// A plate's characters as they were read: normalised, `O` and `I` among them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spelling(u64);

impl Spelling {
    /// The packed characters, as [`Plate::bits`]; 56 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbols = (0..MAX_SYMBOLS as u32).rev().map(|place| ((self.0 >> (place * BITS)) & 0x7f) as u8);
        symbols.filter_map(character_of).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// Logs must hold no plates, so `Debug` shows that there is one and not which.
impl fmt::Debug for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spelling(..)")
    }
}

impl Plate {
    /// What a camera read: a plate, with the spelling beside it where `O` or `I` were folded.
    pub fn read(text: &str) -> Result<(Self, Option<Spelling>), PlateError> {
        match Self::parse(text) {
            Ok(plate) => Ok((plate, None)),
            Err(error) => fold(text).map(|(plate, spelling)| (plate, Some(spelling))).ok_or(error),
        }
    }
}

/// `O` and `I` of other alphabets, which character recognition writes for the same shapes.
const fn latin(character: char) -> char {
    match character {
        // Cyrillic and Greek.
        '\u{41e}' | '\u{43e}' | '\u{39f}' | '\u{3bf}' => 'O',
        '\u{406}' | '\u{456}' | '\u{4c0}' | '\u{399}' | '\u{3b9}' => 'I',
        other => other,
    }
}

#[cold]
fn fold(text: &str) -> Option<(Plate, Spelling)> {
    let (mut read, mut meant) = ([0; MAX_SYMBOLS], [0; MAX_SYMBOLS]);
    let (mut length, mut is_folded) = (0, false);
    for character in text.chars().filter_map(normalise).map(latin) {
        let as_meant = match character {
            'O' => '0',
            'I' => '1',
            other => other,
        };
        is_folded |= as_meant != character;
        *read.get_mut(length)? = symbol_of(character)?;
        *meant.get_mut(length)? = symbol_of(as_meant)?;
        length += 1;
    }
    let is_plate = is_folded && form_is_known(meant.get(..length)?);
    is_plate.then(|| (Plate::pack(&meant), Spelling(Plate::pack(&read).bits())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<(String, Option<String>), PlateError> {
        Plate::read(text).map(|(plate, spelling)| (plate.to_string(), spelling.map(|spelling| spelling.to_string())))
    }

    #[test]
    fn o_and_i_become_digits_where_that_makes_a_plate() {
        for (text, plate, spelling) in [
            ("鲁CO2345", "鲁C02345", "鲁CO2345"),
            ("鲁CI2345", "鲁C12345", "鲁CI2345"),
            ("鲁COIOIO", "鲁C01010", "鲁COIOIO"),
            ("鲁c·o23i5", "鲁C02315", "鲁CO23I5"),
            ("鲁ＣＯ２３４５", "鲁C02345", "鲁CO2345"),
            ("鲁C\u{41e}2345", "鲁C02345", "鲁CO2345"),
            ("鲁C\u{456}2345", "鲁C12345", "鲁CI2345"),
            ("鲁C\u{39f}234\u{399}", "鲁C02341", "鲁CO234I"),
            ("鲁CDO2345", "鲁CD02345", "鲁CDO2345"),
            ("鲁C1O345D", "鲁C10345D", "鲁C1O345D"),
            ("鲁CO23挂", "", ""),
            ("鲁CO234挂", "鲁C0234挂", "鲁CO234挂"),
            ("WJ鲁O2345", "WJ鲁02345", "WJ鲁O2345"),
            ("12345O使", "123450使", "12345O使"),
        ] {
            let expected = (plate.to_owned(), Some(spelling.to_owned()));
            match plate.is_empty() {
                true => assert!(read(text).is_err(), "{text}"),
                false => assert_eq!(read(text), Ok(expected), "{text}"),
            }
        }
    }

    #[test]
    fn what_makes_no_plate_stays_impossible() {
        // A letter is asked for in the second place, and of new-energy plates in the third or the last.
        for text in
            ["鲁O12345", "鲁I12345", "OO12345", "鲁COF2345", "鲁C12345O", "鲁CO234", "鲁C\0O234", "車CO2345", "O"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("鲁O12345"), Err(PlateError::HoldsOorI));
        assert_eq!(read("鲁C12345"), Ok(("鲁C12345".into(), None)), "what is a plate is not touched");
        assert_eq!(Plate::parse("鲁CO2345"), Err(PlateError::HoldsOorI), "a document is no camera");
    }

    proptest! {
        /// Any legal plate read with some of its noughts and ones as letters is that plate, and remembers how it was read.
        #[test]
        fn a_plate_misread_is_folded_back(
            text in prop_oneof!["[鲁京][A-HJ-NP-Z][A-HJ-NP-Z01]{5}", "鲁[A-H]D[A-H01][01]{4}", "鲁C[01]{5}F", "鲁C[A-H01]{4}学"],
            which in prop::collection::vec(any::<bool>(), 8),
        ) {
            let misread = |(place, character): (usize, char)| match character {
                '0' if which[place] => 'O',
                '1' if which[place] => 'I',
                other => other,
            };
            let spelled: String = text.chars().enumerate().map(misread).collect();
            let (plate, spelling) = Plate::read(&spelled).expect("a plate");
            prop_assert_eq!(plate.to_string(), text.clone());
            prop_assert_eq!(spelling.map(|spelling| spelling.to_string()), (spelled != text).then_some(spelled));
        }

        #[test]
        fn any_text_is_read_as_a_plate_or_refused(text in "\\PC{0,12}") {
            if let Ok((plate, spelling)) = Plate::read(&text) {
                prop_assert_eq!(Plate::parse(&plate.to_string()), Ok(plate));
                prop_assert_eq!(spelling.is_some(), Plate::parse(&text).is_err());
            }
        }
    }
}
