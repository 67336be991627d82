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
    pub episode: Spanned<EpisodeEntry>,
    #[serde(default)]
    pub list: Vec<Spanned<ListEntry>>,
    pub nonroad: Spanned<NonroadEntry>,
}

/// Where a number comes from; `source` and the others must not be empty.
pub(super) struct Cited {
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

cited_entry!(EpisodeEntry { tests: u32, months: u32 });

cited_entry!(NonroadEntry { min_stage: u8 });

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
