//! The HTTP side against a real PostgreSQL.

#[path = "api/client.rs"]
mod client;

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use deadpool_postgres::{Manager, Pool};
use dieselwatch::{
    api::{
        self, Running, State,
        readiness::{Board, Condition, Part},
    },
    config::Config,
    fault::Reason,
    judge::{Limits, RuleBook},
    store::migrate,
    telemetry::{Books, books::MessageBook, metrics},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tokio_postgres::{Client, NoTls};

use crate::support::{self, postgres};
use client::{Events, ask, get};

struct World {
    running: Running,
    state: State,
    database: Client,
    _kept: postgres::TestDatabase,
}

impl World {
    fn at(&self) -> SocketAddr {
        self.running.address()
    }
}

fn pool(url: &str) -> Pool {
    Pool::builder(Manager::new(url.parse().unwrap(), NoTls)).max_size(4).build().unwrap()
}

fn state(pool: Pool) -> State {
    let books = Arc::new(Books::new(["rs", "obd"]));
    books.attach_messages(|| vec![MessageBook { received: 9, settled: 7, in_flight: 1, returned: 1 }]);
    let rs = books.source(0).unwrap();
    rs.decoded.add(7);
    rs.stored.add(6);
    rs.quarantined(Reason::NotJson).add(1);
    let readiness =
        Board::new([(Part::Broker, true), (Part::Database, true), (Part::Kafka, false), (Part::Lists, true)]);
    for part in [Part::Broker, Part::Database, Part::Lists] {
        readiness.set(part, Condition::Up, "");
    }
    let metrics = metrics::install(books.clone()).unwrap();
    let rules = Arc::new(RuleBook::new(Limits::built_in(), Config::built_in().unwrap().judge));
    State {
        pool,
        write_token: None,
        books,
        metrics,
        readiness: Arc::new(readiness),
        new_events: Arc::new(Notify::new()),
        rules,
    }
}

async fn serve(state: State) -> Running {
    api::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), state).unwrap()
}

async fn world() -> Option<World> {
    let kept = postgres::database().await?;
    let database = kept.client().await;
    migrate::run(&database).await.unwrap();
    database.batch_execute(include_str!("fixtures/api/rows.sql")).await.unwrap();
    let state = state(pool(kept.url()));
    Some(World { running: serve(state.clone()).await, state, database, _kept: kept })
}

