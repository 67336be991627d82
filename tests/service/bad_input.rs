//! Bad input of every kind among good: counted by reason, kept whole, acknowledged, and nobody else harmed.

use std::collections::BTreeMap;

use dieselwatch::simulate::{BadKind, Scenario, ledger};
use serde_json::json;

use super::{Fleet, PASSAGES, World, ago, balanced, import_district, passage, settled, tables};
use crate::support::{self, http::metric, publisher::publish, service::Service};

/// Largest payload the service takes in these tests, bytes.
const LARGEST: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_s_bad_messages_are_counted_by_reason_and_leave_the_good_ones_alone() {
    let Some(mut world) = World::new().await else { return };
    world.setting.mqtt = format!("max_payload_bytes = {LARGEST}");
    import_district(&world.setting).await;
    let service = Service::start_ready(&world.setting).await;
    let mut fleet = Fleet::new(&world, 250.0, 4);
    fleet.scenario = Scenario {
        bad: 0.2,
        arrays: 0.1,
        duplicates: 0.02,
        unknown: 0.02,
        too_large_bytes: LARGEST + 1,
        ..Scenario::calm()
    };
    let summary = fleet.start().await.unwrap();
    assert_eq!(summary.undelivered(), 0);
    let path = world.path("ledger.jsonl");
    tables::until_as_in_ledger(&world.client, &[&path]).await;
    balanced(&service).await;

    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    for entry in ledger::read(&path).unwrap().into_iter().filter(|entry| !entry.duplicate) {
        if let Some(reason) = entry.reason {
            *wanted.entry(reason).or_default() += i64::from(entry.quarantined);
        }
    }
    let reasons: std::collections::BTreeSet<_> = BadKind::DELIVERED.map(|kind| kind.reason().name()).into();
    assert_eq!(wanted.len(), reasons.len(), "every kind was there: {wanted:?}");
    let rows = world.client.query("SELECT reason, count(*) FROM dead_letter GROUP BY reason", &[]).await.unwrap();
    let found: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, wanted);
    let text = service.metrics().await;
    for (reason, count) in &wanted {
        let label = format!("reason=\"{reason}\"");
        let counted = metric(&text, "dieselwatch_readings_quarantined_total", &[&label]);
        assert_eq!(counted, *count as f64, "{reason}");
    }
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_shown_and_put_back() {
    let Some(mut world) = World::new().await else { return };
    // Larger than the client takes: the broker must keep it from us and the session must live on.
    world.setting.mqtt = format!("max_payload_bytes = {LARGEST}\nmax_packet_bytes = {}", 4 * LARGEST);
    world.setting.further = "[[source]]\nname = \"rs\"\nkind = \"rs\"\nfilter = \"dw/v1/rs/+/passage\"\n\
        plausible_past_days = 400\nplausible_future_minutes = 10\nunknown_device = \"quarantine\"\n"
        .into();
    world.import(&["stations"], "stations.csv", "station_id,kind,name\n370306-01,fixed_vertical,one\n").await;
    let service = Service::start_ready(&world.setting).await;
    let not_json = b"{\"station_id\":\xff\x00".to_vec();
    let mut unknown = passage("u", &ago(60), 10.0);
    unknown["station_id"] = json!("new");
    let mut nul = passage("nul", &ago(60), 10.0);
    nul["plate"] = json!("鲁C\u{0}12345");
    let mut impossible = passage("plate", &ago(60), 10.0);
    impossible["plate"] = json!("鲁C12");
    let array = json!([passage("1", &ago(600), 1.0), 7, nul, impossible, passage("2", &ago(6000), 1.0)]).to_string();
    let many: Vec<_> = (0..501).map(|n| json!(n)).collect();
    let huge = vec![b' '; 8 * LARGEST];
    let messages: Vec<(&str, Vec<u8>)> = vec![
        (PASSAGES, not_json.clone()),
        ("dw/v1/rs/new/passage", unknown.to_string().into()),
        (PASSAGES, huge),
        (PASSAGES, array.into()),
        (PASSAGES, json!(many).to_string().into()),
        (PASSAGES, Vec::new()),
        (PASSAGES, passage("last", &ago(60_000), 1.0).to_string().into()),
    ];
    publish(&world.setting.broker, messages).await;
    settled(&service, 6).await;
    balanced(&service).await;
    let rows = world.client.query("SELECT record_id FROM passage ORDER BY record_id", &[]).await.unwrap();
    let records: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(records, ["1", "2", "last"]);

    let listed = world.setting.succeed(&["dead-letters", "list", "--json"]).await;
    let letters: Vec<serde_json::Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    let wanted = ["not_json", "not_json", "nul_character", "plate_impossible", "too_many_elements", "unknown_station"];
    let mut with_number: Vec<&str> = wanted.to_vec();
    with_number.push("wrong_type");
    assert_eq!(reasons, with_number, "{listed}");

    // Two messages were no JSON, and two connections put them aside in either order.
    let mut first = String::new();
    for letter in letters.iter().filter(|letter| letter["reason"] == "not_json") {
        let id = letter["id"].to_string();
        let raw = world.setting.command(&["dead-letters", "show", &id, "--raw"]).await;
        assert!(raw.status.success());
        if raw.stdout == not_json {
            first = id;
        } else {
            assert!(raw.stdout.is_empty(), "{letter}");
        }
    }
    assert!(!first.is_empty(), "the bytes came back as they were sent");

    // Still unknown; known; and a letter whose bytes were put right.
    let replay = ["dead-letters", "replay", "--where", "reason=unknown_station"];
    let refused = world.setting.command(&replay).await;
    assert_eq!(refused.status.code(), Some(1));
    let stations = "station_id,kind,name\n370306-01,fixed_vertical,one\nnew,fixed_vertical,new\n";
    world.import(&["stations"], "stations.csv", stations).await;
    world.setting.succeed(&replay).await;
    world.until_count("SELECT count(*) FROM passage WHERE record_id = 'u'", 1).await;
    let fixed = world.path("fixed.json");
    std::fs::write(&fixed, passage("fixed", &ago(90), 1.0).to_string()).unwrap();
    let condition = format!("id={first}");
    let with_file = ["dead-letters", "replay", "--where", &condition, "--with", fixed.to_str().unwrap()];
    world.setting.succeed(&with_file).await;
    assert_eq!(world.count("SELECT count(*) FROM passage").await, 5);
    assert_eq!(world.count("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL").await, 5);
    let left = world.setting.succeed(&["dead-letters", "list", "--json"]).await;
    assert_eq!(left.lines().count(), 5);

    // The service goes on as if nothing had been.
    publish(&world.setting.broker, [(PASSAGES, passage("more", &ago(50), 1.0).to_string())]).await;
    support::until("one more", async || (world.count("SELECT count(*) FROM passage").await == 6).then_some(())).await;
    assert_eq!(service.stop().await, Some(0));
}

