//! The bodies of a realtime packet whose layout is a table of channels.

use serde::Serialize;

use super::{
    position::{MICRODEGREES, POSITION_BYTES, PositionReading},
    scale::{BYTE, LONG, PLAIN_WORD, Scale, WORD, channels},
};

// Scales that several bodies share (J1939 resolutions).
const PERCENT: Scale = BYTE.per_bit(2, 5);
const TORQUE_PERCENT: Scale = BYTE.zero_at(-125);
const SPEED: Scale = WORD.per_bit(1, 256);
const PRESSURE: Scale = BYTE.per_bit(1, 2);
const ENGINE_SPEED: Scale = WORD.per_bit(1, 8);
const FLOW: Scale = WORD.per_bit(1, 20);
/// The standard's text gives 3212.75 as the upper end; with its own offset of -200 the arithmetic end is 3012.75.
const NOX: Scale = WORD.per_bit(1, 20).zero_at(-200);
const GAS_TEMPERATURE: Scale = WORD.per_bit(1, 32).zero_at(-273);
const LIQUID_TEMPERATURE: Scale = BYTE.zero_at(-40);
const TENTH: Scale = WORD.per_bit(1, 10);
const DISTANCE: Scale = LONG.per_bit(1, 10);
const EGR: Scale = WORD.per_bit(1, 400);

channels! {
    /// Engine channels of the one-second data stream: type 02 on the road (37 bytes, position between tank level and
    /// odometer) and in non-road machines (28 bytes, no position or odometer, two EGR channels instead).
    pub struct StreamChannels, layouts [road: 37, nonroad: 28];
    /// km/h, 0..=250.996
    speed_kmh: SPEED, [0, 0];
    /// kPa, 0..=125
    barometric_kpa: PRESSURE, [2, 2];
    /// Share of the reference torque, %, -125..=125
    net_torque_pct: TORQUE_PERCENT, [3, 3];
    /// Share of the reference torque, %, -125..=125
    friction_torque_pct: TORQUE_PERCENT, [4, 4];
    /// r/min, 0..=8031.875
    engine_rpm: ENGINE_SPEED, [5, 5];
    /// L/h, 0..=3212.75
    fuel_flow_lph: FLOW, [7, 7];
    /// ppm before the SCR catalyst, -200..=3012.75; -200 is common while the sensor is cold
    nox_upstream_ppm: NOX, [9, 9];
    /// ppm behind the SCR catalyst, -200..=3012.75
    nox_downstream_ppm: NOX, [11, 11];
    /// Level of the urea tank, %, 0..=100
    reagent_pct: PERCENT, [13, 13];
    /// kg/h, 0..=3212.75
    intake_air_kgph: FLOW, [14, 14];
    /// °C, -273..=1734.96875
    scr_inlet_c: GAS_TEMPERATURE, [16, 16];
    /// °C, -273..=1734.96875
    scr_outlet_c: GAS_TEMPERATURE, [18, 18];
    /// Pressure difference over the particle filter, kPa, 0..=6425.5
    dpf_dp_kpa: TENTH, [20, 20];
    /// °C, -40..=210
    coolant_c: LIQUID_TEMPERATURE, [22, 22];
    /// %, 0..=100
    fuel_tank_pct: PERCENT, [23, 23];
    /// km, 0..=421108121.5
    odometer_km: DISTANCE, [33, -];
    /// Opening of the EGR valve, %, 0..=160.6375
    egr_actual_pct: EGR, [-, 24];
    /// Commanded opening of the EGR valve, %, 0..=160.6375
    egr_commanded_pct: EGR, [-, 26];
}

