//! Daily hours in which a zone's rule holds, wall-clock time in China.

use std::fmt;

use smallvec::SmallVec;

use crate::reading::{Timestamp, time::CHINA_OFFSET_SECONDS};

const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// Windows of a day; none means the whole day. A window whose end is not after its start runs over midnight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours(SmallVec<[(u16, u16); 2]>);

/// Why a text is not hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hours are not of the form 07:00-09:00,22:00-06:00")]
pub struct HoursError;

impl Hours {
    /// `07:00-09:00,22:00-06:00`; empty is the whole day, and so is `00:00-24:00`.
    pub fn parse(text: &str) -> Result<Self, HoursError> {
        let mut windows = SmallVec::new();
        for window in text.split([',', ';', '，', '；']).map(str::trim).filter(|window| !window.is_empty()) {
            let (from, to) = window.split_once(['-', '–', '~']).ok_or(HoursError)?;
            let (from, to) = (minute(from)?, minute(to)?);
            if from == to || from == MINUTES_OF_A_DAY {
                return Err(HoursError);
            }
            windows.push((from, to));
        }
        Ok(Self(windows))
    }

    /// Whether the wall clock in China stands within a window; the start belongs to it, the end does not.
    pub fn contain(&self, at: Timestamp) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let seconds = at.micros().div_euclid(1_000_000) + i64::from(CHINA_OFFSET_SECONDS);
        let minute = (seconds.rem_euclid(86_400) / 60) as u16;
        self.0.iter().any(
            |&(from, to)| {
                if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
            },
        )
    }
}

fn minute(text: &str) -> Result<u16, HoursError> {
    let (hour, minute) = text.trim().split_once([':', '：']).ok_or(HoursError)?;
    let number = |text: &str| {
        let digits = text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
        if digits { text.parse::<u16>().map_err(|_| HoursError) } else { Err(HoursError) }
    };
    match (number(hour)?, number(minute)?) {
        (24, 0) => Ok(MINUTES_OF_A_DAY),
        (hour @ 0..24, minute @ 0..60) => Ok(hour * 60 + minute),
        _ => Err(HoursError),
    }
}

/// The form [`Hours::parse`] takes.
impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (from, to)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clock(hour: u32, minute: u32) -> Timestamp {
        Timestamp::from_china(2026, 7, 1, hour, minute, 59).expect("a time")
    }

    #[test]
    fn windows_also_over_midnight() {
        let hours = Hours::parse("07:00-09:00, 22:00-6:30").expect("hours");
        assert_eq!(hours.to_string(), "07:00-09:00,22:00-06:30");
        for (hour, minute, inside) in
            [(7, 0, true), (8, 59, true), (9, 0, false), (23, 0, true), (6, 29, true), (6, 30, false)]
        {
            assert_eq!(hours.contain(clock(hour, minute)), inside, "{hour}:{minute}");
        }
        assert!(Hours::default().contain(clock(3, 0)));
        assert!(Hours::parse("00:00-24:00").expect("hours").contain(clock(23, 59)));
    }

    #[test]
    fn wrong_hours() {
        for text in ["7-9", "07:00", "25:00-26:00", "07:60-08:00", "07:00-07:00", "+7:00-08:00"] {
            assert_eq!(Hours::parse(text), Err(HoursError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_is_refused_or_parses_back(text in "[0-9:,\\- ]{0,24}") {
            if let Ok(hours) = Hours::parse(&text) {
                prop_assert_eq!(Hours::parse(&hours.to_string()), Ok(hours));
            }
        }
    }
}
