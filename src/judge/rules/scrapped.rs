//! R8: a scrapped or deregistered vehicle on the road, by list or by the state in the register.
//!
//! A list entry holds from its own day. The register tells the state of today and not since when: a passage that is live is
//! of today, an older one may lie before the deregistration, so a finding by state alone then waits for a person.
//! States that exclude each other (normal and deregistered) are kept as they are and looked at by a person too.

use serde::Deserialize;

use super::{Case, Grounds, RuleOutcome};

pub const NAME: &str = "R8.scrapped_on_road";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    lists: Vec<Box<str>>,
    states: Vec<char>,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        let wrong = self.states.iter().find(|letter| !letter.is_ascii_uppercase())?;
        Some(format!("state {wrong:?} is not one capital letter"))
    }
}

/// State `A` of GA/T 16: nothing against the vehicle.
const NORMAL: u8 = b'A';

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    let vehicle = case.vehicle();
    let has =
        |letter: char| vehicle.is_ok_and(|vehicle| u8::try_from(letter).is_ok_and(|letter| vehicle.has_state(letter)));
    let states: String = parameters.states.iter().copied().filter(|&letter| has(letter)).collect();
    if entries.is_empty() && states.is_empty() {
        return match vehicle {
            // Lists alone decide then.
            _ if parameters.states.is_empty() => case.on_no_list(),
            Ok(vehicle) if vehicle.states == 0 => RuleOutcome::Undetermined("vehicle_state"),
            Ok(_) => RuleOutcome::Clear,
            Err(missing) => RuleOutcome::Undetermined(missing),
        };
    }
    let by_state_alone = entries.is_empty();
    let mut grounds = Grounds::of(entries);
    if !states.is_empty() {
        grounds = grounds.fact("vehicle_states", states);
    }
    if by_state_alone && !case.live {
        grounds = grounds.review("register_state_undated");
    }
    if by_state_alone && vehicle.is_ok_and(|vehicle| vehicle.has_state(NORMAL)) {
        grounds = grounds.review("register_states_contradict");
    }
    RuleOutcome::Fired(grounds)
}
