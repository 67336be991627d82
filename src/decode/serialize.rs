//! The JSON of a decoded frame: one shape for the `decode` command and for stored evidence.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

use super::{
    body::{StreamChannels, TwcChannels},
    channel::{Channel, NotValue},
    frame::{Body, Flags, Frame, Item, Unit},
    obd::{Obd, Text},
    position::PositionReading,
    scale::Scale,
    vendor::Vendor,
};

/// Bytes as upper-case hex text.
pub(super) struct UpperHex<'a>(pub &'a [u8]);

impl Serialize for UpperHex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode_upper(self.0))
    }
}

impl<const N: usize> Serialize for Text<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_text().serialize(serializer)
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl Serialize for PositionReading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("protocol", &self.protocol)?;
        map.serialize_entry("header", &self.header)?;
        map.serialize_entry("dialect", &self.dialect)?;
        map.serialize_entry("command", &self.command)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("software_version", &self.software_version)?;
        // Frames with any other encryption are refused.
        map.serialize_entry("encryption", "none")?;
        map.serialize_entry("sent_at", &self.sent_at)?;
        map.serialize_entry("serial", &self.serial)?;
        serialize_unit(&self.unit, &mut map)?;
        map.serialize_entry("items", &self.items)?;
        map.serialize_entry("flags", &self.flags)?;
        map.end()
    }
}

fn serialize_unit<M: SerializeMap>(unit: &Unit, map: &mut M) -> Result<(), M::Error> {
    match unit {
        Unit::Data { position: PositionReading::Absent } => Ok(()),
        Unit::Data { position } => serialize_position(*position, map),
        Unit::Login { iccid, tail } => {
            map.serialize_entry("iccid", iccid)?;
            serialize_tail(tail, map)
        }
        Unit::Logout { tail } | Unit::TimeSync { tail } => serialize_tail(tail, map),
        Unit::RemovalAlarm { position, diagnosis_obtainable } => {
            serialize_position(*position, map)?;
            match diagnosis_obtainable {
                Some(obtainable) => map.serialize_entry("diagnosis_obtainable", obtainable),
                None => Ok(()),
            }
        }
        Unit::Activation(activation) => {
            map.serialize_entry("chip_id_hex", &UpperHex(&activation.chip_id))?;
            map.serialize_entry("public_key_hex", &UpperHex(&activation.public_key))?;
            map.serialize_entry("vin", &activation.vin)
        }
        Unit::ActivationResponse { status, info } => {
            map.serialize_entry("status", status)?;
            map.serialize_entry("info", info)
        }
        Unit::User { data } => map.serialize_entry("data_hex", &UpperHex(data)),
    }
}

fn serialize_position<M: SerializeMap>(position: PositionReading, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("position", &position)?;
    match position {
        PositionReading::Not(why) => map.serialize_entry("not_values", &NotValues(&[("position", why)])),
        PositionReading::Known(_) | PositionReading::Absent => Ok(()),
    }
}

fn serialize_tail<M: SerializeMap>(tail: &[u8], map: &mut M) -> Result<(), M::Error> {
    if tail.is_empty() { Ok(()) } else { map.serialize_entry("tail_hex", &UpperHex(tail)) }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.item_type().name())?;
        if let Some(serial) = self.serial {
            map.serialize_entry("serial", &serial)?;
        }
        map.serialize_entry("collected_at", &self.collected_at)?;
        let mut fields = Fields { map, not_values: Vec::new(), result: Ok(()) };
        match &self.body {
            Body::Obd(obd) => fields.obd(obd),
            Body::Stream(stream) => {
                fields.stream(&stream.channels, stream.position);
                if let Some(state) = stream.work_state {
                    fields.entry("work_state", state.name());
                }
            }
            Body::Twc(twc) => fields.twc(&twc.channels, twc.position),
            Body::Supplement(supplement) => {
                supplement.each(|name, scale, channel| fields.channel(name, scale, channel));
            }
            Body::RetrofitSmoke(smoke) => smoke.each(|name, scale, channel| fields.channel(name, scale, channel)),
            Body::Hybrid(hybrid) => hybrid.each(|name, scale, channel| fields.channel(name, scale, channel)),
            Body::Vendor(vendor) => fields.vendor(vendor),
            Body::Unknown(unknown) => {
                fields.entry("code", &UpperHex(&[unknown.code]));
                fields.entry("raw", &UpperHex(&unknown.raw));
            }
        }
        fields.end()
    }
}

