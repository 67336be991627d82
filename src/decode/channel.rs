//! One measured channel: a number, or the reason why there is none.
//!
//! Four states must stay apart (value, not available, sensor error, out of range): a decoder that scales every pattern of
//! bits turns a sensor error of `FE FF` into 1 766.97 °C.

use serde::Serialize;

use super::bounds::Span;

/// Why a channel holds no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotValue {
    /// All bits one, or the J1939 band `FF..`.
    NotAvailable,
    /// The J1939 band `FE..`.
    SensorError,
    /// The J1939 bands `FB..` to `FD..`.
    Reserved,
    /// A number outside what the channel can mean.
    OutOfRange,
}

impl NotValue {
    pub const ALL: [NotValue; 4] =
        [NotValue::NotAvailable, NotValue::SensorError, NotValue::Reserved, NotValue::OutOfRange];

    pub const fn name(self) -> &'static str {
        match self {
            NotValue::NotAvailable => "not_available",
            NotValue::SensorError => "sensor_error",
            NotValue::Reserved => "reserved",
            NotValue::OutOfRange => "out_of_range",
        }
    }
}

/// A finite number or a [`NotValue`] in eight bytes: the states live in NaN patterns that no arithmetic here produces.
///
/// A channel that the body's layout does not have at all is *absent*: it reads as not available and is left out of JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Channel(u64);

/// Exponent bits: all ones means "not finite".
const NOT_FINITE: u64 = 0x7ff0_0000_0000_0000;
/// Quiet NaN; the lowest byte tells the state.
const STATE: u64 = 0x7ff8_0000_0000_0000;

impl Channel {
    pub const NOT_AVAILABLE: Self = Self(STATE | 1);
    pub const SENSOR_ERROR: Self = Self(STATE | 2);
    pub const RESERVED: Self = Self(STATE | 3);
    pub const OUT_OF_RANGE: Self = Self(STATE | 4);
    pub const ABSENT: Self = Self(STATE | 5);

    /// A number; one that is not finite is out of range.
    pub const fn number(value: f64) -> Self {
        if value.is_finite() { Self(value.to_bits()) } else { Self::OUT_OF_RANGE }
    }

    /// A number known to be finite.
    #[inline(always)]
    pub(super) const fn finite(value: f64) -> Self {
        debug_assert!(value.is_finite());
        Self(value.to_bits())
    }

    pub const fn without_value(why: NotValue) -> Self {
        match why {
            NotValue::NotAvailable => Self::NOT_AVAILABLE,
            NotValue::SensorError => Self::SENSOR_ERROR,
            NotValue::Reserved => Self::RESERVED,
            NotValue::OutOfRange => Self::OUT_OF_RANGE,
        }
    }

    /// The number in the channel's unit, always finite.
    pub const fn value(self) -> Option<f64> {
        if self.0 & NOT_FINITE == NOT_FINITE { None } else { Some(f64::from_bits(self.0)) }
    }

    /// Why there is no number; `None` where there is one.
    pub const fn not_value(self) -> Option<NotValue> {
        match self {
            Self::NOT_AVAILABLE | Self::ABSENT => Some(NotValue::NotAvailable),
            Self::SENSOR_ERROR => Some(NotValue::SensorError),
            Self::RESERVED => Some(NotValue::Reserved),
            Self::OUT_OF_RANGE => Some(NotValue::OutOfRange),
            _ => None,
        }
    }

    /// The same, unless it is a number outside the span.
    #[inline(always)]
    pub(super) fn within(self, span: Span) -> Self {
        // What is no number is a NaN, which lies on neither side.
        let value = f64::from_bits(self.0);
        if value < span.min || value > span.max { Self::OUT_OF_RANGE } else { self }
    }

    /// Whether the layout has no such channel.
    pub const fn is_absent(self) -> bool {
        matches!(self, Self::ABSENT)
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self::ABSENT
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.value(), self.not_value()) {
            (Some(value), _) => write!(f, "{value}"),
            (None, Some(why)) if !self.is_absent() => f.write_str(why.name()),
            (None, _) => f.write_str("absent"),
        }
    }
}
