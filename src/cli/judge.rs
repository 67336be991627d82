//! `dieselwatch judge`: passages as JSONL in, verdicts as JSONL out, by the very functions the service uses.
//!
//! Lines are judged by as many threads as asked for and put back into the order of the input before anything is made of
//! them together, so that neither the number of threads nor their luck shows. Output has the order of the input, and each
//! verdict the episodes that hold once the whole input is read. So output begins when input ends; until then memory holds
//! the finished lines, and the documents of those over a limit, which are the only ones an episode can still change.

mod files;
mod lines;
mod work;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter},
    num::NonZero,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
};

use anyhow::Context as _;

use super::{ConfigArgs, Exit, UsageError, progress::Progress};
use crate::{config, judge::RuleBook, zone::Datum};
use files::Files;
use work::{Judge, judge_lines};

/// Judge remote-sensing passages from a file or standard input, without broker or database.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dieselwatch judge --vehicles vehicles.csv --list retire_n3=retire_n3.csv passages.jsonl\n  \
        dieselwatch judge --vehicles vehicles.csv --stations stations.csv --zones zones.geojson \\\n    \
        --warnings warnings.jsonl --inspections rechecks.csv passages.jsonl\n  \
        dieselwatch judge --mapping rs-consumer --vehicles vehicles.csv export.jsonl > verdicts.jsonl"
)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Vehicle register (CSV as for `import vehicles`); without it every fuel is unknown.
    #[arg(long, value_name = "CSV")]
    pub vehicles: Option<PathBuf>,
    /// A list and its file (CSV as for `import list`); may be given several times.
    #[arg(long = "list", value_name = "NAME=CSV")]
    pub lists: Vec<ListFile>,
    /// Stations (CSV as for `import stations`): where a passage was, slope and calibration; without it nobody knows.
    #[arg(long, value_name = "CSV")]
    pub stations: Option<PathBuf>,
    /// Zones (GeoJSON as for `import zones`); without it there are none.
    #[arg(long, value_name = "GEOJSON")]
    pub zones: Option<PathBuf>,
    /// The datum the zones were drawn in.
    #[arg(long, value_enum, default_value_t = Datum::Wgs84, requires = "zones")]
    pub datum: Datum,
    /// Heavy-pollution warnings, one JSON object a line as `warning list --json` prints them; without it there were none.
    #[arg(long, value_name = "JSONL")]
    pub warnings: Option<PathBuf>,
    /// Inspection reports (CSV as for `import inspections`): a passed recheck ends a series of tests; without it none was.
    #[arg(long, value_name = "CSV")]
    pub inspections: Option<PathBuf>,
    /// Names, codes and units of the passages where they are not our own: a built-in mapping or a file, as in a `[[source]]`.
    #[arg(long, value_name = "NAME|FILE")]
    pub mapping: Option<String>,
    /// Table of limits; without it the configuration's.
    #[arg(long, value_name = "TOML")]
    pub limits: Option<PathBuf>,
    /// Table of vehicle rules; without it the configuration's.
    #[arg(long, value_name = "TOML")]
    pub rules: Option<PathBuf>,
    /// Threads that judge; without it one for each core. The output is the same for any number.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
    /// Passages, one JSON object (or array) a line; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
}

/// `NAME=CSV`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFile {
    pub name: String,
    pub path: PathBuf,
}

impl FromStr for ListFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: path.into() })
            }
            _ => Err("write it as NAME=CSV, such as scrapped=scrapped.csv"),
        }
    }
}

/// Exit 1 where a line was refused, or a row of a register or list.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let settings = args.config.load()?.judge;
    let limits_file = args.limits.clone().or(settings.limits_file.clone());
    let rules_file = args.rules.clone().or(settings.rules_file.clone());
    let book = RuleBook::load(config::Judge { limits_file, rules_file, ..settings })
        .map_err(|error| UsageError(error.to_string()))?;
    let threads = args.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let input = open(&args.input)?;
    let files = Files::load(args, &book)?;
    let that_matter = &book.settings.plates.suspected_lists;
    let judge = Judge {
        book: &book,
        match_vehicle: |key, at| files.known.identify(key, at, that_matter),
        known: &files.known,
        mapping: files.mapping.as_ref(),
        rechecks: &files.rechecks,
    };
    let mut progress = Progress::new("passages", "lines", 0);
    let output = BufWriter::new(io::stdout().lock());
    let summary = judge_lines(input, output, &judge, threads, |lines| progress.advance(lines))
        .context("read passages or write verdicts")?;
    progress.finish();
    Ok(if summary.refused > 0 || files.refused { Exit::Refused } else { Exit::Ok })
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, UsageError> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(BufReader::new(file))),
        Err(error) => Err(UsageError(format!("open {}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests;
