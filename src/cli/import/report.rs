//! What an import says when it is done.

use std::{fmt::Write as _, io::Write as _, path::Path};

use super::Notes;
use crate::vehicle::import::{
    MAX_REFUSED_KEPT,
    apply::{Outcome, Withheld},
};

/// 0 when the file is (or by a dry run would be) in force without a refused row, otherwise 1.
pub fn exit_code(outcome: &Outcome) -> u8 {
    let in_force = matches!(outcome.withheld, None | Some(Withheld::DryRun));
    u8::from(!in_force || outcome.read.refusals.count() > 0)
}

pub fn print(file: &Path, outcome: &Outcome, notes: &Notes) {
    // Standard output may be closed early, by `head` for instance; the import is done all the same.
    let _ = std::io::stdout().lock().write_all(text(file, outcome, notes).as_bytes());
}

pub fn text(file: &Path, outcome: &Outcome, notes: &Notes) -> String {
    let Outcome { dataset, previous_version, version, added, changed, removed, kept, read, withheld } = outcome;
    let mut out = String::new();
    let refused = read.refusals.rows();
    for row in refused {
        line(&mut out, format_args!("refused row {}: {}", row.row, row.reason));
    }
    if read.refusals.count() > refused.len() as u64 {
        let more = read.refusals.count() - refused.len() as u64;
        line(&mut out, format_args!("... and {more} more refused rows; only the first {MAX_REFUSED_KEPT} are shown"));
    }
    if !notes.ignored_columns.is_empty() {
        line(&mut out, format_args!("ignored columns: {}", notes.ignored_columns.join(", ")));
    }
    if !notes.absent_columns.is_empty() {
        line(&mut out, format_args!("absent columns, taken as empty: {}", notes.absent_columns.join(", ")));
    }
    line(
        &mut out,
        format_args!(
            "{}: {} rows, {}, sha256 {}",
            file.display(),
            read.rows,
            notes.encoding,
            hex::encode(notes.sha256)
        ),
    );
    line(
        &mut out,
        format_args!(
            "added {added}, changed {changed}, removed {removed}, unchanged {kept}, refused {}",
            read.refusals.count()
        ),
    );
    match withheld {
        None => line(&mut out, format_args!("{dataset}: version {version} is in force (was {previous_version})")),
        Some(reason) => {
            let why = match reason {
                Withheld::DryRun => "dry run",
                Withheld::Strict => "rows were refused and --strict is set",
                Withheld::NothingTaken => "no row could be taken; --allow-empty accepts a file without rows",
            };
            line(
                &mut out,
                format_args!("{dataset}: nothing changed, version {previous_version} stays in force: {why}"),
            );
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}
