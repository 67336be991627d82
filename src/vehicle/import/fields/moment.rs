//! A day or a moment, told apart in one place for every table and form of file.
//!
//! **Midnight exactly is the day.** Spreadsheet programs write a day as `2026-06-30 00:00:00`, `2026/6/30 0:00` or
//! `2026-06-30T00:00:00+08:00` as they please, and a cell of a workbook is the same number either way. So a time of day of
//! exactly midnight in China says nothing but the day: as an end the day is still part of the interval, as a begin the
//! interval begins with it, a recheck may have been at any moment of it. Who means the midnight *before* a day writes the day
//! before.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use crate::reading::Timestamp;

/// Which moment a date without a time of day stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateCounts {
    /// Its first moment: the begin of an interval.
    FromItsStart,
    /// The moment after its last: the end of an interval, of which the day is still part.
    ToItsEnd,
}

/// What a cell with a date or a time says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Day(NaiveDate),
    At(Timestamp),
}

impl Moment {
    /// Reads a cell: a date, a time in China, or a time with its own offset, between the years 1900 and 2200.
    pub fn of_cell(text: &str) -> Option<Self> {
        Some(match Self::as_written(text)? {
            Self::At(at) if at == at.start_of_china_day() => Self::Day(at.china_day()),
            moment => moment,
        })
    }

    /// The same where a person types a moment: midnight is a moment there, a date without a time is a day.
    fn as_written(text: &str) -> Option<Self> {
        let moment = if let Some(date) = date(text) {
            Self::Day(date)
        } else if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            Self::At(Timestamp::from_micros(at.timestamp_micros()))
        } else {
            const FORMS: [&str; 13] = [
                "%Y-%m-%dT%H:%M:%S%.f",
                "%Y-%m-%d %H:%M:%S%.f",
                "%Y/%m/%d %H:%M:%S%.f",
                "%Y-%m-%d %H:%M",
                "%Y/%m/%d %H:%M",
                "%Y-%m-%dT%H:%M",
                "%Y.%m.%d %H:%M:%S%.f",
                "%Y.%m.%d %H:%M",
                "%Y年%m月%d日 %H:%M:%S%.f",
                "%Y年%m月%d日 %H:%M",
                "%Y年%m月%d日%H时%M分%S秒",
                "%Y年%m月%d日%H时%M分",
                "%Y/%m/%d %I:%M:%S %p",
            ];
            let naive = FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
            Self::At(Timestamp::from_china_naive(naive))
        };
        let plausible = Timestamp::from_china(1900, 1, 1, 0, 0, 0)?..Timestamp::from_china(2200, 1, 1, 0, 0, 0)?;
        plausible.contains(&moment.at(DateCounts::FromItsStart)?).then_some(moment)
    }

    /// `None` at the end of the calendar.
    pub fn at(self, counts: DateCounts) -> Option<Timestamp> {
        let day = match (self, counts) {
            (Self::At(at), _) => return Some(at),
            (Self::Day(day), DateCounts::FromItsStart) => day,
            (Self::Day(day), DateCounts::ToItsEnd) => day.succ_opt()?,
        };
        Some(Timestamp::from_china_naive(day.and_time(NaiveTime::MIN)))
    }
}

/// The moment that a cell of a table, or a property of a zone, stands for.
pub fn instant(text: &str, counts: DateCounts) -> Option<Timestamp> {
    Moment::of_cell(text)?.at(counts)
}

/// The moment that a person typed as an argument of a command.
pub fn typed(text: &str, counts: DateCounts) -> Option<Timestamp> {
    Moment::as_written(text)?.at(counts)
}

fn date(text: &str) -> Option<NaiveDate> {
    let formats = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"];
    let compact = (text.len() == 8).then_some("%Y%m%d");
    let chinese = text.ends_with('日').then_some("%Y年%m月%d日");
    formats.into_iter().chain(compact).chain(chinese).find_map(|format| NaiveDate::parse_from_str(text, format).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_is_the_day_however_it_is_written() {
        let start = |text| instant(text, DateCounts::FromItsStart).map(|at| at.to_string());
        let end = |text| instant(text, DateCounts::ToItsEnd).map(|at| at.to_string());
        for text in [
            "2026-06-30",
            "2026/6/30",
            "20260630",
            "2026.06.30",
            "2026年6月30日",
            "2026-06-30 00:00:00",
            "2026-06-30 00:00:00.000",
            "2026/6/30 0:00",
            "2026/6/30 0:00:00",
            "2026/6/30 12:00:00 AM",
            "2026-06-30T00:00",
            "2026-06-30T00:00:00",
            "2026-06-30T00:00:00+08:00",
            "2026-06-29T16:00:00Z",
            "2026年6月30日 0:00",
            "2026年6月30日0时0分",
        ] {
            assert_eq!(start(text).as_deref(), Some("2026-06-30T00:00:00+08:00"), "{text}");
            assert_eq!(end(text).as_deref(), Some("2026-07-01T00:00:00+08:00"), "{text}");
        }
        for text in ["2026-06-30 08:15", "2026-06-30T08:15:00", "2026-06-30T00:15:00Z", "2026/6/30 8:15:00"] {
            assert_eq!(start(text), end(text));
            assert_eq!(start(text).as_deref(), Some("2026-06-30T08:15:00+08:00"), "{text}");
        }
        for wrong in ["2026-02-30", "tomorrow", "0001-01-01", "99999-01-01", "2026-06", "2026-06-30 24:00:00", "45658"]
        {
            assert_eq!(start(wrong), None, "{wrong}");
        }
        let second = "2026-06-30T00:00:01+08:00";
        assert_eq!((start(second), end(second)), (Some(second.to_owned()), Some(second.to_owned())));
    }

    /// A warning lifted at midnight is lifted at midnight.
    #[test]
    fn what_a_person_types_is_meant_as_typed() {
        let end = |text| typed(text, DateCounts::ToItsEnd).map(|at| at.to_string());
        assert_eq!(end("2026-06-30T00:00:00+08:00").as_deref(), Some("2026-06-30T00:00:00+08:00"));
        assert_eq!(end("2026-06-30").as_deref(), Some("2026-07-01T00:00:00+08:00"));
    }
}