channels! {
    /// Supplementary stream, type 80.
    pub struct Supplement, layouts [only: 17];
    /// 0 over-speed failure, 1 speed control, 2 torque control, 3 speed and torque, 9 normal
    torque_mode: BYTE, [0];
    /// Accelerator pedal, %, 0..=100
    accelerator_pct: PERCENT, [1];
    /// Total fuel used, L
    fuel_used_l: LONG.per_bit(1, 2), [2];
    /// Urea tank, °C, -40..=210
    reagent_temperature_c: LIQUID_TEMPERATURE, [6];
    /// Actual urea injection, mL/h
    reagent_injection_mlph: LONG.per_bit(1, 100), [7];
    /// Total urea used, g
    reagent_used_g: LONG, [11];
    /// Exhaust at the particle filter, °C, -273..=1734.96875
    dpf_exhaust_c: GAS_TEMPERATURE, [15];
}

channels! {
    /// Smoke after a retrofitted particle filter: type 81 (18 bytes), type AA (6 bytes), or JSON.
    pub struct RetrofitSmoke, layouts [long: 18, short: 6];
    /// °C
    exhaust_temperature_c: PLAIN_WORD, [0, -];
    /// Code of the smoke meter's own fault; 0 none
    smoke_fault: PLAIN_WORD, [2, -];
    /// kPa
    dpf_backpressure_kpa: PLAIN_WORD, [4, -];
    /// Light absorption, 1/m
    smoke_k_m1: PLAIN_WORD.per_bit(1, 100), [6, -];
    /// %, 0..=100
    smoke_opacity_pct: PLAIN_WORD.per_bit(1, 10).up_to(1000), [8, 4];
    /// mg/m³
    pm_mg_m3: PLAIN_WORD.per_bit(1, 10), [10, -];
    /// Particulate matter by type AA, thousandths of a unit its source does not name
    pm: PLAIN_WORD.per_bit(1, 1000), [-, 0];
    /// The same, averaged over a span the source does not name
    pm_average: PLAIN_WORD.per_bit(1, 1000), [-, 2];
    /// Raised by the device over its own k threshold
    k_alarm: PLAIN_WORD, [12, -];
    /// Raised by the device over its own back pressure threshold
    backpressure_alarm: PLAIN_WORD, [14, -];
    /// ppm
    nox_ppm: PLAIN_WORD, [16, -];
}

channels! {
    /// Stream of an engine with a three-way catalyst: type 03 without (30 bytes), type 05 with a NOx sensor (32 bytes).
    /// Known from one weak source; odometer and position as in the diesel stream.
    pub struct TwcChannels, layouts [plain: 30, with_nox: 32];
    /// km/h, 0..=250.996
    speed_kmh: SPEED, [0, 0];
    /// kPa, 0..=125
    barometric_kpa: PRESSURE, [2, 2];
    /// Share of the reference torque, %, -125..=125
    net_torque_pct: TORQUE_PERCENT, [3, 3];
    /// Share of the reference torque, %, -125..=125
    friction_torque_pct: TORQUE_PERCENT, [4, 4];
    /// r/min, 0..=8031.875
    engine_rpm: ENGINE_SPEED, [5, 5];
    /// L/h, 0..=3212.75
    fuel_flow_lph: FLOW, [7, 7];
    /// Equivalence ratio at the upstream sensor, 0.0000305 per bit
    o2_upstream_ratio: WORD.per_bit(61, 2_000_000), [9, 9];
    /// Downstream oxygen sensor, V, 0..=2.5
    o2_downstream_v: BYTE.per_bit(1, 100), [11, 11];
    /// ppm, -200..=3012.75
    nox_ppm: NOX, [-, 12];
    /// kg/h, 0..=3212.75
    intake_air_kgph: FLOW, [12, 14];
    /// °C, -40..=210
    coolant_c: LIQUID_TEMPERATURE, [14, 16];
    /// °C, -273..=1734.96875
    catalyst_c: GAS_TEMPERATURE, [15, 17];
    /// km, 0..=421108121.5
    odometer_km: DISTANCE, [26, 28];
}

