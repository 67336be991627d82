//! Episodes through the database: whatever the order, the batches, the repeats and the number of those who store and
//! evaluate at once, the same findings are in force in the end, and they are those of a naive second reading of the rule.
//!
//! `DIESELWATCH_SEED=N` plays the stories of seed N; without it every run has its own, which it prints.

#[path = "histories/naive.rs"]
mod naive;
#[path = "histories/processes.rs"]
mod processes;
#[path = "histories/rest.rs"]
mod rest;
#[path = "histories/story.rs"]
mod story;
#[path = "histories/waiting.rs"]
mod waiting;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use dieselwatch::{
    app,
    config::Config,
    evaluate::evaluator::Evaluator,
    judge::RuleBook,
    pipeline::assemble::{Assembler, Message},
    reading::Timestamp,
    store::{
        batch::Batch,
        commit::Committer,
        connect::Connector,
        error::{Class, class_of},
        migrate,
        prepared::Prepared,
    },
    telemetry::{Books, Meters},
    vehicle::{
        devices::Devices, import::inspections, import::offline, knowledge::KnowledgeHandle, lists::Lists,
        stations::Stations,
    },
    zone::Zones,
};
use futures_util::future::join_all;
use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestError, TestRng, TestRunner},
};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::{self, postgres};
use naive::Fact;
use story::{COMMITTERS, Delivery, EVALUATORS, Story, Telling, at, inspection, payload, plate, stories, tellings};

/// New stories are begun for this long; what is under way then is finished.
const BEGIN_FOR: Duration = Duration::from_secs(30);

/// A run that played fewer stories has shown nothing.
const FEWEST: usize = 5;

const VEHICLES: usize = 2;

/// A fact with everything else that is stored of it, so that two tellings can be compared whole: the finding's id, its content as text, and the readings whose payloads it keeps.
type Whole = BTreeSet<(Fact, String, String, Vec<String>)>;

struct Stage {
    committers: Vec<Committer>,
    evaluators: Vec<Client>,
    importer: Client,
    client: Client,
    evaluator: Arc<Evaluator>,
    assembler: Assembler,
}

/// The register of the vehicles that stories are about.
pub fn register(vehicles: usize) -> String {
    let mut text =
        "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,local\n".to_owned();
    for vehicle in 0..vehicles {
        text += &format!("{},yellow,,B,3,H12,F,A,2012-05-01,true\n", plate(vehicle));
    }
    text
}

impl Stage {
    async fn new(url: &str) -> Self {
        let folder = support::scratch();
        let path = folder.path().join("vehicles.csv");
        std::fs::write(&path, register(VEHICLES)).unwrap();
        let (registry, _) = offline::vehicles(&path).unwrap();
        let mut config = Config::built_in().unwrap();
        config.database.url = url.to_owned();
        let knowledge = KnowledgeHandle::from_parts(
            registry,
            Lists::default(),
            Stations::default(),
            Devices::default(),
            Zones::default(),
        );
        let rules = Arc::new(RuleBook::load(config.judge.clone()).unwrap());
        let connector = Connector::new(&config.database).unwrap();
        let names = app::source_names(&config);
        let mut committers = Vec::new();
        for number in 0..COMMITTERS {
            let client = connector.connect("committer").await.unwrap();
            committers.push(Committer::new(client, format!("committer {number}"), names.clone()));
        }
        let mut evaluators = Vec::new();
        for _ in 0..EVALUATORS {
            evaluators.push(connector.connect("evaluator").await.unwrap());
        }
        let meters = Arc::new(Meters::register(Arc::new(Books::new(names.iter().map(String::as_str)))));
        Self {
            committers,
            evaluators,
            importer: connector.connect("importer").await.unwrap(),
            client: connector.connect("reader").await.unwrap(),
            evaluator: Evaluator::new(connector, Arc::clone(&rules), meters, Box::new(|| ())),
            assembler: Assembler::new(config.source, knowledge, rules, 1 << 20),
        }
    }

    /// Tells the story on empty tables and gives back what is in force in the end.
    async fn tell(&mut self, story: &Story, telling: &Telling) -> Whole {
        let clear = "TRUNCATE passage_key, passage, finding, evidence, evaluation_task, evaluation_interest, outbox, \
                     inspection, dead_letter, book";
        self.client.batch_execute(clear).await.unwrap();
        self.go_on(story, telling).await
    }

