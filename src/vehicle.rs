//! Whose vehicle it is and which lists it is on.
//!
//! Register, lists, stations, devices and zones are held in memory as one immutable [`knowledge::Knowledge`], built off
//! to the side and swapped whole; the database holds every version. What a look-up answers is the state as of the
//! *reading's* time, so a swap between two readings changes nothing for either. Nothing here guesses: a plate that is
//! not in the register is not in the register, and what it may have been instead ([`confusable`]) is called a suspicion.
//!
//! ```text
//! import (CSV, GeoJSON) -> database, one version -> NOTIFY -> watch -> load -> knowledge -> match_vehicle
//! ```

pub mod carrier;
pub mod confusable;
pub mod devices;
pub mod directory;
pub mod facts;
pub mod fuel;
pub mod import;
pub mod knowledge;
pub mod lists;
pub mod load;
pub mod lookup;
mod packed;
mod pages;
pub mod past;
pub mod registry;
mod spread;
pub mod stations;
pub mod surroundings;
#[cfg(test)]
pub(crate) mod test_pg;
#[cfg(test)]
mod tests;
pub mod watch;
