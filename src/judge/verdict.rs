//! The outcome of a judgement, small enough to be made for every passage without touching the heap.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    condition::{ConditionKey, Unmet},
    document::RuleDocument,
    pollutant::Pollutant,
    rules::Undetermined,
    suspicion::Suspicion,
};
use crate::finding::Finding;

/// What one passage came to; the same words for the whole and for each pollutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Outcome {
    Pass = 0,
    OverLimit = 1,
    /// Conditions of the measurement were not met or are not known: neither a pass nor over.
    Invalid = 2,
    /// No limit for this vehicle.
    NotApplicable = 3,
    /// An input is missing: neither accused nor acquitted.
    Undetermined = 4,
}

impl Outcome {
    pub const ALL: [Outcome; 5] = [Self::Pass, Self::OverLimit, Self::Invalid, Self::NotApplicable, Self::Undetermined];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::OverLimit => "over_limit",
            Self::Invalid => "invalid",
            Self::NotApplicable => "not_applicable",
            Self::Undetermined => "undetermined",
        }
    }

    /// Takes back `self as u8`.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// One measured pollutant that somebody has a limit for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PollutantVerdict {
    pub pollutant: Pollutant,
    pub outcome: Outcome,
    /// In the pollutant's unit.
    pub value: f32,
    /// The limit of this vehicle's class at that time, where it has one.
    pub limit: Option<f32>,
    /// That limit by itself starts a recheck rather than a penalty.
    pub screening: bool,
    /// Place of the limit in the rule book.
    pub(super) entry: Option<u16>,
}

/// What one passage says of one vehicle.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub pollutants: SmallVec<[PollutantVerdict; 4]>,
    /// Conditions not met, in the order of the rule book.
    pub unmet: SmallVec<[Unmet; 2]>,
    /// Conditions of which nothing is known and which the table of limits lets pass.
    pub passed_over: SmallVec<[ConditionKey; 2]>,
    /// Pollutants whose instrument cannot have measured the value that was sent.
    pub beyond: SmallVec<[Pollutant; 2]>,
    /// Further reasons: missing inputs and suspicions.
    pub notes: SmallVec<[&'static str; 2]>,
    /// What the values would mean if a vehicle of unknown fuel were the diesel it looks like.
    pub suspicion: Option<Box<Suspicion>>,
}

impl Verdict {
    /// Whether it is over a limit, and every limit it is over only screens.
    pub fn only_screens(&self) -> bool {
        let mut over = self.pollutants.iter().filter(|each| each.outcome == Outcome::OverLimit).peekable();
        over.peek().is_some() && over.all(|each| each.screening)
    }

    /// Every reason in words of a closed set, such as `wind_speed_ms_too_high` or `fuel_unknown`.
    pub fn reasons(&self) -> impl Iterator<Item = &'static str> + '_ {
        let beyond = self.beyond.iter().map(|pollutant| pollutant.channel().beyond());
        beyond.chain(self.unmet.iter().map(Unmet::reason)).chain(self.notes.iter().copied())
    }
}

/// A verdict with the findings it leads to at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// Vehicle rules that lack an input.
    pub undetermined: SmallVec<[Undetermined; 4]>,
    /// Vehicle rules that fired, with what explains them.
    pub explained: Vec<RuleDocument>,
    /// Why a person must look before anything reaches the police queue (design invariant 8); asked only where a finding
    /// was made. What concerns one rule alone stands with that rule.
    pub review: SmallVec<[&'static str; 2]>,
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_agree() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
            assert_eq!(serde_json::to_value(outcome).expect("text"), outcome.name());
        }
    }
}
