//! One passage object: text to checked fields in a single pass.
//!
//! Written by hand rather than derived for three reasons: unknown fields are counted, a refusal says which field it was
//! about (serde's own message would repeat the content, and content may be a plate), and text goes straight into its
//! checked type without a `String` in between.

use std::{borrow::Cow, fmt};

use serde::de::{self, DeserializeSeed};

use crate::{
    fault::{Reason, Refusal},
    mapping::Mapping,
    reading::{
        Plate, PlateColor, RecordId, StationId, Timestamp,
        passage::{FuelHint, Passage, PlateReading, RigResult},
        plate::folded::Spelling,
    },
    strict_json::{self, Keys, Passed},
};

mod media;
mod text;

use super::mapped::{Counts, Mapped};
use media::Media;
use text::{Text, Whole};
pub use text::{fuel_hint_word, rig_result_word};

macro_rules! fields {
    ($($variant:ident $name:literal)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field { $($variant,)* Unknown }

        /// Every field the contract names for a passage.
        pub const FIELDS: &[&str] = &[$($name),*];

        impl Field {
            fn of(name: &str) -> Self {
                match name {
                    $($name => Field::$variant,)*
                    _ => Field::Unknown,
                }
            }

            fn name(self) -> &'static str {
                match self {
                    $(Field::$variant => $name,)*
                    Field::Unknown => "(unknown field)",
                }
            }
        }
    };
}

fields! {
    StationId "station_id"
    RecordId "record_id"
    PassedAt "passed_at"
    Plate "plate"
    PlateColor "plate_color"
    Lane "lane"
    PlateConfidence "plate_confidence"
    VehicleKindHint "vehicle_kind_hint"
    FuelHint "fuel_hint"
    SpeedKmh "speed_kmh"
    AccelerationMs2 "acceleration_ms2"
    SlopeDeg "slope_deg"
    VspKwt "vsp_kwt"
    Co2Pct "co2_pct"
    CoPct "co_pct"
    HcPpm "hc_ppm"
    NoPpm "no_ppm"
    OpacityPct "opacity_pct"
    OpacityKM1 "opacity_k_m1"
    Ringelmann "ringelmann"
    WindSpeedMs "wind_speed_ms"
    WindDirectionDeg "wind_direction_deg"
    TemperatureC "temperature_c"
    HumidityPct "humidity_pct"
    PressureKpa "pressure_kpa"
    Precipitation "precipitation"
    RigResult "rig_result"
    CalibratedAt "calibrated_at"
    Longitude "longitude"
    Latitude "latitude"
    Images "images"
    Video "video"
}

/// Ranges beyond which a passage is refused. What an instrument cannot have measured is a matter of the table of limits,
/// which knows it by channel ([`crate::judge::limits::bound`]): a rig that says -9999 for its broken anemometer has seen the
/// vehicle all the same, and a passage refused would be a listed vehicle lost. A number is compared as it was sent, before it
/// is rounded to single precision, so that the published schema says the same at the very ends.
pub(super) mod range {
    use std::ops::RangeInclusive;

    pub const LANE: RangeInclusive<i64> = 0..=99;
    pub const CONFIDENCE: RangeInclusive<f64> = 0.0..=1.0;
    /// Every measurement: wide enough for what stands for "nothing measured", in whatever unit.
    pub const MEASUREMENT: RangeInclusive<f64> = -1_000_000.0..=1_000_000.0;
    /// What is no place is told from one where places are used ([`crate::reading::Area`]).
    pub const DEGREES: RangeInclusive<f64> = -1_000_000.0..=1_000_000.0;
}

