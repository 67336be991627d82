//! What an import says when it is done.

use std::{fmt::Write as _, io::Write as _, path::Path};

use super::Notes;
use crate::vehicle::import::{
    MAX_REFUSED_KEPT, Refusals,
    apply::{Outcome, Withheld},
};

/// 0 when the file is (or by a dry run would be) in force without a refused row, otherwise 1.
pub fn exit_code(outcome: &Outcome, yes: bool) -> u8 {
    let in_force = match outcome.withheld {
        None => true,
        Some(Withheld::DryRun) => yes || !outcome.removes_much,
        Some(_) => false,
    };
    u8::from(!in_force || outcome.read.refusals.count() > 0)
}

pub fn print(file: Option<&Path>, outcome: &Outcome, notes: &Notes) {
    // Standard output may be closed early, by `head` for instance; the import is done all the same.
    let _ = std::io::stdout().lock().write_all(text(file, outcome, notes).as_bytes());
}

pub fn text(file: Option<&Path>, outcome: &Outcome, notes: &Notes) -> String {
    let Outcome { dataset, previous_version, version, added, changed, removed, kept, by_column, read, .. } = outcome;
    let mut out = String::new();
    rows(&mut out, "refused", &read.refusals);
    rows(&mut out, "contradictory", &read.contradictions);
    rows(&mut out, "doubtful", &read.doubts);
    if !notes.passed_over.is_empty() {
        line(&mut out, format_args!("sheets not read (--sheet names one): {}", notes.passed_over.join(", ")));
    }
    if !notes.ignored_columns.is_empty() {
        line(&mut out, format_args!("ignored columns: {}", notes.ignored_columns.join(", ")));
    }
    if !notes.absent_columns.is_empty() {
        line(&mut out, format_args!("absent columns, taken as empty: {}", notes.absent_columns.join(", ")));
    }
    if !notes.hidden_columns.is_empty() {
        line(&mut out, format_args!("hidden columns that were read: {}", notes.hidden_columns.join(", ")));
    }
    if let Some(file) = file {
        let sha256 = hex::encode(notes.sha256);
        line(&mut out, format_args!("{}: {}, sha256 {sha256}", file.display(), notes.encoding));
        line(&mut out, format_args!("{}", read.line()));
    }
    let (refused, contradictory) = (read.refusals.count(), read.contradictions.count());
    line(
        &mut out,
        format_args!(
            "added {added}, changed {changed}, removed {removed}, unchanged {kept}, refused {refused}, contradictory \
             {contradictory}"
        ),
    );
    if notes.conflicts > 0 {
        let (count, file) = (notes.conflicts, hex::encode(notes.sha256.get(..6).unwrap_or_default()));
        line(
            &mut out,
            format_args!(
                "{count} of the refused rows contradict a report with the same number and wait for a person: `dieselwatch \
                 inspections conflicts --file {file}` shows both reports of each, `dieselwatch inspections resolve` decides; \
                 until then the first report holds and neither vehicle is convicted for want of the other"
            ),
        );
    }
    if !by_column.is_empty() {
        let counts = by_column.iter().map(|(column, count)| format!("{column} {count}")).collect::<Vec<_>>();
        line(&mut out, format_args!("changed in: {}", counts.join(", ")));
    }
    if outcome.removes_much {
        let before = outcome.before();
        let share = *removed as f64 * 100.0 / before as f64;
        let (go, answer) = match outcome.withheld {
            None => ("went", "--yes accepted it"),
            Some(_) => ("would go", "is this the whole list? --yes accepts it"),
        };
        line(
            &mut out,
            format_args!(
                "{removed} of the {before} entries in force {go} ({share:.1} %), more than import.max_removed_share allows \
                 without being asked for; {answer}"
            ),
        );
    }
    let stays = |why: &str| format!("{dataset}: nothing changed, version {previous_version} stays in force: {why}");
    let last = match outcome.withheld {
        None => format!("{dataset}: version {version} is in force (was {previous_version})"),
        Some(Withheld::DryRun) => stays("dry run"),
        Some(Withheld::Strict) => stays("rows were refused or contradict each other and --strict is set"),
        Some(Withheld::NothingTaken) => {
            stays("no row could be taken; --allow-empty accepts a file without rows (with --yes where entries go)")
        }
        Some(Withheld::RemovesMuch) => stays("too much would go without --yes"),
    };
    line(&mut out, format_args!("{last}"));
    out
}

fn rows(out: &mut String, what: &str, rows: &Refusals) {
    for row in rows.rows() {
        line(out, format_args!("{what} row {}: {}", row.row, row.reason));
    }
    let more = rows.count() - rows.rows().len() as u64;
    if more > 0 {
        line(out, format_args!("... and {more} more {what} rows; only the first {MAX_REFUSED_KEPT} are shown"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
