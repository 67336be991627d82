//! The happy path of each source: rows, findings, events, books, and the acknowledgement after the commit.

use std::path::Path;

use dieselwatch::simulate::{self, Broker, Scenario};
use serde_json::{Value, json};

use super::{PASSAGES, VEHICLES, World, ago, balanced, import_district, passage, settled, tables};
use crate::support::{self, http::metric, postgres, publisher::publish, service::Service, service::Setting};

/// The time of the published frames is years away.
const WIDE: &str = "plausible_past_days = 3650\nplausible_future_minutes = 5256000";

fn wide_sources() -> String {
    let source = |name: &str, filter: &str, protocol: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nkind = \"{name}\"\nfilter = \"{filter}\"\n{protocol}\n{WIDE}\n\
             unknown_device = \"store\"\n"
        )
    };
    let terminal = |name: &str, protocol: &str| {
        let keys = format!(
            "protocol = \"{protocol}\"\nhex_pointers = [\"/data\", \"/info/data\"]\nallow_missing_checksum = false"
        );
        source(name, &format!("dw/v1/{name}/+/frame"), &keys)
    };
    source("rs", "dw/v1/rs/+/passage", "")
        + &terminal("obd", "auto")
        + &terminal("retrofit", "auto")
        + &terminal("nonroad", "hj1014")
}

/// A published frame: its bytes and the identity in it.
fn frame(id: &str) -> (String, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frames/frames.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.split('\t').next() == Some(id)).unwrap();
    let bytes = hex::decode(line.rsplit('\t').next().unwrap().trim()).unwrap();
    // A header after GB/T 32960 has a response flag before the identity.
    let at = 3 + usize::from(bytes[3] == 0xfe);
    (String::from_utf8(bytes[at..at + 17].to_vec()).unwrap(), bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passages_become_rows_findings_and_events() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let scrapped =
        "plate,plate_color,valid_from,valid_to,reason,document_no\n鲁C12345,yellow,2026-01-01,,报废,2026-7\n";
    world.import(&["list", "scrapped"], "scrapped.csv", scrapped).await;
    let service = Service::start_ready(&world.setting).await;
    let single = passage("single", &ago(20), 44.0);
    let mut unread = passage("unread", &ago(400), 44.0);
    unread["plate"] = Value::Null;
    let array = json!([passage("a", &ago(4000), 12.0), unread, passage("c", &ago(8000), 31.0)]);
    publish(&world.setting.broker, [(PASSAGES, single.to_string()), (PASSAGES, array.to_string())]).await;
    settled(&service, 2).await;
    balanced(&service).await;

    // 0 pass, 1 over the limit, 4 undetermined: an unread plate is stored and not matched.
    let rows = world.client.query("SELECT record_id, verdict FROM passage ORDER BY record_id", &[]).await.unwrap();
    let rows: Vec<(String, i16)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0], ("a".into(), 0));
    assert_eq!(rows[1], ("c".into(), 1));
    assert_eq!(rows[2], ("single".into(), 1));
    assert!(rows[3].1 >= 2, "{rows:?}");
    let raw: Vec<u8> =
        world.client.query_one("SELECT raw FROM passage WHERE record_id = 'single'", &[]).await.unwrap().get(0);
    assert_eq!(raw, single.to_string().into_bytes());

    let rules = world.rules(0).await;
    assert_eq!(rules.iter().filter(|rule| *rule == "HJ845.over").count(), 2, "{rules:?}");
    assert_eq!(rules.iter().filter(|rule| rule.contains("scrapped")).count(), 3, "{rules:?}");
    let events = world.events().await;
    let intercepts = |event: &&Value| event["type"].as_str().unwrap().contains("intercept");
    assert_eq!(events.iter().filter(intercepts).count(), 1, "only the one that is live");
    assert!(events.iter().all(|event| event["subject"].as_str().unwrap().starts_with("鲁C12345")), "{events:?}");
    assert_eq!(world.count("SELECT count(*) FROM evidence WHERE raw IS NULL").await, 0);
    assert_eq!(service.stop().await, Some(0));
}

