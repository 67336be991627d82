use serde_json::Value;

use super::*;
use crate::judge::tests::{book, matched, stranger, truck};

const SERIES: &str = include_str!("../../../tests/fixtures/passages/series.jsonl");
const ORDINARY: &str = include_str!("../../../tests/fixtures/passages/ordinary.json");

fn judged(input: &[u8]) -> (Vec<Value>, Summary) {
    let mut output = Vec::new();
    let listed = |key: PlateKey, _| match key.to_string().as_str() {
        "鲁C12345:yellow" => matched(truck(), &["retire_n3"]),
        "鲁C54321:yellow" => matched(truck(), &[]),
        _ => stranger(),
    };
    let summary = judge_lines(input, &mut output, &book(), listed).expect("memory does not fail");
    let lines = output.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    (lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect(), summary)
}

#[test]
fn lines_keep_their_order_and_a_bad_one_its_place() {
    let (lines, summary) = judged(SERIES.as_bytes());
    assert_eq!(summary, Summary { judged: 6, refused: 2 });
    assert_eq!(summary.exit_code(), 1);
    let names: Vec<_> = lines
        .iter()
        .map(|line| match &line["error"]["code"] {
            Value::String(code) => format!("{code}@{}", line["line"]),
            _ => line["record_id"].as_str().expect("a verdict has one").to_owned(),
        })
        .collect();
    assert_eq!(names, ["r-9", "missing_field@2", "r-1", "r-5", "not_json@6", "r-7", "a-1", "a-2"]);
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
    let summary = judge_lines(input.as_bytes(), &mut output, &book(), |_, _| matched(truck(), &[])).expect("memory");
    assert_eq!(summary.exit_code(), 0);
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
    let error = RuleBook::load(config::Judge { limits_file: Some("/nowhere".into()), ..book().settings });
    assert_eq!(JudgeError::from(error.expect_err("no such file")).exit_code(), 2);
    let mut args = command.args;
    (args.limits, args.input) = (None, "/nowhere.jsonl".into());
    let error = run(&args, book().settings, |_, _| stranger()).expect_err("no such file");
    assert_eq!(error.exit_code(), 2);
}
