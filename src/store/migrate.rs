//! Schema migrations: ordered SQL files, one flavour for TimescaleDB and one for plain PostgreSQL from the same text.
//!
//! Lines between `-- timescale: begin` and `-- timescale: end` run only with the extension, `-- timescale-tsl: …` only
//! when its licence has compression and continuous aggregates, `-- plain: …` only without that. A file whose first line is
//! `-- no-transaction` runs statement by statement (separated by `-- next statement`), because continuous aggregates
//! cannot be made inside a transaction; each of its statements must fail harmlessly when it exists already.
//!
//! Why not a migration library: none knows the two flavours, and the rest is the hundred lines below.

use sha2::{Digest, Sha256};
use tokio_postgres::{Client, error::SqlState};

use super::{
    error::describe,
    server::{self, Unfit},
};

/// The files in order; the number is the schema's version.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "store", include_str!("../../schemas/sql/0001_store.sql")),
    (2, "registry", include_str!("../../schemas/sql/0002_registry.sql")),
    (3, "slots", include_str!("../../schemas/sql/0003_slots.sql")),
    (4, "outbox", include_str!("../../schemas/sql/0004_outbox.sql")),
    (5, "evaluate", include_str!("../../schemas/sql/0005_evaluate.sql")),
    (6, "aggregates", include_str!("../../schemas/sql/0006_aggregates.sql")),
    (7, "terminal", include_str!("../../schemas/sql/0007_terminal.sql")),
    (8, "warnings", include_str!("../../schemas/sql/0008_warnings.sql")),
    (9, "sightings", include_str!("../../schemas/sql/0009_sightings.sql")),
    (10, "import history", include_str!("../../schemas/sql/0010_import_history.sql")),
    (11, "recheck", include_str!("../../schemas/sql/0011_recheck.sql")),
    (12, "signatures", include_str!("../../schemas/sql/0012_signatures.sql")),
    (13, "lz4", include_str!("../../schemas/sql/0013_lz4.sql")),
    (14, "explained", include_str!("../../schemas/sql/0014_explained.sql")),
    (15, "bounds", include_str!("../../schemas/sql/0015_bounds.sql")),
    (16, "intercept", include_str!("../../schemas/sql/0016_intercept.sql")),
    (17, "inspection conflicts", include_str!("../../schemas/sql/0017_inspection_conflicts.sql")),
    (18, "refused events", include_str!("../../schemas/sql/0018_refused_events.sql")),
    (19, "carrier", include_str!("../../schemas/sql/0019_carrier.sql")),
    (20, "write probe", include_str!("../../schemas/sql/0020_write_probe.sql")),
    (21, "every byte", include_str!("../../schemas/sql/0021_every_byte.sql")),
];

/// Key of the advisory lock that lets one migrator run at a time.
const LOCK: i64 = 0x6477_5f6d_6967;

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Server(#[from] Unfit),
    #[error("the database has schema version {found}, this program knows up to {known}: use a newer dieselwatch")]
    SchemaNewer { found: i32, known: i32 },
    #[error("migration {number} ({name}) was changed after it ran here: its checksum differs")]
    Changed { number: i32, name: String },
    #[error("migrations {pending:?} have not run: `dieselwatch migrate`, or set database.migrate = true")]
    Pending { pending: Vec<i32> },
    #[error(
        "the schema was made for {then} but the server is {now} now: install the extension again or use another database"
    )]
    FlavourChanged { then: String, now: String },
    #[error("run migration {number} ({name}): {}", describe(.cause))]
    Statement { number: i32, name: &'static str, cause: tokio_postgres::Error },
    #[error("read the state of the schema: {}", describe(.0))]
    State(#[from] tokio_postgres::Error),
}

impl MigrateError {
    /// Whether waiting can help: the server is away, busy or read-only.
    pub fn is_transient(&self) -> bool {
        match self {
            MigrateError::Statement { cause, .. } | MigrateError::State(cause) => {
                super::error::class_of(cause).passes()
            }
            _ => false,
        }
    }
}

/// What the server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Plain,
    /// Hypertables only (Apache licence).
    TimescaleApache,
    /// Hypertables, compression, retention and continuous aggregates.
    Timescale,
}

