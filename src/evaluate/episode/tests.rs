use chrono::Months;
use proptest::prelude::*;

use super::*;
use crate::reading::{Plate, PlateColor};

const RULE: Rule = Rule { tests: 2, months: 6, same_passage_seconds: 60 };
const OVER: Tested = Tested::Over(Some(Measured { value: 41.2, limit: 30.0, screening: false }));
const UNDER: Tested = Tested::Under(None);

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("valid")
}

fn opacity<'a>(station: &'a str, record: &'a str, passed_at: Timestamp, tested: Tested) -> Reading<'a> {
    let mut all = [Tested::No; Pollutant::COUNT];
    all[Pollutant::Opacity as usize] = tested;
    Reading { station, record, passed_at, tested: all, needs_review: false, carrier: Carrier::default() }
}

/// Noon of a day in China at one station.
fn on<'a>(record: &'a str, day: &str, tested: Tested) -> Reading<'a> {
    opacity("s", record, at(&format!("{day}T12:00:00+08:00")), tested)
}

fn records<'a>(readings: &[Reading<'a>]) -> Vec<Vec<&'a str>> {
    history(readings, &[], RULE).episodes.iter().map(|e| e.readings.iter().map(|r| r.record).collect()).collect()
}

#[test]
fn two_over_within_six_months_convict() {
    assert_eq!(records(&[on("1", "2026-01-10", OVER), on("2", "2026-03-10", OVER)]), [["1", "2"]]);
    assert!(records(&[on("1", "2026-01-10", OVER)]).is_empty());
}

#[test]
fn a_pass_between_breaks_and_an_invalid_test_does_not() {
    let (first, last) = (on("1", "2026-01-10", OVER), on("3", "2026-03-10", OVER));
    assert!(records(&[first, on("2", "2026-02-10", UNDER), last]).is_empty());
    assert_eq!(records(&[first, on("2", "2026-02-10", Tested::No), last]), [["1", "3"]]);
}

#[test]
fn months_are_calendar_months_in_china() {
    let pair = |first: &str, last: &str| !records(&[on("1", first, OVER), on("2", last, OVER)]).is_empty();
    assert!(pair("2025-08-31", "2026-02-28"));
    assert!(!pair("2025-08-31", "2026-03-01"));
    assert!(pair("2027-08-31", "2028-02-29"));
    assert!(!pair("2027-08-31", "2028-03-01"));
    assert!(pair("2026-01-10", "2026-07-10"));
    assert!(!pair("2026-01-10", "2026-07-11"));
    // The last day counts whole, and it is a day in China: 15:59 UTC is the end of it.
    let edge = |last| {
        let first = opacity("s", "1", at("2026-01-10T23:00:00+08:00"), OVER);
        !records(&[first, opacity("s", "2", at(last), OVER)]).is_empty()
    };
    assert!(edge("2026-07-10T15:59:59Z"));
    assert!(!edge("2026-07-10T16:00:00Z"));
}

#[test]
fn further_tests_extend_and_the_name_stays() {
    let plate = Plate::parse("鲁C12345").expect("legal");
    let key = PlateKey::new(plate, PlateColor::Yellow);
    let book = crate::judge::tests::book();
    let of = |readings: &[Reading<'_>]| -> Vec<Finding> {
        let history = history(readings, &[], RULE);
        history.episodes.iter().filter_map(|episode| finding(key, episode, &history, &book)).collect()
    };
    let mut readings = vec![on("1", "2026-01-10", OVER), on("2", "2026-03-10", OVER)];
    let short = of(&readings);
    readings.push(on("3", "2026-08-10", OVER));
    let long = of(&readings);
    assert_eq!((short.len(), long.len()), (1, 1));
    assert_eq!(short[0].id, long[0].id, "the conviction is the same");
    assert_eq!(long[0].content["readings"].as_array().map(Vec::len), Some(3));
    assert_eq!(long[0].content["readings"][0]["value"], 41.2);
    readings.push(on("0", "2026-01-01", OVER));
    assert_ne!(of(&readings)[0].id, long[0].id, "an earlier test convicts earlier");
    readings.push(on("4", "2027-03-01", OVER));
    readings.push(on("5", "2027-03-02", OVER));
    let two = of(&readings);
    assert_eq!(two.len(), 2, "a test too late begins anew");
    readings[0].needs_review = true;
    assert_eq!(of(&readings)[0].review, Review::Needed(vec!["a_reading_needs_review".into()]));
    assert_eq!(of(&readings)[1].review, Review::NotNeeded);
}

