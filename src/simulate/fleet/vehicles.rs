//! The vehicle register and its lists.

use chrono::{Days, NaiveDate};

use crate::{
    reading::{Plate, PlateColor, PlateKey, Vin},
    simulate::dice::Dice,
};

/// A plate as text and as key, with its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaintedPlate {
    pub plate: Plate,
    pub colour: PlateColor,
}

impl PaintedPlate {
    pub fn key(&self) -> PlateKey {
        PlateKey::new(self.plate, self.colour)
    }
}

/// The lists that a vehicle can be on; their names are those of `import list NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum List {
    HighEmission,
    RetireN2,
    RetireN3,
    Scrapped,
    InspectionOverdue,
    Exempt,
}

impl List {
    pub const ALL: [List; 6] =
        [List::HighEmission, List::RetireN2, List::RetireN3, List::Scrapped, List::InspectionOverdue, List::Exempt];

    pub const fn name(self) -> &'static str {
        match self {
            List::HighEmission => "high_emission",
            List::RetireN2 => "retire_n2",
            List::RetireN3 => "retire_n3",
            List::Scrapped => "scrapped",
            List::InspectionOverdue => "inspection_overdue",
            List::Exempt => "exempt",
        }
    }
}

/// One line of `vehicles.csv`, and how the vehicle behaves on the road.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisteredVehicle {
    pub index: u32,
    pub plate: PaintedPlate,
    pub vin: Vin,
    /// GA/T 16.9 letters
    pub fuel: &'static str,
    /// 0..=6, 99; `None`: not registered
    pub stage: Option<u8>,
    /// GA/T 16.4
    pub kind: &'static str,
    /// GA/T 16.3
    pub use_nature: &'static str,
    /// Letters of GA/T 16 vehicle state
    pub state: &'static str,
    pub registered_on: NaiveDate,
    /// Number of the owning unit; 0 is a private owner
    pub owner: u8,
    pub local: bool,
    pub retrofit: bool,
    pub reference_torque_nm: Option<u16>,
    /// Bit `List as u8`
    lists: u8,
    /// Smokes in most of its tests, so that episodes come about.
    pub dirty: bool,
}

impl RegisteredVehicle {
    pub fn is_on(&self, list: List) -> bool {
        self.lists & (1 << list as u8) != 0
    }

    pub fn is_diesel(&self) -> bool {
        self.fuel == "B"
    }

    pub fn is_heavy(&self) -> bool {
        self.kind.as_bytes().get(1) == Some(&b'1')
    }
}

/// What kinds of vehicle there are: share in per mille, colour, fuel, GA/T 16.4 kinds, reference torque, N·m.
struct Class {
    per_mille: u32,
    colour: PlateColor,
    fuel: &'static str,
    kinds: &'static [&'static str],
    torque_nm: (i32, i32),
}

const CLASSES: [Class; 6] = [
    Class {
        per_mille: 420,
        colour: PlateColor::Yellow,
        fuel: "B",
        kinds: &["Q11", "H17", "H11", "H14", "H19"],
        torque_nm: (1100, 2500),
    },
    Class { per_mille: 160, colour: PlateColor::Blue, fuel: "B", kinds: &["H31", "H32"], torque_nm: (280, 450) },
    Class { per_mille: 330, colour: PlateColor::Blue, fuel: "A", kinds: &["K33", "K31"], torque_nm: (0, 0) },
    Class { per_mille: 50, colour: PlateColor::Green, fuel: "C", kinds: &["K33"], torque_nm: (0, 0) },
    Class { per_mille: 20, colour: PlateColor::YellowGreen, fuel: "C", kinds: &["Q11", "H17"], torque_nm: (0, 0) },
    Class { per_mille: 20, colour: PlateColor::Yellow, fuel: "E", kinds: &["Q11"], torque_nm: (1100, 2100) },
];

/// Per mille of each emission stage among combustion vehicles, and the first and last year such a vehicle was registered.
const STAGES: [(u32, Option<u8>, i32, i32); 7] = [
    (10, Some(1), 2001, 2003),
    (25, Some(2), 2004, 2007),
    (175, Some(3), 2008, 2012),
    (240, Some(4), 2013, 2016),
    (330, Some(5), 2017, 2019),
    (200, Some(6), 2020, 2025),
    (20, None, 2005, 2012),
];

const FAMILY: u64 = 1;

