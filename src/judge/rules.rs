//! The vehicle rules of the district plan (R1 to R10): what class, age, state, lists, zones and warnings say of a vehicle seen
//! on the road. The same table switches and dates the rules for machines, which [`mod@super::nonroad`] judges.
//!
//! Every rule is a pure function from a [`Case`] to a [`RuleOutcome`], one file each:
//!
//! - it *fires*, with the facts and list entries that explain it and what a person has to look at;
//! - it is *clear*, or it does *not apply* to a vehicle of this class;
//! - it is *undetermined*, and names the input that is missing: it neither accuses nor acquits.
//!
//! What firing means (`action`), since when, and every number stands in `schemas/rules.toml`. Each rule that fires is one
//! finding per passage, made by `super::findings`; nothing in it depends on the order of arrival. Facts that the register
//! does not hold (unrepairable, retrofit feasible, not inspected since) come from lists, whose entries carry intervals
//! and documents; a list that was never imported names nobody.
//!
//! Rejected: one generic rule language in TOML. The rules share words (lists, classes, stages), not a form, and a reader
//! of law finds R5 in a file of that name. To add a rule: a file here with `NAME`, `Parameters` and `judge`, a line in
//! [`Rules`], in `file::RuleTables`, in `load` and in [`Rules::judge`], and an entry in the table.

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::{
    limits::{Citation, Interval},
    nonroad,
};
use crate::{
    reading::{
        Timestamp,
        passage::{Passage, PlateReading},
        time::CHINA_OFFSET_SECONDS,
    },
    vehicle::{
        facts::{ListHit, Vehicle, VehicleMatch},
        surroundings::Surroundings,
    },
};

mod classes;
mod elimination;
mod file;
mod heavy_pollution;
mod inspection;
mod kinds;
mod listed;
mod load;
mod low_emission;
mod machine;
mod retirement;
mod retrofit;
mod scrap_age;
mod scrapped;
mod stage;

pub use classes::{Classes, KindPrefix};
pub use machine::Parameters as MachineParameters;
pub use retirement::Disagreement;
pub use retrofit::{Candidate, NAME as RETROFIT_RULE};
pub use stage::StageByDate;

/// The table built into the program, `schemas/rules.toml`.
pub const BUILT_IN: &str = include_str!("../../schemas/rules.toml");

/// Names that findings of these rules carry; no list of `limits.toml` may claim one.
pub const OWN_RULES: &[&str] = &[
    elimination::NAME,
    retirement::NAME,
    listed::OLD_GAS,
    retrofit::NAME,
    scrap_age::NAME,
    inspection::NAME,
    listed::UNREPAIRABLE,
    scrapped::NAME,
    low_emission::NAME,
    heavy_pollution::NAME,
    nonroad::STAGE_RULE,
    nonroad::SITE_RULE,
    nonroad::SMOKE_RULE,
];

/// What a rule that fired leads to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A finding that waits for a person, whatever else is known.
    Notice,
    /// A finding.
    Violation,
    /// A finding that may ask for an officer now.
    Intercept,
}

/// Under which terms an entry of the table stands.
#[derive(Clone, Debug)]
pub struct Terms {
    pub enabled: bool,
    pub action: Action,
    pub interval: Interval,
    pub citation: Citation,
}

/// A rule with its parameters, for as long as the terms say.
#[derive(Clone, Debug)]
pub struct Dated<P> {
    pub terms: Terms,
    pub parameters: P,
}

/// One rule through time: entries that meet each other exactly.
#[derive(Clone, Debug)]
pub struct Series<P>(Box<[Dated<P>]>);

impl<P> Series<P> {
    /// The entry in force; `None` when there is none or it is switched off.
    #[inline]
    pub fn at(&self, at: Timestamp) -> Option<&Dated<P>> {
        self.0.iter().find(|dated| dated.terms.interval.holds(at)).filter(|dated| dated.terms.enabled)
    }
}

/// The loaded table; immutable.
#[derive(Clone, Debug)]
pub struct Rules {
    version: Box<str>,
    classes: Classes,
    stage_by_date: StageByDate,
    elimination: Series<elimination::Parameters>,
    retirement: Series<retirement::Parameters>,
    old_gas: Series<listed::Parameters>,
    retrofit: Series<retrofit::Parameters>,
    scrap_age: Series<scrap_age::Parameters>,
    inspection: Series<inspection::Parameters>,
    unrepairable: Series<listed::Parameters>,
    scrapped: Series<scrapped::Parameters>,
    low_emission: Series<low_emission::Parameters>,
    heavy_pollution: Series<heavy_pollution::Parameters>,
    nonroad_stage: Series<machine::Parameters>,
    nonroad_smoke: Series<()>,
}

