//! Whether a report number can identify a report.

/// Words that stand where there is no number, in lower case and half width.
const NO_NUMBER: [&str; 22] = [
    "无",
    "空",
    "暂无",
    "没有",
    "未知",
    "不详",
    "无编号",
    "无号",
    "待补",
    "none",
    "null",
    "nil",
    "no",
    "na",
    "n/a",
    "nan",
    "unknown",
    "undefined",
    "tbd",
    "test",
    "false",
    "true",
];

/// A whole number of at least so many digits was rounded when everything behind its fifteenth digit is zero: that is what a
/// spreadsheet keeps of a number. Three zeros at the end of a real number are one in a thousand, so shorter ones pass.
const ROUNDED_DIGITS: usize = 18;
/// Digits that a spreadsheet keeps of a number.
const KEPT_DIGITS: usize = 15;

/// The reason why a cell identifies no report. Reports are told apart by this number alone, so one that several reports share
/// would make each of them a correction of the one before.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let text: String = text.chars().map(half_width).collect::<String>().to_lowercase();
    let text = text.trim();
    if text.starts_with('#') && is_spreadsheet_error(text) {
        return Err("report_no: is an error of the spreadsheet and no number; mend the cell and import the file again");
    }
    let mut meaning = text.chars().filter(|c| c.is_alphanumeric()).peekable();
    let filler = |filler: char| text.chars().filter(|c| c.is_alphanumeric()).all(|c| c == filler);
    if meaning.peek().is_none() || filler('0') || filler('x') || NO_NUMBER.contains(&text) {
        return Err("report_no: is a placeholder, which identifies no report; enter the number the report carries");
    }
    if is_scientific(text) {
        return Err(
            "report_no: was shortened by a spreadsheet (as 3.7E+18), so that several reports share it; format \
                    the column as text before the numbers are entered",
        );
    }
    if is_rounded(text) {
        return Err(
            "report_no: ends in zeros from its sixteenth digit on, as a number does that a spreadsheet rounded; \
                    format the column as text before the numbers are entered",
        );
    }
    Ok(())
}

/// `＃`, `－`, `０` and their like are what a Chinese keyboard makes of `#`, `-`, `0`.
fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        c => c,
    }
}

fn is_spreadsheet_error(text: &str) -> bool {
    ["#n/a", "#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!"].contains(&text)
        || text.bytes().all(|b| b == b'#')
}

/// Digits, perhaps a fraction, `E`, perhaps a sign, digits. `12E5` is refused too: it may well be a real number, and it may
/// be what became of 1 200 000.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once('e') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    digits(whole) && digits(fraction) && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

fn is_rounded(text: &str) -> bool {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let whole = whole.replace(',', "");
    whole.len() >= ROUNDED_DIGITS
        && whole.bytes().all(|b| b.is_ascii_digit())
        && whole.get(KEPT_DIGITS..).is_some_and(|rest| rest.bytes().all(|b| b == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_no_report_is_refused() {
        for text in [
            "-",
            "--",
            "—",
            "/",
            "\\",
            ".",
            "*",
            "?",
            "无",
            " 无 ",
            "暂无",
            "none",
            "None",
            "NULL",
            "n/a",
            "N/A",
            "Ｎ／Ａ",
            "0",
            "000",
            "０",
            "0.0",
            "－",
            "x",
            "XXX",
            "#N/A",
            "#REF!",
            "####",
            "3.70306E+18",
            "3.7e18",
            "3E+5",
            "12E5",
            "370306202601010000",
            "3703062026010100000",
            "3,703,062,026,010,100,000",
            "3703062026010100000.00",
        ] {
            let reason = check(text).expect_err(text);
            assert!(reason.starts_with("report_no: "), "{reason}");
        }
    }

    #[test]
    fn numbers_of_reports_pass() {
        for text in [
            "A1",
            "1",
            "7",
            "10",
            "100",
            "2026-000",
            "370306202601010001",
            "37030620260101000",
            "E12",
            "1E",
            "JC2026E05A",
            "无2026-1",
            "X-1",
            "no 7",
            "370306000000000000A",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
