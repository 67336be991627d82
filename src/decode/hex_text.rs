//! Hex text: either case, with or without white space.

const NO_DIGIT: u8 = 0xff;
const BLANK: u8 = 0xfe;

/// Value of each character as a hex digit.
const DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            digit @ b'A'..=b'F' => digit - b'A' + 10,
            b' ' | b'\t' | b'\r' | b'\n' => BLANK,
            _ => NO_DIGIT,
        };
        byte += 1;
    }
    table
};

fn digit(character: u8) -> u8 {
    DIGITS.get(usize::from(character)).copied().unwrap_or(NO_DIGIT)
}

/// Why a text is not hex, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHex {
    pub at: usize,
    pub why: &'static str,
}

/// Whether the text is made of hex digits and white space only.
pub(super) fn looks_like_hex(text: &[u8]) -> bool {
    text.iter().all(|&character| digit(character) != NO_DIGIT)
}

pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, NotHex> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (at, &character) in text.iter().enumerate() {
        match (digit(character), high) {
            (BLANK, _) => {}
            (NO_DIGIT, _) => return Err(NotHex { at, why: "not a hex digit" }),
            (value, None) => high = Some(value << 4),
            (value, Some(upper)) => {
                bytes.push(upper | value);
                high = None;
            }
        }
    }
    match high {
        Some(_) => Err(NotHex { at: text.len(), why: "odd number of hex digits" }),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_blanks_do_not_matter() {
        assert_eq!(decode(b"23 2\n3aF\t"), Ok(vec![0x23, 0x23, 0xaf]));
        assert_eq!(decode(b"232"), Err(NotHex { at: 3, why: "odd number of hex digits" }));
        assert_eq!(decode(b"23g3"), Err(NotHex { at: 2, why: "not a hex digit" }));
    }
}
