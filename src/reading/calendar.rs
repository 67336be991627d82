//! Periods of months and years, counted in one way by every rule that counts them.
//!
//! A period ends on the day that corresponds to the one it is counted from; where the month has no such day, on its last: 31
//! August and six months is the last of February, and of 29 February the anniversary in a common year is the 28th (Civil
//! Code of the People's Republic of China, article 202; UNSOURCED-high, from memory). Every end is counted from the first day
//! and cut short by itself, never from an end that was cut short: 31 August and twelve months is 31 August again.

use chrono::{Datelike as _, Months, NaiveDate};

/// The day so many months after another; `None` beyond the calendar.
pub fn after_months(day: NaiveDate, months: u32) -> Option<NaiveDate> {
    day.checked_add_months(Months::new(months))
}

/// The anniversary so many years after a day; `None` beyond the calendar.
pub fn after_years(day: NaiveDate, years: u16) -> Option<NaiveDate> {
    after_months(day, 12 * u32::from(years))
}

/// How many anniversaries of a day another has reached; `None` before the day itself.
pub fn years_between(from: NaiveDate, on: NaiveDate) -> Option<u16> {
    let years = u16::try_from(on.year() - from.year()).ok()?;
    if after_years(from, years)? <= on { Some(years) } else { years.checked_sub(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn an_end_is_cut_short_by_itself() {
        let from = day("2023-08-31");
        let ends = [6, 12, 18, 24].map(|months| after_months(from, months).expect("in the calendar").to_string());
        assert_eq!(ends, ["2024-02-29", "2024-08-31", "2025-02-28", "2025-08-31"]);
    }

    #[test]
    fn the_anniversary_of_a_leap_day_is_the_last_of_february() {
        let born = day("2012-02-29");
        for (on, years) in [
            ("2012-02-28", None),
            ("2012-02-29", Some(0)),
            ("2013-02-27", Some(0)),
            ("2013-02-28", Some(1)),
            ("2016-02-28", Some(3)),
            ("2016-02-29", Some(4)),
            ("2027-02-28", Some(15)),
        ] {
            assert_eq!(years_between(born, day(on)), years, "{on}");
        }
        assert_eq!(after_years(born, 15), Some(day("2027-02-28")));
    }

    #[test]
    fn years_and_ends_agree_on_every_day() {
        for born in ["2012-02-29", "2011-12-31", "2012-03-01"].map(day) {
            for on in born.iter_days().take(3_000) {
                let years = years_between(born, on).expect("not before");
                assert!(after_years(born, years).is_some_and(|reached| reached <= on));
                assert!(after_years(born, years + 1).is_some_and(|next| next > on));
            }
        }
    }
}
