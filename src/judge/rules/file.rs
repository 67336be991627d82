//! The shape of `rules.toml` before anything in it is believed.

use serde::Deserialize;
use toml::{Spanned, value::Datetime};

use super::{
    Action, elimination, heavy_pollution, inspection, listed, low_emission, machine, retirement, retrofit, scrap_age,
    scrapped,
};
use crate::judge::limits::Confidence;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub version: String,
    pub classes: Spanned<ClassesEntry>,
    pub stage_by_date: Spanned<StageByDateEntry>,
    pub rule: RuleTables,
}

/// One array a rule. A rule is switched off, never left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleTables {
    #[serde(rename = "R1")]
    pub elimination: Vec<Spanned<Entry<elimination::Parameters>>>,
    #[serde(rename = "R2")]
    pub retirement: Vec<Spanned<Entry<retirement::Parameters>>>,
    #[serde(rename = "R3")]
    pub old_gas: Vec<Spanned<Entry<listed::Parameters>>>,
    #[serde(rename = "R4")]
    pub retrofit: Vec<Spanned<Entry<retrofit::Parameters>>>,
    #[serde(rename = "R5")]
    pub scrap_age: Vec<Spanned<Entry<scrap_age::Table>>>,
    #[serde(rename = "R6")]
    pub inspection: Vec<Spanned<Entry<inspection::Table>>>,
    #[serde(rename = "R7")]
    pub unrepairable: Vec<Spanned<Entry<listed::Parameters>>>,
    #[serde(rename = "R8")]
    pub scrapped: Vec<Spanned<Entry<scrapped::Parameters>>>,
    #[serde(rename = "R9")]
    pub low_emission: Vec<Spanned<Entry<low_emission::Parameters>>>,
    #[serde(rename = "R10")]
    pub heavy_pollution: Vec<Spanned<Entry<heavy_pollution::Table>>>,
    #[serde(rename = "R11")]
    pub nonroad_stage: Vec<Spanned<StageEntry>>,
    #[serde(rename = "GB36886")]
    pub nonroad_smoke: Vec<Spanned<SmokeEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry<P> {
    pub enabled: bool,
    pub action: Action,
    pub valid_from: Datetime,
    pub valid_to: Option<Datetime>,
    pub standard: String,
    pub clause: String,
    pub source: String,
    pub confidence: Confidence,
    pub parameters: P,
}

/// A rule for machines, which has no action of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StageEntry {
    enabled: bool,
    valid_from: Datetime,
    valid_to: Option<Datetime>,
    standard: String,
    clause: String,
    source: String,
    confidence: Confidence,
    parameters: machine::Parameters,
}

/// A rule for machines whose numbers stand elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SmokeEntry {
    enabled: bool,
    valid_from: Datetime,
    valid_to: Option<Datetime>,
    standard: String,
    clause: String,
    source: String,
    confidence: Confidence,
}

impl From<StageEntry> for Entry<machine::Parameters> {
    fn from(entry: StageEntry) -> Self {
        let StageEntry { enabled, valid_from, valid_to, standard, clause, source, confidence, parameters } = entry;
        let action = Action::Violation;
        Self { enabled, action, valid_from, valid_to, standard, clause, source, confidence, parameters }
    }
}

impl From<SmokeEntry> for Entry<()> {
    fn from(entry: SmokeEntry) -> Self {
        let SmokeEntry { enabled, valid_from, valid_to, standard, clause, source, confidence } = entry;
        let (action, parameters) = (Action::Notice, ());
        Self { enabled, action, valid_from, valid_to, standard, clause, source, confidence, parameters }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassesEntry {
    pub trucks: Vec<String>,
    pub operating: Vec<String>,
    pub source: String,
    #[serde(rename = "confidence")]
    pub _confidence: Confidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StageByDateEntry {
    pub kinds: Vec<String>,
    pub steps: Vec<Step>,
    pub afterwards: u8,
    pub source: String,
    #[serde(rename = "confidence")]
    pub _confidence: Confidence,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub before: Datetime,
    pub stage: u8,
}
