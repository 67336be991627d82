//! R6: no valid inspection for three consecutive cycles after the last one ran out.
//!
//! An entry of `inspection_overdue` says since when (`valid_from`, the first day without a valid inspection) and until when
//! (`valid_to`, the day of the inspection that was passed). How long a cycle is depends on kind, use and age, and the age
//! grows meanwhile: each cycle has the length that was due on the day it began.
//!
//! Without an entry the vehicle is inspected as far as anybody knows, unless the register's state says overdue: then the day
//! is missing. Two open entries of one vehicle count from the earlier.

use chrono::{Months, NaiveDate};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Case, Grounds, RuleOutcome, china_day,
    kinds::{Found, KindTable, RawRow},
};

pub const NAME: &str = "R6.uninspected_on_road";

/// As the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    lists: Vec<Box<str>>,
    /// State letter of GA/T 16 for "inspection overdue".
    overdue_state: char,
    cycles: u8,
    periods: Vec<Periods>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Periods {
    name: String,
    kinds: Vec<String>,
    #[serde(default)]
    uses: Vec<String>,
    ages: Vec<Age>,
}

/// From this age on, in whole years, an inspection is due every so many months.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Age {
    from_years: u16,
    months: u16,
}

#[derive(Clone, Debug)]
pub struct Parameters {
    lists: Vec<Box<str>>,
    overdue_state: u8,
    cycles: u8,
    periods: KindTable<Box<[Age]>>,
}

impl Table {
    pub(super) fn build(self, problems: &mut Vec<String>) -> Parameters {
        if self.lists.is_empty() {
            problems.push("lists names no list".to_owned());
        }
        if !(1..=20).contains(&self.cycles) {
            problems.push("cycles must be 1 to 20".to_owned());
        }
        if !self.overdue_state.is_ascii_uppercase() {
            problems.push("overdue_state is not one capital letter".to_owned());
        }
        let mut rows = Vec::new();
        for row in &self.periods {
            if row.ages.first().is_none_or(|age| age.from_years != 0) {
                problems.push(format!("ages of {} do not begin with from_years = 0", row.name));
            }
            if !row.ages.is_sorted_by(|a, b| a.from_years < b.from_years) {
                problems.push(format!("ages of {} are not in order", row.name));
            }
            if row.ages.iter().any(|age| !(1..=120).contains(&age.months)) {
                problems.push(format!("months of {} must be 1 to 120", row.name));
            }
            let value = row.ages.clone().into();
            rows.push(RawRow { name: &row.name, kinds: &row.kinds, uses: &row.uses, value });
        }
        let periods = KindTable::new(rows, problems);
        let overdue_state = u8::try_from(self.overdue_state).unwrap_or_default();
        Parameters { lists: self.lists, overdue_state, cycles: self.cycles, periods }
    }
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    if entries.is_empty() {
        return match case.vehicle() {
            Ok(vehicle) if vehicle.has_state(parameters.overdue_state) => {
                RuleOutcome::Undetermined("inspection_overdue_since")
            }
            _ => case.on_no_list(),
        };
    }
    let Some(since) = entries.iter().map(|entry| entry.valid_from).min().flatten() else {
        return RuleOutcome::Undetermined("inspection_overdue_since");
    };
    let vehicle = match case.vehicle() {
        Ok(vehicle) => vehicle,
        Err(missing) => return RuleOutcome::Undetermined(missing),
    };
    let row = match parameters.periods.find(vehicle) {
        Found::Row(row) => row,
        Found::None => return RuleOutcome::NotApplicable,
        Found::Missing(missing) => return RuleOutcome::Undetermined(missing),
    };
    let Some(registered) = vehicle.registered_on.and_then(NaiveDate::from_epoch_days) else {
        return RuleOutcome::Undetermined("registered_on");
    };
    let Some(missed) = cycles(registered, since.china_day(), &row.value, parameters.cycles) else {
        return RuleOutcome::Undetermined("registered_on");
    };
    let Some(last) = missed.last().filter(|last| last.until.to_epoch_days() <= china_day(case.passage.passed_at))
    else {
        return RuleOutcome::Clear;
    };
    let until = last.until.to_string();
    RuleOutcome::Fired(
        Grounds::of(entries)
            .fact("class", &*row.name)
            .fact("registered_on", registered.to_string())
            .fact("cycles_missed", missed.iter().map(Cycle::json).collect::<Vec<_>>())
            .fact("reached_on", until),
    )
}

/// One cycle without an inspection.
struct Cycle {
    from: NaiveDate,
    until: NaiveDate,
    months: u16,
}

impl Cycle {
    fn json(&self) -> Value {
        json!({ "from": self.from.to_string(), "until": self.until.to_string(), "months": self.months })
    }
}

/// The cycles after an inspection ran out; `None` when it ran out before the vehicle was registered.
fn cycles(registered: NaiveDate, since: NaiveDate, ages: &[Age], number: u8) -> Option<Vec<Cycle>> {
    let mut from = since;
    let mut missed = Vec::new();
    for _ in 0..number {
        let age = u16::try_from(from.years_since(registered)?).ok()?;
        let months = ages.iter().rev().find(|each| each.from_years <= age)?.months;
        let until = from.checked_add_months(Months::new(u32::from(months)))?;
        missed.push(Cycle { from, until, months });
        from = until;
    }
    Some(missed)
}