    /// Tells more, on what is there.
    async fn go_on(&mut self, story: &Story, telling: &Telling) -> Whole {
        for round in telling.rounds.iter().filter(|round| !round.batches.is_empty()) {
            let mut inspections: Vec<(u64, inspections::InspectionRow)> = Vec::new();
            let mut readings: Vec<Vec<usize>> = Vec::new();
            for batch in &round.batches {
                readings.push(Vec::new());
                for delivery in batch {
                    match *delivery {
                        Delivery::Reading(place) => readings.last_mut().unwrap().push(place),
                        Delivery::Recheck(place) => {
                            let row = inspection(&story.rechecks[place]);
                            if !inspections.iter().any(|(_, other)| other.report_no == row.report_no) {
                                inspections.push((place as u64, row));
                            }
                        }
                    }
                }
            }
            let assembler = &self.assembler;
            let commits = join_all(self.committers.iter_mut().zip(&readings).map(|(committer, readings)| async move {
                let batch = assemble(assembler, committer, story, readings).await;
                commit(committer, &batch).await;
            }));
            let evaluator = &self.evaluator;
            let steps = self.evaluators.iter_mut().take(round.evaluators);
            let steps = join_all(steps.map(|client| step(evaluator, client)));
            tokio::join!(commits, steps, import(&mut self.importer, &inspections));
        }
        // Everybody at once until nothing is left to do.
        while self.client.query_one("SELECT count(*) FROM evaluation_task", &[]).await.unwrap().get::<_, i64>(0) > 0 {
            join_all(self.evaluators.iter_mut().map(|client| step(&self.evaluator, client))).await;
        }
        in_force(&self.client).await
    }
}

async fn assemble(assembler: &Assembler, committer: &Committer, story: &Story, readings: &[usize]) -> Batch {
    let mut batch = Batch::new(assembler.books());
    for &place in readings {
        let seen = &story.readings[place];
        let message = Message {
            source: 0,
            device: seen.station.as_str().into(),
            topic: format!("dw/v1/rs/{}/passage", seen.station).into(),
            payload: payload(seen).to_string().into_bytes().into(),
            received_at: at(seen.second + 60),
            replayed: false,
        };
        while let Err(missing) = assembler.add(&message, 0..usize::MAX, &mut batch) {
            assembler.give_number(committer.client(), &missing).await.unwrap();
        }
    }
    batch
}

/// As a writer does: what was interrupted is done again.
async fn commit(committer: &mut Committer, batch: &Batch) {
    if batch.is_empty() {
        return;
    }
    while let Err(error) = committer.commit(batch).await {
        assert_eq!(class_of(&error), Class::Again, "{error:?}");
    }
}

async fn step(evaluator: &Evaluator, client: &mut Client) {
    while let Err(error) = evaluator.step(client, &mut Prepared::default()).await {
        assert_eq!(class_of(&error), Class::Again, "{error:?}");
    }
}

