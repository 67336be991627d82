//! Servers that are there and do not do what they should: refused by name, or waited for by name; nothing is lost or stopped.

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{PASSAGES, World, ago, count, passage, settled};
use crate::support::{
    self, http,
    http::metric,
    mosquitto::Mosquitto,
    pgbouncer::PgBouncer,
    postgres::{self, TestDatabase},
    publisher::publish,
    service::{Service, Setting},
};

/// A passage of another station than the usual one.
fn of_station(station: &str, record: &str) -> (String, String) {
    let mut message = passage(record, &ago(5), 12.0);
    message["station_id"] = json!(station);
    (format!("dw/v1/rs/{station}/passage"), message.to_string())
}

/// Waits until `/readyz` says that this part is down, and why.
async fn down(service: &Service, part: &str, words: &[&str]) {
    support::until(&format!("{part} to be down: {words:?}"), async || {
        let (status, body) = http::get(service.http(), "/readyz").await.ok()?;
        let body: Value = serde_json::from_str(&body).ok()?;
        let part = body["parts"].as_array()?.iter().find(|each| each["part"] == part)?.clone();
        let detail = part["detail"].as_str()?;
        let told = part["condition"] == "down" && words.iter().all(|word| detail.contains(word));
        (status == 503 && told).then_some(())
    })
    .await;
}

