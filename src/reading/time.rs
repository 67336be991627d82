//! Points in time. Inside the program a time is a count of microseconds UTC; text and calendars exist at the edges only.

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeZone, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Seconds between UTC and the legal time of the whole country (GMT+8, no daylight saving).
pub const CHINA_OFFSET_SECONDS: i32 = 8 * 3600;

/// Microseconds between the Unix epoch and PostgreSQL's (2000-01-01T00:00:00Z).
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

const NANOS_PER_SECOND: u32 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch; stands in where a terminal's clock gave no calendar date.
    pub const EPOCH: Timestamp = Timestamp(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Microseconds since 2000-01-01T00:00:00Z, the binary form of `timestamptz`.
    pub const fn postgres_micros(self) -> i64 {
        self.0 - POSTGRES_EPOCH_MICROS
    }

    pub const fn from_postgres_micros(micros: i64) -> Self {
        Self(micros + POSTGRES_EPOCH_MICROS)
    }

    pub fn now() -> Self {
        Self(Utc::now().timestamp_micros())
    }

    /// A calendar date and time of day in legal time (GMT+8); `None` when there is no such date.
    pub fn from_china(year: i32, month: u32, day: u32, hour: u32, minute: u32, second: u32) -> Option<Self> {
        let naive = NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(hour, minute, second)?;
        Some(Self::from_china_naive(naive))
    }

    pub fn from_china_naive(naive: NaiveDateTime) -> Self {
        Self(naive.and_utc().timestamp_micros() - i64::from(CHINA_OFFSET_SECONDS) * 1_000_000)
    }

    /// RFC 3339 with an offset; text without one is refused, because a guess would move the reading. Exactly what JSON
    /// Schema calls a `date-time`: `T` before the time of day, ASCII only, a second of 60 only where leap seconds are (the
    /// last of a day in UTC).
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        // The parser takes a blank for the `T` and a typographic minus sign too.
        if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) || !text.is_ascii() {
            return None;
        }
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        if at.timestamp_subsec_nanos() >= NANOS_PER_SECOND && at.timestamp().rem_euclid(DAY_SECONDS) != DAY_SECONDS - 1
        {
            return None;
        }
        Some(Self(at.timestamp_micros()))
    }

    /// The same instant as wall-clock time in China.
    pub fn in_china(self) -> DateTime<FixedOffset> {
        let offset = FixedOffset::east_opt(CHINA_OFFSET_SECONDS).expect("eight hours is a valid offset");
        match DateTime::<Utc>::from_timestamp_micros(self.0) {
            Some(at) => at.with_timezone(&offset),
            None => offset.timestamp_nanos(0),
        }
    }

    /// The calendar day in China that holds this instant.
    pub fn china_day(self) -> NaiveDate {
        self.in_china().date_naive()
    }

    #[must_use]
    /// The first moment of that calendar day in China.
    pub const fn start_of_china_day(self) -> Self {
        let offset = CHINA_OFFSET_SECONDS as i64 * 1_000_000;
        let since_midnight = self.0.saturating_add(offset).rem_euclid(86_400_000_000);
        Self(self.0.saturating_sub(since_midnight))
    }

    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// `self - earlier`, microseconds; negative when `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// RFC 3339 in legal time: `2021-08-14T08:47:35+08:00`, with microseconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.in_china();
        if self.0 % 1_000_000 == 0 {
            write!(f, "{}", local.format("%Y-%m-%dT%H:%M:%S%:z"))
        } else {
            write!(f, "{}", local.format("%Y-%m-%dT%H:%M:%S%.6f%:z"))
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time with offset")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse_rfc3339(text).ok_or_else(|| E::custom("not an RFC 3339 time with offset"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl tokio_postgres::types::ToSql for Timestamp {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        bytes::BufMut::put_i64(out, self.postgres_micros());
        Ok(tokio_postgres::types::IsNull::No)
    }
    tokio_postgres::types::accepts!(TIMESTAMPTZ);
    tokio_postgres::types::to_sql_checked!();
}

impl<'a> tokio_postgres::types::FromSql<'a> for Timestamp {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::from_postgres_micros(i64::from_be_bytes(raw.try_into()?)))
    }
    tokio_postgres::types::accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let at = Timestamp::parse_rfc3339("2021-08-14T00:47:35Z").expect("valid");
        assert_eq!(at.to_string(), "2021-08-14T08:47:35+08:00");
        assert_eq!(Timestamp::from_china(2021, 8, 14, 8, 47, 35), Some(at));
        assert_eq!(Timestamp::parse_rfc3339("2021-08-14T08:47:35"), None);
        assert_eq!(Timestamp::from_postgres_micros(at.postgres_micros()), at);
    }

    #[test]
    fn only_what_a_schema_calls_a_time_is_one() {
        let read = Timestamp::parse_rfc3339;
        assert_eq!(read("2021-08-14 00:47:35Z"), None);
        assert_eq!(read("2021-08-14T00:47:35\u{2212}08:00"), None);
        assert_eq!(read("2026-06-30T23:59:60+08:00"), None, "no leap second is there");
        assert_eq!(read("2017-01-01T07:59:60+08:00"), read("2017-01-01T08:00:00+08:00"));
        assert_eq!(read("2021-08-14t00:47:35z"), read("2021-08-14T00:47:35Z"));
    }

    #[test]
    fn no_such_day_is_none() {
        assert_eq!(Timestamp::from_china(2021, 2, 29, 0, 0, 0), None);
        assert_eq!(Timestamp::from_china(2000, 0, 0, 0, 0, 0), None);
    }
}
