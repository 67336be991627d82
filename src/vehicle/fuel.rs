//! Fuel codes of GA/T 16.9, and what rules make of them.

use super::facts::{EmissionStage, Fuel};

impl Fuel {
    /// Reduces one or two letters of GA/T 16.9 (NUL-padded). Two letters: petrol and diesel exclude each other, so which
    /// of them it burns is unknown; electric beside anything is a hybrid, diesel
    /// beside gas stays diesel (it still ignites by compression), petrol beside gas counts as gas.
    pub fn of_code(code: [u8; 2]) -> Self {
        match code {
            [0, 0] => Fuel::Unknown,
            [single, 0] => Self::of_letter(single),
            pair if excludes_itself(pair) => Fuel::Unknown,
            pair if pair.contains(&b'C') => Fuel::Hybrid,
            pair if pair.contains(&b'B') => Fuel::Diesel,
            pair if pair.contains(&b'E') || pair.contains(&b'F') => Fuel::Gas,
            [first, _] => Self::of_letter(first),
        }
    }

    fn of_letter(letter: u8) -> Self {
        match letter {
            b'A' => Fuel::Petrol,
            b'B' => Fuel::Diesel,
            b'C' => Fuel::Electric,
            b'E' | b'F' => Fuel::Gas,
            b'O' => Fuel::Hybrid,
            _ => Fuel::Other,
        }
    }
}

/// Whether the letters name two fuels that no engine burns both.
pub const fn excludes_itself(code: [u8; 2]) -> bool {
    matches!(code, [b'A', b'B'] | [b'B', b'A'])
}

/// Whether a vehicle of this fuel can have this stage: what burns something is no zero-emission vehicle, and what is
/// electric and nothing else has no stage of an engine.
pub fn stage_fits(stage: Option<EmissionStage>, fuel: [u8; 2]) -> bool {
    let burns = |letter: &u8| matches!(letter, b'A' | b'B' | b'D'..=b'F' | b'L' | b'M' | b'Q');
    match stage {
        Some(EmissionStage::ZeroEmission) => !fuel.iter().any(burns),
        Some(EmissionStage::National(_)) => fuel != *b"C\0",
        None => true,
    }
}

/// Fuel letters and stage as far as both can be true: one of two that exclude each other is wrong, and nobody can say
/// which, so neither is known.
pub fn reconciled(fuel: [u8; 2], stage: Option<EmissionStage>) -> ([u8; 2], Option<EmissionStage>) {
    if stage_fits(stage, fuel) { (fuel, stage) } else { ([0; 2], None) }
}

/// Letters of a fuel given by letter or by name; `None` when it is neither. The empty text is "not registered".
pub fn code_of(text: &str) -> Option<[u8; 2]> {
    let letter = match text.to_ascii_lowercase().as_str() {
        "" | "unknown" => return Some([0, 0]),
        "petrol" | "gasoline" | "汽油" => b'A',
        "diesel" | "柴油" => b'B',
        "electric" | "电" | "纯电动" => b'C',
        "mixed_oil" | "混合油" => b'D',
        "gas" | "natural_gas" | "天然气" => b'E',
        "lpg" | "液化石油气" => b'F',
        "methanol" | "甲醇" => b'L',
        "ethanol" | "乙醇" => b'M',
        "solar" | "太阳能" => b'N',
        "hybrid" | "混合动力" => b'O',
        "hydrogen" | "氢" | "氢气" => b'P',
        "biofuel" | "生物燃料" => b'Q',
        // Not `none`: exports write that where they know nothing, and no fuel means no limit.
        "no_fuel" | "无" => b'Y',
        "other" | "其他" => b'Z',
        _ => {
            return match *text.as_bytes() {
                [a] if is_letter(a) => Some([a.to_ascii_uppercase(), 0]),
                [a, b] if is_letter(a) && is_letter(b) && !a.eq_ignore_ascii_case(&b) => {
                    Some([a.to_ascii_uppercase(), b.to_ascii_uppercase()])
                }
                _ => None,
            };
        }
    };
    Some([letter, 0])
}

/// The letters GA/T 16.9 assigns.
fn is_letter(letter: u8) -> bool {
    matches!(letter.to_ascii_uppercase(), b'A'..=b'F' | b'L'..=b'Q' | b'Y' | b'Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_names() {
        for (text, code, fuel) in [
            ("", [0, 0], Fuel::Unknown),
            ("B", *b"B\0", Fuel::Diesel),
            ("diesel", *b"B\0", Fuel::Diesel),
            ("柴油", *b"B\0", Fuel::Diesel),
            ("ae", *b"AE", Fuel::Gas),
            ("BC", *b"BC", Fuel::Hybrid),
            ("BE", *b"BE", Fuel::Diesel),
            ("O", *b"O\0", Fuel::Hybrid),
            ("P", *b"P\0", Fuel::Other),
            ("AB", *b"AB", Fuel::Unknown),
            ("mixed_oil", *b"D\0", Fuel::Other),
            ("混合油", *b"D\0", Fuel::Other),
            ("methanol", *b"L\0", Fuel::Other),
            ("甲醇", *b"L\0", Fuel::Other),
            ("ethanol", *b"M\0", Fuel::Other),
            ("乙醇", *b"M\0", Fuel::Other),
            ("solar", *b"N\0", Fuel::Other),
            ("太阳能", *b"N\0", Fuel::Other),
            ("Hydrogen", *b"P\0", Fuel::Other),
            ("氢", *b"P\0", Fuel::Other),
            ("biofuel", *b"Q\0", Fuel::Other),
            ("生物燃料", *b"Q\0", Fuel::Other),
            ("no_fuel", *b"Y\0", Fuel::Other),
            ("无", *b"Y\0", Fuel::Other),
            ("BO", *b"BO", Fuel::Diesel),
            ("OB", *b"OB", Fuel::Diesel),
        ] {
            assert_eq!(code_of(text), Some(code), "{text}");
            assert_eq!(Fuel::of_code(code), fuel, "{text}");
        }
        for wrong in ["ABC", "G", "1", "AA", "柴", "none"] {
            assert_eq!(code_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_excludes_each_other_is_not_known() {
        let (third, zero) = (EmissionStage::from_code(3), EmissionStage::from_code(99));
        for (fuel, stage) in [(*b"C\0", third), (*b"B\0", zero), (*b"AC", zero)] {
            assert_eq!(reconciled(fuel, stage), ([0; 2], None), "{fuel:?}");
        }
        for (fuel, stage) in [(*b"C\0", zero), (*b"B\0", third), (*b"BC", third), (*b"C\0", None), ([0; 2], zero)] {
            assert_eq!(reconciled(fuel, stage), (fuel, stage), "{fuel:?}");
        }
    }
}
