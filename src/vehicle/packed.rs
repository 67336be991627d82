//! One vehicle in 25 bytes: 12 of facts, 13 of VIN, so that ten million fit a small server.

use super::facts::{EmissionStage, Fuel, Vehicle};
use crate::reading::Vin;

/// A vehicle as the register keeps it: bit fields from low to high as [`Packed::new`] lays them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    facts: [u8; 12],
    vin: [u8; 13],
}

/// Largest reference torque kept, N·m: 15 bits, several times what any road engine has.
pub const MAX_TORQUE_NM: u16 = 0x7fff;

const NO_STAGE: u128 = 15;
const ZERO_EMISSION: u128 = 7;

/// Marks a vehicle whose rows contradict each other; beside the 102 bits of a VIN.
const CONTRADICTORY: u128 = 1 << 102;
/// Marks a VIN that six bits a character cannot hold; the rest is its place in the register's side table.
const VIN_ASIDE: u128 = 1 << 103;

/// A VIN as the register compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedVin {
    None,
    /// 17 characters of 6 bits, never zero.
    Word(u128),
    /// Place in the side table.
    Aside(u32),
}

struct Writer {
    word: u128,
    used: u32,
}

impl Writer {
    fn put(&mut self, value: impl Into<u128>, bits: u32) {
        let value: u128 = value.into();
        debug_assert!(value < 1 << bits);
        self.word |= (value & ((1 << bits) - 1)) << self.used;
        self.used += bits;
    }
}

struct Reader(u128);

impl Reader {
    #[inline]
    fn take(&mut self, bits: u32) -> u128 {
        let value = self.0 & ((1 << bits) - 1);
        self.0 >>= bits;
        value
    }
}

impl Packed {
    /// Packs the facts. `fuel` is not kept: it follows from `fuel_code`. Days outside 1970-01-02..=2149-06-06, torques
    /// above [`MAX_TORQUE_NM`] and characters outside digits and capitals become "unknown"; imports refuse such rows.
    pub fn new(vehicle: &Vehicle, vin: PackedVin) -> Self {
        let mut w = Writer { word: 0, used: 0 };
        w.put(vehicle.registered_on.and_then(|day| u16::try_from(day).ok()).unwrap_or(0), 16);
        w.put(vehicle.reference_torque_nm.filter(|&torque| torque <= MAX_TORQUE_NM).unwrap_or(0), 15);
        w.put(
            match vehicle.stage {
                None => NO_STAGE,
                Some(EmissionStage::ZeroEmission) => ZERO_EMISSION,
                Some(EmissionStage::National(stage)) => u128::from(stage.min(6)),
            },
            4,
        );
        w.put(vehicle.local.map_or(0u8, |local| 1 + u8::from(local)), 2);
        w.put(vehicle.retrofit, 1);
        w.put(vehicle.states & 0x03ff_ffff, 26);
        w.put(letter(vehicle.use_nature), 5);
        let [class, second, third] = vehicle.kind;
        w.put(letter(class), 5);
        w.put(symbol(second).unwrap_or(0), 6);
        w.put(symbol(third).unwrap_or(0), 6);
        for character in vehicle.fuel_code {
            w.put(letter(character), 5);
        }
        debug_assert_eq!(w.used, 96);
        let contradictory = if vehicle.contradictory { CONTRADICTORY } else { 0 };
        Self { facts: low_bytes(w.word), vin: low_bytes(vin_word(vin) | contradictory) }
    }

    /// The facts, without the VIN.
    #[inline]
    pub fn facts(&self) -> Vehicle {
        let mut r = Reader(word(&self.facts));
        let registered = r.take(16) as i32;
        let torque = r.take(15) as u16;
        let stage = match r.take(4) {
            NO_STAGE => None,
            ZERO_EMISSION => Some(EmissionStage::ZeroEmission),
            stage => Some(EmissionStage::National(stage as u8)),
        };
        let local = match r.take(2) {
            0 => None,
            other => Some(other == 2),
        };
        let retrofit = r.take(1) == 1;
        let states = r.take(26) as u32;
        let use_nature = letter_of(r.take(5));
        let kind = [letter_of(r.take(5)), character_of(r.take(6) as u8), character_of(r.take(6) as u8)];
        let fuel_code = [letter_of(r.take(5)), letter_of(r.take(5))];
        Vehicle {
            fuel: Fuel::of_code(fuel_code),
            fuel_code,
            stage,
            kind,
            use_nature,
            states,
            registered_on: (registered != 0).then_some(registered),
            local,
            retrofit,
            reference_torque_nm: (torque != 0).then_some(torque),
            vin: None,
            contradictory: word(&self.vin) & CONTRADICTORY != 0,
        }
    }

    #[inline]
    pub fn vin(&self) -> PackedVin {
        match word(&self.vin) & !CONTRADICTORY {
            0 => PackedVin::None,
            aside if aside & VIN_ASIDE != 0 => PackedVin::Aside((aside ^ VIN_ASIDE) as u32),
            vin => PackedVin::Word(vin),
        }
    }
}

