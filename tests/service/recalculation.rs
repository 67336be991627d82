//! Corrected limits and lists applied to what is stored, rechecks, and what other desks are told, through the real program.

use serde_json::Value;

use super::{PASSAGES, VEHICLES, World, ago, passage};
use crate::support::{self, http, publisher::publish, service::Service};

const DAY: i64 = 86_400;
const CONSECUTIVE: &str = "HJ845.consecutive";
const OVER: &str = "HJ845.over";
const LIMITS: &str = include_str!("../../schemas/limits.toml");

async fn send(world: &World, record: &str, days: i64, opacity: f64) {
    publish(&world.setting.broker, [(PASSAGES, passage(record, &ago(days * DAY), opacity).to_string())]).await;
}

/// Waits until nothing is left to follow up and exactly these rules are in force.
async fn in_force(world: &World, wanted: &[&str]) {
    support::until(&format!("{wanted:?} to be in force"), async || {
        let waiting = world.count("SELECT count(*) FROM evaluation_task").await;
        (waiting == 0 && world.rules(0).await == wanted).then_some(())
    })
    .await;
}

/// Runs `rejudge` over everything with the table of limits in that file; what it printed.
async fn rejudge(world: &World, limits: &str, further: &[&str]) -> String {
    let limits = format!("judge.limits_file={limits}");
    let (from, to) = (ago(400 * DAY), ago(0));
    let mut arguments = vec!["rejudge", "--from", &from, "--to", &to, "--set", &limits];
    arguments.extend(further);
    world.setting.succeed(&arguments).await
}