/// Decodes one object, ours or through a mapping; the count of unknown fields is that of the part read before a refusal.
/// `before` bytes of its message come before it, which the places in refusals count.
pub(super) fn object<'a>(
    text: &'a str,
    before: usize,
    mapping: Option<&'a Mapping>,
) -> (Result<Passage, Refusal>, u32) {
    let mut progress = Progress { field: None, unknown: 0, unfit: None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Seed { progress: &mut progress, mapping }
        .deserialize(&mut deserializer)
        .and_then(|wire| deserializer.end().map(|()| wire));
    let passage = match parsed {
        Ok(wire) => wire.into_passage().map_err(|(reason, field)| refuse(reason, field, mapping)),
        Err(_) => Err(refusal(&progress, text, before, mapping)),
    };
    (passage, progress.unknown)
}

struct Progress {
    field: Option<Field>,
    unknown: u32,
    /// Why a mapping found no value of ours, which serde's own error cannot say.
    unfit: Option<Reason>,
}

fn refuse(reason: Reason, field: Field, mapping: Option<&Mapping>) -> Refusal {
    let what = match reason {
        Reason::MissingField => "is required and missing",
        Reason::OutOfRange => "is out of range",
        Reason::NulCharacter => "holds a NUL character",
        Reason::PlateImpossible => "is not a plate number of GA 36",
        _ => "has the wrong type or form",
    };
    Refusal::new(reason, format!("{} {what}", called(field, mapping)))
}

/// The field as its sender calls it.
fn called(field: Field, mapping: Option<&Mapping>) -> Cow<'static, str> {
    match mapping {
        None => field.name().into(),
        Some(mapping) => mapping.calls(field.name()).into(),
    }
}

fn refusal(progress: &Progress, text: &str, before: usize, mapping: Option<&Mapping>) -> Refusal {
    // What is wrong with the text as JSON comes first: serde may have stopped at a field that is only a consequence.
    if let Err(fault) = strict_json::check(text) {
        return fault.behind(before).into();
    }
    match (progress.field, progress.unfit) {
        (Some(field), Some(reason)) => refuse(reason, field, mapping),
        (Some(field), None) => refuse(Reason::WrongType, field, mapping),
        (None, _) => Refusal::new(Reason::WrongType, "a passage must be an object"),
    }
}

/// A key: the field it names, or the hash by which an unknown one is told from others.
struct Name {
    field: Field,
    hash: u64,
}

impl<'de> de::Deserialize<'de> for Name {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                let field = Field::of(name);
                let hash = if field == Field::Unknown { strict_json::hash(name) } else { 0 };
                Ok(Name { field, hash })
            }
        }
        deserializer.deserialize_identifier(Visitor)
    }
}

#[derive(Default)]
struct Wire {
    seen: u64,
    station_id: Option<Text<StationId>>,
    record_id: Option<Text<RecordId>>,
    passed_at: Option<Text<Timestamp>>,
    plate: Option<Text<(Plate, Option<Spelling>)>>,
    plate_color: Option<Text<PlateColor>>,
    lane: Option<Whole>,
    plate_confidence: Option<f64>,
    vehicle_kind_hint: Option<Text<Box<str>>>,
    fuel_hint: Option<Text<FuelHint>>,
    speed_kmh: Option<f64>,
    acceleration_ms2: Option<f64>,
    slope_deg: Option<f64>,
    vsp_kwt: Option<f64>,
    co2_pct: Option<f64>,
    co_pct: Option<f64>,
    hc_ppm: Option<f64>,
    no_ppm: Option<f64>,
    opacity_pct: Option<f64>,
    opacity_k_m1: Option<f64>,
    ringelmann: Option<f64>,
    wind_speed_ms: Option<f64>,
    wind_direction_deg: Option<f64>,
    temperature_c: Option<f64>,
    humidity_pct: Option<f64>,
    pressure_kpa: Option<f64>,
    precipitation: Option<bool>,
    rig_result: Option<Text<RigResult>>,
    calibrated_at: Option<Text<Timestamp>>,
    longitude: Option<f64>,
    latitude: Option<f64>,
}

