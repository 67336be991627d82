//! What the command knows besides passages: register, lists and the rest from files instead of the database.
//!
//! A row of the register or of a list that is refused is named and leaves the others in place, as in an import. A zone, a
//! station, a warning or a recheck left out would change verdicts of vehicles it does not name, so a refused one of these
//! ends the command.

use std::{collections::HashMap, path::Path};

use anyhow::Context as _;

use super::Args;
use crate::{
    cli::{UsageError, chain},
    evaluate::recheck::Passed,
    judge::{RuleBook, limits::InspectionKind},
    mapping::{Mapping, Target},
    reading::PlateKey,
    vehicle::{
        import::{ImportError, accounts::ReadSummary, inspections::InspectionRow, offline},
        knowledge::Knowledge,
        lists::ListsBuilder,
    },
};

/// Rows that are named; the rest is counted.
const NAMED: usize = 20;

pub(super) struct Files {
    pub known: Knowledge,
    pub mapping: Option<Mapping>,
    pub rechecks: HashMap<PlateKey, Vec<Passed>>,
    /// A row of register or lists was refused, or two inspection reports contradict each other.
    pub refused: bool,
}

impl Files {
    pub fn load(args: &Args, book: &RuleBook) -> anyhow::Result<Self> {
        let area = &book.terminal.bounds().area;
        let mut known = Knowledge::default();
        let mut refused = false;
        if let Some(path) = &args.vehicles {
            let (registry, read) = named(path, offline::vehicles(path))?;
            refused |= told(path, &read);
            known.registry = registry.into();
        }
        let mut lists = ListsBuilder::default();
        for list in &args.lists {
            let read = named(&list.path, offline::list(&list.name, &list.path, &mut lists))?;
            refused |= told(&list.path, &read);
        }
        known.lists = lists.build().into();
        if let Some(path) = &args.zones {
            let (zones, read) = named(path, offline::zones(path, args.datum, area))?;
            whole(path, &read)?;
            known.zones = zones.into();
        }
        if let Some(path) = &args.stations {
            let (stations, read) = named(path, offline::stations(path, area))?;
            whole(path, &read)?;
            known.stations = stations.sited(&known.zones).into();
        }
        if let Some(path) = &args.warnings {
            known.warnings = offline::warnings(path).map_err(|error| UsageError(chain(&error)))?.into();
        }
        let mut rechecks: HashMap<PlateKey, Vec<Passed>> = HashMap::new();
        if let Some(path) = &args.inspections {
            let (reports, read) = named(path, offline::inspections(path))?;
            whole(path, &read)?;
            told(path, &read);
            // Nobody is accused for want of a report that nobody decided about, and the answer is not complete either.
            refused |= read.contradictions.count() > 0;
            let kinds: Vec<InspectionKind> = book.limits.episode().reset_kinds().collect();
            let resets = |row: &InspectionRow| row.passed && kinds.contains(&row.kind);
            for row in reports.hold.iter().filter(|row| resets(row)) {
                rechecks.entry(row.key).or_default().push(Passed::of(row));
            }
            for (key, row) in reports.undecided.iter().filter(|(_, row)| resets(row)) {
                rechecks.entry(*key).or_default().push(Passed::undecided(row));
            }
        }
        let mapping = args.mapping.as_deref().map(|name| Mapping::load(name, Target::Passage));
        let mapping = mapping.transpose().map_err(|error| UsageError(chain(&error)))?;
        Ok(Self { known, mapping, rechecks, refused })
    }
}

/// A file that is not there is a wrong argument; one that cannot be used is work that failed.
fn named<T>(path: &Path, read: Result<T, ImportError>) -> anyhow::Result<T> {
    match read {
        Err(error @ ImportError::Read { .. }) => Err(UsageError(chain(&error)).into()),
        read => read.with_context(|| format!("read {}", path.display())),
    }
}

/// Names refused and contradicting rows on standard error; whether any were refused.
fn told(path: &Path, read: &ReadSummary) -> bool {
    let path = path.display();
    let kinds = [("refused", &read.refusals), ("contradictory", &read.contradictions), ("doubtful", &read.doubts)];
    for (what, rows) in kinds {
        for row in rows.rows().iter().take(NAMED) {
            eprintln!("{path}: row {} {what}: {}", row.row, row.reason);
        }
        if rows.count() > NAMED as u64 {
            eprintln!("{path}: {} rows {what}", rows.count());
        }
    }
    if read.refusals.count() + read.blank.count() + read.merged > 0 {
        eprintln!("{path}: {}", read.line());
    }
    read.refusals.count() > 0
}

fn whole(path: &Path, read: &ReadSummary) -> Result<(), UsageError> {
    match read.refusals.rows().first() {
        None => Ok(()),
        Some(refused) => Err(UsageError(format!("{}: entry {}: {}", path.display(), refused.row, refused.reason))),
    }
}
