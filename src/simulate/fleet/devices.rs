//! Stations and terminals.

use chrono::{Days, NaiveDate};

use super::{
    geography::{self, Point},
    vehicles::{PaintedPlate, RegisteredVehicle, vin},
};
use crate::{
    reading::{DeviceId, StationId, Vin},
    simulate::dice::Dice,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StationKind {
    FixedVertical,
    FixedHorizontal,
    Mobile,
    /// A camera: sees blackness, measures no gas.
    BlackSmoke,
}

impl StationKind {
    pub const fn name(self) -> &'static str {
        match self {
            StationKind::FixedVertical => "fixed_vertical",
            StationKind::FixedHorizontal => "fixed_horizontal",
            StationKind::Mobile => "mobile",
            StationKind::BlackSmoke => "black_smoke",
        }
    }
}

/// One line of `stations.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Station {
    pub id: StationId,
    pub name: String,
    pub kind: StationKind,
    pub place: Point,
    pub lanes: u8,
    pub slope_deg: f32,
    pub calibrated_on: NaiveDate,
    pub certificate_until: NaiveDate,
}

/// How a heavy-duty terminal speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalProtocol {
    /// HJ 1239, dialect 2.
    Hj1239,
    /// GB 17691, dialect 1.
    Gb17691,
}

/// A heavy-duty OBD terminal. Its identity is the VIN of the vehicle it is bound to.
#[derive(Clone, Debug, PartialEq)]
pub struct Terminal {
    pub id: DeviceId,
    pub vin: Vin,
    pub protocol: TerminalProtocol,
    pub installed_on: NaiveDate,
    /// After-treatment does not work: downstream NOx stays high once warm.
    pub tampered: bool,
    /// Lamp on, with trouble codes.
    pub faulty: bool,
    pub road: usize,
}

/// A retrofit after-treatment terminal on a stage III truck.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrofit {
    pub id: DeviceId,
    pub plate: Option<PaintedPlate>,
    /// Sends JSON instead of frames.
    pub json: bool,
    pub installed_on: NaiveDate,
    /// Filter is blocked or gone: smoke over the limit.
    pub smoking: bool,
    pub road: usize,
}

/// A tracker on a non-road machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub id: DeviceId,
    /// GB 20891 stage, 1..=4
    pub stage: u8,
    /// Sends JSON instead of frames.
    pub json: bool,
    pub installed_on: NaiveDate,
    pub site: usize,
}

const STATION_NAMES: [&str; 6] =
    ["青年路遥感站", "周隆路遥感站", "南外环遥感站", "北外环黑烟抓拍站", "流动遥感一车", "新建路遥感站"];

const FAMILY_STATION: u64 = 2;
const FAMILY_TERMINAL: u64 = 3;
const FAMILY_RETROFIT: u64 = 4;
const FAMILY_MACHINE: u64 = 5;

pub fn station(seed: u64, index: u32) -> Station {
    let mut dice = Dice::of(seed, FAMILY_STATION, u64::from(index));
    let place = geography::STATION_PLACES[index as usize % geography::STATION_PLACES.len()];
    let kind = match index % 6 {
        0 | 5 => StationKind::FixedVertical,
        1 | 2 => StationKind::FixedHorizontal,
        3 => StationKind::BlackSmoke,
        _ => StationKind::Mobile,
    };
    let named = STATION_NAMES.get(index as usize).map(|&name| name.to_owned());
    Station {
        id: StationId::parse(&format!("370306-{:02}", index + 1)).expect("digits and a hyphen"),
        name: named.unwrap_or_else(|| format!("遥感站{:02}", index + 1)),
        kind,
        place,
        lanes: dice.between(1, 3) as u8,
        slope_deg: dice.between(5, 25) as f32 / 10.0,
        calibrated_on: day(2026, 10, 1) + Days::new(u64::from(dice.below(40))),
        certificate_until: day(2031, 12, 31),
    }
}

/// Binds terminals to the newest heavy diesel trucks of the register; when those run out, to trucks of no register.
pub fn terminals(seed: u64, count: u32, vehicles: &[RegisteredVehicle]) -> Vec<Terminal> {
    let mut trucks = vehicles.iter().filter(|v| v.is_diesel() && v.is_heavy() && v.stage >= Some(5));
    let of = |index: u32| {
        let mut dice = Dice::of(seed, FAMILY_TERMINAL, u64::from(index));
        // The first terminal is tampered with, so that even the smallest fleet shows it.
        let tampered = index == 0 || dice.chance(0.08);
        let bound = trucks.next().map(|truck| truck.vin);
        let vin = bound.unwrap_or_else(|| vin(b'T', index));
        Terminal {
            id: DeviceId::parse(vin.as_str()).expect("letters and digits"),
            vin,
            protocol: if index % 4 == 3 { TerminalProtocol::Gb17691 } else { TerminalProtocol::Hj1239 },
            installed_on: day(2024, 1, 1) + Days::new(u64::from(dice.below(700))),
            tampered,
            faulty: index == 1 || dice.chance(0.04),
            road: dice.below(64) as usize,
        }
    };
    (0..count).map(of).collect()
}

pub fn retrofits(seed: u64, count: u32, vehicles: &[RegisteredVehicle]) -> Vec<Retrofit> {
    let mut trucks = vehicles.iter().filter(|vehicle| vehicle.retrofit);
    let of = |index: u32| {
        let mut dice = Dice::of(seed, FAMILY_RETROFIT, u64::from(index));
        Retrofit {
            // Seventeen characters: the identity field of a frame holds it without padding.
            id: DeviceId::parse(&format!("RT370306{index:09}")).expect("letters and digits"),
            plate: trucks.next().map(|truck| truck.plate),
            json: index % 3 == 2,
            installed_on: day(2023, 3, 1) + Days::new(u64::from(dice.below(900))),
            smoking: index == 0 || dice.chance(0.1),
            road: dice.below(64) as usize,
        }
    };
    (0..count).map(of).collect()
}

pub fn machine(seed: u64, index: u32) -> Machine {
    let mut dice = Dice::of(seed, FAMILY_MACHINE, u64::from(index));
    Machine {
        id: DeviceId::parse(&format!("NR370306{index:09}")).expect("letters and digits"),
        // The first machine is old and works on site 0, inside the control zone.
        stage: if index == 0 { 2 } else { *dice.pick(&[2, 3, 3, 3, 4, 4]) },
        json: index % 3 == 2,
        installed_on: day(2024, 6, 1) + Days::new(u64::from(dice.below(500))),
        site: index as usize,
    }
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).expect("a date of the calendar")
}
