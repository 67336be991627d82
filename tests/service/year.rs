//! A year of a small fleet, played through the real service and compared with what was written down by hand.
//!
//! `tests/fixtures/year/script.toml` says what arrives, in which order, and `expected.toml` which findings must stand in the
//! end, which must have been taken back, and who must have been stopped. A new rule adds steps to the one and findings to
//! the other; a new kind of step is a variant of [`Step`].

#[path = "year/script.rs"]
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{World, balanced, import_file, settled};
use crate::support::{self, http::metric, publisher::publish, service::Service};
use script::{Step, Year};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/year").join(name)
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    toml::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    finding: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    rule: String,
    subject: String,
    readings: Vec<String>,
    #[serde(default)]
    state: State,
    revoked: Option<usize>,
    #[serde(default)]
    review: bool,
    #[serde(default)]
    intercept: bool,
    /// For whoever reads a failure.
    why: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    #[default]
    InForce,
    Revoked,
}

/// What a finding is known by in the expectation.
type Name = (String, String, Vec<String>);

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
struct Fate {
    state: State,
    review: bool,
    /// Events that took it back.
    revoked: usize,
    /// Events that called an officer.
    intercepts: usize,
}

impl Expected {
    fn fate(&self) -> (Name, Fate) {
        let revoked = self.revoked.unwrap_or(usize::from(self.state == State::Revoked));
        let intercepts = usize::from(self.intercept);
        let name = (self.rule.clone(), self.subject.clone(), self.readings.clone());
        (name, Fate { state: self.state, review: self.review, revoked, intercepts })
    }
}

/// Every finding there ever was, with its events.
async fn found(world: &World, year: &Year) -> BTreeMap<Name, Fate> {
    let events = world.events().await;
    let sql = "SELECT id::text, rule, subject, state, review->>'state', content FROM finding";
    let rows = world.client.query(sql, &[]).await.unwrap();
    let fates = rows.iter().map(|row| {
        let (id, content): (String, Value) = (row.get(0), row.get(5));
        let events = |kind: &str| {
            let of_finding = |event: &&Value| event["data"]["finding"] == id && event["type"].as_str() == Some(kind);
            events.iter().filter(of_finding).count()
        };
        let fate = Fate {
            state: if row.get::<_, i16>(3) == 0 { State::InForce } else { State::Revoked },
            review: row.get::<_, &str>(4) == "needed",
            revoked: events("dieselwatch.violation.revoked"),
            intercepts: events("dieselwatch.intercept.raised"),
        };
        ((row.get(1), row.get(2), readings(&content, year)), fate)
    });
    let all: Vec<_> = fates.collect();
    let names: BTreeSet<&Name> = all.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), all.len(), "two findings of one name: {all:#?}");
    all.into_iter().collect()
}

/// The readings a finding names, as the expectation writes them.
fn readings(content: &Value, year: &Year) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if let Some(pairs) = content["pairs"].as_array() {
        let ends = pairs.iter().flat_map(|pair| [&pair["earlier"], &pair["later"]]);
        return ends.map(|sighting| text(&sighting["record_id"])).collect();
    }
    if let Some(readings) = content["readings"].as_array() {
        return readings.iter().map(|reading| text(&reading["record_id"])).collect();
    }
    if content["record_id"].is_string() {
        return vec![text(&content["record_id"])];
    }
    if let Some(day) = content["day"].as_str() {
        let day = format!("day {}", year.day_of(day.parse().unwrap()));
        return vec![content["zone"].as_str().map_or(day.clone(), |zone| format!("{day} {zone}"))];
    }
    let [from, to] = ["from", "to"].map(|end| year.moment(content[end].as_str().unwrap()));
    vec![format!("day {} {} to {}", from.0, from.1, to.1)]
}

/// Waits until everything that was sent is settled and nothing is left to evaluate.
async fn quiet(world: &World, service: &Service, messages: u64) {
    settled(service, messages).await;
    balanced(service).await;
    // Both in one statement, because a sweep leaves tasks; a claimed one is gone only with its commit.
    let open = "SELECT (SELECT count(*) FROM sighting_sweep) + (SELECT count(*) FROM evaluation_task)";
    world.until_count(open, 0).await;
}