struct Seed<'p, 'de> {
    progress: &'p mut Progress,
    mapping: Option<&'de Mapping>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, 'de> {
    type Value = Wire;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Wire, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> de::Visitor<'de> for Seed<'_, 'de> {
    type Value = Wire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a passage")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Wire, A::Error> {
        let Some(mapping) = self.mapping else {
            let mut unknown = Keys::default();
            let wire = self.read(&mut map, |key| unknown.add(key))?;
            return if unknown.differ() { Ok(wire) } else { Err(de::Error::custom("a key twice")) };
        };
        let mut unfit = None;
        let mut counts = Counts::default();
        let mut mapped = Mapped::new(&mut map, mapping, &mut unfit, &mut counts);
        let progress = &mut *self.progress;
        // Foreign keys are told apart before they are renamed.
        let wire = Seed { progress, mapping: None }.read(&mut mapped, |_| true);
        progress.unknown = progress.unknown.saturating_sub(counts.expected) + counts.unknown_words;
        progress.unfit = unfit;
        wire
    }
}

impl<'de> Seed<'_, 'de> {
    /// `is_new` notes the hash of an unknown key.
    fn read<A: de::MapAccess<'de>>(self, map: &mut A, mut is_new: impl FnMut(u64) -> bool) -> Result<Wire, A::Error> {
        let mut wire = Wire::default();
        while let Some(Name { field, hash }) = map.next_key()? {
            self.progress.field = Some(field);
            let bit = 1_u64 << field as u8;
            let known = if field == Field::Unknown { !is_new(hash) } else { wire.seen & bit != 0 };
            if known {
                // Two values for one field: whichever was taken could be the wrong one.
                return Err(de::Error::custom("a key twice"));
            }
            wire.seen |= bit;
            match field {
                Field::Unknown => {
                    self.progress.unknown += 1;
                    map.next_value::<Passed>()?;
                }
                Field::StationId => wire.station_id = map.next_value()?,
                Field::RecordId => wire.record_id = map.next_value()?,
                Field::PassedAt => wire.passed_at = map.next_value()?,
                Field::Plate => wire.plate = map.next_value()?,
                Field::PlateColor => wire.plate_color = map.next_value()?,
                Field::Lane => wire.lane = map.next_value()?,
                Field::PlateConfidence => wire.plate_confidence = map.next_value()?,
                Field::VehicleKindHint => wire.vehicle_kind_hint = map.next_value()?,
                Field::FuelHint => wire.fuel_hint = map.next_value()?,
                Field::SpeedKmh => wire.speed_kmh = map.next_value()?,
                Field::AccelerationMs2 => wire.acceleration_ms2 = map.next_value()?,
                Field::SlopeDeg => wire.slope_deg = map.next_value()?,
                Field::VspKwt => wire.vsp_kwt = map.next_value()?,
                Field::Co2Pct => wire.co2_pct = map.next_value()?,
                Field::CoPct => wire.co_pct = map.next_value()?,
                Field::HcPpm => wire.hc_ppm = map.next_value()?,
                Field::NoPpm => wire.no_ppm = map.next_value()?,
                Field::OpacityPct => wire.opacity_pct = map.next_value()?,
                Field::OpacityKM1 => wire.opacity_k_m1 = map.next_value()?,
                Field::Ringelmann => wire.ringelmann = map.next_value()?,
                Field::WindSpeedMs => wire.wind_speed_ms = map.next_value()?,
                Field::WindDirectionDeg => wire.wind_direction_deg = map.next_value()?,
                Field::TemperatureC => wire.temperature_c = map.next_value()?,
                Field::HumidityPct => wire.humidity_pct = map.next_value()?,
                Field::PressureKpa => wire.pressure_kpa = map.next_value()?,
                Field::Precipitation => wire.precipitation = map.next_value()?,
                Field::RigResult => wire.rig_result = map.next_value()?,
                Field::CalibratedAt => wire.calibrated_at = map.next_value()?,
                Field::Longitude => wire.longitude = map.next_value()?,
                Field::Latitude => wire.latitude = map.next_value()?,
                Field::Images | Field::Video => {
                    map.next_value::<Option<Media>>()?;
                }
            }
        }
        Ok(wire)
    }
}

type FieldFault = (Reason, Field);

fn required<T>(slot: Option<Text<T>>, field: Field) -> Result<T, FieldFault> {
    optional(slot, field)?.ok_or((Reason::MissingField, field))
}

