//! The table of terminal alarms, `schemas/terminal.toml`: which are on, and every number they go by with its source.
//!
//! Invariants of a loaded table, all checked by [`TerminalTable::parse`]: every rule stands there with exactly its numbers,
//! each finite, in its unit and within its bounds. The macro below is the list of them; it makes the typed form
//! ([`Thresholds`]) and the checks from one line a number, so that neither can know a number the other does not.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;

use super::limits::{Confidence, LimitsError, LimitsErrors};
use crate::decode::Bounds;

mod instrument;

/// The table built into the program.
pub const BUILT_IN: &str = include_str!("../../schemas/terminal.toml");

struct Spec {
    key: &'static str,
    unit: &'static str,
    min: f64,
    max: f64,
}

macro_rules! sections {
    ($($(#[$doc:meta])* $section:ident: $kind:ident { $($key:ident: $unit:literal, $min:literal, $max:literal;)+ })+) => {
        $($(#[$doc])* #[derive(Clone, Copy, Debug, PartialEq)] pub struct $kind { $(pub $key: f64,)+ })+

        /// Every number of the table by its section.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct Thresholds { $(pub $section: $kind,)+ }

        const SECTIONS: &[(&str, &[Spec])] = &[
            $((stringify!($section), &[$(Spec { key: stringify!($key), unit: $unit, min: $min, max: $max }),+])),+
        ];

        impl Thresholds {
            fn gather(number: impl Fn(&str, &str) -> f64) -> Self {
                Self { $($section: $kind { $($key: number(stringify!($section), stringify!($key)),)+ },)+ }
            }
        }
    };
}

sections! {
    place: Place {
        min_lon: "deg", -180.0, 180.0;
        max_lon: "deg", -180.0, 180.0;
        min_lat: "deg", -90.0, 90.0;
        max_lat: "deg", -90.0, 90.0;
    }
    parts: Parts {
        filter_from_stage: "1", 0.0, 7.0;
        reagent_from_stage: "1", 0.0, 7.0;
    }
    evaluation: Evaluation { delay_seconds: "s", 0.0, 86_400.0; }
    record: Record {
        above_rpm: "r/min", 0.0, 10_000.0;
        min_coolant_c: "C", -40.0, 200.0;
        min_scr_inlet_c: "C", -40.0, 1_000.0;
        hold_seconds: "s", 1.0, 60.0;
    }
    scr_efficiency: ScrEfficiency {
        min_efficiency_pct: "%", 0.0, 100.0;
        min_upstream_ppm: "ppm", 1.0, 3_000.0;
        min_seconds: "s", 1.0, 600.0;
        windows: "1", 1.0, 144.0;
    }
    nox_specific: NoxSpecific {
        limit_stage_6_g_kwh: "g/kWh", 0.0, 100.0;
        limit_stage_5_g_kwh: "g/kWh", 0.0, 100.0;
        nox_g_per_ppm_kg: "g/(ppm kg)", 0.0, 1.0;
        fuel_kg_per_l: "kg/L", 0.1, 2.0;
        min_work_kwh: "kWh", 0.01, 1_000.0;
        min_seconds: "s", 1.0, 600.0;
        windows: "1", 1.0, 144.0;
    }
    reagent_low: ReagentLow {
        min_level_pct: "%", 0.0, 100.0;
        min_seconds: "s", 1.0, 600.0;
        windows: "1", 1.0, 144.0;
    }
    reagent_frozen: ReagentFrozen { fuel_burned_l: "L", 0.1, 10_000.0; }
    dpf_pressure: DpfPressure {
        max_pressure_kpa: "kPa", 0.0, 100.0;
        above_rpm: "r/min", 0.0, 10_000.0;
        min_seconds: "s", 1.0, 600.0;
        windows: "1", 1.0, 144.0;
    }
    sensor_stuck: SensorStuck {
        min_seconds: "s", 2.0, 86_400.0;
        rpm_spread: "r/min", 1.0, 10_000.0;
        torque_spread_pct: "%", 1.0, 250.0;
    }
    clock_drift: ClockDrift {
        ahead_seconds: "s", 1.0, 86_400.0;
        behind_seconds: "s", 1.0, 864_000.0;
        min_packets: "1", 1.0, 10_000.0;
        windows_ahead: "1", 1.0, 144.0;
        windows_behind: "1", 1.0, 144.0;
    }
    odometer_jump: OdometerJump {
        back_km: "km", 0.1, 100_000.0;
        forward_km: "km", 0.1, 100_000.0;
        max_speed_kmh: "km/h", 1.0, 10_000.0;
    }
    position_jump: PositionJump {
        min_km: "km", 0.1, 10_000.0;
        max_speed_kmh: "km/h", 1.0, 10_000.0;
    }
    packet_loss: PacketLoss {
        max_loss_pct: "%", 0.0, 100.0;
        min_packets: "1", 1.0, 65_531.0;
        max_gap: "1", 1.0, 65_530.0;
        online_gap_seconds: "s", 1.0, 3_600.0;
    }
    silence: Silence {
        // More than a window, because of a window's packets only the first and the last are known; less than a day,
        // because no more than the neighbouring days are looked at.
        around_minutes: "min", 11.0, 720.0;
        settle_hours: "h", 0.0, 9_600.0;
    }
}

/// An alarm that the evaluator makes from the stored records of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmRule {
    ScrEfficiency,
    NoxSpecific,
    ReagentLow,
    ReagentFrozen,
    DpfPressure,
    SensorStuck,
    ClockDrift,
    OdometerJump,
    PositionJump,
    PacketLoss,
    Silence,
}

impl AlarmRule {
    pub const ALL: [AlarmRule; 11] = [
        Self::ScrEfficiency,
        Self::NoxSpecific,
        Self::ReagentLow,
        Self::ReagentFrozen,
        Self::DpfPressure,
        Self::SensorStuck,
        Self::ClockDrift,
        Self::OdometerJump,
        Self::PositionJump,
        Self::PacketLoss,
        Self::Silence,
    ];

    /// The rule's name in findings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScrEfficiency => "terminal.scr_efficiency_low",
            Self::NoxSpecific => "terminal.nox_specific_high",
            Self::ReagentLow => "terminal.reagent_low",
            Self::ReagentFrozen => "terminal.reagent_frozen",
            Self::DpfPressure => "terminal.dpf_pressure_impossible",
            Self::SensorStuck => "terminal.sensor_stuck",
            Self::ClockDrift => "terminal.clock_drift",
            Self::OdometerJump => "terminal.odometer_jump",
            Self::PositionJump => "terminal.position_jump",
            Self::PacketLoss => "terminal.packet_loss",
            Self::Silence => "terminal.silent_while_seen",
        }
    }

    const fn section(self) -> &'static str {
        match self {
            Self::ScrEfficiency => "scr_efficiency",
            Self::NoxSpecific => "nox_specific",
            Self::ReagentLow => "reagent_low",
            Self::ReagentFrozen => "reagent_frozen",
            Self::DpfPressure => "dpf_pressure",
            Self::SensorStuck => "sensor_stuck",
            Self::ClockDrift => "clock_drift",
            Self::OdometerJump => "odometer_jump",
            Self::PositionJump => "position_jump",
            Self::PacketLoss => "packet_loss",
            Self::Silence => "silence",
        }
    }
}

