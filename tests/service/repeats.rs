//! What comes again changes nothing; what comes again with other content is kept beside the first.

use super::{PASSAGES, VEHICLES, World, ago, balanced, passage, settled};
use crate::support::{http::metric, publisher::publish, service::Service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resend_changes_nothing_and_other_content_under_the_same_key_is_a_conflict() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let service = Service::start_ready(&world.setting).await;
    let at: Vec<String> = (0..20).map(|number| ago(100 + 100 * number)).collect();
    let all: Vec<String> =
        at.iter().enumerate().map(|(n, at)| passage(&format!("r{n}"), at, 20.0 + n as f64).to_string()).collect();
    publish(&world.setting.broker, all.iter().map(|text| (PASSAGES, text.as_str()))).await;
    settled(&service, 20).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    let content = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM (SELECT p::text FROM passage p \
                   UNION ALL SELECT f::text FROM finding f UNION ALL SELECT e::text FROM evidence e) AS t";
    let before: String = world.client.query_one(content, &[]).await.unwrap().get(0);
    let events = world.events().await;
    assert!(!events.is_empty());

    // The same bytes, twice in a row; and the same passages with their keys in another order.
    let reordered = all.iter().map(|text| {
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        let parts: Vec<String> = fields.iter().rev().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
        format!("{{{}}}", parts.join(" , "))
    });
    let again = all.iter().chain(&all).cloned().chain(reordered);
    publish(&world.setting.broker, again.map(|text| (PASSAGES, text))).await;
    settled(&service, 80).await;
    let after: String = world.client.query_one(content, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
    assert_eq!(world.events().await, events);
    assert_eq!(metric(&service.metrics().await, "dieselwatch_readings_duplicate_total", &[]), 60.0);

    let other = passage("r7", &at[7], 99.0).to_string();
    publish(&world.setting.broker, [(PASSAGES, other.as_str()), (PASSAGES, other.as_str())]).await;
    settled(&service, 82).await;
    balanced(&service).await;
    let after: String = world.client.query_one(content, &[]).await.unwrap().get(0);
    assert_eq!(after, before, "the first stands");
    let respelled = "SELECT count(*) FROM dead_letter WHERE reason = 'respelled'";
    assert_eq!(world.count(respelled).await, 20, "the bytes of those in another order");
    let others = "SELECT reason, raw FROM dead_letter WHERE reason <> 'respelled'";
    let rows = world.client.query(others, &[]).await.unwrap();
    assert_eq!(rows.len(), 1, "kept once, however often it comes");
    assert_eq!((rows[0].get::<_, &str>(0), rows[0].get::<_, Vec<u8>>(1)), ("conflict", other.into_bytes()));
    assert_eq!(metric(&service.metrics().await, "dieselwatch_readings_conflict_total", &[]), 2.0);
    assert_eq!(service.stop().await, Some(0));
}
