//! Reports of inspection stations that contradict each other, through the real program: nobody is convicted before a person
//! decided, and everything is kept.

use std::process::Output;

use serde_json::Value;

use super::{PASSAGES, World, ago, passage};
use crate::support::{self, publisher::publish, service::Service};

const DAY: i64 = 86_400;
const REGISTER: &str = "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,local\n\
    鲁C66601,yellow,LGDCHA1G8MA900002,B,3,H12,F,A,2012-05-01,true\n\
    鲁C66602,yellow,LGDCHA1GXMA900003,B,3,H12,F,A,2012-05-01,true\n";
const COLUMNS: &str = "plate,plate_color,station_id,inspected_at,kind,result,report_no";
const JUNE: &str = include_str!("../fixtures/cases/05-scientific/live-june.csv");
const JULY: &str = include_str!("../fixtures/cases/05-scientific/live-july.csv");

/// Two tests of each vehicle, both far over the limit.
async fn two_tests_each(world: &World) {
    for (plate, name) in [("鲁C66601", "a"), ("鲁C66602", "b")] {
        for days in [100, 10] {
            let mut passage = passage(&format!("{name}-{days}"), &ago(days * DAY), 44.0);
            passage["plate"] = plate.into();
            publish(&world.setting.broker, [(PASSAGES, passage.to_string())]).await;
        }
    }
}

/// Waits until nothing is left to follow up and exactly these plates have a series.
async fn convicted(world: &World, plates: &[&str]) {
    support::until(&format!("{plates:?} to have a series"), async || {
        let sql = "SELECT split_part(subject, ':', 1) FROM finding WHERE state = 0 AND rule = 'HJ845.consecutive' \
                   ORDER BY subject";
        let rows = world.client.query(sql, &[]).await.unwrap();
        let found: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        let waiting = world.count("SELECT count(*) FROM evaluation_task").await;
        let stored = world.count("SELECT count(*) FROM finding WHERE state = 0 AND rule = 'HJ845.over'").await;
        (waiting == 0 && stored == 4 && found == plates).then_some(())
    })
    .await;
}

/// Imports reports; the exit code and what was said.
async fn import(world: &World, name: &str, text: &str) -> (Option<i32>, String) {
    let path = world.path(name);
    std::fs::write(&path, text).unwrap();
    said(world.setting.command(&["import", "inspections", path.to_str().unwrap(), "--by", "desk 3"]).await)
}

async fn command(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let all: Vec<&str> = ["inspections"].iter().chain(arguments).copied().collect();
    said(world.setting.command(&all).await)
}