/// Follows `next` to the end and returns every item.
async fn walk(world: &World, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(world.at(), &format!("{path}{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

fn distinct(items: &[Value], field: &str) -> usize {
    items.iter().map(|item| item[field].to_string()).collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn passages_are_paged_without_gap_or_repeat() {
    let Some(world) = world().await else { return };
    let all = walk(&world, "/api/v1/passages?limit=47").await;
    assert_eq!((all.len(), distinct(&all, "record_id")), (480, 480));
    assert!(all.is_sorted_by(|a, b| a["passed_at"].as_str() >= b["passed_at"].as_str()));
    let one = walk(&world, "/api/v1/passages?limit=100&station=370306-02").await;
    assert_eq!(one.len(), 160);
    assert!(one.iter().all(|passage| passage["station_id"] == "370306-02"));
    let over = walk(&world, "/api/v1/passages?limit=500&verdict=over_limit").await;
    assert_eq!(over.len(), 53);
    assert_eq!(over[0]["plate_color"], "yellow");
    assert_eq!(walk(&world, "/api/v1/passages?station=nowhere").await, Vec::<Value>::new());
    let until = all[99]["passed_at"].as_str().unwrap();
    assert_eq!(
        walk(&world, &format!("/api/v1/passages?limit=500&to={until}")).await.len(),
        380,
        "an unescaped plus is understood"
    );
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_are_filtered_and_explained() {
    let Some(world) = world().await else { return };
    assert_eq!(walk(&world, "/api/v1/violations?limit=3").await.len(), 8);
    assert_eq!(walk(&world, "/api/v1/violations?rule=HJ845.over").await.len(), 2);
    assert_eq!(walk(&world, "/api/v1/violations?rule=HJ845.over&state=revoked").await.len(), 1);
    assert_eq!(walk(&world, "/api/v1/violations?needs_review=true").await.len(), 2);
    assert_eq!(walk(&world, "/api/v1/violations?state=in_force&needs_review=false").await.len(), 5);
    let first = &walk(&world, "/api/v1/violations?limit=1").await[0];
    assert_eq!(first["subject"], json!({"kind": "vehicle", "plate": "鲁C12345", "plate_color": "yellow"}));
    assert_eq!(first["content"]["verdict"]["pollutants"][0]["limit"], 30.0);

    let shown = get(world.at(), "/api/v1/violations/00000000-0000-5000-8000-000000000001").await.json();
    assert_eq!(shown["id"], first["id"]);
    let raw: Vec<_> = shown["evidence"].as_array().unwrap().iter().map(|evidence| &evidence["raw"]).collect();
    assert_eq!((&raw[0]["data"], &raw[0]["intact"]), (&json!("{\"record_id\":\"r-1\"}"), &json!(true)));
    assert_eq!(
        (&raw[1]["data"], &raw[1]["encoding"], &raw[1]["intact"]),
        (&json!("2323fe"), &json!("hex"), &json!(false))
    );
    assert_eq!((&raw[2]["length"], &raw[2]["intact"]), (&json!(70_000), &Value::Null), "only the beginning was read");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_shows_what_came_and_why() {
    let Some(world) = world().await else { return };
    let all = walk(&world, "/api/v1/dead-letters?limit=7").await;
    assert_eq!((all.len(), distinct(&all, "id")), (60, 60));
    assert_eq!(walk(&world, "/api/v1/dead-letters?reason=not_json").await.len(), 10);
    assert_eq!(walk(&world, "/api/v1/dead-letters?source=obd&replayed=false").await.len(), 20);
    assert_eq!(walk(&world, "/api/v1/dead-letters?replayed=true").await.len(), 0);
    let shown = get(world.at(), &format!("/api/v1/dead-letters/{}", all[0]["id"])).await.json();
    assert_eq!((&shown["raw"]["data"], &shown["raw"]["intact"]), (&json!("{\"broken\":60"), &json!(true)));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_a_terminal_come_latest_first() {
    let Some(world) = world().await else { return };
    let rows = "INSERT INTO terminal_day (device, day, packets, live_packets, missing, loss_rate, restarts, records, \
         online_seconds, undetermined) \
         SELECT id, timestamptz '2026-03-01T00:00:00+08:00' + n * interval '1 day', 100 + n, 90, 10, 0.1, 0, 1000, 8640, \
         '{packet_loss: packets without serial}' FROM devices, generate_series(0, 2) n WHERE device_id = 'RT-0001'";
    world.database.batch_execute(rows).await.unwrap();
    let days = walk(&world, "/api/v1/terminals/RT-0001/days?limit=1").await;
    let named: Vec<&str> = days.iter().map(|day| day["day"].as_str().unwrap()).collect();
    assert_eq!(named, ["2026-03-03", "2026-03-02", "2026-03-01"]);
    assert_eq!(
        (&days[0]["packets"], &days[0]["online_rate"], &days[0]["kind"]),
        (&json!(102), &json!(0.1), &json!("retrofit"))
    );
    let since = walk(&world, "/api/v1/terminals/RT-0001/days?from=2026-03-02T00:00:00%2B08:00").await;
    assert_eq!(since.len(), 2);
    assert!(walk(&world, "/api/v1/terminals/nobody/days").await.is_empty());
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem_detail() {
    let Some(world) = world().await else { return };
    let asked = [
        ("GET", "/api/v1/nothing"),
        ("POST", "/api/v1/violations"),
        ("DELETE", "/healthz"),
        ("GET", "/api/v1/passages?limit=0"),
        ("GET", "/api/v1/passages?limit=many"),
        ("GET", "/api/v1/passages?plate=x"),
        ("GET", "/api/v1/passages?verdict=guilty"),
        ("GET", "/api/v1/passages?from=yesterday"),
        ("GET", "/api/v1/passages?cursor=1~2"),
        ("GET", "/api/v1/violations/not-a-uuid"),
        ("GET", "/api/v1/violations/00000000-0000-5000-8000-0000000000ff"),
        ("GET", "/api/v1/dead-letters/999999"),
        ("GET", "/api/v1/dead-letters?reason=bad_luck"),
        ("GET", "/api/v1/events?after=-"),
        ("GET", "/assets/0000000000000000/app.js"),
    ];
    let mut seen = Vec::new();
    for (method, path) in asked {
        let answer = ask(world.at(), method, path, "").await;
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!(answer.json()["status"], answer.status, "{path}");
        assert!(answer.status != 405 || answer.header("allow").is_some(), "{path}");
        seen.push(json!({ "asked": format!("{method} {path}"), "answer": answer.json() }));
    }
    insta::assert_json_snapshot!("problems", seen);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_by_position() {
    let Some(world) = world().await else { return };
    let page = get(world.at(), "/api/v1/events?limit=200").await.json();
    assert_eq!((&page["next"], &page["oldest"]), (&json!(300), &json!(101)));
    assert_eq!(page["events"][0]["event"]["id"], "e-1");
    assert_eq!(page["events"][4]["topic"], "dieselwatch.intercepts.v1");
    let rest = get(world.at(), "/api/v1/events?after=300").await.json();
    assert_eq!((rest["events"].as_array().unwrap().len(), &rest["next"]), (50, &json!(350)));
    let none = get(world.at(), "/api/v1/events?after=350").await.json();
    assert_eq!((&none["events"], &none["next"]), (&json!([]), &json!(350)));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_read_by_its_id_also_when_it_has_left_the_outbox() {
    let Some(world) = world().await else { return };
    let first = "SELECT event_id::text FROM outbox WHERE position = 101";
    let id: String = world.database.query_one(first, &[]).await.unwrap().get(0);
    let event = get(world.at(), &format!("/api/v1/events/{id}")).await.json();
    assert_eq!((&event["position"], &event["event"]["id"]), (&json!(101), &json!("e-1")));
    let keep = "INSERT INTO refused_event (event_id, position, topic, key, payload, created_at, reason, stand_in) \
                SELECT event_id, position, topic, key, payload, created_at, 'too large', true FROM outbox \
                WHERE position = 101; DELETE FROM outbox WHERE position = 101";
    world.database.batch_execute(keep).await.unwrap();
    assert_eq!(get(world.at(), &format!("/api/v1/events/{id}")).await.json(), event);
    let none = get(world.at(), "/api/v1/events/00000000-0000-5000-8000-0000000000ff").await;
    assert_eq!(none.status, 404);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_where_its_reader_was_and_goes_on() {
    let Some(world) = world().await else { return };
    let mut stream = Events::open(world.at(), "/api/v1/events/stream?after=5", "Last-Event-ID: 150\r\n").await;
    assert!(stream.head.contains("content-type: text/event-stream"));
    for position in 151..=350 {
        let event = timeout(support::LIMIT, stream.next()).await.unwrap().unwrap();
        assert_eq!(event.id, position.to_string());
        assert!(event.event.starts_with("dieselwatch."));
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["id"], format!("e-{}", position - 100));
    }
    let position = "UPDATE outbox SET position = 351 WHERE position IS NULL";
    world.database.batch_execute(position).await.unwrap();
    world.state.new_events.notify_one();
    let event = timeout(support::LIMIT, stream.next()).await.unwrap().unwrap();
    assert_eq!((event.id.as_str(), event.data.as_str()), ("351", "{}"));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_missed_events_is_told() {
    let Some(world) = world().await else { return };
    let mut purged = Events::open(world.at(), "/api/v1/events/stream?after=20", "").await;
    let event = timeout(support::LIMIT, purged.next()).await.unwrap().unwrap();
    assert_eq!((event.event.as_str(), event.data.as_str()), ("resync", r#"{"after":20,"oldest":101}"#));
    assert_eq!(timeout(support::LIMIT, purged.next()).await.unwrap().unwrap().id, "101");
    let mut ahead = Events::open(world.at(), "/api/v1/events/stream", "Last-Event-ID: 9000\r\n").await;
    assert_eq!(timeout(support::LIMIT, ahead.next()).await.unwrap().unwrap().event, "resync");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_end_when_the_service_stops() {
    let Some(world) = world().await else { return };
    let mut events = Events::open(world.at(), "/api/v1/events/stream", "").await;
    let mut live = Events::open(world.at(), "/api/v1/live/stream", "").await;
    let pulse = timeout(support::LIMIT, live.next()).await.unwrap().unwrap();
    assert_eq!(pulse.event, "pulse");
    // Far below the five seconds after which it would be cut off: the streams ended by themselves.
    timeout(Duration::from_secs(4), world.running.stop()).await.unwrap();
    while let Some(event) = timeout(support::LIMIT, live.next()).await.unwrap() {
        assert_eq!(event.event, "pulse");
    }
    assert_eq!(timeout(support::LIMIT, events.next()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_state_holds_what_the_page_shows() {
    let Some(world) = world().await else { return };
    let live = get(world.at(), "/api/v1/live").await.json();
    assert_eq!(live["database_answers"], true);
    assert_eq!(live["sources"][0]["messages"], json!({"received": 9, "settled": 7, "in_flight": 1, "returned": 1}));
    assert_eq!(live["sources"][0]["readings"]["quarantined"], 1);
    assert_eq!(live["stations"].as_array().unwrap().len(), 4);
    assert_eq!(live["stations"][0]["recent"], 160);
    assert_eq!(live["stations"][3]["known"], false);
    assert_eq!(live["movers"].as_array().unwrap().len(), 39);
    assert_eq!(live["latest_findings"][0]["rule"], "HJ845.over");
    assert_eq!(live["latest_dead_letters"].as_array().unwrap().len(), 20);
    let zones = get(world.at(), "/api/v1/zones").await.json();
    let names: Vec<_> = zones["features"].as_array().unwrap().iter().map(|zone| &zone["properties"]["name"]).collect();
    assert_eq!(names.len(), 3, "a zone that is over is not shown: {names:?}");
    assert_eq!(zones["features"][0]["type"], "Feature");
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_service_still_answers_and_says_so() {
    let state = state(pool("host=127.0.0.1 port=1 user=nobody connect_timeout=1"));
    let running = serve(state.clone()).await;
    let at = running.address();
    assert_eq!(get(at, "/healthz").await.status, 200);
    let ready = get(at, "/readyz").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (503, &json!(false)));
    assert_eq!(ready.json()["parts"][1]["condition"], "down");
    let refused = get(at, "/api/v1/violations").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert!(refused.json()["type"].as_str().unwrap().ends_with("#database_unavailable"));
    let live = get(at, "/api/v1/live").await.json();
    assert_eq!((&live["database_answers"], &live["sources"][0]["readings"]["stored"]), (&json!(false), &json!(6)));
    assert!(get(at, "/metrics").await.text().contains("dieselwatch_readings_decoded_total{source=\"rs\"}"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_parts() {
    let Some(world) = world().await else { return };
    assert_eq!(get(world.at(), "/readyz").await.status, 200);
    world.state.readiness.set(Part::Broker, Condition::Down, "0 of 4 connections");
    let ready = get(world.at(), "/readyz").await;
    assert_eq!((ready.status, &ready.json()["parts"][0]["detail"]), (503, &json!("0 of 4 connections")));
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_its_files_are_kept_by_the_browser_and_fenced_in() {
    let running = serve(state(pool("host=127.0.0.1 port=1 user=nobody"))).await;
    let at = running.address();
    let page = get(at, "/").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let script = page.text().split('"').find(|part| part.ends_with("app.js")).unwrap().to_owned();
    let file = ask(at, "GET", &script, "Accept-Encoding: gzip\r\n").await;
    assert_eq!((file.status, file.header("content-encoding")), (200, Some("gzip")));
    assert!(file.header("cache-control").unwrap().contains("immutable"));
    let tag = format!("If-None-Match: {}\r\n", file.header("etag").unwrap());
    assert_eq!(ask(at, "GET", &script, &tag).await.status, 304);
    assert_eq!(ask(at, "GET", "/", &tag).await.status, 304);
    let api = get(at, "/api/v1/openapi.json").await;
    assert_eq!(api.header("cache-control"), Some("no-store"));
    assert_eq!(get(at, "/docs").await.status, 200);
    // Compressed streams would sit in a buffer.
    let stream = Events::open(at, "/api/v1/live/stream", "Accept-Encoding: gzip\r\n").await;
    assert!(!stream.head.contains("content-encoding"), "{}", stream.head);
    running.stop().await;
}
