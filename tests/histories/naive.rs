//! The rule of consecutive tests a second time, written from its text: no code of the service, no calendar of a library,
//! no cleverness. Slow where it may be.
//!
//! "Per vehicle and pollutant, consecutive valid tests over the limit within six calendar months (31 August + 6 months
//! included), one passage seen by two lanes or resent counts once, an invalid test neither breaks nor extends, a passed
//! recheck resets." A report of a day without a time may be of any time of that day; NO only screens.

use std::collections::BTreeSet;

/// A test of one pollutant by one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Invalid, or not measured.
    None,
    Pass,
    Over,
}

/// One reading.
#[derive(Clone, Debug)]
pub struct Seen {
    pub vehicle: usize,
    pub station: String,
    pub record: String,
    /// Seconds of Unix time.
    pub second: i64,
    pub opacity: Test,
    pub no: Test,
    /// The camera was sure of the plate.
    pub sure: bool,
}

/// A recheck that was passed.
#[derive(Clone, Debug)]
pub struct Recheck {
    pub vehicle: usize,
    pub report: String,
    /// Of a report that names the day alone any second of that day in China; then its last one.
    pub second: i64,
    pub whole_day: bool,
}

/// What should be in force, and what is: told apart by nothing but what it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    Over {
        vehicle: usize,
        reading: (String, String),
        second: i64,
        review: bool,
    },
    Episode {
        vehicle: usize,
        pollutant: &'static str,
        readings: Vec<(String, String)>,
        convicted_by: (String, String),
        from: i64,
        to: i64,
        review: bool,
        recheck_before: Option<String>,
        recheck_after: Option<String>,
    },
}

/// Two records of one vehicle at one station closer than this are one passage.
const SAME_PASSAGE: i64 = 60;

type Of = fn(&Seen) -> Test;

const POLLUTANTS: [(&str, Of); 2] = [("opacity", |seen| seen.opacity), ("no", |seen| seen.no)];

/// Everything that should be in force once all of this is known.
pub fn facts(readings: &[Seen], rechecks: &[Recheck]) -> BTreeSet<Fact> {
    let mut facts = BTreeSet::new();
    for vehicle in readings.iter().map(|seen| seen.vehicle).collect::<BTreeSet<_>>() {
        let mut known: Vec<&Seen> = Vec::new();
        for seen in readings.iter().filter(|seen| seen.vehicle == vehicle) {
            if !known.iter().any(|other| key(other) == key(seen)) {
                known.push(seen);
            }
        }
        let passages = passages(&known);
        for (pollutant, of) in POLLUTANTS {
            let tests = tests(&passages, of);
            for test in tests.iter().filter(|test| of(test) == Test::Over) {
                // NO only screens: by itself it is for a person to look at.
                let review = !test.sure || test.opacity != Test::Over;
                facts.insert(Fact::Over { vehicle, reading: key(test), second: test.second, review });
            }
            let rechecks: Vec<&Recheck> = rechecks.iter().filter(|recheck| recheck.vehicle == vehicle).collect();
            facts.extend(episodes(vehicle, pollutant, of, &tests, &rechecks));
        }
    }
    facts
}

fn key(seen: &Seen) -> (String, String) {
    (seen.station.clone(), seen.record.clone())
}

/// Puts readings together as long as any two are too close.
fn passages<'a>(known: &[&'a Seen]) -> Vec<Vec<&'a Seen>> {
    let mut passages: Vec<Vec<&Seen>> = known.iter().map(|seen| vec![*seen]).collect();
    loop {
        let mut joined = None;
        for a in 0..passages.len() {
            for b in a + 1..passages.len() {
                let close = passages[a].iter().any(|x| {
                    passages[b].iter().any(|y| x.station == y.station && (x.second - y.second).abs() < SAME_PASSAGE)
                });
                if close {
                    joined = Some((a, b));
                }
            }
        }
        let Some((a, b)) = joined else { return passages };
        let other = passages.remove(b);
        passages[a].extend(other);
    }
}