impl Flavour {
    pub const fn name(self) -> &'static str {
        match self {
            Flavour::Plain => "plain",
            Flavour::TimescaleApache => "timescale-apache",
            Flavour::Timescale => "timescale",
        }
    }

    fn runs(self, block: &str) -> bool {
        match block {
            "timescale" => self != Flavour::Plain,
            "timescale-tsl" => self == Flavour::Timescale,
            "plain" => self != Flavour::Timescale,
            _ => true,
        }
    }
}

/// What [`run`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Migrated {
    pub flavour: Flavour,
    pub applied: Vec<i32>,
}

/// Brings the schema up to date, waiting for another migrator if there is one.
pub async fn run(client: &Client) -> Result<Migrated, MigrateError> {
    // A waiting lock would count as an open snapshot and block CREATE INDEX CONCURRENTLY of the holder, so poll.
    while !client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await?.get::<_, bool>(0) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let result = run_locked(client).await;
    let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    let migrated = result?;
    unlocked?;
    Ok(migrated)
}

/// Refuses a schema that is older or newer than this program, or a server it cannot be trusted on.
pub async fn check(client: &Client) -> Result<Flavour, MigrateError> {
    let flavour = flavour(client).await?;
    let done = done(client).await?;
    verify(&done, flavour)?;
    let pending: Vec<i32> = pending(&done).map(|&(number, ..)| number).collect();
    if pending.is_empty() { Ok(flavour) } else { Err(MigrateError::Pending { pending }) }
}

async fn run_locked(client: &Client) -> Result<Migrated, MigrateError> {
    let flavour = flavour(client).await?;
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS schema_migration (number int4 PRIMARY KEY, name text NOT NULL, \
             sha256 bytea NOT NULL, flavour text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        .await?;
    let done = done(client).await?;
    verify(&done, flavour)?;
    let mut applied = Vec::new();
    for &(number, name, text) in pending(&done) {
        apply(client, flavour, number, name, text).await.map_err(|cause| MigrateError::Statement {
            number,
            name,
            cause,
        })?;
        applied.push(number);
    }
    Ok(Migrated { flavour, applied })
}

struct Done {
    number: i32,
    name: String,
    sha256: Vec<u8>,
    flavour: String,
}

async fn done(client: &Client) -> Result<Vec<Done>, MigrateError> {
    let exists = client.query_one("SELECT to_regclass('schema_migration') IS NOT NULL", &[]).await?;
    if !exists.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT number, name, sha256, flavour FROM schema_migration ORDER BY number", &[]).await?;
    Ok(rows
        .iter()
        .map(|row| Done { number: row.get(0), name: row.get(1), sha256: row.get(2), flavour: row.get(3) })
        .collect())
}

fn pending(done: &[Done]) -> impl Iterator<Item = &'static (i32, &'static str, &'static str)> {
    MIGRATIONS.iter().filter(|(number, ..)| !done.iter().any(|d| d.number == *number))
}

fn verify(done: &[Done], flavour: Flavour) -> Result<(), MigrateError> {
    let known = MIGRATIONS.last().map_or(0, |&(number, ..)| number);
    for old in done {
        let Some((_, _, text)) = MIGRATIONS.iter().find(|(number, ..)| *number == old.number) else {
            return Err(MigrateError::SchemaNewer { found: old.number, known });
        };
        if Sha256::digest(text.as_bytes()).as_slice() != old.sha256 {
            return Err(MigrateError::Changed { number: old.number, name: old.name.clone() });
        }
        if old.flavour != flavour.name() {
            return Err(MigrateError::FlavourChanged { then: old.flavour.clone(), now: flavour.name().into() });
        }
    }
    Ok(())
}