#[test]
fn one_drive_past_is_one_test() {
    let second = |record, seconds| opacity("s", record, at("2026-01-10T12:00:00Z").plus_seconds(seconds), OVER);
    assert!(records(&[second("1", 0), second("2", 59)]).is_empty());
    assert_eq!(records(&[second("1", 0), second("2", 60)]), [["1", "2"]]);
    assert!(records(&[second("1", 0), second("2", 50), second("3", 100)]).is_empty(), "a chain is one passage");
    let elsewhere = opacity("other", "2", at("2026-01-10T12:00:30Z"), OVER);
    assert_eq!(records(&[second("1", 0), elsewhere]), [["1", "2"]], "two stations are two passages");
}

#[test]
fn the_earliest_valid_test_stands_for_the_passage() {
    let second =
        |record, seconds, tested| opacity("s", record, at("2026-01-10T12:00:00Z").plus_seconds(seconds), tested);
    let later = on("9", "2026-02-10", OVER);
    assert_eq!(records(&[second("1", 0, Tested::No), second("2", 5, OVER), later]), [["2", "9"]]);
    assert_eq!(records(&[second("1", 0, OVER), second("2", 5, UNDER), later]), [["1", "9"]]);
    assert!(records(&[second("1", 0, UNDER), second("2", 5, OVER), later]).is_empty());
}

#[test]
fn pollutants_are_apart() {
    let mut no = on("2", "2026-02-10", Tested::No);
    no.tested[Pollutant::No as usize] = Tested::Over(Some(Measured { value: 1600.0, limit: 1500.0, screening: true }));
    assert!(records(&[on("1", "2026-01-10", OVER), no]).is_empty());
}

fn recheck<'a>(report_no: &'a str, at_time: &str) -> Recheck<'a> {
    Recheck { at: at(at_time), station: "i-1", report_no, whole_day: false, undecided: false }
}

#[test]
fn a_recheck_between_two_tests_resets_and_episodes_name_it() {
    let tests = [
        on("1", "2026-01-10", OVER),
        on("2", "2026-02-10", OVER),
        on("3", "2026-03-10", OVER),
        on("4", "2026-04-10", OVER),
    ];
    let between = recheck("r-2", "2026-02-20T09:00:00+08:00");
    let found = history(&tests, &[between], RULE).episodes;
    let records: Vec<Vec<&str>> = found.iter().map(|e| e.readings.iter().map(|r| r.record).collect()).collect();
    assert_eq!(records, [["1", "2"], ["3", "4"]]);
    assert_eq!((found[0].recheck_before, found[0].recheck_after), (None, Some(between)));
    assert_eq!((found[1].recheck_before, found[1].recheck_after), (Some(between), None));
    assert!(history(&tests[..2], &[recheck("r-1", "2026-01-20T09:00:00+08:00")], RULE).episodes.is_empty());
}

#[test]
fn a_recheck_at_the_moment_of_a_test_is_behind_it() {
    let tests = [on("1", "2026-01-10", OVER), on("2", "2026-02-10", OVER)];
    let episodes = |time| history(&tests, &[recheck("r", time)], RULE).episodes.len();
    assert_eq!(episodes("2026-01-10T12:00:00+08:00"), 0, "at the first test: resets it");
    assert_eq!(episodes("2026-01-10T11:59:59+08:00"), 1);
    assert_eq!(episodes("2026-02-10T11:59:59+08:00"), 0);
    assert_eq!(episodes("2026-02-10T12:00:00+08:00"), 1, "at the last test: behind it");
}

