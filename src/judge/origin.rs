//! Whether a vehicle is of this place: what the register says, else what its plate begins with.

use super::RuleBook;
use crate::{
    reading::{
        Plate,
        passage::{Passage, PlateReading},
    },
    vehicle::facts::VehicleMatch,
};

/// `None` where neither tells: an unread plate, one without a province (military, embassy), or no prefix configured.
/// A vehicle of another town stands under the same limits; it is only marked.
pub fn is_local(passage: &Passage, matched: &VehicleMatch, book: &RuleBook) -> Option<bool> {
    if let Some(local) = matched.vehicle.and_then(|vehicle| vehicle.local) {
        return Some(local);
    }
    match passage.plate {
        PlateReading::Unread => None,
        PlateReading::Read(plate) => by_prefix(plate, &book.settings.plates.local_prefixes),
    }
}

fn by_prefix(plate: Plate, prefixes: &[String]) -> Option<bool> {
    let of_a_province = plate.characters().next().is_some_and(|first| !first.is_ascii() && first != '使');
    if prefixes.is_empty() || !of_a_province {
        return None;
    }
    let mut text = [0; 24];
    let text = plate.encode(&mut text);
    Some(prefixes.iter().any(|prefix| text.starts_with(prefix.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        judge::tests::{book, matched, passage_with, stranger, truck},
        vehicle::facts::Vehicle,
    };
    use serde_json::json;

    #[test]
    fn the_register_comes_before_the_prefix() {
        let local = |plate: &str, vehicle| is_local(&passage_with(json!({ "plate": plate })), &vehicle, &book());
        assert_eq!(local("鲁C12345", stranger()), Some(true));
        assert_eq!(local("鲁G12345", stranger()), Some(false));
        assert_eq!(local("京C12345", stranger()), Some(false));
        assert_eq!(local("VA12345", stranger()), None);
        assert_eq!(local("使123456", stranger()), None);
        assert_eq!(local("鲁G12345", matched(truck(), &[])), Some(true));
        let silent = Vehicle { local: None, ..truck() };
        assert_eq!(local("鲁G12345", matched(silent, &[])), Some(false));
        let unread = passage_with(json!({"plate": null}));
        assert_eq!(is_local(&unread, &stranger(), &book()), None);
    }
}