/// Fields of an item, with what is missing collected for `not_values`. The first error stays and ends the writing.
struct Fields<M: SerializeMap> {
    map: M,
    not_values: Vec<(&'static str, NotValue)>,
    result: Result<(), M::Error>,
}

impl<M: SerializeMap> Fields<M> {
    fn entry<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        if self.result.is_ok() {
            self.result = self.map.serialize_entry(name, value);
        }
    }

    fn without_value(&mut self, name: &'static str, why: NotValue) {
        self.entry(name, &());
        self.not_values.push((name, why));
    }

    fn channel(&mut self, name: &'static str, scale: Scale, channel: Channel) {
        match (channel.value(), channel.not_value()) {
            (Some(value), _) => self.entry(name, &scale.for_text(value)),
            (None, Some(why)) if !channel.is_absent() => self.without_value(name, why),
            (None, _) => {}
        }
    }

    fn position(&mut self, position: PositionReading) {
        match position {
            PositionReading::Known(position) => self.entry("position", &position),
            PositionReading::Not(why) => self.without_value("position", why),
            PositionReading::Absent => {}
        }
    }

    /// The position stands before the odometer, as it does on the wire.
    fn stream(&mut self, channels: &StreamChannels, position: PositionReading) {
        channels.each(|name, scale, channel| {
            if name == "odometer_km" {
                self.position(position);
            }
            self.channel(name, scale, channel);
        });
    }

    fn twc(&mut self, channels: &TwcChannels, position: PositionReading) {
        channels.each(|name, scale, channel| {
            if name == "odometer_km" {
                self.position(position);
            }
            self.channel(name, scale, channel);
        });
    }

    fn obd(&mut self, obd: &Obd) {
        self.entry("diagnosis_protocol", obd.diagnosis_protocol.name());
        self.entry("mil", obd.mil.name());
        if let Some(detail) = &obd.detail {
            self.entry("support_bits", &detail.support_bits);
            self.entry("readiness_bits", &detail.readiness_bits);
            self.entry("vin", &detail.vin);
            self.entry("calibration_id", &detail.calibration_id);
            self.entry("cvn_hex", &UpperHex(&detail.cvn));
            let counts = |counter: &u16| Some(*counter).filter(|counter| obd.diagnosis_protocol.is_count(*counter));
            self.entry("iupr", &detail.iupr.each_ref().map(counts));
        }
        match &obd.dtc {
            Ok(sent) => {
                let codes = obd.codes();
                self.entry("dtc", &HexList(&codes));
                // What was left out stays to be seen.
                if codes.len() != sent.len() {
                    self.entry("dtc_sent", &HexList(sent));
                }
            }
            Err(why) => self.without_value("dtc", *why),
        }
        self.position(obd.position);
    }

    fn vendor(&mut self, vendor: &Vendor) {
        #[derive(Serialize)]
        struct Tag<'a> {
            tag: UpperHex<'a>,
            value: UpperHex<'a>,
        }
        self.entry("raw", &UpperHex(&vendor.raw));
        if let Some(tags) = vendor.tags() {
            let keys: Vec<_> = tags.iter().map(|tag| (tag.tag.to_be_bytes(), tag.value)).collect();
            let tags: Vec<_> =
                keys.iter().map(|(tag, value)| Tag { tag: UpperHex(tag), value: UpperHex(value) }).collect();
            self.entry("tags", &tags);
        }
    }

    fn end(mut self) -> Result<M::Ok, M::Error> {
        if !self.not_values.is_empty() {
            let not_values = std::mem::take(&mut self.not_values);
            self.entry("not_values", &NotValues(&not_values));
        }
        self.result?;
        self.map.end()
    }
}

struct HexList<'a>(&'a [[u8; 4]]);

impl Serialize for HexList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for code in self.0 {
            list.serialize_element(&UpperHex(code))?;
        }
        list.end()
    }
}

struct NotValues<'a>(&'a [(&'static str, NotValue)]);

impl Serialize for NotValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}
