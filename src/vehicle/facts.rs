//! What the register and the lists say about one vehicle: the facts that judgement works on.

use std::sync::Arc;

use serde::Serialize;
use smallvec::SmallVec;

use super::confusable::Candidate;
use crate::reading::{Timestamp, Vin};

/// Emission stage by the register: 国0..国VI compare as numbers; zero-emission (99) stands outside the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmissionStage {
    /// 0..=6
    National(u8),
    ZeroEmission,
}

impl EmissionStage {
    /// The register's code: 0..=6 or 99.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0..=6 => Some(Self::National(code)),
            99 => Some(Self::ZeroEmission),
            _ => None,
        }
    }

    pub const fn code(self) -> u8 {
        match self {
            Self::National(stage) => stage,
            Self::ZeroEmission => 99,
        }
    }

    /// Whether the stage is known to be `limit` or older; zero-emission never is.
    pub fn at_most(self, limit: u8) -> bool {
        matches!(self, Self::National(stage) if stage <= limit)
    }
}

/// Fuel by GA/T 16.9, reduced to what rules ask. Bi-fuel vehicles keep both letters in `Vehicle::fuel_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fuel {
    Petrol,
    Diesel,
    Gas,
    Electric,
    Hybrid,
    Other,
    Unknown,
}

/// One vehicle of the register, small enough that millions fit; owner and text live in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vehicle {
    pub fuel: Fuel,
    /// GA/T 16.9 letters as registered, NUL-padded: `B\0`, `AE`. Zeros when unknown, and where letters and stage cannot both
    /// be true (`vehicle::fuel`).
    pub fuel_code: [u8; 2],
    pub stage: Option<EmissionStage>,
    /// GA/T 16.4, such as `H12`; zeros when unknown.
    pub kind: [u8; 3],
    /// GA/T 16.3 letter; zero when unknown.
    pub use_nature: u8,
    /// States of GA/T 16 vehicle state by letter: bit 0 is `A`.
    pub states: u32,
    /// Days since 1970-01-01 of first registration.
    pub registered_on: Option<i32>,
    pub local: Option<bool>,
    pub retrofit: bool,
    /// Reference torque of the engine, N·m.
    pub reference_torque_nm: Option<u16>,
    pub vin: Option<Vin>,
    /// The register's rows contradict each other or themselves: what is in dispute is unknown here, and whatever is
    /// found about the vehicle waits for a person.
    pub contradictory: bool,
}

impl Vehicle {
    /// What its engine burns; of a hybrid by the letter beside `O` or `C`. `Unknown` where the register does not say, so
    /// that whoever asks can neither accuse nor acquit by it.
    pub fn engine_fuel(&self) -> Fuel {
        let names = |letters: &[u8]| self.fuel_code.iter().any(|letter| letters.contains(letter));
        match self.fuel {
            Fuel::Hybrid if names(b"B") => Fuel::Diesel,
            Fuel::Hybrid if names(b"A") => Fuel::Petrol,
            Fuel::Hybrid if names(b"EF") => Fuel::Gas,
            Fuel::Hybrid => Fuel::Unknown,
            known => known,
        }
    }

    /// Whether it burns diesel, as a hybrid or alone; `None` where nobody knows.
    pub fn is_diesel(&self) -> Option<bool> {
        match self.engine_fuel() {
            Fuel::Unknown => None,
            fuel => Some(fuel == Fuel::Diesel),
        }
    }

    /// `H*` and `Q*` of GA/T 16.4.
    pub fn is_truck(&self) -> bool {
        matches!(self.kind.first(), Some(b'H' | b'Q'))
    }

    pub fn has_state(&self, letter: u8) -> bool {
        letter.is_ascii_uppercase() && self.states & (1 << (letter - b'A')) != 0
    }
}

/// An entry of a list in force at the time of the reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListHit {
    /// `retire_n3`
    pub list: Arc<str>,
    pub version: i32,
    pub valid_from: Option<Timestamp>,
    pub valid_to: Option<Timestamp>,
    pub reason: Option<Arc<str>>,
    pub document_no: Option<Arc<str>>,
}

impl ListHit {
    /// `retire_n3@v12`
    pub fn label(&self) -> String {
        format!("{}@v{}", self.list, self.version)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum MatchKind {
    /// The register or a list holds exactly this plate and colour.
    Exact,
    /// Nothing holds the plate as it was read, but these listed vehicles differ in one character that cameras confuse,
    /// the likeliest first; never empty. The passage is judged as one of an unknown vehicle.
    Suspected(Vec<Candidate>),
    None,
}

/// Everything known about the vehicle of one reading, as of the reading's time.
#[derive(Clone, Debug, PartialEq)]
pub struct VehicleMatch {
    pub kind: MatchKind,
    pub vehicle: Option<Vehicle>,
    pub lists: SmallVec<[ListHit; 2]>,
    /// Version of the vehicle register that answered; 0 when none is loaded.
    pub registry_version: i32,
}
