use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    lines::MAX_LINE_BYTES,
    work::{Judge, Summary, judge_lines},
    *,
};
use crate::{
    evaluate::recheck::Passed,
    judge::{
        limits::InspectionKind,
        tests::{book, matched, stranger, truck},
    },
    mapping::{Mapping, Target},
    reading::{Plate, PlateColor, PlateKey, Timestamp},
    vehicle::{facts::VehicleMatch, import::inspections::InspectionRow, knowledge::Knowledge},
};

mod rows;

const SERIES: &str = include_str!("../../../tests/fixtures/passages/series.jsonl");
const ORDINARY: &str = include_str!("../../../tests/fixtures/passages/ordinary.json");

const RS_CONSUMER: &str = include_str!("../../../tests/fixtures/mappings/rs-consumer.json");
const RS_CONSUMER_NATIVE: &str = include_str!("../../../tests/fixtures/mappings/rs-consumer.native.json");

const ONE: NonZero<usize> = NonZero::<usize>::MIN;

fn all(
    input: &[u8],
    output: &mut Vec<u8>,
    threads: NonZero<usize>,
    match_vehicle: impl Fn(PlateKey, Timestamp) -> VehicleMatch + Sync,
    mapping: Option<&Mapping>,
    rechecks: &HashMap<PlateKey, Vec<Passed>>,
) -> Summary {
    let (book, known) = (book(), Knowledge::default());
    let judge = Judge { book: &book, match_vehicle, known: &known, mapping, rechecks };
    let mut lines = 0;
    let summary = judge_lines(input, output, &judge, threads, |more| lines += more).expect("memory does not fail");
    assert_eq!(lines, input.split_inclusive(|&byte| byte == b'\n').count() as u64, "every line is told");
    summary
}

fn judged(input: &[u8]) -> (Vec<Value>, Summary) {
    judged_by(input, ONE)
}

fn judged_by(input: &[u8], threads: NonZero<usize>) -> (Vec<Value>, Summary) {
    let mut output = Vec::new();
    let listed = |key: PlateKey, _| match key.to_string().as_str() {
        "鲁C12345:yellow" => matched(truck(), &["retire_n3"]),
        "鲁C54321:yellow" => matched(truck(), &[]),
        _ => stranger(),
    };
    let summary = all(input, &mut output, threads, listed, None, &HashMap::new());
    let lines = output.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    (lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect(), summary)
}

#[test]
fn lines_keep_their_order_and_a_bad_one_its_place() {
    let (lines, summary) = judged(SERIES.as_bytes());
    assert_eq!(summary, Summary { judged: 6, refused: 2 });
    let names: Vec<_> = lines
        .iter()
        .map(|line| match &line["error"]["code"] {
            Value::String(code) => format!("{code}@{}", line["line"]),
            _ => line["record_id"].as_str().expect("a verdict has one").to_owned(),
        })
        .collect();
    assert_eq!(names, ["r-9", "missing_field@2", "r-1", "r-5", "not_json@6", "r-7", "a-1", "a-2"]);
}

/// Editors of some systems put a byte order mark before the first line, and only there.
#[test]
fn a_byte_order_mark_before_the_first_line_is_passed_over() {
    let marked = include_str!("../../../tests/fixtures/passages/bom.jsonl");
    assert!(marked.starts_with('\u{feff}'));
    let (lines, summary) = judged(marked.as_bytes());
    assert_eq!(summary, Summary { judged: 2, refused: 0 });
    assert_eq!(judged(marked.trim_start_matches('\u{feff}').as_bytes()).0, lines);
    let (lines, summary) = judged(format!("{marked}\n{marked}").as_bytes());
    assert_eq!(summary, Summary { judged: 3, refused: 1 });
    let told = lines.iter().find_map(|line| line["error"]["detail"].as_str()).expect("a refusal");
    assert!(told.contains("byte order mark"), "{told}");
    let (_, summary) = judged(format!("\u{feff}\r\n{}", marked.trim_start_matches('\u{feff}')).as_bytes());
    assert_eq!(summary, Summary { judged: 2, refused: 0 }, "an empty first line");
}

