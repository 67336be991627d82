//! What the benches on real servers share: a database with a register, processor time of processes, small tables.
#![allow(dead_code)] // not every bench needs every part
#![allow(clippy::unwrap_used)] // a bench that cannot go on says where, and ends

#[path = "../../tests/support/kafka.rs"]
pub mod kafka;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use chrono::Datelike as _;
use dieselwatch::{
    embedded::postgres::EmbeddedPostgres,
    simulate::{
        Fleet, FleetSize, demo_files,
        fleet::{List, RegisteredVehicle},
    },
};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Crash-safe as in production; the sizes keep checkpoints out of a minute's measurement.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("shared_buffers", "512MB"),
    ("wal_buffers", "16MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "15min"),
    ("max_connections", "60"),
];

/// Longest wait for a server to be ready.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Vehicles in the register of every bench.
const REGISTERED: usize = 100_000;
/// Vehicles that pass, a quarter of them registered: about 3 % of passages then raise a finding, and the same vehicle is
/// back after a quarter of a minute instead of every few seconds, which no street has.
const VEHICLES: u32 = 400_000;
const STATIONS: u32 = 20;

/// Says what is missing; always `None`.
pub fn skip<T>(what: &str) -> Option<T> {
    println!("SKIPPED: {what}");
    None
}

/// Asks until the answer is `Some`; panics with `what` after [`LIMIT`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Folder for scratch files that any account may reach, unlike a checkout below root's home.
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("dieselwatch-bench-").tempdir_in("/tmp").unwrap()
}

/// A port nobody listens on now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Length of a measurement: `DIESELWATCH_BENCH_SECONDS`, or short.
pub fn seconds() -> u64 {
    std::env::var("DIESELWATCH_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

/// The fleet every bench publishes for and imports. The demo's is a museum in which every rule finds somebody, one passage in
/// ten; here a tenth of those that a rule finds whenever they pass are left, so that most findings are limits exceeded.
/// `DIESELWATCH_BENCH_FLEET=demo` takes the museum.
pub fn fleet() -> Arc<Fleet> {
    let size = FleetSize { vehicles: VEHICLES, stations: STATIONS, ..FleetSize::DEMO };
    let mut fleet = Fleet::new(dieselwatch::simulate::fleet::DEMO_SEED, size);
    if std::env::var("DIESELWATCH_BENCH_FLEET").as_deref() != Ok("demo") {
        fleet.vehicles.retain(|vehicle| vehicle.index % 10 == 0 || !always_found(vehicle));
        (0..).zip(&mut fleet.vehicles).for_each(|(place, vehicle)| vehicle.index = place);
    }
    Arc::new(fleet)
}

/// Old, listed, or of no registered stage: a vehicle rule fires at every passage.
fn always_found(vehicle: &RegisteredVehicle) -> bool {
    let listed = [List::RetireN2, List::RetireN3, List::Scrapped, List::InspectionOverdue];
    listed.into_iter().any(|list| vehicle.is_on(list))
        || vehicle.stage.is_none_or(|stage| stage < 3)
        || vehicle.registered_on.year() < 2014
}

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dieselwatch"));
    command.stdin(Stdio::null());
    command
}

/// A private server that syncs, gone with this value.
pub async fn postgres() -> anyhow::Result<(EmbeddedPostgres, TempDir)> {
    let folder = scratch();
    Ok((EmbeddedPostgres::start_with(folder.path(), SETTINGS).await?, folder))
}

pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Brings an empty database to the current schema and imports vehicles, stations, zones and lists of the fleet.
pub async fn prepare(url: &str, fleet: &Fleet) -> anyhow::Result<()> {
    let folder = scratch();
    let mut register = fleet.clone();
    register.vehicles.truncate(REGISTERED);
    demo_files::write(&register, folder.path())?;
    run(binary().arg("migrate").args(["--set", &format!("database.url={url}")]))?;
    for file in std::fs::read_dir(folder.path())? {
        import(&file?.path(), url)?;
    }
    // The import's writes are not to be cleaned up while something is measured.
    connect(url).await?.batch_execute("VACUUM ANALYZE; CHECKPOINT").await.ok();
    Ok(())
}

fn import(file: &Path, url: &str) -> anyhow::Result<()> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).context("a file of the fleet")?;
    let mut command = binary();
    command.arg("import");
    match stem.split_once('-') {
        Some((list, name)) => command.args([list, name]),
        None => command.arg(stem),
    };
    run(command.arg(file).args(["--database", url]))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Processor time of a process so far; with `tree` also that of its children, living and ended.
pub fn processor_time(pid: u32, tree: bool) -> Duration {
    let mut ticks = stat(pid).map_or(0, |s| s.own + if tree { s.ended_children } else { 0 });
    if tree {
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ticks += pids.filter_map(stat).filter(|s| s.parent == pid).map(|s| s.own).sum::<u64>();
    }
    // SAFETY: only reads a constant of the system.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    Duration::from_secs_f64(ticks as f64 / hertz)
}

struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat { parent: number(1)? as u32, own: number(11)? + number(12)?, ended_children: number(13)? + number(14)? })
}

/// Resident memory now and at its highest, MB.
pub fn memory(pid: u32) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// A figure beside what was asked for.
pub fn row(what: &str, figure: &str, asked: &str) {
    println!("  {what:<58} {figure:>14}  {asked}");
}