/// Everything that a recalculation may touch.
async fn state(world: &World) -> Vec<i64> {
    let mut state = Vec::new();
    for sql in [
        "SELECT count(*) FROM outbox",
        "SELECT count(*) FROM rejudge_run",
        "SELECT count(*) FROM rejudgement",
        "SELECT sum(revision)::int8 FROM finding",
        "SELECT sum(outcomes)::int8 FROM passage_key",
        "SELECT sum(verdict)::int8 FROM passage",
    ] {
        state.push(world.count(sql).await);
    }
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_limit_is_told_first_and_applied_when_asked_to() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let service = Service::start_ready(&world.setting).await;
    send(&world, "high", 100, 44.0).await;
    send(&world, "middle", 10, 35.0).await;
    in_force(&world, &[CONSECUTIVE, OVER, OVER]).await;

    let corrected =
        LIMITS.replacen("value = 30.0", "value = 40.0", 1).replacen("version = \"", "version = \"corrected ", 1);
    let path = world.path("limits.toml");
    std::fs::write(&path, corrected).unwrap();
    let (limits, report) = (path.to_str().unwrap(), world.path("changes.jsonl"));
    let before = state(&world).await;
    let said = rejudge(&world, limits, &["--report", report.to_str().unwrap()]).await;
    assert!(said.contains("2 readings of 1 vehicles judged again"), "{said}");
    assert!(said.contains("over_limit -> pass") && said.contains("nothing was changed"), "{said}");
    assert_eq!(state(&world).await, before);
    let lines = std::fs::read_to_string(&report).unwrap();
    let told: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |change: &str| {
        let mut rules: Vec<&str> =
            told.iter().filter(|t| t["change"] == change).map(|t| t["rule"].as_str().unwrap()).collect();
        rules.sort_unstable();
        rules
    };
    assert_eq!((of("revoked"), of("restated"), of("raised")), (vec![CONSECUTIVE, OVER], vec![OVER], vec![]));

    let said = rejudge(&world, limits, &["--apply"]).await;
    assert!(said.ends_with("changed\n"), "{said}");
    in_force(&world, &[OVER]).await;
    assert_eq!(world.rules(1).await, [CONSECUTIVE, OVER]);
    let kept = "SELECT count(*) FROM rejudgement j JOIN passage p USING (station, record_id) WHERE verdict_before = 1 \
                AND verdict_after = 0 AND p.verdict = 0 AND p.record_id = 'middle'";
    assert_eq!(world.count(kept).await, 1, "the old verdict is kept, the row has the new one");
    let events = world.events().await;
    let revoked: Vec<&Value> = events.iter().filter(|e| e["type"] == "dieselwatch.violation.revoked").collect();
    assert_eq!(revoked.len(), 2);
    for event in revoked {
        assert!(event["data"]["why"].as_str().unwrap().contains("rejudge run "), "{event}");
    }

    // Another reading makes the service look at the vehicle again: what was taken back stays so.
    let tasks = "SELECT last_value FROM evaluation_task_id_seq";
    let tasks_before = world.count(tasks).await;
    send(&world, "low", 5, 12.0).await;
    support::until("the new reading to be followed up", async || {
        (world.count(tasks).await > tasks_before).then_some(())
    })
    .await;
    in_force(&world, &[OVER]).await;
    assert!(rejudge(&world, limits, &["--apply"]).await.contains("nothing differs"));
    let runs = world.count("SELECT count(*) FROM rejudge_run WHERE finished_at IS NOT NULL").await;

    // Back to the limits as they were.
    std::fs::write(&path, LIMITS).unwrap();
    assert!(rejudge(&world, limits, &["--apply"]).await.ends_with("changed\n"));
    in_force(&world, &[CONSECUTIVE, OVER, OVER]).await;
    assert_eq!((runs, world.count("SELECT count(*) FROM rejudge_run").await), (2, 3), "each is on record");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_the_past_raises_findings_and_stops_nobody() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let service = Service::start_ready(&world.setting).await;
    send(&world, "before", 40, 12.0).await;
    send(&world, "listed", 20, 12.0).await;
    world.until_count("SELECT count(*) FROM passage_key", 2).await;
    let from = ago(30 * DAY);
    let list = format!("plate,plate_color,valid_from,document_no\n鲁C12345,yellow,{from},2026-7\n");
    world.import(&["list", "scrapped"], "scrapped.csv", &list).await;
    let path = world.path("limits.toml");
    std::fs::write(&path, LIMITS).unwrap();
    let said = rejudge(&world, path.to_str().unwrap(), &["--apply", "--station", super::STATION]).await;
    assert!(said.contains("R8.scrapped_on_road"), "{said}");
    in_force(&world, &["R8.scrapped_on_road"]).await;
    let record = world.client.query_one("SELECT content ->> 'record_id' FROM finding", &[]).await.unwrap();
    assert_eq!(record.get::<_, &str>(0), "listed", "as of the time of each reading");
    assert_eq!(world.count("SELECT count(*) FROM outbox WHERE topic = 2").await, 0);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recheck_that_arrives_late_takes_the_episode_back_and_a_correction_returns_it() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let service = Service::start_ready(&world.setting).await;
    send(&world, "first", 100, 44.0).await;
    send(&world, "second", 10, 41.0).await;
    in_force(&world, &[CONSECUTIVE, OVER, OVER]).await;
    let day = ago(50 * DAY)[..10].to_owned();
    let file = |result: &str| {
        let columns = "plate,plate_color,station_id,inspected_at,kind,result,report_no";
        format!("{columns}\n鲁C12345,yellow,i-1,{day},recheck,{result},A1\n")
    };
    world.import(&["inspections"], "passed.csv", &file("pass")).await;
    in_force(&world, &[OVER, OVER]).await;
    world.import(&["inspections"], "corrected.csv", &file("fail")).await;
    in_force(&world, &[CONSECUTIVE, OVER, OVER]).await;
    // The first file once more must not undo the correction.
    let path = world.path("passed.csv");
    let output = world.setting.command(&["import", "inspections", path.to_str().unwrap()]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("later correction"), "{said}");
    in_force(&world, &[CONSECUTIVE, OVER, OVER]).await;
    assert_eq!(world.count("SELECT count(*) FROM inspection").await, 2, "both stay on record");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_desks_are_told_what_a_vehicle_is_barred_from() {
    let Some(world) = World::new().await else { return };
    world.import(&["vehicles"], "vehicles.csv", VEHICLES).await;
    let service = Service::start_ready(&world.setting).await;
    let ask = async |further: &str| {
        // 鲁C12345
        let path = format!("/api/v1/vehicles/%E9%B2%81C12345/yellow/standing{further}");
        let (status, body) = http::get(service.http(), &path).await.unwrap();
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let barred = |answer: &Value| {
        ["change", "inspection", "transfer"].map(|business| answer[business]["barred"].as_str().unwrap().to_owned())
    };
    let (status, answer) = ask("").await;
    assert_eq!((status, barred(&answer)), (200, ["undetermined"; 3].map(str::to_owned)), "no list was ever imported");
    let other = "plate,plate_color\n鲁C99999,yellow\n";
    world.import(&["list", "retire_n2"], "n2.csv", other).await;
    world.import(&["list", "retire_n3"], "n3.csv", other).await;
    assert_eq!(barred(&ask("").await.1), ["no"; 3]);
    let listed = "plate,plate_color,valid_from,reason,document_no\n鲁C12345,yellow,2026-02-01,art. 4,2026-7\n";
    world.import(&["list", "retire_n3"], "n3.csv", listed).await;
    let answer = ask("").await.1;
    assert_eq!(barred(&answer), ["yes"; 3]);
    let ground = &answer["transfer"]["grounds"][0];
    assert_eq!(
        (ground["entry"]["document_no"].as_str(), ground["entry"]["version"].as_i64()),
        (Some("2026-7"), Some(2))
    );
    assert_eq!(ground["entry"]["valid_from"], "2026-02-01T00:00:00+08:00");
    assert!(!ground["clause"].as_str().unwrap().is_empty());
    assert_eq!(answer["register"]["emission_stage"], 3);
    assert_eq!(barred(&ask("?at=2026-01-31T12:00:00%2B08:00").await.1), ["no"; 3], "as of that time");
    let (status, problem) = ask("?when=now").await;
    assert_eq!(status, 400);
    assert!(!problem.to_string().contains("12345"), "{problem}");

    send(&world, "seen", 1, 44.0).await;
    in_force(&world, &[OVER, "R2.listed_on_road"]).await;
    assert_eq!(ask("").await.1["findings"].as_array().unwrap().len(), 2);
    let said = world.setting.succeed(&["vehicle", "鲁C12345", "--color", "yellow"]).await;
    assert!(said.contains("transfer   barred: yes") && said.contains("document 2026-7"), "{said}");
    let json =
        world.setting.succeed(&["vehicle", "鲁C12345", "--color", "yellow", "--json", "--at", "2026-01-31"]).await;
    assert_eq!(barred(&serde_json::from_str(&json).unwrap()), ["no"; 3]);
    let log = service.log();
    assert!(!log.contains("12345"), "no plate in the log");
    assert_eq!(service.stop().await, Some(0));
}
