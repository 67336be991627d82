//! A register in the large: CSV into the database, the database into memory, and the next version of it.
//!
//! `cargo bench --bench import [VEHICLES]`; two million without a number. The file is made up, every vehicle different; one
//! in a thousand of the second file has changed. PostgreSQL syncs as in production.
#![allow(clippy::unwrap_used)] // a bench that cannot go on says where, and ends

mod support;

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use dieselwatch::vehicle::{knowledge::KnowledgeHandle, watch};
use support::row;

fn main() -> anyhow::Result<()> {
    let vehicles: u64 = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(2_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(vehicles))
}

async fn run(vehicles: u64) -> anyhow::Result<()> {
    let (server, _folder) = support::postgres().await?;
    let url = server.url().to_owned();
    let folder = support::scratch();
    let status = support::binary().args(["migrate", "--set", &format!("database.url={url}")]).output()?;
    anyhow::ensure!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let scale = 10_000_000.0 / vehicles as f64;
    println!("{vehicles} vehicles; the last column is the aim for ten million");

    let file = folder.path().join("vehicles.csv");
    write(&file, vehicles, |_| false)?;
    println!("  file of {:.0} MB", std::fs::metadata(&file)?.len() as f64 / 1e6);
    let first = import(&file, &url)?;
    row("import into an empty register", &format!("{:.1} s", first.as_secs_f64()), "300 s with loading");
    row("rows/s", &format!("{:.0}", vehicles as f64 / first.as_secs_f64()), "33 333");

    let handle = KnowledgeHandle::default();
    let mut client = support::connect(&url).await?;
    let started = Instant::now();
    watch::refresh_once(&mut client, &handle).await?;
    let loading = started.elapsed();
    let whole = (first + loading).as_secs_f64();
    row("load into memory", &format!("{:.1} s", loading.as_secs_f64()), "");
    row("file to snapshot, scaled to ten million", &format!("{:.0} s", whole * scale), "300 s");
    let bytes = handle.load().registry.bytes() as f64;
    row("register in memory", &format!("{:.1} MB", bytes / 1e6), "400 MB");
    let (now, peak) = support::memory(std::process::id());
    row("resident now, at the peak", &format!("{now:.0} MB, {peak:.0} MB"), "");

    write(&file, vehicles, |number| number % 1_000 == 0)?;
    let second = import(&file, &url)?;
    row("next version, one in a thousand changed", &format!("{:.1} s", second.as_secs_f64()), "");

    // A task that does nothing but wake every millisecond: what it is late by, everybody on the runtime is.
    let stop = tokio_util::sync::CancellationToken::new();
    let clock = tokio::spawn(longest_delay(stop.clone()));
    let started = Instant::now();
    watch::refresh_once(&mut client, &handle).await?;
    row("load and swap the next version", &format!("{:.1} s", started.elapsed().as_secs_f64()), "");
    // The old register is freed by a task of its own.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    row("longest delay of a task meanwhile", &format!("{:.1} ms", clock.await?.as_secs_f64() * 1e3), "50 ms");
    Ok(())
}

async fn longest_delay(stop: tokio_util::sync::CancellationToken) -> Duration {
    const STEP: Duration = Duration::from_millis(1);
    let mut longest = Duration::ZERO;
    while !stop.is_cancelled() {
        let started = Instant::now();
        tokio::time::sleep(STEP).await;
        longest = longest.max(started.elapsed().saturating_sub(STEP));
    }
    longest
}

fn import(file: &Path, url: &str) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let output = support::binary().args(["import", "vehicles"]).arg(file).args(["--database", url]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("  {}", String::from_utf8_lossy(&output.stdout).trim_end().replace('\n', "\n  "));
    Ok(started.elapsed())
}

/// Different plates of Shandong for different numbers below 24 x 34^5, in no order.
fn write(path: &Path, vehicles: u64, changed: impl Fn(u64) -> bool) -> anyhow::Result<()> {
    const CHARACTERS: &[u8; 34] = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    const PLATES: u64 = 24 * 34_u64.pow(5);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    writeln!(
        file,
        "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,owner_unit,local"
    )?;
    for number in 0..vehicles {
        // A step that shares no factor with the number of plates visits each of them once.
        let mut rest = number * 7_919 % PLATES;
        let mut digits = [0u8; 6];
        for digit in &mut digits[1..] {
            *digit = CHARACTERS[(rest % 34) as usize];
            rest /= 34;
        }
        digits[0] = CHARACTERS[10 + (rest % 24) as usize];
        let plate = std::str::from_utf8(&digits)?;
        let (stage, month) = (number % 6 + u64::from(changed(number)), number % 12 + 1);
        writeln!(
            file,
            "鲁{plate},yellow,LGDCHA1G{number:09},B,{stage},H12,F,A,2016-{month:02}-11,第{}运输队,true",
            number % 977
        )?;
    }
    Ok(file.flush()?)
}
