use std::path::PathBuf;

use super::*;
use crate::reading::{Plate, PlateColor, PlateKey};

fn finding() -> Finding {
    let at = Timestamp::parse_rfc3339("2026-03-01T08:00:00+08:00").expect("valid");
    let plate = Plate::parse("鲁C12345").expect("valid");
    Finding {
        id: finding::finding_id("HJ845.over", "passage 370306-01/r-9"),
        rule: "HJ845.over".into(),
        subject: Subject::Vehicle(PlateKey::new(plate, PlateColor::Yellow)),
        from: at,
        to: at,
        review: Review::NotNeeded,
        intercept: false,
        content: json!({ "pollutant": "opacity", "value": 41.2, "unit": "%", "limit": 30.0 }),
        evidence: Vec::new(),
    }
}

fn made_at() -> Timestamp {
    Timestamp::parse_rfc3339("2026-03-01T08:00:01.25+08:00").expect("valid")
}

fn parse(event: &Event) -> Value {
    serde_json::from_slice(&event.payload).expect("JSON")
}

#[test]
fn a_violation_reads_as_a_cloud_event() {
    let events = raised_at(&finding(), 1, made_at());
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].topic, events[0].key.as_str()), (Topic::Violations, "鲁C12345:yellow"));
    insta::assert_json_snapshot!("violation_raised", parse(&events[0]));
}

#[test]
fn a_revocation_says_why() {
    let event = revoked_at(&finding(), 2, "the readings no longer bear it out", made_at());
    assert_eq!(event.topic, Topic::Violations);
    insta::assert_json_snapshot!("violation_revoked", parse(&event));
}

#[test]
fn an_intercept_goes_to_its_own_topic_under_its_own_id() {
    let events = raised_at(&Finding { intercept: true, ..finding() }, 1, made_at());
    let topics: Vec<_> = events.iter().map(|e| e.topic).collect();
    assert_eq!(topics, [Topic::Violations, Topic::Intercepts]);
    assert_ne!(events[0].id, events[1].id);
    insta::assert_json_snapshot!("intercept_raised", parse(&events[1]));
}

#[test]
fn what_waits_for_a_person_is_no_intercept() {
    let waiting = Finding { intercept: true, review: Review::Needed(vec!["plate suspected".into()]), ..finding() };
    let events = raised_at(&waiting, 1, made_at());
    assert_eq!(events.len(), 1);
    assert_eq!(parse(&events[0])["data"]["review"], json!({ "state": "needed", "why": ["plate suspected"] }));
}

#[test]
fn ids_follow_finding_and_revision_and_nothing_else() {
    let now = raised_at(&finding(), 1, made_at());
    let later = raised_at(&finding(), 1, made_at().plus_seconds(60));
    assert_eq!(now[0].id, later[0].id);
    assert_ne!(now[0].id, raised_at(&finding(), 3, made_at())[0].id);
    assert_ne!(now[0].id, revoked_at(&finding(), 2, "", made_at()).id);
    assert_eq!(now[0].id, finding::event_id(finding().id, 1));
}

#[test]
fn a_content_too_large_is_left_out() {
    let content = json!({ "readings": vec!["370306-01/r-9"; 40_000] });
    let events = raised_at(&Finding { content, ..finding() }, 1, made_at());
    assert!(events[0].payload.len() < 2_000);
    assert!(parse(&events[0])["data"]["content"]["bytes"].as_u64() > Some(MAX_PAYLOAD_BYTES as u64));
}

#[test]
fn topics_parse_back() {
    for topic in Topic::ALL {
        assert_eq!(Topic::from_code(topic.code()), Some(topic));
        assert_eq!(Topic::parse(topic.name()), Some(topic));
    }
    assert_eq!(Topic::from_code(0), None);
}

/// `DIESELWATCH_BLESS=1` writes the files anew.
#[test]
fn committed_schemas_are_those_of_the_code_and_take_every_event() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas/events");
    for (file, schema) in schemas() {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
        if std::env::var_os("DIESELWATCH_BLESS").is_some() {
            std::fs::write(folder.join(file), &text).expect("schemas are writable");
        }
        let committed = std::fs::read_to_string(folder.join(file)).expect("schema is committed");
        assert_eq!(committed, text, "{file} differs: run the test with DIESELWATCH_BLESS=1");
    }
    let waiting = Finding { review: Review::Needed(vec!["plate suspected".into()]), ..finding() };
    let mut events = raised_at(&Finding { intercept: true, ..finding() }, 1, made_at());
    events.extend(raised_at(&waiting, 4, made_at()));
    events.push(revoked_at(&waiting, 5, "no longer borne out", made_at()));
    for event in events.iter().map(parse) {
        let id = event["dataschema"].as_str().expect("text");
        let file = id.strip_prefix("urn:dieselwatch:schemas/events/").expect("names a file of schemas/");
        let schema = schemas().into_iter().find(|(name, _)| *name == file).expect("known").1;
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let errors: Vec<_> = validator.iter_errors(&event["data"]).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
        assert!(!validator.is_valid(&json!({ "finding": "x" })), "{file} takes anything");
    }
}
