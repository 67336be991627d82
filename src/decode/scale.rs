//! How a channel is written on the wire, and bodies as tables of channels.

use serde::{Serialize, Serializer};

use super::channel::{Channel, NotValue};

/// How a channel is written: big-endian, `(raw * multiply + add) / divide`, valid up to `last`.
///
/// The fraction is kept as integers so that a value comes out as the `f64` nearest to its decimal text: 0.05 per bit
/// from -200 gives -199.9 and not -199.90000000000001.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub width: Width,
    pub multiply: u32,
    pub add: i32,
    pub divide: u32,
    /// Greatest raw number that is a value.
    pub last: u32,
    /// Whether numbers above `0xFA..` follow the J1939 bands; otherwise only all ones has a meaning of its own.
    pub bands: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    One,
    Two,
    Four,
}

impl Width {
    /// All bits one.
    pub const fn ones(self) -> u32 {
        match self {
            Width::One => 0xff,
            Width::Two => 0xffff,
            Width::Four => u32::MAX,
        }
    }

    pub const fn bytes(self) -> usize {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
        }
    }

    /// Bits below the highest byte.
    const fn shift(self) -> u32 {
        match self {
            Width::One => 0,
            Width::Two => 8,
            Width::Four => 24,
        }
    }
}

/// A J1939 channel of one byte, 1 per bit, valid up to `FA`.
pub const BYTE: Scale = Scale::j1939(Width::One, 0xfa);
/// A J1939 channel of two bytes, 1 per bit, valid up to `FAFF`.
pub const WORD: Scale = Scale::j1939(Width::Two, 0xfaff);
/// A J1939 channel of four bytes, 1 per bit, valid up to `FAFFFFFF`.
pub const LONG: Scale = Scale::j1939(Width::Four, 0xfaff_ffff);
/// Two bytes outside the J1939 family: everything but `FFFF` is a number.
pub const PLAIN_WORD: Scale = Scale { width: Width::Two, multiply: 1, add: 0, divide: 1, last: 0xfffe, bands: false };

impl Scale {
    const fn j1939(width: Width, last: u32) -> Self {
        Self { width, multiply: 1, add: 0, divide: 1, last, bands: true }
    }

    /// `multiply / divide` units per bit.
    pub const fn per_bit(mut self, multiply: u32, divide: u32) -> Self {
        self.multiply = multiply;
        self.divide = divide;
        self
    }

    /// What a raw zero means, whole units; call it after [`per_bit`](Self::per_bit).
    pub const fn zero_at(mut self, zero: i32) -> Self {
        self.add = zero * self.divide as i32;
        self
    }

    /// Greatest raw number that is a value, where the channel means less than its width holds.
    pub const fn up_to(mut self, last: u32) -> Self {
        self.last = last;
        self
    }

    /// Whether every value is a whole number.
    pub const fn is_whole(self) -> bool {
        self.divide == 1
    }

    /// Least and greatest value.
    pub fn range(self) -> std::ops::RangeInclusive<f64> {
        self.number(0)..=self.number(self.last)
    }

    #[inline(always)]
    fn number(self, raw: u32) -> f64 {
        (i64::from(raw) * i64::from(self.multiply) + i64::from(self.add)) as f64 / f64::from(self.divide)
    }

    /// What `raw` means.
    #[inline(always)]
    pub fn of_raw(self, raw: u32) -> Channel {
        if raw > self.last { self.beyond(raw) } else { Channel::finite(self.number(raw)) }
    }

    #[cold]
    #[inline(never)]
    fn beyond(self, raw: u32) -> Channel {
        if raw == self.width.ones() {
            return Channel::NOT_AVAILABLE;
        }
        match raw >> self.width.shift() {
            0xff if self.bands => Channel::NOT_AVAILABLE,
            0xfe if self.bands => Channel::SENSOR_ERROR,
            0xfb..=0xfd if self.bands => Channel::RESERVED,
            _ => Channel::OUT_OF_RANGE,
        }
    }

