//! Follow-up through the database: whatever the order of arrival, the same findings are in force in the end.

use super::{PASSAGES, VEHICLES, World, ago, passage, settled};
use crate::support::{self, publisher::publish, service::Service};

const DAY: i64 = 86_400;
const CONSECUTIVE: &str = "HJ845.consecutive";
const OVER: &str = "HJ845.over";

async fn start() -> Option<(World, Service)> {
    let world = World::new().await?;
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let service = Service::start_ready(&world.setting).await;
    Some((world, service))
}

/// Waits until exactly these rules are in force.
async fn in_force(world: &World, wanted: &[&str]) {
    let last = std::cell::RefCell::new(Vec::new());
    let deadline = std::time::Instant::now() + support::LIMIT / 2;
    support::until("the findings in force", async || {
        let found = world.rules(0).await;
        let waiting = world.count("SELECT count(*) FROM evaluation_task").await;
        if found == wanted && waiting == 0 {
            return Some(());
        }
        last.replace(found);
        assert!(std::time::Instant::now() < deadline, "{wanted:?} wanted, {:?} in force", last.borrow());
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_pass_between_two_tests_over_the_limit_takes_the_episode_back() {
    let Some((world, service)) = start().await else { return };
    let send = async |record: &str, days: i64, opacity: f64| {
        publish(&world.setting.broker, [(PASSAGES, passage(record, &ago(days * DAY), opacity).to_string())]).await;
    };
    send("first", 100, 44.0).await;
    in_force(&world, &[OVER]).await;
    send("second", 10, 41.0).await;
    in_force(&world, &[CONSECUTIVE, OVER, OVER]).await;
    let raised = world.client.query_one("SELECT content FROM finding WHERE rule = $1", &[&CONSECUTIVE]).await.unwrap();
    let content: serde_json::Value = raised.get(0);
    assert!(content.to_string().contains("opacity"), "{content}");
    let proof = "SELECT count(*) FROM evidence e JOIN finding f ON f.id = e.finding WHERE f.rule = 'HJ845.consecutive'";
    assert_eq!(world.count(proof).await, 2);

    send("between", 50, 12.0).await;
    in_force(&world, &[OVER, OVER]).await;
    assert_eq!(world.rules(1).await, [CONSECUTIVE]);
    let events = world.events().await;
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| kind.contains("revoked")).count(), 1, "{kinds:?}");
    assert!(kinds.last().unwrap().contains("revoked"));
    settled(&service, 3).await;
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_records_of_one_passage_leave_one_finding() {
    let Some((world, service)) = start().await else { return };
    let messages = [passage("a", &ago(1000), 44.0), passage("b", &ago(990), 55.0)];
    publish(&world.setting.broker, messages.map(|each| (PASSAGES, each.to_string()))).await;
    settled(&service, 2).await;
    in_force(&world, &[OVER]).await;
    let left = world.client.query_one("SELECT content::text FROM finding WHERE state = 0", &[]).await.unwrap();
    assert!(left.get::<_, String>(0).contains("44"), "the first record stands for the passage");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_of_arrival_ends_in_the_same_findings() {
    let Some((world, service)) = start().await else { return };
    // Over, over 10 s later (one passage), pass, over, over: an episode of the last two.
    let at = [ago(120 * DAY), ago(120 * DAY - 10), ago(90 * DAY), ago(60 * DAY), ago(30 * DAY)];
    let opacity = [44.0, 50.0, 12.0, 41.0, 42.0];
    let orders: [[usize; 5]; 6] =
        [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 4, 0, 3, 2], [2, 0, 4, 1, 3], [3, 1, 4, 2, 0], [0, 3, 4, 1, 2]];
    let mut sent = 0;
    // Each order happens to a vehicle of its own, one message after the other.
    let plates: Vec<String> = (0..orders.len()).map(|n| format!("鲁C7700{n}")).collect();
    let mut register = VEHICLES.lines().next().unwrap().to_owned();
    for (number, plate) in plates.iter().enumerate() {
        register += &format!("\n{plate},yellow,LGDCHA1G8MA90001{number},B,3,H12,F,A,2012-05-01,true");
    }
    world.import(&["vehicles"], "vehicles.csv", &(register + "\n")).await;
    let known = "the new register";
    support::until(known, async || {
        let text = service.metrics().await;
        let entries = crate::support::http::metric(&text, "dieselwatch_knowledge_entries", &["vehicle"]);
        (entries >= plates.len() as f64).then_some(())
    })
    .await;
    for step in 0..5 {
        let messages = orders.iter().zip(&plates).map(|(order, plate)| {
            let which = order[step];
            let mut each = passage(&format!("{plate}-{which}"), &at[which], opacity[which]);
            each["plate"] = serde_json::json!(plate);
            (PASSAGES, each.to_string())
        });
        publish(&world.setting.broker, messages.collect::<Vec<_>>()).await;
        sent += orders.len() as u64;
        settled(&service, sent).await;
        // Evaluated in between, so that each order makes and takes back findings of its own.
        world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    }
    for plate in &plates {
        let rows = world
            .client
            .query(
                "SELECT rule, from_at, to_at FROM finding WHERE state = 0 AND subject LIKE $1 || '%' ORDER BY 1, 2",
                &[plate],
            )
            .await
            .unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, [CONSECUTIVE, OVER, OVER, OVER], "{plate}");
    }
    let spans = "SELECT count(DISTINCT (rule, from_at, to_at)) FROM finding WHERE state = 0";
    assert_eq!(world.count(spans).await, 4, "the same for all");
    assert_eq!(service.stop().await, Some(0));
}
