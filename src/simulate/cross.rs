//! The fleet against the importer and the passage decoder.

use std::{path::Path, sync::Arc};

use super::{
    fleet::List,
    message::Kind,
    passage::PassageDetail,
    script::{Script, ScriptOptions},
    *,
};
use crate::{decode::remote_sensing, fault::Reason, vehicle::import::offline};

#[test]
fn demo_files_import_without_a_refusal() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/demo");
    let file = |name: &str| folder.join(name);
    let area = crate::judge::TerminalTable::built_in().bounds().area;
    let mut lists = Default::default();
    let mut summaries = vec![
        offline::vehicles(&file("vehicles.csv")).expect("readable").1,
        offline::stations(&file("stations.csv"), &area).expect("readable").1,
        offline::devices(&file("devices.csv")).expect("readable").1,
        offline::zones(&file("zones.geojson"), crate::zone::Datum::Wgs84, &area).expect("readable").1,
    ];
    for list in List::ALL {
        let path = file(&format!("list-{}.csv", list.name()));
        summaries.push(offline::list(list.name(), &path, &mut lists).expect("readable"));
    }
    for summary in summaries {
        assert!(summary.rows > 0 && summary.refusals.count() == 0, "{summary:?}");
    }
}

#[test]
fn passages_are_taken_or_refused_as_the_ledger_will_say() {
    let now = Timestamp::now();
    let mut script = Script::new(ScriptOptions {
        fleet: Arc::new(Fleet::demo()),
        run: "cross".into(),
        rate: 100.0,
        start: now,
        mix: Mix::only_passages(),
        scenario: Scenario { bad: 0.1, arrays: 0.1, too_large_bytes: 70_000, ..Scenario::demo() },
        detail: PassageDetail::Full,
    });
    for _ in 0..4000 {
        let message = script.next_message();
        if message.expect.reason == Some(Reason::TooLarge) {
            continue; // told by size, before decoding
        }
        let (mut taken, mut reasons) = (0, Vec::new());
        match remote_sensing::decode(&message.payload) {
            Err(refusal) => reasons.push(refusal.reason),
            Ok(elements) => {
                for element in elements {
                    match element.passage {
                        Err(refusal) => reasons.push(refusal.reason),
                        Ok(p) if !message.topic.contains(p.station_id.as_str()) => {
                            reasons.push(Reason::IdentityMismatch)
                        }
                        Ok(p) if p.passed_at.micros_since(now).abs() > 86_400_000_000 => {
                            reasons.push(Reason::TimeImplausible)
                        }
                        Ok(_) => taken += 1,
                    }
                }
            }
        }
        assert_eq!((taken, reasons.len() as u32), (message.expect.readings, message.expect.quarantined));
        assert_eq!(reasons.first().copied(), message.expect.reason);
        assert_eq!(message.expect.kind == Kind::Bad, taken == 0);
    }
}
