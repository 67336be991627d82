//! `import`: an operator's file becomes the next version of the register, a list, the zones, stations or devices.

mod progress;
mod report;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::{
    cli::ConfigArgs,
    config::Problems,
    vehicle::{
        database::{Link, LinkError},
        import::{
            Dataset, ImportError, ListName, Refusals,
            apply::{BATCH, BATCHES_AHEAD, Batch, Outcome, ReadSummary, Request, apply},
            offline::inspect_file,
            rows::{DeviceRow, ListRow, Row, StationRow, Stored, VehicleRow, ZoneRow},
            sheet::{Header, Sheet},
        },
    },
};
use progress::Progress;

const AFTER_HELP: &str = "\
Examples:
  dieselwatch import vehicles vehicles.csv --database postgres://dieselwatch@localhost/dieselwatch
  dieselwatch import list retire_n3 retire_n3.csv --dry-run
  dieselwatch import zones zones.geojson --strict
  dieselwatch import devices devices.csv --config /etc/dieselwatch.toml

A file is a whole version: what it does not name is gone from the next one. Rows that cannot be
taken are named with their line and never stop the others, unless --strict is given.

Columns (any order; further ones are passed over and named; dates are of Asia/Shanghai, UTF-8 or GBK):
  vehicles  plate plate_color fuel emission_stage [vin vehicle_kind use_nature state registered_on
            owner_unit local retrofit reference_torque_nm]
  list      plate plate_color [valid_from valid_to reason document_no]
  stations  station_id kind [name longitude latitude lane_count slope_deg calibrated_at certificate_until]
  devices   device_id kind [protocol bound_to installed_on emission_stage]
  zones     GeoJSON (Multi)Polygons with properties name kind rule [valid_from valid_to hours]

Exit codes: 0 in force (or a dry run without refusals), 1 some rows or the whole file refused, 2 usage.";

/// Import an operator's file as the next version of a dataset
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
    /// Say what would change and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Take the whole file or nothing: one refused row refuses it
    #[arg(long, global = true)]
    pub strict: bool,
    /// Accept a file without rows, which empties the dataset
    #[arg(long, global = true)]
    pub allow_empty: bool,
    /// Address of the database, over the configuration's
    #[arg(long, value_name = "URL", global = true)]
    pub database: Option<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Who imports, for the record; the name of the user where not given
    #[arg(long, value_name = "NAME", global = true)]
    pub by: Option<String>,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum What {
    /// The vehicle register, CSV
    #[command(after_help = "Example:\n  dieselwatch import vehicles vehicles.csv --dry-run")]
    Vehicles { file: PathBuf },
    /// A list of vehicles, CSV
    #[command(after_help = "Example:\n  dieselwatch import list retire_n3 retire_n3.csv")]
    List {
        /// Such as retire_n3: lower-case letters, digits, underscores
        #[arg(value_parser = ListName::parse)]
        name: ListName,
        file: PathBuf,
    },
    /// Zones, GeoJSON
    #[command(after_help = "Example:\n  dieselwatch import zones zones.geojson")]
    Zones { file: PathBuf },
    /// Roadside stations, CSV
    #[command(after_help = "Example:\n  dieselwatch import stations stations.csv")]
    Stations { file: PathBuf },
    /// Terminals and machine trackers, CSV
    #[command(after_help = "Example:\n  dieselwatch import devices devices.csv --strict")]
    Devices { file: PathBuf },
}

impl What {
    fn dataset(&self) -> Dataset {
        match self {
            What::Vehicles { .. } => Dataset::Vehicles,
            What::List { name, .. } => Dataset::List(name.clone()),
            What::Zones { .. } => Dataset::Zones,
            What::Stations { .. } => Dataset::Stations,
            What::Devices { .. } => Dataset::Devices,
        }
    }

    fn file(&self) -> &Path {
        match self {
            What::Vehicles { file } | What::List { file, .. } | What::Zones { file } => file,
            What::Stations { file } | What::Devices { file } => file,
        }
    }
}

/// Why the command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("reach the database")]
    Connect(#[source] tokio_postgres::Error),
    #[error("import {path}")]
    Import { path: PathBuf, source: ImportError },
}

impl CommandError {
    /// 2 for usage and configuration, 1 for work that failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            CommandError::Connect(_) | CommandError::Import { .. } => 1,
            _ => 2,
        }
    }
}

/// Carries out the command, prints its report and gives back the exit code.
pub async fn run(args: &Args) -> u8 {
    match import(args).await {
        Ok((outcome, notes)) => {
            report::print(args.what.file(), &outcome, &notes);
            report::exit_code(&outcome)
        }
        Err(error) => {
            eprintln!("dieselwatch: {}", chain(&error));
            error.exit_code()
        }
    }
}

/// What is worth saying about a file besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub encoding: &'static str,
    pub sha256: [u8; 32],
    pub ignored_columns: Vec<String>,
    pub absent_columns: Vec<&'static str>,
}

