//! What one reading says by itself: limits, conditions, lists, alarms. Pure functions: no clock, no I/O.
//!
//! - [`passage()`]: a roadside measurement against the limits of its vehicle, and the lists the vehicle is on.
//! - [`terminal()`]: alarms a terminal raises about itself, and which seconds of a stream count for NOx.
//! - [`nonroad()`]: a machine in a control zone.
//!
//! What needs more than one reading (consecutive tests, runs of seconds) is decided by [`crate::evaluate`] from stored
//! facts. Every number comes from [`limits`] or the configuration, as of the reading's own time.

use crate::config;

pub mod condition;
pub mod document;
mod findings;
pub mod limits;
pub mod nonroad;
pub mod pollutant;
mod remote_sensing;
mod review;
pub mod schemas;
pub mod terminal;
pub mod verdict;

pub use condition::StationFacts;
pub use findings::OVER_RULE;
pub use limits::Limits;
pub use nonroad::nonroad;
pub use pollutant::Pollutant;
pub use remote_sensing::passage;
pub use schemas::schemas;
pub use terminal::terminal;
pub use verdict::{Judgement, Outcome, PollutantVerdict, Verdict};

/// Everything judgement goes by besides the reading and its vehicle; immutable while the service runs.
#[derive(Clone, Debug)]
pub struct RuleBook {
    pub limits: Limits,
    pub settings: config::Judge,
}

/// Why there is no rule book.
#[derive(Debug, thiserror::Error)]
pub enum RuleBookError {
    #[error("read the table of limits {path}")]
    Read { path: std::path::PathBuf, source: std::io::Error },
    #[error("the table of limits {path} is wrong")]
    Invalid { path: std::path::PathBuf, source: limits::LimitsErrors },
}

impl RuleBook {
    pub fn new(limits: Limits, settings: config::Judge) -> Self {
        Self { limits, settings }
    }

    /// Reads the table that the settings name, or takes the one built in.
    pub fn load(settings: config::Judge) -> Result<Self, RuleBookError> {
        let limits = match &settings.limits_file {
            None => Limits::built_in(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| RuleBookError::Read { path: path.clone(), source })?;
                Limits::parse(&text).map_err(|source| RuleBookError::Invalid { path: path.clone(), source })?
            }
        };
        Ok(Self { limits, settings })
    }
}

#[cfg(test)]
pub(crate) mod tests;
