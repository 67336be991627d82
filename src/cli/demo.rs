//! `demo`: the same service with nothing else installed but PostgreSQL server binaries.
//!
//! An MQTT broker in this process, a private PostgreSQL cluster, a made-up register, and a simulated fleet that publishes
//! over real MQTT. At the end the fleet stops first, everything under way is committed, and both books must balance.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    cli::{
        ConfigArgs, Exit, block_on,
        import::{self, What},
    },
    config::Config,
    embedded::{broker::Broker, postgres::EmbeddedPostgres},
    shutdown,
    simulate::{self, Fleet, Progress, Scenario, SimulateOptions, demo_files},
    store::{connect::Connector, migrate},
    telemetry,
    vehicle::import::ListName,
    zone::Datum,
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Messages a second of the fleet
    #[arg(long, default_value_t = 40.0)]
    pub rate: f64,
    /// Stop after this many seconds; without it on Ctrl-C
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Where the page is
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Folder of the private database; kept between runs
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// How long everything under way may take to be committed once the fleet is still.
const DRAIN: Duration = Duration::from_secs(30);

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    block_on(demo(args))
}

async fn demo(args: &Args) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal();
    let mut config = Config::built_in()?;
    // The MQTT client warns that there was no subscription to retire, which is so in a broker that just started.
    config.service.log = "warn,rumqttc=error".into();
    config.service.log_format = crate::config::LogFormat::Text;
    telemetry::logs::init(&config.service).context("start logging")?;

    let data = args.data.clone().unwrap_or_else(default_folder);
    println!("database    starting in {}", data.display());
    let postgres = EmbeddedPostgres::start(&data.join("postgres")).await?;
    println!("database    {}", postgres.url());
    let broker = Broker::start(0).await?;
    println!("broker      {}", broker.url());
    config.database.url = postgres.url().to_owned();
    config.mqtt.url = broker.url();
    config.http.listen = args.http;

    let fleet = Arc::new(Fleet::demo());
    prepare(&config, &fleet, &data).await?;
    let Some(app) = App::start(config, &stop).await? else { return Ok(Exit::Ok) };
    println!("page        http://{}/", app.http);
    println!("metrics     http://{}/metrics", app.http);
    // A broker that nobody has subscribed at yet acknowledges what it then forgets.
    while !app.ingest().is_ready() && !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("fleet       {} messages a second; Ctrl-C stops", args.rate);

    let exit = play(args, app, broker.url(), fleet, stop).await;
    broker.shutdown().await;
    postgres.stop().await?;
    exit
}

/// A folder of this user's own that other accounts may enter, because root's database runs as another account.
fn default_folder() -> PathBuf {
    // SAFETY: getuid has no preconditions and cannot fail.
    std::env::temp_dir().join(format!("dieselwatch-demo-{}", unsafe { libc::getuid() }))
}

/// Makes the schema and imports the made-up register the way an operator would.
async fn prepare(config: &Config, fleet: &Fleet, data: &Path) -> anyhow::Result<()> {
    let client = Connector::new(&config.database)?.connect_for_long("demo").await?;
    migrate::run(&client).await?;
    let folder = data.join("register");
    demo_files::write(fleet, &folder).with_context(|| format!("write {}", folder.display()))?;
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::path);
    for file in files.iter().map(std::fs::DirEntry::path) {
        let Some(what) = what(&file) else { continue };
        let args = import::Args {
            what,
            dry_run: false,
            strict: true,
            allow_empty: false,
            // The register of a demo is made up anew each time.
            yes: true,
            database: Some(config.database.url.clone()),
            config: ConfigArgs::default(),
            mapping: None,
            sheet: None,
            encoding: None,
            report: None,
            by: Some("demo".into()),
        };
        import::import(&args).await.with_context(|| format!("import {}", file.display()))?;
    }
    Ok(())
}

fn what(file: &Path) -> Option<What> {
    let owned = file.to_owned();
    Some(match file.file_name()?.to_str()? {
        "vehicles.csv" => What::Vehicles { file: owned },
        "stations.csv" => What::Stations { file: owned },
        "devices.csv" => What::Devices { file: owned },
        "zones.geojson" => What::Zones { file: owned, datum: Datum::Wgs84 },
        name => {
            let list = name.strip_prefix("list-")?.strip_suffix(".csv")?;
            What::List { name: ListName::parse(list).ok()?, file: owned }
        }
    })
}

