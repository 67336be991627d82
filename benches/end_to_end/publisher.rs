//! The publisher: a process of its own that is told how far ahead it may be.

use std::{
    io::{BufRead as _, Write as _},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dieselwatch::simulate::{Blast, Broker};

use crate::{processes::Mosquitto, support};

/// Messages the publisher may be ahead of the subscriber: a few batches for each connection, a fraction of a second.
const AHEAD: u64 = 10_000;
const STEP: Duration = Duration::from_millis(25);
/// "No limit" for the publisher.
pub const UNPACED: f64 = 1e9;

/// The publisher's process: lines on standard input say how many messages may be out; its end ends the run.
pub async fn publish(url: &str, run: &str, rate: f64) -> anyhow::Result<()> {
    let broker = Broker::parse(url, None, None, None)?;
    let allowed = Arc::new(AtomicU64::new(0));
    let blast = Blast { allowed: Some(Arc::clone(&allowed)), rate, ..Blast::new(broker, support::fleet(), run) };
    let cancel = blast.cancel.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Some(number) = line.ok().and_then(|line| line.parse().ok()) else { break };
            allowed.store(number, Ordering::Relaxed);
        }
        cancel.cancel();
    });
    println!("{}", blast.run().await?.acked);
    Ok(())
}

pub struct Publisher(Child);

impl Publisher {
    pub fn start(broker: &Mosquitto, run: &str, rate: f64) -> anyhow::Result<Self> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["publish", &broker.url(), run, &rate.to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn allow(&mut self, number: u64) -> anyhow::Result<()> {
        Ok(writeln!(self.0.stdin.as_mut().context("standard input")?, "{number}")?)
    }

    /// Ends it; how many messages the broker took over.
    pub async fn end(mut self) -> anyhow::Result<u64> {
        drop(self.0.stdin.take());
        let mut out = self.0.stdout.take().context("standard output")?;
        let text = tokio::task::spawn_blocking(move || std::io::read_to_string(&mut out)).await??;
        text.trim().parse().with_context(|| format!("the publisher failed: {text}"))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Lets the publisher be [`AHEAD`] of `done` for a while.
pub async fn pace(
    publisher: &mut Publisher,
    time: Duration,
    done: impl AsyncFn() -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    let mut ticks = tokio::time::interval(STEP);
    while Instant::now() < end {
        publisher.allow(done().await? + AHEAD)?;
        ticks.tick().await;
    }
    Ok(())
}
