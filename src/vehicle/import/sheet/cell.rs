//! What a cell may not be, whatever its column holds: the same for every form of file.

use std::borrow::Cow;

/// Longest cell taken, bytes.
const MAX_CELL_BYTES: usize = 4_096;
/// Digits that survive in the numbers of a spreadsheet program.
const EXACT_DIGITS: usize = 15;

/// Columns that hold numbers. `1E-3` is one; in any other column it is what is left of a number of many digits.
const NUMBERS: &[&str] =
    &["emission_stage", "lane_count", "latitude", "longitude", "power_kw", "reference_torque_nm", "slope_deg"];

/// What spreadsheet programs write where they have no value.
const ERRORS: &[&str] = &[
    "#N/A",
    "#REF!",
    "#VALUE!",
    "#DIV/0!",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#SPILL!",
    "#CALC!",
    "#FIELD!",
    "#BLOCKED!",
    "#CONNECT!",
    "#BUSY!",
    "#UNKNOWN!",
    "#EXTERNAL!",
    "#TIMEOUT!",
    "#PYTHON!",
    "#GETTING_DATA",
    "#N/A N/A",
];

/// Whether a text holds anything that [`flaw`] looks for byte by byte; most rows do not.
pub(super) fn may_be_flawed(row: &str) -> bool {
    // 0xef begins U+FFFD, 0xc2 the controls above ASCII.
    row.bytes().any(|byte| matches!(byte, ..0x20 | 0x7f | 0xc2 | 0xef))
}

/// Why a cell is not taken. `characters`: whether the row [may be flawed](may_be_flawed).
pub(super) fn flaw(cell: &str, column: &str, characters: bool) -> Option<Cow<'static, str>> {
    let said = |text: &'static str| Some(Cow::Borrowed(text));
    match cell.as_bytes() {
        [] => return None,
        [b'#' | b'E', ..] if is_error(cell) => {
            return said("an error value of a spreadsheet program; correct its formula and save again");
        }
        [b'=', ..] => {
            return said("a formula that nobody computed; open the file in a spreadsheet program and save the values");
        }
        _ => {}
    }
    if cell.len() > MAX_CELL_BYTES {
        return Some(format!("longer than {MAX_CELL_BYTES} bytes").into());
    }
    if !NUMBERS.contains(&column) && is_scientific(cell) {
        return said(
            "a number in scientific notation, whose last digits are lost; format the column as text, enter the number \
             again, and save",
        );
    }
    if !characters {
        return None;
    }
    for character in cell.chars() {
        match character {
            '\u{fffd}' => return said("bytes that are no text in the encoding of the file"),
            '\0' => return said("a NUL character"),
            '\n' | '\t' => {}
            other if other.is_control() => return said("a control character, which nobody sees"),
            _ => {}
        }
    }
    None
}

/// What may be wrong with a cell that is taken: whole numbers of more than fifteen digits that end in zeros.
pub(super) fn doubt(cell: &str, column: &str) -> Option<String> {
    if cell.len() <= EXACT_DIGITS || NUMBERS.contains(&column) || !cell.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let lost = cell.get(EXACT_DIGITS..)?;
    // One or two zeros are chance too often.
    (lost.len() >= 3 && lost.bytes().all(|digit| digit == b'0')).then(|| {
        format!(
            "{} digits of which the last {} are 0: a spreadsheet program may have rounded it; compare with the original",
            cell.len(),
            lost.len()
        )
    })
}

/// The value as shown, or a column too narrow to show it, or the `Err:502` of LibreOffice.
fn is_error(cell: &str) -> bool {
    let hashes = cell.len() >= 2 && cell.bytes().all(|byte| byte == b'#');
    let numbered = cell.strip_prefix("Err:").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    hashes || numbered || ERRORS.iter().any(|error| error.eq_ignore_ascii_case(cell))
}

/// `3.70306E+18`, also with a comma and without the sign; `12E5` is a word like others.
fn is_scientific(cell: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((mantissa, exponent)) = cell.split_once(['E', 'e']) else { return false };
    let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let unsigned = exponent.strip_prefix(['-', '+']);
    let broken = mantissa.split_once(['.', ',', '．', '，']);
    let number = broken.map_or(digits(mantissa), |(whole, part)| digits(whole) && (part.is_empty() || digits(part)));
    number && digits(unsigned.unwrap_or(exponent)) && (unsigned.is_some() || broken.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_lost_digits_are_seen() {
        for lost in ["3.70306E+18", "3.70306E18", "3,70306E+18", "3E+18", "-1.5e-5", "3.70306202600000000E+17", "1.E+5"]
        {
            assert!(flaw(lost, "report_no", false).is_some(), "{lost}");
        }
        for word in ["12E5", "E5", "鲁E12345", "1-2E3", "3.70306", "AB1.2E+3", "E+18", "370306202600000000"] {
            assert_eq!(flaw(word, "report_no", false), None, "{word}");
        }
        assert_eq!(flaw("1.178E+02", "longitude", false), None, "a number is one in any notation");
        assert!(doubt("370306202600000000", "report_no").is_some());
        assert_eq!(doubt("3703062026000010", "report_no"), None);
        assert_eq!(doubt("370306202600000123", "report_no"), None);
    }

    #[test]
    fn what_is_no_value_is_none() {
        for error in
            ["#N/A", "#ref!", "########", "Err:502", "=\"123\"", "=A1", "a\u{fffd}", "a\0", "a\u{1}", "a\u{85}"]
        {
            assert!(flaw(error, "reason", may_be_flawed(error)).is_some(), "{error:?}");
        }
        for text in ["#1", "#", "Err: none", "two\nlines", "a\tb", "第1号", "5 m³", "ｆｕｌｌ"] {
            assert_eq!(flaw(text, "reason", may_be_flawed(text)), None, "{text:?}");
        }
        assert!(flaw(&"x".repeat(5_000), "reason", false).is_some());
    }
}
