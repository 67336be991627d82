//! The vehicle register in memory: plate and colour to vehicle, VIN to vehicle.
//!
//! Layout, 39.25 bytes a vehicle with a VIN: a sorted column of spread keys (8), a column of packed vehicles (25), the
//! order of the VINs (4), a directory of each (0.25 and 2). A look-up waits for memory once: the directory is in the
//! cache, and keys and vehicle are asked for together. `benches/matching.rs` measures it.
//!
//! Why not a hash map: see the head of `spread.rs`. Why not an index of VINs that keeps hashes only: an answer must be exact.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{
    facts::Vehicle,
    packed::{Packed, PackedVin, pack_vin, unpack_vin},
    pages::roomy,
    spread::{Directory, gather, place_of, spread},
};
use crate::reading::{PlateKey, Vin};

/// A quarter byte a vehicle, so that the directory of millions stays in the processor's cache.
const ROWS_PER_BUCKET: usize = 16;
/// Two bytes a vehicle: every row of a bucket is a vehicle to be read and compared.
const VINS_PER_BUCKET: usize = 2;

/// One version of the register. Immutable.
#[derive(Debug, Default)]
pub struct Registry {
    version: i32,
    /// Ascending.
    keys: Box<[u64]>,
    vehicles: Box<[Packed]>,
    directory: Directory,
    /// Rows that have a VIN, by the spread of the VIN.
    by_vin: Box<[u32]>,
    vin_directory: Directory,
    /// VINs with characters that packing has no room for; a handful of old or foreign vehicles.
    aside: Box<[Vin]>,
    rows_aside: HashMap<Vin, SmallVec<[u32; 1]>>,
}

impl Registry {
    /// Version of the dataset; 0 when none is loaded.
    pub fn version(&self) -> i32 {
        self.version
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Heap memory held, bytes.
    pub fn bytes(&self) -> usize {
        let columns = size_of_val(&*self.keys) + size_of_val(&*self.vehicles) + size_of_val(&*self.by_vin);
        let aside = size_of_val(&*self.aside) + self.rows_aside.allocation_size();
        columns + aside + self.directory.bytes() + self.vin_directory.bytes()
    }

    /// The vehicle of exactly this plate and colour.
    #[inline]
    pub fn find(&self, key: PlateKey) -> Option<Vehicle> {
        let wanted = spread(key.bits());
        let around = self.directory.rows_and_guess(wanted);
        self.fetch_ahead(around.1);
        let place = place_of(&self.keys, around, wanted)?;
        self.vehicle(place)
    }

    /// Asks the memory for what [`Registry::find`] will need, and waits for none of it. Whoever knows several plates at
    /// once asks for all of them first: their waits for memory then pass at the same time.
    #[inline]
    pub fn ask_ahead(&self, key: PlateKey) {
        let (_, guess) = self.directory.rows_and_guess(spread(key.bits()));
        self.fetch_ahead(guess);
        #[cfg(target_arch = "x86_64")]
        for row in [guess.saturating_sub(3), guess + 4] {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            if let Some(key) = self.keys.get(row) {
                // SAFETY: as in `fetch_ahead`.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(key).cast()) };
            }
        }
    }

    /// The vehicle of exactly this VIN and its plate. Where several plates carry one VIN (a vehicle that was
    /// re-registered, or a cloned identity), one that is neither deregistered nor scrapped comes before one that is,
    /// then the one registered last, then the greater key: an answer that does not depend on the order of the file.
    pub fn find_vin(&self, vin: &Vin) -> Option<(PlateKey, Vehicle)> {
        let rows = match pack_vin(vin) {
            Some(packed) => self.rows_of(packed),
            None => self.rows_aside.get(vin).cloned().unwrap_or_default(),
        };
        let candidates = rows.into_iter().filter_map(|row| {
            let row = row as usize;
            let key = PlateKey::from_i64(i64::try_from(gather(*self.keys.get(row)?)).ok()?)?;
            Some((key, self.vehicle(row)?))
        });
        candidates.max_by_key(|(key, vehicle)| (!is_gone(vehicle), vehicle.registered_on, *key))
    }

    fn rows_of(&self, vin: PackedVin) -> SmallVec<[u32; 1]> {
        let PackedVin::Word(word) = vin else { return SmallVec::new() };
        let rows = self.by_vin.get(self.vin_directory.rows(spread_vin(word))).unwrap_or_default();
        rows.iter().copied().filter(|&row| self.vehicles.get(row as usize).is_some_and(|v| v.vin() == vin)).collect()
    }

    /// Asks the memory for the vehicles around the guess while their keys are still on the way: both are usually in no
    /// cache, and one after the other they cost twice.
    #[inline]
    fn fetch_ahead(&self, row: usize) {
        #[cfg(target_arch = "x86_64")]
        for vehicle in [row.saturating_sub(2), row, row + 2].into_iter().filter_map(|row| self.vehicles.get(row)) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: SSE is part of x86-64, and a prefetch reads nothing that the program could see.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(vehicle).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = row;
    }

    #[inline]
    fn vehicle(&self, row: usize) -> Option<Vehicle> {
        let packed = self.vehicles.get(row)?;
        let vin = match packed.vin() {
            PackedVin::None => None,
            PackedVin::Word(word) => unpack_vin(word),
            PackedVin::Aside(place) => self.aside.get(place as usize).copied(),
        };
        Some(Vehicle { vin, ..packed.facts() })
    }
}

/// Deregistered, forced deregistration, or declared void (E, M, P of the vehicle state).
fn is_gone(vehicle: &Vehicle) -> bool {
    [b'E', b'M', b'P'].iter().any(|&letter| vehicle.has_state(letter))
}

fn spread_vin(word: u128) -> u64 {
    spread(word as u64 ^ spread((word >> 64) as u64))
}

/// Rows are gathered in this many parts by the top bits of their spread key, so that sorting and the final copy work
/// on one part at a time: the peak is the finished table and one part, not two tables.
const PARTS: usize = 256;

/// Collects the vehicles of one version, in any order.
pub struct RegistryBuilder {
    /// Vehicles with their spread keys; the key in bytes, because an aligned word would cost seven of padding.
    parts: Vec<Vec<(Packed, [u8; 8])>>,
    aside: Vec<Vin>,
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Vec::new()).collect(), aside: Vec::new() }
    }
}

