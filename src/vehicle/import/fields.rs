//! Cells into values. Every error names the column and what it should hold, never the cell itself.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

use super::sheet::Cells;
use crate::{
    mapping,
    reading::{Plate, PlateKey, Timestamp},
    vehicle::packed::MAX_TORQUE_NM,
};

/// Texts such as names and reasons, bytes of UTF-8.
const MAX_TEXT_BYTES: usize = 400;

/// A calendar day, days since 1970-01-01; `date` in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub i32);

/// Days between 1970-01-01 and PostgreSQL's epoch 2000-01-01.
const POSTGRES_EPOCH_DAYS: i32 = 10_957;

impl tokio_postgres::types::ToSql for Day {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        bytes::BufMut::put_i32(out, self.0 - POSTGRES_EPOCH_DAYS);
        Ok(tokio_postgres::types::IsNull::No)
    }
    tokio_postgres::types::accepts!(DATE);
    tokio_postgres::types::to_sql_checked!();
}

/// Which moment a date without a time of day stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateCounts {
    /// Its first moment: the begin of an interval.
    FromItsStart,
    /// The moment after its last: the end of an interval, of which the day is still part.
    ToItsEnd,
}

pub fn plate_key(cells: &Cells) -> Result<PlateKey, String> {
    let plate = Plate::parse(cells.get("plate")).map_err(|error| format!("plate: {error}"))?;
    let colour = cells.get("plate_color");
    let colour = mapping::colour_word(colour)
        .ok_or("plate_color: is none of blue, yellow, green, yellow_green, white, black, other, unknown")?;
    Ok(PlateKey::new(plate, colour))
}

pub fn text(cells: &Cells, column: &str) -> Result<Option<Box<str>>, String> {
    let cell = cells.get(column);
    if cell.len() > MAX_TEXT_BYTES {
        return Err(format!("{column}: longer than {MAX_TEXT_BYTES} bytes"));
    }
    Ok((!cell.is_empty()).then(|| cell.into()))
}

/// An empty cell is `None`.
pub fn optional<T>(
    cells: &Cells,
    column: &str,
    expected: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, String> {
    match cells.get(column) {
        "" => Ok(None),
        cell => parse(cell).map(Some).ok_or_else(|| format!("{column}: is not {expected}")),
    }
}

pub fn number<T>(cells: &Cells, column: &str, range: std::ops::RangeInclusive<T>) -> Result<Option<T>, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let expected = format!("a number from {} to {}", range.start(), range.end());
    optional(cells, column, &expected, |cell| cell.parse().ok().filter(|value| range.contains(value)))
}

pub fn torque(cells: &Cells) -> Result<Option<i32>, String> {
    number(cells, "reference_torque_nm", 1..=i32::from(MAX_TORQUE_NM))
}

pub fn boolean(cells: &Cells, column: &str) -> Result<Option<bool>, String> {
    optional(cells, column, "true or false", |cell| match cell.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" | "是" => Some(true),
        "false" | "f" | "no" | "n" | "0" | "否" => Some(false),
        _ => None,
    })
}

pub fn day(cells: &Cells, column: &str) -> Result<Option<Day>, String> {
    let epoch = NaiveDate::default();
    optional(cells, column, "a date from 1970-01-02 to 2149-06-06, such as 2016-09-30", |cell| {
        let days = date(cell)?.signed_duration_since(epoch).num_days();
        u16::try_from(days).ok().filter(|&days| days > 0).map(|days| Day(days.into()))
    })
}

pub fn time(cells: &Cells, column: &str, counts: DateCounts) -> Result<Option<Timestamp>, String> {
    let expected = "a date or a time, such as 2016-09-30 or 2016-09-30T08:00:00+08:00";
    optional(cells, column, expected, |cell| instant(cell, counts))
}

/// A begin and an end that follows it.
pub fn interval(cells: &Cells) -> Result<(Option<Timestamp>, Option<Timestamp>), String> {
    let from = time(cells, "valid_from", DateCounts::FromItsStart)?;
    let to = time(cells, "valid_to", DateCounts::ToItsEnd)?;
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        return Err("valid_to: is not after valid_from".into());
    }
    Ok((from, to))
}

/// A date, a time in China, or a time with its own offset, between the years 1900 and 2200.
pub fn instant(text: &str, counts: DateCounts) -> Option<Timestamp> {
    let naive = |naive: NaiveDateTime| Timestamp::from_china_naive(naive);
    let at = if let Some(date) = date(text) {
        let day = match counts {
            DateCounts::FromItsStart => date,
            DateCounts::ToItsEnd => date.succ_opt()?,
        };
        naive(day.and_time(NaiveTime::MIN))
    } else if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        Timestamp::from_micros(at.timestamp_micros())
    } else {
        let formats =
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M"];
        naive(formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?)
    };
    let plausible = Timestamp::from_china(1900, 1, 1, 0, 0, 0)?..Timestamp::from_china(2200, 1, 1, 0, 0, 0)?;
    plausible.contains(&at).then_some(at)
}

fn date(text: &str) -> Option<NaiveDate> {
    let formats = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"];
    let compact = (text.len() == 8).then_some("%Y%m%d");
    formats.into_iter().chain(compact).find_map(|format| NaiveDate::parse_from_str(text, format).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_whole_and_are_of_china() {
        let start = |text| instant(text, DateCounts::FromItsStart).map(|at| at.to_string());
        let end = |text| instant(text, DateCounts::ToItsEnd).map(|at| at.to_string());
        for text in ["2026-06-30", "2026/6/30", "20260630", "2026.06.30"] {
            assert_eq!(start(text).as_deref(), Some("2026-06-30T00:00:00+08:00"), "{text}");
            assert_eq!(end(text).as_deref(), Some("2026-07-01T00:00:00+08:00"), "{text}");
        }
        for text in ["2026-06-30 08:15", "2026-06-30T08:15:00", "2026-06-30T00:15:00Z", "2026/6/30 8:15:00"] {
            assert_eq!(start(text), end(text));
            assert_eq!(start(text).as_deref(), Some("2026-06-30T08:15:00+08:00"), "{text}");
        }
        for wrong in ["2026-02-30", "tomorrow", "0001-01-01", "99999-01-01", "2026-06"] {
            assert_eq!(start(wrong), None, "{wrong}");
        }
    }
}
