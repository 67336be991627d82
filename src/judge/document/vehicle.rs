//! The part of a verdict that says whose vehicle it was.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    judge::{RuleBook, doubt::CandidateDocument, origin::is_local},
    reading::passage::Passage,
    vehicle::facts::{Fuel, ListHit, MatchKind, VehicleMatch},
};

/// What the register and the lists said of the vehicle.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VehicleDocument {
    #[serde(rename = "match")]
    pub kind: MatchName,
    /// 0..=6, 99 for zero emission, `null` when not registered.
    pub emission_stage: Option<u8>,
    /// Where none is registered: what the date of registration suggests. It decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emission_stage_inferred: Option<u8>,
    pub fuel: Option<FuelName>,
    /// Lists with their versions, such as `retire_n3@v12`, each once.
    pub lists: Vec<String>,
    /// Whether it is of this place, by the register or else by its plate; `null` where neither tells.
    pub local: Option<bool>,
    /// Listed vehicles whose plate the camera may have misread, the likeliest first. None of them is accused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub candidates: Vec<CandidateDocument>,
}

/// How the vehicle was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchName {
    Exact,
    /// One confusable character away from listed vehicles; never enforced without a person.
    Suspected,
    None,
}

/// Registered fuel, reduced to what rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FuelName {
    Petrol,
    Diesel,
    Gas,
    Electric,
    Hybrid,
    Other,
    Unknown,
}

impl From<Fuel> for FuelName {
    fn from(fuel: Fuel) -> Self {
        match fuel {
            Fuel::Petrol => Self::Petrol,
            Fuel::Diesel => Self::Diesel,
            Fuel::Gas => Self::Gas,
            Fuel::Electric => Self::Electric,
            Fuel::Hybrid => Self::Hybrid,
            Fuel::Other => Self::Other,
            Fuel::Unknown => Self::Unknown,
        }
    }
}

impl VehicleDocument {
    pub(super) fn of(passage: &Passage, matched: &VehicleMatch, book: &RuleBook) -> Self {
        Self {
            kind: match matched.kind {
                MatchKind::Exact => MatchName::Exact,
                MatchKind::Suspected(_) => MatchName::Suspected,
                MatchKind::None => MatchName::None,
            },
            emission_stage: matched.vehicle.and_then(|v| v.stage).map(|stage| stage.code()),
            emission_stage_inferred: matched.vehicle.and_then(|v| book.rules.stage_by_date().infer(&v)),
            fuel: matched.vehicle.map(|v| v.fuel.into()),
            lists: labels(&matched.lists),
            local: is_local(passage, matched, book),
            candidates: match &matched.kind {
                MatchKind::Suspected(found) => found.iter().map(|each| CandidateDocument::of(each, passage)).collect(),
                MatchKind::Exact | MatchKind::None => Vec::new(),
            },
        }
    }
}

/// Each list once, however many entries of it name the vehicle.
pub(in crate::judge) fn labels(hits: &[ListHit]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::with_capacity(hits.len());
    for label in hits.iter().map(ListHit::label) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    labels
}
