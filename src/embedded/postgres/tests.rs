use std::io::{BufRead as _, BufReader};

use super::postmaster::working_in;
use super::*;
use crate::embedded::child::Process;

/// Where the test below finds the folder when it runs as the child of itself.
const CHILD_VARIABLE: &str = "DIESELWATCH_TEST_CLUSTER";

/// Whether the server can be run here; `DIESELWATCH_REQUIRE_ALL` makes a skip a failure.
fn missing() -> bool {
    let missing = binaries::Binaries::find(None).is_err();
    assert!(!missing || std::env::var_os("DIESELWATCH_REQUIRE_ALL").is_none(), "PostgreSQL is not installed");
    if let (true, Some(path)) = (missing, std::env::var_os("DIESELWATCH_SKIPPED")) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "the private PostgreSQL cluster: PostgreSQL server binaries are not installed").unwrap();
    }
    missing
}

/// Temporary files lie where any account can get to, unlike a checkout below root's home.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/tmp").unwrap()
}

async fn scalar(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let value = client.query_one(sql, &[]).await.unwrap().get(0);
    drop(client);
    connection.await.unwrap().unwrap();
    value
}

#[tokio::test]
async fn a_cluster_starts_stops_starts_again_and_keeps_its_data() {
    if missing() {
        return;
    }
    let folder = folder();
    let server = EmbeddedPostgres::start_with(folder.path(), &[("fsync", "off")]).await.unwrap();
    let settings = "SELECT current_setting('server_encoding') || current_setting('data_checksums') \
                    || current_setting('listen_addresses') || current_setting('fsync')";
    assert_eq!(scalar(server.url(), settings).await, "UTF8onoff");
    scalar(server.url(), "WITH t AS (SELECT 1) SELECT 'x' FROM t").await;
    let (client, connection) = tokio_postgres::connect(server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')").await.unwrap();

    // A second owner is turned away while the first lives, and cut connections do not hold up the stop.
    let second = EmbeddedPostgres::start(folder.path()).await;
    assert!(matches!(second, Err(PostgresError::InUse { .. })), "{second:?}");
    server.stop().await.unwrap();
    assert!(working_in(&folder.path().join("data")).is_empty());

    let server = EmbeddedPostgres::start(folder.path()).await.unwrap();
    assert_eq!(scalar(server.url(), "SELECT word FROM kept").await, "here");
    server.crash().await;
    let server = EmbeddedPostgres::start(folder.path()).await.unwrap();
    assert_eq!(scalar(server.url(), "SELECT word FROM kept").await, "here");
    drop(server);
    assert!(working_in(&folder.path().join("data")).is_empty(), "dropping stops the server");
}

#[tokio::test]
async fn a_folder_too_deep_for_a_socket_and_with_odd_characters_works() {
    if missing() {
        return;
    }
    let folder = folder();
    let deep = folder.path().join("it's a \\ path").join("x".repeat(100));
    let server = EmbeddedPostgres::start_with(&deep, &[("fsync", "off")]).await.unwrap();
    assert_eq!(scalar(server.url(), "SELECT current_database()::text").await, "dieselwatch");
    let socket_folder = server.cluster.socket_folder.clone();
    assert!(socket_folder.exists());
    server.stop().await.unwrap();
    assert!(!socket_folder.exists(), "a socket folder among temporary files is removed");
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_does_not_hold_up_the_start() {
    if missing() {
        return;
    }
    let folder = folder();
    EmbeddedPostgres::start_with(folder.path(), &[("fsync", "off")]).await.unwrap().stop().await.unwrap();
    // Our own number: alive, and no database server at home in that folder.
    let pid_file = folder.path().join("data/postmaster.pid");
    std::fs::write(&pid_file, format!("{}\n/elsewhere\n", std::process::id())).unwrap();
    let server = EmbeddedPostgres::start(folder.path()).await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn data_of_another_version_is_refused_by_name() {
    if missing() {
        return;
    }
    let folder = folder();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/PG_VERSION"), "9\n").unwrap();
    let error = EmbeddedPostgres::start(folder.path()).await.unwrap_err();
    assert!(matches!(error, PostgresError::OtherVersion { data: 9, .. }), "{error}");
    std::fs::write(folder.path().join("data/PG_VERSION"), "what\n").unwrap();
    let error = EmbeddedPostgres::start(folder.path()).await.unwrap_err();
    assert!(matches!(error, PostgresError::NotACluster { .. }), "{error}");
}

/// Runs as a child of the test below, which kills it; by itself it has nothing to do.
#[test]
fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_VARIABLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = EmbeddedPostgres::start(Path::new(&folder)).await.unwrap();
        println!("\nserver {}", server.pid());
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn nothing_is_left_running_when_the_parent_is_killed() {
    if missing() {
        return;
    }
    let folder = folder();
    let data = folder.path().join("data");
    // Twice: the second run meets what the first left behind, perhaps still stopping.
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::postgres::tests::child_that_is_killed", "--nocapture"])
            .env(CHILD_VARIABLE, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.starts_with("server "))).unwrap();
        let server = Process::open(line.trim_start_matches("server ").parse().unwrap()).unwrap();
        assert!(!working_in(&data).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(server.wait(Duration::from_secs(60)), "the server outlives its killed parent");
    }
    assert!(working_in(&data).is_empty());
    let server = EmbeddedPostgres::start(folder.path()).await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_lost_its_parent_is_stopped_in_an_orderly_way_first() {
    if missing() {
        return;
    }
    let folder = folder();
    let cluster = Cluster::open(folder.path()).unwrap();
    // Started without the keeper and without the signal, as if it had not been delivered.
    let mut command = Command::new(cluster.binaries.postgres());
    cluster.confine(&mut command);
    command.args(arguments(&cluster, &[])).current_dir(&cluster.data).stderr(Stdio::null());
    let mut orphan = command.spawn().unwrap();
    let url = url(&cluster.socket_folder, "postgres");
    let deadline = Instant::now() + START_LIMIT;
    while tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err() {
        assert!(Instant::now() < deadline, "the orphan never got ready");
        tokio::time::sleep(START_POLL).await;
    }
    drop(cluster);
    let reaper = tokio::task::spawn_blocking(move || orphan.wait().unwrap());
    let server = EmbeddedPostgres::start(folder.path()).await.unwrap();
    assert!(reaper.await.unwrap().success(), "a fast stop ends with status 0");
    server.stop().await.unwrap();
}
