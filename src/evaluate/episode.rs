//! Consecutive tests over the limit: the series of roadside readings that convicts (HJ 845-2017 by the built-in table).
//!
//! Input: every stored reading of one vehicle, in any order, each perhaps several times, and the rechecks it passed. Output:
//! which readings stand for which passages, and every episode. Decisions:
//!
//! - **One passage, one test.** Readings of the vehicle at one station less than `same_passage_seconds` apart are one
//!   passage, and so are chains of such readings: a truck creeping past a station for ten minutes drove past once.
//! - **A chain runs through invalid readings too.** Validity says what the measurement is worth, not whether the vehicle
//!   was there: a camera that read the plate between two valid tests proves that the truck had not left. To let only
//!   valid readings chain would make two convictions' worth of tests out of one slow drive in gusts of wind.
//! - **Which reading stands for a passage.** For each pollutant the earliest one of the passage with a valid test of it
//!   (ties: the smaller record id). Later ones are triggered by trailers and by a plume already torn apart; and a choice
//!   that does not look at the value favours nobody.
//! - **Consecutive** means consecutive valid tests. A valid pass breaks the series; an invalid test is no test, so it
//!   neither breaks nor extends.
//! - **A passed recheck resets.** Tests up to and at its moment and tests after it belong to different series. A report
//!   that names a day and no time may speak of any moment of that day in China, and a doubt about the order accuses nobody:
//!   it resets between two tests wherever the day meets the time between them, so that no test of that day counts with one
//!   before or after it. An episode names the last recheck before it and the first one after it.
//! - **A plate that went to another vehicle** between two tests ends the series as well: they are tests of two vehicles
//!   ([`crate::vehicle::carrier`]). A reading of which it is not sure whose it is holds its passage together and is no test.
//! - **Within the months of the rule** is counted in calendar days in China from the first test of the N: 31 August plus
//!   six months is the last day of February, that day included.
//! - **An episode** begins when N consecutive tests are over within the months; the N-th is the test that convicted and
//!   names it. Each further consecutive test that convicts in its own right extends the same episode. A test that does not
//!   (too late after the one N-1 before it) ends it; it may be the first of another.
//! - **A pollutant that only screens** starts a recheck rather than a penalty, however often it is over: an episode with a
//!   test against such a limit waits for a person.
//!
//! So a late reading or recheck can extend an episode, split it, take it away or rename it; reconciliation does the rest.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::{
    finding::{Finding, Review, Subject, finding_id},
    judge::{Outcome, Pollutant, RuleBook, SCREENING_ONLY, Verdict, document::exact},
    reading::{PlateKey, Timestamp, calendar::after_months},
    vehicle::carrier::Carrier,
};

pub const CONSECUTIVE_RULE: &str = "HJ845.consecutive";

/// What one reading says of one pollutant. Invalid and not measured are the same here: no test. The figures are missing
/// where only the outcome was kept; nothing stands in for them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Tested {
    #[default]
    No,
    Under(Option<Measured>),
    Over(Option<Measured>),
}

/// A measured value and the limit it was held against, in the pollutant's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub value: f32,
    pub limit: f32,
    /// By itself the limit starts a recheck rather than a penalty.
    pub screening: bool,
}

/// An inspection of the vehicle that resets its series: of a kind the table of limits names, and passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recheck<'a> {
    pub at: Timestamp,
    /// The inspection station and its report: the natural key.
    pub station: &'a str,
    pub report_no: &'a str,
    /// The report names a day only, and `at` is the end of it.
    pub whole_day: bool,
    /// It contradicts another report and nobody decided yet which of them holds: it may be a recheck of this vehicle, and as
    /// long as it may, it resets as one that was.
    pub undecided: bool,
}

impl Recheck<'_> {
    /// The first moment at which it may have been.
    fn earliest(&self) -> Timestamp {
        if self.whole_day { self.at.start_of_china_day() } else { self.at }
    }

    /// Whether it may lie between two tests; one at the very moment of a test counts as behind it, and of a whole day that
    /// has a test on it no moment is known to be.
    fn may_lie_between(&self, earlier: Timestamp, later: Timestamp) -> bool {
        let begins_before = self.earliest() < later || (self.whole_day && self.earliest() == later);
        begins_before && self.at >= earlier
    }
}

