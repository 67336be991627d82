//! Everything the service knows about vehicles, stations, devices and zones: one immutable snapshot, swapped whole.
//!
//! A reader that holds a snapshot sees one consistent state for as long as it holds it; a swap takes no lock that a
//! reader waits for. Parts that did not change are shared between snapshots, so reloading a list does not copy the
//! register. The last owner of a large table pays for freeing it, hence [`KnowledgeHandle::retire`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    confusable,
    devices::{Binding, Device, Devices},
    facts::{MatchKind, Vehicle, VehicleMatch},
    import::Dataset,
    lists::{Hits, Lists},
    past::{self, Settled, Then},
    registry::Registry,
    stations::Stations,
};
use crate::{
    reading::{PlateKey, Timestamp, Vin},
    warning::{Warnings, ledger},
    zone::Zones,
};

/// One snapshot. Cloning shares the tables.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    pub registry: Arc<Registry>,
    pub lists: Arc<Lists>,
    pub stations: Arc<Stations>,
    pub devices: Arc<Devices>,
    pub zones: Arc<Zones>,
    pub warnings: Arc<Warnings>,
}

/// Dataset (`vehicles`, `list:retire_n3`, `zones`, `stations`, `devices`, `warnings`) to the version loaded.
pub type Versions = BTreeMap<String, i32>;

impl Knowledge {
    /// The vehicle of exactly this plate and colour, with the list entries in force at that time.
    #[inline]
    pub fn match_vehicle(&self, key: PlateKey, at: Timestamp) -> VehicleMatch {
        self.listed(key, self.registry.find(key), at)
    }

    #[inline]
    fn listed(&self, key: PlateKey, vehicle: Option<Vehicle>, at: Timestamp) -> VehicleMatch {
        let lists = self.lists.find(key, at);
        let kind = if vehicle.is_some() || !lists.is_empty() { MatchKind::Exact } else { MatchKind::None };
        VehicleMatch { kind, vehicle, lists, registry_version: self.registry.version() }
    }

    /// As [`Knowledge::match_vehicle`]; where nothing holds the plate, the vehicles on the lists `that_matter` which it may
    /// have been misread from. Costs nothing for a plate that is known. Without a register nobody can say that a plate
    /// does not exist, so then nothing is suspected.
    #[inline]
    pub fn identify(&self, key: PlateKey, at: Timestamp, that_matter: &[String]) -> VehicleMatch {
        let matched = self.match_vehicle(key, at);
        self.suspect(matched, key, at, that_matter)
    }

    /// As [`Knowledge::identify`], of a reading that arrived when the register said `then` of the plate; see [`past`].
    pub fn identify_since(
        &self,
        key: PlateKey,
        at: Timestamp,
        that_matter: &[String],
        then: Option<&Then>,
    ) -> VehicleMatch {
        let Settled { vehicle, version } = past::settle(then, self.registry.find(key));
        let mut matched = self.suspect(self.listed(key, vehicle, at), key, at, that_matter);
        matched.registry_version = version.unwrap_or(matched.registry_version);
        matched
    }

    #[inline]
    fn suspect(&self, mut matched: VehicleMatch, key: PlateKey, at: Timestamp, that_matter: &[String]) -> VehicleMatch {
        if matched.kind == MatchKind::None && !self.registry.is_empty() && !self.lists.names(key) {
            let candidates = confusable::candidates(key, at, &self.lists, that_matter);
            if !candidates.is_empty() {
                matched.kind = MatchKind::Suspected(candidates);
            }
        }
        matched
    }

    /// The vehicle of exactly this VIN (either case), with the list entries of its plate in force at that time.
    pub fn match_vin(&self, vin: &str, at: Timestamp) -> VehicleMatch {
        let found = Vin::parse(&vin.to_ascii_uppercase()).and_then(|vin| self.registry.find_vin(&vin));
        let (kind, vehicle, lists) = match found {
            Some((key, vehicle)) => (MatchKind::Exact, Some(vehicle), self.lists.find(key, at)),
            None => (MatchKind::None, None, Hits::new()),
        };
        VehicleMatch { kind, vehicle, lists, registry_version: self.registry.version() }
    }

