//! Slots leased in a real PostgreSQL, with a real broker's sessions behind them.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::support::*;
use crate::{
    config::{Config, Database},
    ingest::{Activity, LeaseArgs, Slots},
    store::connect::Connector,
};

/// A private cluster on a socket in a scratch folder, as a user that is not root.
struct Postgres {
    child: Child,
    dir: tempfile::TempDir,
}

fn bin(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).max();
    newest.unwrap_or_else(|| name.into())
}

fn command(name: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(bin(name));
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } == 0 {
        // The server refuses root. 65534 is `nobody` on every Linux.
        command.uid(65534).gid(65534);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Postgres {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a scratch folder");
        if unsafe { libc::geteuid() } == 0 {
            std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).expect("give it away");
        }
        let data = dir.path().join("data");
        let made = command("initdb")
            .current_dir(dir.path())
            .args(["-U", "test", "-A", "trust", "-N", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .status();
        assert!(made.expect("initdb is installed").success());
        let child = command("postgres")
            .current_dir(dir.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"])
            .arg(format!("unix_socket_directories={}", dir.path().display()))
            .arg("-D")
            .arg(&data)
            .spawn()
            .expect("postgres is installed");
        let server = Self { child, dir };
        let until = tokio::time::Instant::now() + CEILING;
        while server.config().connect(tokio_postgres::NoTls).await.is_err() {
            assert!(tokio::time::Instant::now() < until, "postgres does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.dir.path()).user("test").dbname("postgres");
        config
    }

    fn connector(&self) -> Connector {
        let url = format!("host={} user=test dbname=postgres", self.dir.path().display());
        let settings = Config::built_in().expect("the default").database;
        Connector::new(&Database { url, ..settings }).expect("an address")
    }

    async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) = self.config().connect(tokio_postgres::NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SAFETY: the child is ours and has not been waited for. SIGINT: fast shutdown.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGINT) };
        self.child.wait().ok();
    }
}

fn leased(server: &Postgres, holder: &str) -> Slots {
    let (lease, orphan_after) = (Duration::from_millis(900), Duration::from_millis(600));
    Slots::Leased(Box::new(LeaseArgs { lease, orphan_after, ..LeaseArgs::new(server.connector(), holder) }))
}

fn slots(service: &Service) -> Vec<u16> {
    service.ingest.status().iter().map(|status| status.slot).collect()
}

async fn table(client: &tokio_postgres::Client) -> Vec<(i32, String)> {
    let rows = client.query("SELECT slot, holder FROM ingest_slot ORDER BY slot", &[]).await.expect("query");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_leased_taken_over_emptied_and_lost() {
    let (broker, server) = tokio::join!(Mosquitto::start(), Postgres::start());
    let client = server.client().await;
    let two = crate::config::Mqtt { connections: 2, ..mqtt(&broker.url()) };
    let one = mqtt(&broker.url());

    // Without the table nobody connects, and nobody gives up.
    let first = Service::begin(&two, leased(&server, "first"));
    tokio::time::timeout(Duration::from_millis(500), first.until_ready()).await.expect_err("there are no slots");
    assert!(first.ingest.status().is_empty());
    client.batch_execute(include_str!("../../../schemas/sql/0003_slots.sql")).await.expect("the migration runs");
    first.until_ready().await;
    let mut second = Service::begin(&one, leased(&server, "second"));
    second.until_ready().await;
    assert_eq!((slots(&first), slots(&second)), (vec![0, 1], vec![2]));

    // The first dies; its sessions stay in the group, and messages are dealt to them.
    drop(first);
    publish(&broker.url(), numbered(0..30)).await;
    let mut seen: std::collections::BTreeSet<u32> = std::collections::BTreeSet::new();
    while seen.len() < 30 {
        let some = second.take(1).await;
        seen.extend(some.iter().map(number));
        settle(some);
    }
    // Emptied, the sessions are given up.
    eventually("the extra connections are gone", || slots(&second) == [2]).await;
    let until = tokio::time::Instant::now() + CEILING;
    while table(&client).await != [(2, "second".to_owned())] {
        assert!(tokio::time::Instant::now() < until, "{:?}", table(&client).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // And out of the group: nothing is dealt to them any more.
    publish(&broker.url(), numbered(30..60)).await;
    let rest = second.take(30).await;
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), (30..60).collect::<Vec<_>>());
    settle(rest);

    // Somebody else has our slot: the connection ends, and another slot is taken.
    client
        .execute("UPDATE ingest_slot SET holder = 'thief', lease_until = now() + interval '1 hour'", &[])
        .await
        .expect("update");
    eventually("another slot is used", || slots(&second) == [0]).await;
    second.until_ready().await;
    assert_eq!(table(&client).await, [(0, "second".to_owned()), (2, "thief".to_owned())]);

    // An orderly end frees the slot at once, for the next under any name.
    second.finish().await;
    assert_eq!(table(&client).await[0], (0, String::new()));
    let third = Service::begin(&one, leased(&server, "third"));
    third.until_ready().await;
    assert_eq!(slots(&third), [0]);

    // The server away and back: the connection is not touched.
    let epoch = third.ingest.status()[0].epoch;
    client.batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'").await.expect("query");
    let renewed = "SELECT lease_until > now() + interval '500 milliseconds' FROM ingest_slot WHERE slot = 0";
    tokio::time::sleep(Duration::from_millis(400)).await;
    let until = tokio::time::Instant::now() + CEILING;
    while !client.query_one(renewed, &[]).await.expect("query").get::<_, bool>(0) {
        assert!(tokio::time::Instant::now() < until, "the lease is not renewed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((third.ingest.status()[0].epoch, third.ingest.status()[0].activity), (epoch, Activity::Reading));
    third.finish().await;
}
