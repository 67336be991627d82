//! The value of a cell as the text that a person sees.

use chrono::{Duration, NaiveDate, NaiveTime};

use super::styles::Format;

/// Digits that survive in a workbook's numbers.
const EXACT_DIGITS: usize = 15;
/// 9999-12-31 in days of a workbook.
const LAST_DAY: f64 = 2_958_466.0;
const MS_PER_DAY: f64 = 86_400_000.0;

/// The text of a number, or why there is none.
pub(super) fn number(text: &str, format: Format, from_1904: bool) -> Result<String, &'static str> {
    let number: f64 = text.trim().parse().ok().filter(|number: &f64| number.is_finite()).ok_or("is no number")?;
    match format {
        Format::Number => exact(number),
        Format::Date => date(number, from_1904),
        Format::Duration => Err("a duration"),
        Format::Digits(width) => {
            let digits = exact(number)?;
            let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
            Ok(if whole { format!("{digits:0>width$}", width = usize::from(width)) } else { digits })
        }
    }
}

/// Whole numbers as they are; one with more digits than a workbook keeps is refused, and others are rounded to what it keeps.
fn exact(number: f64) -> Result<String, &'static str> {
    if number.fract() == 0.0 {
        let digits = (number + 0.0).to_string();
        return match digits.bytes().filter(u8::is_ascii_digit).count() > EXACT_DIGITS {
            true => Err(
                "a number of more than 15 digits, which the workbook has rounded; format the column as text, enter \
                         the number again, and save",
            ),
            false => Ok(digits),
        };
    }
    // 0.1 + 0.2 is shown as 0.3.
    let rounded: f64 = format!("{number:.*e}", EXACT_DIGITS - 1).parse().unwrap_or(number);
    Ok(rounded.to_string())
}

/// `2016-09-30`, or with a time of day where there is one.
fn date(days: f64, from_1904: bool) -> Result<String, &'static str> {
    if !(0.0..LAST_DAY).contains(&days) {
        return Err("a date that does not exist");
    }
    // Milliseconds, because the fraction of a day is not exact.
    let ms = (days * MS_PER_DAY).round() as i64;
    let (mut day, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let first = if from_1904 { NaiveDate::from_ymd_opt(1904, 1, 1) } else { NaiveDate::from_ymd_opt(1899, 12, 30) };
    if !from_1904 {
        match day {
            0 => return Err("a time of day without a date"),
            // The year 1900 has a 29 February there.
            60 => return Err("a date that does not exist"),
            1..60 => day += 1,
            _ => {}
        }
    }
    let day =
        first.and_then(|first| first.checked_add_signed(Duration::days(day))).ok_or("a date that does not exist")?;
    let time = NaiveTime::MIN + Duration::milliseconds(ms);
    let form = match ms {
        0 => "%Y-%m-%d",
        ms if ms % 1_000 == 0 => "%Y-%m-%d %H:%M:%S",
        _ => "%Y-%m-%d %H:%M:%S%.3f",
    };
    Ok(day.and_time(time).format(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_dates_are_shown_as_a_person_sees_them() {
        let general = |text| number(text, Format::Number, false);
        assert_eq!(general("3").as_deref(), Ok("3"));
        assert_eq!(general("3.0").as_deref(), Ok("3"));
        assert_eq!(general("0.30000000000000004").as_deref(), Ok("0.3"));
        assert_eq!(general("1.5E-2").as_deref(), Ok("0.015"));
        assert_eq!(general("-0").as_deref(), Ok("0"));
        assert_eq!(general("123456789012345").as_deref(), Ok("123456789012345"));
        assert!(general("1234567890123456").is_err() && general("3.70306E+18").is_err());
        assert!(general("nan").is_err() && general("x").is_err());
        assert_eq!(number("42", Format::Digits(5), false).as_deref(), Ok("00042"));
        let date = |text, from_1904| number(text, Format::Date, from_1904);
        assert_eq!(date("42643", false).as_deref(), Ok("2016-09-30"));
        assert_eq!(date("41181", true).as_deref(), Ok("2016-09-30"));
        assert_eq!(date("42643.34375", false).as_deref(), Ok("2016-09-30 08:15:00"));
        assert_eq!(date("42643.999999999999", false).as_deref(), Ok("2016-10-01"));
        assert_eq!(date("59", false).as_deref(), Ok("1900-02-28"));
        assert_eq!(date("61", false).as_deref(), Ok("1900-03-01"));
        for wrong in ["60", "0.5", "-1", "2958466"] {
            assert!(date(wrong, false).is_err(), "{wrong}");
        }
    }
}
