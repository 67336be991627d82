//! A real TimescaleDB, compiled to WebAssembly, that migrations and queries are checked against (see `run.mjs`).
//!
//! Known to work there: hypertables, compression with redelivery into compressed chunks, retention and refresh policies,
//! continuous aggregates, `time_bucket` with gap filling. Not there: a second connection, COPY, concurrent index builds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

/// What came of a run.
#[derive(Debug, Deserialize)]
pub struct Outcome {
    pub timescaledb: String,
    pub postgres: String,
    pub migrations: Vec<String>,
    pub results: Vec<QueryResult>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum QueryResult {
    Rows { rows: Vec<Value>, affected: u64 },
    Failed { error: Failure },
}

impl QueryResult {
    pub fn rows(&self) -> &[Value] {
        match self {
            QueryResult::Rows { rows, .. } => rows,
            QueryResult::Failed { error } => panic!("the query failed: {error:?}"),
        }
    }
}

/// What the database said; `file` and `line` for a migration.
#[derive(Debug, Deserialize)]
pub struct Failure {
    pub code: Option<String>,
    pub message: String,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// Runs the migration files in order, then the queries: texts, or `{"sql": .., "params": [..]}`.
///
/// `None` where Node is not installed or the engine cannot be fetched; `Err` when a migration fails.
pub async fn run(migrations: &[PathBuf], queries: &[Value]) -> Option<Result<Outcome, Failure>> {
    let folder = install().await?;
    let mut command = Command::new("node");
    command.arg(folder.join("run.mjs")).args(migrations).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = serde_json::to_vec(queries).unwrap();
    child.stdin.take().unwrap().write_all(&input).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if output.status.success() {
        return Some(Ok(serde_json::from_str(&text).unwrap()));
    }
    #[derive(Deserialize)]
    struct Refused {
        error: Failure,
    }
    let refused: Refused = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
    Some(Err(refused.error))
}

/// Fetches the engine once per version of the lock file, into the target folder.
async fn install() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/timescale");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("timescale");
    fs::create_dir_all(&folder).unwrap();
    // Two test processes must not fetch at the same time; the lock ends with the process.
    let lock = fs::File::create(folder.join("lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap();
    let marker = folder.join("installed");
    let wanted = fs::read_to_string(source.join("package-lock.json")).unwrap();
    for file in ["package.json", "package-lock.json", "run.mjs"] {
        fs::copy(source.join(file), folder.join(file)).unwrap();
    }
    if fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return Some(folder);
    }
    let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).output().await;
    match npm {
        Ok(output) if output.status.success() => {
            fs::write(&marker, wanted).unwrap();
            drop(lock);
            Some(folder)
        }
        Ok(output) => super::skip(&format!(
            "TimescaleDB for Node cannot be fetched: {}",
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default()
        )),
        Err(error) => super::skip(&format!("npm cannot be run ({error}); TimescaleDB is not checked")),
    }
}
