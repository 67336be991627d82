use super::*;
use proptest::prelude::*;

#[test]
fn legal_forms() {
    for text in [
        "鲁C12345",
        "鲁CD12345",
        "鲁C12345D",
        "鲁CF123挂",
        "鲁C1234学",
        "鲁C1234警",
        "粤Z1234港",
        "粤ZAB12澳",
        "123456使",
        "使123456",
        "沪12345领",
        "沪A1234领",
        "WJ鲁12345",
        "VA12345",
        "鲁X1234应急",
        "鲁C12345临",
    ] {
        let plate = Plate::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(plate.to_string(), text);
    }
}

#[test]
fn impossible_forms() {
    for (text, error) in [
        ("", PlateError::Empty),
        (" - ", PlateError::Empty),
        ("鲁C123", PlateError::ImpossibleForm),
        ("鲁CO2345", PlateError::HoldsOorI),
        ("鲁I12345", PlateError::HoldsOorI),
        ("鲁C1234567", PlateError::TooLong),
        ("車C12345", PlateError::UnknownCharacter),
        ("鲁C1234\0", PlateError::UnknownCharacter),
        ("12345", PlateError::ImpossibleForm),
        ("湘Z1234港", PlateError::ImpossibleForm),
    ] {
        assert_eq!(Plate::parse(text), Err(error), "{text}");
    }
}

#[test]
fn normalisation() {
    let plain = Plate::parse("鲁C12345").expect("legal");
    for text in ["鲁c12345", "鲁C·12345", "鲁 C-12345", "鲁Ｃ１２３４５", "鲁C.123 45"] {
        assert_eq!(Plate::parse(text), Ok(plain), "{text}");
    }
}

#[test]
fn a_character_is_replaced_where_that_is_a_plate() {
    let plate = Plate::parse("鲁C12345").expect("legal");
    assert_eq!(plate.replace(6, 'S'), Plate::parse("鲁C1234S").ok());
    assert_eq!(plate.replace(0, '京'), Plate::parse("京C12345").ok());
    for (place, character) in [(1, '1'), (2, 'O'), (2, '车'), (7, '1'), (9, '1'), (0, '1')] {
        assert_eq!(plate.replace(place, character), None, "{place} {character}");
    }
}

#[test]
fn colour_is_part_of_the_key() {
    let plate = Plate::parse("鲁C12345").expect("legal");
    let blue = PlateKey::new(plate, PlateColor::Blue);
    let yellow = PlateKey::new(plate, PlateColor::Yellow);
    assert_ne!(blue, yellow);
    assert_eq!(yellow.to_string(), "鲁C12345:yellow");
    assert_eq!((yellow.plate(), yellow.colour()), (plate, PlateColor::Yellow));
    assert_eq!(PlateKey::from_i64(yellow.as_i64()), Some(yellow));
    assert_eq!(PlateKey::from_i64(-1), None);
    assert_eq!(PlateKey::from_i64(0), None);
}

proptest! {
    #[test]
    fn any_text_is_refused_or_survives_the_round_trip(text in "\\PC{0,12}") {
        if let Ok(plate) = Plate::parse(&text) {
            prop_assert_eq!(Plate::parse(&plate.to_string()), Ok(plate));
        }
    }

    #[test]
    fn ordinary_plates_pack_and_unpack(text in "[京津沪鲁粤琼][A-HJ-NP-Z][A-HJ-NP-Z0-9]{5}") {
        prop_assert_eq!(Plate::parse(&text).expect("legal").to_string(), text);
    }
}
