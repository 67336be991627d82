//! A terminal or a machine tracker.

use tokio_postgres::types::{ToSql, Type};

use super::{Column, Row, Stored, column};
use crate::{
    config::{Protocol, SourceKind},
    reading::DeviceId,
    signature::PublicKey,
    vehicle::{
        devices::{Binding, Device, kind_name, kind_of},
        import::{
            fields::{self, Day},
            sheet::{Cells, Columns},
        },
    },
};

#[derive(Clone, Debug, PartialEq)]
pub struct DeviceRow {
    pub device_id: String,
    kind: SourceKind,
    kind_name: &'static str,
    protocol: Option<&'static str>,
    bound_to: Option<String>,
    installed_on: Option<Day>,
    emission_stage: Option<i16>,
    public_key: Option<String>,
    power_w: Option<i32>,
}

impl Row for DeviceRow {
    const HEADER: Columns = Columns {
        required: &["device_id", "kind"],
        optional: &["protocol", "bound_to", "installed_on", "emission_stage", "public_key", "power_kw"],
    };

    fn parse(cells: &Cells) -> Result<Self, String> {
        let device_id = DeviceId::parse(cells.get("device_id")).map_err(|error| format!("device_id: {error}"))?;
        let kind = kind_of(&cells.get("kind").to_ascii_lowercase()).ok_or("kind: is none of obd, retrofit, nonroad")?;
        let protocol = |cell: &str| protocol_of(cell).map(protocol_name);
        let bound_to = |cell: &str| Binding::parse(cell).map(|binding| binding.to_string());
        let emission_stage = fields::number(cells, "emission_stage", 0..=4)?;
        if emission_stage.is_some() && kind != SourceKind::Nonroad {
            return Err("emission_stage: only machines have one here; a vehicle's is in the register".into());
        }
        let key = |cell: &str| PublicKey::parse(cell).map(|key| hex::encode(key.as_bytes()));
        let power_kw: Option<f64> = fields::number(cells, "power_kw", 0.1..=10_000.0)?;
        if power_kw.is_some() && kind != SourceKind::Nonroad {
            return Err("power_kw: only machines have one here".into());
        }
        Ok(Self {
            device_id: device_id.as_str().to_owned(),
            kind,
            kind_name: kind_name(kind).unwrap_or_default(),
            protocol: fields::optional(cells, "protocol", "auto, gb17691, hj1239 or hj1014", protocol)?,
            bound_to: fields::optional(cells, "bound_to", "a VIN or plate:colour", bound_to)?,
            installed_on: fields::day(cells, "installed_on")?,
            emission_stage,
            public_key: fields::optional(cells, "public_key", "a point of the SM2 curve, X and Y in hex", key)?,
            power_w: power_kw.map(|kw| (kw * 1000.0).round() as i32),
        })
    }
}

impl DeviceRow {
    /// The device under the key that readings carry.
    pub fn device(&self, id: i32) -> Device {
        Device {
            id,
            kind: self.kind,
            protocol: self.protocol.and_then(protocol_of),
            bound_to: self.bound_to.as_deref().and_then(Binding::parse),
            emission_stage: self.emission_stage.and_then(|stage| u8::try_from(stage).ok()),
            power_w: self.power_w.and_then(|power| u32::try_from(power).ok()),
            known: true,
        }
    }
}

const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Auto => "auto",
        Protocol::Gb17691 => "gb17691",
        Protocol::Hj1239 => "hj1239",
        Protocol::Hj1014 => "hj1014",
    }
}

pub fn protocol_of(text: &str) -> Option<Protocol> {
    let all = [Protocol::Auto, Protocol::Gb17691, Protocol::Hj1239, Protocol::Hj1014];
    all.into_iter().find(|&protocol| protocol_name(protocol).eq_ignore_ascii_case(text))
}

impl Stored for DeviceRow {
    const TABLE: &'static str = "device_versions";
    const KEY: &'static [&'static str] = &["@.device_id", "@.kind"];
    const KEY_WORDS: &'static str = "device_id and kind";
    const COLUMNS: &'static [Column] = &[
        column("device_id", Type::TEXT),
        column("kind", Type::TEXT),
        column("protocol", Type::TEXT),
        column("bound_to", Type::TEXT),
        column("installed_on", Type::DATE),
        column("emission_stage", Type::INT2),
        column("public_key", Type::TEXT),
        column("power_w", Type::INT4),
    ];

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let Self {
            device_id,
            kind: _,
            kind_name,
            protocol,
            bound_to,
            installed_on,
            emission_stage,
            public_key,
            power_w,
        } = self;
        vec![device_id, kind_name, protocol, bound_to, installed_on, emission_stage, public_key, power_w]
    }
}