/// Does what an office does in a step, and waits until the service knows; nothing for what devices do.
async fn act(world: &World, service: &Service, year: &Year, step: &Step) {
    let before = reloads(service).await;
    match step {
        Step::List(list) => {
            world.import(&["list", &list.name], &format!("{}.csv", list.name), &list.csv(year)).await;
        }
        Step::Warning(warning) => {
            let command = warning.command(year);
            world.setting.succeed(&command.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        // Reports are facts and nothing that is held in memory.
        Step::Inspections(reports) => {
            return world.import(&["inspections"], "inspections.csv", &reports.csv(year)).await;
        }
        Step::Passages(_) | Step::Frames(_) | Step::Replay(_) => return,
    }
    support::until("the service to know", async || (reloads(service).await > before).then_some(())).await;
}

async fn reloads(service: &Service) -> f64 {
    metric(&service.metrics().await, "dieselwatch_knowledge_reloads_total", &[])
}

async fn start() -> Option<(World, Service)> {
    let mut world = World::new().await?;
    // What terminals' windows say is evaluated long after the year is over: terminals.rs is about that.
    let table = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/terminal.toml")).unwrap();
    let later = table.replace("delay_seconds = { value = 300,", "delay_seconds = { value = 86400,");
    assert_ne!(table, later);
    std::fs::write(world.path("terminal.toml"), later).unwrap();
    world.setting.further = format!("[judge]\nterminal_file = {:?}", world.path("terminal.toml"));
    for (what, file) in [
        ("vehicles", "vehicles.csv"),
        ("stations", "stations.csv"),
        ("devices", "devices.csv"),
        ("zones", "zones.geojson"),
    ] {
        import_file(&world.setting, &[what], &fixture(file)).await;
    }
    let service = Service::start_ready(&world.setting).await;
    Some((world, service))
}

fn expected() -> BTreeMap<Name, Fate> {
    let expectation: Expectation = read("expected.toml");
    assert!(expectation.finding.iter().all(|finding| !finding.why.is_empty()), "every expectation has a reason");
    let count = expectation.finding.len();
    let expected: BTreeMap<Name, Fate> = expectation.finding.iter().map(Expected::fate).collect();
    assert_eq!(expected.len(), count, "an expectation is there twice");
    expected
}

/// One line for each difference, so that a failure reads like a list of mistakes.
fn differences(wanted: &BTreeMap<Name, Fate>, found: &BTreeMap<Name, Fate>) -> Vec<String> {
    let names: BTreeSet<&Name> = wanted.keys().chain(found.keys()).collect();
    let differing = names.into_iter().filter(|name| wanted.get(name) != found.get(name));
    differing.map(|name| format!("{name:?}\n  wanted {:?}\n  found  {:?}", wanted.get(name), found.get(name))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_ends_in_exactly_the_findings_corrections_and_intercepts_written_down() {
    let Some((world, service)) = start().await else { return };
    let year = Year::of_today(read("script.toml"));
    let mut sent: Vec<(String, Vec<u8>)> = Vec::new();
    let mut messages = 0;
    for step in &year.script.step {
        act(&world, &service, &year, step).await;
        let now = match step {
            Step::Replay(_) => sent.iter().rev().cloned().collect(),
            _ => year.messages(step),
        };
        messages += now.len() as u64;
        if messages == 0 {
            continue;
        }
        sent.extend(now.clone());
        publish(&world.setting.broker, now).await;
        quiet(&world, &service, messages).await;
    }
    let differences = differences(&expected(), &found(&world, &year).await);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(world.count("SELECT count(*) FROM dead_letter").await, 0);
    let unproven = "SELECT count(*) FROM finding f WHERE NOT EXISTS (SELECT 1 FROM evidence e WHERE e.finding = f.id)";
    assert_eq!(world.count(unproven).await, 0, "every finding has its readings");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_year_arriving_backwards_leaves_the_same_findings_in_force() {
    let Some((world, service)) = start().await else { return };
    let year = Year::of_today(read("script.toml"));
    // The lists as they stand in the end: entries hold for the days they name, whenever they are imported.
    let last = |place: usize, name: &str| {
        let mut later = year.script.step.iter().skip(place + 1);
        later.all(|other| !matches!(other, Step::List(list) if list.name == name))
    };
    for (place, step) in year.script.step.iter().enumerate() {
        match step {
            Step::List(list) if !last(place, &list.name) => {}
            step => act(&world, &service, &year, step).await,
        }
    }
    let mut backwards: Vec<_> = year.script.step.iter().flat_map(|step| year.messages(step)).collect();
    backwards.reverse();
    let messages = backwards.len() as u64;
    publish(&world.setting.broker, backwards).await;
    quiet(&world, &service, messages).await;
    let in_force = |fates: BTreeMap<Name, Fate>| -> BTreeMap<Name, Fate> {
        fates
            .into_iter()
            .filter(|(_, fate)| fate.state == State::InForce)
            // What was taken back on the way depends on the way.
            .map(|(name, fate)| (name, Fate { revoked: 0, ..fate }))
            .collect()
    };
    let differences = differences(&in_force(expected()), &in_force(found(&world, &year).await));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(service.stop().await, Some(0));
}