/// Runs the fleet, tells how it goes, and stops everything in order.
async fn play(
    args: &Args,
    mut app: App,
    broker: String,
    fleet: Arc<Fleet>,
    stop: CancellationToken,
) -> anyhow::Result<Exit> {
    let progress = Arc::new(Progress::default());
    let options = SimulateOptions {
        rate: args.rate,
        seconds: args.seconds,
        scenario: Scenario::demo(),
        fleet: Some(fleet),
        progress: Arc::clone(&progress),
        cancel: stop.clone(),
        ..SimulateOptions::new(simulate::Broker::parse(&broker, None, None, None)?)
    };
    let mut fleet = tokio::spawn(simulate::run(options));
    let started = Instant::now();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let summary = loop {
        tokio::select! {
            ended = &mut fleet => break ended?,
            failure = app.fail() => return Err(failure.into()),
            _ = second.tick() => println!("{}", line(&app, started.elapsed())),
        }
    };
    let summary = summary.context("run the fleet")?;
    settle(&app, summary.counts.acked).await;
    println!("{}", line(&app, started.elapsed()));
    let books = Arc::clone(&app.books);
    let delivered = summary.undelivered() == 0;
    let stopped = app.stop().await;
    println!();
    print_books(&books);
    println!("fleet: {} messages published, {} acknowledged by the broker", summary.counts.made, summary.counts.acked);
    let received: u64 = books.message_books().iter().map(|book| book.received).sum();
    let complete = received >= summary.counts.acked;
    if !complete {
        println!("{} acknowledged messages never arrived", summary.counts.acked - received);
    }
    let good = stopped.clean && stopped.balanced && delivered && complete;
    println!("{}", if good { "both books balance" } else { "the books do NOT balance" });
    Ok(if good { Exit::Ok } else { Exit::Refused })
}

/// Waits until everything the broker took from the fleet is committed, or the time for that is over.
async fn settle(app: &App, published: u64) {
    let deadline = Instant::now() + DRAIN;
    let done = || {
        let books = app.books.message_books();
        let settled: u64 = books.iter().map(|book| book.settled).sum();
        settled >= published && books.iter().all(|book| book.in_flight == 0)
    };
    while !done() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn line(app: &App, elapsed: Duration) -> String {
    let books = &app.books;
    let received: u64 = books.message_books().iter().map(|book| book.received).sum();
    let readings: Vec<_> = (0..books.sources().len()).map(|index| books.reading_book(index)).collect();
    let sum = |of: fn(&crate::telemetry::books::ReadingBook) -> u64| readings.iter().map(of).sum::<u64>();
    format!(
        "{:>5} s  received {:>7}  stored {:>7}  quarantined {:>5}  violations {:>5}  intercepts {:>4}  lag {} ms",
        elapsed.as_secs(),
        received,
        sum(|book| book.stored),
        sum(|book| book.quarantined),
        books.findings.get(),
        books.intercepts.get(),
        books.levels.commit_lag_ms.get()
    )
}

fn print_books(books: &telemetry::Books) {
    println!("messages    {:>10} = {:>9} + {:>9} + {:>8}", "received", "settled", "in flight", "returned");
    for (source, book) in books.sources().iter().zip(books.message_books()) {
        println!(
            "  {:<9} {:>10} = {:>9} + {:>9} + {:>8}",
            source.source, book.received, book.settled, book.in_flight, book.returned
        );
    }
    println!(
        "readings    {:>10} = {:>9} + {:>9} + {:>8} + {:>11}",
        "decoded", "stored", "duplicate", "conflict", "quarantined"
    );
    for (index, source) in books.sources().iter().enumerate() {
        let book = books.reading_book(index);
        println!(
            "  {:<9} {:>10} = {:>9} + {:>9} + {:>8} + {:>11}",
            source.source, book.decoded, book.stored, book.duplicate, book.conflict, book.quarantined
        );
    }
}
