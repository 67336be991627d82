use proptest::prelude::*;

use super::*;
use crate::{
    judge::limits::InspectionKind,
    reading::{Plate, PlateColor, Timestamp},
};

fn key(plate: &str) -> PlateKey {
    PlateKey::new(Plate::parse(plate).expect("legal"), PlateColor::Yellow)
}

fn report(station: &str, plate: &str, day: &str, kind: InspectionKind, passed: bool) -> InspectionRow {
    InspectionRow {
        station: station.into(),
        report_no: "A1".into(),
        key: key(plate),
        inspected_at: Timestamp::parse_rfc3339(&format!("{day}T10:00:00+08:00")).expect("valid"),
        whole_day: false,
        kind,
        passed,
    }
}

fn recheck(plate: &str, day: &str, passed: bool) -> InspectionRow {
    report("i-1", plate, day, InspectionKind::Recheck, passed)
}

fn what(step: Step) -> Vec<&'static str> {
    match step {
        Step::Contradicts(_, what) => what,
        other => panic!("no conflict: {other:?}"),
    }
}

#[test]
fn only_another_result_or_time_of_the_same_inspection_is_a_correction() {
    let first = recheck("鲁C66601", "2026-06-10", true);
    let step = |row: &InspectionRow| {
        let mut journal = Journal::default();
        assert_eq!(journal.take(&first, false), Step::New);
        journal.take(row, false)
    };
    assert_eq!(step(&first), Step::Repeat);
    for row in [recheck("鲁C66601", "2026-06-10", false), recheck("鲁C66601", "2026-06-12", true)] {
        assert!(matches!(step(&row), Step::Corrects(last) if last.row == first && last.revision == 1));
    }
    assert_eq!(what(step(&recheck("鲁C66602", "2026-06-10", true))), ["vehicle"]);
    let other_color = InspectionRow { key: PlateKey::new(first.key.plate(), PlateColor::Blue), ..first.clone() };
    assert_eq!(what(step(&other_color)), ["vehicle"]);
    assert_eq!(what(step(&report("i-1", "鲁C66601", "2026-06-10", InspectionKind::Annual, true))), ["kind"]);
    assert_eq!(what(step(&recheck("鲁C66602", "2027-01-05", true))), ["vehicle", "year"]);
    // The first moment of the year in China is still the old one in London.
    assert_eq!(what(step(&recheck("鲁C66601", "2027-01-01", true))), ["year"]);
    let elsewhere = report("i-2", "鲁C66601", "2026-06-10", InspectionKind::Recheck, true);
    assert_eq!(what(step(&elsewhere)), ["station"]);
    assert_eq!(step(&report("i-2", "鲁C66602", "2026-06-10", InspectionKind::Recheck, true)), Step::New);
    assert_eq!(step(&report("i-2", "鲁C66601", "2026-06-11", InspectionKind::Recheck, true)), Step::New);
}

#[test]
fn rows_of_one_file_wait_whatever_they_differ_in() {
    let mut journal = Journal::default();
    let (first, second) = (recheck("鲁C66601", "2026-06-10", true), recheck("鲁C66601", "2026-06-10", false));
    assert_eq!(journal.take(&first, true), Step::New);
    assert_eq!(what(journal.take(&second, true)), ["same_file"]);
    assert_eq!(journal.take(&first, true), Step::Repeat, "it holds all the same");
}

