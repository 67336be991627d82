//! TOML to table: every entry checked, every error reported at once with its line.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use toml::Spanned;

use super::{
    Bar, Business, Citation, Class, Condition, ConditionKey, EpisodeRule, InspectionKind, Interval, Limit, Limits,
    ListEffect, ListRule, Pollutant, Reset, SmokeLimit, bar,
    file::{
        BarEntry, Cited, ConditionEntry, EpisodeEntry, File, LimitEntry, ListEntry, ResetEntry, SmokeEntry, WhenMissing,
    },
};
use crate::{judge::rules, reading::Timestamp};

/// One thing wrong with the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsError {
    /// Line of the entry, from 1.
    pub line: usize,
    pub problem: String,
}

/// Everything wrong with the table, in the order of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsErrors(pub Vec<LimitsError>);

impl fmt::Display for LimitsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, error) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            write!(f, "{separator}line {}: {}", error.line, error.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for LimitsErrors {}

impl Limits {
    /// Loads a table. Fails with every error at once where an entry is malformed, a unit is not that of its pollutant or
    /// condition, or validity intervals overlap or leave a gap.
    pub fn parse(text: &str) -> Result<Self, LimitsErrors> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            LimitsErrors(vec![LimitsError { line, problem: error.message().to_owned() }])
        })?;
        let mut check = Check { text, errors: Vec::new() };
        let limits = check.limits(file.limit);
        let conditions = check.conditions(file.condition);
        let bounds = check.bounds(file.bound);
        let lists = check.lists(file.list);
        let bars = check.bars(file.bar);
        let episode = check.episode(file.episode);
        check.moved(file.nonroad);
        let smoke = check.smoke(file.smoke);
        if file.version.trim().is_empty() {
            check.report(1, "version is empty");
        }
        if !check.errors.is_empty() {
            check.errors.sort_by_key(|error| error.line);
            return Err(LimitsErrors(check.errors));
        }
        let mut index = [[(0, 0); Class::COUNT]; Pollutant::COUNT];
        let mut limited = 0;
        for (place, limit) in (0_u16..).zip(&limits) {
            let (start, length): &mut (u16, u16) = &mut index[limit.pollutant as usize][limit.class as usize];
            if *length == 0 {
                *start = place;
            }
            *length += 1;
            limited |= limit.pollutant.bit();
        }
        let version = file.version.into();
        Ok(Self { version, limits, index, limited, conditions, bounds, lists, bars, episode, smoke })
    }
}

pub(in crate::judge) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&b| b == b'\n').count() + 1
}

/// What the loaders of this table and of the vehicle rules share: dates, citations and errors with their lines.
pub(in crate::judge) struct Check<'t> {
    pub text: &'t str,
    pub errors: Vec<LimitsError>,
}

