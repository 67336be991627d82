//! Whose reading it is: plates that went to another vehicle, and plates read with `O` or `I`, through the real service.

use serde_json::{Value, json};

use super::{World, ago, passage, settled};
use crate::support::{publisher::publish, service::Service};

const DAY: i64 = 86_400;
const OVER: &str = "HJ845.over";
const CONSECUTIVE: &str = "HJ845.consecutive";

const HEADER: &str = "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on";

async fn send(world: &World, station: &str, record: &str, plate: &str, passed_at: &str) {
    let mut message = passage(record, passed_at, 44.0);
    (message["station_id"], message["plate"]) = (json!(station), json!(plate));
    publish(&world.setting.broker, [(&*format!("dw/v1/rs/{station}/passage"), message.to_string())]).await;
}

/// Waits until nothing is left to sweep or to evaluate.
async fn evaluated(world: &World) {
    let open = "SELECT (SELECT count(*) FROM sighting_sweep) + (SELECT count(*) FROM evaluation_task)";
    world.until_count(open, 0).await;
}

/// Plates of the series in force.
async fn series(world: &World) -> Vec<String> {
    let sql = "SELECT subject FROM finding WHERE rule = $1 AND state = 0 ORDER BY subject";
    world.client.query(sql, &[&CONSECUTIVE]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_before_and_after_the_plate_went_to_another_vehicle_make_no_series() {
    let Some(world) = World::new().await else { return };
    let register = |vin: &str, anew: &str| {
        format!(
            "{HEADER}\n\
             鲁C00001,yellow,{vin},B,5,H11,F,A,2018-05-01\n\
             鲁C00002,yellow,LGDCHA1G8MA900012,B,5,H11,F,A,{anew}\n\
             鲁C00003,yellow,LGDCHA1G8MA900013,B,5,H11,F,A,2018-05-01\n"
        )
    };
    let plates = ["鲁C00001", "鲁C00002", "鲁C00003"];
    for (round, days, vin, anew) in [
        ("first", 100, "LGDCHA1G8MA900011", "2018-05-01".to_owned()),
        // Another VIN, and the same vehicle registered anew between the two tests.
        ("second", 10, "LGDCHA1G8MA900021", ago(50 * DAY)[..10].to_owned()),
    ] {
        world.import(&["vehicles"], "vehicles.csv", &register(vin, &anew)).await;
        // Started again, so that it goes by this version and no other.
        let service = Service::start_ready(&world.setting).await;
        for plate in plates {
            send(&world, "370306-01", &format!("{round}-{plate}"), plate, &ago(days * DAY)).await;
        }
        settled(&service, 3).await;
        evaluated(&world).await;
        assert_eq!(service.stop().await, Some(0));
    }
    assert_eq!(world.rules(0).await, [CONSECUTIVE, OVER, OVER, OVER, OVER, OVER, OVER]);
    assert_eq!(series(&world).await, ["鲁C00003:yellow"], "only the plate that stayed with its vehicle");
    let waits = "SELECT count(*) FROM finding WHERE review->>'state' = 'needed'";
    assert_eq!(world.count(waits).await, 0, "each test by itself stands");

    // Judged again, the first tests stay those of the vehicle that carried the plate then.
    let (from, to) = (ago(400 * DAY), ago(0));
    world.setting.succeed(&["rejudge", "--from", &from, "--to", &to, "--apply"]).await;
    assert_eq!(series(&world).await, ["鲁C00003:yellow"]);
    // A day of registration that was wrong, put right: then there was one vehicle all along.
    world.import(&["vehicles"], "vehicles.csv", &register("LGDCHA1G8MA900021", "2018-05-01")).await;
    world.setting.succeed(&["rejudge", "--from", &from, "--to", &to, "--apply"]).await;
    assert_eq!(series(&world).await, ["鲁C00002:yellow", "鲁C00003:yellow"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plate_read_with_o_or_i_waits_for_a_person_and_counts_for_nothing_else() {
    let Some(world) = World::new().await else { return };
    let register = format!("{HEADER}\n鲁C00011,yellow,LGDCHA1G8MA900011,B,5,H11,F,A,2018-05-01\n");
    world.import(&["vehicles"], "vehicles.csv", &register).await;
    let list = "plate,plate_color,valid_from,valid_to,reason,document_no\n鲁C00011,yellow,2020-01-01,,报废,2026-9\n";
    world.import(&["list", "scrapped"], "scrapped.csv", list).await;
    let stations = "station_id,name,kind,longitude,latitude\nwest,西站,fixed_horizontal,117.8,36.8\n\
        east,东站,fixed_horizontal,118.0240,36.8\n";
    world.import(&["stations"], "stations.csv", stations).await;
    let service = Service::start_ready(&world.setting).await;
    // A series, if the plate were sure; the second time at two places at once; and live, so that an officer could be asked.
    for (station, record, plate, at) in [
        ("west", "r-1", "鲁CO0011", ago(40 * DAY)),
        ("west", "r-2", "鲁C0OOII", ago(DAY)),
        ("east", "r-3", "鲁COO0I1", ago(DAY - 60)),
        ("west", "r-4", "鲁COOOII", ago(1)),
        ("west", "r-5", "鲁O00011", ago(1)),
    ] {
        send(&world, station, record, plate, &at).await;
    }
    settled(&service, 5).await;
    evaluated(&world).await;
    let scrapped = "R8.scrapped_on_road";
    assert_eq!(world.rules(0).await, [OVER, OVER, OVER, OVER, scrapped, scrapped, scrapped, scrapped]);
    let rows = world.client.query("SELECT review->'why', content->'verdict' FROM finding", &[]).await.unwrap();
    for row in &rows {
        let (why, verdict): (Value, Value) = (row.get(0), row.get(1));
        assert!(why.as_array().unwrap().contains(&json!("plate_folded")), "{why}");
        assert_eq!(verdict["plate"], "鲁C00011");
        assert!(verdict["plate_as_read"].as_str().is_some_and(|read| read.contains('O')), "{verdict}");
    }
    assert!(world.events().await.iter().all(|event| event["type"] == "dieselwatch.violation.raised"));
    let kept = "SELECT count(*) FROM passage WHERE plate = '鲁C00011' AND flags & 128 <> 0 \
                AND explained->>'plate_as_read' LIKE '鲁C%O%'";
    assert_eq!(world.count(kept).await, 4);
    let refused = "SELECT count(*) FROM dead_letter WHERE reason = 'plate_impossible'";
    assert_eq!(world.count(refused).await, 1, "a letter is asked for where the O is");
    assert_eq!(service.stop().await, Some(0));
}
