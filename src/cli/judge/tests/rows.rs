//! Verdicts that a second judge, written from the rules' text, came to otherwise, and plates read with `O` or `I`: each with
//! the right answer, from files as the command reads them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/verdicts");
const PASSAGES: &str = include_str!("../../../../tests/fixtures/verdicts/passages.jsonl");
const EXPECTED: &str = include_str!("../../../../tests/fixtures/verdicts/expected.jsonl");
const LISTS: [&str; 6] = ["high_emission", "inspection_overdue", "core_permit", "retire_n2", "retire_n3", "scrapped"];

/// What a verdict must say; whatever it leaves out must be empty.
#[derive(Debug, Deserialize)]
struct Expected {
    record: String,
    rules: Vec<String>,
    /// By number of the rule.
    undetermined: BTreeMap<String, String>,
    needs_review: Vec<String>,
    /// By pollutant, why each series waits for a person.
    episodes: BTreeMap<String, Vec<String>>,
    /// By JSON pointer.
    #[serde(default)]
    also: BTreeMap<String, Value>,
}

fn verdicts(passages: &str) -> (Vec<Value>, Summary) {
    let path = |name: &str| format!("{DIRECTORY}/{name}");
    let mut words = vec!["judge".to_owned()];
    for (option, file) in [
        ("--vehicles", "vehicles.csv"),
        ("--stations", "stations.csv"),
        ("--zones", "zones.geojson"),
        ("--warnings", "warnings.jsonl"),
        ("--inspections", "inspections.csv"),
    ] {
        words.extend([option.to_owned(), path(file)]);
    }
    for list in LISTS {
        words.extend(["--list".to_owned(), format!("{list}={}", path(&format!("list-{list}.csv")))]);
    }
    let command = <Command as clap::Parser>::try_parse_from(words).expect("legal");
    let book = book();
    let files = Files::load(&command.args, &book).expect("files that are right");
    assert!(!files.refused);
    let match_vehicle = |key, at| files.known.identify(key, at, &[]);
    let (known, rechecks) = (&files.known, &files.rechecks);
    let judge = Judge { book: &book, match_vehicle, known, mapping: None, rechecks };
    let mut output = Vec::new();
    let summary = judge_lines(passages.as_bytes(), &mut output, &judge, ONE, |_| {}).expect("memory does not fail");
    let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    (lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect(), summary)
}

fn texts(values: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    values.as_array().into_iter().flatten().map(text).collect()
}

#[test]
fn each_row_is_judged_as_it_should_be() {
    let (found, summary) = verdicts(PASSAGES);
    let expected: Vec<Expected> = EXPECTED.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(summary, Summary { judged: expected.len() as u64, refused: 1 });
    let refused = found.iter().find(|line| !line["error"].is_null()).expect("one");
    assert_eq!(refused["error"]["code"], "plate_impossible", "a letter is asked for where the O is");
    for expected in &expected {
        let record = &expected.record;
        let verdict = found.iter().find(|line| line["record_id"] == **record).expect("judged");
        assert_eq!(texts(&verdict["rules"]), expected.rules, "{record}");
        assert_eq!(texts(&verdict["needs_review"]), expected.needs_review, "{record}");
        let open = verdict["rules_undetermined"].as_array().into_iter().flatten().map(|each| {
            let number = each["rule"].as_str().and_then(|rule| rule.split('.').next()).expect("a number");
            (number.to_owned(), each["missing"].as_str().expect("text").to_owned())
        });
        assert_eq!(open.collect::<BTreeMap<_, _>>(), expected.undetermined, "{record}");
        let episodes =
            verdict["episodes"].as_array().into_iter().flatten().map(|episode| {
                (episode["pollutant"].as_str().expect("text").to_owned(), texts(&episode["needs_review"]))
            });
        assert_eq!(episodes.collect::<BTreeMap<_, _>>(), expected.episodes, "{record}");
        for (pointer, value) in &expected.also {
            assert_eq!(verdict.pointer(pointer), Some(value), "{record} {pointer}");
        }
    }
}

/// A plate read with `O` or `I` differs from the plate itself in nothing but what is not sure of it.
#[test]
fn a_folded_plate_is_judged_as_the_plate_it_is_taken_for() {
    let line = |record: &str| PASSAGES.lines().find(|line| line.contains(&format!("\"{record}\""))).expect("there");
    let folded = line("11-a");
    let (as_read, _) = verdicts(folded);
    let (sure, _) = verdicts(&folded.replace("鲁COO011", "鲁C00011"));
    let [mut as_read, sure] = [as_read, sure].map(|mut lines| lines.remove(0));
    for pointer in ["/plate_as_read", "/needs_review"] {
        assert!(as_read.pointer(pointer).is_some() && sure.pointer(pointer).is_none(), "{pointer}");
        as_read.as_object_mut().expect("an object").remove(&pointer[1..]);
    }
    as_read["reasons"] = json!([]);
    assert_eq!(as_read, sure);
}
