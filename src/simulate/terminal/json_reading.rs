//! Readings as JSON (contract sections 3.2 and 3.3).

use serde_json::{Map, Value, json};

use super::Sent;
use crate::{
    decode::{Channel, Position, PositionReading},
    reading::Timestamp,
    simulate::message::frame_id,
};

/// The fields that every JSON reading has.
pub fn fields(id: (&str, &str), collected_at: Timestamp, serial: u16, position: PositionReading) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert(id.0.to_owned(), json!(id.1));
    fields.insert("serial".to_owned(), json!(serial));
    fields.insert("collected_at".to_owned(), json!(collected_at));
    if let Some(Position { valid, lon, lat }) = position.get() {
        let micro = |degrees: f64| (degrees * 1e6).round() / 1e6;
        fields.insert("position".to_owned(), json!({ "valid": valid, "lon": micro(lon), "lat": micro(lat) }));
    }
    fields
}

pub fn message(id: &str, fields: Map<String, Value>, collected_at: Timestamp, serial: u16, readings: u32) -> Sent {
    let payload = Value::Object(fields).to_string().into();
    Sent { payload, id: frame_id(id, collected_at, serial).into(), readings, json: true }
}

/// Two decimals are more than any of these sensors has.
pub fn rounded(channel: Channel) -> Option<f64> {
    channel.value().map(|value| (value * 100.0).round() / 100.0)
}