fn optional<T>(slot: Option<Text<T>>, field: Field) -> Result<Option<T>, FieldFault> {
    slot.map(|text| text.0.map_err(|reason| (reason, field))).transpose()
}

fn within<T: PartialOrd>(
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
    field: Field,
) -> Result<Option<T>, FieldFault> {
    match value {
        Some(v) if !range.contains(&v) => Err((Reason::OutOfRange, field)),
        other => Ok(other),
    }
}

/// The same for a number that is kept in single precision.
fn single(value: Option<f64>, range: std::ops::RangeInclusive<f64>, field: Field) -> Result<Option<f32>, FieldFault> {
    Ok(within(value, range, field)?.map(|value| value as f32))
}

impl Wire {
    fn into_passage(self) -> Result<Passage, FieldFault> {
        let station_id = required(self.station_id, Field::StationId)?;
        let record_id = required(self.record_id, Field::RecordId)?;
        let passed_at = required(self.passed_at, Field::PassedAt)?;
        let (plate, plate_as_read) = match optional(self.plate, Field::Plate)? {
            Some((plate, as_read)) => (PlateReading::Read(plate), as_read),
            None if self.seen & (1 << Field::Plate as u8) != 0 => (PlateReading::Unread, None),
            None => return Err((Reason::MissingField, Field::Plate)),
        };
        let plate_color = required(self.plate_color, Field::PlateColor)?;
        let lane =
            within(self.lane.map(|lane| lane.0), range::LANE, Field::Lane)?.and_then(|lane| i16::try_from(lane).ok());
        Ok(Passage {
            station_id,
            record_id,
            passed_at,
            plate,
            plate_as_read,
            plate_color,
            lane,
            plate_confidence: single(self.plate_confidence, range::CONFIDENCE, Field::PlateConfidence)?,
            vehicle_kind_hint: optional(self.vehicle_kind_hint, Field::VehicleKindHint)?,
            fuel_hint: optional(self.fuel_hint, Field::FuelHint)?,
            speed_kmh: single(self.speed_kmh, range::MEASUREMENT, Field::SpeedKmh)?,
            acceleration_ms2: single(self.acceleration_ms2, range::MEASUREMENT, Field::AccelerationMs2)?,
            slope_deg: single(self.slope_deg, range::MEASUREMENT, Field::SlopeDeg)?,
            vsp_kwt: single(self.vsp_kwt, range::MEASUREMENT, Field::VspKwt)?,
            co2_pct: single(self.co2_pct, range::MEASUREMENT, Field::Co2Pct)?,
            co_pct: single(self.co_pct, range::MEASUREMENT, Field::CoPct)?,
            hc_ppm: single(self.hc_ppm, range::MEASUREMENT, Field::HcPpm)?,
            no_ppm: single(self.no_ppm, range::MEASUREMENT, Field::NoPpm)?,
            opacity_pct: single(self.opacity_pct, range::MEASUREMENT, Field::OpacityPct)?,
            opacity_k_m1: single(self.opacity_k_m1, range::MEASUREMENT, Field::OpacityKM1)?,
            ringelmann: single(self.ringelmann, range::MEASUREMENT, Field::Ringelmann)?,
            wind_speed_ms: single(self.wind_speed_ms, range::MEASUREMENT, Field::WindSpeedMs)?,
            wind_direction_deg: single(self.wind_direction_deg, range::MEASUREMENT, Field::WindDirectionDeg)?,
            temperature_c: single(self.temperature_c, range::MEASUREMENT, Field::TemperatureC)?,
            humidity_pct: single(self.humidity_pct, range::MEASUREMENT, Field::HumidityPct)?,
            pressure_kpa: single(self.pressure_kpa, range::MEASUREMENT, Field::PressureKpa)?,
            precipitation: self.precipitation,
            rig_result: optional(self.rig_result, Field::RigResult)?,
            calibrated_at: optional(self.calibrated_at, Field::CalibratedAt)?,
            longitude: within(self.longitude, range::DEGREES, Field::Longitude)?,
            latitude: within(self.latitude, range::DEGREES, Field::Latitude)?,
        })
    }
}
