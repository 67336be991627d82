//! When a machine's reading is not enough and a person must look (design invariant 8).

use smallvec::SmallVec;

use super::{RuleBook, rules::china_day};
use crate::{
    reading::passage::Passage,
    vehicle::facts::{MatchKind, Vehicle, VehicleMatch},
};

/// The register's rows about the vehicle contradict each other or themselves.
pub const REGISTER_CONTRADICTORY: &str = "register_contradictory";

/// The plate was given to the registered vehicle after the passage, so that another one may have carried it then.
pub const REGISTERED_AFTER_PASSAGE: &str = "registered_after_passage";

/// The plate was read with `O` or `I`, which no plate has, and taken for the one with 0 or 1.
pub const PLATE_FOLDED: &str = "plate_folded";

/// Why findings about this passage wait for a person; empty when they need not.
///
/// A recognition confidence that was not sent is treated like a low one: a rig that does not say how sure it is has not
/// said that it is sure.
pub(super) fn reasons(passage: &Passage, matched: &VehicleMatch, book: &RuleBook) -> SmallVec<[&'static str; 2]> {
    let mut why = SmallVec::new();
    match passage.plate_confidence {
        None => why.push("plate_confidence_missing"),
        Some(confidence) if confidence < book.settings.plate_confidence_min => why.push("plate_confidence_low"),
        Some(_) => {}
    }
    if passage.plate_as_read.is_some() {
        why.push(PLATE_FOLDED);
    }
    if matched.kind != MatchKind::Exact {
        why.push("match_not_exact");
    }
    if matched.vehicle.is_some_and(|vehicle| vehicle.contradictory) {
        why.push(REGISTER_CONTRADICTORY);
    }
    if matched.vehicle.and_then(|vehicle| vehicle.registered_on).is_some_and(|day| china_day(passage.passed_at) < day) {
        why.push(REGISTERED_AFTER_PASSAGE);
    }
    if let (Some(hint), Some(vehicle)) = (&passage.vehicle_kind_hint, &matched.vehicle)
        && contradicts(hint, vehicle)
    {
        why.push("vehicle_kind_contradicts_register");
    }
    why
}

/// Build of a vehicle as far as a camera can tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// Trucks, tractors of semi-trailers and their trailers: a camera sees either end of the combination.
    Goods,
    Passenger,
    Motorcycle,
    /// Wheeled machinery and farm tractors.
    Machine,
}

/// Build by GA/T 16.4 code. Special-purpose vehicles (`Z`) are built on any chassis, so nothing contradicts them.
fn build_of_code(letter: u8) -> Option<Build> {
    match letter {
        b'H' | b'Q' | b'B' | b'G' | b'N' => Some(Build::Goods),
        b'K' => Some(Build::Passenger),
        b'M' => Some(Build::Motorcycle),
        b'J' | b'T' => Some(Build::Machine),
        _ => None,
    }
}

/// Build by what a rig wrote: a GA/T 16.4 code (`H11`) or a word. `None` for anything not understood, which then
/// contradicts nothing.
pub(super) fn build_of_hint(hint: &str) -> Option<Build> {
    let bytes = hint.as_bytes();
    if let [letter @ b'A'..=b'Z', b'0'..=b'9', rest @ ..] = bytes
        && rest.len() <= 1
        && rest.iter().all(u8::is_ascii_digit)
    {
        return build_of_code(*letter);
    }
    let hint = hint.to_ascii_lowercase();
    let names = |words: &[&str]| words.iter().any(|word| hint.contains(word));
    // Motorcycles and machines first: `farm_tractor` is no semi-trailer tractor, `motorcycle` no car.
    if names(&["motorcycle", "摩托"]) {
        Some(Build::Motorcycle)
    } else if names(&["machine", "excavator", "farm_tractor", "拖拉机", "机械"]) {
        Some(Build::Machine)
    } else if names(&["truck", "lorry", "tractor", "trailer", "goods", "货", "牵引", "挂车"]) {
        Some(Build::Goods)
    } else if names(&["car", "bus", "coach", "passenger", "suv", "van", "客", "轿"]) {
        Some(Build::Passenger)
    } else {
        None
    }
}

fn contradicts(hint: &str, vehicle: &Vehicle) -> bool {
    let registered = vehicle.kind.first().copied().and_then(build_of_code);
    matches!((build_of_hint(hint), registered), (Some(seen), Some(registered)) if seen != registered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_codes_or_words() {
        assert_eq!(build_of_hint("H11"), Some(Build::Goods));
        assert_eq!(build_of_hint("K33"), Some(Build::Passenger));
        assert_eq!(build_of_hint("Z11"), None);
        assert_eq!(build_of_hint("heavy_truck"), Some(Build::Goods));
        assert_eq!(build_of_hint("重型货车"), Some(Build::Goods));
        assert_eq!(build_of_hint("小型轿车"), Some(Build::Passenger));
        assert_eq!(build_of_hint("motorcycle"), Some(Build::Motorcycle));
        assert_eq!(build_of_hint("farm_tractor"), Some(Build::Machine));
        assert_eq!(build_of_hint("cargo_van"), Some(Build::Passenger), "documented weakness: words, not grammar");
        assert_eq!(build_of_hint(""), None);
        assert_eq!(build_of_hint("H"), None);
    }
}
