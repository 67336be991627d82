//! `dieselwatch judge`: passages as JSONL in, verdicts as JSONL out, by the very functions the service uses.
//!
//! Lines are judged by as many threads as asked for and put back into the order of the input before anything is made of
//! them together, so that neither the number of threads nor their luck shows. Output has the order of the input, and each verdict the episodes that hold once the whole input is read. So output
//! begins when input ends; until then memory holds the finished lines, and the documents of those over a limit, which are
//! the only ones an episode can still change.

mod lines;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    num::NonZero,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use serde_json::json;
use smallvec::SmallVec;

use lines::{Chunk, MAX_LINE_BYTES};

use crate::{
    config,
    decode::remote_sensing,
    evaluate::episode::{self, CONSECUTIVE_RULE, Tested},
    fault::{Reason, Refusal},
    judge::{
        self, Pollutant, RuleBook, RuleBookError, StationFacts,
        document::{EpisodeDocument, VerdictDocument},
    },
    reading::{PlateKey, RecordId, StationId, Timestamp, passage::Passage},
    vehicle::{
        facts::{MatchKind, VehicleMatch},
        knowledge::Knowledge,
    },
};

/// Judge remote-sensing passages from a file or standard input, without broker or database.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dieselwatch judge --vehicles vehicles.csv --list retire_n3=retire_n3.csv passages.jsonl\n  \
        dieselwatch judge --vehicles vehicles.csv --stations stations.csv --zones zones.geojson \\\n    \
        --warnings warnings.jsonl passages.jsonl"
)]
pub struct Args {
    /// Vehicle register (CSV as for `import vehicles`); without it every fuel is unknown.
    #[arg(long, value_name = "CSV")]
    pub vehicles: Option<PathBuf>,
    /// A list and its file (CSV as for `import list`); may be given several times.
    #[arg(long = "list", value_name = "NAME=CSV")]
    pub lists: Vec<ListFile>,
    /// Stations (CSV as for `import stations`): where a passage was, slope and calibration; without it nobody knows.
    #[arg(long, value_name = "CSV")]
    pub stations: Option<PathBuf>,
    /// Zones in WGS-84 (GeoJSON as for `import zones`); without it there are none.
    #[arg(long, value_name = "GEOJSON")]
    pub zones: Option<PathBuf>,
    /// Heavy-pollution warnings, one JSON object a line as `warning list --json` prints them; without it there were none.
    #[arg(long, value_name = "JSONL")]
    pub warnings: Option<PathBuf>,
    /// Table of limits; without it the one built in.
    #[arg(long, value_name = "TOML")]
    pub limits: Option<PathBuf>,
    /// Table of vehicle rules; without it the one built in.
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

/// Runs the command on its files. `settings` are those of the configuration; `match_vehicle` looks up register and lists,
/// `known` holds stations, zones and warnings.
pub fn run(
    args: &Args,
    settings: config::Judge,
    match_vehicle: impl Fn(PlateKey, Timestamp) -> VehicleMatch + Sync,
    known: &Knowledge,
) -> Result<Summary, JudgeError> {
    let limits_file = args.limits.clone().or(settings.limits_file.clone());
    let rules_file = args.rules.clone().or(settings.rules_file.clone());
    let book = RuleBook::load(config::Judge { limits_file, rules_file, ..settings })?;
    let threads = args.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let output = BufWriter::new(io::stdout().lock());
    if args.input == Path::new("-") {
        return Ok(judge_lines(io::stdin().lock(), output, &book, match_vehicle, known, threads)?);
    }
    let file = File::open(&args.input).map_err(|source| JudgeError::Open { path: args.input.clone(), source })?;
    Ok(judge_lines(BufReader::new(file), output, &book, match_vehicle, known, threads)?)
}

/// Judges every line of `input`. A bad line becomes an error line in its place; blank lines are skipped.
pub fn judge_lines(
    input: impl BufRead,
    mut output: impl Write,
    book: &RuleBook,
    match_vehicle: impl Fn(PlateKey, Timestamp) -> VehicleMatch + Sync,
    known: &Knowledge,
    threads: NonZero<usize>,
) -> io::Result<Summary> {
    let judge = Judge { book, match_vehicle, known };
    let mut work = Work { book, summary: Summary::default(), lines: Vec::new(), histories: HashMap::new() };
    for judged in judge_chunks(input, &judge, threads)? {
        judged?.into_iter().for_each(|judged| work.take(judged));
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

/// What a chunk of lines came to.
type JudgedChunk = io::Result<Vec<Judged>>;

/// Reads the input in chunks, lets threads judge them, and gives back what they came to in the order of the input.
fn judge_chunks<M>(
    mut input: impl BufRead,
    judge: &Judge<'_, M>,
    threads: NonZero<usize>,
) -> io::Result<Vec<JudgedChunk>>
where
    M: Fn(PlateKey, Timestamp) -> VehicleMatch + Sync,
{
    let mut finished: Vec<(usize, JudgedChunk)> = Vec::new();
    thread::scope(|scope| -> io::Result<()> {
        // Bounded, so that reading does not run ahead of judging.
        let (to_judge, chunks) = mpsc::sync_channel::<(usize, Chunk)>(2 * threads.get());
        let chunks = std::sync::Arc::new(Mutex::new(chunks));
        let (done, results) = mpsc::channel();
        for _ in 0..threads.get() {
            let (chunks, done) = (std::sync::Arc::clone(&chunks), done.clone());
            scope.spawn(move || {
                let next = || chunks.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok((place, chunk)) = next() {
                    if done.send((place, judge.chunk(&chunk))).is_err() {
                        return;
                    }
                }
            });
        }
        drop((chunks, done));
        let mut number = 0;
        for place in 0.. {
            let Some(chunk) = Chunk::read(&mut input, &mut number)? else { break };
            // Nobody takes chunks any more only after a panic, which the scope passes on.
            if to_judge.send((place, chunk)).is_err() {
                break;
            }
            finished.extend(results.try_iter());
        }
        drop(to_judge);
        finished.extend(results);
        Ok(())
    })?;
    finished.sort_unstable_by_key(|(place, _)| *place);
    Ok(finished.into_iter().map(|(_, judged)| judged).collect())
}

/// One line of output.
enum Output {
    Done(Box<[u8]>),
    /// Over a limit: an episode may still be added.
    Open(Box<VerdictDocument>),
}

/// What one passage or refusal came to; made on any thread, put in its place afterwards.
struct Judged {
    output: Output,
    refused: bool,
    /// What the history of its vehicle needs of it.
    kept: Option<(PlateKey, Kept)>,
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

/// What judging a line needs; shared by all threads.
struct Judge<'b, M> {
    book: &'b RuleBook,
    match_vehicle: M,
    known: &'b Knowledge,
}

impl<M: Fn(PlateKey, Timestamp) -> VehicleMatch> Judge<'_, M> {
    fn chunk(&self, chunk: &Chunk) -> JudgedChunk {
        let mut judged = Vec::with_capacity(chunk.lines.len());
        for (number, place) in &chunk.lines {
            match place.clone().and_then(|place| chunk.text.get(place)) {
                Some(line) => self.line(line, *number, &mut judged)?,
                None => {
                    let detail = format!("a line of more than {MAX_LINE_BYTES} bytes");
                    judged.push(refused(&Refusal::new(Reason::TooLarge, detail), *number)?);
                }
            }
        }
        Ok(judged)
    }

    fn line(&self, line: &[u8], number: u64, judged: &mut Vec<Judged>) -> io::Result<()> {
        let elements = match remote_sensing::decode(line) {
            Ok(elements) => elements,
            Err(refusal) => {
                judged.push(refused(&refusal, number)?);
                return Ok(());
            }
        };
        for element in elements {
            judged.push(match element.passage {
                Ok(passage) => self.passage(&passage)?,
                Err(refusal) => refused(&refusal, number)?,
            });
        }
        Ok(())
    }

    fn passage(&self, passage: &Passage) -> io::Result<Judged> {
        let key = passage.plate_key();
        let matched = match key {
            Some(key) => (self.match_vehicle)(key, passage.passed_at),
            None => unmatched(),
        };
        // Nobody can be stopped by a file, so nothing here is live.
        let station = self.known.stations.find(passage.station_id.as_str());
        let surroundings = self.known.surroundings(passage, station, None);
        let facts = station.map(StationFacts::of);
        let judgement = judge::passage_amid(passage, &matched, facts.as_ref(), &surroundings, self.book, false);
        let document = judgement.document(passage, &matched, self.book);
        let tested = episode::tested_of(&judgement.verdict);
        let over = tested.iter().any(|tested| matches!(tested, Tested::Over { .. }));
        // Invalid readings too: they make no test, and hold the readings of one passage together.
        let kept = key.map(|key| {
            let kept = Kept {
                line: 0,
                station: passage.station_id.clone(),
                record: passage.record_id.clone(),
                passed_at: passage.passed_at,
                tested,
                needs_review: !judgement.review.is_empty(),
            };
            (key, kept)
        });
        let output = match over {
            true => Output::Open(Box::new(document)),
            false => Output::Done(serde_json::to_vec(&document)?.into()),
        };
        Ok(Judged { output, refused: false, kept })
    }
}

fn refused(refusal: &Refusal, number: u64) -> io::Result<Judged> {
    let line = json!({ "error": { "code": refusal.reason.name(), "detail": refusal.detail }, "line": number });
    Ok(Judged { output: Output::Done(serde_json::to_vec(&line)?.into()), refused: true, kept: None })
}

/// Everything judged so far, in the order of the input.
struct Work<'b> {
    book: &'b RuleBook,
    summary: Summary,
    lines: Vec<Output>,
    histories: HashMap<PlateKey, Vec<Kept>>,
}

impl Work<'_> {
    fn take(&mut self, judged: Judged) {
        if let Some((key, kept)) = judged.kept {
            self.histories.entry(key).or_default().push(Kept { line: self.lines.len(), ..kept });
        }
        self.lines.push(judged.output);
        *(if judged.refused { &mut self.summary.refused } else { &mut self.summary.judged }) += 1;
    }

    fn close_episodes(&mut self) {
        let rule = episode::Rule::of(self.book);
        for kept in self.histories.values() {
            let readings: Vec<_> = kept.iter().map(Kept::reading).collect();
            for episode in episode::history(&readings, &[], rule).episodes {
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
