//! Plates beyond an exact match through the real service: misread, foreign, cloned.

use serde_json::{Value, json};

use super::{VEHICLES, World, ago, passage, settled};
use crate::support::{self, publisher::publish, service::Service};

const CLONE: &str = "plate.suspected_clone";

/// Two stations 20 km apart, one that moves, and one nobody has placed.
const STATIONS: &str = "station_id,name,kind,longitude,latitude,lane_count,slope_deg,calibrated_at,certificate_until\n\
    west,西站,fixed_horizontal,117.8000,36.8000,2,0.5,2026-10-05T08:00:00+08:00,2031-12-31\n\
    east,东站,fixed_horizontal,118.0240,36.8000,2,0.5,2026-10-05T08:00:00+08:00,2031-12-31\n\
    van,流动车,mobile,117.8000,36.8000,1,0.5,2026-10-05T08:00:00+08:00,2031-12-31\n\
    nowhere,无坐标站,fixed_vertical,,,1,0.5,2026-10-05T08:00:00+08:00,2031-12-31\n";

fn seen(station: &str, record: &str, plate: &str, passed_at: &str) -> (String, String) {
    let mut message = passage(record, passed_at, 12.0);
    message["station_id"] = json!(station);
    message["plate"] = json!(plate);
    (format!("dw/v1/rs/{station}/passage"), message.to_string())
}

async fn send(world: &World, messages: &[(String, String)]) {
    let messages: Vec<(&str, String)> = messages.iter().map(|(topic, text)| (topic.as_str(), text.clone())).collect();
    publish(&world.setting.broker, messages).await;
}

/// Waits until nothing is left to sweep or to evaluate.
async fn evaluated(world: &World) {
    let open = "SELECT (SELECT count(*) FROM sighting_sweep) + (SELECT count(*) FROM evaluation_task)";
    world.until_count(open, 0).await;
}

