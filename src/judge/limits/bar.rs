//! Which list bars its vehicles from what at other desks: registration, inspection, the market for used vehicles.

use super::Citation;
use crate::{
    judge::{REGISTER_CONTRADICTORY, rules::Classes},
    vehicle::facts::{Fuel, Vehicle},
};

/// What an owner may ask of another desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Business {
    /// Changing what the register says of the vehicle.
    Change,
    Inspection,
    /// Handing the vehicle to another owner or town.
    Transfer,
}

impl Business {
    pub const ALL: [Business; 3] = [Self::Change, Self::Inspection, Self::Transfer];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Inspection => "inspection",
            Self::Transfer => "transfer",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|business| business.name() == name)
    }
}

/// Vehicles on this list are barred from these, where the register does not contradict that the clause means them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    pub list: Box<str>,
    pub bars: Vec<Business>,
    /// Fuels of the clause, by name; empty: any.
    pub fuels: Vec<Box<str>>,
    /// Newest national stage of the clause.
    pub max_stage: Option<u8>,
    /// The clause is about trucks.
    pub trucks_only: bool,
    /// The clause is about vehicles of an operating use, as the table of vehicle rules has it.
    pub operating_only: bool,
    pub citation: Citation,
}

/// Fuels by the names that the table uses.
pub(super) const FUELS: [(&str, Fuel); 7] = [
    ("petrol", Fuel::Petrol),
    ("diesel", Fuel::Diesel),
    ("gas", Fuel::Gas),
    ("electric", Fuel::Electric),
    ("hybrid", Fuel::Hybrid),
    ("other", Fuel::Other),
    ("unknown", Fuel::Unknown),
];

impl Bar {
    /// What the register says against the clause meaning this vehicle. A fact that the register lacks contradicts nothing:
    /// that the vehicle was listed is a decision somebody took. A row that contradicts others or itself is for a person.
    pub fn contradictions(&self, vehicle: &Vehicle, classes: &Classes) -> Vec<&'static str> {
        let mut found = Vec::new();
        if !self.fuels.is_empty() && self.means_fuel(vehicle) == Some(false) {
            found.push("fuel");
        }
        if let (Some(limit), Some(stage)) = (self.max_stage, vehicle.stage)
            && !stage.at_most(limit)
        {
            found.push("emission_stage");
        }
        if self.trucks_only && classes.is_truck(vehicle) == Some(false) {
            found.push("vehicle_kind");
        }
        if self.operating_only && classes.is_operating(vehicle) == Some(false) {
            found.push("use_nature");
        }
        if vehicle.contradictory {
            found.push(REGISTER_CONTRADICTORY);
        }
        found
    }

    /// Whether the clause names the vehicle's fuel, as registered or as its engine burns it; `None` where nobody knows.
    fn means_fuel(&self, vehicle: &Vehicle) -> Option<bool> {
        let names = |fuel: Fuel| {
            let name = FUELS.iter().find(|(_, of)| *of == fuel).map_or("unknown", |(name, _)| *name);
            self.fuels.iter().any(|named| **named == *name)
        };
        match vehicle.engine_fuel() {
            Fuel::Unknown if !names(vehicle.fuel) => None,
            burnt => Some(names(burnt) || names(vehicle.fuel)),
        }
    }
}
