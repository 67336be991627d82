//! The migrations of the service on a real TimescaleDB.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{postgres, timescale};

fn migrations() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/sql");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_migration_runs_on_timescaledb() {
    let queries = [
        json!("SELECT count(*)::int AS n FROM timescaledb_information.hypertables WHERE compression_enabled"),
        json!("SELECT count(*)::int AS n FROM timescaledb_information.continuous_aggregates"),
        // Wide tables of readings must not be left behind as plain ones.
        json!(
            "SELECT hypertable_name FROM timescaledb_information.hypertables \
             WHERE hypertable_name IN ('passage', 'terminal_stream') ORDER BY 1"
        ),
        // A continuous aggregate is only worth having if it can be refreshed.
        json!("CALL refresh_continuous_aggregate('passage_hourly', NULL, NULL)"),
        json!("CALL refresh_continuous_aggregate('terminal_hourly', NULL, NULL)"),
    ];
    let Some(outcome) = timescale::run(&migrations(), &queries).await else { return };
    let results = outcome.unwrap().results;
    assert!(results[0].rows()[0]["n"].as_i64().unwrap() >= 2);
    assert!(results[1].rows()[0]["n"].as_i64().unwrap() >= 2);
    assert_eq!(
        results[2].rows(),
        [json!({"hypertable_name": "passage"}), json!({"hypertable_name": "terminal_stream"})]
    );
    for refreshed in &results[3..] {
        refreshed.rows();
    }
}

#[tokio::test]
async fn the_migrate_command_runs_once_and_tells_what_is_missing() {
    let Some(database) = postgres::database().await else { return };
    let migrate = async |further: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dieselwatch"));
        command.arg("migrate").args(further).env("DIESELWATCH__DATABASE__URL", database.url());
        let output = command.output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = migrate(&["--check"]).await;
    assert!(code == Some(1) && said.contains("have not run"), "{said}");
    let (code, said) = migrate(&[]).await;
    assert!(code == Some(0) && said.contains("ran migrations 1, "), "{said}");
    let (code, said) = migrate(&[]).await;
    assert!(code == Some(0) && said.contains("nothing to do (plain)"), "{said}");
    let (code, said) = migrate(&["--check"]).await;
    assert!(code == Some(0) && said.contains("up to date"), "{said}");

    let newer = "INSERT INTO schema_migration VALUES (9999, 'of tomorrow', '', 'plain')";
    database.client().await.batch_execute(newer).await.unwrap();
    let (code, said) = migrate(&[]).await;
    assert!(code == Some(1) && said.contains("use a newer dieselwatch"), "{said}");
}
