//! `import`: an operator's file, or an earlier version, becomes the next version of the register, a list, the zones,
//! stations or devices.

mod args;
mod history;
mod inspections;
mod report;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::progress::{self, Progress};
use crate::{
    config::{self, Problems},
    judge::{RuleBook, RuleBookError},
    mapping::{Mapping, MappingError},
    reading::Area,
    store::connect::{ConnectError, Connector},
    vehicle::import::{
        Dataset, ImportError,
        accounts::ReadSummary,
        apply::{self, BATCH, BATCHES_AHEAD, Batch, Outcome, Request, Source},
        encoding::Inspected,
        inspections::InspectionRow,
        offline::inspect_file,
        rows::{DeviceRow, ListRow, Row, StationRow, Stored, VehicleRow, ZoneRow},
        settle::settle,
        sheet::{Cells, Header, Reading, Sheet},
    },
    zone::Datum,
};
pub use args::{Args, What};
pub use history::text as history_text;

/// Why the command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    #[error(transparent)]
    Rules(#[from] RuleBookError),
    #[error(transparent)]
    Database(#[from] ConnectError),
    #[error("import {path}")]
    Import { path: PathBuf, source: ImportError },
    #[error(transparent)]
    Mapping(#[from] MappingError),
    #[error("--mapping has no meaning here: {0}")]
    NoMapping(&'static str),
    #[error("roll back {dataset}")]
    RollBack { dataset: Dataset, source: ImportError },
    #[error("read the history of imports")]
    History(#[source] ImportError),
}

impl CommandError {
    /// 2 for usage and configuration, 1 for work that failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            CommandError::Database(error) => {
                if error.lasts() {
                    2
                } else {
                    1
                }
            }
            CommandError::Import { .. } | CommandError::RollBack { .. } | CommandError::History(_) => 1,
            _ => 2,
        }
    }
}

/// Carries out the command, prints its report and gives back the exit code.
pub async fn run(args: &Args) -> u8 {
    let done = match &args.what {
        What::History { dataset } => history(args, dataset.as_ref()).await.map(|()| 0),
        _ => import(args).await.map(|(outcome, notes)| {
            report::print(args.what.file(), &outcome, &notes);
            report::exit_code(&outcome, args.yes)
        }),
    };
    done.unwrap_or_else(|error| {
        eprintln!("dieselwatch: {}", chain(&error));
        error.exit_code()
    })
}

async fn history(args: &Args, dataset: Option<&Dataset>) -> Result<(), CommandError> {
    let client = connector(args, args.config.load()?.database)?.connect_to_read("import").await?;
    history::show(&client, dataset).await.map_err(CommandError::History)
}

/// What is worth saying about a file besides its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub encoding: &'static str,
    pub sha256: [u8; 32],
    pub ignored_columns: Vec<String>,
    pub absent_columns: Vec<&'static str>,
    /// Sheets of the workbook that were not read.
    pub passed_over: Vec<String>,
    /// Columns that were read and that the workbook does not show.
    pub hidden_columns: Vec<String>,
    /// Reports of inspections that wait for a person's decision; they count as refused.
    pub conflicts: i64,
}

impl Notes {
    /// What an open file says of itself.
    fn of(source: &Source<'_>, sheet: &Sheet) -> Self {
        let Header { ignored, absent, .. } = sheet.header().clone();
        Self {
            encoding: source.inspected.form.name(),
            sha256: source.inspected.sha256,
            ignored_columns: ignored,
            absent_columns: absent,
            passed_over: sheet.passed_over().to_vec(),
            hidden_columns: sheet.hidden_columns(),
            conflicts: 0,
        }
    }
}

