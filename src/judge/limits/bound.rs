//! What a rig's instruments can have measured: a value beyond is none.

use std::sync::LazyLock;

use serde::Serialize;
use toml::Spanned;

use super::{BUILT_IN, Confidence, file::BoundEntry, load::Check};
use crate::reading::passage::Passage;

macro_rules! channels {
    ($($variant:ident $name:literal $unit:literal $field:ident $beyond:literal)*) => {
        /// What a rig measures and the weather around it. The names are those of a passage.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Channel { $($variant),* }

        impl Channel {
            pub const ALL: &[Channel] = &[$(Channel::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit),* }
            }

            /// The word in a verdict's `reasons` for a value beyond the instrument.
            pub const fn beyond(self) -> &'static str {
                match self { $(Self::$variant => $beyond),* }
            }

            /// What the passage carries, value or not.
            #[inline]
            pub fn sent(self, passage: &Passage) -> Option<f32> {
                match self { $(Self::$variant => passage.$field),* }
            }
        }
    };
}

channels! {
    Opacity "opacity_pct" "%" opacity_pct "opacity_pct_beyond_instrument"
    OpacityK "opacity_k_m1" "1/m" opacity_k_m1 "opacity_k_m1_beyond_instrument"
    Ringelmann "ringelmann" "level" ringelmann "ringelmann_beyond_instrument"
    No "no_ppm" "ppm" no_ppm "no_ppm_beyond_instrument"
    Co "co_pct" "%" co_pct "co_pct_beyond_instrument"
    Hc "hc_ppm" "ppm" hc_ppm "hc_ppm_beyond_instrument"
    Co2 "co2_pct" "%" co2_pct "co2_pct_beyond_instrument"
    Speed "speed_kmh" "km/h" speed_kmh "speed_kmh_beyond_instrument"
    Acceleration "acceleration_ms2" "m/s2" acceleration_ms2 "acceleration_ms2_beyond_instrument"
    Slope "slope_deg" "deg" slope_deg "slope_deg_beyond_instrument"
    Vsp "vsp_kwt" "kW/t" vsp_kwt "vsp_kwt_beyond_instrument"
    WindSpeed "wind_speed_ms" "m/s" wind_speed_ms "wind_speed_ms_beyond_instrument"
    WindDirection "wind_direction_deg" "deg" wind_direction_deg "wind_direction_deg_beyond_instrument"
    Temperature "temperature_c" "C" temperature_c "temperature_c_beyond_instrument"
    Humidity "humidity_pct" "%" humidity_pct "humidity_pct_beyond_instrument"
    Pressure "pressure_kpa" "kPa" pressure_kpa "pressure_kpa_beyond_instrument"
}

/// The bound of one instrument, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Bound {
    pub min: f32,
    pub max: f32,
    pub source: Box<str>,
    pub confidence: Confidence,
}

impl Bound {
    #[inline]
    pub fn holds(&self, value: f32) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// The bound of every channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds([Bound; Channel::ALL.len()]);

impl Bounds {
    #[inline]
    pub fn of(&self, channel: Channel) -> &Bound {
        &self.0[channel as usize]
    }

    /// The value where there is one, and one that the instrument can have measured.
    #[inline]
    pub fn measured(&self, channel: Channel, passage: &Passage) -> Option<f32> {
        channel.sent(passage).filter(|value| self.of(channel).holds(*value))
    }

    /// The value of a channel whose instrument cannot have measured it.
    #[inline]
    pub fn beyond(&self, channel: Channel, passage: &Passage) -> Option<f32> {
        channel.sent(passage).filter(|value| !self.of(channel).holds(*value))
    }
}

/// The entries of the table built in, which the tables of operators need not repeat.
static OWN: LazyLock<Vec<(Channel, Bound)>> = LazyLock::new(|| {
    #[derive(serde::Deserialize)]
    struct Only {
        bound: Vec<Spanned<BoundEntry>>,
    }
    let Ok(Only { bound }) = toml::from_str(BUILT_IN) else { return Vec::new() };
    Check { text: BUILT_IN, errors: Vec::new() }.entries(bound)
});

impl Check<'_> {
    /// Bounds of every channel: those given, and for the others the bounds built in.
    pub(super) fn bounds(&mut self, entries: Vec<Spanned<BoundEntry>>) -> Bounds {
        let given = self.entries(entries);
        let find = |channel: Channel| {
            let found = given.iter().chain(OWN.iter()).find(|(known, _)| *known == channel);
            // A test shows that the table built in has all of them.
            found.map(|(_, bound)| bound.clone()).unwrap_or(Bound {
                min: f32::MIN,
                max: f32::MAX,
                source: Box::default(),
                confidence: Confidence::UnsourcedLow,
            })
        };
        Bounds(std::array::from_fn(|place| find(Channel::ALL[place])))
    }

    fn entries(&mut self, entries: Vec<Spanned<BoundEntry>>) -> Vec<(Channel, Bound)> {
        let mut found: Vec<(Channel, Bound)> = Vec::new();
        for entry in entries {
            let (line, entry) = self.open(entry);
            let Some(channel) = Channel::ALL.iter().copied().find(|channel| channel.name() == entry.channel) else {
                let known: Vec<_> = Channel::ALL.iter().map(|channel| channel.name()).collect();
                self.report(line, format!("channel {:?} is none of {}", entry.channel, known.join(", ")));
                continue;
            };
            self.unit(line, &entry.unit, channel.unit(), channel.name());
            let (min, max) = (self.number(line, "min", entry.min), self.number(line, "max", entry.max));
            if min >= max {
                self.report(line, "no value lies in this bound");
            }
            if entry.source.trim().is_empty() {
                self.report(line, "source is empty");
            }
            if found.iter().any(|(known, _)| *known == channel) {
                self.report(line, format!("a second bound of {}", channel.name()));
            }
            found.push((channel, Bound { min, max, source: entry.source.into(), confidence: entry.confidence }));
        }
        found
    }
}