/// The `index`-th vehicle of the register.
pub fn vehicle(seed: u64, index: u32) -> RegisteredVehicle {
    let mut dice = Dice::of(seed, FAMILY, u64::from(index));
    let class = choose(&CLASSES, dice.below(1000), |class| class.per_mille);
    let electric = class.fuel == "C";
    let &(_, stage, first, last) = choose(&STAGES, dice.below(1000), |row| row.0);
    let (stage, first, last) = if electric { (Some(99), 2020, 2025) } else { (stage, first, last) };
    let registered_on = NaiveDate::from_ymd_opt(dice.between(first, last), 1, 1).unwrap_or_default()
        + Days::new(u64::from(dice.below(365)));
    let kind = *dice.pick(class.kinds);
    let truck = kind.starts_with(['H', 'Q']);
    let use_nature = if truck && dice.chance(0.85) { "F" } else { "A" };
    let diesel = class.fuel == "B";
    let old_diesel = |limit: u8| diesel && stage.is_some_and(|stage| stage <= limit);
    let dirty = diesel && dice.chance(if old_diesel(3) { 0.18 } else { 0.03 });

    let mut lists = 0;
    let mut put_on = |list: List, wanted: bool| lists |= u8::from(wanted) << list as u8;
    let scrapped = dice.chance(if old_diesel(3) { 0.03 } else { 0.002 });
    put_on(List::RetireN2, old_diesel(2) && dice.chance(0.9));
    put_on(List::RetireN3, old_diesel(3) && truck && use_nature == "F" && dice.chance(0.6));
    put_on(List::HighEmission, dirty && dice.chance(0.5));
    put_on(List::Scrapped, scrapped);
    let overdue = !scrapped && dice.chance(0.015);
    put_on(List::InspectionOverdue, overdue);
    put_on(List::Exempt, diesel && !scrapped && dice.chance(0.006));

    RegisteredVehicle {
        index,
        plate: plate(seed, index, class.colour),
        vin: vin(b'V', index),
        fuel: class.fuel,
        stage,
        kind,
        use_nature,
        state: if scrapped {
            "P"
        } else if overdue {
            "Q"
        } else {
            "A"
        },
        registered_on,
        owner: if truck { dice.below(24) as u8 } else { 0 },
        local: dice.chance(0.88),
        retrofit: diesel && stage == Some(3) && truck && dice.chance(0.3),
        reference_torque_nm: (class.torque_nm.0 > 0)
            .then(|| dice.between(class.torque_nm.0 / 50, class.torque_nm.1 / 50) as u16 * 50),
        lists,
        dirty,
    }
}

/// The row whose share holds `draw` (0..1000); the last one when shares do not add up.
fn choose<T>(rows: &[T], draw: u32, share: impl Fn(&T) -> u32) -> &T {
    let mut left = draw;
    for row in rows {
        if left < share(row) {
            return row;
        }
        left -= share(row);
    }
    &rows[rows.len() - 1]
}

/// Letters and digits that plates use.
const ALPHANUMERIC: &[u8; 34] = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Prime to the number of plates of each form below, so that stepping by it visits every plate once before any twice.
const STEP: u64 = 387_439;

/// A plate of prefix 鲁C: different for every index below 1 156 000 (ordinary), 340 000 (small new-energy) and 100 000
/// (large new-energy).
fn plate(seed: u64, index: u32, colour: PlateColor) -> PaintedPlate {
    let number = |plates: u64| (u64::from(index) * STEP + seed.wrapping_mul(7919) % plates) % plates;
    let free = |place: u64| char::from(ALPHANUMERIC[(place % 34) as usize]);
    let text = match colour {
        PlateColor::Green => {
            let number = number(34 * 10_000);
            format!("鲁CD{}{:04}", free(number / 10_000), number % 10_000)
        }
        PlateColor::YellowGreen => format!("鲁C{:05}D", number(100_000)),
        _ => {
            let number = number(34 * 34 * 1000);
            format!("鲁C{}{}{:03}", free(number / 34_000), free(number / 1000), number % 1000)
        }
    };
    let plate = Plate::parse(&text).expect("the forms above are those of GA 36");
    PaintedPlate { plate, colour }
}

/// A VIN whose check digit holds: invented maker code `LDW`, a letter for the register, the index as serial.
pub fn vin(register: u8, index: u32) -> Vin {
    let mut text = format!("LDW{}H15D0M{:07}", char::from(register), index % 10_000_000).into_bytes();
    for digit in *b"0123456789X" {
        text[8] = digit;
        if let Some(vin) = Vin::from_bytes(&text).filter(Vin::check_digit_holds) {
            return vin;
        }
    }
    unreachable!("one of the eleven remainders fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_look_like_a_district() {
        let fleet: Vec<_> = (0..20_000).map(|index| vehicle(3, index)).collect();
        let share =
            |wanted: &dyn Fn(&RegisteredVehicle) -> bool| fleet.iter().filter(|v| wanted(v)).count() as f64 / 20_000.0;
        assert!((0.55..0.61).contains(&share(&|v| v.is_diesel())));
        assert!((0.02..0.06).contains(&share(&|v| v.dirty)));
        assert!((0.04..0.09).contains(&share(&|v| v.is_on(List::RetireN3))));
        for list in List::ALL {
            assert!(share(&|v| v.is_on(list)) > 0.001, "{}", list.name());
        }
        assert!(fleet.iter().all(|v| v.vin.check_digit_holds() && !v.vin.has_illegal_character()));
        assert!(fleet.iter().all(|v| !v.is_on(List::RetireN2) || v.stage.is_some_and(|stage| stage <= 2)));
    }
}