/// Carries out the command without printing the report.
pub async fn import(args: &Args) -> Result<(Outcome, Notes), CommandError> {
    let reading = reading(args)?;
    if let Some(file) = args.what.file().filter(|file| !file.is_file()) {
        return Err(CommandError::NotAFile(file.to_owned()));
    }
    let config = args.config.load()?;
    let connector = connector(args, config.database)?;
    let area = area(config.judge)?;
    let inspected = match args.what.file().map(ToOwned::to_owned) {
        None => None,
        Some(path) => {
            let failed = |source| CommandError::Import { path: path.clone(), source };
            let (file, what, reading) = (path.clone(), args.what.clone(), reading.clone());
            Some(blocking(move || inspected(&file, &what, &reading)).await.map_err(failed)?)
        }
    };
    let mut client = connector.connect_for_long("import").await?;
    let by = args.by.clone().unwrap_or_else(user_name);
    let request = Request {
        dataset: args.what.dataset().unwrap_or(Dataset::Vehicles),
        imported_by: &by,
        strict: args.strict,
        dry_run: args.dry_run,
        allow_empty: args.allow_empty,
        yes: args.yes,
        max_removed_share: config.import.max_removed_share,
        report: args.report.as_deref(),
        on_phase: progress::phases(inspected.as_ref().map_or(0, |inspected| inspected.lines)),
    };
    match (args.what.file(), inspected) {
        (Some(path), Some(inspected)) => {
            let source = Source { path, inspected, mapping: args.mapping.as_deref() };
            let done = import_file(&mut client, &args.what, &request, &source, &reading, area).await;
            done.map_err(|source| CommandError::Import { path: path.to_owned(), source })
        }
        _ => roll_back(&mut client, &args.what, &request).await,
    }
}

/// The mapping and the sheet, checked before anything is read.
fn reading(args: &Args) -> Result<Reading, CommandError> {
    let mapping = match (&args.mapping, args.what.target()) {
        (None, _) => None,
        (Some(name), Some(target)) => Some(Mapping::load(name, target)?.into()),
        (Some(_), None) if args.what.file().is_some() => {
            return Err(CommandError::NoMapping("only register and lists have one"));
        }
        (Some(_), None) => return Err(CommandError::NoMapping("no file is read")),
    };
    Ok(Reading { mapping, sheet: args.sheet.clone(), encoding: args.encoding })
}

/// Looks at the whole file once, and at as many rows as tell its encoding.
fn inspected(path: &Path, what: &What, reading: &Reading) -> Result<Inspected, ImportError> {
    let mut found = inspect_file(path)?;
    let of = &mut found;
    match what {
        What::List { .. } => settle(path, of, reading, ListRow::HEADER, ListRow::parse)?,
        What::Stations { .. } => settle(path, of, reading, StationRow::HEADER, StationRow::parse)?,
        What::Devices { .. } => settle(path, of, reading, DeviceRow::HEADER, DeviceRow::parse)?,
        What::Inspections { .. } => settle(path, of, reading, InspectionRow::HEADER, InspectionRow::parse)?,
        What::Vehicles { .. } => settle(path, of, reading, VehicleRow::HEADER, VehicleRow::parse)?,
        What::Zones { .. } | What::Rollback { .. } | What::History { .. } => {}
    }
    Ok(found)
}

async fn import_file(
    client: &mut Client,
    what: &What,
    request: &Request<'_>,
    source: &Source<'_>,
    reading: &Reading,
    area: Area,
) -> Result<(Outcome, Notes), ImportError> {
    match what {
        What::List { .. } => import_sheet(client, request, source, reading, ListRow::parse).await,
        What::Stations { .. } => {
            let parse = move |cells: &Cells| StationRow::parse_in(cells, &area);
            import_sheet(client, request, source, reading, parse).await
        }
        What::Devices { .. } => import_sheet(client, request, source, reading, DeviceRow::parse).await,
        What::Zones { datum, .. } => import_zones(client, request, source, *datum, area).await,
        What::Inspections { .. } => inspections::import(client, request, source, reading).await,
        What::Vehicles { .. } | What::Rollback { .. } | What::History { .. } => {
            import_sheet(client, request, source, reading, VehicleRow::parse).await
        }
    }
}

async fn roll_back(client: &mut Client, what: &What, request: &Request<'_>) -> Result<(Outcome, Notes), CommandError> {
    let What::Rollback { dataset, to } = what else { return Err(CommandError::NotAFile(PathBuf::new())) };
    let done = match dataset {
        Dataset::Vehicles => apply::roll_back::<VehicleRow>(client, request, *to).await,
        Dataset::List(_) => apply::roll_back::<ListRow>(client, request, *to).await,
        Dataset::Stations => apply::roll_back::<StationRow>(client, request, *to).await,
        Dataset::Devices => apply::roll_back::<DeviceRow>(client, request, *to).await,
        Dataset::Zones => apply::roll_back::<ZoneRow>(client, request, *to).await,
        Dataset::Inspections => Err(ImportError::Journal("inspections")),
    };
    let failed = |source| CommandError::RollBack { dataset: dataset.clone(), source };
    done.map(|outcome| (outcome, Notes::default())).map_err(failed)
}

