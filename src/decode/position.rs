//! Where a device was.

use serde::Serialize;

use super::channel::NotValue;

/// Where a device was, WGS-84 degrees, east and north positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Position {
    /// `false`: no fix at the moment, the last one is repeated.
    pub valid: bool,
    /// -180..=180
    pub lon: f64,
    /// -90..=90
    pub lat: f64,
}

/// A position, why there is none, or that the layout has no place for one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PositionReading {
    #[default]
    Absent,
    Not(NotValue),
    Known(Position),
}

/// Bytes of a position: status, longitude, latitude.
pub(super) const POSITION_BYTES: usize = 9;

/// Units per degree of longitude and latitude in every layout but the old tracker's.
pub(super) const MICRODEGREES: f64 = 1e6;
/// The old non-road tracker (type 87) sends a tenth of that.
pub(super) const TRACKER_DEGREES: f64 = 1e5;

const NO_FIX: u8 = 1;
const SOUTH: u8 = 2;
const WEST: u8 = 4;

impl PositionReading {
    pub const fn get(self) -> Option<Position> {
        match self {
            PositionReading::Known(position) => Some(position),
            PositionReading::Absent | PositionReading::Not(_) => None,
        }
    }

    /// Reads status, longitude and latitude at `at`; `per_degree` is 1e6, or 1e5 for one old tracker.
    #[inline(always)]
    pub(super) fn read(body: &[u8], at: usize, per_degree: f64) -> Self {
        let Some(&[status, a, b, c, d, e, f, g, h]) = body.get(at..).and_then(|rest| rest.first_chunk()) else {
            return PositionReading::Not(NotValue::NotAvailable);
        };
        let (lon, lat) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        // Zero is what a receiver that has never had a fix, or a terminal without one, leaves in the field.
        if lon == u32::MAX || lat == u32::MAX || lon | lat == 0 {
            return PositionReading::Not(NotValue::NotAvailable);
        }
        let (lon, lat) = (f64::from(lon) / per_degree, f64::from(lat) / per_degree);
        if lon > 180.0 || lat > 90.0 {
            return PositionReading::Not(NotValue::OutOfRange);
        }
        PositionReading::Known(Position {
            valid: status & NO_FIX == 0,
            lon: if status & WEST == 0 { lon } else { -lon },
            lat: if status & SOUTH == 0 { lat } else { -lat },
        })
    }

    /// Status, longitude, latitude as they travel; what is not known becomes all ones under "no fix".
    pub(super) fn to_bytes(self, per_degree: f64) -> [u8; POSITION_BYTES] {
        let (status, lon, lat) = match self {
            PositionReading::Known(Position { valid, lon, lat }) => {
                let bit = |set: bool, bit: u8| if set { bit } else { 0 };
                let status =
                    bit(!valid, NO_FIX) | bit(lat.is_sign_negative(), SOUTH) | bit(lon.is_sign_negative(), WEST);
                (status, (lon.abs() * per_degree).round() as u32, (lat.abs() * per_degree).round() as u32)
            }
            PositionReading::Not(NotValue::OutOfRange) => (NO_FIX, u32::MAX - 1, u32::MAX - 1),
            PositionReading::Not(_) | PositionReading::Absent => (NO_FIX, u32::MAX, u32::MAX),
        };
        let ([a, b, c, d], [e, f, g, h]) = (lon.to_be_bytes(), lat.to_be_bytes());
        [status, a, b, c, d, e, f, g, h]
    }
}