async fn contents(world: &World, rule: &str) -> Vec<Value> {
    let sql = "SELECT content FROM finding WHERE rule = $1 AND state = 0 ORDER BY subject, from_at";
    world.client.query(sql, &[&rule]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misread_plate_of_a_listed_vehicle_waits_for_a_person_and_a_real_one_is_left_alone() {
    let Some(world) = World::new().await else { return };
    // The register knows 鲁C12345; 鲁C1234S and 鲁C6789B are on the list and nowhere else.
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let list = "plate,plate_color,valid_from,valid_to,reason,document_no\n\
        鲁C1234S,yellow,2020-01-01,,报废,2026-9\n鲁C6789B,yellow,2020-01-01,,报废,2026-9\n";
    world.import(&["list", "scrapped"], "scrapped.csv", list).await;
    world.import(&["stations"], "stations.csv", STATIONS).await;
    let service = Service::start_ready(&world.setting).await;
    let at = ago(30);
    let read = [("real", "鲁C12345"), ("misread", "鲁C67898"), ("blue", "鲁C67898"), ("unlike", "鲁C67897")];
    let mut messages: Vec<_> = read.iter().map(|(record, plate)| seen("west", record, plate, &at)).collect();
    let mut blue: Value = serde_json::from_str(&messages[2].1).unwrap();
    blue["plate_color"] = json!("blue");
    messages[2].1 = blue.to_string();
    send(&world, &messages).await;
    settled(&service, 4).await;
    evaluated(&world).await;
    assert_eq!(world.rules(0).await, ["plate.suspected_match"]);
    let found = contents(&world, "plate.suspected_match").await;
    assert_eq!(found[0]["record_id"], "misread");
    let vehicle = &found[0]["verdict"]["vehicle"];
    assert_eq!((&vehicle["match"], &vehicle["candidates"][0]["plate"]), (&json!("suspected"), &json!("鲁C6789B")));
    assert_eq!(found[0]["verdict"]["verdict"], "undetermined");
    let review = "SELECT review->>'state' FROM finding WHERE rule = 'plate.suspected_match'";
    assert_eq!(world.client.query_one(review, &[]).await.unwrap().get::<_, String>(0), "needed");
    let events = world.events().await;
    assert!(
        events.iter().all(|event| event["type"] == "dieselwatch.violation.raised"),
        "nobody is stopped: {events:?}"
    );
    let flagged = "SELECT count(*) FROM passage WHERE flags & 32 <> 0 AND record_id = 'misread'";
    assert_eq!(world.count(flagged).await, 1);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_truck_over_a_diesels_limit_is_marked_and_counts_for_no_episode() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    world.import(&["stations"], "stations.csv", STATIONS).await;
    let service = Service::start_ready(&world.setting).await;
    let mut messages = Vec::new();
    for (record, at, opacity, wind) in
        [("calm", ago(90_000), 44.0, 1.8), ("windy", ago(3_000), 44.0, 9.9), ("lane-2", ago(2_990), 45.0, 1.8)]
    {
        let (topic, text) = seen("west", record, "鲁G55555", &at);
        let mut message: Value = serde_json::from_str(&text).unwrap();
        (message["opacity_pct"], message["wind_speed_ms"]) = (json!(opacity), json!(wind));
        messages.push((topic, message.to_string()));
    }
    send(&world, &messages).await;
    settled(&service, 3).await;
    evaluated(&world).await;
    // The second passage was seen by two lanes; the first of them proves nothing, and its neighbour is not dropped for it.
    assert_eq!(world.rules(0).await, ["HJ845.suspected_over", "HJ845.suspected_over"]);
    let found = contents(&world, "HJ845.suspected_over").await;
    let records: Vec<&Value> = found.iter().map(|content| &content["record_id"]).collect();
    assert_eq!(records, [&json!("calm"), &json!("lane-2")]);
    let verdict = &found[0]["verdict"];
    assert_eq!((&verdict["verdict"], &verdict["vehicle"]["local"]), (&json!("undetermined"), &json!(false)));
    assert_eq!(verdict["suspicion"]["pollutants"][0]["would_be"], "over_limit");
    assert_eq!(world.count("SELECT count(*) FROM passage WHERE flags & 80 = 80").await, 3);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plate_at_two_places_is_found_in_every_order_of_arrival_and_by_two_replicas() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    world.import(&["stations"], "stations.csv", STATIONS).await;
    let mut second = world.setting.clone();
    second.instance = "two".into();
    let one = Service::start_ready(&world.setting).await;
    let two = Service::start_ready(&second).await;

    // East is 20 km from west. Twenty minutes are enough, two are not. The van says itself where it is: once with the west
    // station, once beside the east one. A station without a place says nothing, whatever it sees.
    let noon = |minutes: i64| format!("2026-11-02T12:{minutes:02}:00+08:00");
    let at = [("west", noon(0)), ("east", noon(2)), ("west", noon(22)), ("van", noon(24)), ("nowhere", noon(1))];
    let orders: [[usize; 5]; 6] =
        [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 4, 0, 3, 2], [2, 0, 4, 1, 3], [3, 1, 4, 2, 0], [0, 3, 4, 1, 2]];
    let plates: Vec<String> = (0..orders.len()).map(|n| format!("鲁C7700{n}")).collect();
    let message = |plate: &str, which: usize| {
        let (station, passed_at) = &at[which];
        let (topic, text) = seen(station, &format!("{plate}-{which}"), plate, passed_at);
        let mut message: Value = serde_json::from_str(&text).unwrap();
        if *station == "van" {
            (message["longitude"], message["latitude"]) = (json!(118.0), json!(36.8));
        }
        (topic, message.to_string())
    };
    for step in 0..5 {
        let messages: Vec<_> = orders.iter().zip(&plates).map(|(order, plate)| message(plate, order[step])).collect();
        send(&world, &messages).await;
        // Only some steps are evaluated before the next, so that sweeps meet both stored and concurrent sightings.
        if step % 2 == 1 {
            evaluated(&world).await;
        }
    }
    let everything = i64::try_from(5 * orders.len()).unwrap();
    world.until_count("SELECT count(*) FROM passage_key", everything).await;
    // And once more, each half of a pair in a crowd: many sightings at once are narrowed down first.
    let crowd = |which: usize| {
        let others = (0..39).map(|n| message(&format!("鲁C88{which}{n:02}"), which).1);
        let all: Vec<String> = others.chain([message("鲁C99999", which).1]).collect();
        (format!("dw/v1/rs/{}/passage", at[which].0), format!("[{}]", all.join(",")))
    };
    send(&world, &[crowd(0), crowd(1)]).await;
    world.until_count("SELECT count(*) FROM passage_key", everything + 80).await;
    evaluated(&world).await;

    assert_eq!(world.rules(0).await, vec![CLONE; orders.len() + 1], "one finding a plate");
    let found = contents(&world, CLONE).await;
    let pairs = |content: &Value| -> Vec<(String, String)> {
        let record = |sighting: &Value| {
            let record = sighting["record_id"].as_str().unwrap();
            record.rsplit_once('-').unwrap().1.to_owned()
        };
        content["pairs"].as_array().unwrap().iter().map(|p| (record(&p["earlier"]), record(&p["later"]))).collect()
    };
    for content in &found[..orders.len()] {
        assert_eq!(pairs(content), [("0".into(), "1".into()), ("2".into(), "3".into())], "{content}");
        let shown = &content["pairs"][0];
        let distance = shown["distance_m"].as_f64().unwrap();
        assert!((19_900.0..20_000.0).contains(&distance), "{shown}");
        assert_eq!((&shown["seconds_between"], &shown["most_seconds"]), (&json!(120.0), &json!(180.0)));
        assert_eq!(content["pairs"][1]["later"]["position_from"], "reading");
    }
    assert_eq!(pairs(&found[orders.len()]), [("0".into(), "1".into())]);
    let proof =
        "SELECT count(*) FROM evidence e JOIN finding f ON f.id = e.finding WHERE rule = 'plate.suspected_clone'";
    assert_eq!(world.count(proof).await, i64::try_from(4 * orders.len() + 2).unwrap());
    assert_eq!(world.count("SELECT count(*) FROM finding WHERE review->>'state' <> 'needed'").await, 0);
    assert_eq!(one.stop().await, Some(0));
    assert_eq!(two.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_place_that_is_uploaded_weeks_late_is_found_too() {
    let Some(world) = World::new().await else { return };
    world.import(&["stations"], "stations.csv", STATIONS).await;
    let service = Service::start_ready(&world.setting).await;
    let day = 86_400;
    send(&world, &[seen("west", "first", "鲁C12345", &ago(30 * day))]).await;
    settled(&service, 1).await;
    evaluated(&world).await;
    assert_eq!(world.rules(0).await, [""; 0]);
    send(&world, &[seen("east", "late", "鲁C12345", &ago(30 * day + 90))]).await;
    settled(&service, 2).await;
    support::until("the pair to be found", async || (world.rules(0).await == [CLONE]).then_some(())).await;
    evaluated(&world).await;
    // A resent one changes nothing.
    send(&world, &[seen("east", "late", "鲁C12345", &ago(30 * day + 90))]).await;
    settled(&service, 3).await;
    evaluated(&world).await;
    assert_eq!(world.count("SELECT max(revision)::int8 FROM finding").await, 1);
    assert_eq!(service.stop().await, Some(0));
}