    /// The raw number of a channel, the nearest there is; what cannot be said becomes all ones.
    pub fn to_raw(self, channel: Channel) -> u32 {
        let ones = self.width.ones();
        let low = (1 << self.width.shift()) - 1;
        let band = |high: u32| if self.bands { high << self.width.shift() | low } else { ones };
        match (channel.value(), channel.not_value()) {
            (Some(value), _) => {
                let raw = (value * f64::from(self.divide) - f64::from(self.add)) / f64::from(self.multiply);
                // A cast from float saturates, so a value under the range becomes its lowest raw number.
                (raw.round() as u32).min(self.last)
            }
            (None, Some(NotValue::SensorError)) => band(0xfe),
            (None, Some(NotValue::Reserved)) => band(0xfb),
            (None, Some(NotValue::OutOfRange)) if self.beyond(self.last + 1) == Channel::OUT_OF_RANGE => self.last + 1,
            (None, _) => ones,
        }
    }

    /// A number that came as text: out of range where the wire could not have carried it.
    pub fn of_number(self, value: f64) -> Channel {
        if self.range().contains(&value) { Channel::number(value) } else { Channel::OUT_OF_RANGE }
    }

    /// Reads the channel at `at`; past the end of `body` it is not available.
    #[inline(always)]
    pub fn read(self, body: &[u8], at: usize) -> Channel {
        let rest = body.get(at..).unwrap_or_default();
        let raw = match self.width {
            Width::One => rest.first().map(|&byte| u32::from(byte)),
            Width::Two => rest.first_chunk().map(|&bytes| u32::from(u16::from_be_bytes(bytes))),
            Width::Four => rest.first_chunk().map(|&bytes| u32::from_be_bytes(bytes)),
        };
        raw.map_or(Channel::NOT_AVAILABLE, |raw| self.of_raw(raw))
    }

    /// Writes the channel at `at` of `body`; a place past the end is left out.
    pub fn write(self, channel: Channel, body: &mut [u8], at: usize) {
        let raw = self.to_raw(channel).to_be_bytes();
        let bytes = match self.width {
            Width::One => raw.get(3..),
            Width::Two => raw.get(2..),
            Width::Four => raw.get(..),
        };
        let bytes = bytes.unwrap_or_default();
        if let Some(place) = body.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// The value with the digits that mean something: six decimals, or seven where one bit is less than a millionth.
    pub(super) fn for_text(self, value: f64) -> Number {
        if self.is_whole() && value.fract() == 0.0 {
            return Number::Whole(value as i64);
        }
        let digits = if self.divide > 1_000_000 { 1e7 } else { 1e6 };
        Number::Decimal((value * digits).round() / digits)
    }
}

/// A number as it is written in JSON: `21` for a channel of whole units, `21.0` for one with fractions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i64),
    Decimal(f64),
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Number::Whole(number) => serializer.serialize_i64(*number),
            Number::Decimal(number) => serializer.serialize_f64(*number),
        }
    }
}

/// Marks a channel that a layout does not have.
pub(super) const NOWHERE: usize = usize::MAX;

