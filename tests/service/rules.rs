//! Vehicle rules through the service: register and lists from the database, findings, events, and one passage counted once.

use serde_json::{Value, json};

use super::{PASSAGES, World, ago, passage, settled};
use crate::support::{publisher::publish, service::Service};

/// One vehicle in order, one of stage I, one deregistered, one that misses inspections.
const VEHICLES: &str = "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,local\n\
    鲁C12345,yellow,LGDCHA1G8MA900002,B,5,H12,F,A,2018-05-01,true\n\
    鲁C10001,yellow,LGDCHA1G8MA900003,B,1,H12,F,A,2018-05-01,true\n\
    鲁C10002,yellow,LGDCHA1G8MA900004,B,5,H12,F,E,2018-05-01,true\n\
    鲁C10003,yellow,LGDCHA1G8MA900005,B,5,H12,F,A,2018-05-01,true\n";
const OVERDUE: &str = "plate,plate_color,valid_from,valid_to,reason,document_no\n\
    鲁C10003,yellow,2020-01-01,,未检验,2026-3\n";

fn of(plate: &str, record: &str, seconds: i64) -> (&'static str, String) {
    let mut each = passage(record, &ago(seconds), 12.0);
    each["plate"] = json!(plate);
    (PASSAGES, each.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_fire_become_findings_and_only_a_live_scrapped_vehicle_an_intercept() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    world.import(&["list", "inspection_overdue"], "overdue.csv", OVERDUE).await;
    let service = Service::start_ready(&world.setting).await;
    let messages = [
        of("鲁C12345", "good", 20),
        of("鲁C10001", "old", 20),
        // Two lanes see one passage.
        of("鲁C10001", "old again", 15),
        of("鲁C10002", "gone", 20),
        // From a day when it may still have been registered.
        of("鲁C10002", "gone late", 40 * 86_400),
        of("鲁C10003", "unseen", 20),
    ];
    publish(&world.setting.broker, messages).await;
    settled(&service, 6).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    world.until_count("SELECT count(*) FROM finding WHERE state = 0", 4).await;

    let eliminated = "R1.to_eliminate_on_road";
    let (uninspected, scrapped) = ("R6.uninspected_on_road", "R8.scrapped_on_road");
    assert_eq!(world.rules(0).await, [eliminated, uninspected, scrapped, scrapped]);
    assert_eq!(world.rules(1).await, [eliminated], "one passage is one finding");
    let reviews = world
        .client
        .query("SELECT review #>> '{why,0}' FROM finding WHERE state = 0 ORDER BY rule, from_at", &[])
        .await
        .unwrap();
    let reviews: Vec<Option<String>> = reviews.iter().map(|row| row.get(0)).collect();
    let waits = |why: &str| Some(why.to_owned());
    assert_eq!(reviews, [waits("notice_only"), waits("notice_only"), waits("register_state_undated"), None]);
    let events = world.events().await;
    let intercepts: Vec<&Value> =
        events.iter().filter(|event| event["type"].as_str().unwrap().contains("intercept")).collect();
    assert_eq!(intercepts.len(), 1, "{intercepts:?}");
    assert_eq!(intercepts[0]["data"]["content"]["record_id"], "gone");
    assert_eq!(intercepts[0]["data"]["content"]["verdict"]["rules_explained"][0]["facts"]["vehicle_states"], "E");
    assert_eq!(service.stop().await, Some(0));
}