/// A report that names the day alone, of that day in China.
fn day_recheck<'a>(report_no: &'a str, day: &str) -> Recheck<'a> {
    let end = at(&format!("{day}T23:59:59.999999+08:00"));
    Recheck { at: end, station: "i-1", report_no, whole_day: true, undecided: false }
}

#[test]
fn a_recheck_of_a_day_may_have_been_at_any_time_of_it() {
    let tests = [on("1", "2026-01-10", OVER), on("2", "2026-02-10", OVER)];
    let episodes = |day| history(&tests, &[day_recheck("r", day)], RULE).episodes.len();
    assert_eq!(episodes("2026-02-10"), 0, "the day of the second test: perhaps in the morning");
    assert_eq!(episodes("2026-01-10"), 0, "the day of the first: perhaps in the evening");
    assert_eq!((episodes("2026-01-09"), episodes("2026-02-11")), (1, 1));
    let third = on("3", "2026-03-10", OVER);
    let all = [tests[0], tests[1], third];
    assert!(
        history(&all, &[day_recheck("r", "2026-02-10")], RULE).episodes.is_empty(),
        "a test of that day joins nothing"
    );
    // A day in China ends at 16:00 UTC.
    let of_day = |first: &str, last: &str| {
        let tests = [opacity("s", "1", at(first), OVER), opacity("s", "2", at(last), OVER)];
        history(&tests, &[day_recheck("r", "2026-02-10")], RULE).episodes.len()
    };
    assert_eq!(of_day("2026-01-10T00:00:00Z", "2026-02-09T15:59:59.999999Z"), 1);
    assert_eq!(of_day("2026-01-10T00:00:00Z", "2026-02-09T16:00:00Z"), 0, "at its first moment, and still of that day");
    assert_eq!(of_day("2026-01-10T00:00:00Z", "2026-02-09T16:00:00.000001Z"), 0);
    assert_eq!(of_day("2026-02-10T15:59:59.999999Z", "2026-03-10T00:00:00Z"), 0);
    assert_eq!(of_day("2026-02-10T16:00:00Z", "2026-03-10T00:00:00Z"), 1);
    let named = history(&tests, &[day_recheck("b", "2026-01-09"), day_recheck("a", "2026-02-11")], RULE).episodes;
    let report = |recheck: Option<Recheck<'_>>| recheck.map(|recheck| recheck.report_no.to_owned());
    let names = (report(named[0].recheck_before), report(named[0].recheck_after));
    assert_eq!(names, (Some("b".into()), Some("a".into())));
}

#[test]
fn tests_of_two_vehicles_under_one_plate_make_no_series() {
    let of = |registered: [&str; 3]| {
        let days = ["2026-01-10", "2026-02-10", "2026-03-10"];
        let reading = |(record, (day, registered)): (&'static str, (&str, &str))| {
            let registered_on = Some(registered.parse::<chrono::NaiveDate>().expect("a day").to_epoch_days());
            let carrier =
                Carrier::of(&crate::vehicle::facts::Vehicle { registered_on, ..crate::judge::tests::truck() });
            Reading { carrier, ..on(record, day, OVER) }
        };
        let readings: Vec<_> = ["1", "2", "3"].into_iter().zip(days.into_iter().zip(registered)).map(reading).collect();
        let found = records(&readings);
        found.into_iter().map(|records| records.concat()).collect::<Vec<_>>()
    };
    assert_eq!(of(["2016-05-01"; 3]), ["123"]);
    assert_eq!(of(["2016-05-01", "2026-02-01", "2026-02-01"]), ["23"]);
    assert_eq!(of(["2026-02-10"; 3]), ["23"], "registered on the day of the second test");
    assert_eq!(of(["2026-01-10"; 3]), ["123"]);
    assert_eq!(of(["2016-05-01", "2016-05-01", "2017-05-01"]), ["12"]);
}