async fn apply(
    client: &Client,
    flavour: Flavour,
    number: i32,
    name: &str,
    text: &str,
) -> Result<(), tokio_postgres::Error> {
    let sql = for_flavour(text, flavour);
    let record = "INSERT INTO schema_migration (number, name, sha256, flavour) VALUES ($1, $2, $3, $4)";
    let checksum = Sha256::digest(text.as_bytes()).to_vec();
    if text.starts_with("-- no-transaction") {
        for statement in sql.split("-- next statement").filter(|s| !is_blank(s)) {
            match client.batch_execute(statement).await {
                // Half done by a predecessor that was killed: go on with the rest.
                Err(error) if error.code() == Some(&SqlState::DUPLICATE_TABLE) => {}
                other => other?,
            }
        }
        client.execute(record, &[&number, &name, &checksum, &flavour.name()]).await?;
        return Ok(());
    }
    let ran = async {
        client.batch_execute(&format!("BEGIN;\n{sql}\n")).await?;
        client.execute(record, &[&number, &name, &checksum, &flavour.name()]).await?;
        client.batch_execute("COMMIT").await
    };
    let result = ran.await;
    if result.is_err() {
        // The session may be gone; then there is nothing to roll back.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    result
}

fn is_blank(sql: &str) -> bool {
    sql.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with("--"))
}

/// The lines of `text` that the flavour runs.
pub fn for_flavour(text: &str, flavour: Flavour) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut running = true;
    for line in text.lines() {
        match line.trim().strip_prefix("-- ").and_then(|marker| marker.split_once(": ")) {
            Some((block, "begin")) => running = flavour.runs(block),
            Some((_, "end")) => running = true,
            _ if running => {
                kept.push_str(line);
                kept.push('\n');
            }
            _ => {}
        }
    }
    kept
}

async fn flavour(client: &Client) -> Result<Flavour, MigrateError> {
    let available = client
        .query_opt(
            // The setting is hidden from ordinary roles (no row); then CREATE EXTENSION itself tells.
            "SELECT installed_version, coalesce((SELECT setting LIKE '%timescaledb%' FROM pg_settings \
             WHERE name = 'shared_preload_libraries'), true) FROM pg_available_extensions WHERE name = 'timescaledb'",
            &[],
        )
        .await?;
    let version: String = match available.map(|row| (row.get::<_, Option<String>>(0), row.get::<_, bool>(1))) {
        None => return Ok(Flavour::Plain),
        Some((Some(version), _)) => version,
        Some((None, false)) => {
            tracing::warn!("TimescaleDB is on the server but not in shared_preload_libraries; going on without it");
            return Ok(Flavour::Plain);
        }
        Some((None, true)) => {
            client.batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb").await?;
            client.query_one("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", &[]).await?.get(0)
        }
    };
    server::timescale_is_new_enough(&version)?;
    let licence = client.query_one("SELECT coalesce(current_setting('timescaledb.license', true), '')", &[]).await?;
    Ok(if licence.get::<_, &str>(0) == "apache" { Flavour::TimescaleApache } else { Flavour::Timescale })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_blocks_close() {
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (number, name, text) in MIGRATIONS {
            let begins = text.matches(": begin").count();
            assert_eq!(begins, text.matches(": end").count(), "{number} {name}");
        }
    }

    #[test]
    fn flavours_select_their_lines() {
        let text = "a\n-- timescale: begin\nb\n-- timescale: end\n-- timescale-tsl: begin\nc\n-- timescale-tsl: end\n\
                    -- plain: begin\nd\n-- plain: end\n";
        assert_eq!(for_flavour(text, Flavour::Plain), "a\nd\n");
        assert_eq!(for_flavour(text, Flavour::TimescaleApache), "a\nb\nd\n");
        assert_eq!(for_flavour(text, Flavour::Timescale), "a\nb\nc\n");
    }
}
