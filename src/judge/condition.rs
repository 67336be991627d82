//! Conditions under which a measurement proves anything: weather, driving, plume and the rig's own papers.

use crate::{
    reading::{Timestamp, passage::Passage},
    vehicle::stations::Station,
};

use super::limits::{Bounds, Channel, Citation, Interval};

/// What the register knows of the station that a verdict may need.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StationFacts {
    /// Slope of the road at a fixed station, degrees, uphill positive.
    pub slope_deg: Option<f32>,
    pub calibrated_at: Option<Timestamp>,
    /// First instant at which the certificate no longer holds.
    pub certificate_until: Option<Timestamp>,
}

impl StationFacts {
    /// As they were for a vehicle that passed at `passed_at`.
    pub fn of(station: &Station, passed_at: Timestamp) -> Self {
        let &Station { slope_deg, certificate_until, .. } = station;
        Self { slope_deg, calibrated_at: station.calibrated_before(passed_at), certificate_until }
    }
}

macro_rules! keys {
    ($($variant:ident $name:literal $unit:literal [$missing:literal $low:literal $high:literal])*) => {
        /// What a condition looks at. The names are those of `limits.toml`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ConditionKey { $($variant),* }

        impl ConditionKey {
            pub const ALL: &[ConditionKey] = &[$(ConditionKey::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit),* }
            }

            /// The word in a verdict's `reasons`.
            const fn reason(self, fault: Fault) -> &'static str {
                match (self, fault) {
                    $(
                        (Self::$variant, Fault::Missing | Fault::Beyond(_)) => $missing,
                        (Self::$variant, Fault::TooLow(_)) => $low,
                        (Self::$variant, Fault::TooHigh(_)) => $high,
                    )*
                }
            }
        }
    };
}

keys! {
    Precipitation "precipitation" "yes_no" ["precipitation_missing" "precipitation_absent" "precipitation"]
    TemperatureC "temperature_c" "C" ["temperature_c_missing" "temperature_c_too_low" "temperature_c_too_high"]
    HumidityPct "humidity_pct" "%" ["humidity_pct_missing" "humidity_pct_too_low" "humidity_pct_too_high"]
    PressureKpa "pressure_kpa" "kPa" ["pressure_kpa_missing" "pressure_kpa_too_low" "pressure_kpa_too_high"]
    WindSpeedMs "wind_speed_ms" "m/s" ["wind_speed_ms_missing" "wind_speed_ms_too_low" "wind_speed_ms_too_high"]
    SpeedKmh "speed_kmh" "km/h" ["speed_kmh_missing" "speed_kmh_too_low" "speed_kmh_too_high"]
    VspKwt "vsp_kwt" "kW/t" ["vsp_kwt_missing" "vsp_kwt_too_low" "vsp_kwt_too_high"]
    Co2Pct "co2_pct" "%" ["co2_pct_missing" "co2_pct_too_low" "co2_pct_too_high"]
    CalibrationAgeDays "calibration_age_days" "days"
        ["calibration_unknown" "calibration_too_recent" "calibration_too_old"]
    CertificateDaysLeft "certificate_days_left" "days"
        ["certificate_unknown" "certificate_expired" "certificate_too_long"]
}

impl ConditionKey {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name() == name)
    }

    /// The instrument that it looks at; papers and rain have none.
    pub const fn channel(self) -> Option<Channel> {
        Some(match self {
            Self::TemperatureC => Channel::Temperature,
            Self::HumidityPct => Channel::Humidity,
            Self::PressureKpa => Channel::Pressure,
            Self::WindSpeedMs => Channel::WindSpeed,
            Self::SpeedKmh => Channel::Speed,
            Self::VspKwt => Channel::Vsp,
            Self::Co2Pct => Channel::Co2,
            Self::Precipitation | Self::CalibrationAgeDays | Self::CertificateDaysLeft => return None,
        })
    }

    fn value(self, passage: &Passage, station: Option<&StationFacts>, bounds: &Bounds) -> Option<f32> {
        match self {
            Self::Precipitation => passage.precipitation.map(|wet| f32::from(u8::from(wet))),
            Self::TemperatureC => bounds.measured(Channel::Temperature, passage),
            Self::HumidityPct => bounds.measured(Channel::Humidity, passage),
            Self::PressureKpa => bounds.measured(Channel::Pressure, passage),
            Self::WindSpeedMs => bounds.measured(Channel::WindSpeed, passage),
            Self::SpeedKmh => bounds.measured(Channel::Speed, passage),
            Self::VspKwt => bounds.measured(Channel::Vsp, passage).or_else(|| computed_vsp(passage, station, bounds)),
            Self::Co2Pct => bounds.measured(Channel::Co2, passage),
            Self::CalibrationAgeDays => {
                // A calibration after the passage says nothing about it.
                [passage.calibrated_at, station.and_then(|s| s.calibrated_at)]
                    .into_iter()
                    .flatten()
                    .filter(|at| *at <= passage.passed_at)
                    .max()
                    .map(|at| days_between(at, passage.passed_at))
            }
            // To the last moment at which it holds: at the end itself nothing is left.
            Self::CertificateDaysLeft => {
                let last = |until: Timestamp| Timestamp::from_micros(until.micros().saturating_sub(1));
                station?.certificate_until.map(|until| days_between(passage.passed_at, last(until)))
            }
        }
    }
}

