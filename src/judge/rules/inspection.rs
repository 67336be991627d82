//! R6: no valid inspection for three consecutive cycles after the last one ran out.
//!
//! An entry of `inspection_overdue` says since when (`valid_from`, the first day without a valid inspection) and until when
//! (`valid_to`, the day of the inspection that was passed). How long a cycle is depends on kind, use and age, and the age
//! grows meanwhile: each cycle has the length that was due on the day it began.
//!
//! Without an entry the vehicle is inspected as far as anybody knows, unless the register's state says overdue: then the day
//! is missing. Two open entries of one vehicle count from the earlier.
//!
//! A vehicle of unknown kind, use or age may have cycles of several lengths. Before the shortest three of them are over the
//! rule is clear, past the longest three it fires, and in between it is undetermined.

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Case, Grounds, RuleOutcome,
    kinds::{Candidates, Found, KindTable, RawRow, Row},
};
use crate::{
    reading::calendar::{after_months, years_between},
    vehicle::facts::{ListHit, Vehicle},
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
    periods: KindTable<Cycles>,
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
            let value = Cycles::new(row.ages.clone().into(), self.cycles);
            rows.push(RawRow { name: &row.name, kinds: &row.kinds, uses: &row.uses, value });
        }
        let periods = KindTable::new(rows, problems);
        let overdue_state = u8::try_from(self.overdue_state).unwrap_or_default();
        Parameters { lists: self.lists, overdue_state, periods }
    }
}

/// How long the cycles of a row are, together and for whatever age.
#[derive(Clone, Debug)]
struct Cycles {
    ages: Box<[Age]>,
    number: u8,
    /// All of them together, months: the fewest and the most for a vehicle of unknown age.
    fewest: u16,
    most: u16,
    /// The fewest months from registration to the end of all of them, whenever they begin.
    soonest: u16,
}

impl Cycles {
    fn new(ages: Box<[Age]>, number: u8) -> Self {
        let last = ages.last().map_or(0, |age| 12 * age.from_years);
        let totals = || {
            (0..=last).map(|start| {
                let end = (0..number).fold(start, |months, _| months.saturating_add(months_at(&ages, months / 12)));
                (end - start, end)
            })
        };
        let fewest = totals().map(|(total, _)| total).min().unwrap_or_default();
        let most = totals().map(|(total, _)| total).max().unwrap_or_default();
        let soonest = totals().map(|(_, end)| end).min().unwrap_or_default();
        Self { ages, number, fewest, most, soonest }
    }

    /// The cycles after an inspection ran out; `None` when it ran out before the vehicle was registered.
    fn after(&self, since: NaiveDate, registered: NaiveDate) -> Option<Vec<Cycle>> {
        let (mut counted, mut from) = (0, since);
        let mut missed = Vec::new();
        for _ in 0..self.number {
            let months = months_at(&self.ages, years_between(registered, from)?);
            counted += u32::from(months);
            let until = after_months(since, counted)?;
            missed.push(Cycle { from, until, months });
            from = until;
        }
        Some(missed)
    }

    /// The day on which all of them are over: the earliest and the latest that may be. They are one for a vehicle whose age
    /// is known.
    fn over(&self, since: NaiveDate, registered: Option<NaiveDate>) -> Option<[NaiveDate; 2]> {
        let known = registered.and_then(|registered| self.after(since, registered)).and_then(|cycles| {
            let until = cycles.last()?.until;
            Some([until; 2])
        });
        let between = || Some([after_months(since, self.fewest.into())?, after_months(since, self.most.into())?]);
        known.or_else(between)
    }
}

/// How long a cycle is that begins at this age, months.
fn months_at(ages: &[Age], years: u16) -> u16 {
    ages.iter().rev().find(|each| each.from_years <= years).map_or(0, |age| age.months)
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    let vehicle = case.vehicle();
    let is_overdue = || vehicle.is_ok_and(|vehicle| vehicle.has_state(parameters.overdue_state));
    if entries.is_empty() && !is_overdue() {
        return case.on_no_list();
    }
    overdue(case, parameters, entries)
}

type Entries<'m> = smallvec::SmallVec<[&'m ListHit; 2]>;

fn overdue<'m>(case: &Case<'m>, parameters: &Parameters, entries: Entries<'m>) -> RuleOutcome<'m> {
    let vehicle = case.vehicle();
    let found = match vehicle.map(|vehicle| parameters.periods.find(vehicle)) {
        Ok(Found::Row(row)) => Candidates::one(row),
        Ok(Found::None) => return RuleOutcome::NotApplicable,
        Ok(Found::Some(found)) => found,
        Err(missing) => Candidates { missing, ..parameters.periods.all() },
    };
    let registered = vehicle.ok().and_then(registered_on);
    let today = case.passage.passed_at.china_day();
    let Some(since) = entries.iter().map(|entry| entry.valid_from).min().flatten().map(|from| from.china_day()) else {
        // Whenever it ran out, it cannot have been before the vehicle was registered.
        let soonest = |row: &Row<Cycles>, registered| after_months(registered, row.value.soonest.into());
        let may_be_over = |row: &&Row<Cycles>| {
            registered.is_none_or(|registered| soonest(row, registered).is_some_and(|end| end <= today))
        };
        return match found.rows.iter().any(may_be_over) {
            true => RuleOutcome::Undetermined("inspection_overdue_since"),
            false => RuleOutcome::Clear,
        };
    };
    // It may be over, and it is.
    let is_over = |row: &Row<Cycles>| match row.value.over(since, registered) {
        Some(ends) => ends.map(|end| end <= today),
        None => [false; 2],
    };
    if found.rows.iter().all(|row| !is_over(row)[0]) {
        return RuleOutcome::Clear;
    }
    if registered.is_some_and(|registered| since < registered) {
        return RuleOutcome::Undetermined("registered_on");
    }
    let latest = found.rows.iter().max_by_key(|row| row.value.over(since, registered).map(|ends| ends[1]));
    match latest.filter(|latest| !found.perhaps_none && is_over(latest)[1]) {
        Some(row) => fired(row, since, registered, entries),
        None if found.differ([false; 2], is_over) => RuleOutcome::Undetermined(found.missing),
        None => RuleOutcome::Undetermined("registered_on"),
    }
}

fn registered_on(vehicle: &Vehicle) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(vehicle.registered_on?)
}

/// Of a vehicle of unknown age the single cycles are not known, only that the longest possible are over.
fn fired<'m>(
    row: &Row<Cycles>,
    since: NaiveDate,
    registered: Option<NaiveDate>,
    entries: Entries<'m>,
) -> RuleOutcome<'m> {
    let missed = registered.and_then(|registered| row.value.after(since, registered));
    let reached_on = row.value.over(since, registered).map(|ends| ends[1].to_string());
    let mut grounds = Grounds::of(entries)
        .fact("class", &*row.name)
        .fact("registered_on", registered.map(|registered| registered.to_string()));
    grounds = match missed {
        Some(missed) => grounds.fact("cycles_missed", missed.iter().map(Cycle::json).collect::<Vec<_>>()),
        None => grounds.fact("months_at_most", row.value.most),
    };
    RuleOutcome::Fired(grounds.fact("reached_on", reached_on))
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
