//! `inspections`: the conflicts between reports of inspection stations, and a person's decisions about them.

use std::{io::Write as _, path::Path};

use tokio_postgres::Client;

use crate::{
    cli::{ConfigArgs, Exit, UsageError, import::user_name},
    store::connect::Connector,
    vehicle::import::{
        inspections::decide::{self, Conflict, DecideError, Decision, Filter, Side, State},
        offline::inspect_file,
    },
};

/// Conflicts fetched at a time.
const PAGE: i64 = 500;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Reports that came again for another vehicle, kind, year or station: both, with file, row, when and by whom
    #[command(after_help = "\
Examples:
  dieselwatch inspections conflicts
  dieselwatch inspections conflicts --file july.csv --restarted
  dieselwatch inspections conflicts --state all --json > conflicts.jsonl

`first` is the report that holds, `second` the one that came with the same number. While a conflict is
open neither vehicle is convicted by a series of tests that one of the two reports would interrupt.")]
    Conflicts(Conflicts),
    /// Decide which of the two reports holds, or that both do
    #[command(after_help = "\
Examples:
  dieselwatch inspections resolve 17 --keep first --by 'Li' --why 'the station withdrew the second report'
  dieselwatch inspections resolve 17 18 --take second --by 'Li' --why 'plate misread, station letter 2026-7'
  dieselwatch inspections resolve --all-of january.csv --restarted --keep both --by 'Li' \\
      --why 'station I7 begins its numbers anew each year'

Keep first: what holds stays. Take second: it replaces what holds, as a correction. Keep both: two inspections
that share a number. The decision is kept with who, when and why and is not changed afterwards; the history
of both vehicles is read again at once. Of a number with several open conflicts none is decided by --all-of.")]
    Resolve(Resolve),
}

#[derive(clap::Args, Clone, Debug)]
pub struct Conflicts {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only this one, decided or not
    pub conflict: Option<i64>,
    #[arg(long, value_enum, default_value = "open")]
    pub state: StateArg,
    /// Only those whose second report came with this file: its path, or the beginning of its SHA-256
    #[arg(long, value_name = "FILE|SHA256")]
    pub file: Option<String>,
    /// Only another vehicle in another year, as where a station begins its numbers anew
    #[arg(long)]
    pub restarted: bool,
    /// JSON, an object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateArg {
    Open,
    Decided,
    All,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Resolve {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Numbers of the conflicts; all are decided alike, or none is
    #[arg(required_unless_present = "all_of", conflicts_with = "all_of", value_name = "ID")]
    pub conflicts: Vec<i64>,
    /// Every open conflict whose second report came with this file: its path, or the beginning of its SHA-256
    #[arg(long, value_name = "FILE|SHA256")]
    pub all_of: Option<String>,
    /// With --all-of: only another vehicle in another year, as where a station begins its numbers anew
    #[arg(long, requires = "all_of")]
    pub restarted: bool,
    #[command(flatten)]
    pub choice: Choice,
    /// Who decides, for the record; the name of the user where not given
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub why: String,
}

#[derive(clap::Args, Clone, Copy, Debug)]
#[group(required = true, multiple = false)]
pub struct Choice {
    /// The report that holds, or both
    #[arg(long, value_enum)]
    pub keep: Option<Keep>,
    /// The report that came later
    #[arg(long, value_enum)]
    pub take: Option<Take>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    First,
    Both,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    Second,
}

pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::Conflicts(args) => conflicts(args).await,
        Action::Resolve(args) => resolve(args).await,
    }
}

async fn conflicts(args: &Conflicts) -> anyhow::Result<Exit> {
    let client = Connector::new(&args.config.load()?.database)?.connect("inspections").await?;
    let state = match (args.conflict, args.state) {
        (None, StateArg::Open) => State::Open,
        (None, StateArg::Decided) => State::Decided,
        (Some(_), _) | (None, StateArg::All) => State::All,
    };
    let file = match &args.file {
        Some(file) => Some(sha256_of(&client, file).await?),
        None => None,
    };
    let filter = Filter { state, conflict: args.conflict, file, restarted: args.restarted };
    let mut after = 0;
    loop {
        let page = decide::list(&client, &filter, after, PAGE).await?;
        let mut out = std::io::stdout().lock();
        for conflict in &page {
            match args.json {
                true => writeln!(out, "{}", serde_json::to_string(conflict)?)?,
                false => write!(out, "{}", told(conflict))?,
            }
        }
        if let Some(last) = page.last() {
            after = last.conflict;
        }
        if page.len() < PAGE as usize {
            break;
        }
    }
    if let (Some(conflict), 0) = (args.conflict, after) {
        eprintln!("dieselwatch: {}", DecideError::NoSuch(conflict));
        return Ok(Exit::Refused);
    }
    Ok(Exit::Ok)
}

