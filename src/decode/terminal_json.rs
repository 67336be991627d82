//! Channels as JSON, without a frame: retrofit terminals and non-road machines.
//!
//! Names and units are those of the decoded frame. `null` is "not available"; a number that the channel cannot mean is
//! kept out as out of range without harm to the others.

use serde_json::{Map, Value};

use crate::{
    config::SourceKind,
    reading::{DeviceId, Timestamp},
};

use super::{
    body::{RetrofitSmoke, Stream, WorkState},
    channel::{Channel, NotValue},
    error::{Fault, FrameCode},
    frame::{Body, Flags, Frame, Item, Raw, Unit},
    header::{Command, FrameProtocol},
    position::{Position, PositionReading},
    scale::Scale,
};

mod schema;

pub use schema::schema;

/// Reads one document of the source's kind.
pub(super) fn read(fields: &Map<String, Value>, kind: SourceKind, raw: Raw) -> Result<Frame, Fault> {
    let Some(id_field) = id_field(kind) else {
        return Err(Fault::new(FrameCode::MissingField, 0, "no frame text at any of the configured pointers"));
    };
    let id = required(fields, id_field)?.as_str().ok_or_else(|| wrong_type(id_field, "a text"))?;
    if id.contains('\0') {
        return Err(Fault::new(FrameCode::NulCharacter, 0, format!("{id_field} holds U+0000")));
    }
    let id = DeviceId::parse(id).map_err(|error| out_of_range(id_field, &error.to_string()))?;
    let collected_at = time(required(fields, "collected_at")?)?;
    let serial = fields.get("serial").and_then(present).map(serial).transpose()?;
    let position = fields.get("position").and_then(present).map_or(Ok(PositionReading::Absent), position)?;

    let mut channels = Channels { stream: None, smoke: None, ignored: 0 };
    for (name, value) in fields {
        match name.as_str() {
            "collected_at" | "serial" | "position" => {}
            name if name == id_field => {}
            name => channels.take(name, value, kind)?,
        }
    }
    let items = channels.items(collected_at, position);
    if items.is_empty() {
        return Err(Fault::new(FrameCode::MissingField, 0, "no channel is given"));
    }
    Ok(Frame {
        protocol: FrameProtocol::Json,
        header: None,
        dialect: None,
        command: Command::Realtime,
        id: id.as_str().into(),
        software_version: None,
        sent_at: Some(collected_at),
        serial,
        unit: Unit::Data { position },
        items,
        flags: Flags::default(),
        ignored_fields: channels.ignored,
        raw,
        wrapper: None,
    })
}

/// The field that names the device, of the kinds that send their channels as JSON.
const fn id_field(kind: SourceKind) -> Option<&'static str> {
    match kind {
        SourceKind::Retrofit => Some("terminal_id"),
        SourceKind::Nonroad => Some("machine_id"),
        SourceKind::Obd | SourceKind::Rs => None,
    }
}

/// What the channels of one document come to.
struct Channels {
    stream: Option<Stream>,
    smoke: Option<RetrofitSmoke>,
    ignored: u32,
}

impl Channels {
    fn take(&mut self, name: &str, value: &Value, kind: SourceKind) -> Result<(), Fault> {
        if name == "work_state" && kind == SourceKind::Nonroad {
            if let Some(value) = present(value) {
                let state = value.as_str().ok_or_else(|| wrong_type(name, "a text"))?;
                let state = WorkState::parse(state)
                    .ok_or_else(|| out_of_range(name, "one of stopped, idle, working, travelling is expected"))?;
                self.stream.get_or_insert_default().work_state = Some(state);
            }
            return Ok(());
        }
        // A name is looked up in a body of its own, so that a name nobody knows leaves no empty body behind.
        let mut stream = self.stream.unwrap_or_default();
        if let Some((channel, scale)) = stream.channels.named_mut(name) {
            *channel = read_channel(name, value, scale)?;
            self.stream = Some(stream);
            return Ok(());
        }
        let mut smoke = self.smoke.unwrap_or_default();
        match smoke.named_mut(name) {
            Some((channel, scale)) if matches!(kind, SourceKind::Retrofit | SourceKind::Nonroad) => {
                *channel = read_channel(name, value, scale)?;
                self.smoke = Some(smoke);
            }
            _ => self.ignored += 1,
        }
        Ok(())
    }

    fn items(&self, collected_at: Timestamp, position: PositionReading) -> Vec<Item> {
        let stream = self.stream.map(|stream| Body::Stream(Stream { position, ..stream }));
        let smoke = self.smoke.map(Body::RetrofitSmoke);
        let item = |body| Item { serial: None, collected_at, ordinal: 0, body };
        stream.into_iter().chain(smoke).map(item).collect()
    }
}

fn read_channel(name: &str, value: &Value, scale: Scale) -> Result<Channel, Fault> {
    match present(value) {
        None => Ok(Channel::NOT_AVAILABLE),
        Some(value) => {
            let number = value.as_f64().ok_or_else(|| wrong_type(name, "a number or null"))?;
            Ok(scale.of_number(number))
        }
    }
}

/// `null` says the same as no field.
fn present(value: &Value) -> Option<&Value> {
    (!value.is_null()).then_some(value)
}

fn required<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a Value, Fault> {
    let value = fields.get(name).and_then(present);
    value.ok_or_else(|| Fault::new(FrameCode::MissingField, 0, format!("{name} is required")))
}

fn time(value: &Value) -> Result<Timestamp, Fault> {
    let text = value.as_str().ok_or_else(|| wrong_type("collected_at", "a text"))?;
    Timestamp::parse_rfc3339(text).ok_or_else(|| wrong_type("collected_at", "an RFC 3339 time with offset"))
}

/// `7.0` is the whole number 7, to JSON Schema as well.
fn serial(value: &Value) -> Result<u16, Fault> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0);
    let number = number.ok_or_else(|| wrong_type("serial", "a whole number"))?;
    match (0.0..=f64::from(u16::MAX)).contains(&number) {
        true => Ok(number as u16),
        false => Err(out_of_range("serial", "a whole number of 0 to 65535 is expected")),
    }
}

fn position(value: &Value) -> Result<PositionReading, Fault> {
    let fields = value.as_object().ok_or_else(|| wrong_type("position", "an object"))?;
    let field = |name: &str| {
        let value = fields.get(name);
        value.ok_or_else(|| Fault::new(FrameCode::MissingField, 0, format!("position.{name} is required")))
    };
    let valid = field("valid")?.as_bool().ok_or_else(|| wrong_type("position.valid", "true or false"))?;
    let degrees = |name: &str| match present(field(name)?) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong_type(&format!("position.{name}"), "a number")),
    };
    Ok(match (degrees("lon")?, degrees("lat")?) {
        (Some(0.0), Some(0.0)) => PositionReading::Not(NotValue::NotAvailable),
        (Some(lon), Some(lat)) if lon.abs() <= 180.0 && lat.abs() <= 90.0 => {
            PositionReading::Known(Position { valid, lon, lat })
        }
        (Some(_), Some(_)) => PositionReading::Not(NotValue::OutOfRange),
        _ => PositionReading::Not(NotValue::NotAvailable),
    })
}

fn wrong_type(name: &str, expected: &str) -> Fault {
    Fault::new(FrameCode::WrongType, 0, format!("{name} is not {expected}"))
}

fn out_of_range(name: &str, why: &str) -> Fault {
    Fault::new(FrameCode::OutOfRange, 0, format!("{name}: {why}"))
}
