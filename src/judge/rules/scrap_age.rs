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

use chrono::{Months, NaiveDate};
use serde::Deserialize;
use smallvec::SmallVec;

use super::{
    Case, Grounds, RuleOutcome, Rules, china_day,
    classes::letters,
    kinds::{Found, KindTable, RawRow},
};
use crate::vehicle::facts::Vehicle;

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
    let row = match parameters.lives.find(vehicle) {
        Found::Row(row) => row,
        Found::None => return RuleOutcome::NotApplicable,
        Found::Missing(missing) => return RuleOutcome::Undetermined(missing),
    };
    let changed = parameters.changed(vehicle);
    let shortest = match &changed {
        Some(changed) => changed.shortest,
        None => row.value.shortest(),
    };
    let Some(registered) = vehicle.registered_on else {
        return match shortest {
            None => RuleOutcome::Clear,
            Some(_) => RuleOutcome::Undetermined("registered_on"),
        };
    };
    let today = china_day(case.passage.passed_at);
    // A year has at least 365 days, so most vehicles are done without a calendar.
    if shortest.is_none_or(|years| today < registered.saturating_add(365 * i32::from(years))) {
        return RuleOutcome::Clear;
    }
    let reached = |years: u16| end_of_life(registered, years).filter(|end| end.to_epoch_days() <= today);
    let life = match &changed {
        None => row.value.years,
        Some(changed) if rules.classes.is_truck(vehicle) == Some(true) => changed.longest,
        Some(_) => None,
    };
    if let Some(end) = life.and_then(reached) {
        return RuleOutcome::Fired(
            Grounds::of(SmallVec::new())
                .fact("class", &*row.name)
                .fact("years", life)
                .fact("registered_on", NaiveDate::from_epoch_days(registered).map(|day| day.to_string()))
                .fact("reached_on", end.to_string()),
        );
    }
    if changed.is_some_and(|changed| changed.shortest.and_then(reached).is_some()) {
        return RuleOutcome::Undetermined("use_history");
    }
    match row.value.unsure {
        Some((years, missing)) if reached(years).is_some() => RuleOutcome::Undetermined(missing),
        _ => RuleOutcome::Clear,
    }
}

impl Years {
    /// From here on it may be reached; `None` where it never is.
    fn shortest(self) -> Option<u16> {
        self.unsure.map(|(from, _)| from).into_iter().chain(self.years).min()
    }
}

/// The lives of a kind over all uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Changed {
    shortest: Option<u16>,
    /// `None` where some use has no limit in years.
    longest: Option<u16>,
}

impl Parameters {
    /// The lives that a vehicle may have which changed its use; `None` for any other, and where the use makes no difference.
    fn changed(&self, vehicle: &Vehicle) -> Option<Changed> {
        if self.changed_uses & (1 << (vehicle.use_nature - b'A')) == 0 {
            return None;
        }
        let unlimited = Years { years: None, unsure: None };
        let lives = || self.lives.of_every_use(vehicle).map(|row| row.map_or(unlimited, |row| row.value));
        if lives().zip(lives().skip(1)).all(|(one, next)| one == next) {
            return None;
        }
        let limited = lives().all(|life| life.years.is_some());
        Some(Changed {
            shortest: lives().filter_map(Years::shortest).min(),
            longest: lives().filter_map(|life| life.years).max().filter(|_| limited),
        })
    }
}

/// 29 February plus a number of years is 28 February where there is no 29th.
fn end_of_life(registered: i32, years: u16) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(registered)?.checked_add_months(Months::new(12 * u32::from(years)))
}
