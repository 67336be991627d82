//! `simulate`: the device fleet alone, as MQTT clients.

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use secrecy::SecretString;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{self, Exit, UsageError},
    reading::Timestamp,
    simulate::{
        self, Blast, Broker, Fleet, Mix, Progress, Scenario, SimulateError, SimulateOptions, demo_files, script::Script,
    },
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Broker, mqtt://host:1883 or mqtts://host:8883
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    pub broker: String,
    /// User name at the broker
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// Its password; in the environment other users of the machine do not see it
    #[arg(long, value_name = "SECRET", env = "SIMULATE_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// PEM file of the authorities to trust, for mqtts:
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 30.0, value_parser = rate)]
    pub rate: f64,
    /// Stop after this many seconds; without it, when interrupted
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Stop after this many messages
    #[arg(long, value_name = "N")]
    pub messages: Option<u64>,
    /// The fleet and what it says; seed 1 is the fleet of schemas/demo
    #[arg(long, value_name = "N", default_value_t = simulate::fleet::DEMO_SEED)]
    pub seed: u64,
    /// Shares of the messages: rs, obd, nonroad, retrofit [default: rs=80,obd=12,nonroad=4,retrofit=4]
    #[arg(long, value_name = "KIND=SHARE,..")]
    pub mix: Option<Mix>,
    /// How much goes wrong on purpose
    #[arg(long, value_enum, default_value_t)]
    pub scenario: ScenarioName,
    /// Share of messages sent twice, 0..1, instead of the scenario's
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub duplicates: Option<f64>,
    /// Share of bad messages, 0..1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub bad: Option<f64>,
    /// Share of late messages, 0..1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub late: Option<f64>,
    /// Share of passage messages that are arrays, 0..1
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub arrays: Option<f64>,
    /// MQTT connections that share the devices
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// Write a JSON line for each message the broker acknowledged
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Write the fleet's vehicles, lists, stations, devices and zones as import files first
    #[arg(long, value_name = "FOLDER")]
    pub register: Option<PathBuf>,
    /// Passages only, as cheap as can be, for load tests: no ledger, no reconnecting
    #[arg(long, conflicts_with_all = ["ledger", "mix", "scenario", "duplicates", "bad", "late", "arrays", "ca_file"])]
    pub fast: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ScenarioName {
    /// Everything as it should be
    #[default]
    Calm,
    /// A little of everything: duplicates, bad payloads, late readings, arrays, strangers
    Demo,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let fits = rate > 0.0 && rate <= simulate::MAX_RATE;
    fits.then_some(rate).ok_or_else(|| format!("must be above 0 and at most {}", simulate::MAX_RATE))
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (0.0..=1.0).contains(&share).then_some(share).ok_or_else(|| "must be between 0 and 1".to_owned())
}

/// Runs the fleet; refused when something it made was not delivered.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let password = args.password.clone().map(SecretString::from);
    let broker = Broker::parse(&args.broker, args.username.clone(), password, args.ca_file.as_ref())
        .map_err(|error| UsageError(format!("{:#}", anyhow::Error::from(error))))?;
    let mix = args.mix.unwrap_or_default();
    let fleet = Arc::new(Fleet::new(args.seed, Script::fleet_size(args.rate, &mix)));
    if let Some(folder) = &args.register {
        demo_files::write(&fleet, folder).with_context(|| format!("write import files to {}", folder.display()))?;
    }
    cli::block_on(async {
        let cancel = CancellationToken::new();
        let interrupted = tokio::spawn(cancel_on_signal(cancel.clone()));
        let outcome = match args.fast {
            true => run_fast(args, broker, fleet, cancel).await,
            false => run_fleet(args, broker, mix, fleet, cancel).await,
        };
        interrupted.abort();
        outcome
    })
}