#[test]
fn a_third_version_is_another_conflict_and_what_was_decided_stays() {
    let rows = ["鲁C66601", "鲁C66602", "鲁C66603"].map(|plate| recheck(plate, "2026-06-10", true));
    let mut journal = Journal::default();
    let stored =
        |edition, revision, row: &InspectionRow| Revision { edition, revision, withdrawn: false, row: row.clone() };
    journal.know(stored(1, 1, &rows[0]));
    journal.know_conflict("i-1", "A1", rows[1].content_hash(), Kept::Open, 7);
    assert_eq!(journal.take(&rows[1], false), Step::Known(Kept::Open, 7));
    assert_eq!(what(journal.take(&rows[2], false)), ["vehicle"]);
    journal.know_conflict("i-1", "A1", rows[1].content_hash(), Kept::Decided, 7);
    assert_eq!(journal.take(&rows[1], false), Step::Known(Kept::Decided, 7), "the first was kept");

    // The second was taken: it holds, and what it replaced does not come back by itself.
    let mut journal = Journal::default();
    journal.know(stored(1, 1, &rows[0]));
    journal.know(stored(1, 2, &rows[1]));
    journal.know_conflict("i-1", "A1", rows[1].content_hash(), Kept::Decided, 7);
    assert_eq!(journal.take(&rows[1], false), Step::Repeat);
    assert_eq!(journal.take(&rows[0], false), Step::Stale);

    // Both were kept: each is repeated and corrected by itself.
    let mut journal = Journal::default();
    journal.know(stored(1, 1, &rows[0]));
    journal.know(stored(2, 1, &rows[1]));
    assert_eq!((journal.take(&rows[0], false), journal.take(&rows[1], false)), (Step::Repeat, Step::Repeat));
    let corrected = |plate| journal_step(&journal, &recheck(plate, "2026-06-10", false));
    assert!(matches!(corrected("鲁C66601"), Step::Corrects(last) if last.edition == 1));
    assert!(matches!(corrected("鲁C66602"), Step::Corrects(last) if last.edition == 2));
}

fn journal_step(journal: &Journal, row: &InspectionRow) -> Step {
    journal.step(row, false)
}

#[test]
fn a_report_moved_to_another_station_comes_back_by_decision_only() {
    let here = recheck("鲁C66601", "2026-06-10", true);
    let there = InspectionRow { station: "i-2".into(), ..here.clone() };
    let mut journal = Journal::default();
    journal.know(Revision { edition: 1, revision: 1, withdrawn: false, row: here.clone() });
    journal.know(Revision { edition: 1, revision: 2, withdrawn: true, row: here.clone() });
    journal.know(Revision { edition: 1, revision: 1, withdrawn: false, row: there.clone() });
    assert_eq!(journal.take(&there, false), Step::Repeat);
    assert_eq!(journal.take(&here, false), Step::Stale);
    let other = InspectionRow { passed: false, ..here };
    assert!(matches!(journal.take(&other, false), Step::Contradicts(first, _) if first.withdrawn));
}

proptest! {
    /// Whatever comes in whatever order: a report never changes its vehicle or kind by itself, and everything that was sent
    /// is a revision or a conflict.
    #[test]
    fn no_row_moves_a_fact_and_none_is_forgotten(
        rows in prop::collection::vec((0..3_usize, 0..2_usize, 0..3_usize, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut journal = Journal::default();
        let (mut held, mut conflicts) = (Vec::<InspectionRow>::new(), Vec::new());
        for (plate, kind, day, passed, disputed) in rows {
            let kind = [InspectionKind::Recheck, InspectionKind::Annual][kind];
            let (plate, day) = (["鲁C66601", "鲁C66602", "鲁C66603"][plate], ["2026-01-01", "2026-12-31", "2027-01-01"][day]);
            let row = report("i-1", plate, day, kind, passed);
            match journal.take(&row, disputed) {
                Step::New => held.push(row),
                Step::Corrects(last) => {
                    prop_assert!(!disputed && (last.row.key, last.row.kind) == (row.key, row.kind));
                    held.push(row);
                }
                Step::Contradicts(..) => conflicts.push(row),
                Step::Repeat | Step::Stale => prop_assert!(held.contains(&row)),
                Step::Known(..) => prop_assert!(conflicts.contains(&row)),
            }
        }
        prop_assert!(held.iter().all(|row| (row.key, row.kind) == (held[0].key, held[0].kind)));
    }

    /// Both reports count for both vehicles.
    #[test]
    fn whatever_either_report_says_counts_for_both(same in any::<bool>()) {
        let first = recheck("鲁C66601", "2026-06-10", true);
        let second = recheck(if same { "鲁C66601" } else { "鲁C66602" }, "2026-07-11", true);
        let found: Vec<_> = undecided(&first, &second).collect();
        let expected = match same {
            true => vec![(first.key, &second)],
            false => vec![(first.key, &second), (second.key, &second), (second.key, &first)],
        };
        prop_assert_eq!(found, expected);
    }
}