channels! {
    /// Hybrid or electric extra, type 04. Known from one weak source.
    pub struct Hybrid, layouts [only: 8];
    /// r/min
    motor_rpm: WORD, [0];
    /// %, 0..=250
    motor_load_pct: BYTE, [2];
    /// V, 0..=6425.5
    battery_v: TENTH, [3];
    /// A, -1000..=5425.5
    battery_a: TENTH.zero_at(-1000), [5];
    /// State of charge, %, 0..=100
    soc_pct: BYTE.up_to(100), [7];
}

/// What a machine is doing (non-road JSON and one old tracker).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkState {
    Stopped,
    Idle,
    Working,
    Travelling,
    TripStart,
    TripEnd,
}

impl WorkState {
    /// State codes of the old tracker (type 87).
    pub(super) const CODES: [(u8, WorkState); 6] = [
        (0x00, WorkState::Stopped),
        (0x01, WorkState::Idle),
        (0x02, WorkState::Working),
        (0x03, WorkState::Travelling),
        (0x37, WorkState::TripStart),
        (0x38, WorkState::TripEnd),
    ];

    /// The name in JSON 3.3, which knows the four steady states only.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "stopped" => Self::Stopped,
            "idle" => Self::Idle,
            "working" => Self::Working,
            "travelling" => Self::Travelling,
            _ => return None,
        })
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Idle => "idle",
            Self::Working => "working",
            Self::Travelling => "travelling",
            Self::TripStart => "trip_start",
            Self::TripEnd => "trip_end",
        }
    }
}

/// One second of an engine: road and non-road, binary and JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stream {
    pub channels: StreamChannels,
    pub position: PositionReading,
    /// Non-road machines only.
    pub work_state: Option<WorkState>,
}

/// One second of an engine with a three-way catalyst.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Twc {
    pub channels: TwcChannels,
    pub position: PositionReading,
}

/// Size of the standard form of type 80.
pub(super) const SUPPLEMENT_BYTES: usize = 17;
/// Where the position stands in the road stream and in both catalyst streams.
const STREAM_POSITION: usize = 24;
const TWC_POSITION: usize = 17;
const TWC_NOX_POSITION: usize = 19;

impl Stream {
    /// Reads a road body in place: on the hottest path a copy made behind the reads would wait for each of them.
    #[inline(always)]
    pub(super) fn fill_road(&mut self, body: &[u8; 37]) {
        self.channels.fill::<0>(body);
        self.position = PositionReading::read(body, STREAM_POSITION, MICRODEGREES);
    }

    /// `position` is that of the packet.
    pub(super) fn read_nonroad(body: &[u8; 28], position: PositionReading) -> Self {
        Self { channels: StreamChannels::read::<1>(body), position, work_state: None }
    }

    pub(super) fn write_road(&self, body: &mut [u8; 37]) {
        self.channels.write::<0>(body);
        put(body, STREAM_POSITION, self.position);
    }

    pub(super) fn write_nonroad(&self, body: &mut [u8; 28]) {
        self.channels.write::<1>(body);
    }
}

impl Twc {
    pub(super) fn read_plain(body: &[u8; 30]) -> Self {
        Self {
            channels: TwcChannels::read::<0>(body),
            position: PositionReading::read(body, TWC_POSITION, MICRODEGREES),
        }
    }

    pub(super) fn read_with_nox(body: &[u8; 32]) -> Self {
        Self {
            channels: TwcChannels::read::<1>(body),
            position: PositionReading::read(body, TWC_NOX_POSITION, MICRODEGREES),
        }
    }

    pub(super) fn write_plain(&self, body: &mut [u8; 30]) {
        self.channels.write::<0>(body);
        put(body, TWC_POSITION, self.position);
    }

    pub(super) fn write_with_nox(&self, body: &mut [u8; 32]) {
        self.channels.write::<1>(body);
        put(body, TWC_NOX_POSITION, self.position);
    }
}

fn put(body: &mut [u8], at: usize, position: PositionReading) {
    if let Some(place) = body.get_mut(at..at + POSITION_BYTES) {
        place.copy_from_slice(&position.to_bytes(MICRODEGREES));
    }
}
