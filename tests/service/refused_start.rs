//! What keeps the service from starting is said in one sentence with the right exit code; what may come back is waited for.

use super::World;
use crate::support::{self, http, postgres, service::Service, service::Setting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_is_named_and_ends_the_start() {
    let Some(database) = postgres::database().await else { return };
    let folder = support::scratch();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setting = Setting::new(folder.path(), "mqtt://127.0.0.1:1", database.url());
    let output = setting.command(&["serve", "--set", &format!("http.listen={address}")]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or_default();
    assert!(said.contains("http.listen") && said.contains(&address) && said.contains("in use"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_a_newer_program_is_left_alone() {
    let Some(world) = World::new().await else { return };
    let newer = "INSERT INTO schema_migration (number, name, sha256, flavour) \
                 SELECT 9999, 'of the future', '', flavour FROM schema_migration LIMIT 1";
    world.client.batch_execute(newer).await.unwrap();
    for command in [&["serve"][..], &["migrate"]] {
        let output = world.setting.command(command).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("9999") && said.contains("newer dieselwatch"), "{command:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_and_a_database_that_are_away_are_waited_for() {
    let Some(database) = postgres::database().await else { return };
    let folder = support::scratch();
    let nobody = format!("mqtt://127.0.0.1:{}", support::free_port());
    let without_database = format!("postgres://nobody@127.0.0.1:{}/nothing", support::free_port());
    for (name, database) in [("no-broker", database.url()), ("no-database", &without_database)] {
        let mut setting = Setting::new(folder.path(), &nobody, database);
        setting.instance = name.into();
        let service = Service::start(&setting).await;
        let missing = if name == "no-broker" { "broker" } else { "database" };
        support::until("readiness to name what is away", async || {
            let (status, body) = http::get(service.http(), "/readyz").await.ok()?;
            (status == 503 && body.contains(missing)).then_some(())
        })
        .await;
        let (healthy, _) = http::get(service.http(), "/healthz").await.unwrap();
        assert_eq!(healthy, 200);
        assert_eq!(service.stop().await, Some(0), "{name}");
    }
}