/// One stored reading of the vehicle; station and record are its natural key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading<'a> {
    pub station: &'a str,
    pub record: &'a str,
    pub passed_at: Timestamp,
    /// By [`Pollutant`] code.
    pub tested: [Tested; Pollutant::COUNT],
    /// Findings about this reading wait for a person, and so does an episode that lists it. That its limits only screen is told
    /// by the tests themselves.
    pub needs_review: bool,
    /// Who carried the plate.
    pub carrier: Carrier,
}

/// Consecutive tests over the limit of one pollutant, in the order of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode<'a> {
    pub pollutant: Pollutant,
    pub readings: Vec<Reading<'a>>,
    /// Place in `readings` of the test that convicted.
    pub convicted: usize,
    /// The last recheck before the first reading, and the first one not before the last reading.
    pub recheck_before: Option<Recheck<'a>>,
    pub recheck_after: Option<Recheck<'a>>,
}

impl<'a> Episode<'a> {
    pub fn from(&self) -> Option<Timestamp> {
        self.readings.first().map(|reading| reading.passed_at)
    }

    pub fn to(&self) -> Option<Timestamp> {
        self.readings.last().map(|reading| reading.passed_at)
    }

    pub fn convicted_by(&self) -> Option<&Reading<'a>> {
        self.readings.get(self.convicted)
    }

    /// Whether one of its tests was held against a limit that only screens.
    pub fn is_screening(&self) -> bool {
        let screens = |reading: &Reading<'_>| match tested(reading, self.pollutant) {
            Tested::Over(Some(measured)) => measured.screening,
            Tested::Over(None) | Tested::Under(_) | Tested::No => false,
        };
        self.readings.iter().any(screens)
    }

    /// Why a person must look at it; empty when nobody needs to.
    pub fn needs_review(&self) -> Vec<&'static str> {
        let doubtful = self.readings.iter().any(|reading| reading.needs_review);
        let why = [(doubtful, "a_reading_needs_review"), (self.is_screening(), SCREENING_ONLY)];
        why.into_iter().filter_map(|(so, why)| so.then_some(why)).collect()
    }
}

/// What a verdict contributes to the history, by [`Pollutant`] code: only valid tests against a limit of the vehicle.
pub fn tested_of(verdict: &Verdict) -> [Tested; Pollutant::COUNT] {
    let mut all = [Tested::No; Pollutant::COUNT];
    for each in &verdict.pollutants {
        let Some(limit) = each.limit else { continue };
        let measured = Some(Measured { value: each.value, limit, screening: each.screening });
        all[each.pollutant as usize] = match each.outcome {
            Outcome::Pass => Tested::Under(measured),
            Outcome::OverLimit => Tested::Over(measured),
            Outcome::Invalid | Outcome::NotApplicable | Outcome::Undetermined => Tested::No,
        };
    }
    all
}

/// How many tests, within how many months, and what is one passage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// 2 or more.
    pub tests: usize,
    pub months: u32,
    pub same_passage_seconds: u32,
}

impl Rule {
    pub fn of(book: &RuleBook) -> Self {
        let episode = book.limits.episode();
        Self { tests: episode.tests, months: episode.months, same_passage_seconds: book.settings.same_passage_seconds }
    }
}

/// Everything the history of one vehicle says.
#[derive(Clone, Debug, PartialEq)]
pub struct History<'a> {
    /// Passages in the order of their first readings; each holds its readings in the order of time.
    pub passages: Vec<Vec<Reading<'a>>>,
    /// In the order of pollutant, then time.
    pub episodes: Vec<Episode<'a>>,
}

