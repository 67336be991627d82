//! Heavy-pollution warnings while the service runs: at once in every replica, and by the time of the passage for readings
//! that come late.

use serde_json::{Value, json};

use super::{PASSAGES, VEHICLES, World, ago, passage};
use crate::support::{
    self,
    http::{metric, post},
    publisher::publish,
    service::{Service, Setting, binary},
};

const RULE: &str = "R10.heavy_pollution_ban";
const TOKEN: &str = "a token of this test";

/// One truck a step, so that no two passages are one.
const STEPS: [&str; 7] = ["before", "early_but_late", "during", "late", "after", "modern", "modern_after"];

fn plate(step: &str) -> String {
    format!("鲁C3300{}", STEPS.iter().position(|each| *each == step).unwrap())
}

fn register() -> String {
    let mut register =
        "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,local\n".to_owned();
    for (number, step) in STEPS.iter().enumerate() {
        let stage = if step.starts_with("modern") { 5 } else { 3 };
        register += &format!("{},yellow,LGDCHA1G8MA90010{number},B,{stage},H12,F,A,2015-05-01,true\n", plate(step));
    }
    register
}

async fn knows(service: &Service, version: f64) {
    support::until("the replica to know the warnings", async || {
        let text = service.metrics().await;
        (metric(&text, "dieselwatch_knowledge_version", &["warnings"]) >= version).then_some(())
    })
    .await;
}

async fn drive(world: &World, step: &str, passed_at: &str) {
    let mut message = passage(step, passed_at, 12.0);
    message["plate"] = json!(plate(step));
    publish(&world.setting.broker, [(PASSAGES, message.to_string())]).await;
}

