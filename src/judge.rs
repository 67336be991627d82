//! What one reading says by itself: limits, conditions, lists, alarms. Pure functions: no clock, no I/O.
//!
//! - [`passage_amid()`]: a roadside measurement against the limits of its vehicle, and the vehicle itself against the rules
//!   for its class, age, state and lists ([`rules`]), amid the zones and warnings it drove in.
//! - [`terminal()`]: alarms a terminal raises about itself, and which seconds of a stream count for NOx.
//! - [`nonroad()`]: a machine in a control zone.
//!
//! What needs more than one reading (consecutive tests, runs of seconds) is decided by [`crate::evaluate`] from stored
//! facts. Every number comes from [`limits`], [`rules`] or the configuration, as of the reading's own time.

use std::path::{Path, PathBuf};

use crate::config;

pub mod condition;
pub mod document;
pub mod doubt;
mod explanation;
mod findings;
pub mod limits;
pub mod nonroad;
pub mod origin;
pub mod pollutant;
mod remote_sensing;
mod review;
pub mod rules;
pub mod schemas;
pub mod standing;
pub mod suspicion;
pub mod terminal;
pub mod terminal_table;
pub mod trouble;
pub mod verdict;

pub use condition::StationFacts;
pub use findings::{OVER_RULE, SCREENING_ONLY, SUSPECTED_MATCH_RULE, SUSPECTED_OVER_RULE};
pub use limits::Limits;
pub use nonroad::{nonroad, smoke};
pub use pollutant::Pollutant;
pub use remote_sensing::{passage, passage_amid};
pub use review::{PLATE_FOLDED, REGISTER_CONTRADICTORY, REGISTERED_AFTER_PASSAGE};
pub use rules::{RETROFIT_RULE, Rules};
pub use schemas::schemas;
pub use terminal::terminal;
pub use terminal_table::TerminalTable;
pub use verdict::{Judgement, Outcome, PollutantVerdict, Verdict};

/// Everything judgement goes by besides the reading and its vehicle; immutable while the service runs.
#[derive(Clone, Debug)]
pub struct RuleBook {
    pub limits: Limits,
    pub rules: Rules,
    pub settings: config::Judge,
    pub terminal: TerminalTable,
}

/// Why a table is none.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("read the table of {table} {}: {source}", .path.display())]
    Read { table: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the table of {table} {} is wrong: {problems}", .path.display())]
    Wrong { table: &'static str, path: PathBuf, problems: limits::LimitsErrors },
    #[error(
        "two tables disagree on the list {}: R2 of the rules means stage {} and older by it, its [[bar]] in the limits \
         stage {}; correct max_stage_of of R2 or max_stage of the bar",
        .0.list, .0.by_rule, .0.by_bar
    )]
    Disagree(rules::Disagreement),
}

/// Why there is no rule book: every table that is none, each mistake with file and line. A mistake of configuration.
#[derive(Debug, thiserror::Error)]
pub struct RuleBookError(pub Vec<TableError>);

impl std::fmt::Display for RuleBookError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tables: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&tables.join("\n"))
    }
}

impl RuleBook {
    /// A table of limits with the vehicle rules built in.
    pub fn new(limits: Limits, settings: config::Judge) -> Self {
        Self { limits, rules: Rules::built_in(), settings, terminal: TerminalTable::built_in() }
    }

    /// Reads the tables that the settings name, or takes those built in.
    pub fn load(settings: config::Judge) -> Result<Self, RuleBookError> {
        let limits = table("limits", settings.limits_file.as_deref(), limits::BUILT_IN, Limits::parse);
        let rules = table("rules", settings.rules_file.as_deref(), rules::BUILT_IN, Rules::parse);
        let terminal_file = settings.terminal_file.as_deref();
        let terminal = table("terminal alarms", terminal_file, terminal_table::BUILT_IN, TerminalTable::parse);
        match (limits, rules, terminal) {
            (Ok(limits), Ok(rules), Ok(terminal)) => match rules.disagreement(limits.bars()) {
                None => Ok(Self { limits, rules, settings, terminal }),
                Some(disagreement) => Err(RuleBookError(vec![TableError::Disagree(disagreement)])),
            },
            (limits, rules, terminal) => {
                let wrong = [limits.err(), rules.err(), terminal.err()];
                Err(RuleBookError(wrong.into_iter().flatten().collect()))
            }
        }
    }
}

fn table<T>(
    table: &'static str,
    file: Option<&Path>,
    built_in: &str,
    parse: impl Fn(&str) -> Result<T, limits::LimitsErrors>,
) -> Result<T, TableError> {
    let path = file.unwrap_or(Path::new("built in")).to_owned();
    let text = match file {
        None => built_in.to_owned(),
        Some(file) => {
            std::fs::read_to_string(file).map_err(|source| TableError::Read { table, path: path.clone(), source })?
        }
    };
    parse(&text).map_err(|problems| TableError::Wrong { table, path, problems })
}

#[cfg(test)]
pub(crate) mod tests;
