//! A cursor over bytes that cannot run past their end.

use crate::reading::Timestamp;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a>(pub &'a [u8]);

impl<'a> Rest<'a> {
    pub fn len(self) -> usize {
        self.0.len()
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        self.array().map(|&[byte]| byte)
    }

    #[inline]
    pub fn word(&mut self) -> Option<u16> {
        self.array().map(|&bytes| u16::from_be_bytes(bytes))
    }
}

/// Six raw bytes YY MM DD hh mm ss of legal time (GMT+8), year 2000 + YY.
pub(super) type RawTime = [u8; 6];

/// `None` where there is no such date, as in the all-zero time of a terminal without a clock.
pub(super) fn time(raw: RawTime) -> Option<Timestamp> {
    Days::default().time(raw)
}

/// Reads times one after the other. Those of one packet are of one day nearly always, so the calendar is asked once a day.
#[derive(Default)]
pub(super) struct Days {
    known: Option<([u8; 3], Timestamp)>,
}

impl Days {
    /// See [`time`].
    #[inline]
    pub fn time(&mut self, raw: RawTime) -> Option<Timestamp> {
        let [year, month, day, hour, minute, second] = raw;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let midnight = match self.known {
            Some((date, midnight)) if date == [year, month, day] => midnight,
            _ => self.midnight([year, month, day])?,
        };
        Some(midnight.plus_seconds((i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second)))
    }

    #[cold]
    fn midnight(&mut self, date: [u8; 3]) -> Option<Timestamp> {
        let [year @ 0..=99, month, day] = date else { return None };
        let midnight = Timestamp::from_china(2000 + i32::from(year), u32::from(month), u32::from(day), 0, 0, 0)?;
        self.known = Some((date, midnight));
        Some(midnight)
    }
}

/// The reverse of [`time`], whole seconds; a time outside 2000..=2099, which the wire cannot say, becomes all zeros.
pub(super) fn raw_time(at: Option<Timestamp>) -> RawTime {
    use chrono::{Datelike as _, Timelike as _};

    let Some(local) = at.map(Timestamp::in_china) else { return [0; 6] };
    match u8::try_from(local.year() - 2000) {
        Ok(year @ 0..=99) => [
            year,
            local.month() as u8,
            local.day() as u8,
            local.hour() as u8,
            local.minute() as u8,
            local.second() as u8,
        ],
        _ => [0; 6],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let mut days = Days::default();
        for raw in [[24, 2, 29, 23, 59, 59], [24, 2, 29, 0, 0, 0], [24, 3, 1, 8, 30, 1], [24, 3, 1, 8, 30, 2]] {
            let [year, month, day, hour, minute, second] = raw.map(u32::from);
            let expected = Timestamp::from_china(2000 + year as i32, month, day, hour, minute, second);
            assert!(expected.is_some());
            assert_eq!((days.time(raw), raw_time(expected)), (expected, raw));
        }
        for raw in [[0; 6], [23, 2, 29, 0, 0, 0], [100, 1, 1, 0, 0, 0], [24, 1, 1, 24, 0, 0], [24, 1, 1, 0, 0, 60]] {
            assert_eq!((days.time(raw), time(raw)), (None, None), "{raw:?}");
        }
    }
}