async fn resolve(args: &Resolve) -> anyhow::Result<Exit> {
    let decision = match (args.choice.keep, args.choice.take) {
        (Some(Keep::First), _) => Decision::KeepFirst,
        (Some(Keep::Both), _) => Decision::KeepBoth,
        (None, _) => Decision::TakeSecond,
    };
    let by = args.by.clone().unwrap_or_else(user_name);
    let mut client = Connector::new(&args.config.load()?.database)?.connect("inspections").await?;
    let (ids, left) = match &args.all_of {
        None => (args.conflicts.clone(), Vec::new()),
        Some(file) => {
            let sha256 = sha256_of(&client, file).await?;
            decide::of_file(&client, &sha256, args.restarted).await?
        }
    };
    let mut decided = 0;
    // A few hundred at a time: evaluation waits for transactions under way. An interrupted command is completed by the same
    // one again, because only open conflicts are taken.
    let at_once = if args.all_of.is_some() { PAGE as usize } else { ids.len().max(1) };
    for some in ids.chunks(at_once) {
        match decide::decide(&mut client, some, decision, &by, &args.why).await {
            Ok(()) => decided += some.len(),
            Err(DecideError::Database(error)) => return Err(DecideError::Database(error).into()),
            Err(refused) => {
                eprintln!("dieselwatch: {refused}; {decided} decided");
                return Ok(Exit::Refused);
            }
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{decided} decided: {} by {by}", decision.name())?;
    if !left.is_empty() {
        let numbers = left.iter().take(20).map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let more = if left.len() > 20 { " ..." } else { "" };
        writeln!(out, "{} left open, their number has several open conflicts: {numbers}{more}", left.len())?;
        return Ok(Exit::Refused);
    }
    Ok(Exit::Ok)
}

/// The hash of a file that is there, or of the one import whose hash begins like this.
async fn sha256_of(client: &Client, file: &str) -> anyhow::Result<Vec<u8>> {
    let path = Path::new(file);
    if path.is_file() {
        return Ok(inspect_file(path)?.sha256.to_vec());
    }
    let is_hash = file.len() >= 6 && file.bytes().all(|b| b.is_ascii_hexdigit());
    let found = match is_hash {
        true => decide::files(client, &file.to_ascii_lowercase()).await?,
        false => Vec::new(),
    };
    match <[Vec<u8>; 1]>::try_from(found) {
        Ok([sha256]) => Ok(sha256),
        Err(found) if found.is_empty() => {
            Err(UsageError(format!("{file} is no file here, nor the beginning of the SHA-256 of one with conflicts"))
                .into())
        }
        Err(_) => {
            Err(UsageError(format!("several files have a SHA-256 that begins with {file}; give more of it")).into())
        }
    }
}

fn told(conflict: &Conflict) -> String {
    let Conflict { conflict: id, report_no, differs, first, second, decided } = conflict;
    let state = match decided {
        None => "open".to_owned(),
        Some(made) => format!("{} by {} at {}, because: {}", made.decision, made.by, made.at, made.why),
    };
    let differs = differs.join(", ");
    format!(
        "{id:>5}  report {report_no}  differs in: {differs}  {state}\n       first   {}\n       second  {}\n",
        side(first),
        side(second)
    )
}

fn side(side: &Side) -> String {
    let at = match side.time_known {
        true => side.inspected_at.to_string(),
        false => side.inspected_at.china_day().to_string(),
    };
    let result = if side.passed { "pass" } else { "fail" };
    let file = side.file.clone().unwrap_or_else(|| side.file_sha256.chars().take(12).collect());
    let row = side.row.map(|row| format!(" row {row}")).unwrap_or_default();
    format!(
        "{} {}  {at}  {} {result}  station {}  ({file}{row}, by {} at {})",
        side.plate, side.plate_color, side.kind, side.station, side.imported_by, side.imported_at
    )
}