const PASSAGES_STORED: &str = "SELECT count(*) FROM passage";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_read_only_for_a_while_costs_time_and_nothing_else() {
    let Some(mut world) = World::new().await else { return };
    world.setting.further = "write_token = \"a token of this test\"".into();
    let service = Service::start_ready(&world.setting).await;
    publish(&world.setting.broker, [(PASSAGES, passage("before", &ago(9), 12.0).to_string())]).await;
    settled(&service, 1).await;

    // The test's own session stays as it is.
    let name: String = world.client.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    world.client.batch_execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await.unwrap();
    let end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                        AND pid <> pg_backend_pid()";
    world.client.execute(end_sessions, &[]).await.unwrap();
    publish(&world.setting.broker, [of_station("370306-77", "unknown station")]).await;
    down(&service, "database", &["default_transaction_read_only"]).await;
    publish(&world.setting.broker, [of_station("370306-01", "known station")]).await;
    support::until("the metrics to tell", async || {
        let text = service.metrics().await;
        let part = metric(&text, "dieselwatch_part_up", &["part=\"database\""]);
        (part == 0.0 && metric(&text, "dieselwatch_commit_lag_seconds", &[]) > 3.0).then_some(())
    })
    .await;
    // What can be read is shown, and nothing can be changed: by sessions that are read-only now.
    let (status, body) = http::get(service.http(), "/api/v1/passages?limit=1").await.unwrap();
    assert_eq!(status, 200, "{body}");
    let warn = async || {
        let act = json!({"level": "yellow", "issued_at": ago(1), "by": "tester", "document_no": "1"}).to_string();
        let headers = [("Authorization", "Bearer a token of this test")];
        http::post(service.http(), "/api/v1/warnings", &headers, &act).await.unwrap().0
    };
    assert_eq!(warn().await, 503);
    assert_eq!(world.count(PASSAGES_STORED).await, 1);

    world.client.batch_execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await.unwrap();
    world.until_count(PASSAGES_STORED, 3).await;
    settled(&service, 3).await;
    service.ready().await;
    assert_eq!(warn().await, 201, "the pool gave up the session that was read-only");
    assert_eq!(world.count("SELECT count(*) FROM dead_letter").await, 0);
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_that_waits_for_its_number_keeps_nobody_waiting() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    publish(&world.setting.broker, [of_station("370306-01", "first")]).await;
    settled(&service, 1).await;
    // Nothing can be entered into the stations while this is held.
    let mut other = postgres::connect(&world.setting.database).await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE stations IN SHARE MODE").await.unwrap();
    publish(&world.setting.broker, [of_station("370306-88", "newcomer")]).await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'stations'::regclass AND NOT granted";
    support::until("a writer to wait for the number", async || (world.count(waiting).await > 0).then_some(())).await;
    for n in 0..20 {
        publish(&world.setting.broker, [of_station("370306-01", &format!("r-{n}"))]).await;
    }
    world.until_count(PASSAGES_STORED, 21).await;
    lock.rollback().await.unwrap();
    world.until_count(PASSAGES_STORED, 22).await;
    // An identity that the server never takes costs its own message only.
    world.client.batch_execute("ALTER TABLE stations ADD CHECK (station_id <> '370306-99')").await.unwrap();
    publish(&world.setting.broker, [of_station("370306-99", "refused"), of_station("370306-98", "taken")]).await;
    world.until_count(PASSAGES_STORED, 23).await;
    world.until_count("SELECT count(*) FROM dead_letter WHERE reason = 'refused_by_store'", 1).await;
    settled(&service, 24).await;
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_goes_by_what_is_committed() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    // Nothing comes: only the probe can know.
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                  $$ BEGIN RAISE EXCEPTION 'not today'; END $$; \
                  CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON write_probe \
                  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()";
    world.client.batch_execute(refuse).await.unwrap();
    down(&service, "database", &["nothing can be committed", "not today"]).await;
    world.client.batch_execute("DROP TRIGGER refuse ON write_probe").await.unwrap();
    service.ready().await;

    // Something comes and stays: its age tells, although the probe succeeds.
    let refuse = "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON passage_key \
                  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()";
    world.client.batch_execute(refuse).await.unwrap();
    publish(&world.setting.broker, [(PASSAGES, passage("kept", &ago(9), 12.0).to_string())]).await;
    down(&service, "database", &["no commit for", "messages waiting: 1", "not today"]).await;
    assert_eq!(world.count(PASSAGES_STORED).await, 0);
    world.client.batch_execute("DROP TRIGGER refuse ON passage_key").await.unwrap();
    world.until_count(PASSAGES_STORED, 1).await;
    service.ready().await;
    let rows = world.count("SELECT count(*) FROM write_probe").await;
    assert_eq!(rows, 1, "the probe leaves nothing behind");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_hang_and_sessions_that_turn_read_only_are_told_and_outlived() {
    let Some((_folder, server)) = postgres::private().await else { return };
    let Some(broker) = Mosquitto::start().await else { return };
    let place = support::scratch();
    let setting = Setting::new(place.path(), &broker.url(), server.url());
    setting.succeed(&["migrate"]).await;
    let service = Service::start_ready(&setting).await;
    let client = postgres::connect(server.url()).await;
    let set = async |setting: &str| {
        client.batch_execute(&format!("ALTER SYSTEM {setting}")).await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    };
    // Every commit waits for a replica that does not exist.
    set("SET synchronous_standby_names = 'nobody'").await;
    down(&service, "database", &["no answer within"]).await;
    publish(&setting.broker, [(PASSAGES, passage("hangs", &ago(9), 12.0).to_string())]).await;
    set("RESET synchronous_standby_names").await;
    settled(&service, 1).await;
    service.ready().await;

    // Sessions that are open turn read-only, and back, without anybody ending them.
    set("SET default_transaction_read_only = on").await;
    publish(&setting.broker, [of_station("370306-66", "unknown")]).await;
    down(&service, "database", &["read-only"]).await;
    set("RESET default_transaction_read_only").await;
    settled(&service, 2).await;
    service.ready().await;
    assert_eq!(count(&client, PASSAGES_STORED).await, 2);
    assert_eq!(service.stop().await, Some(0));
    drop(client);
    server.stop().await.unwrap();
}

/// The last line that a command said, which ended with this code.
async fn refused(setting: &Setting, arguments: &[&str], code: i32) -> String {
    let output = setting.command(arguments).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_another_encoding_is_refused_by_every_command() {
    let Some((_folder, server)) = postgres::private().await else { return };
    let admin = postgres::connect(server.url()).await;
    let place = support::scratch();
    let file = place.path().join("stations.csv");
    std::fs::write(&file, "station_id,kind\n370306-01,mobile\n").unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("test_{}", encoding.to_lowercase());
        let create =
            format!("CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        admin.batch_execute(&create).await.unwrap();
        let url = server.url_of(&name);
        let setting = Setting::new(place.path(), "mqtt://127.0.0.1:1", &url);
        for command in [
            &["migrate"][..],
            &["migrate", "--check"],
            &["check-config", "--quiet"],
            &["serve"],
            &["import", "stations", file.to_str().unwrap()],
            &["dead-letters", "list"],
            &["rejudge", "--from", "2026-01-01", "--to", "2026-02-01"],
            &["vehicle", "鲁C12345", "--color", "yellow"],
            &["warning", "list"],
        ] {
            let said = refused(&setting, command, 2).await;
            assert!(said.contains(encoding) && said.contains("ENCODING 'UTF8'"), "{command:?}: {said}");
        }
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(count(&postgres::connect(&url).await, tables).await, 0, "nothing was made in it");
    }
    drop(admin);
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_while_the_database_takes_no_writes() {
    let Some(database) = postgres::database().await else { return };
    let client: Client = database.client().await;
    let name: String = client.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
    client.batch_execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await.unwrap();
    let folder = support::scratch();
    let setting = Setting::new(folder.path(), "mqtt://127.0.0.1:1", database.url());
    let said = refused(&setting, &["migrate"], 1).await;
    assert!(said.contains("default_transaction_read_only"), "{said}");
    let output = setting.command(&["check-config"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("default_transaction_read_only"), "{said}");
    let service = Service::start(&setting).await;
    down(&service, "database", &["default_transaction_read_only"]).await;
    client.batch_execute(&format!("ALTER DATABASE {name} RESET default_transaction_read_only")).await.unwrap();
    support::until("the database to be taken", async || {
        let (_, body) = http::get(service.http(), "/readyz").await.ok()?;
        let body: Value = serde_json::from_str(&body).ok()?;
        let up = body["parts"].as_array()?.iter().any(|each| each["part"] == "database" && each["condition"] == "up");
        up.then_some(())
    })
    .await;
    assert_eq!(service.stop().await, Some(0));
}

async fn behind_a_pooler(pool_mode: &str) -> Option<(TestDatabase, PgBouncer)> {
    let database = postgres::database().await?;
    let pooler = PgBouncer::start(database.url(), pool_mode).await?;
    Some((database, pooler))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_sessions_is_refused() {
    let folder = support::scratch();
    for pool_mode in ["transaction", "statement"] {
        let Some((database, pooler)) = behind_a_pooler(pool_mode).await else { return };
        let setting = Setting::new(folder.path(), "mqtt://127.0.0.1:1", &pooler.url());
        for command in [&["migrate"][..], &["check-config", "--quiet"], &["serve"], &["dead-letters", "list"]] {
            let said = refused(&setting, command, 2).await;
            assert!(said.contains("pool_mode = session"), "{pool_mode} {command:?}: {said}");
        }
        let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        assert_eq!(count(&database.client().await, tables).await, 0, "nothing was made in it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_keeps_sessions_apart_is_as_good_as_the_server() {
    let Some((database, pooler)) = behind_a_pooler("session").await else { return };
    let Some(broker) = Mosquitto::start().await else { return };
    let folder = support::scratch();
    let setting = Setting::new(folder.path(), &broker.url(), &pooler.url());
    setting.succeed(&["migrate"]).await;
    let service = Service::start_ready(&setting).await;
    publish(&setting.broker, [of_station("370306-01", "one"), of_station("370306-02", "two")]).await;
    settled(&service, 2).await;
    assert_eq!(count(&database.client().await, PASSAGES_STORED).await, 2);
    let (status, body) = http::get(service.http(), "/api/v1/passages?limit=5").await.unwrap();
    assert!(status == 200 && body.contains("370306-02"), "{status} {body}");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_grants_too_little_is_named() {
    let Some(broker) = Mosquitto::start_with("max_qos 0\nallow_anonymous true\n").await else { return };
    let Some(database) = postgres::database().await else { return };
    let folder = support::scratch();
    let service = Service::start(&Setting::new(folder.path(), &broker.url(), database.url())).await;
    down(&service, "broker", &["QoS 0", "max_qos 1"]).await;
    assert_eq!(service.stop().await, Some(0));

    let Some(broker) = Mosquitto::start_with("retain_available false\nmax_keepalive 20\nallow_anonymous true\n").await
    else {
        return;
    };
    let mut setting = Setting::new(folder.path(), &broker.url(), database.url());
    setting.instance = "less".into();
    let service = Service::start_ready(&setting).await;
    support::until("what is lacking to be shown", async || {
        let (_, body) = http::get(service.http(), "/readyz").await.ok()?;
        body.contains("no retained messages").then_some(())
    })
    .await;
    assert_eq!(service.stop().await, Some(0));
}
