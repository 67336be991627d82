//! Terminals and machine trackers by kind and identity.

use hashbrown::HashMap;
use smallvec::SmallVec;

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
    /// Rated power of a machine, W.
    pub power_w: Option<u32>,
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
    /// Numbers of terminals by what they are fixed to.
    by_plate: HashMap<PlateKey, SmallVec<[i32; 2]>>,
    by_vin: HashMap<Vin, SmallVec<[i32; 2]>>,
}

impl Devices {
    /// Devices of kind `rs` are passed over: rigs are stations.
    pub fn new(version: i32, devices: impl IntoIterator<Item = (Box<str>, Device)>) -> Self {
        let mut all = Self { version, ..Self::default() };
        for (device_id, device) in devices {
            // Without a word of the register an OBD terminal is that of the VIN it reports under.
            let own_vin = || (device.kind == SourceKind::Obd).then(|| Vin::parse(&device_id)).flatten();
            match device.bound_to.or_else(|| own_vin().map(Binding::Vin)) {
                Some(Binding::Plate(key)) => all.by_plate.entry(key).or_default().push(device.id),
                Some(Binding::Vin(vin)) => all.by_vin.entry(vin).or_default().push(device.id),
                None => {}
            }
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

    /// Terminals fixed to the vehicle with this plate and VIN.
    pub fn of_vehicle(&self, key: PlateKey, vin: Option<Vin>) -> impl Iterator<Item = i32> + '_ {
        let by_vin = vin.and_then(|vin| self.by_vin.get(&vin));
        [self.by_plate.get(&key), by_vin].into_iter().flatten().flatten().copied()
    }

    /// What a device is fixed to: by the register, or else, for an OBD terminal, the VIN it reports under.
    pub fn binding(&self, kind: SourceKind, device_id: &str) -> Option<Binding> {
        let by_register = self.find(kind, device_id).and_then(|device| device.bound_to);
        by_register.or_else(|| match kind {
            SourceKind::Obd => Vin::parse(device_id).map(Binding::Vin),
            SourceKind::Rs | SourceKind::Retrofit | SourceKind::Nonroad => None,
        })
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
        let device = |id, kind| Device {
            id,
            kind,
            protocol: None,
            bound_to: None,
            emission_stage: None,
            power_w: None,
            known: true,
        };
        let devices = Devices::new(
            1,
            [("A".into(), device(1, SourceKind::Retrofit)), ("A".into(), device(2, SourceKind::Nonroad))],
        );
        assert_eq!(devices.find(SourceKind::Retrofit, "A").map(|d| d.id), Some(1));
        assert_eq!(devices.find(SourceKind::Nonroad, "A").map(|d| d.id), Some(2));
        assert_eq!(devices.find(SourceKind::Obd, "A"), None);
        assert_eq!(devices.len(), 2);
    }

    #[test]
    fn terminals_are_found_by_their_vehicle() {
        let device = |id, kind, bound: Option<&str>| Device {
            id,
            kind,
            protocol: None,
            power_w: None,
            bound_to: bound.and_then(Binding::parse),
            emission_stage: None,
            known: true,
        };
        let vin = "LGDCHA1G8MA900002";
        let devices = Devices::new(
            1,
            [
                (vin.into(), device(1, SourceKind::Obd, None)),
                ("R-1".into(), device(2, SourceKind::Retrofit, Some("鲁C12345:yellow"))),
                ("R-2".into(), device(3, SourceKind::Retrofit, Some(vin))),
                ("M-1".into(), device(4, SourceKind::Nonroad, None)),
            ],
        );
        let Some(Binding::Plate(key)) = Binding::parse("鲁C12345:yellow") else { panic!("a plate") };
        let of = |vin: Option<&str>| {
            let mut all: Vec<i32> = devices.of_vehicle(key, vin.and_then(Vin::parse)).collect();
            all.sort_unstable();
            all
        };
        assert_eq!((of(Some(vin)), of(None)), (vec![1, 2, 3], vec![2]));
        assert_eq!(devices.binding(SourceKind::Obd, vin), Binding::parse(vin));
        assert_eq!(devices.binding(SourceKind::Nonroad, "M-1"), None);
    }
}
