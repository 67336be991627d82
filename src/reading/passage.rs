//! One vehicle's passage through a remote-sensing station.

use serde::{Deserialize, Serialize};

use super::{Plate, PlateColor, PlateKey, RecordId, StationId, Timestamp};

/// What the camera made of the plate. A plate of impossible form never gets this far: the decoder quarantines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlateReading {
    Unread,
    Read(Plate),
}

/// Fuel as the rig guesses it; never a substitute for the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FuelHint {
    Petrol,
    Diesel,
    Gas,
    Electric,
    Other,
}

/// The rig's own verdict, kept for comparison and never taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RigResult {
    Over,
    Pass,
    Invalid,
}

/// A decoded and range-checked passage. `None` is "not measured"; negative gas values are instrument noise and legal.
/// Every number is finite. Units are in the names (km/h, m/s², degrees, kW/t, %, ppm, m⁻¹, °C, kPa).
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    pub station_id: StationId,
    pub record_id: RecordId,
    pub passed_at: Timestamp,
    pub plate: PlateReading,
    pub plate_color: PlateColor,
    pub lane: Option<i16>,
    /// 0..=1
    pub plate_confidence: Option<f32>,
    pub vehicle_kind_hint: Option<Box<str>>,
    pub fuel_hint: Option<FuelHint>,
    pub speed_kmh: Option<f32>,
    pub acceleration_ms2: Option<f32>,
    pub slope_deg: Option<f32>,
    pub vsp_kwt: Option<f32>,
    pub co2_pct: Option<f32>,
    pub co_pct: Option<f32>,
    pub hc_ppm: Option<f32>,
    pub no_ppm: Option<f32>,
    pub opacity_pct: Option<f32>,
    pub opacity_k_m1: Option<f32>,
    /// 0..=5, one level is 20 % black
    pub ringelmann: Option<f32>,
    pub wind_speed_ms: Option<f32>,
    pub wind_direction_deg: Option<f32>,
    pub temperature_c: Option<f32>,
    pub humidity_pct: Option<f32>,
    pub pressure_kpa: Option<f32>,
    pub precipitation: Option<bool>,
    pub rig_result: Option<RigResult>,
    pub calibrated_at: Option<Timestamp>,
    /// WGS-84 degrees, mobile units
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
}

impl Passage {
    /// The vehicle's identity where the plate was read; images and video stay in the raw payload.
    pub fn plate_key(&self) -> Option<PlateKey> {
        match self.plate {
            PlateReading::Unread => None,
            PlateReading::Read(plate) => Some(PlateKey::new(plate, self.plate_color)),
        }
    }
}
