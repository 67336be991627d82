//! `dieselwatch judge`: passages as JSONL in, verdicts as JSONL out, by the very functions the service uses.
//!
//! Output has the order of the input, and each verdict the episodes that hold once the whole input is read. So output
//! begins when input ends; until then memory holds the finished lines, and the documents of those over a limit, which are
//! the only ones an episode can still change.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde_json::json;
use smallvec::SmallVec;

use crate::{
    config,
    decode::remote_sensing,
    evaluate::episode::{self, CONSECUTIVE_RULE, Tested},
    fault::{Reason, Refusal},
    judge::{
        self, Pollutant, RuleBook, RuleBookError,
        document::{EpisodeDocument, VerdictDocument},
    },
    reading::{PlateKey, RecordId, StationId, Timestamp, passage::Passage},
    vehicle::facts::{MatchKind, VehicleMatch},
};

/// Longest line read; beyond it the line is refused and skipped. An array of 500 passages with media is well below.
const MAX_LINE_BYTES: usize = 8 << 20;

/// Judge remote-sensing passages from a file or standard input, without broker or database.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Example:\n  dieselwatch judge --vehicles vehicles.csv --list retire_n3=retire_n3.csv passages.jsonl"
)]
pub struct Args {
    /// Vehicle register (CSV as for `import vehicles`); without it every fuel is unknown.
    #[arg(long, value_name = "CSV")]
    pub vehicles: Option<PathBuf>,
    /// A list and its file (CSV as for `import list`); may be given several times.
    #[arg(long = "list", value_name = "NAME=CSV")]
    pub lists: Vec<ListFile>,
    /// Table of limits; without it the one built in.
    #[arg(long, value_name = "TOML")]
    pub limits: Option<PathBuf>,
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

/// Why the command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    #[error(transparent)]
    RuleBook(#[from] RuleBookError),
    #[error("open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("read passages or write verdicts")]
    Io(#[from] io::Error),
}

impl JudgeError {
    /// 2 for what the user named wrongly, 1 for work that failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::RuleBook(_) | Self::Open { .. } => 2,
            Self::Io(_) => 1,
        }
    }
}

/// What became of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub judged: u64,
    pub refused: u64,
}

impl Summary {
    pub fn exit_code(&self) -> u8 {
        u8::from(self.refused > 0)
    }
}

/// Runs the command on its files. `settings` are those of the configuration; `match_vehicle` looks up register and lists.
pub fn run(
    args: &Args,
    settings: config::Judge,
    match_vehicle: impl Fn(PlateKey, Timestamp) -> VehicleMatch,
) -> Result<Summary, JudgeError> {
    let limits_file = args.limits.clone().or(settings.limits_file.clone());
    let book = RuleBook::load(config::Judge { limits_file, ..settings })?;
    let output = BufWriter::new(io::stdout().lock());
    if args.input == Path::new("-") {
        return Ok(judge_lines(io::stdin().lock(), output, &book, match_vehicle)?);
    }
    let file = File::open(&args.input).map_err(|source| JudgeError::Open { path: args.input.clone(), source })?;
    Ok(judge_lines(BufReader::new(file), output, &book, match_vehicle)?)
}

/// Judges every line of `input`. A bad line becomes an error line in its place; blank lines are skipped.
pub fn judge_lines(
    mut input: impl BufRead,
    mut output: impl Write,
    book: &RuleBook,
    match_vehicle: impl Fn(PlateKey, Timestamp) -> VehicleMatch,
) -> io::Result<Summary> {
    let mut work =
        Work { book, match_vehicle, summary: Summary::default(), lines: Vec::new(), histories: HashMap::new() };
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        number += 1;
        match read_line(&mut input, &mut line)? {
            Line::End => break,
            Line::TooLong => {
                let detail = format!("a line of more than {MAX_LINE_BYTES} bytes");
                work.refuse(&Refusal::new(Reason::TooLarge, detail), number)?;
            }
            Line::Whole if line.trim_ascii().is_empty() => {}
            Line::Whole => work.line(&line, number)?,
        }
    }
    work.close_episodes();
    for line in &work.lines {
        match line {
            Output::Done(text) => output.write_all(text)?,
            Output::Open(document) => serde_json::to_writer(&mut output, document)?,
        }
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(work.summary)
}

enum Line {
    Whole,
    TooLong,
    End,
}

fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    if input.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') || line.len() <= MAX_LINE_BYTES {
        return Ok(Line::Whole);
    }
    while !matches!(line.last(), Some(b'\n')) {
        line.clear();
        if input.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', line)? == 0 {
            break;
        }
    }
    Ok(Line::TooLong)
}

/// One line of output.
enum Output {
    Done(Box<[u8]>),
    /// Over a limit: an episode may still be added.
    Open(Box<VerdictDocument>),
}