/// Two lanes and a resend under another record see one drive: the officer is asked for once at each station.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_drive_past_two_lanes_asks_for_an_officer_once() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let scrapped =
        "plate,plate_color,valid_from,valid_to,reason,document_no\n鲁C12345,yellow,2026-01-01,,报废,2026-7\n";
    world.import(&["list", "scrapped"], "scrapped.csv", scrapped).await;
    let service = Service::start_ready(&world.setting).await;
    let further = "dw/v1/rs/370306-77/passage";
    let seen = |record: &str, seconds: i64, topic: &str| {
        let mut passage = passage(record, &ago(seconds), 12.0);
        passage["station_id"] = json!(topic.split('/').nth(3));
        (topic.to_owned(), passage.to_string())
    };
    // One after the other, in one message, and at another station.
    publish(&world.setting.broker, [seen("first", 50, PASSAGES)]).await;
    settled(&service, 1).await;
    publish(&world.setting.broker, [seen("second", 45, PASSAGES)]).await;
    settled(&service, 2).await;
    let both = json!([passage("third", &ago(40), 12.0), passage("fourth", &ago(38), 12.0)]).to_string();
    publish(&world.setting.broker, [(PASSAGES.to_owned(), both), seen("elsewhere", 30, further)]).await;
    settled(&service, 4).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    let events = world.events().await;
    let asked: Vec<&str> = events
        .iter()
        .filter(|event| event["type"].as_str().unwrap().contains("intercept"))
        .map(|event| event["data"]["content"]["record_id"].as_str().unwrap_or("?"))
        .collect();
    assert_eq!(asked, ["first", "elsewhere"], "{events:#?}");
    let intercepts = metric(&service.metrics().await, "dieselwatch_intercepts_total", &[]);
    assert_eq!(intercepts, 2.0);
    let standing = "SELECT count(*) FROM finding WHERE rule = 'R8.scrapped_on_road' AND state = 0";
    assert_eq!(world.count(standing).await, 2, "the other records' findings are withdrawn");
    // Later it is another drive.
    publish(&world.setting.broker, [seen("again", -60, PASSAGES)]).await;
    settled(&service, 5).await;
    assert_eq!(metric(&service.metrics().await, "dieselwatch_intercepts_total", &[]), 3.0);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_frames_are_taken_as_bytes_as_hex_and_as_hex_in_json() {
    let Some(mut world) = World::new().await else { return };
    world.setting.further = wide_sources();
    let service = Service::start_ready(&world.setting).await;
    let mut messages: Vec<(String, Vec<u8>)> = Vec::new();
    for name in ["A2", "B", "D2", "E", "F0", "S3"] {
        let (vin, bytes) = frame(name);
        messages.push((format!("dw/v1/obd/{vin}/frame"), bytes));
    }
    let (machine, bytes) = frame("S4");
    messages.push((format!("dw/v1/nonroad/{machine}/frame"), bytes));
    let good = messages.len() as u64;
    publish(&world.setting.broker, messages.clone()).await;
    settled(&service, good).await;
    balanced(&service).await;
    let readings = "SELECT (SELECT count(*) FROM terminal_stream) + (SELECT count(*) FROM terminal_item)";
    let first = world.count(readings).await;
    assert_eq!(world.count("SELECT count(*) FROM terminal_packet").await, good as i64);
    assert_eq!(world.count("SELECT count(*) FROM dead_letter").await, 0);
    assert!(first >= 2 * 3, "{first}");

    // The same frames in other clothes are the same readings.
    let hex = messages.iter().map(|(topic, bytes)| (topic.clone(), hex::encode(bytes).into_bytes()));
    let json = messages.iter().map(|(topic, bytes)| {
        (topic.clone(), json!({"info": {"data": hex::encode_upper(bytes)}}).to_string().into_bytes())
    });
    publish(&world.setting.broker, hex.chain(json).collect::<Vec<_>>()).await;
    settled(&service, good * 3).await;
    balanced(&service).await;
    assert_eq!(world.count(readings).await, first);
    // Their other bytes are kept.
    let respelled = "SELECT count(*) FROM dead_letter WHERE reason = 'respelled'";
    assert_eq!(world.count(respelled).await, 2 * good as i64);
    assert_eq!(world.count("SELECT count(*) FROM dead_letter").await, 2 * good as i64);
    let duplicates = metric(&service.metrics().await, "dieselwatch_readings_duplicate_total", &[]);
    assert_eq!(duplicates, 2.0 * first as f64);

    // A removal alarm in one protocol is another command in the other: put aside until a register says which it is.
    let (vin, alarm) = frame("S2");
    publish(&world.setting.broker, [(format!("dw/v1/obd/{vin}/frame"), alarm)]).await;
    world.until_count("SELECT count(*) FROM dead_letter WHERE reason = 'ambiguous_command'", 1).await;
    let register = format!("device_id,kind,protocol\n{vin},obd,hj1239\n");
    world.import(&["devices"], "devices.csv", &register).await;
    world.setting.succeed(&["dead-letters", "replay", "--where", "reason=ambiguous_command"]).await;
    assert_eq!(world.count("SELECT count(*) FROM terminal_item WHERE kind = 'removal_alarm'").await, 1);
    assert_eq!(world.rules(0).await.iter().filter(|rule| rule.contains("removal")).count(), 1);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_fleet_is_stored_once_with_the_broker_in_process() {
    let Some(database) = postgres::database().await else { return };
    let broker = dieselwatch::embedded::broker::Broker::start(0).await.unwrap();
    let folder = support::scratch();
    let setting = Setting::new(folder.path(), &broker.url(), database.url());
    setting.succeed(&["migrate"]).await;
    import_district(&setting).await;
    let service = Service::start_ready(&setting).await;
    let mut options = simulate::SimulateOptions::new(Broker::parse(&broker.url(), None, None, None).unwrap());
    options.mix = simulate::Mix::new([0.4, 0.3, 0.15, 0.15]).unwrap();
    options.scenario = Scenario { arrays: 0.1, late: 0.05, ..Scenario::calm() };
    options.fleet = Some(std::sync::Arc::new(simulate::Fleet::demo()));
    options.rate = 250.0;
    options.seconds = Some(5);
    options.ledger = Some(folder.path().join("ledger.jsonl"));
    let summary = simulate::run(options).await.unwrap();
    assert_eq!(summary.undelivered(), 0);
    let client = database.client().await;
    tables::until_as_in_ledger(&client, &[&folder.path().join("ledger.jsonl")]).await;
    balanced(&service).await;
    let text = service.metrics().await;
    for source in ["rs", "obd", "retrofit", "nonroad"] {
        let label = format!("source=\"{source}\"");
        let stored = metric(&text, "dieselwatch_readings_stored_total", &[&label]);
        assert!(stored > 0.0, "{source}: nothing stored");
        assert_eq!(metric(&text, "dieselwatch_messages_in_flight", &[&label]), 0.0);
    }
    let kinds = client.query("SELECT DISTINCT kind FROM terminal_item ORDER BY kind", &[]).await.unwrap();
    let kinds: Vec<String> = kinds.iter().map(|row| row.get(0)).collect();
    for kind in ["login", "obd", "retrofit_smoke", "supplement"] {
        assert!(kinds.iter().any(|found| found == kind), "no {kind} in {kinds:?}");
    }
    assert_eq!(service.stop().await, Some(0));
    drop(client);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_its_commit() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    let mut blocker = postgres::connect(&world.setting.database).await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE passage IN ACCESS EXCLUSIVE MODE").await.unwrap();
    publish(&world.setting.broker, [(PASSAGES, passage("r", &ago(9), 1.0).to_string())]).await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    support::until("the writer to wait for the table", async || (world.count(waiting).await > 0).then_some(())).await;
    let text = service.metrics().await;
    assert_eq!(metric(&text, "dieselwatch_messages_in_flight", &[]), 1.0);
    assert_eq!(metric(&text, "dieselwatch_messages_settled_total", &[]), 0.0);
    lock.rollback().await.unwrap();
    settled(&service, 1).await;
    assert_eq!(world.count("SELECT count(*) FROM passage").await, 1);
    balanced(&service).await;
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platforms_own_passages_are_taken_as_they_are() {
    let Some(mut world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    world.setting.further = "[[source]]\nname = \"platform\"\nkind = \"rs\"\nfilter = \"platform/+/passage\"\n\
                             mapping = \"rs-consumer\"\n"
        .into();
    let service = Service::start_ready(&world.setting).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mappings/rs-consumer.json");
    let mut foreign: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    // Wall-clock time of China without its offset, as they write it.
    foreign["test_time"] = json!(ago(20).replace('T', " ").split(['+', '.']).next().unwrap());
    let mut second = foreign.clone();
    second["data_code"] = json!("second");
    second["plate_color"] = json!("7");
    let sent = json!([foreign, second]).to_string();
    publish(&world.setting.broker, [("platform/370306-01/passage", sent.clone())]).await;
    settled(&service, 1).await;
    balanced(&service).await;
    let row =
        world.client.query_one("SELECT record_id, plate, verdict, opacity_pct, raw FROM passage", &[]).await.unwrap();
    let (record, plate, verdict, opacity): (String, String, i16, f32) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!((record.as_str(), plate.as_str(), verdict, opacity), ("20261103081530001", "鲁C12345", 2, 31.5));
    let raw: Vec<u8> = row.get(4);
    assert!(sent.contains(std::str::from_utf8(&raw).unwrap()), "the original bytes are the evidence");
    let letter = world.client.query_one("SELECT reason, detail FROM dead_letter", &[]).await.unwrap();
    let (reason, detail): (String, String) = (letter.get(0), letter.get(1));
    assert_eq!((reason.as_str(), detail.as_str()), ("wrong_type", "plate_color has the wrong type or form"));
    assert_eq!(service.stop().await, Some(0));
}