#[test]
fn a_pollutant_that_screens_convicts_nobody_without_a_person() {
    let key = PlateKey::new(Plate::parse("鲁C12345").expect("legal"), PlateColor::Yellow);
    let book = crate::judge::tests::book();
    let of = |screening: [bool; 2]| {
        let tests = [("1", "2026-01-10", screening[0]), ("2", "2026-02-10", screening[1])];
        let readings = tests.map(|(record, day, screening)| {
            on(record, day, Tested::Over(Some(Measured { value: 1600.0, limit: 1500.0, screening })))
        });
        let history = history(&readings, &[], RULE);
        finding(key, &history.episodes[0], &history, &book).expect("an episode")
    };
    let screened = of([true, true]);
    assert_eq!(screened.review, Review::Needed(vec![SCREENING_ONLY.into()]));
    assert_eq!(screened.content["screening"], true);
    assert_eq!(of([false, true]).review, screened.review, "one such test is enough for a doubt");
    let plain = of([false, false]);
    assert_eq!((plain.review, plain.content.get("screening")), (Review::NotNeeded, None));
}

#[test]
fn invalid_readings_hold_a_passage_together() {
    let second =
        |record, seconds, tested| opacity("s", record, at("2026-01-10T12:00:00Z").plus_seconds(seconds), tested);
    let (first, last) = (second("1", 0, OVER), second("3", 100, OVER));
    assert_eq!(records(&[first, last]), [["1", "3"]]);
    assert!(records(&[first, second("2", 50, Tested::No), last]).is_empty(), "it had not left");
}

#[test]
fn a_finding_shows_what_is_known_and_whom_a_reading_stands_for() {
    let key = PlateKey::new(Plate::parse("鲁C12345").expect("legal"), PlateColor::Yellow);
    let book = crate::judge::tests::book();
    let second =
        |record, seconds, tested| opacity("s", record, at("2026-01-10T12:00:00Z").plus_seconds(seconds), tested);
    let readings = [second("1", 0, OVER), second("1b", 5, UNDER), on("2", "2026-02-10", Tested::Over(None))];
    let of = |rechecks: &[Recheck<'_>]| {
        let history = history(&readings, rechecks, RULE);
        finding(key, &history.episodes[0], &history, &book).expect("an episode").content
    };
    let content = of(&[]);
    assert_eq!(content["readings"][0]["stands_for"]["other_records"], json!(["1b"]));
    assert_eq!(content["readings"][1].get("stands_for"), None);
    assert_eq!((&content["readings"][0]["value"], &content["readings"][1]["value"]), (&json!(41.2), &Value::Null));
    assert_eq!((content.get("recheck_before"), content.get("recheck_after")), (None, None));
    let named = &of(&[recheck("r-9", "2026-05-01T09:00:00+08:00")])["recheck_after"];
    assert_eq!((&named["report_no"], &named["time_known"]), (&json!("r-9"), &json!(true)));
}

