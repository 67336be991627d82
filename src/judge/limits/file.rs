//! The shape of `limits.toml` before anything in it is believed.

use serde::Deserialize;
use toml::{Spanned, value::Datetime};

use super::{Confidence, ListEffect};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub version: String,
    #[serde(default)]
    pub limit: Vec<Spanned<LimitEntry>>,
    #[serde(default)]
    pub condition: Vec<Spanned<ConditionEntry>>,
    #[serde(default)]
    pub bound: Vec<Spanned<BoundEntry>>,
    pub episode: Spanned<EpisodeEntry>,
    #[serde(default)]
    pub list: Vec<Spanned<ListEntry>>,
    #[serde(default)]
    pub bar: Vec<Spanned<BarEntry>>,
    /// Refused with the place where it stands now.
    pub nonroad: Option<Spanned<toml::Table>>,
    #[serde(default)]
    pub smoke: Vec<Spanned<SmokeEntry>>,
}

/// Where a number comes from; `source` and the others must not be empty.
pub(in crate::judge) struct Cited {
    pub standard: String,
    pub clause: String,
    pub source: String,
    pub confidence: Confidence,
}

/// `serde(flatten)` cannot be had together with `deny_unknown_fields`, so the four fields of a citation are declared
/// in each entry and gathered here.
macro_rules! cited_entry {
    ($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? }) => {
        pub(super) struct $name {
            $(pub $field: $type,)*
            pub cited: Cited,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Flat {
                    $($(#[$attribute])* $field: $type,)*
                    standard: String,
                    clause: String,
                    source: String,
                    confidence: Confidence,
                }
                let Flat { $($field,)* standard, clause, source, confidence } = Flat::deserialize(deserializer)?;
                Ok(Self { $($field,)* cited: Cited { standard, clause, source, confidence } })
            }
        }
    };
}

cited_entry!(LimitEntry {
    pollutant: String,
    class: String,
    value: f64,
    unit: String,
    #[serde(default)]
    screening: bool,
    valid_from: Datetime,
    valid_to: Option<Datetime>,
});

cited_entry!(ConditionEntry {
    key: String,
    min: Option<f64>,
    above: Option<f64>,
    max: Option<f64>,
    unit: String,
    #[serde(default)]
    when_missing: WhenMissing,
    applies_to: Vec<String>,
    valid_from: Datetime,
    valid_to: Option<Datetime>,
});

cited_entry!(EpisodeEntry { tests: u32, months: u32, reset: Option<Spanned<ResetEntry>> });

cited_entry!(ResetEntry { kinds: Vec<String> });

cited_entry!(BarEntry {
    list: String,
    bars: Vec<String>,
    fuel: Option<Vec<String>>,
    max_stage: Option<u8>,
    truck: Option<bool>,
    operating: Option<bool>,
});

cited_entry!(SmokeEntry {
    class: u8,
    power_from_kw: f64,
    power_below_kw: Option<f64>,
    power_up_to_kw: Option<f64>,
    k_m1: f64,
    valid_from: Datetime,
    valid_to: Option<Datetime>,
});

/// No text of law holds these numbers, so there is neither standard nor clause.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BoundEntry {
    pub channel: String,
    pub min: f64,
    pub max: f64,
    pub unit: String,
    pub source: String,
    pub confidence: Confidence,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WhenMissing {
    #[default]
    Invalid,
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListEntry {
    pub name: String,
    pub rule: String,
    pub effect: ListEffect,
    pub intercept: bool,
    pub source: String,
}