/// The word of a VIN of digits and capitals; `None` for any other character.
pub fn pack_vin(vin: &Vin) -> Option<PackedVin> {
    let mut word = 0;
    for character in vin.as_str().bytes() {
        word = (word << 6) | u128::from(symbol(character)?);
    }
    Some(PackedVin::Word(word))
}

/// Half of the time of a look-up goes here, hence the table and the two words of 64 bits: ten characters in the low
/// 60 bits, seven above.
pub fn unpack_vin(word: u128) -> Option<Vin> {
    let mut text = [0; 17];
    let (first, last) = text.split_at_mut(7);
    unpack_characters((word >> 60) as u64, first);
    unpack_characters(word as u64, last);
    Vin::from_bytes(&text)
}

#[inline]
fn unpack_characters(mut word: u64, text: &mut [u8]) {
    for character in text.iter_mut().rev() {
        *character = CHARACTERS[(word & 0x3f) as usize];
        word >>= 6;
    }
}

/// [`character_of`] for every code of six bits.
const CHARACTERS: [u8; 64] = {
    let mut table = [0; 64];
    let mut code = 0;
    while code < 64 {
        table[code as usize] = character_of(code);
        code += 1;
    }
    table
};

fn vin_word(vin: PackedVin) -> u128 {
    match vin {
        PackedVin::None => 0,
        PackedVin::Word(word) => word,
        PackedVin::Aside(place) => VIN_ASIDE | u128::from(place),
    }
}

fn low_bytes<const N: usize>(word: u128) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, source) in bytes.iter_mut().zip(word.to_le_bytes()) {
        *byte = source;
    }
    bytes
}

#[inline]
fn word(bytes: &[u8]) -> u128 {
    let mut all = [0; 16];
    if let Some(low) = all.get_mut(..bytes.len()) {
        low.copy_from_slice(bytes);
    }
    u128::from_le_bytes(all)
}

/// 1..=26 for a capital, 0 for anything else.
fn letter(character: u8) -> u8 {
    if character.is_ascii_uppercase() { character - b'A' + 1 } else { 0 }
}

fn letter_of(code: u128) -> u8 {
    match code as u8 {
        code @ 1..=26 => b'A' + code - 1,
        _ => 0,
    }
}

/// 1..=10 for digits, 11..=36 for capitals.
fn symbol(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0' + 1),
        b'A'..=b'Z' => Some(character - b'A' + 11),
        _ => None,
    }
}

const fn character_of(code: u8) -> u8 {
    match code {
        1..=10 => b'0' + code - 1,
        11..=36 => b'A' + code - 11,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_vehicle() -> impl Strategy<Value = Vehicle> {
        let code = (0..3usize, any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(n, a, b)| {
            let letters = b"ABCDEFLMNOPQYZ";
            [if n > 0 { *a.get(letters) } else { 0 }, if n > 1 { *b.get(letters) } else { 0 }]
        });
        let stage = prop::option::of(prop::sample::select(vec![0u8, 1, 2, 3, 4, 5, 6, 99]));
        let kind = prop_oneof![Just([0; 3]), "[A-Z][0-9]{2}".prop_map(|t| [0, 1, 2].map(|i| t.as_bytes()[i]))];
        let use_nature = prop_oneof![Just(0u8), b'A'..=b'Z'];
        let registered = prop::option::of(1..=65_535i32);
        let torque = prop::option::of(1..=MAX_TORQUE_NM);
        (code, stage, kind, use_nature, 0u32..1 << 26, registered, any::<Option<bool>>(), any::<[bool; 2]>(), torque)
            .prop_map(
                |(fuel_code, stage, kind, use_nature, states, registered_on, local, flags, reference_torque_nm)| {
                    let [retrofit, contradictory] = flags;
                    Vehicle {
                        fuel: Fuel::of_code(fuel_code),
                        fuel_code,
                        stage: stage.and_then(EmissionStage::from_code),
                        kind,
                        use_nature,
                        states,
                        registered_on,
                        local,
                        retrofit,
                        reference_torque_nm,
                        vin: None,
                        contradictory,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn facts_survive_packing(vehicle in any_vehicle()) {
            prop_assert_eq!(Packed::new(&vehicle, PackedVin::None).facts(), vehicle);
        }

        #[test]
        fn vins_survive_packing(text in "[0-9A-Z]{17}", vehicle in any_vehicle(), place: u32) {
            let vin = Vin::parse(&text).expect("17 characters");
            let packed_vin = pack_vin(&vin).expect("digits and capitals");
            let packed = Packed::new(&vehicle, packed_vin);
            prop_assert_eq!(packed.vin(), packed_vin);
            let PackedVin::Word(word) = packed_vin else { unreachable!("packed as a word") };
            prop_assert_eq!(unpack_vin(word), Some(vin));
            prop_assert_eq!(Packed::new(&vehicle, PackedVin::Aside(place)).vin(), PackedVin::Aside(place));
        }
    }

    #[test]
    fn a_vehicle_takes_25_bytes() {
        assert_eq!(size_of::<Packed>(), 25);
        assert_eq!(pack_vin(&Vin::parse("lower-case-and--1").expect("17 characters")), None);
    }
}