/// A loaded table. Immutable.
#[derive(Clone, Debug)]
pub struct TerminalTable {
    pub numbers: Thresholds,
    version: Box<str>,
    off: Vec<AlarmRule>,
    /// Every section as findings show it: each number with unit, source and confidence.
    shown: BTreeMap<&'static str, Value>,
    bounds: Bounds,
    fingerprint: i64,
}

#[derive(Deserialize)]
struct Number {
    value: f64,
    unit: String,
    source: String,
    confidence: Confidence,
}

#[derive(Deserialize)]
struct Section {
    enabled: Option<bool>,
    #[serde(flatten)]
    numbers: BTreeMap<String, Number>,
}

impl TerminalTable {
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in table of terminal alarms is right, which a test shows")
    }

    /// Loads a table. Fails with every error at once, each with the line of its section.
    pub fn parse(text: &str) -> Result<Self, LimitsErrors> {
        let line_of = |offset: usize| text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1;
        let mut file: BTreeMap<String, Spanned<toml::Value>> = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            LimitsErrors(vec![LimitsError { line, problem: error.message().to_owned() }])
        })?;
        let mut errors = Vec::new();
        let mut report = |line: usize, problem: String| errors.push(LimitsError { line, problem });
        let version = file.remove("version").and_then(|value| value.into_inner().as_str().map(str::to_owned));
        let version = version.unwrap_or_default();
        if version.trim().is_empty() {
            report(1, "version is empty".into());
        }
        let (spans, problems) = instrument::read(file.remove(instrument::SECTION), &line_of);
        problems.into_iter().for_each(|(line, problem)| report(line, problem));
        let mut sections: BTreeMap<&str, Section> = BTreeMap::new();
        for (name, section) in file {
            let line = line_of(section.span().start);
            // Spans do not come through a flattened map, so each section is read by itself.
            let section: Section = match section.into_inner().try_into() {
                Ok(section) => section,
                Err(error) => {
                    report(line, format!("{name}: {}", error.message()));
                    continue;
                }
            };
            match SECTIONS.iter().find(|(known, _)| *known == name) {
                None => report(line, format!("section {name:?} is no rule of terminals")),
                Some((known, specs)) => {
                    let problems = check(known, specs, &section);
                    problems.into_iter().for_each(|problem| report(line, problem));
                    sections.insert(known, section);
                }
            }
        }
        for (name, _) in SECTIONS.iter().filter(|(name, _)| !sections.contains_key(name)) {
            report(1, format!("section [{name}] is missing"));
        }
        let number = |section: &str, key: &str| {
            sections.get(section).and_then(|section| section.numbers.get(key)).map_or(0.0, |number| number.value)
        };
        let numbers = Thresholds::gather(number);
        let bounds = instrument::bounds(&numbers.place, &spans);
        if errors.is_empty()
            && (bounds.area.min_lon >= bounds.area.max_lon || bounds.area.min_lat >= bounds.area.max_lat)
        {
            errors.push(LimitsError { line: 1, problem: "place holds no position".into() });
        }
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.line);
            return Err(LimitsErrors(errors));
        }
        let mut values: Vec<u8> =
            spans.values().flat_map(|span| [span.min, span.max]).flat_map(f64::to_be_bytes).collect();
        for (section, specs) in SECTIONS {
            values.extend(specs.iter().flat_map(|spec| number(section, spec.key).to_bits().to_be_bytes()));
        }
        let is_on = |rule: &AlarmRule| sections.get(rule.section()).is_none_or(|s| s.enabled != Some(false));
        Ok(Self {
            numbers,
            version: version.into(),
            off: AlarmRule::ALL.into_iter().filter(|rule| !is_on(rule)).collect(),
            shown: sections.iter().filter_map(|(name, section)| Some((known(name)?, shown(section)))).collect(),
            bounds,
            fingerprint: xxhash_rust::xxh3::xxh3_64(&values) as i64,
        })
    }

    pub fn is_on(&self, rule: AlarmRule) -> bool {
        !self.off.contains(&rule)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the instruments can have measured, and where.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The numbers of a rule as its findings show them.
    pub fn shown(&self, rule: AlarmRule) -> &Value {
        self.shown.get(rule.section()).unwrap_or(&Value::Null)
    }

    /// Tells facts computed with other numbers.
    pub fn fingerprint(&self) -> i64 {
        self.fingerprint
    }
}

