use super::*;

fn problems(from: &str, to: &str) -> Vec<String> {
    assert!(BUILT_IN.contains(from), "{from}");
    let errors = TerminalTable::parse(&BUILT_IN.replacen(from, to, 1)).expect_err("a mistake");
    errors.0.into_iter().map(|error| error.problem).collect()
}

#[test]
fn the_built_in_table_is_right() {
    let table = TerminalTable::parse(BUILT_IN).expect("right");
    assert_eq!(table.numbers.scr_efficiency.min_efficiency_pct, 50.0);
    assert!(AlarmRule::ALL.iter().all(|&rule| table.is_on(rule) && table.shown(rule).is_object()));
}

#[test]
fn every_mistake_is_told() {
    let efficiency = "min_efficiency_pct = { value = 50, unit = \"%\"";
    let over = problems(efficiency, "min_efficiency_pct = { value = 101, unit = \"%\"");
    assert_eq!(over, ["scr_efficiency.min_efficiency_pct: 101 is outside 0..=100"]);
    let nan = problems(efficiency, "min_efficiency_pct = { value = nan, unit = \"%\"");
    assert_eq!(nan, ["scr_efficiency.min_efficiency_pct: NaN is outside 0..=100"]);
    let unit = problems(efficiency, "min_efficiency_pct = { value = 50, unit = \"1\"");
    assert_eq!(unit, ["scr_efficiency.min_efficiency_pct: unit \"1\" is not \"%\""]);
    let renamed = problems("min_efficiency_pct", "efficiency");
    assert_eq!(
        renamed,
        ["scr_efficiency has no number \"efficiency\"", "scr_efficiency.min_efficiency_pct is missing"]
    );
    assert_eq!(
        problems("[silence]", "[silent]"),
        ["section [silence] is missing", "section \"silent\" is no rule of terminals"]
    );
    assert_eq!(problems("[record]", "[record]\nenabled = true"), ["record is no rule to switch"]);
}

#[test]
fn a_rule_can_be_switched_off_and_other_numbers_are_told_apart() {
    let table = TerminalTable::built_in();
    let off = TerminalTable::parse(&BUILT_IN.replacen("[silence]\nenabled = true", "[silence]\nenabled = false", 1));
    let off = off.expect("right");
    assert!(!off.is_on(AlarmRule::Silence) && off.is_on(AlarmRule::PacketLoss));
    assert_eq!(off.fingerprint(), table.fingerprint());
    let other = TerminalTable::parse(&BUILT_IN.replacen("value = 50,", "value = 51,", 1)).expect("right");
    assert_ne!(other.fingerprint(), table.fingerprint());
}