/// One test a passage: the earliest valid one. In the order of time.
fn tests<'a>(passages: &[Vec<&'a Seen>], of: Of) -> Vec<&'a Seen> {
    let mut tests = Vec::new();
    for passage in passages {
        let mut first: Option<&Seen> = None;
        for seen in passage.iter().filter(|seen| of(seen) != Test::None) {
            if first.is_none_or(|first| (seen.second, &seen.record) < (first.second, &first.record)) {
                first = Some(seen);
            }
        }
        tests.extend(first);
    }
    tests.sort_by_key(|seen| (seen.second, seen.station.clone(), seen.record.clone()));
    tests
}

fn episodes(vehicle: usize, pollutant: &'static str, of: Of, tests: &[&Seen], rechecks: &[&Recheck]) -> Vec<Fact> {
    let convicts = |later: usize| {
        if later == 0 {
            return false;
        }
        let (a, b) = (tests[later - 1], tests[later]);
        let reset = rechecks.iter().any(|recheck| match recheck.whole_day {
            false => a.second <= recheck.second && recheck.second < b.second,
            // No test of the day counts with one before or after it.
            true => {
                let day = china_day(recheck.second);
                china_day(a.second) <= day && day <= china_day(b.second)
            }
        });
        of(a) == Test::Over && of(b) == Test::Over && !reset && within_six_months(a.second, b.second)
    };
    let mut found = Vec::new();
    let mut later = 1;
    while later < tests.len() {
        if !convicts(later) {
            later += 1;
            continue;
        }
        let convicted_by = tests[later];
        let mut listed = vec![tests[later - 1]];
        while later < tests.len() && convicts(later) {
            listed.push(tests[later]);
            later += 1;
        }
        let (from, to) = (listed[0].second, listed[listed.len() - 1].second);
        let before =
            rechecks.iter().filter(|recheck| recheck.second < from).max_by_key(|r| (r.second, r.report.clone()));
        let after = rechecks.iter().filter(|recheck| recheck.second >= to).min_by_key(|r| (r.second, r.report.clone()));
        found.push(Fact::Episode {
            vehicle,
            pollutant,
            readings: listed.iter().map(|seen| key(seen)).collect(),
            convicted_by: key(convicted_by),
            from,
            to,
            review: pollutant == "no" || listed.iter().any(|seen| !seen.sure),
            recheck_before: before.map(|recheck| recheck.report.clone()),
            recheck_after: after.map(|recheck| recheck.report.clone()),
        });
    }
    found
}

/// Whether the day of `later` in China is not after the same day six months on; where that month is too short, its last.
fn within_six_months(earlier: i64, later: i64) -> bool {
    let (mut year, mut month, day) = civil(china_day(earlier));
    month += 6;
    if month > 12 {
        (year, month) = (year + 1, month - 12);
    }
    let end = (year, month, day.min(days_of(year, month)));
    civil(china_day(later)) <= end
}

/// Days since 1970-01-01 in China.
pub fn china_day(second: i64) -> i64 {
    (second + 8 * 3_600).div_euclid(86_400)
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Year, month and day of a day since 1970-01-01, counted off year by year and month by month.
pub fn civil(mut day: i64) -> (i64, i64, i64) {
    let mut year = 1970;
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    while day >= days_of(year, month) {
        day -= days_of(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

/// Noon in China of the latest 31 August that lies so many days before this second.
pub fn noon_of_august(now: i64, days_ago: i64) -> i64 {
    let mut day = china_day(now) - days_ago;
    loop {
        let (_, month, of_month) = civil(day);
        if (month, of_month) == (8, 31) {
            return day * 86_400 + 4 * 3_600;
        }
        day -= 1;
    }
}

#[test]
fn the_naive_calendar_knows_its_months() {
    let noon = |day: i64| day * 86_400 + 4 * 3_600;
    // 2025-08-31 is day 20 331.
    assert_eq!(civil(20_331), (2025, 8, 31));
    assert_eq!(civil(20_331 + 181), (2026, 2, 28));
    assert!(within_six_months(noon(20_331), noon(20_331 + 181)));
    assert!(!within_six_months(noon(20_331), noon(20_331 + 182)));
    assert_eq!(civil(0), (1970, 1, 1));
    assert_eq!(civil(11_016), (2000, 2, 29));
}
