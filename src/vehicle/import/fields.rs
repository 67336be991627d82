//! Cells into values. Every error names the column and what it should hold, never the cell itself.

mod moment;

use chrono::NaiveDate;

use super::sheet::Cells;
use crate::{
    mapping,
    reading::{Plate, PlateKey, Timestamp},
    vehicle::packed::MAX_TORQUE_NM,
};
pub use moment::{DateCounts, Moment, instant, typed};

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
        let Moment::Day(day) = Moment::of_cell(cell)? else { return None };
        let days = day.signed_duration_since(epoch).num_days();
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