/// Records with a finding of the rule in force, in order, each with whether an officer was asked for.
async fn breaches(world: &World) -> Vec<(String, bool)> {
    let statement = "SELECT content->>'record_id', id::text FROM finding WHERE rule = $1 AND state = 0 ORDER BY 1";
    let rows = world.client.query(statement, &[&RULE]).await.unwrap();
    let intercepts: Vec<Value> = world.events().await;
    let asked = |finding: &str| {
        intercepts.iter().any(|event| {
            event["type"].as_str().is_some_and(|kind| kind.contains("intercept")) && event.to_string().contains(finding)
        })
    };
    rows.iter().map(|row| (row.get(0), asked(row.get(1)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_binds_from_its_issue_to_its_lifting_whenever_the_reading_comes() {
    let Some(mut world) = World::new().await else { return };
    world.setting.further = format!("write_token = \"{TOKEN}\"");
    world.import(&["vehicles"], "vehicles.csv", &register()).await;
    let service = Service::start_ready(&world.setting).await;
    let other = Service::start_ready(&Setting { instance: "two".into(), ..world.setting.clone() }).await;
    let everywhere = async |version: f64| {
        knows(&service, version).await;
        knows(&other, version).await;
    };
    let taken = async |messages: f64| {
        support::until("the messages to be acknowledged", async || {
            let of =
                async |service: &Service| metric(&service.metrics().await, "dieselwatch_messages_settled_total", &[]);
            (of(&service).await + of(&other).await >= messages).then_some(())
        })
        .await;
    };

    drive(&world, "before", &ago(40)).await;
    taken(1.0).await;
    world.setting.succeed(&["warning", "issue", "orange", "--from", &ago(30), "--by", "duty desk"]).await;
    everywhere(1.0).await;
    drive(&world, "early_but_late", &ago(60)).await;
    drive(&world, "during", &ago(5)).await;
    taken(3.0).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    assert_eq!(breaches(&world).await, [("during".to_owned(), true)]);

    let said = world.setting.succeed(&["warning", "lift", "1", "--by", "duty desk", "--why", "wind"]).await;
    assert!(said.contains("orange") && said.contains("lift by duty desk"), "{said}");
    everywhere(2.0).await;
    drive(&world, "late", &ago(15)).await;
    drive(&world, "after", &ago(0)).await;
    taken(5.0).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    assert_eq!(breaches(&world).await, [("during".to_owned(), true), ("late".to_owned(), false)]);

    // A higher level over HTTP, for those who hold the token.
    let issue = json!({"level": "red", "issued_at": ago(20), "by": "dispatch", "document_no": "2026-9"});
    let asked = async |token: &str, path: &str, body: &Value| {
        post(service.http(), path, &[("Authorization", token)], &body.to_string()).await.unwrap()
    };
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(asked("Bearer guess", "/api/v1/warnings", &issue).await.0, 401);
    assert_eq!(world.count("SELECT count(*) FROM warning_revisions").await, 2, "nothing was written");
    let (status, body) = asked(&bearer, "/api/v1/warnings", &issue).await;
    assert_eq!(status, 201, "{body}");
    let made: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&made["warning"]["warning"], &made["warning"]["level"]), (&json!(2), &json!("red")));
    assert!(made["past"]["from"].is_string(), "it reaches back, and says so: {body}");
    assert_eq!(asked(&bearer, "/api/v1/warnings", &issue).await.0, 409, "the same level twice");
    everywhere(3.0).await;
    drive(&world, "modern", &ago(3)).await;
    taken(6.0).await;
    assert_eq!(asked(&bearer, "/api/v1/warnings/2/lift", &json!({"by": "dispatch"})).await.0, 200);
    assert_eq!(asked(&bearer, "/api/v1/warnings/9/lift", &json!({"by": "dispatch"})).await.0, 404);
    everywhere(4.0).await;
    drive(&world, "modern_after", &ago(0)).await;
    taken(7.0).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    let all = [("during".to_owned(), true), ("late".to_owned(), false), ("modern".to_owned(), true)];
    assert_eq!(breaches(&world).await, all);

    let history = world.setting.succeed(&["warning", "list", "--history", "--json"]).await;
    let acts: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done: Vec<_> =
        acts.iter().map(|act| (act["action"].as_str().unwrap(), act["done_by"].as_str().unwrap())).collect();
    assert_eq!(done, [("issue", "duty desk"), ("lift", "duty desk"), ("issue", "dispatch"), ("lift", "dispatch")]);
    let changed = world.client.execute("UPDATE warning_revisions SET level = 'yellow'", &[]).await;
    assert!(changed.is_err(), "no act can be altered");
    assert_eq!((service.stop().await, other.stop().await), (Some(0), Some(0)));
}

#[test]
fn the_offline_command_asks_the_same_zones_and_warnings() {
    let folder = support::scratch();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let ring = |corners: [[f64; 2]; 5]| json!({"type": "Polygon", "coordinates": [corners]});
    let zones = |geometry: Value| {
        let properties =
            json!({"name": "core", "kind": "low_emission", "rule": "diesel_truck_stage_min_4", "hours": "07:00-09:00"});
        let feature = json!({"type": "Feature", "properties": properties, "geometry": geometry});
        json!({"type": "FeatureCollection", "features": [feature]}).to_string()
    };
    let square = [[117.8, 36.7], [117.9, 36.7], [117.9, 36.8], [117.8, 36.8], [117.8, 36.7]];
    let bow_tie = [[117.8, 36.7], [117.9, 36.8], [117.9, 36.7], [117.8, 36.8], [117.8, 36.7]];
    let vehicles = file("vehicles.csv", VEHICLES);
    let stations = file("stations.csv", "station_id,kind,longitude,latitude\n370306-01,fixed_vertical,117.85,36.75\n");
    let warning = json!({"warning": 1, "level": "orange", "issued_at": "2026-03-01T09:30:00+08:00", "lifted_at": "2026-03-01T11:00:00+08:00"});
    let warnings = file("warnings.jsonl", &warning.to_string());
    let at = |time: &str| passage(time, &format!("2026-03-01T{time}:00+08:00"), 12.0).to_string();
    let passages = file("passages.jsonl", &["08:00", "09:00", "10:00", "11:00"].map(at).join("\n"));
    let judge = |zones: &std::path::Path| {
        let mut command = std::process::Command::new(binary());
        command.arg("judge").arg("--vehicles").arg(&vehicles).arg("--stations").arg(&stations);
        command.arg("--zones").arg(zones).arg("--warnings").arg(&warnings).arg(&passages);
        command.output().unwrap()
    };

    let output = judge(&file("zones.geojson", &zones(ring(square))));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rules: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["rules"].clone()).collect();
    assert_eq!(rules, [json!(["R9.low_emission_zone"]), json!([]), json!([RULE]), json!([])]);

    let refused = judge(&file("crossed.geojson", &zones(ring(bow_tie))));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("entry 1") && error.contains("117.85 36.75"), "number and place: {error}");
}