/// What the history needs of one reading, and which line of output it made.
struct Kept {
    line: usize,
    station: StationId,
    record: RecordId,
    passed_at: Timestamp,
    tested: [Tested; Pollutant::COUNT],
    needs_review: bool,
}

struct Work<'b, M> {
    book: &'b RuleBook,
    match_vehicle: M,
    summary: Summary,
    lines: Vec<Output>,
    histories: HashMap<PlateKey, Vec<Kept>>,
}

impl<M: Fn(PlateKey, Timestamp) -> VehicleMatch> Work<'_, M> {
    fn line(&mut self, line: &[u8], number: u64) -> io::Result<()> {
        let elements = match remote_sensing::decode(line) {
            Ok(elements) => elements,
            Err(refusal) => return self.refuse(&refusal, number),
        };
        for element in elements {
            match element.passage {
                Ok(passage) => self.passage(&passage)?,
                Err(refusal) => self.refuse(&refusal, number)?,
            }
        }
        Ok(())
    }

    fn passage(&mut self, passage: &Passage) -> io::Result<()> {
        let key = passage.plate_key();
        let matched = match key {
            Some(key) => (self.match_vehicle)(key, passage.passed_at),
            None => unmatched(),
        };
        // Nobody can be stopped by a file, so nothing here is live.
        let judgement = judge::passage(passage, &matched, None, self.book, false);
        let document = judgement.document(passage, &matched, self.book);
        let tested = episode::tested_of(&judgement.verdict);
        let over = tested.iter().any(|tested| matches!(tested, Tested::Over { .. }));
        if let Some(key) = key
            && tested.iter().any(|tested| *tested != Tested::No)
        {
            self.histories.entry(key).or_default().push(Kept {
                line: self.lines.len(),
                station: passage.station_id.clone(),
                record: passage.record_id.clone(),
                passed_at: passage.passed_at,
                tested,
                needs_review: !judgement.review.is_empty(),
            });
        }
        self.lines.push(match over {
            true => Output::Open(Box::new(document)),
            false => Output::Done(serde_json::to_vec(&document)?.into()),
        });
        self.summary.judged += 1;
        Ok(())
    }

    fn refuse(&mut self, refusal: &Refusal, number: u64) -> io::Result<()> {
        let line = json!({ "error": { "code": refusal.reason.name(), "detail": refusal.detail }, "line": number });
        self.lines.push(Output::Done(serde_json::to_vec(&line)?.into()));
        self.summary.refused += 1;
        Ok(())
    }

    fn close_episodes(&mut self) {
        let rule = episode::Rule::of(self.book);
        for kept in self.histories.values() {
            let readings: Vec<_> = kept.iter().map(Kept::reading).collect();
            for episode in episode::history(&readings, rule).episodes {
                let (Some(from), Some(to), Some(convicted)) = (episode.from(), episode.to(), episode.convicted_by())
                else {
                    continue;
                };
                let document = EpisodeDocument {
                    pollutant: episode.pollutant,
                    readings: episode.readings.iter().map(|reading| reading.record.to_owned()).collect(),
                    from,
                    to,
                    convicted_by: convicted.record.to_owned(),
                };
                let doubtful = episode.readings.iter().any(|reading| reading.needs_review);
                let listed: HashSet<_> = episode.readings.iter().map(|r| (r.station, r.record)).collect();
                let is_listed = |kept: &&Kept| listed.contains(&(kept.station.as_str(), kept.record.as_str()));
                for kept in kept.iter().filter(is_listed) {
                    if let Some(Output::Open(verdict)) = self.lines.get_mut(kept.line) {
                        add_episode(verdict, &document, doubtful);
                    }
                }
            }
        }
    }
}

impl Kept {
    fn reading(&self) -> episode::Reading<'_> {
        episode::Reading {
            station: self.station.as_str(),
            record: self.record.as_str(),
            passed_at: self.passed_at,
            tested: self.tested,
            needs_review: self.needs_review,
        }
    }
}

fn add_episode(verdict: &mut VerdictDocument, episode: &EpisodeDocument, doubtful: bool) {
    verdict.episodes.push(episode.clone());
    if !verdict.rules.iter().any(|rule| rule == CONSECUTIVE_RULE) {
        // Behind the measurement's own rule, as in the contract's example, and before what lists add.
        let place = usize::from(verdict.rules.first().is_some_and(|rule| rule == judge::OVER_RULE));
        verdict.rules.insert(place, CONSECUTIVE_RULE.to_owned());
    }
    if doubtful && verdict.needs_review.is_empty() {
        verdict.needs_review.push("a_reading_needs_review".to_owned());
    }
}

fn unmatched() -> VehicleMatch {
    VehicleMatch { kind: MatchKind::None, vehicle: None, lists: SmallVec::new(), registry_version: 0 }
}

#[cfg(test)]
mod tests;