fn said(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

async fn conflicts(world: &World, arguments: &[&str]) -> Vec<Value> {
    let all: Vec<&str> = ["inspections", "conflicts", "--json"].iter().chain(arguments).copied().collect();
    world.setting.succeed(&all).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_comes_again_for_another_vehicle_waits_for_a_person() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", REGISTER).await;
    let service = Service::start_ready(&world.setting).await;
    two_tests_each(&world).await;
    convicted(&world, &["鲁C66601", "鲁C66602"]).await;
    let report = |plate: &str, days: i64| format!("{COLUMNS}\n{plate},yellow,I7,{},recheck,pass,A1\n", ago(days * DAY));
    let (june, july, august) = (report("鲁C66601", 60), report("鲁C66602", 40), report("鲁C66603", 30));

    assert_eq!(import(&world, "june.csv", &june).await.0, Some(0));
    convicted(&world, &["鲁C66602"]).await;
    let (code, text) = import(&world, "july.csv", &july).await;
    assert!(code == Some(1) && text.contains("another vehicle") && text.contains("inspections conflicts"), "{text}");
    convicted(&world, &[]).await;
    let (code, text) = import(&world, "july.csv", &july).await;
    assert!(code == Some(1) && text.contains("waits as conflict 1"), "{text}");
    assert_eq!(import(&world, "august.csv", &august).await.0, Some(1));
    assert_eq!(world.count("SELECT count(*) FROM inspection").await, 1, "what came first holds");

    let open = conflicts(&world, &[]).await;
    assert_eq!(open.len(), 2);
    assert_eq!((&open[0]["first"]["plate"], &open[0]["second"]["plate"]), (&"鲁C66601".into(), &"鲁C66602".into()));
    assert_eq!((&open[0]["second"]["file"], &open[0]["second"]["row"]), (&"july.csv".into(), &2.into()));
    assert_eq!((&open[0]["second"]["imported_by"], &open[0]["decided"]), (&"desk 3".into(), &Value::Null));
    assert!(command(&world, &["conflicts", "1"]).await.1.contains("differs in: vehicle  open"));

    let resolve = ["resolve", "1", "--by", "Li", "--keep", "first", "--why", "the station withdrew it"];
    assert_eq!(command(&world, &resolve[..6]).await.0, Some(2), "a reason is needed");
    assert_eq!(command(&world, &["resolve", "9", "--keep", "first", "--why", "x"]).await.0, Some(1));
    let (code, text) = command(&world, &resolve).await;
    assert_eq!(code, Some(0), "{text}");
    // The conflict with the third vehicle does not concern the second one.
    convicted(&world, &["鲁C66602"]).await;
    let (code, text) = command(&world, &resolve).await;
    assert!(code == Some(1) && text.contains("decided already: keep_first by Li"), "{text}");
    let (code, text) = import(&world, "july.csv", &july).await;
    assert!(code == Some(1) && text.contains("decided against (conflict 1)"), "{text}");

    let (code, text) = command(&world, &["resolve", "2", "--take", "second", "--by", "Li", "--why", "misread"]).await;
    assert_eq!(code, Some(0), "{text}");
    convicted(&world, &["鲁C66601", "鲁C66602"]).await;
    let (code, text) = import(&world, "june.csv", &june).await;
    assert!(code == Some(1) && text.contains("later correction"), "{text}");
    assert_eq!(import(&world, "august.csv", &august).await.0, Some(0), "it holds");
    assert!(conflicts(&world, &[]).await.is_empty());
    let decided = conflicts(&world, &["--state", "decided"]).await;
    assert_eq!(decided[0]["decided"]["why"], "the station withdrew it");
    assert_eq!(
        (&decided[1]["first"]["plate"], &decided[1]["second"]["plate"]),
        (&"鲁C66601".into(), &"鲁C66603".into())
    );
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_a_spreadsheet_shortened_moves_no_recheck() {
    let Some(world) = World::new().await else { return };
    for text in [JUNE, JULY] {
        let (code, text) = import(&world, "live.csv", text).await;
        assert!(code == Some(1) && text.contains("row 2: report_no: "), "{text}");
    }
    assert_eq!(world.count("SELECT count(*) FROM inspection").await, 0);
    // The same two with a number that is none of a spreadsheet's making, and used twice all the same.
    let whole = |text: &str| text.replace("3.70306E+18", "I7-0042");
    assert_eq!(import(&world, "june.csv", &whole(JUNE)).await.0, Some(0));
    assert_eq!(import(&world, "july.csv", &whole(JULY)).await.0, Some(1));
    assert_eq!(conflicts(&world, &[]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_begin_anew_are_decided_in_one_go() {
    let Some(world) = World::new().await else { return };
    let rows = |year: i32, letter: char| -> String {
        let row = |n: i32| format!("鲁{letter}1000{n},yellow,I7,{year}-03-0{n} 10:00:00,recheck,pass,{n}\n");
        (1..=5).map(row).collect()
    };
    let moved = |plate: &str| format!("{plate},yellow,I7,2026-05-05 10:00:00,recheck,pass,77\n");
    let old = format!("{COLUMNS}\n{}{}", rows(2025, 'C'), moved("鲁C77777"));
    let new = format!("{COLUMNS}\n{}{}", rows(2026, 'D'), moved("鲁C88888"));
    assert_eq!(import(&world, "old.csv", &old).await.0, Some(0));
    let (code, text) = import(&world, "new.csv", &new).await;
    assert!(code == Some(1) && text.contains("6 of the refused rows contradict"), "{text}");
    let path = world.path("new.csv");
    let all_of =
        ["resolve", "--all-of", path.to_str().unwrap(), "--restarted", "--keep", "both", "--why", "a new year"];
    let (code, text) = command(&world, &all_of).await;
    assert!(code == Some(0) && text.starts_with("5 decided: keep_both"), "{text}");
    let open = conflicts(&world, &[]).await;
    assert_eq!((open.len(), &open[0]["report_no"]), (1, &"77".into()), "a plate corrected is no new year");
    // Both hold, are known again, and each is corrected by itself.
    assert_eq!(world.count("SELECT count(*) FROM inspection WHERE edition = 2").await, 5);
    let (code, text) = import(&world, "new.csv", &new).await;
    assert!(code == Some(1) && text.contains("unchanged 5, refused 1"), "{text}");
    let corrected = format!("{COLUMNS}\n{}", rows(2026, 'D').replace("pass", "fail"));
    let (code, text) = import(&world, "corrected.csv", &corrected).await;
    assert!(code == Some(0) && text.contains("changed 5"), "{text}");
    assert_eq!(world.count("SELECT count(*) FROM inspection WHERE edition = 1 AND revision = 2").await, 0);
    // The file may be gone: its hash names it.
    let hash = open[0]["second"]["file_sha256"].as_str().unwrap()[..12].to_owned();
    let (code, text) = command(&world, &["resolve", "--all-of", &hash, "--take", "second", "--why", "misread"]).await;
    assert!(code == Some(0) && text.starts_with("1 decided"), "{text}");
    let plate = "SELECT count(*) FROM inspection WHERE report_no = '77' AND revision = 2";
    assert_eq!(world.count(plate).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_and_decisions_at_once_make_one_conflict_and_one_decision() {
    let Some(world) = World::new().await else { return };
    let report = |plate: &str| format!("{COLUMNS}\n{plate},yellow,I7,2026-06-10 10:00:00,recheck,pass,A1\n");
    assert_eq!(import(&world, "june.csv", &report("鲁C66601")).await.0, Some(0));
    let july = world.path("july.csv");
    std::fs::write(&july, report("鲁C66602")).unwrap();
    let import = ["import", "inspections", july.to_str().unwrap()];
    let command = async |arguments: &[&str]| world.setting.command(arguments).await.status.code();
    let codes = tokio::join!(command(&import), command(&import), command(&import));
    assert_eq!(codes, (Some(1), Some(1), Some(1)));
    assert_eq!(world.count("SELECT count(*) FROM inspection_conflict").await, 1);
    let id = world.count("SELECT id FROM inspection_conflict").await.to_string();
    let first = ["inspections", "resolve", &id, "--keep", "first", "--why", "a"];
    let second = ["inspections", "resolve", &id, "--take", "second", "--why", "b"];
    let codes = tokio::join!(command(&first), command(&second));
    assert!(matches!(codes, (Some(0), Some(1)) | (Some(1), Some(0))), "{codes:?}");
    assert_eq!(world.count("SELECT count(*) FROM inspection_decision").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_under_another_station_and_rows_of_one_file_wait_as_well() {
    let Some(world) = World::new().await else { return };
    let row = |station: &str, result: &str, number: &str| {
        format!("鲁C66601,yellow,{station},2026-06-10 10:00:00,recheck,{result},{number}\n")
    };
    let file = format!("{COLUMNS}\n{}{}{}", row("I7", "pass", "A1"), row("I7", "pass", "A2"), row("I7", "fail", "A1"));
    let (code, text) = import(&world, "one.csv", &file).await;
    assert!(code == Some(1) && text.contains("row 4: names something else about the same inspection"), "{text}");
    let (code, text) = import(&world, "moved.csv", &format!("{COLUMNS}\n{}", row("I8", "fail", "A2"))).await;
    assert!(code == Some(1) && text.contains("another station"), "{text}");
    let ids: Vec<String> = conflicts(&world, &[]).await.iter().map(|c| c["conflict"].to_string()).collect();
    assert_eq!(ids.len(), 2);
    let all = ["resolve", &ids[0], &ids[1], "--take", "second", "--why", "the station says so"];
    assert_eq!(command(&world, &all).await.0, Some(0));
    let held = "SELECT station || ' ' || report_no || ' ' || passed || ' ' || withdrawn FROM inspection i WHERE NOT EXISTS \
                (SELECT FROM inspection n WHERE (n.station, n.report_no) = (i.station, i.report_no) AND n.revision > i.revision) \
                ORDER BY 1";
    let held: Vec<String> = world.client.query(held, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(held, ["I7 A1 false false", "I7 A2 true true", "I8 A2 false false"]);
}