/// Reads the history of one vehicle. Readings with the same key count once; of two with different content the smaller in
/// the order of time stands (the store keeps only one anyway).
pub fn history<'a>(readings: &[Reading<'a>], rechecks: &[Recheck<'a>], rule: Rule) -> History<'a> {
    let passages = passages(readings, i64::from(rule.same_passage_seconds) * 1_000_000);
    let mut rechecks = rechecks.to_vec();
    rechecks.sort_unstable();
    let mut episodes = Vec::new();
    for pollutant in Pollutant::ALL {
        let mut tests: Vec<Reading<'a>> = passages
            .iter()
            .filter_map(|passage| passage.iter().find(|r| tested(r, pollutant) != Tested::No).copied())
            .collect();
        // A passage's first test of this pollutant may be later than its first reading.
        tests.sort_by(in_time);
        let joined = |a: &Reading<'_>, b: &Reading<'_>| {
            is_over(a, pollutant)
                && is_over(b, pollutant)
                && !is_reset(&rechecks, a.passed_at, b.passed_at)
                && !Carrier::changed((a.carrier, a.passed_at), (b.carrier, b.passed_at))
        };
        for series in tests.chunk_by(joined) {
            if series.first().is_some_and(|first| is_over(first, pollutant)) {
                series_episodes(series, pollutant, rule, &mut episodes);
            }
        }
    }
    for episode in &mut episodes {
        name_rechecks(episode, &rechecks);
    }
    History { passages, episodes }
}

/// Whether a recheck may lie between two tests.
fn is_reset(rechecks: &[Recheck<'_>], earlier: Timestamp, later: Timestamp) -> bool {
    let first = rechecks.partition_point(|recheck| recheck.at < earlier);
    // One whose day begins before the later test ends less than a day after it.
    let mut near = rechecks.iter().skip(first).take_while(|recheck| recheck.at < later.plus_seconds(DAY_SECONDS));
    near.any(|recheck| recheck.may_lie_between(earlier, later))
}

const DAY_SECONDS: i64 = 86_400;

fn name_rechecks<'a>(episode: &mut Episode<'a>, rechecks: &[Recheck<'a>]) {
    let (Some(from), Some(to)) = (episode.from(), episode.to()) else { return };
    let before = rechecks.partition_point(|recheck| recheck.at < from);
    episode.recheck_before = before.checked_sub(1).and_then(|last| rechecks.get(last)).copied();
    episode.recheck_after = rechecks.get(rechecks.partition_point(|recheck| recheck.at < to)).copied();
}

fn tested(reading: &Reading<'_>, pollutant: Pollutant) -> Tested {
    reading.tested.get(pollutant as usize).copied().unwrap_or_default()
}

fn is_over(reading: &Reading<'_>, pollutant: Pollutant) -> bool {
    matches!(tested(reading, pollutant), Tested::Over { .. })
}

/// By time, then by key; total over what may differ between two readings, so that no tie is left to the input's order.
fn in_time(a: &Reading<'_>, b: &Reading<'_>) -> std::cmp::Ordering {
    let content = |reading: &Reading<'_>| {
        let bits = |measured: Option<Measured>| measured.map(|m| (m.value.to_bits(), m.limit.to_bits(), m.screening));
        reading.tested.map(|tested| match tested {
            Tested::No => (0_u8, None),
            Tested::Under(measured) => (1, bits(measured)),
            Tested::Over(measured) => (2, bits(measured)),
        })
    };
    (a.passed_at, a.station, a.record)
        .cmp(&(b.passed_at, b.station, b.record))
        .then_with(|| (content(a), a.needs_review, a.carrier).cmp(&(content(b), b.needs_review, b.carrier)))
}

fn passages<'a>(readings: &[Reading<'a>], nearer_than_micros: i64) -> Vec<Vec<Reading<'a>>> {
    let mut ordered = readings.to_vec();
    ordered.sort_by(in_time);
    let mut known = std::collections::HashSet::with_capacity(ordered.len());
    ordered.retain(|reading| known.insert((reading.station, reading.record)));
    // Stable: within a station the order of time stays.
    ordered.sort_by_key(|reading| reading.station);
    let mut passages: Vec<Vec<Reading<'a>>> = ordered
        .chunk_by(|a, b| a.station == b.station && b.passed_at.micros_since(a.passed_at) < nearer_than_micros)
        .map(<[_]>::to_vec)
        .collect();
    passages.sort_by(|a, b| match (a.first(), b.first()) {
        (Some(a), Some(b)) => in_time(a, b),
        _ => std::cmp::Ordering::Equal,
    });
    passages
}

/// Adds the episodes of consecutive tests that are all over.
fn series_episodes<'a>(series: &[Reading<'a>], pollutant: Pollutant, rule: Rule, episodes: &mut Vec<Episode<'a>>) {
    let tests = rule.tests.max(2);
    let mut open: Option<Episode<'a>> = None;
    for window in series.windows(tests) {
        let (Some(first), Some(last)) = (window.first(), window.last()) else { continue };
        if !within_months(first.passed_at, last.passed_at, rule.months) {
            episodes.extend(open.take());
        } else if let Some(episode) = &mut open {
            episode.readings.push(*last);
        } else {
            let (readings, convicted) = (window.to_vec(), tests - 1);
            open = Some(Episode { pollutant, readings, convicted, recheck_before: None, recheck_after: None });
        }
    }
    episodes.extend(open);
}

