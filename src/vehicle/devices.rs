//! Terminals and machine trackers by kind and identity.

use hashbrown::HashMap;

use crate::{
    config::{Protocol, SourceKind},
    reading::{Plate, PlateColor, PlateKey, Vin},
};

/// What a terminal is fixed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    Vin(Vin),
    Plate(PlateKey),
}

impl Binding {
    /// `plate:colour`, or else a VIN of 17 characters.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((plate, colour)) = text.rsplit_once([':', '：']) {
            let plate = Plate::parse(plate).ok()?;
            return Some(Self::Plate(PlateKey::new(plate, PlateColor::parse(colour.trim())?)));
        }
        Vin::parse(&text.to_ascii_uppercase()).map(Self::Vin)
    }
}

/// The form in which it is stored; [`Binding::parse`] takes it back.
impl std::fmt::Display for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Binding::Vin(vin) => vin.fmt(f),
            Binding::Plate(key) => key.fmt(f),
        }
    }
}

/// A device as the register in force describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Key that readings carry.
    pub id: i32,
    pub kind: SourceKind,
    /// `None`: as the source says.
    pub protocol: Option<Protocol>,
    pub bound_to: Option<Binding>,
    /// GB 20891 stage of a machine, 0..=4.
    pub emission_stage: Option<u8>,
    /// Whether the register in force names it; otherwise it only once reported.
    pub known: bool,
}

/// The name of a device kind in files and in the database; a roadside rig is a station, not a device.
pub const fn kind_name(kind: SourceKind) -> Option<&'static str> {
    match kind {
        SourceKind::Rs => None,
        SourceKind::Obd => Some("obd"),
        SourceKind::Retrofit => Some("retrofit"),
        SourceKind::Nonroad => Some("nonroad"),
    }
}

pub fn kind_of(name: &str) -> Option<SourceKind> {
    [SourceKind::Obd, SourceKind::Retrofit, SourceKind::Nonroad].into_iter().find(|&kind| kind_name(kind) == Some(name))
}

/// One version of the devices. Immutable.
#[derive(Debug, Default)]
pub struct Devices {
    version: i32,
    obd: HashMap<Box<str>, Device>,
    retrofit: HashMap<Box<str>, Device>,
    nonroad: HashMap<Box<str>, Device>,
}

impl Devices {
    /// Devices of kind `rs` are passed over: rigs are stations.
    pub fn new(version: i32, devices: impl IntoIterator<Item = (Box<str>, Device)>) -> Self {
        let mut all = Self { version, ..Self::default() };
        for (device_id, device) in devices {
            match device.kind {
                SourceKind::Rs => continue,
                SourceKind::Obd => &mut all.obd,
                SourceKind::Retrofit => &mut all.retrofit,
                SourceKind::Nonroad => &mut all.nonroad,
            }
            .insert(device_id, device);
        }
        all
    }

    pub fn find(&self, kind: SourceKind, device_id: &str) -> Option<&Device> {
        match kind {
            SourceKind::Rs => None,
            SourceKind::Obd => self.obd.get(device_id),
            SourceKind::Retrofit => self.retrofit.get(device_id),
            SourceKind::Nonroad => self.nonroad.get(device_id),
        }
    }

    /// Version of the dataset; 0 when none is loaded.
    pub fn version(&self) -> i32 {
        self.version
    }

    pub fn len(&self) -> usize {
        self.obd.len() + self.retrofit.len() + self.nonroad.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_parse_back() {
        for text in ["LGDCHA1G8MA900002", "鲁C12345:yellow"] {
            assert_eq!(Binding::parse(text).map(|b| b.to_string()).as_deref(), Some(text));
        }
        for wrong in ["", "鲁C12345", "鲁C12345:pink", "SHORT"] {
            assert_eq!(Binding::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn kinds_are_kept_apart() {
        let device = |id, kind| Device { id, kind, protocol: None, bound_to: None, emission_stage: None, known: true };
        let devices = Devices::new(
            1,
            [("A".into(), device(1, SourceKind::Retrofit)), ("A".into(), device(2, SourceKind::Nonroad))],
        );
        assert_eq!(devices.find(SourceKind::Retrofit, "A").map(|d| d.id), Some(1));
        assert_eq!(devices.find(SourceKind::Nonroad, "A").map(|d| d.id), Some(2));
        assert_eq!(devices.find(SourceKind::Obd, "A"), None);
        assert_eq!(devices.len(), 2);
    }
}
