//! The district's vehicles, stations, terminals and machines: who there is, decided by the seed alone.
//!
//! Contract: the same seed and [`FleetSize`] make the same fleet on any machine, and a larger fleet begins with the
//! smaller one, so the committed demo files (seed [`DEMO_SEED`], [`FleetSize::DEMO`]) describe the first members of every
//! fleet of that seed. All names are invented: plates of prefix 鲁C, VINs with the unassigned maker code `LDW`.

pub mod devices;
pub mod geography;
pub mod vehicles;

pub use devices::{Machine, Retrofit, Station, StationKind, Terminal, TerminalProtocol};
pub use vehicles::{List, PaintedPlate, RegisteredVehicle};

/// The seed of the committed files in `schemas/demo`.
pub const DEMO_SEED: u64 = 1;

/// How many of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSize {
    pub vehicles: u32,
    pub stations: u32,
    pub terminals: u32,
    pub retrofits: u32,
    pub machines: u32,
}

impl FleetSize {
    /// Small enough to read, large enough that the default rate of `demo` finds every device at its natural cadence.
    pub const DEMO: FleetSize = FleetSize { vehicles: 2000, stations: 6, terminals: 40, retrofits: 12, machines: 12 };
}

/// Everybody, in order of index.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub seed: u64,
    pub vehicles: Vec<RegisteredVehicle>,
    pub stations: Vec<Station>,
    pub terminals: Vec<Terminal>,
    pub retrofits: Vec<Retrofit>,
    pub machines: Vec<Machine>,
}

impl Fleet {
    pub fn new(seed: u64, size: FleetSize) -> Self {
        let vehicles: Vec<_> = (0..size.vehicles).map(|index| vehicles::vehicle(seed, index)).collect();
        let terminals = devices::terminals(seed, size.terminals, &vehicles);
        let retrofits = devices::retrofits(seed, size.retrofits, &vehicles);
        Self {
            seed,
            stations: (0..size.stations).map(|index| devices::station(seed, index)).collect(),
            terminals,
            retrofits,
            machines: (0..size.machines).map(|index| devices::machine(seed, index)).collect(),
            vehicles,
        }
    }

    /// The fleet of the committed demo files.
    pub fn demo() -> Self {
        Self::new(DEMO_SEED, FleetSize::DEMO)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_larger_fleet_begins_with_the_smaller_one() {
        let small = Fleet::demo();
        let size = FleetSize { vehicles: 3000, stations: 9, terminals: 60, retrofits: 30, machines: 40 };
        let large = Fleet::new(DEMO_SEED, size);
        assert_eq!(small.vehicles, large.vehicles[..2000]);
        assert_eq!(small.stations, large.stations[..6]);
        assert_eq!(small.terminals, large.terminals[..40]);
        assert_eq!(small.retrofits, large.retrofits[..12]);
        assert_eq!(small.machines, large.machines[..12]);
        assert_ne!(small.vehicles, Fleet::new(2, FleetSize::DEMO).vehicles);
    }

    #[test]
    fn names_are_unique() {
        let size = FleetSize { vehicles: 100_000, stations: 200, terminals: 60_000, retrofits: 5000, machines: 5000 };
        let fleet = Fleet::new(9, size);
        fn all_differ<T: std::hash::Hash + Eq>(count: usize, names: impl Iterator<Item = T>) {
            assert_eq!(names.collect::<HashSet<_>>().len(), count);
        }
        all_differ(100_000, fleet.vehicles.iter().map(|v| v.plate.key()));
        all_differ(100_000, fleet.vehicles.iter().map(|v| v.vin));
        all_differ(200, fleet.stations.iter().map(|s| s.id.clone()));
        all_differ(60_000, fleet.terminals.iter().map(|t| t.id.clone()));
        all_differ(5000, fleet.retrofits.iter().map(|r| r.id.clone()));
        all_differ(5000, fleet.machines.iter().map(|m| m.id.clone()));
    }
}