async fn import_sheet<E: Row>(
    client: &mut Client,
    request: &Request<'_>,
    source: &Source<'_>,
    reading: &Reading,
    parse: impl Fn(&Cells) -> Result<E, String> + Send + 'static,
) -> Result<(Outcome, Notes), ImportError> {
    let (path, form, reading) = (source.path.to_owned(), source.inspected.form, reading.clone());
    let mut sheet = blocking(move || Sheet::open(&path, form, &reading, E::HEADER)).await?;
    let notes = Notes::of(source, &sheet);
    let read = move |read: &mut ReadSummary, take: &mut dyn FnMut(u64, E) -> bool| sheet.read(&parse, read, take);
    let outcome = feed(client, request, source, read).await?;
    Ok((outcome, notes))
}

async fn import_zones(
    client: &mut Client,
    request: &Request<'_>,
    source: &Source<'_>,
    datum: Datum,
    area: Area,
) -> Result<(Outcome, Notes), ImportError> {
    let path = source.path.to_owned();
    let read = move |read: &mut ReadSummary, take: &mut dyn FnMut(u64, ZoneRow) -> bool| {
        read.rows = ZoneRow::read_file(&path, datum, &area, &mut read.refusals, take)?;
        Ok(())
    };
    let outcome = feed(client, request, source, read).await?;
    let Inspected { form, sha256, .. } = source.inspected;
    Ok((outcome, Notes { encoding: form.name(), sha256, ..Notes::default() }))
}

/// Runs the reader of the file on a blocking thread, feeding [`apply`] batch by batch.
async fn feed<E: Stored>(
    client: &mut Client,
    request: &Request<'_>,
    source: &Source<'_>,
    mut read: impl FnMut(&mut ReadSummary, &mut dyn FnMut(u64, E) -> bool) -> Result<(), ImportError> + Send + 'static,
) -> Result<Outcome, ImportError> {
    let (sender, batches) = mpsc::channel::<Batch<E>>(BATCHES_AHEAD);
    let mut progress = Progress::new(&request.dataset.to_string(), "rows", source.inspected.lines);
    let reading = blocking(move || {
        let mut summary = ReadSummary::default();
        let mut batch = Vec::with_capacity(BATCH);
        read(&mut summary, &mut |number, row| {
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
        Ok(summary)
    });
    // Started now, so that it fills the channel while `apply` empties it.
    let reading = tokio::spawn(reading);
    apply::apply(client, request, source, batches, async { reading.await.map_err(|_| ImportError::ReaderGone)? }).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ImportError::ReaderGone)?
}

/// To the address from the command line, or else that of the configuration.
fn connector(args: &Args, settings: config::Database) -> Result<Connector, CommandError> {
    let url = args.database.clone().unwrap_or_else(|| settings.url.clone());
    Ok(Connector::new(&config::Database { url, ..settings })?)
}

/// Where stations and zones can be.
fn area(settings: config::Judge) -> Result<Area, CommandError> {
    Ok(RuleBook::load(settings)?.terminal.bounds().area)
}

/// Who runs the command.
pub(super) fn user_name() -> String {
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
            (args.what.dataset().map(|dataset| dataset.to_string()).as_deref(), args.what.file()),
            (Some("list:retire_n3"), Some(Path::new("a.csv")))
        );
        assert!(parse("dieselwatch import list Retire a.csv").is_err());
        assert!(parse("dieselwatch import inspections a.csv").is_ok());
        assert!(parse("dieselwatch import horses a.csv").is_err());
        let args = parse("dieselwatch import rollback list:retire_n3 --to 3 --dry-run").expect("well-formed");
        assert!(args.dry_run && matches!(args.what, What::Rollback { to: 3, .. }));
        assert!(parse("dieselwatch import rollback lists --to 3").is_err());
        assert!(parse("dieselwatch import history").is_ok() && parse("dieselwatch import history zones").is_ok());
    }
}
