//! Lines in, verdicts out: judged by as many threads as asked for, put back into the order of the input, and only then
//! read together for episodes.

use std::{
    collections::{HashMap, HashSet},
    io::{self, BufRead, Write},
    num::NonZero,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use serde_json::json;
use smallvec::SmallVec;

use super::lines::{Chunk, MAX_LINE_BYTES};
use crate::{
    decode::remote_sensing,
    evaluate::{
        episode::{self, CONSECUTIVE_RULE, Tested},
        recheck::Passed,
    },
    fault::{Reason, Refusal},
    judge::{
        self, Pollutant, RuleBook, StationFacts,
        document::{EpisodeDocument, VerdictDocument},
    },
    mapping::Mapping,
    reading::{PlateKey, RecordId, StationId, Timestamp, passage::Passage},
    strict_json::BYTE_ORDER_MARK,
    vehicle::{
        carrier::Carrier,
        facts::{MatchKind, VehicleMatch},
        knowledge::Knowledge,
    },
};

/// What became of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub judged: u64,
    pub refused: u64,
}

/// Judges every line of `input`. A bad line becomes an error line in its place; blank lines are skipped.
/// `on_lines` is told how many lines were read, every so often.
pub(super) fn judge_lines<M>(
    input: impl BufRead,
    mut output: impl Write,
    judge: &Judge<'_, M>,
    threads: NonZero<usize>,
    on_lines: impl FnMut(u64),
) -> io::Result<Summary>
where
    M: Fn(PlateKey, Timestamp) -> VehicleMatch + Sync,
{
    let mut work = Work { summary: Summary::default(), lines: Vec::new(), histories: HashMap::new() };
    for judged in judge_chunks(input, judge, threads, on_lines)? {
        judged?.into_iter().for_each(|judged| work.take(judged));
    }
    work.close_episodes(episode::Rule::of(judge.book), judge.rechecks);
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
    mut on_lines: impl FnMut(u64),
) -> io::Result<Vec<JudgedChunk>>
where
    M: Fn(PlateKey, Timestamp) -> VehicleMatch + Sync,
{
    let mut finished: Vec<(usize, JudgedChunk)> = Vec::new();
    thread::scope(|scope| -> io::Result<()> {
        // Bounded, so that reading does not run ahead of judging.
        let (to_judge, chunks) = mpsc::sync_channel::<(usize, Chunk)>(2 * threads.get());
        let chunks = Arc::new(Mutex::new(chunks));
        let (done, results) = mpsc::channel();
        for _ in 0..threads.get() {
            let (chunks, done) = (Arc::clone(&chunks), done.clone());
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
            let before = number;
            let Some(chunk) = Chunk::read(&mut input, &mut number)? else { break };
            on_lines(number - before);
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
    carrier: Carrier,
}

/// What judging needs; shared by all threads.
pub(super) struct Judge<'b, M> {
    pub book: &'b RuleBook,
    /// Looks up register and lists.
    pub match_vehicle: M,
    /// Stations, zones and warnings.
    pub known: &'b Knowledge,
    /// Names, units and codes of the lines, where they are not our own.
    pub mapping: Option<&'b Mapping>,
    /// Rechecks that vehicles passed, in any order.
    pub rechecks: &'b HashMap<PlateKey, Vec<Passed>>,
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
        if let Some(behind) = line.strip_prefix(BYTE_ORDER_MARK) {
            // Editors put one at the beginning of a file; anywhere else two files were put together, or one is damaged.
            if number > 1 {
                let detail = "a byte order mark stands elsewhere than at the beginning of the input, at byte 0";
                judged.push(refused(&Refusal::new(Reason::NotJson, detail), number)?);
                return Ok(());
            }
            if behind.trim_ascii().is_empty() {
                return Ok(());
            }
        }
        let elements = match remote_sensing::decode_mapped(line, self.mapping) {
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
        let surroundings = self.known.surroundings(passage, station, None, &self.book.terminal.bounds().area);
        let facts = station.map(|station| StationFacts::of(station, passage.passed_at));
        let judgement = judge::passage_amid(passage, &matched, facts.as_ref(), &surroundings, self.book, false);
        let document = judgement.document(passage, &matched, self.book);
        let tested = match passage.plate_as_read {
            // Not sure whose test it is.
            Some(_) => [Tested::No; Pollutant::COUNT],
            None => episode::tested_of(&judgement.verdict),
        };
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
                carrier: matched.vehicle.as_ref().filter(|_| over).map(Carrier::of).unwrap_or_default(),
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
struct Work {
    summary: Summary,
    lines: Vec<Output>,
    histories: HashMap<PlateKey, Vec<Kept>>,
}

impl Work {
    fn take(&mut self, judged: Judged) {
        if let Some((key, kept)) = judged.kept {
            self.histories.entry(key).or_default().push(Kept { line: self.lines.len(), ..kept });
        }
        self.lines.push(judged.output);
        *(if judged.refused { &mut self.summary.refused } else { &mut self.summary.judged }) += 1;
    }

    fn close_episodes(&mut self, rule: episode::Rule, rechecks: &HashMap<PlateKey, Vec<Passed>>) {
        for (key, kept) in &self.histories {
            let readings: Vec<_> = kept.iter().map(Kept::reading).collect();
            let rechecks: Vec<_> = rechecks.get(key).into_iter().flatten().map(Passed::recheck).collect();
            for episode in episode::history(&readings, &rechecks, rule).episodes {
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
                    needs_review: episode.needs_review(),
                };
                let listed: HashSet<_> = episode.readings.iter().map(|r| (r.station, r.record)).collect();
                let is_listed = |kept: &&Kept| listed.contains(&(kept.station.as_str(), kept.record.as_str()));
                for kept in kept.iter().filter(is_listed) {
                    if let Some(Output::Open(verdict)) = self.lines.get_mut(kept.line) {
                        add_episode(verdict, &document);
                    }
                }
            }
            for kept in kept {
                if let Some(Output::Open(verdict)) = self.lines.get_mut(kept.line) {
                    hold_back(verdict);
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
            carrier: self.carrier,
        }
    }
}

fn add_episode(verdict: &mut VerdictDocument, episode: &EpisodeDocument) {
    verdict.episodes.push(episode.clone());
    if !verdict.rules.iter().any(|rule| rule == CONSECUTIVE_RULE) {
        // Behind the measurement's own rule, as in the contract's example, and before what lists add.
        let place = usize::from(verdict.rules.first().is_some_and(|rule| rule == judge::OVER_RULE));
        verdict.rules.insert(place, CONSECUTIVE_RULE.to_owned());
    }
}

/// The reading that is doubtful says why in its own verdict; the others of its series say no more than that, where no series
/// stands without it. That a pollutant only screens concerns its own series and says nothing against the rest.
fn hold_back(verdict: &mut VerdictDocument) {
    let stands = verdict.episodes.iter().any(|episode| episode.needs_review.is_empty());
    if stands || !verdict.needs_review.is_empty() {
        return;
    }
    for why in verdict.episodes.iter().flat_map(|episode| &episode.needs_review) {
        if *why != judge::SCREENING_ONLY && !verdict.needs_review.iter().any(|known| known == why) {
            verdict.needs_review.push((*why).to_owned());
        }
    }
}

fn unmatched() -> VehicleMatch {
    VehicleMatch { kind: MatchKind::None, vehicle: None, lists: SmallVec::new(), registry_version: 0 }
}