#[test]
fn three_tests_where_the_rule_asks_for_three() {
    let rule = Rule { tests: 3, ..RULE };
    let day = |record, day: &'static str| on(record, day, OVER);
    let found = |readings: &[Reading<'_>]| history(readings, &[], rule).episodes.len();
    assert_eq!(found(&[day("1", "2026-01-10"), day("2", "2026-02-10")]), 0);
    assert_eq!(found(&[day("1", "2026-01-10"), day("2", "2026-02-10"), day("3", "2026-07-10")]), 1);
    assert_eq!(found(&[day("1", "2026-01-10"), day("2", "2026-02-10"), day("3", "2026-07-11")]), 0);
}

/// The same a second time, by definition and without any cleverness: record ids of every episode of opacity, each with
/// the test that convicted.
fn naive(readings: &[Reading<'_>], rechecks: &[Recheck<'_>], rule: Rule) -> Vec<(Vec<String>, String)> {
    let mut unique: Vec<Reading<'_>> = Vec::new();
    for reading in readings {
        if !unique.iter().any(|known| known.record == reading.record && known.station == reading.station) {
            unique.push(*reading);
        }
    }
    // Passages: merge labels of near readings until nothing changes.
    let mut label: Vec<usize> = (0..unique.len()).collect();
    loop {
        let before = label.clone();
        for a in 0..unique.len() {
            for b in 0..unique.len() {
                let apart = unique[a].passed_at.micros_since(unique[b].passed_at).abs();
                if unique[a].station == unique[b].station && apart < i64::from(rule.same_passage_seconds) * 1_000_000 {
                    label[a] = label[a].min(label[b]);
                    label[b] = label[a];
                }
            }
        }
        if label == before {
            break;
        }
    }
    let mut tests: Vec<Reading<'_>> = Vec::new();
    for passage in 0..unique.len() {
        let earliest = (0..unique.len())
            .filter(|&i| label[i] == passage && unique[i].tested[0] != Tested::No)
            .map(|i| unique[i])
            .min_by_key(|r| (r.passed_at, r.record));
        tests.extend(earliest);
    }
    tests.sort_by_key(|r| (r.passed_at, r.station, r.record));
    let over = |i: usize| matches!(tests[i].tested[0], Tested::Over { .. });
    // Some moment at which the recheck may have been is not before the test before this one, and before this one.
    let is_reset = |i: usize| {
        let (earlier, later) = (tests[i - 1].passed_at, tests[i].passed_at);
        rechecks.iter().any(|recheck| match recheck.whole_day {
            false => earlier <= recheck.at && recheck.at < later,
            // No test of the day counts with one before or after it.
            true => {
                let day = recheck.at.china_day();
                earlier.china_day() <= day && day <= later.china_day()
            }
        })
    };
    let convicts = |i: usize| {
        i + 1 >= rule.tests && (i + 1 - rule.tests..=i).all(over) && !(i + 2 - rule.tests..=i).any(is_reset) && {
            let end = tests[i + 1 - rule.tests].passed_at.china_day() + Months::new(rule.months);
            tests[i].passed_at.china_day() <= end
        }
    };
    let mut found = Vec::new();
    for i in 0..tests.len() {
        if convicts(i) && (i == 0 || !convicts(i - 1)) {
            let mut end = i;
            while end + 1 < tests.len() && convicts(end + 1) {
                end += 1;
            }
            let names = tests[i + 1 - rule.tests..=end].iter().map(|r| r.record.to_owned()).collect();
            found.push((names, tests[i].record.to_owned()));
        }
    }
    found
}

#[derive(Clone, Debug)]
struct Seed {
    station: usize,
    days: i64,
    seconds: i64,
    tested: Tested,
}

const STATIONS: [&str; 2] = ["370306-01", "370306-02"];
/// Record ids in an order that is not that of the input.
const RECORDS: [&str; 14] = ["g", "c", "m", "a", "n", "e", "b", "k", "d", "l", "f", "j", "h", "i"];

fn seeds() -> impl Strategy<Value = Vec<Seed>> {
    let tested = prop_oneof![5 => Just(OVER), 1 => Just(UNDER), 1 => Just(Tested::No)];
    // Few days far apart, and few seconds, so that passages, months and ties all happen.
    let days = prop_oneof![Just(0), Just(1), Just(90), Just(181), Just(182), Just(184), Just(270), 0..400_i64];
    let seconds = prop_oneof![Just(0), Just(30), Just(59), Just(60), 0..300_i64];
    prop::collection::vec((0..STATIONS.len(), days, seconds, tested), 0..RECORDS.len()).prop_map(|seeds| {
        seeds.into_iter().map(|(station, days, seconds, tested)| Seed { station, days, seconds, tested }).collect()
    })
}

fn readings(seeds: &[Seed]) -> Vec<Reading<'static>> {
    let start = at("2025-08-31T12:00:00+08:00");
    seeds
        .iter()
        .zip(RECORDS)
        .map(|(seed, record)| {
            let passed_at = start.plus_seconds(seed.days * 86_400 + seed.seconds);
            opacity(STATIONS[seed.station], record, passed_at, seed.tested)
        })
        .collect()
}