impl RegistryBuilder {
    /// Of several vehicles with one key the first stays; imports refuse such rows before.
    pub fn push(&mut self, key: PlateKey, vehicle: &Vehicle) {
        let vin = match &vehicle.vin {
            None => PackedVin::None,
            Some(vin) => pack_vin(vin).unwrap_or_else(|| {
                self.aside.push(*vin);
                PackedVin::Aside((self.aside.len() - 1) as u32)
            }),
        };
        let key = spread(key.bits());
        if let Some(part) = self.parts.get_mut((key >> 56) as usize) {
            part.push((Packed::new(vehicle, vin), key.to_be_bytes()));
        }
    }

    /// Sorts and indexes: seconds for millions of vehicles, so not on an async worker.
    pub fn build(self, version: i32) -> Registry {
        let total = self.parts.iter().map(Vec::len).sum();
        let mut keys = roomy(total);
        let mut vehicles = roomy(total);
        for mut part in self.parts {
            // Stable, so that of equal keys the first pushed comes first.
            part.sort_by_key(|(_, key)| u64::from_be_bytes(*key));
            part.dedup_by_key(|(_, key)| *key);
            for (vehicle, key) in part {
                keys.push(u64::from_be_bytes(key));
                vehicles.push(vehicle);
            }
        }
        let directory = Directory::new(keys.len(), ROWS_PER_BUCKET, keys.iter().copied());
        let (by_vin, vin_directory) = index_vins(&vehicles);
        let mut rows_aside: HashMap<Vin, SmallVec<[u32; 1]>> = HashMap::new();
        for (row, vehicle) in vehicles.iter().enumerate() {
            if let PackedVin::Aside(place) = vehicle.vin()
                && let Some(vin) = self.aside.get(place as usize)
            {
                rows_aside.entry(*vin).or_default().push(row as u32);
            }
        }
        Registry {
            version,
            keys: keys.into(),
            vehicles: vehicles.into(),
            directory,
            by_vin,
            vin_directory,
            aside: self.aside.into(),
            rows_aside,
        }
    }
}

