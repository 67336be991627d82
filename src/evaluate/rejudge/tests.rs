//! Recalculation against a real PostgreSQL: what changes nothing, and whose facts a passage is judged by.

use std::sync::Arc;

use clap::Parser as _;
use serde_json::json;

use super::*;
use crate::{
    app, cli,
    config::Config,
    judge::{Limits, Rules, limits, rules},
    pipeline::assemble::Message,
    store::{batch::Batch, commit::Committer},
    vehicle::{knowledge::KnowledgeHandle, test_pg::Database, watch},
};

const STATION: &str = "370306-01";
const VIN: &str = "LGDCHA1G8MA900002";

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: cli::import::Args,
}

struct World {
    database: Database,
    folder: tempfile::TempDir,
    config: Config,
    began: Timestamp,
}

impl World {
    async fn new() -> Self {
        let (database, folder) = (Database::migrated().await, tempfile::tempdir().expect("a scratch folder"));
        Self { database, folder, config: Config::built_in().expect("valid"), began: Timestamp::now() }
    }

    /// Imports a register of one vehicle.
    async fn register(&self, row: &str) {
        let file = self.folder.path().join("vehicles.csv");
        let header = "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on";
        std::fs::write(&file, format!("{header}\n{row}\n")).expect("written");
        let (file, address) = (file.display().to_string(), self.database.address());
        let line = ["import", "vehicles", &file, "--database", &address, "--by", "tester", "--yes"];
        let command = Command::try_parse_from(line).expect("well-formed arguments");
        cli::import::import(&command.args).await.expect("imported");
    }

    /// What the service knows now, with these tables.
    async fn assembler(&self, book: &RuleBook) -> Assembler {
        let handle = KnowledgeHandle::default();
        watch::refresh_once(&mut self.database.connect().await, &handle).await.expect("loaded");
        Assembler::new(self.config.source.clone(), handle, Arc::new(book.clone()), 1 << 20)
    }

    /// The truck drives past so many seconds ago and its reading arrives now.
    async fn pass(&self, record: &str, seconds_ago: i64, opacity: f64, book: &RuleBook) {
        let assembler = self.assembler(book).await;
        let now = Timestamp::now();
        let mut passage: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/fixtures/passages/ordinary.json")).expect("JSON");
        passage["record_id"] = json!(record);
        passage["passed_at"] = json!(now.plus_seconds(-seconds_ago));
        passage["opacity_pct"] = json!(opacity);
        let message = Message {
            source: 0,
            device: STATION.into(),
            topic: format!("dw/v1/rs/{STATION}/passage").into(),
            payload: passage.to_string().into_bytes().into(),
            received_at: now,
            replayed: false,
        };
        let names = app::source_names(&self.config);
        let mut committer = Committer::new(self.database.connect().await, "tester".into(), names);
        let mut batch = Batch::new(assembler.books());
        while let Err(missing) = assembler.add(&message, 0..usize::MAX, &mut batch) {
            assembler.give_number(committer.client(), &missing).await.expect("numbered");
        }
        let committed = committer.commit(&batch).await.expect("stored");
        assert!(committed.refused.is_empty(), "{:?}", committed.refused);
    }

    /// Applies a recalculation of everything by these tables; the changes as rule and what became of its finding.
    async fn rejudge(&self, book: &RuleBook) -> Vec<(String, Became)> {
        let (from, to) = (self.began.plus_seconds(-86_400), Timestamp::now().plus_seconds(1));
        let span = Span { from, to, station: None };
        let assembler = self.assembler(book).await;
        let mut client = self.database.connect().await;
        let run = Run::new(&span, book, &assembler.versions(), "tester").resume_or_begin(&client).await.expect("begun");
        let rejudge = Rejudge { assembler: &assembler, book, span };
        let step =
            rejudge.step(&mut client, &run, run::FROM_THE_START, Then::Keep).await.expect("judged").expect("a step");
        run.finish(&client).await.expect("finished");
        assert!(step.readings > 0 && step.left.is_empty(), "{step:?}");
        let mut changes: Vec<_> = step.changes.iter().map(|told| (told.rule.clone(), told.change)).collect();
        changes.sort();
        assert_eq!(changes.is_empty(), step.events == 0, "{step:?}");
        changes
    }

    /// Rules in force with the number of reasons for which they wait.
    async fn in_force(&self) -> Vec<(String, usize)> {
        let client = self.database.connect().await;
        let sql =
            "SELECT rule, coalesce(jsonb_array_length(review -> 'why'), 0) FROM finding WHERE state = 0 ORDER BY rule";
        let rows = client.query(sql, &[]).await.expect("read");
        rows.iter().map(|row| (row.get(0), row.get::<_, i32>(1) as usize)).collect()
    }
}

fn book() -> RuleBook {
    crate::judge::tests::book()
}

fn row(vin: &str, fuel: char, stage: u8, state: char, registered_on: &str) -> String {
    format!("鲁C12345,yellow,{vin},{fuel},{stage},H12,F,{state},{registered_on}")
}

const OVER: &str = "HJ845.over";
const SCRAPPED: &str = "R8.scrapped_on_road";

/// A deregistered truck over the limit, seen live.
async fn seen_live() -> World {
    let world = World::new().await;
    world.register(&row(VIN, 'B', 3, 'E', "2016-05-01")).await;
    world.pass("live", 5, 41.2, &book()).await;
    assert_eq!(world.in_force().await, [(OVER.to_owned(), 0), (SCRAPPED.to_owned(), 0)]);
    world
}

#[tokio::test]
async fn the_same_tables_change_nothing_and_neither_do_new_versions_of_them() {
    let world = seen_live().await;
    world.pass("late", 3_600, 12.0, &book()).await;
    let before = world.in_force().await;
    assert_eq!(world.rejudge(&book()).await, []);
    world.register(&row(VIN, 'B', 3, 'E', "2016-05-01")).await;
    let limits = Limits::parse(&limits::BUILT_IN.replacen("version = \"", "version = \"later ", 1)).expect("valid");
    let rules = Rules::parse(&rules::BUILT_IN.replacen("version = \"", "version = \"later ", 1)).expect("valid");
    assert_eq!(world.rejudge(&RuleBook { limits, rules, ..book() }).await, []);
    assert_eq!(world.in_force().await, before);
}

#[tokio::test]
async fn a_plate_given_to_another_vehicle_leaves_what_was_found_about_the_first() {
    let world = seen_live().await;
    world.register(&row("LGDCHA1G8MA900003", 'A', 6, 'A', "2026-11-20")).await;
    assert_eq!(world.rejudge(&book()).await, []);
    world.register("鲁C54321,yellow,,B,3,H12,F,A,2016-05-01").await;
    assert_eq!(world.rejudge(&book()).await, [], "gone from the register");
}

#[tokio::test]
async fn a_state_of_today_is_not_one_of_the_past_and_a_correction_is() {
    let world = World::new().await;
    world.register(&row(VIN, 'B', 3, 'A', "2016-05-01")).await;
    world.pass("live", 5, 41.2, &book()).await;
    assert_eq!(world.in_force().await, [(OVER.to_owned(), 0)]);
    world.register(&row(VIN, 'B', 3, 'E', "2016-05-01")).await;
    assert_eq!(world.rejudge(&book()).await, [], "deregistered since");
    world.register(&row(VIN, 'A', 3, 'E', "2016-05-01")).await;
    assert_eq!(world.rejudge(&book()).await, [(OVER.to_owned(), Became::Revoked)], "it never burned diesel");
}