    /// The plate under which [`Knowledge::match_vin`] finds the vehicle.
    pub fn plate_of_vin(&self, vin: &str) -> Option<PlateKey> {
        let vin = Vin::parse(&vin.to_ascii_uppercase())?;
        self.registry.find_vin(&vin).map(|(key, _)| key)
    }

    /// The vehicle a device is fixed to by the register of devices; no match where it names none.
    pub fn match_bound(&self, device: &Device, at: Timestamp) -> VehicleMatch {
        match device.bound_to {
            Some(Binding::Plate(key)) => self.match_vehicle(key, at),
            Some(Binding::Vin(vin)) => self.match_vin(vin.as_str(), at),
            None => VehicleMatch {
                kind: MatchKind::None,
                vehicle: None,
                lists: Hits::new(),
                registry_version: self.registry.version(),
            },
        }
    }

    /// Versions of all datasets that were ever imported.
    pub fn versions(&self) -> Versions {
        let single = [
            (Dataset::Vehicles, self.registry.version()),
            (Dataset::Stations, self.stations.version()),
            (Dataset::Devices, self.devices.version()),
            (Dataset::Zones, self.zones.version()),
        ];
        let warnings = [(ledger::DATASET.to_owned(), self.warnings.version())];
        let single = single.into_iter().map(|(dataset, version)| (dataset.to_string(), version));
        let lists =
            self.lists.versions().map(|(name, version, _)| (format!("{}{name}", super::import::LIST_PREFIX), version));
        single.chain(warnings).chain(lists).filter(|&(_, version)| version > 0).collect()
    }

    /// Entries by kind of dataset, for gauges.
    pub fn sizes(&self) -> [(&'static str, usize); 6] {
        [
            ("vehicles", self.registry.len()),
            ("lists", self.lists.len()),
            ("stations", self.stations.len()),
            ("devices", self.devices.len()),
            ("zones", self.zones.len()),
            ("warnings", self.warnings.len()),
        ]
    }
}

/// The snapshot in force; clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct KnowledgeHandle {
    current: Arc<ArcSwap<Knowledge>>,
}

/// How often a retired snapshot is asked whether its readers are done.
const RETIRE_CHECK: Duration = Duration::from_millis(50);

impl KnowledgeHandle {
    pub fn new(knowledge: Knowledge) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(knowledge)) }
    }

    /// From tables built by hand, such as those of [`super::import::offline`].
    pub fn from_parts(registry: Registry, lists: Lists, stations: Stations, devices: Devices, zones: Zones) -> Self {
        Self::new(Knowledge {
            registry: registry.into(),
            lists: lists.into(),
            stations: stations.sited(&zones).into(),
            devices: devices.into(),
            zones: zones.into(),
            warnings: Arc::default(),
        })
    }

    /// The snapshot in force. Hold it for a batch, not for ever: an old one stays in memory while anybody holds it.
    #[inline]
    pub fn load(&self) -> Arc<Knowledge> {
        self.current.load_full()
    }

    /// Puts another snapshot in force and gives back the one before, to be dropped or [retired](Self::retire).
    pub fn swap(&self, knowledge: Knowledge) -> Arc<Knowledge> {
        self.current.swap(Arc::new(knowledge))
    }

    /// Keeps an old snapshot until no reader has it, then frees it on a blocking thread: freeing ten million vehicles
    /// takes long enough to be noticed by whoever else runs on the same async worker.
    pub async fn retire(old: Arc<Knowledge>) {
        while Arc::strong_count(&old) > 1 {
            tokio::time::sleep(RETIRE_CHECK).await;
        }
        // A panic cannot happen in freeing plain tables, and a cancelled runtime frees them itself.
        let _ = tokio::task::spawn_blocking(move || drop(old)).await;
    }
}
