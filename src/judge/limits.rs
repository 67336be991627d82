//! The table of limits, conditions and operators' own list rules, loaded from TOML and asked by the time of the reading.
//!
//! Invariants of a loaded table, all checked by the loader (see [`Limits::parse`]): for each pollutant and class, and for
//! each condition and pollutant, the intervals of validity neither overlap nor leave a gap; every number has the unit of
//! what it limits; every entry names its source.

use crate::{
    judge::{
        condition::{Condition, ConditionKey},
        pollutant::Pollutant,
    },
    reading::Timestamp,
};

pub mod bar;
pub mod bound;
pub(super) mod file;
pub(super) mod load;
pub mod reset;

pub use bar::{Bar, Business};
pub use bound::{Bound, Bounds, Channel};
pub use load::{LimitsError, LimitsErrors};
pub use reset::{InspectionKind, Reset};

/// The table built into the program, `schemas/limits.toml`.
pub const BUILT_IN: &str = include_str!("../../schemas/limits.toml");

/// What decides which limits apply: the registered fuel. Electric vehicles and fuels without an entry have no limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    Diesel = 0,
    Petrol = 1,
    Gas = 2,
}

impl Class {
    const COUNT: usize = 3;

    fn parse(name: &str) -> Option<Self> {
        match name {
            "diesel" => Some(Self::Diesel),
            "petrol" => Some(Self::Petrol),
            "gas" => Some(Self::Gas),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Diesel => "diesel",
            Self::Petrol => "petrol",
            Self::Gas => "gas",
        }
    }
}

/// When an entry holds: from the start of a day in China, up to but not including the start of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub(super) from: Timestamp,
    pub(super) to: Option<Timestamp>,
}

impl Interval {
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && self.to.is_none_or(|to| at < to)
    }
}

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    pub standard: Box<str>,
    pub clause: Box<str>,
    pub source: Box<str>,
    /// `sourced`, `unsourced-high`, `unsourced-medium` or `unsourced-low`.
    pub confidence: Confidence,
}

/// How sure the source of a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    Sourced,
    UnsourcedHigh,
    UnsourcedMedium,
    UnsourcedLow,
}

/// One limit; over is strictly greater than `value`, in the pollutant's unit.
#[derive(Clone, Debug)]
pub struct Limit {
    pub pollutant: Pollutant,
    pub class: Class,
    pub value: f32,
    /// By itself starts a recheck rather than a penalty.
    pub screening: bool,
    pub interval: Interval,
    pub citation: Citation,
}

/// What being on a list means for a vehicle seen on the road.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRule {
    pub list: Box<str>,
    pub rule: &'static str,
    pub effect: ListEffect,
    pub intercept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListEffect {
    /// Each passage is a finding.
    Violation,
    /// Every finding about the vehicle waits for a person; none is suppressed.
    Review,
}

/// How many consecutive tests over the limit, within how many calendar months, make an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpisodeRule {
    /// 2 or more.
    pub tests: usize,
    /// 1 or more.
    pub months: u32,
    pub citation: Citation,
    /// `None`: no inspection resets a series.
    pub reset: Option<Reset>,
}

impl EpisodeRule {
    /// Kinds of inspection that reset a series once passed.
    pub fn reset_kinds(&self) -> impl Iterator<Item = InspectionKind> + '_ {
        self.reset.iter().flat_map(|reset| reset.kinds.iter().copied())
    }
}

/// The smoke that machines of a class and a band of rated power may make.
#[derive(Clone, Debug)]
pub struct SmokeLimit {
    /// 1 up to stage II, 2 from stage III on, 3 in zones declared for it.
    pub class: u8,
    /// First and last watt of the band.
    pub power_w: (u32, u32),
    /// Light absorption, 1/m; over is strictly greater.
    pub k_m1: f64,
    pub interval: Interval,
    pub citation: Citation,
}

/// The loaded table; immutable.
#[derive(Clone, Debug)]
pub struct Limits {
    version: Box<str>,
    /// Sorted by pollutant, class and time.
    limits: Vec<Limit>,
    /// Where in `limits` the entries of a pollutant and class stand: start and length.
    index: [[(u16, u16); Class::COUNT]; Pollutant::COUNT],
    /// Bits of the pollutants that any class has an entry for.
    limited: u8,
    conditions: Vec<Condition>,
    bounds: Bounds,
    lists: Vec<ListRule>,
    bars: Vec<Bar>,
    episode: EpisodeRule,
    smoke: Vec<SmokeLimit>,
}

impl Limits {
    /// The table built in.
    ///
    /// # Panics
    ///
    /// Never in a build whose tests passed: that the text loads is one of them.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("the built-in table of limits is valid")
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// The limit of a pollutant for a class, in force at that time, with its place in the table.
    pub(super) fn find(&self, pollutant: Pollutant, class: Class, at: Timestamp) -> Option<(u16, &Limit)> {
        let (start, length) = self.index[pollutant as usize][class as usize];
        (start..start + length)
            .map(|place| (place, &self.limits[usize::from(place)]))
            .find(|(_, limit)| limit.interval.holds(at))
    }

    pub(super) fn limit(&self, place: u16) -> Option<&Limit> {
        self.limits.get(usize::from(place))
    }

    /// Pollutants that somebody has a limit for; the rest of a rig's output is not judged.
    pub(super) fn limited(&self) -> impl Iterator<Item = Pollutant> + use<> {
        let limited = self.limited;
        Pollutant::ALL.into_iter().filter(move |pollutant| limited & pollutant.bit() != 0)
    }

    pub(super) fn conditions_at(&self, at: Timestamp) -> impl Iterator<Item = (u16, &Condition)> {
        (0_u16..).zip(&self.conditions).filter(move |(_, condition)| condition.interval.holds(at))
    }

    /// What the rigs' instruments can have measured.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn condition(&self, place: u16) -> Option<&Condition> {
        self.conditions.get(usize::from(place))
    }

    /// The rule of a list, where it has one.
    pub fn list_rule(&self, list: &str) -> Option<&ListRule> {
        self.lists.iter().find(|rule| &*rule.list == list)
    }

    /// Which list bars its vehicles from what, in the order of the table.
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    pub fn episode(&self) -> &EpisodeRule {
        &self.episode
    }

    /// The smoke limit of a class for an engine of that power; none above the last band.
    pub fn smoke(&self, class: u8, power_w: u32, at: Timestamp) -> Option<&SmokeLimit> {
        let fits = |limit: &&SmokeLimit| {
            let (first, last) = limit.power_w;
            limit.class == class && (first..=last).contains(&power_w) && limit.interval.holds(at)
        };
        self.smoke.iter().find(fits)
    }

    /// The smoke limits that an engine of unknown power may stand under: one for each band of the class, and none, above the
    /// last.
    pub fn smoke_of_any_power(&self, class: u8, at: Timestamp) -> impl Iterator<Item = Option<&SmokeLimit>> {
        let fits = move |limit: &&SmokeLimit| limit.class == class && limit.interval.holds(at);
        self.smoke.iter().filter(fits).map(Some).chain([None])
    }
}

#[cfg(test)]
mod tests;