/// Rechecks about the tests: of a moment or of a day, in any order.
fn rechecks() -> impl Strategy<Value = Vec<Recheck<'static>>> {
    let days = prop_oneof![Just(0), Just(1), Just(90), Just(183), 0..400_i64];
    // Midnight in China lies twelve hours from the noon that stories begin at.
    let seconds = prop_oneof![Just(0), Just(30), Just(-43_200), -43_200..43_200_i64];
    prop::collection::vec((days, seconds, any::<bool>()), 0..3).prop_map(|seeds| {
        let start = at("2025-08-31T12:00:00+08:00");
        let one = |((days, seconds, whole_day), report_no): ((i64, i64, bool), &'static str)| {
            let moment = start.plus_seconds(days * 86_400 + seconds);
            let end = Timestamp::from_micros(moment.start_of_china_day().plus_seconds(86_400).micros() - 1);
            let at = if whole_day { end } else { moment };
            Recheck { at, station: "i-1", report_no, whole_day, undecided: false }
        };
        seeds.into_iter().zip(["r-1", "r-2", "r-3"]).map(one).collect()
    })
}

proptest! {
    #[test]
    fn agrees_with_the_naive_reading(seeds in seeds(), rechecks in rechecks(), tests in 2..4_usize) {
        let rule = Rule { tests, ..RULE };
        let readings = readings(&seeds);
        let found: Vec<_> = history(&readings, &rechecks, rule)
            .episodes
            .iter()
            .map(|e| {
                let names: Vec<_> = e.readings.iter().map(|r| r.record.to_owned()).collect();
                (names, e.convicted_by().expect("an episode has one").record.to_owned())
            })
            .collect();
        prop_assert_eq!(found, naive(&readings, &rechecks, rule));
    }

    /// What is not known of a report accuses nobody: with the day alone there is no conviction that some moment of it
    /// would not bear out.
    #[test]
    fn a_day_convicts_nobody_whom_a_moment_of_it_acquits(seeds in seeds(), rechecks in rechecks(), second in 0..86_400_i64) {
        let readings = readings(&seeds);
        let convicted = |rechecks: &[Recheck<'static>]| -> Vec<Vec<&'static str>> {
            let found = history(&readings, rechecks, RULE).episodes;
            found.iter().flat_map(|e| e.readings.windows(2)).map(|pair| pair.iter().map(|r| r.record).collect()).collect()
        };
        let moments: Vec<_> = rechecks
            .iter()
            .map(|recheck| match recheck.whole_day {
                true => Recheck { at: recheck.earliest().plus_seconds(second), whole_day: false, ..*recheck },
                false => *recheck,
            })
            .collect();
        let of_moments = convicted(&moments);
        prop_assert!(convicted(&rechecks).iter().all(|pair| of_moments.contains(pair)));
    }


    #[test]
    fn order_and_repetition_change_nothing(
        rechecks in rechecks(),
        (straight, shuffled) in seeds().prop_map(|s| readings(&s)).prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut again = shuffled;
        if !again.is_empty() {
            again.extend(repeated.iter().map(|place| straight[place.index(straight.len())]));
        }
        let backwards: Vec<_> = rechecks.iter().rev().copied().collect();
        prop_assert_eq!(history(&straight, &rechecks, RULE), history(&again, &backwards, RULE));
    }

    #[test]
    fn every_reading_is_in_exactly_one_passage(seeds in seeds()) {
        let readings = readings(&seeds);
        let mut names: Vec<_> = history(&readings, &[], RULE).passages.iter().flatten().map(|r| r.record).collect();
        names.sort_unstable();
        let mut all: Vec<_> = readings.iter().map(|r| r.record).collect();
        all.sort_unstable();
        prop_assert_eq!(names, all);
    }
}