fn days_between(from: Timestamp, to: Timestamp) -> f32 {
    (to.micros_since(from) as f64 / 86_400e6) as f32
}

/// Vehicle specific power in the SI form of Jimenez, kW/t: `v (1.1 a + 9.81 sin θ + 0.132) + 0.000302 v³` with v in
/// m/s. From the literature; that HJ 845 uses the same form is not confirmed (UNSOURCED-high).
fn computed_vsp(passage: &Passage, station: Option<&StationFacts>, bounds: &Bounds) -> Option<f32> {
    let v = bounds.measured(Channel::Speed, passage)? / 3.6;
    let a = bounds.measured(Channel::Acceleration, passage)?;
    let slope = bounds.measured(Channel::Slope, passage).or_else(|| station?.slope_deg)?;
    Some(v * (1.1 * a + 9.81 * slope.to_radians().sin() + 0.132) + 0.000_302 * v * v * v)
}

/// One condition of the table.
#[derive(Clone, Debug)]
pub struct Condition {
    pub key: ConditionKey,
    /// Bits of the pollutants that depend on it.
    pub(super) pollutants: u8,
    pub min: Option<f32>,
    /// Exclusive lower bound.
    pub above: Option<f32>,
    pub max: Option<f32>,
    /// A value that is missing makes the measurement invalid.
    pub needed: bool,
    pub interval: Interval,
    pub citation: Citation,
}

/// How a condition was not met, with the value found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Missing,
    /// Something was sent that the instrument cannot have measured.
    Beyond(f32),
    TooLow(f32),
    TooHigh(f32),
}

/// A condition that was not met, as part of a verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unmet {
    /// Place of the condition in the rule book.
    pub(super) condition: u16,
    pub(super) key: ConditionKey,
    pub(super) fault: Fault,
}

impl Unmet {
    /// The code in `reasons`, such as `wind_speed_ms_too_high`.
    pub const fn reason(&self) -> &'static str {
        match (self.fault, self.key.channel()) {
            (Fault::Beyond(_), Some(channel)) => channel.beyond(),
            (fault, _) => self.key.reason(fault),
        }
    }

    /// The instrument that cannot have measured what was sent.
    pub(super) const fn beyond(&self) -> Option<Channel> {
        match self.fault {
            Fault::Beyond(_) => self.key.channel(),
            Fault::Missing | Fault::TooLow(_) | Fault::TooHigh(_) => None,
        }
    }

    pub(super) fn value(&self) -> Option<f32> {
        match self.fault {
            Fault::Missing => None,
            Fault::Beyond(value) | Fault::TooLow(value) | Fault::TooHigh(value) => Some(value),
        }
    }
}

/// What a condition says of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Checked {
    Met,
    Unmet(Unmet),
    /// Nothing is known, and the table of limits does not ask for it.
    PassedOver,
}

impl Condition {
    /// `place` is its place in the rule book.
    pub(super) fn check(
        &self,
        place: u16,
        passage: &Passage,
        station: Option<&StationFacts>,
        bounds: &Bounds,
    ) -> Checked {
        let unmet = |fault| Checked::Unmet(Unmet { condition: place, key: self.key, fault });
        let Some(value) = self.key.value(passage, station, bounds) else {
            if !self.needed {
                return Checked::PassedOver;
            }
            let sent = self.key.channel().and_then(|channel| bounds.beyond(channel, passage));
            return unmet(sent.map_or(Fault::Missing, Fault::Beyond));
        };
        if self.min.is_some_and(|min| value < min) || self.above.is_some_and(|above| value <= above) {
            return unmet(Fault::TooLow(value));
        }
        if self.max.is_some_and(|max| value > max) {
            return unmet(Fault::TooHigh(value));
        }
        Checked::Met
    }
}
