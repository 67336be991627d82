use serde_json::json;

use super::*;
use crate::{
    finding::{Subject, finding_id},
    judge::tests::book,
    reading::{Plate, PlateColor},
};

fn key() -> PlateKey {
    PlateKey::new(Plate::parse("鲁C12345").expect("legal"), PlateColor::Yellow)
}

/// Two readings of one drive past, five seconds apart.
fn passage() -> [Stored; 2] {
    let at = Timestamp::parse_rfc3339("2026-03-01T10:00:00+08:00").expect("valid");
    [("r-1", 0), ("r-2", 5)].map(|(record, seconds)| Stored {
        station_id: "s".into(),
        record_id: record.into(),
        outcomes: 0,
        carrier: None,
        place: Place { station: 1, passed_at: at.plus_seconds(seconds) },
    })
}

fn stored(rule: &'static str, reading: &Stored, in_force: bool, rejudged: bool) -> Existing {
    let natural_key = format!("{}/{}", reading.station_id, reading.record_id);
    let finding = Finding {
        id: finding_id(rule, &natural_key),
        rule: rule.into(),
        subject: Subject::Vehicle(key()),
        from: reading.place.passed_at,
        to: reading.place.passed_at,
        review: Review::NotNeeded,
        intercept: false,
        content: json!({}),
        evidence: Vec::new(),
    };
    Existing { finding, in_force, revision: 1, readings: vec![name(reading)], rejudged }
}

fn changes(existing: Vec<Existing>) -> Vec<Change> {
    reconcile::compare(decide(key(), &passage(), &[], &existing, &book()), existing)
}

#[test]
fn what_was_taken_back_does_not_stand_for_its_passage() {
    let [first, second] = passage();
    let scrapped = "R8.scrapped_on_road";
    let of = |first_in_force, first_rejudged, second_in_force| {
        changes(vec![
            stored(scrapped, &first, first_in_force, first_rejudged),
            stored(scrapped, &second, second_in_force, false),
        ])
    };
    assert!(of(true, false, false).is_empty(), "the first stands for both");
    assert!(
        matches!(&of(true, false, true)[..], [Change::Revoke { finding, .. }] if finding.from == second.place.passed_at)
    );
    let restated = of(false, true, false);
    assert!(
        matches!(&restated[..], [Change::Restate { finding, revision: 2 }] if finding.from == second.place.passed_at)
    );
    assert!(of(false, true, true).is_empty());
    let both_gone = changes(vec![stored(scrapped, &first, false, true), stored(scrapped, &second, false, true)]);
    assert!(both_gone.is_empty(), "only another recalculation states them again");
}
