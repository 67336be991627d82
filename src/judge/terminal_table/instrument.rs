//! The section `[instrument]`: what each channel's instrument can have measured. Every channel of every body stands there.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::{Confidence, Place};
use crate::{
    decode::{Bounds, Span},
    reading::Area,
};

pub(super) const SECTION: &str = "instrument";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    min: f64,
    max: f64,
    unit: String,
    source: String,
    /// Read for its form; who corrects the table goes by it.
    #[serde(rename = "confidence")]
    _confidence: Confidence,
}

/// Spans by channel, and what is wrong with the section, each with its line.
pub(super) fn read(
    section: Option<Spanned<toml::Value>>,
    line_of: &impl Fn(usize) -> usize,
) -> (BTreeMap<String, Span>, Vec<(usize, String)>) {
    let Some(section) = section else {
        return (BTreeMap::new(), vec![(1, format!("section [{SECTION}] is missing"))]);
    };
    let line = line_of(section.span().start);
    let entries: BTreeMap<String, Entry> = match section.into_inner().try_into() {
        Ok(entries) => entries,
        Err(error) => return (BTreeMap::new(), vec![(line, format!("{SECTION}: {}", error.message()))]),
    };
    let known: BTreeSet<&str> = Bounds::names().collect();
    let mut problems = Vec::new();
    for name in known.iter().filter(|name| !entries.contains_key(**name)) {
        problems.push(format!("{SECTION}.{name} is missing"));
    }
    for (name, entry) in &entries {
        if !known.contains(name.as_str()) {
            problems.push(format!("{SECTION} has no channel {name:?}"));
        } else if entry.unit != unit_of(name) {
            problems.push(format!("{SECTION}.{name}: unit {:?} is not {:?}", entry.unit, unit_of(name)));
        }
        if !(entry.min.is_finite() && entry.max.is_finite() && entry.min < entry.max) {
            problems.push(format!("{SECTION}.{name}: no value lies in {}..={}", entry.min, entry.max));
        }
        if entry.source.trim().is_empty() {
            problems.push(format!("{SECTION}.{name}: source is empty"));
        }
    }
    let spans = entries.into_iter().map(|(name, Entry { min, max, .. })| (name, Span { min, max })).collect();
    (spans, problems.into_iter().map(|problem| (line, problem)).collect())
}

/// A channel without a span, in a table that is refused for it, has none.
pub(super) fn bounds(place: &Place, spans: &BTreeMap<String, Span>) -> Bounds {
    let Place { min_lon, max_lon, min_lat, max_lat } = *place;
    let nothing = Span { min: f64::INFINITY, max: f64::NEG_INFINITY };
    let area = Area { min_lon, max_lon, min_lat, max_lat };
    Bounds::new(area, |name| spans.get(name).copied().unwrap_or(nothing))
}

/// The unit that a channel's name ends in; codes and ratios have none.
fn unit_of(name: &str) -> &'static str {
    const UNITS: [(&str, &str); 16] = [
        ("_kmh", "km/h"),
        ("_kpa", "kPa"),
        ("_pct", "%"),
        ("_rpm", "r/min"),
        ("_mlph", "mL/h"),
        ("_lph", "L/h"),
        ("_ppm", "ppm"),
        ("_kgph", "kg/h"),
        ("_c", "C"),
        ("_km", "km"),
        ("_l", "L"),
        ("_g", "g"),
        ("_v", "V"),
        ("_a", "A"),
        ("_k_m1", "1/m"),
        ("_mg_m3", "mg/m3"),
    ];
    // `reagent_used_g` ends in grams, `pm_mg_m3` in milligrams a cubic metre: no ending is the end of another.
    UNITS.iter().find(|(ending, _)| name.ends_with(ending)).map_or("1", |(_, unit)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{TerminalTable, terminal_table::BUILT_IN};

    fn problems(from: &str, to: &str) -> Vec<String> {
        assert!(BUILT_IN.contains(from), "{from}");
        let errors = TerminalTable::parse(&BUILT_IN.replacen(from, to, 1)).expect_err("a mistake");
        errors.0.into_iter().map(|error| error.problem).collect()
    }

    #[test]
    fn every_channel_stands_there_with_its_unit() {
        for (name, unit) in [
            ("speed_kmh", "km/h"),
            ("reagent_injection_mlph", "mL/h"),
            ("fuel_flow_lph", "L/h"),
            ("smoke_k_m1", "1/m"),
            ("pm_mg_m3", "mg/m3"),
            ("o2_upstream_ratio", "1"),
            ("odometer_km", "km"),
            ("scr_inlet_c", "C"),
        ] {
            assert_eq!(unit_of(name), unit, "{name}");
        }
        assert_eq!(
            problems("dpf_dp_kpa = {", "dpf_kpa = {"),
            ["instrument.dpf_dp_kpa is missing", "instrument has no channel \"dpf_kpa\""]
        );
        let unit = problems(
            "coolant_c = { min = -60, max = 150, unit = \"C\"",
            "coolant_c = { min = -60, max = 150, unit = \"F\"",
        );
        assert_eq!(unit, ["instrument.coolant_c: unit \"F\" is not \"C\""]);
        let nothing = problems("coolant_c = { min = -60, max = 150,", "coolant_c = { min = 150, max = -60,");
        assert_eq!(nothing, ["instrument.coolant_c: no value lies in 150..=-60"]);
        assert_eq!(problems("[instrument]", "[instruments]").len(), 2, "missing, and no rule of that name");
        assert_eq!(problems("min_lon = { value = 73,", "min_lon = { value = 140,"), ["place holds no position"]);
    }

    #[test]
    fn other_bounds_are_told_apart() {
        let wider = BUILT_IN.replacen("coolant_c = { min = -60, max = 150,", "coolant_c = { min = -60, max = 160,", 1);
        let wider = TerminalTable::parse(&wider).expect("right");
        assert_ne!(wider.fingerprint(), TerminalTable::built_in().fingerprint());
    }
}
