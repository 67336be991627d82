//! R5: a vehicle that has reached the service life of its kind and use.
//!
//! Service life is counted in calendar years from the day of first registration; it is reached on the day of that date.
//! Some rows depend on what the register does not hold (cylinders, whether a special vehicle carries loads): between the
//! shorter and the longer life the rule is undetermined and names it.
//!
//! A vehicle that changed its use has a life between those of both uses, and the register does not hold the one it had. So
//! where the lives of its kind differ by use, the rule is undetermined from the shortest of them on. No change of use gives a
//! truck more years than the longest of its kind (UNSOURCED-high), so that one past it is past its own; of passenger
//! vehicles, whose lives the standard computes from both uses, the rule never fires.
//!
//! A vehicle of unknown use, or unknown kind, may have any of several lives. Before the shortest of them the rule is clear,
//! past all of them it fires, and in between it is undetermined.

use chrono::NaiveDate;
use serde::Deserialize;
use smallvec::SmallVec;

use super::{
    Case, Grounds, RuleOutcome, Rules, china_day,
    classes::letters,
    kinds::{Candidates, Found, KindTable, RawRow, Row},
};
use crate::{reading::calendar::after_years, vehicle::facts::Vehicle};

pub const NAME: &str = "R5.scrap_age_on_road";

/// As the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Uses that a vehicle changed to, for which one row is not enough.
    changed_uses: Vec<String>,
    lives: Vec<Life>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Life {
    name: String,
    kinds: Vec<String>,
    #[serde(default)]
    uses: Vec<String>,
    /// Left out: no limit in years.
    years: Option<u16>,
    /// From here on the life depends on `depends_on`, up to `years`.
    years_at_least: Option<u16>,
    depends_on: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Parameters {
    /// Bits of use letters.
    changed_uses: u32,
    lives: KindTable<Years>,
}

/// Service life of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Years {
    years: Option<u16>,
    unsure: Option<(u16, &'static str)>,
}

impl Table {
    pub(super) fn build(self, problems: &mut Vec<String>) -> Parameters {
        let mut rows = Vec::new();
        for life in &self.lives {
            let unsure = match (life.years_at_least, life.depends_on.as_deref()) {
                (None, None) => None,
                (Some(from), Some("cylinders")) => Some((from, "cylinders")),
                (Some(from), Some("carries_load")) => Some((from, "carries_load")),
                _ => {
                    problems.push("years_at_least goes with depends_on = \"cylinders\" or \"carries_load\"".to_owned());
                    None
                }
            };
            let longest = life.years.unwrap_or(u16::MAX);
            if life.years == Some(0) || life.years.is_some_and(|years| years > 100) {
                problems.push(format!("years of {} must be 1 to 100", life.name));
            }
            if unsure.is_some_and(|(from, _)| from == 0 || from >= longest) {
                problems.push(format!("years_at_least of {} must be below years", life.name));
            }
            let value = Years { years: life.years, unsure };
            rows.push(RawRow { name: &life.name, kinds: &life.kinds, uses: &life.uses, value });
        }
        let lives = KindTable::new(rows, problems);
        Parameters { changed_uses: letters(&self.changed_uses, problems), lives }
    }
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters, rules: &Rules) -> RuleOutcome<'m> {
    let vehicle = match case.vehicle() {
        Ok(vehicle) => vehicle,
        Err(missing) => return RuleOutcome::Undetermined(missing),
    };
    let found = match parameters.lives.find(vehicle) {
        Found::Row(row) if parameters.is_changed(vehicle.use_nature) => parameters.of_both_uses(vehicle, row, rules),
        Found::Row(row) => Candidates::one(row),
        Found::None => return RuleOutcome::NotApplicable,
        // A kind that nobody registered, and a use before the present one.
        Found::Some(found) if parameters.is_changed(vehicle.use_nature) => {
            Candidates { missing: found.missing, ..parameters.lives.all() }
        }
        Found::Some(mut found) => {
            // One of the uses that nobody registered may be a changed one.
            found.perhaps_none |= parameters.changed_uses != 0 && rules.classes.is_truck(vehicle) != Some(true);
            found
        }
    };
    let Some(shortest) = found.rows.iter().filter_map(|row| row.value.shortest()).min() else {
        return RuleOutcome::Clear;
    };
    let Some(registered) = vehicle.registered_on else {
        let is_open = found.missing != USE_HISTORY && found.differ(None, |row| Some(row.value));
        return RuleOutcome::Undetermined(if is_open { found.missing } else { "registered_on" });
    };
    let today = china_day(case.passage.passed_at);
    // A year has at least 365 days, so most vehicles are done without a calendar.
    if today < registered.saturating_add(365 * i32::from(shortest)) {
        return RuleOutcome::Clear;
    }
    let reached = |years: u16| end_of_life(registered, years).is_some_and(|end| end.to_epoch_days() <= today);
    // Whether it may be past its life, and whether it is.
    let is_past = |row: &Row<Years>| [row.value.shortest(), row.value.years].map(|years| years.is_some_and(reached));
    let longest = found.rows.iter().max_by_key(|row| row.value.years.unwrap_or(u16::MAX));
    match longest.filter(|longest| !found.perhaps_none && is_past(longest)[1]) {
        Some(row) => fired(row, registered),
        None if found.rows.iter().all(|row| !is_past(row)[0]) => RuleOutcome::Clear,
        None if found.differ([false; 2], is_past) => RuleOutcome::Undetermined(found.missing),
        None => {
            let unsure = found.rows.iter().find_map(|row| row.value.unsure);
            unsure.map_or(RuleOutcome::Clear, |(_, missing)| RuleOutcome::Undetermined(missing))
        }
    }
}

fn fired<'m>(row: &Row<Years>, registered: i32) -> RuleOutcome<'m> {
    let years = row.value.years;
    let reached_on = years.and_then(|years| end_of_life(registered, years)).map(|end| end.to_string());
    RuleOutcome::Fired(
        Grounds::of(SmallVec::new())
            .fact("class", &*row.name)
            .fact("years", years)
            .fact("registered_on", NaiveDate::from_epoch_days(registered).map(|day| day.to_string()))
            .fact("reached_on", reached_on),
    )
}

impl Years {
    /// From here on it may be reached; `None` where it never is.
    fn shortest(self) -> Option<u16> {
        self.unsure.map(|(from, _)| from).into_iter().chain(self.years).min()
    }
}

/// The use that a vehicle had before, which the register does not hold.
const USE_HISTORY: &str = "use_history";

impl Parameters {
    fn is_changed(&self, use_nature: u8) -> bool {
        use_nature.is_ascii_uppercase() && self.changed_uses & (1 << (use_nature - b'A')) != 0
    }

    /// The lives that a vehicle may have which changed its use; its own row where the use makes no difference.
    fn of_both_uses<'t>(&'t self, vehicle: &Vehicle, row: &'t Row<Years>, rules: &Rules) -> Candidates<'t, Years> {
        let mut found = self.lives.of_any_use(vehicle);
        if !found.differ(None, |row| Some(row.value)) {
            return Candidates::one(row);
        }
        found.perhaps_none |= rules.classes.is_truck(vehicle) != Some(true);
        Candidates { missing: USE_HISTORY, ..found }
    }
}

fn end_of_life(registered: i32, years: u16) -> Option<NaiveDate> {
    after_years(NaiveDate::from_epoch_days(registered)?, years)
}