/// What is not JSON at all costs itself only, in arrays of passages and of terminals alike, and is kept with its own bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_element_that_is_not_json_costs_itself_only() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    let good = |record: &str| passage(record, &ago(60), 1.0).to_string();
    let nan = good("nan").replace("\"opacity_pct\":1.0", "\"opacity_pct\":NaN");
    assert!(nan.contains("NaN"));
    let open = good("open").replacen("\",", ",", 1);
    let smoke = |k: &str| format!(r#"{{"terminal_id":"RT-1","collected_at":"{}","smoke_k_m1":{k}}}"#, ago(60));
    let twice = smoke("0.1,\"terminal_id\":\"RT-1\"");
    let messages = [
        (PASSAGES, format!("[{}, {nan}, {}]", good("1"), good("2"))),
        (PASSAGES, format!("\u{feff}[{},{open},{}]", good("3"), good("4"))),
        ("dw/v1/retrofit/RT-1/frame", format!("[{},{twice}]", smoke("0.2"))),
    ];
    publish(&world.setting.broker, messages).await;
    settled(&service, 3).await;
    balanced(&service).await;
    let rows = world.client.query("SELECT record_id FROM passage ORDER BY record_id", &[]).await.unwrap();
    let records: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(records, ["1", "2", "3"]);
    let letters = world.client.query("SELECT reason, raw FROM dead_letter ORDER BY length(raw)", &[]).await.unwrap();
    let letters: Vec<(&str, &[u8])> = letters.iter().map(|row| (row.get(0), row.get(1))).collect();
    let rest = format!("{open},{}]", good("4"));
    let rest = rest.as_bytes();
    assert_eq!(letters.iter().map(|letter| letter.0).collect::<Vec<_>>(), ["wrong_type", "not_json", "not_json"]);
    assert_eq!((letters[0].1, letters[1].1), (twice.as_bytes(), nan.as_bytes()));
    assert_eq!(letters[2].1.len(), rest.len(), "what cannot be told apart is one letter to the end");
    assert_eq!(service.stop().await, Some(0));
}

/// What an index has no room for is put aside like anything else, and not lost with the acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_an_endless_topic_is_put_aside() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    // Not compressible, which an index entry would be.
    let id: String = (0..8_000_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let topic = format!("dw/v1/rs/{}/passage", &id[..40_000]);
    let good = passage("good", &ago(60), 1.0).to_string();
    for _ in 0..2 {
        publish(&world.setting.broker, [(&*topic, good.clone()), (PASSAGES, good.clone())]).await;
    }
    settled(&service, 4).await;
    balanced(&service).await;
    let letters = world.client.query("SELECT topic FROM dead_letter", &[]).await.unwrap();
    assert_eq!(letters.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), [topic], "once, and whole");
    assert_eq!(world.count("SELECT count(*) FROM passage").await, 1);
    assert_eq!(service.stop().await, Some(0));
}

/// A message that is more than the server does in one transaction is stored in parts; no reading of it is put aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_for_one_transaction_is_stored_in_parts() {
    let Some(world) = World::new().await else { return };
    let limit = "CREATE FUNCTION too_much() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   IF (SELECT count(*) FROM fresh) > 3 THEN RAISE EXCEPTION 'out of shared memory' USING ERRCODE = '53200'; \
                   END IF; RETURN NULL; END $$; \
                 CREATE TRIGGER too_much AFTER INSERT ON passage_key REFERENCING NEW TABLE AS fresh \
                   FOR EACH STATEMENT EXECUTE FUNCTION too_much()";
    world.client.batch_execute(limit).await.unwrap();
    let service = Service::start_ready(&world.setting).await;
    let passages: Vec<_> = (0..20).map(|n| passage(&format!("r{n}"), &ago(100 * n + 60), 1.0)).collect();
    publish(&world.setting.broker, [(PASSAGES, json!(passages).to_string())]).await;
    settled(&service, 1).await;
    balanced(&service).await;
    assert_eq!(world.count("SELECT count(*) FROM passage").await, 20);
    assert_eq!(world.count("SELECT count(*) FROM dead_letter").await, 0);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nul_in_an_address_is_the_caller_s_mistake() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    for path in ["/api/v1/passages?station=%00", "/api/v1/violations?rule=a%00", "/api/v1/terminals/%00/days"] {
        let (status, body) = support::http::get(service.http(), path).await.unwrap();
        assert_eq!(status, 400, "{path}: {body}");
    }
    assert_eq!(service.stop().await, Some(0));
}
