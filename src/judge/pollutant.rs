//! What a roadside rig measures that a limit may exist for.

use serde::{Deserialize, Serialize};

use super::limits::Channel;

/// A pollutant with a limit of its own. The names are those of `limits.toml`, verdicts and stored tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Pollutant {
    /// Share of light held back, %.
    Opacity = 0,
    /// Light absorption coefficient, 1/m.
    OpacityK = 1,
    /// Ringelmann blackness, level 0..5.
    Ringelmann = 2,
    /// ppm
    No = 3,
    /// %
    Co = 4,
    /// ppm
    Hc = 5,
}

impl Pollutant {
    pub const COUNT: usize = 6;
    pub const ALL: [Pollutant; Self::COUNT] =
        [Self::Opacity, Self::OpacityK, Self::Ringelmann, Self::No, Self::Co, Self::Hc];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Opacity => "opacity",
            Self::OpacityK => "opacity_k",
            Self::Ringelmann => "ringelmann",
            Self::No => "no",
            Self::Co => "co",
            Self::Hc => "hc",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pollutant| pollutant.name() == name)
    }

    /// Takes back `self as u8`.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The one unit it is measured and limited in.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Opacity | Self::Co => "%",
            Self::OpacityK => "1/m",
            Self::Ringelmann => "level",
            Self::No | Self::Hc => "ppm",
        }
    }

    /// Where a passage says it.
    pub const fn channel(self) -> Channel {
        match self {
            Self::Opacity => Channel::Opacity,
            Self::OpacityK => Channel::OpacityK,
            Self::Ringelmann => Channel::Ringelmann,
            Self::No => Channel::No,
            Self::Co => Channel::Co,
            Self::Hc => Channel::Hc,
        }
    }

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_codes_and_order_agree() {
        for (place, pollutant) in Pollutant::ALL.into_iter().enumerate() {
            assert_eq!(pollutant as usize, place);
            assert_eq!(Pollutant::from_code(pollutant as u8), Some(pollutant));
            assert_eq!(Pollutant::parse(pollutant.name()), Some(pollutant));
            assert_eq!(serde_json::to_value(pollutant).expect("text"), pollutant.name());
        }
        assert_eq!(Pollutant::from_code(6), None);
    }
}