#[test]
fn episodes_are_those_of_the_whole_input_whatever_its_order() {
    let (lines, _) = judged(SERIES.as_bytes());
    let of = |record: &str| lines.iter().find(|line| line["record_id"] == record).expect("judged");
    for record in ["r-1", "r-9"] {
        let verdict = of(record);
        assert_eq!(verdict["episodes"][0]["readings"], json!(["r-1", "r-9"]), "{record}");
        assert_eq!(verdict["episodes"][0]["convicted_by"], "r-9");
        assert_eq!(verdict["rules"], json!(["HJ845.over", "HJ845.consecutive", "R2.listed_on_road"]));
    }
    for record in ["r-5", "r-7", "a-1", "a-2"] {
        assert_eq!(of(record)["episodes"], json!([]), "{record}");
    }
    let reversed: Vec<&str> = SERIES.lines().rev().collect();
    let (again, _) = judged(reversed.join("\n").as_bytes());
    let mut expected: Vec<String> = lines.iter().filter(|l| l["error"].is_null()).map(Value::to_string).collect();
    let mut found: Vec<String> = again.iter().filter(|l| l["error"].is_null()).map(Value::to_string).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn numbers_are_written_as_they_were_sent() {
    let mut output = Vec::new();
    let input = ORDINARY.replace("12.4", "41.2");
    let vehicle = |_, _| matched(truck(), &[]);
    let summary = all(input.as_bytes(), &mut output, ONE, vehicle, None, &HashMap::new());
    assert_eq!(summary.refused, 0);
    let text = String::from_utf8(output).expect("UTF-8");
    assert!(text.contains(r#""value":41.2,"unit":"%","limit":30.0,"over":true,"standard":"HJ 845-2017","clause":"5""#));
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn an_endless_line_is_refused_and_the_next_one_judged() {
    let mut input = vec![b' '; 2 * MAX_LINE_BYTES + 10];
    input.push(b'\n');
    input.extend_from_slice(ORDINARY.as_bytes());
    let (lines, summary) = judged(&input);
    assert_eq!(summary, Summary { judged: 1, refused: 1 });
    assert_eq!(lines[0]["error"]["code"], "too_large");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    /// Each passage has the same verdict, episodes included, whatever the order of the lines and the number of threads, and
    /// output stands in the order of the input.
    #[test]
    fn neither_order_nor_threads_change_a_verdict(
        passages in proptest::collection::vec((0..3_usize, 0..400_u32, 0..2_usize, 20..45_u32), 1..60),
        seed: u64,
        threads in 1..9_usize,
    ) {
        let plates = ["鲁C12345", "鲁C54321", "鲁C00000"];
        let start = Timestamp::parse_rfc3339("2025-01-01T08:00:00+08:00").expect("valid");
        let line = |(number, &(plate, days, lane, opacity)): (usize, &(usize, u32, usize, u32))| {
            let mut passage: Value = serde_json::from_str(ORDINARY).expect("JSON");
            passage["record_id"] = json!(format!("r-{number}"));
            passage["station_id"] = json!(format!("370306-0{lane}"));
            passage["plate"] = json!(plates[plate]);
            // Some pairs are seconds apart, so that lanes meet in one passage.
            passage["passed_at"] = json!(start.plus_seconds(i64::from(days) * 43_200 + number as i64 % 3 * 40));
            passage["opacity_pct"] = json!(opacity);
            passage.to_string()
        };
        let mut lines: Vec<String> = passages.iter().enumerate().map(line).collect();
        lines.insert(lines.len() / 2, "{\"no\": \"passage\"}".to_owned());
        let (expected, _) = judged(lines.join("\n").as_bytes());
        rand::seq::SliceRandom::shuffle(&mut lines[..], &mut <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed));
        let threads = NonZero::new(threads).expect("at least one");
        let (found, _) = judged_by(lines.join("\n").as_bytes(), threads);
        let record = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["record_id"].clone();
        proptest::prop_assert!(found.iter().map(|v| v["record_id"].clone()).eq(lines.iter().map(|line| record(line))));
        let sorted = |verdicts: &[Value]| {
            let mut texts: Vec<String> =
                verdicts.iter().filter(|v| v["error"].is_null()).map(Value::to_string).collect();
            texts.sort();
            texts
        };
        proptest::prop_assert_eq!(sorted(&found), sorted(&expected));
    }
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

#[test]
fn arguments() {
    <Command as clap::CommandFactory>::command().debug_assert();
    let given = ["judge", "--list", "scrapped=a.csv", "--list", "exempt=b.csv", "--limits", "l.toml", "in.jsonl"];
    let command = <Command as clap::Parser>::try_parse_from(given).expect("legal");
    assert_eq!(command.args.lists.len(), 2);
    assert_eq!(command.args.input, Path::new("in.jsonl"));
    assert_eq!("a=b=c".parse(), Ok(ListFile { name: "a".to_owned(), path: "b=c".into() }));
    assert!("scrapped".parse::<ListFile>().is_err());
}

/// The message and the exit code that go with it.
fn fails(words: &[&str]) -> String {
    let command = <Command as clap::Parser>::try_parse_from([&["judge"], words].concat()).expect("legal");
    let error = run(&command.args).expect_err("refused");
    assert!(error.is::<UsageError>(), "{error:#}");
    format!("{error:#}")
}

#[test]
fn what_is_not_there_is_named() {
    for words in [
        &["/nowhere.jsonl"][..],
        &["--limits", "/nowhere.toml"],
        &["--mapping", "nobody"],
        &["--vehicles", "/nowhere.csv"],
    ] {
        let told = fails(words);
        assert!(told.contains(words.last().expect("a word")), "{told}");
    }
}

#[test]
fn a_recheck_passed_between_two_tests_ends_the_series() {
    let mut output = Vec::new();
    let key = PlateKey::new(Plate::parse("鲁C12345").expect("legal"), PlateColor::Yellow);
    let at = |time: &str| Timestamp::parse_rfc3339(time).expect("valid");
    let convicted = |rechecks: &HashMap<PlateKey, Vec<Passed>>, output: &mut Vec<u8>| {
        output.clear();
        all(SERIES.as_bytes(), output, ONE, |_, _| matched(truck(), &[]), None, rechecks);
        String::from_utf8_lossy(output).contains("HJ845.consecutive")
    };
    assert!(convicted(&HashMap::new(), &mut output));
    let times: Vec<Timestamp> = SERIES
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| matches!(line["record_id"].as_str(), Some("r-1" | "r-9")))
        .map(|line| at(line["passed_at"].as_str().expect("a time")))
        .collect();
    let between = Timestamp::from_micros((times[0].micros() + times[1].micros()) / 2);
    let row = InspectionRow {
        station: "im-1".into(),
        report_no: "7".into(),
        key,
        inspected_at: between,
        whole_day: false,
        kind: InspectionKind::Recheck,
        passed: true,
    };
    let rechecks = HashMap::from([(key, vec![Passed::of(&row)])]);
    assert!(!convicted(&rechecks, &mut output));
}

/// A number that comes twice in a file, for two vehicles: whoever was rechecked, neither is convicted.
#[test]
fn rechecks_that_contradict_each_other_convict_neither_vehicle() {
    let file = |rows: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rechecks.csv");
        let columns = "plate,plate_color,station_id,inspected_at,kind,result,report_no";
        std::fs::write(&path, format!("{columns}\n{rows}")).expect("written");
        let words = ["judge", "--inspections", path.to_str().expect("a name")];
        let command = <Command as clap::Parser>::try_parse_from(words).expect("legal");
        files::Files::load(&command.args, &book()).expect("read")
    };
    let series = |plate: &str| SERIES.replace("鲁C12345", plate);
    let convicted = |files: &files::Files, plate: &str| {
        let mut output = Vec::new();
        all(series(plate).as_bytes(), &mut output, ONE, |_, _| matched(truck(), &[]), None, &files.rechecks);
        String::from_utf8_lossy(&output).contains("HJ845.consecutive")
    };
    let day = SERIES
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["record_id"] == "r-1")
        .and_then(|line| Timestamp::parse_rfc3339(line["passed_at"].as_str()?))
        .expect("a time")
        .plus_seconds(86_400);
    let row = |plate: &str, kind: &str| format!("{plate},yellow,im-1,{day},{kind},pass,7\n");
    let vehicles = ["鲁C12345", "鲁C12346"];
    let one = file(&row(vehicles[0], "recheck"));
    assert_eq!((one.refused, vehicles.map(|plate| convicted(&one, plate))), (false, [false, true]));
    let both = file(&[row(vehicles[0], "recheck"), row(vehicles[1], "recheck")].concat());
    assert_eq!((both.refused, vehicles.map(|plate| convicted(&both, plate))), (true, [false, false]));
    // Whichever stands first, and where only one of the two would end a series.
    let kinds = file(&[row(vehicles[0], "annual"), row(vehicles[1], "recheck")].concat());
    assert_eq!(vehicles.map(|plate| convicted(&kinds, plate)), [false, false]);
}

#[test]
fn foreign_lines_are_read_through_their_mapping() {
    let mapping = Mapping::load("rs-consumer", Target::Passage).expect("built in");
    let foreign: Value = serde_json::from_str(RS_CONSUMER).expect("JSON");
    let native: Value = serde_json::from_str(RS_CONSUMER_NATIVE).expect("JSON");
    let judged = |line: &Value, mapping: Option<&Mapping>| {
        let mut output = Vec::new();
        let summary = all(line.to_string().as_bytes(), &mut output, ONE, |_, _| stranger(), mapping, &HashMap::new());
        assert_eq!(summary, Summary { judged: 1, refused: 0 }, "{}", String::from_utf8_lossy(&output));
        output
    };
    assert_eq!(judged(&foreign, Some(&mapping)), judged(&native, None));
}

/// Two tests over the limit with one between that the rig did not measure: they follow each other, however the rig says so.
#[test]
fn a_sentinel_neither_passes_nor_breaks_a_series() {
    let sentinel = include_str!("../../../tests/fixtures/fillers/minus9999.jsonl");
    let (missing, _) = judged(include_str!("../../../tests/fixtures/fillers/null.jsonl").as_bytes());
    for filler in ["-9999", "-999", "-99.9", "9999", "65535"] {
        let (lines, summary) = judged(sentinel.replace("-9999", filler).as_bytes());
        assert_eq!(summary, Summary { judged: 3, refused: 0 });
        let [first, between, last] = &lines[..] else { panic!("three verdicts") };
        assert_eq!(between["verdict"], "invalid", "{filler}");
        assert_eq!(between["reasons"], json!(["no_ppm_beyond_instrument"]), "{filler}");
        for (line, like) in [(first, &missing[0]), (last, &missing[2])] {
            assert_eq!(line["episodes"], like["episodes"], "{filler}");
            assert_eq!(line["episodes"][0]["readings"], json!(["s0", "s2"]), "{filler}");
        }
    }
}