impl Check<'_> {
    /// The entry with the line it begins on.
    pub fn open<T>(&self, entry: Spanned<T>) -> (usize, T) {
        (line_of(self.text, entry.span().start), entry.into_inner())
    }

    pub fn report(&mut self, line: usize, problem: impl Into<String>) {
        self.errors.push(LimitsError { line, problem: problem.into() });
    }

    fn limits(&mut self, entries: Vec<Spanned<LimitEntry>>) -> Vec<Limit> {
        let mut found = Vec::new();
        for entry in entries {
            let (line, entry) = self.open(entry);
            let Some(pollutant) = self.pollutant(line, &entry.pollutant) else { continue };
            let Some(class) = Class::parse(&entry.class) else {
                self.report(line, format!("class {:?} is none of diesel, petrol, gas", entry.class));
                continue;
            };
            self.unit(line, &entry.unit, pollutant.unit(), pollutant.name());
            let value = self.number(line, "value", entry.value);
            let Some(interval) = self.interval(line, &entry.valid_from, entry.valid_to.as_ref()) else { continue };
            let citation = self.citation(line, entry.cited);
            found.push((line, Limit { pollutant, class, value, screening: entry.screening, interval, citation }));
        }
        found.sort_by_key(|(_, limit)| (limit.pollutant, limit.class, limit.interval.from));
        for pair in found.windows(2) {
            if let [(_, earlier), (line, later)] = pair
                && (earlier.pollutant, earlier.class) == (later.pollutant, later.class)
            {
                let what = format!("limit of {} for {}", later.pollutant.name(), later.class.name());
                self.joint(*line, &what, earlier.interval, later.interval);
            }
        }
        found.into_iter().map(|(_, limit)| limit).collect()
    }

    fn conditions(&mut self, entries: Vec<Spanned<ConditionEntry>>) -> Vec<Condition> {
        let mut found = Vec::new();
        for entry in entries {
            let (line, entry) = self.open(entry);
            if let Some(condition) = self.condition(line, entry) {
                found.push((line, condition));
            }
        }
        found.sort_by_key(|(_, condition)| (condition.key, condition.interval.from));
        for &key in ConditionKey::ALL {
            for pollutant in Pollutant::ALL {
                let series: Vec<_> =
                    found.iter().filter(|(_, c)| c.key == key && c.pollutants & pollutant.bit() != 0).collect();
                for pair in series.windows(2) {
                    if let [(_, earlier), (line, later)] = pair {
                        let what = format!("condition {} for {}", key.name(), pollutant.name());
                        self.joint(*line, &what, earlier.interval, later.interval);
                    }
                }
            }
        }
        found.into_iter().map(|(_, condition)| condition).collect()
    }

    fn condition(&mut self, line: usize, entry: ConditionEntry) -> Option<Condition> {
        let Some(key) = ConditionKey::parse(&entry.key) else {
            let known: Vec<_> = ConditionKey::ALL.iter().map(|key| key.name()).collect();
            self.report(line, format!("condition key {:?} is none of {}", entry.key, known.join(", ")));
            return None;
        };
        self.unit(line, &entry.unit, key.unit(), key.name());
        if entry.min.is_none() && entry.above.is_none() && entry.max.is_none() {
            self.report(line, "a condition needs at least one of min, above, max");
        }
        let min = entry.min.map(|value| self.number(line, "min", value));
        let above = entry.above.map(|value| self.number(line, "above", value));
        let max = entry.max.map(|value| self.number(line, "max", value));
        if max.is_some_and(|max| min.is_some_and(|min| min > max) || above.is_some_and(|above| above >= max)) {
            self.report(line, "no value can meet this condition");
        }
        if entry.applies_to.is_empty() {
            self.report(line, "applies_to names no pollutant");
        }
        let mut pollutants = 0;
        for name in &entry.applies_to {
            pollutants |= self.pollutant(line, name).map_or(0, Pollutant::bit);
        }
        let interval = self.interval(line, &entry.valid_from, entry.valid_to.as_ref())?;
        let citation = self.citation(line, entry.cited);
        let needed = entry.when_missing == WhenMissing::Invalid;
        Some(Condition { key, pollutants, min, above, max, needed, interval, citation })
    }

    fn lists(&mut self, entries: Vec<Spanned<ListEntry>>) -> Vec<ListRule> {
        let mut found: Vec<ListRule> = Vec::new();
        for entry in entries {
            let (line, entry) = self.open(entry);
            if [&entry.name, &entry.rule, &entry.source].iter().any(|text| text.trim().is_empty()) {
                self.report(line, "a list needs a name, a rule and a source");
                continue;
            }
            if found.iter().any(|rule| *rule.list == *entry.name) {
                self.report(line, format!("list {:?} has an entry further up already: keep one of them", entry.name));
                continue;
            }
            if entry.intercept && entry.effect == ListEffect::Review {
                self.report(line, "a list with effect review cannot ask for an intercept");
            }
            if rules::OWN_RULES.contains(&&*entry.rule) {
                self.report(line, format!("rule {:?} belongs to the table of vehicle rules", entry.rule));
            }
            let rule = rule_name(&entry.rule);
            found.push(ListRule { list: entry.name.into(), rule, effect: entry.effect, intercept: entry.intercept });
        }
        found
    }

    fn episode(&mut self, entry: Spanned<EpisodeEntry>) -> EpisodeRule {
        let (line, entry) = self.open(entry);
        if !(2..=100).contains(&entry.tests) {
            self.report(line, "tests must be 2 to 100: one test is no series");
        }
        // Stored tests are kept for two years.
        if !(1..=24).contains(&entry.months) {
            self.report(line, "months must be 1 to 24");
        }
        let reset = entry.reset.map(|reset| self.reset(reset));
        let citation = self.citation(line, entry.cited);
        EpisodeRule { tests: entry.tests as usize, months: entry.months, citation, reset }
    }

    fn reset(&mut self, entry: Spanned<ResetEntry>) -> Reset {
        let (line, entry) = self.open(entry);
        let mut kinds = Vec::new();
        for name in &entry.kinds {
            match InspectionKind::parse(name) {
                Some(kind) => kinds.push(kind),
                None => {
                    let known = InspectionKind::ALL.map(InspectionKind::name).join(", ");
                    self.report(line, format!("kind {name:?} is none of {known}"));
                }
            }
        }
        Reset { kinds, citation: self.citation(line, entry.cited) }
    }

    fn bars(&mut self, entries: Vec<Spanned<BarEntry>>) -> Vec<Bar> {
        let mut found: Vec<Bar> = Vec::new();
        for entry in entries {
            let (line, entry) = self.open(entry);
            if entry.list.trim().is_empty() || entry.bars.is_empty() {
                self.report(line, "a bar needs a list and what it bars from");
            }
            let mut bars = Vec::new();
            for name in &entry.bars {
                match Business::parse(name) {
                    Some(business) => bars.push(business),
                    None => {
                        let known = Business::ALL.map(Business::name).join(", ");
                        self.report(line, format!("{name:?} is none of {known}"));
                    }
                }
            }
            let fuels = entry.fuel.unwrap_or_default();
            for fuel in &fuels {
                if !bar::FUELS.iter().any(|(name, _)| name == fuel) {
                    let known = bar::FUELS.map(|(name, _)| name).join(", ");
                    self.report(line, format!("fuel {fuel:?} is none of {known}"));
                }
            }
            if entry.max_stage.is_some_and(|stage| stage > 6) {
                self.report(line, "max_stage must be 0 to 6");
            }
            found.push(Bar {
                list: entry.list.into(),
                bars,
                fuels: fuels.into_iter().map(Into::into).collect(),
                max_stage: entry.max_stage,
                trucks_only: entry.truck.unwrap_or(false),
                operating_only: entry.operating.unwrap_or(false),
                citation: self.citation(line, entry.cited),
            });
        }
        found
    }

    /// A table of an older form of this file. To pass it over would mean another stage than the one written there.
    fn moved(&mut self, nonroad: Option<Spanned<toml::Table>>) {
        let Some(nonroad) = nonroad else { return };
        let (line, _) = self.open(nonroad);
        self.report(
            line,
            "[nonroad] has moved to the table of rules: [[rule.R11]], min_stage under [rule.R11.parameters]",
        );
    }

    fn smoke(&mut self, entries: Vec<Spanned<SmokeEntry>>) -> Vec<SmokeLimit> {
        let mut found: Vec<(usize, SmokeLimit)> = Vec::new();
        for entry in entries {
            let (line, entry) = self.open(entry);
            if !(1..=3).contains(&entry.class) {
                self.report(line, "class must be 1 to 3");
            }
            let watts = |kw: f64| (kw * 1000.0).round() as u32;
            let last = match (entry.power_below_kw, entry.power_up_to_kw) {
                (Some(below), None) => watts(below).saturating_sub(1),
                (None, Some(up_to)) => watts(up_to),
                _ => {
                    self.report(line, "a band of power needs either power_below_kw or power_up_to_kw");
                    continue;
                }
            };
            let power_w = (watts(entry.power_from_kw), last);
            if power_w.0 > power_w.1 || entry.power_from_kw < 0.0 {
                self.report(line, "no power lies in this band");
            }
            if !entry.k_m1.is_finite() || entry.k_m1 <= 0.0 {
                self.report(line, "k_m1 is not a positive number");
            }
            let Some(interval) = self.interval(line, &entry.valid_from, entry.valid_to.as_ref()) else { continue };
            let citation = self.citation(line, entry.cited);
            found.push((line, SmokeLimit { class: entry.class, power_w, k_m1: entry.k_m1, interval, citation }));
        }
        found.sort_by_key(|(_, limit)| (limit.class, limit.power_w, limit.interval.from));
        for pair in found.windows(2) {
            let [(_, one), (line, other)] = pair else { continue };
            if one.class != other.class {
                continue;
            }
            let what = format!("smoke limit of class {}", one.class);
            if one.power_w == other.power_w {
                self.joint(*line, &what, one.interval, other.interval);
            } else if one.power_w.1.saturating_add(1) != other.power_w.0 {
                self.report(*line, format!("gap or overlap in the powers of the {what}"));
            }
        }
        found.into_iter().map(|(_, limit)| limit).collect()
    }

    fn pollutant(&mut self, line: usize, name: &str) -> Option<Pollutant> {
        let pollutant = Pollutant::parse(name);
        if pollutant.is_none() {
            let known = Pollutant::ALL.map(Pollutant::name).join(", ");
            self.report(line, format!("pollutant {name:?} is none of {known}"));
        }
        pollutant
    }

    pub(super) fn unit(&mut self, line: usize, unit: &str, expected: &str, what: &str) {
        if unit != expected {
            self.report(line, format!("unit {unit:?} is not that of {what}, which is {expected:?}"));
        }
    }

    pub(super) fn number(&mut self, line: usize, what: &str, value: f64) -> f32 {
        let single = value as f32;
        if !single.is_finite() {
            self.report(line, format!("{what} is not a finite number"));
        }
        single
    }

    pub fn interval(
        &mut self,
        line: usize,
        from: &toml::value::Datetime,
        to: Option<&toml::value::Datetime>,
    ) -> Option<Interval> {
        let Some(from) = day(from) else {
            self.report(line, "valid_from is not a day");
            return None;
        };
        let to = match to.map(day) {
            Some(None) => {
                self.report(line, "valid_to is not a day");
                return None;
            }
            Some(Some(to)) => Some(to),
            None => None,
        };
        if to.is_some_and(|to| to <= from) {
            self.report(line, "valid_to is not after valid_from");
        }
        Some(Interval { from, to })
    }

    /// Two entries of one series that follow each other in time must meet exactly.
    pub fn joint(&mut self, line: usize, what: &str, earlier: Interval, later: Interval) {
        match earlier.to {
            Some(end) if end == later.from => {}
            Some(end) if end < later.from => {
                self.report(line, format!("gap in the {what} from {} to {}", end.china_day(), later.from.china_day()));
            }
            _ => self.report(line, format!("overlap in the {what} from {}", later.from.china_day())),
        }
    }

    pub fn citation(&mut self, line: usize, cited: Cited) -> Citation {
        for (name, text) in [("standard", &cited.standard), ("clause", &cited.clause), ("source", &cited.source)] {
            if text.trim().is_empty() {
                self.report(line, format!("{name} is empty"));
            }
        }
        Citation {
            standard: cited.standard.into(),
            clause: cited.clause.into(),
            source: cited.source.into(),
            confidence: cited.confidence,
        }
    }
}

/// Start of a day in China; `None` for anything with a time of day.
pub(in crate::judge) fn day(value: &toml::value::Datetime) -> Option<Timestamp> {
    if value.time.is_some() || value.offset.is_some() {
        return None;
    }
    let date = value.date?;
    Timestamp::from_china(i32::from(date.year), u32::from(date.month), u32::from(date.day), 0, 0, 0)
}

/// Rule names live as long as the program, because findings carry them by reference. Each name is kept once, however
/// often tables are loaded.
fn rule_name(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    kept
}