/// Declares a body as a table: one row per channel with its scale and its offset in each layout (`-` where the layout
/// has none). The struct, the reader, the writer and the walk for JSON all come from that one table.
macro_rules! channels {
    (
        $(#[$doc:meta])*
        pub struct $name:ident, layouts [$($layout:ident: $size:literal),+];
        $( $(#[$row_doc:meta])* $field:ident: $scale:expr, [$($at:tt),+]; )+
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$row_doc])* pub $field: $crate::decode::channel::Channel, )+
        }

        impl $name {
            /// Names of the channels, in order.
            pub const NAMES: [&'static str; { const ALL: &[&str] = &[$(stringify!($field)),+]; ALL.len() }] =
                [$(stringify!($field)),+];

            /// Sizes of the layouts, bytes.
            const SIZES: &[usize] = &[$($size),+];

            /// Reads `body` by the layout numbered `LAYOUT`.
            pub(in crate::decode) fn read<const LAYOUT: usize>(body: &[u8]) -> Self {
                let mut channels = Self::default();
                channels.fill::<LAYOUT>(body);
                channels
            }

            /// Reads `body` in place; channels that the layout does not have stay as they are.
            #[inline(always)]
            pub(in crate::decode) fn fill<const LAYOUT: usize>(&mut self, body: &[u8]) {
                use $crate::decode::scale::NOWHERE;
                $(
                    let at = const {
                        let at = [$($crate::decode::scale::place!($at)),+][LAYOUT];
                        assert!(at == NOWHERE || at + $scale.width.bytes() <= Self::SIZES[LAYOUT]);
                        at
                    };
                    if at != NOWHERE { self.$field = const { $scale }.read(body, at); }
                )+
            }

            /// Writes the layout numbered `LAYOUT`; `body` is as long as that layout.
            pub(in crate::decode) fn write<const LAYOUT: usize>(&self, body: &mut [u8]) {
                use $crate::decode::scale::NOWHERE;
                $(
                    let at = const { [$($crate::decode::scale::place!($at)),+][LAYOUT] };
                    if at != NOWHERE { $scale.write(self.$field, body, at); }
                )+
            }

            /// Takes back every value outside its span; the spans are in the order of [`Self::NAMES`].
            pub(in crate::decode) fn keep_within(
                &mut self,
                spans: &[$crate::decode::bounds::Span; $name::NAMES.len()],
            ) {
                let [$($field),+] = *spans;
                $( self.$field = self.$field.within($field); )+
            }

            /// Every channel in order, with its name and scale.
            pub fn each(
                &self,
                mut visit: impl FnMut(&'static str, $crate::decode::scale::Scale, $crate::decode::channel::Channel),
            ) {
                $( visit(stringify!($field), $scale, self.$field); )+
            }

            /// The channel of that name and its scale.
            pub fn named_mut(
                &mut self,
                name: &str,
            ) -> Option<(&mut $crate::decode::channel::Channel, $crate::decode::scale::Scale)> {
                match name {
                    $( stringify!($field) => Some((&mut self.$field, $scale)), )+
                    _ => None,
                }
            }
        }
    };
}

/// The offset in a row of [`channels!`].
macro_rules! place {
    (-) => {
        $crate::decode::scale::NOWHERE
    };
    ($at:literal) => {
        $at
    };
}

pub(super) use {channels, place};

#[cfg(test)]
mod tests {
    use super::*;

    const NOX: Scale = WORD.per_bit(1, 20).zero_at(-200);

    #[test]
    fn values_are_the_nearest_to_their_decimal_text() {
        assert_eq!(NOX.of_raw(2).value(), Some(-199.9));
        assert_eq!(NOX.of_raw(0xfaff).value(), Some(3012.75));
        assert_eq!(BYTE.per_bit(2, 5).of_raw(97).value(), Some(38.8));
        assert_eq!(LONG.per_bit(1, 10).of_raw(0xfaff_ffff).value(), Some(421_108_121.5));
    }

    #[test]
    fn j1939_bands_are_not_values() {
        for (raw, state) in [
            (0xfb00, NotValue::Reserved),
            (0xfdff, NotValue::Reserved),
            (0xfe00, NotValue::SensorError),
            (0xfeff, NotValue::SensorError),
            (0xff00, NotValue::NotAvailable),
            (0xffff, NotValue::NotAvailable),
        ] {
            let channel = NOX.of_raw(raw);
            assert_eq!((channel.value(), channel.not_value()), (None, Some(state)), "{raw:04x}");
        }
        assert_eq!(BYTE.of_raw(0xfe).not_value(), Some(NotValue::SensorError));
        assert_eq!(BYTE.up_to(100).of_raw(101).not_value(), Some(NotValue::OutOfRange));
        assert_eq!(PLAIN_WORD.of_raw(0xfeff).value(), Some(65279.0));
        assert_eq!(PLAIN_WORD.of_raw(0xffff).not_value(), Some(NotValue::NotAvailable));
    }

    #[test]
    fn every_raw_number_survives_the_way_there_and_back() {
        for scale in [NOX, WORD.per_bit(1, 256), WORD.per_bit(1, 32).zero_at(-273), WORD.per_bit(61, 2_000_000)] {
            for raw in 0..=scale.last {
                assert_eq!(scale.to_raw(scale.of_raw(raw)), raw);
            }
        }
        for state in NotValue::ALL {
            let channel = Channel::without_value(state);
            let scale = BYTE.up_to(100);
            assert_eq!(scale.of_raw(scale.to_raw(channel)), channel);
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_out_of_range() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Channel::number(number).not_value(), Some(NotValue::OutOfRange));
            assert_eq!(NOX.of_number(number).not_value(), Some(NotValue::OutOfRange));
        }
    }
}