fn known(name: &str) -> Option<&'static str> {
    SECTIONS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

fn check(name: &str, specs: &[Spec], section: &Section) -> Vec<String> {
    let mut problems = Vec::new();
    for key in section.numbers.keys().filter(|key| specs.iter().all(|spec| spec.key != **key)) {
        problems.push(format!("{name} has no number {key:?}"));
    }
    if section.enabled.is_some() && AlarmRule::ALL.iter().all(|rule| rule.section() != name) {
        problems.push(format!("{name} is no rule to switch"));
    }
    for Spec { key, unit, min, max } in specs {
        let Some(number) = section.numbers.get(*key) else {
            problems.push(format!("{name}.{key} is missing"));
            continue;
        };
        if !(*min..=*max).contains(&number.value) {
            problems.push(format!("{name}.{key}: {} is outside {min}..={max}", number.value));
        }
        if number.unit != *unit {
            problems.push(format!("{name}.{key}: unit {:?} is not {unit:?}", number.unit));
        }
        if number.source.trim().is_empty() {
            problems.push(format!("{name}.{key}: source is empty"));
        }
    }
    problems
}

fn shown(section: &Section) -> Value {
    let number = |number: &Number| {
        json!({
            "value": number.value, "unit": number.unit, "source": number.source, "confidence": number.confidence,
        })
    };
    section.numbers.iter().map(|(key, each)| (key.clone(), number(each))).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests;