/// Whether `last` is not after the day `months` calendar months after the day of `first`, both in China.
fn within_months(first: Timestamp, last: Timestamp, months: u32) -> bool {
    after_months(first.china_day(), months).is_none_or(|end| last.china_day() <= end)
}

/// The finding of one episode of a vehicle's history; `None` for an episode without readings, which [`history`] never makes.
pub fn finding(vehicle: PlateKey, episode: &Episode<'_>, history: &History<'_>, book: &RuleBook) -> Option<Finding> {
    let convicted = episode.convicted_by()?;
    let (from, to) = (episode.from()?, episode.to()?);
    let pollutant = episode.pollutant;
    let others = other_records(episode, history);
    let readings: Vec<Value> = episode
        .readings
        .iter()
        .map(|reading| described(reading, pollutant, others.get(&(reading.station, reading.record))))
        .collect();
    let rule = book.limits.episode();
    let why = episode.needs_review();
    let review =
        if why.is_empty() { Review::NotNeeded } else { Review::Needed(why.into_iter().map(Into::into).collect()) };
    let key = format!("{vehicle}/{}/{}/{}", pollutant.name(), convicted.station, convicted.record);
    let mut content = json!({
        "rule": CONSECUTIVE_RULE,
        "pollutant": pollutant,
        "unit": pollutant.unit(),
        "from": from,
        "to": to,
        "readings": readings,
        "convicted_by": { "station_id": convicted.station, "record_id": convicted.record },
        "tests": rule.tests,
        "months": rule.months,
        "standard": &*rule.citation.standard,
        "clause": &*rule.citation.clause,
        "source": &*rule.citation.source,
        "confidence": rule.citation.confidence,
        "limits_version": book.limits.version(),
    });
    // Left out where it is not so, and where there is none, so that an episode that neither touches reads as ever.
    if episode.is_screening() {
        content["screening"] = true.into();
    }
    for (name, recheck) in [("recheck_before", episode.recheck_before), ("recheck_after", episode.recheck_after)] {
        if let Some(recheck) = recheck {
            content[name] = json!({
                "station": recheck.station,
                "report_no": recheck.report_no,
                "inspected_at": recheck.at,
                "time_known": !recheck.whole_day,
            });
            if recheck.undecided {
                content[name]["undecided"] = true.into();
            }
        }
    }
    Some(Finding {
        id: finding_id(CONSECUTIVE_RULE, &key),
        rule: CONSECUTIVE_RULE.into(),
        subject: Subject::Vehicle(vehicle),
        from,
        to,
        review,
        intercept: false,
        content,
        evidence: Vec::new(),
    })
}

/// Which records are of the same passage as a reading of the episode; passages of one record are left out.
type OtherRecords<'a> = HashMap<(&'a str, &'a str), Vec<&'a str>>;

fn other_records<'a>(episode: &Episode<'a>, history: &History<'a>) -> OtherRecords<'a> {
    let listed: HashSet<_> = episode.readings.iter().map(|reading| (reading.station, reading.record)).collect();
    let mut others = OtherRecords::new();
    for passage in history.passages.iter().filter(|passage| passage.len() > 1) {
        let Some(stands) = passage.iter().find(|r| listed.contains(&(r.station, r.record))) else { continue };
        let of_passage = passage.iter().map(|reading| reading.record).filter(|record| *record != stands.record);
        others.insert((stands.station, stands.record), of_passage.collect());
    }
    others
}

fn described(reading: &Reading<'_>, pollutant: Pollutant, others: Option<&Vec<&str>>) -> Value {
    let measured = match tested(reading, pollutant) {
        Tested::No => None,
        Tested::Under(measured) | Tested::Over(measured) => measured,
    };
    let mut value = json!({
        "station_id": reading.station,
        "record_id": reading.record,
        "passed_at": reading.passed_at,
        "value": measured.map(|measured| exact(measured.value)),
        "limit": measured.map(|measured| exact(measured.limit)),
    });
    if let Some(others) = others {
        // The earliest valid test stands for its passage; see the module.
        value["stands_for"] = json!({ "why": "earliest_valid_test_of_the_passage", "other_records": others });
    }
    value
}

#[cfg(test)]
mod tests;