fn index_vins(vehicles: &[Packed]) -> (Box<[u32]>, Directory) {
    let spread_of = |row: u32| match vehicles.get(row as usize).map(Packed::vin) {
        Some(PackedVin::Word(word)) => spread_vin(word),
        _ => 0,
    };
    let has_word = |row: &u32| matches!(vehicles.get(*row as usize).map(Packed::vin), Some(PackedVin::Word(_)));
    let mut rows: Vec<u32> = roomy(vehicles.len());
    rows.extend((0..vehicles.len() as u32).filter(has_word));
    rows.sort_unstable_by_key(|&row| spread_of(row));
    let directory = Directory::new(rows.len(), VINS_PER_BUCKET, rows.iter().map(|&row| spread_of(row)));
    (rows.into(), directory)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        reading::{Plate, PlateColor},
        vehicle::facts::{EmissionStage, Fuel},
    };

    fn key(text: &str, colour: PlateColor) -> PlateKey {
        PlateKey::new(Plate::parse(text).expect("legal"), colour)
    }

    fn vehicle(stage: u8, vin: Option<&str>) -> Vehicle {
        Vehicle {
            fuel: Fuel::Diesel,
            fuel_code: *b"B\0",
            stage: EmissionStage::from_code(stage),
            kind: *b"H12",
            use_nature: b'F',
            states: 1,
            registered_on: Some(15_000),
            local: Some(true),
            retrofit: false,
            reference_torque_nm: Some(1_850),
            vin: vin.and_then(Vin::parse),
            contradictory: false,
        }
    }

    #[test]
    fn colour_tells_vehicles_apart() {
        let mut builder = RegistryBuilder::default();
        builder.push(key("鲁C12345", PlateColor::Yellow), &vehicle(3, Some("LGDCHA1G8MA900002")));
        builder.push(key("鲁C12345", PlateColor::Blue), &vehicle(5, None));
        let registry = builder.build(12);
        assert_eq!(registry.version(), 12);
        assert_eq!(registry.find(key("鲁C12345", PlateColor::Yellow)), Some(vehicle(3, Some("LGDCHA1G8MA900002"))));
        assert_eq!(registry.find(key("鲁C12345", PlateColor::Blue)), Some(vehicle(5, None)));
        assert_eq!(registry.find(key("鲁C12345", PlateColor::Green)), None);
    }

    #[test]
    fn a_shared_vin_goes_to_the_vehicle_in_use_that_was_registered_last() {
        let vin = "LGDCHA1G8MA900002";
        let mut builder = RegistryBuilder::default();
        let gone = Vehicle { states: 1 << 4, registered_on: Some(19_000), ..vehicle(3, Some(vin)) };
        builder.push(key("鲁C00001", PlateColor::Yellow), &gone);
        let newest = Vehicle { registered_on: Some(18_000), ..vehicle(3, Some(vin)) };
        builder.push(key("鲁C00002", PlateColor::Yellow), &newest);
        builder.push(key("鲁C00003", PlateColor::Yellow), &vehicle(3, Some(vin)));
        let registry = builder.build(1);
        let found = registry.find_vin(&Vin::parse(vin).expect("17 characters"));
        assert_eq!(found, Some((key("鲁C00002", PlateColor::Yellow), newest)));
    }

    #[test]
    fn a_vin_outside_digits_and_capitals_is_found_too() {
        let odd = "lgdcha-g8ma9000_2";
        let mut builder = RegistryBuilder::default();
        builder.push(key("鲁C00001", PlateColor::Yellow), &vehicle(3, Some(odd)));
        let registry = builder.build(1);
        let vin = Vin::parse(odd).expect("17 characters");
        assert_eq!(
            registry.find_vin(&vin).map(|(key, v)| (key, v.vin)),
            Some((key("鲁C00001", PlateColor::Yellow), Some(vin)))
        );
        assert_eq!(registry.find_vin(&Vin::parse("lgdcha-g8ma9000_3").expect("17 characters")), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn finds_what_was_pushed_and_nothing_else(
            plates in prop::collection::btree_map("鲁[A-H][0-9]{3}[A-C0-9]{2}", (0u8..=6, prop::option::of("[A-HJ-NPR-Z0-9]{17}")), 0..300),
            others in prop::collection::vec("鲁[A-H][0-9]{3}[A-C0-9]{2}", 0..50),
        ) {
            let mut builder = RegistryBuilder::default();
            let mut expected = BTreeMap::new();
            for (plate, (stage, vin)) in &plates {
                let vehicle = vehicle(*stage, vin.as_deref());
                builder.push(key(plate, PlateColor::Yellow), &vehicle);
                expected.insert(key(plate, PlateColor::Yellow), vehicle);
            }
            let registry = builder.build(1);
            prop_assert_eq!(registry.len(), plates.len());
            for (&key, vehicle) in &expected {
                prop_assert_eq!(registry.find(key), Some(*vehicle));
                if let Some(vin) = &vehicle.vin {
                    prop_assert_eq!(registry.find_vin(vin).and_then(|(_, v)| v.vin), Some(*vin));
                }
            }
            for plate in others {
                let key = key(&plate, PlateColor::Yellow);
                prop_assert_eq!(registry.find(key), expected.get(&key).copied());
            }
        }
    }
}
