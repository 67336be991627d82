//! One vehicle's passage through a remote-sensing station.

use serde::{Deserialize, Serialize};

use super::{Plate, PlateColor, PlateKey, RecordId, StationId, Timestamp, plate::folded::Spelling};

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
    /// The plate as the camera read it, where `O` or `I` were read as digits.
    pub plate_as_read: Option<Spelling>,
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

/// First byte of what is hashed; raise it when the set or order of fields changes, so that old hashes match nothing.
const CONTENT_VERSION: u8 = 1;

impl Passage {
    /// A hash of everything decoded, for telling a repeated reading from a conflicting one. The spelling of the message
    /// (key order, white space, `1` or `1.0`, the offset a time was written with) does not matter. Stable across
    /// releases while the version in the hashed bytes stands; stored in a `bigint` as `content_hash() as i64`.
    pub fn content_hash(&self) -> u64 {
        let floats = [
            self.plate_confidence,
            self.speed_kmh,
            self.acceleration_ms2,
            self.slope_deg,
            self.vsp_kwt,
            self.co2_pct,
            self.co_pct,
            self.hc_ppm,
            self.no_ppm,
            self.opacity_pct,
            self.opacity_k_m1,
            self.ringelmann,
            self.wind_speed_ms,
            self.wind_direction_deg,
            self.temperature_c,
            self.humidity_pct,
            self.pressure_kpa,
        ];
        // Which of the optional values are there: one bit each, so that absent and zero differ.
        let mut present = 0_u32;
        let mut content = Content { bytes: [0; MAX_CONTENT_BYTES], length: 0 };
        for (bit, value) in floats.iter().enumerate() {
            present |= u32::from(value.is_some()) << bit;
            // Adding zero makes one zero of `0` and `-0`.
            content.put((value.unwrap_or_default() + 0.0).to_le_bytes());
        }
        for (bit, there) in [
            self.lane.is_some(),
            self.vehicle_kind_hint.is_some(),
            self.calibrated_at.is_some(),
            self.longitude.is_some(),
            self.latitude.is_some(),
        ]
        .into_iter()
        .enumerate()
        {
            present |= u32::from(there) << (floats.len() + bit);
        }
        let (plate_read, plate) = match (self.plate, self.plate_as_read) {
            (PlateReading::Unread, _) => (0, 0),
            (PlateReading::Read(plate), None) => (1, plate.bits()),
            // Another reading than one of the plate it is folded to; the spelling alone says which plate that is.
            (PlateReading::Read(_), Some(spelling)) => (2, spelling.bits()),
        };
        content.put(present.to_le_bytes());
        content.put(self.passed_at.micros().to_le_bytes());
        content.put(plate.to_le_bytes());
        content.put(self.lane.unwrap_or_default().to_le_bytes());
        content.put(self.calibrated_at.map_or(0, Timestamp::micros).to_le_bytes());
        content.put((self.longitude.unwrap_or_default() + 0.0).to_le_bytes());
        content.put((self.latitude.unwrap_or_default() + 0.0).to_le_bytes());
        content.put([
            CONTENT_VERSION,
            plate_read,
            self.plate_color as u8,
            self.fuel_hint.map_or(0, |hint| hint as u8 + 1),
            self.precipitation.map_or(0, |wet| u8::from(wet) + 1),
            self.rig_result.map_or(0, |result| result as u8 + 1),
        ]);
        content.text(self.station_id.as_str());
        content.text(self.record_id.as_str());
        content.text(self.vehicle_kind_hint.as_deref().unwrap_or_default());
        xxhash_rust::xxh3::xxh3_64(content.bytes.get(..content.length).unwrap_or(&content.bytes))
    }
}

/// Longest vehicle kind hint, characters.
pub const MAX_HINT_CHARS: usize = 64;
/// The same in bytes, whatever the characters.
pub const MAX_HINT_BYTES: usize = 4 * MAX_HINT_CHARS;

/// Room for every passage the decoder makes: 17 floats, 52 bytes of other numbers, two identifiers and a hint, each with its
/// length.
const MAX_CONTENT_BYTES: usize = 17 * 4 + 52 + 2 * (1 + super::ids::MAX_ID_BYTES) + 1 + MAX_HINT_BYTES;

/// The bytes hashed, in a fixed array: they are made for every passage, and growing a vector took longer than the hash.
struct Content {
    bytes: [u8; MAX_CONTENT_BYTES],
    length: usize,
}

impl Content {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.slice(&bytes);
    }

    /// Length first, so that no two sequences of texts run into the same bytes. The hint may be longer than its length says;
    /// it is the last text, so nothing follows that it could run into. An identifier may be longer only as 64 characters of
    /// four bytes each, and readings with other identifiers are never compared.
    fn text(&mut self, text: &str) {
        self.put([text.len() as u8]);
        self.slice(text.as_bytes());
    }

    fn slice(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        debug_assert!(end <= MAX_CONTENT_BYTES, "a text longer than it may be");
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
            self.length = end;
        }
    }
}