async fn import(client: &mut Client, rows: &[(u64, inspections::InspectionRow)]) {
    if rows.is_empty() {
        return;
    }
    let transaction = client.transaction().await.unwrap();
    let origin = inspections::Origin { imported_by: "a test", sha256: [0; 32] };
    inspections::store(&transaction, origin, rows).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn in_force(client: &Client) -> Whole {
    let rows = client
        .query(
            "SELECT f.id::text, f.rule, f.subject, f.from_at, f.to_at, f.review, f.content, \
             (SELECT coalesce(array_agg(e.reading ORDER BY e.reading), '{}') FROM evidence e WHERE e.finding = f.id) \
             FROM finding f WHERE f.state = 0",
            &[],
        )
        .await
        .unwrap();
    let whole = |row: &tokio_postgres::Row| {
        let (rule, subject, content): (String, String, Value) = (row.get(1), row.get(2), row.get(6));
        let review: Value = row.get(5);
        let second = |at: Timestamp| at.micros() / 1_000_000;
        let fact = fact(&rule, &subject, second(row.get(3)), second(row.get(4)), review["state"] == "needed", &content);
        (fact, row.get(0), content.to_string(), row.get(7))
    };
    rows.iter().map(whole).collect()
}

/// What a stored finding says, in the words of the naive reading.
fn fact(rule: &str, subject: &str, from: i64, to: i64, review: bool, content: &Value) -> Fact {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let reading = |value: &Value| (text(&value["station_id"]), text(&value["record_id"]));
    let vehicle = subject.strip_prefix("鲁C7").unwrap().strip_suffix(":yellow").unwrap().parse().unwrap();
    match rule {
        "HJ845.over" => Fact::Over { vehicle, reading: reading(content), second: from, review },
        "HJ845.consecutive" => Fact::Episode {
            vehicle,
            pollutant: if content["pollutant"] == "opacity" { "opacity" } else { "no" },
            readings: content["readings"].as_array().unwrap().iter().map(reading).collect(),
            convicted_by: reading(&content["convicted_by"]),
            from,
            to,
            review,
            recheck_before: content["recheck_before"]["report_no"].as_str().map(str::to_owned),
            recheck_after: content["recheck_after"]["report_no"].as_str().map(str::to_owned),
        },
        other => panic!("nothing here raises {other}"),
    }
}

/// Whether the stored findings are those of the naive reading, and show nothing that was not measured.
pub fn check(story: &Story, found: &Whole) -> Result<(), TestCaseError> {
    let facts: BTreeSet<Fact> = found.iter().map(|(fact, ..)| fact.clone()).collect();
    prop_assert_eq!(&facts, &naive::facts(&story.readings, &story.rechecks));
    prop_assert_eq!(facts.len(), found.len(), "the same is said twice");
    for (fact, _, content, evidence) in found {
        let Fact::Episode { readings, .. } = fact else { continue };
        let proofs: BTreeSet<String> = readings.iter().map(|(s, r)| format!("passage {s}/{r}")).collect();
        prop_assert_eq!(&proofs, &evidence.iter().cloned().collect(), "the payload of each reading, and of no other");
        let content: Value = serde_json::from_str(content).unwrap();
        for reading in content["readings"].as_array().unwrap() {
            prop_assert!(reading["value"].as_f64().unwrap() > reading["limit"].as_f64().unwrap(), "{}", reading);
        }
    }
    Ok(())
}

/// A run's own seed, or the one asked for; printed either way.
pub fn seed(what: &str) -> u64 {
    let asked = std::env::var("DIESELWATCH_SEED").ok().map(|text| text.parse().expect("DIESELWATCH_SEED is a number"));
    let seed = asked.unwrap_or_else(|| Timestamp::now().micros().unsigned_abs());
    eprintln!("{what}: DIESELWATCH_SEED={seed}");
    seed
}

pub fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// The 31 August that stories begin on: long enough ago that all of a story is past.
pub fn start() -> i64 {
    naive::noon_of_august(Timestamp::now().micros() / 1_000_000, 290)
}

#[test]
fn every_telling_of_a_story_ends_in_the_same_findings() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let Some(database) = runtime.block_on(postgres::database()) else { return };
    let stage = runtime.block_on(async {
        migrate::run(&database.client().await).await.unwrap();
        Stage::new(database.url()).await
    });
    let stage = std::cell::RefCell::new(stage);
    let config =
        ProptestConfig { cases: 1_000, failure_persistence: None, max_shrink_iters: 300, ..Default::default() };
    let mut runner = TestRunner::new_with_rng(config, rng(seed("stories through the database")));
    let cases = stories(start(), 0..VEHICLES, 0).prop_flat_map(|story| {
        let (one, other) = (tellings(&story), tellings(&story));
        (Just(story), one, other)
    });
    let (begun, played) = (Instant::now(), std::cell::Cell::new(0));
    let result = runner.run(&cases, |(story, one, other)| {
        // Beyond the time nothing is played any more, neither new stories nor simpler forms of one that failed.
        if begun.elapsed() > BEGIN_FOR {
            return Ok(());
        }
        let mut stage = stage.borrow_mut();
        let first = runtime.block_on(stage.tell(&story, &one));
        check(&story, &first)?;
        let second = runtime.block_on(stage.tell(&story, &other));
        prop_assert_eq!(first, second, "two tellings of one story");
        played.set(played.get() + 1);
        Ok(())
    });
    eprintln!("{} stories, each told twice, in {:?}", played.get(), begun.elapsed());
    match result {
        Ok(()) => assert!(played.get() >= FEWEST, "only {} stories were played", played.get()),
        Err(TestError::Fail(why, (story, one, other))) => panic!("{why}\n{story:#?}\n{one:#?}\n{other:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    runtime.block_on(async { drop(stage) });
}