/// What one rule says of one passage.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleOutcome<'m> {
    Fired(Grounds<'m>),
    Clear,
    /// Not a vehicle this rule speaks of.
    NotApplicable,
    /// An input is missing, named.
    Undetermined(&'static str),
}

/// Why a rule fired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grounds<'m> {
    /// List entries behind it.
    pub entries: SmallVec<[&'m ListHit; 2]>,
    /// Facts of the register and what follows from them, by name.
    pub facts: Map<String, Value>,
    /// Why a person must look at this finding, beyond what holds for the whole passage.
    pub review: SmallVec<[&'static str; 2]>,
    /// What was breached no longer holds where the reading arrived: a finding, but nobody is stopped for it.
    pub is_over: bool,
}

impl<'m> Grounds<'m> {
    fn of(entries: SmallVec<[&'m ListHit; 2]>) -> Self {
        Self { entries, ..Self::default() }
    }

    fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    fn review(mut self, why: &'static str) -> Self {
        self.review.push(why);
        self
    }
}

/// What the measurement came to, as far as a rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Over no limit, or not known to be.
    NotOver,
    /// Over limits that only screen: they start a recheck rather than a penalty.
    OverScreening,
    Over,
}

/// One passage as the rules see it: who passed when, what register, lists and measurement say.
#[derive(Clone, Copy, Debug)]
pub struct Case<'m> {
    pub passage: &'m Passage,
    pub matched: &'m VehicleMatch,
    /// The zones and warnings it drove in.
    pub surroundings: &'m Surroundings<'m>,
    pub measured: Measured,
    /// Seen recently enough for somebody to be stopped.
    pub live: bool,
}

impl<'m> Case<'m> {
    /// The vehicle of the register, or the word for its being missing.
    #[inline]
    fn vehicle(&self) -> Result<&'m Vehicle, &'static str> {
        self.matched.vehicle.as_ref().ok_or(match self.passage.plate {
            PlateReading::Unread => "plate",
            PlateReading::Read(_) => "vehicle",
        })
    }

    /// What a rule says that goes by lists alone, of a vehicle on none of them.
    #[inline]
    fn on_no_list(&self) -> RuleOutcome<'m> {
        match self.passage.plate {
            PlateReading::Unread => RuleOutcome::Undetermined("plate"),
            PlateReading::Read(_) => RuleOutcome::Clear,
        }
    }

    /// Entries of these lists that hold at the time of the passage.
    #[inline]
    fn entries(&self, lists: &[Box<str>]) -> SmallVec<[&'m ListHit; 2]> {
        if self.matched.lists.is_empty() {
            return SmallVec::new();
        }
        let at = self.passage.passed_at;
        let holds =
            |hit: &&ListHit| hit.valid_from.is_none_or(|from| from <= at) && hit.valid_to.is_none_or(|to| at < to);
        self.matched.lists.iter().filter(holds).filter(|hit| lists.iter().any(|list| **list == *hit.list)).collect()
    }
}

/// The calendar day in China, days since 1970-01-01.
#[inline]
pub(in crate::judge) fn china_day(at: Timestamp) -> i32 {
    let local = at.micros().saturating_add(i64::from(CHINA_OFFSET_SECONDS) * 1_000_000);
    local.div_euclid(86_400_000_000) as i32
}

/// A rule that fired, under the terms it fired.
#[derive(Clone, Debug)]
pub struct Fired<'m> {
    pub rule: &'static str,
    pub terms: &'m Terms,
    pub grounds: Grounds<'m>,
}

/// A rule that could not be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undetermined {
    pub rule: &'static str,
    pub missing: &'static str,
}

/// What all rules together say of one passage; the rest is clear or does not apply.
#[derive(Clone, Debug, Default)]
pub struct Ruling<'m> {
    pub fired: SmallVec<[Fired<'m>; 1]>,
    pub undetermined: SmallVec<[Undetermined; 4]>,
}

impl<'m> Ruling<'m> {
    #[inline]
    fn take<P>(
        &mut self,
        rule: &'static str,
        case: &Case<'m>,
        series: &'m Series<P>,
        judge: impl FnOnce(&P) -> RuleOutcome<'m>,
    ) {
        let Some(dated) = series.at(case.passage.passed_at) else { return };
        match judge(&dated.parameters) {
            RuleOutcome::Fired(grounds) => self.fired.push(Fired { rule, terms: &dated.terms, grounds }),
            RuleOutcome::Undetermined(missing) => self.undetermined.push(Undetermined { rule, missing }),
            RuleOutcome::Clear | RuleOutcome::NotApplicable => {}
        }
    }
}

impl Rules {
    /// The table built in.
    ///
    /// # Panics
    ///
    /// Never in a build whose tests passed: that the text loads is one of them.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in table of rules is valid")
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    pub fn stage_by_date(&self) -> &StageByDate {
        &self.stage_by_date
    }

    /// Which stage machines needed at that time (R11); `None` while nobody asked for one.
    pub fn nonroad_stage_at(&self, at: Timestamp) -> Option<&Dated<MachineParameters>> {
        self.nonroad_stage.at(at)
    }

    /// Whether the smoke of machines was judged at that time (GB 36886).
    pub fn judges_smoke_at(&self, at: Timestamp) -> bool {
        self.nonroad_smoke.at(at).is_some()
    }

    /// Asks every rule that was in force when the vehicle passed.
    pub fn judge<'m>(&'m self, case: &Case<'m>) -> Ruling<'m> {
        let mut ruling = Ruling::default();
        ruling.take(elimination::NAME, case, &self.elimination, |p| elimination::judge(case, p, self));
        ruling.take(retirement::NAME, case, &self.retirement, |p| retirement::judge(case, p, self));
        ruling.take(listed::OLD_GAS, case, &self.old_gas, |p| listed::old_gas(case, p));
        ruling.take(retrofit::NAME, case, &self.retrofit, |p| retrofit::judge(case, p, self));
        ruling.take(scrap_age::NAME, case, &self.scrap_age, |p| scrap_age::judge(case, p, self));
        ruling.take(inspection::NAME, case, &self.inspection, |p| inspection::judge(case, p));
        ruling.take(listed::UNREPAIRABLE, case, &self.unrepairable, |p| listed::unrepairable(case, p));
        ruling.take(scrapped::NAME, case, &self.scrapped, |p| scrapped::judge(case, p));
        ruling.take(low_emission::NAME, case, &self.low_emission, |p| low_emission::judge(case, p, self));
        ruling.take(heavy_pollution::NAME, case, &self.heavy_pollution, |p| heavy_pollution::judge(case, p));
        ruling
    }
}

#[cfg(test)]
mod completions;
#[cfg(test)]
mod tests;