async fn run_fleet(
    args: &Args,
    broker: Broker,
    mix: Mix,
    fleet: Arc<Fleet>,
    cancel: CancellationToken,
) -> anyhow::Result<Exit> {
    let calm = match args.scenario {
        ScenarioName::Calm => Scenario::calm(),
        ScenarioName::Demo => Scenario::demo(),
    };
    let progress = Arc::new(Progress::default());
    let options = SimulateOptions {
        rate: args.rate,
        seconds: args.seconds,
        messages: args.messages,
        seed: args.seed,
        mix,
        scenario: Scenario {
            duplicates: args.duplicates.unwrap_or(calm.duplicates),
            bad: args.bad.unwrap_or(calm.bad),
            late: args.late.unwrap_or(calm.late),
            arrays: args.arrays.unwrap_or(calm.arrays),
            ..calm
        },
        fleet: Some(fleet),
        connections: args.connections,
        ledger: args.ledger.clone(),
        progress: Arc::clone(&progress),
        cancel,
        ..SimulateOptions::new(broker)
    };
    let shown = Arc::clone(&progress);
    let showing = tokio::spawn(show(args.clone(), move || shown.counts().acked));
    let ran = simulate::run(options).await;
    showing.abort();
    let summary = match ran {
        Ok(summary) => summary,
        Err(error @ (SimulateError::Rate | SimulateError::Connections)) => Err(UsageError(error.to_string()))?,
        Err(error) => return Err(error.into()),
    };
    let counts = summary.counts;
    writeln!(
        std::io::stdout(),
        "made {}, sent {}, acknowledged {} in {:.1} s: {:.1} a second; sent again {}, reconnected {}, undelivered {}",
        counts.made,
        counts.sent,
        counts.acked,
        summary.took.as_secs_f64(),
        summary.rate(),
        counts.resent,
        counts.reconnects,
        summary.undelivered(),
    )?;
    Ok(if summary.undelivered() == 0 { Exit::Ok } else { Exit::Refused })
}

async fn run_fast(args: &Args, broker: Broker, fleet: Arc<Fleet>, cancel: CancellationToken) -> anyhow::Result<Exit> {
    let run = format!("f{:x}-{:x}", args.seed, Timestamp::now().micros() / 1000);
    let blast = Blast {
        rate: args.rate,
        seconds: args.seconds,
        messages: args.messages,
        connections: args.connections,
        cancel,
        ..Blast::new(broker, fleet, run)
    };
    let shown = Arc::clone(&blast.acked);
    let showing = tokio::spawn(show(args.clone(), move || shown.load(Ordering::Relaxed)));
    let ran = blast.run().await;
    showing.abort();
    let summary = ran?;
    writeln!(
        std::io::stdout(),
        "sent {}, acknowledged {} in {:.1} s: {:.0} a second, {:.0} bytes each",
        summary.sent,
        summary.acked,
        summary.took.as_secs_f64(),
        summary.acked as f64 / summary.took.as_secs_f64(),
        summary.payload_bytes as f64 / summary.sent.max(1) as f64,
    )?;
    Ok(Exit::Ok)
}

/// Shows the progress until aborted: a bar on a terminal, a line a second elsewhere, on standard error both.
async fn show(args: Args, acked: impl Fn() -> u64) {
    let planned = args.seconds.map(|seconds| (seconds as f64 * args.rate) as u64);
    let total = planned.into_iter().chain(args.messages).min();
    let began = Instant::now();
    let bar = std::io::stderr().is_terminal().then(|| bar(total));
    let mut ticks = time::interval(if bar.is_some() { Duration::from_millis(200) } else { Duration::from_secs(1) });
    ticks.tick().await;
    let mut before = (0, began);
    loop {
        ticks.tick().await;
        let acked = acked();
        match &bar {
            Some(bar) => bar.set_position(acked),
            None => {
                let rate = (acked - before.0) as f64 / before.1.elapsed().as_secs_f64();
                eprintln!("{:>6.0} s  acknowledged {acked}  {rate:.1} a second", began.elapsed().as_secs_f64());
                before = (acked, Instant::now());
            }
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{elapsed_precise} {wide_bar} {pos}/{len} acknowledged, {per_sec}",
        None => "{elapsed_precise} {spinner} {pos} acknowledged, {per_sec}",
    };
    // The templates are constants; should one be wrong, the default is still a bar.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The first interrupt or termination stops the making of messages; what was made is delivered. A second one ends the
/// process as usual.
async fn cancel_on_signal(cancel: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cancel.cancel();
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    std::process::exit(i32::from(Exit::Refused as u8));
}
