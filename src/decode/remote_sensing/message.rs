//! The passage message as documentation: the source of `schemas/messages/passage.schema.json`.
//!
//! The decoder does not use these types (see the sibling `wire`); a test holds the two together, field by field and
//! with generated messages.

use schemars::JsonSchema;
use serde::Serialize;

use crate::reading::passage::{FuelHint, RigResult};

/// What a station publishes on `dw/v1/rs/{station_id}/passage`.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum PassageMessage {
    One(Box<PassageObject>),
    Many(#[schemars(length(min = 1, max = 500))] Vec<PassageObject>),
}

/// One vehicle's passage. Fields beyond these are ignored and counted. `null` in an optional field means not measured, and so
/// does a number that the instrument cannot have measured (`[[bound]]` in the table of limits), which makes a test invalid.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PassageObject {
    /// The station's code; the same as in the topic.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[^\u0000-\u001f\u007f/+#]+$"))]
    pub station_id: String,
    /// The station's own number for this passage, unique within the station.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[^\u0000-\u001f\u007f/+#]+$"))]
    pub record_id: String,
    /// RFC 3339 with offset.
    #[schemars(extend("format" = "date-time"))]
    pub passed_at: String,
    /// Plate as read, in a form of GA 36; `null` when unread. `O` and `I`, which no plate has, are taken for 0 and 1 where that
    /// gives a plate; whatever is found then waits for a person. Another text is put aside as `plate_impossible`.
    #[schemars(extend("type" = ["string", "null"]), regex(pattern = r"^[^\u0000]*$"))]
    pub plate: String,
    pub plate_color: PlateColorName,
    #[schemars(range(min = 0, max = 99))]
    pub lane: Option<i64>,
    /// Confidence of the plate's recognition.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub plate_confidence: Option<f32>,
    /// A GA/T 16.4 code such as `H11` or a word such as `truck`.
    #[schemars(length(max = 64), regex(pattern = r"^[^\u0000]*$"))]
    pub vehicle_kind_hint: Option<String>,
    pub fuel_hint: Option<FuelHint>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub speed_kmh: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub acceleration_ms2: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub slope_deg: Option<f32>,
    /// Vehicle specific power, kW/t.
    #[schemars(range(min = -1e6, max = 1e6))]
    pub vsp_kwt: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub co2_pct: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub co_pct: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub hc_ppm: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub no_ppm: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub opacity_pct: Option<f32>,
    /// Light absorption coefficient, 1/m.
    #[schemars(range(min = -1e6, max = 1e6))]
    pub opacity_k_m1: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub ringelmann: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub wind_speed_ms: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub wind_direction_deg: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub temperature_c: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub humidity_pct: Option<f32>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub pressure_kpa: Option<f32>,
    /// Rain, fog or snow at the time.
    pub precipitation: Option<bool>,
    /// The rig's own verdict; kept for comparison, never taken over.
    pub rig_result: Option<RigResult>,
    /// RFC 3339 with offset.
    #[schemars(extend("format" = "date-time"))]
    pub calibrated_at: Option<String>,
    /// WGS-84, mobile units. 0, or outside the configured area, is no place.
    #[schemars(range(min = -1e6, max = 1e6))]
    pub longitude: Option<f64>,
    #[schemars(range(min = -1e6, max = 1e6))]
    pub latitude: Option<f64>,
    pub images: Option<Vec<Media>>,
    pub video: Option<Vec<Media>>,
}

/// Colour of the plate's ground: `green` is the gradient of small new-energy vehicles, `yellow_green` the two-tone of
/// large ones.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlateColorName {
    Blue,
    Yellow,
    Green,
    YellowGreen,
    White,
    Black,
    Other,
    Unknown,
}

/// A picture or film kept elsewhere. It stays in the raw payload.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Media {
    pub url: Option<String>,
    pub sha256: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    pub taken_at: Option<String>,
}
