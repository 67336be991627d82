//! The stored rows that windows are made of.

use crate::reading::Timestamp;

/// One row of `terminal_stream`; `None` is anything but a value. Values are rounded to three decimals, which undoes what
/// single precision did to them and keeps every two raw values apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    pub engine_rpm: Option<f64>,
    pub net_torque_pct: Option<f64>,
    pub friction_torque_pct: Option<f64>,
    pub fuel_flow_lph: Option<f64>,
    pub intake_air_kgph: Option<f64>,
    pub nox_upstream_ppm: Option<f64>,
    pub nox_downstream_ppm: Option<f64>,
    pub reagent_pct: Option<f64>,
    pub coolant_c: Option<f64>,
    pub scr_inlet_c: Option<f64>,
    pub scr_outlet_c: Option<f64>,
    pub dpf_dp_kpa: Option<f64>,
    pub odometer_km: Option<f64>,
    /// Longitude and latitude of a valid fix.
    pub position: Option<[f64; 2]>,
}

/// A record of one terminal; time and ordinal are its key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    pub at: Timestamp,
    pub ordinal: i16,
    pub values: Values,
}

/// A packet of one terminal; time and digest are its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub sent_at: Timestamp,
    pub digest: i64,
    /// Serial of a packet of data; logins and logouts count by themselves.
    pub serial: Option<u16>,
    /// Sent as it happened, not stored up by the terminal.
    pub live: bool,
    pub received_at: Timestamp,
}

/// Three decimals of a stored value.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