/// Carries out the command without printing the report.
pub async fn import(args: &Args) -> Result<(Outcome, Notes), CommandError> {
    let file = args.what.file();
    if !file.is_file() {
        return Err(CommandError::NotAFile(file.to_owned()));
    }
    let link = link(args)?;
    let failed = |source| CommandError::Import { path: file.to_owned(), source };
    let path = file.to_owned();
    let inspected = blocking(move || inspect_file(&path)).await.map_err(failed)?;
    let (mut client, connection) = link.connect().await.map_err(CommandError::Connect)?;
    // Its error comes out of the client's calls as well.
    let driver = tokio::spawn(connection);
    let by = args.by.clone().unwrap_or_else(user_name);
    let request = Request {
        dataset: args.what.dataset(),
        file,
        inspected,
        imported_by: &by,
        strict: args.strict,
        dry_run: args.dry_run,
        allow_empty: args.allow_empty,
    };
    let outcome = match &args.what {
        What::Vehicles { .. } => import_csv::<VehicleRow>(&mut client, &request).await,
        What::List { .. } => import_csv::<ListRow>(&mut client, &request).await,
        What::Stations { .. } => import_csv::<StationRow>(&mut client, &request).await,
        What::Devices { .. } => import_csv::<DeviceRow>(&mut client, &request).await,
        What::Zones { .. } => import_zones(&mut client, &request).await,
    };
    drop(client);
    // The connection ends because its client is gone; how it ended no longer matters.
    let _ = driver.await;
    outcome.map_err(failed)
}

async fn import_csv<E: Row>(client: &mut Client, request: &Request<'_>) -> Result<(Outcome, Notes), ImportError> {
    let (path, encoding) = (request.file.to_owned(), request.inspected.encoding);
    let mut sheet = blocking(move || Sheet::open(&path, encoding, E::HEADER)).await?;
    let Header { ignored, absent, .. } = sheet.header().clone();
    let read =
        move |refusals: &mut Refusals, take: &mut dyn FnMut(u64, E) -> bool| sheet.read(E::parse, refusals, take);
    let outcome = feed(client, request, read).await?;
    let Request { inspected, .. } = request;
    let notes = Notes {
        encoding: inspected.encoding.name(),
        sha256: inspected.sha256,
        ignored_columns: ignored,
        absent_columns: absent,
    };
    Ok((outcome, notes))
}

async fn import_zones(client: &mut Client, request: &Request<'_>) -> Result<(Outcome, Notes), ImportError> {
    let path = request.file.to_owned();
    let read = move |refusals: &mut Refusals, take: &mut dyn FnMut(u64, ZoneRow) -> bool| {
        ZoneRow::read_file(&path, refusals, take)
    };
    let outcome = feed(client, request, read).await?;
    let Request { inspected, .. } = request;
    Ok((outcome, Notes { encoding: inspected.encoding.name(), sha256: inspected.sha256, ..Notes::default() }))
}

/// Runs the reader of the file on a blocking thread, feeding [`apply`] batch by batch.
async fn feed<E: Stored>(
    client: &mut Client,
    request: &Request<'_>,
    mut read: impl FnMut(&mut Refusals, &mut dyn FnMut(u64, E) -> bool) -> Result<u64, ImportError> + Send + 'static,
) -> Result<Outcome, ImportError> {
    let (sender, batches) = mpsc::channel::<Batch<E>>(BATCHES_AHEAD);
    let mut progress = Progress::new(&request.dataset.to_string(), request.inspected.lines);
    let reading = blocking(move || {
        let mut refusals = Refusals::default();
        let mut batch = Vec::with_capacity(BATCH);
        let rows = read(&mut refusals, &mut |number, row| {
            batch.push((number, row));
            if batch.len() < BATCH {
                return true;
            }
            progress.advance(batch.len() as u64);
            // The receiver is gone when the database failed, which is what will be reported.
            sender.blocking_send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).is_ok()
        })?;
        progress.advance(batch.len() as u64);
        let _ = sender.blocking_send(batch);
        progress.finish();
        Ok(ReadSummary { rows, refusals })
    });
    // Started now, so that it fills the channel while `apply` empties it.
    let reading = tokio::spawn(reading);
    apply(client, request, batches, async { reading.await.map_err(|_| ImportError::ReaderGone)? }).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ImportError::ReaderGone)?
}

/// The address from the command line, or else that of the configuration.
fn link(args: &Args) -> Result<Link, CommandError> {
    let settings = args.config.load()?.database;
    match &args.database {
        Some(url) => Ok(Link::new(url, settings.password.as_ref(), settings.ca_file)?),
        None => Ok(Link::of(&settings)?),
    }
}

fn user_name() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(variable);
    named.unwrap_or_else(|| {
        // SAFETY: getuid has no preconditions and cannot fail.
        format!("uid {}", unsafe { libc::getuid() })
    })
}

/// The error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> impl Display {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    #[command(name = "dieselwatch")]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(clap::Subcommand)]
    enum Command {
        Import(Args),
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let Command::Import(args) = Cli::try_parse_from(line.split_whitespace())?.command;
        Ok(args)
    }

    #[test]
    fn every_help_shows_an_example() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        let import = cli.find_subcommand("import").expect("the command");
        for command in std::iter::once(import).chain(import.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("dieselwatch import"), "{}", command.get_name());
        }
    }

    #[test]
    fn options_may_stand_before_and_after_the_file() {
        let args = parse("dieselwatch import --dry-run list retire_n3 a.csv --strict").expect("well-formed");
        assert!(args.dry_run && args.strict && !args.allow_empty);
        assert_eq!(
            (args.what.dataset().to_string().as_str(), args.what.file()),
            ("list:retire_n3", Path::new("a.csv"))
        );
        assert!(parse("dieselwatch import list Retire a.csv").is_err());
        assert!(parse("dieselwatch import inspections a.csv").is_err());
    }
}
