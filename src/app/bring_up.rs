//! What must be there before anything is taken from the broker: the schema, and what is known.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    api::readiness::{Board, Condition, Part},
    config::Config,
    store::{
        connect::{Backoff, Connector},
        error::{Class, class_of, describe},
        housekeeping,
        migrate::{self, Flavour},
    },
    vehicle::{knowledge::KnowledgeHandle, watch as register},
};

/// Waits for the database and brings its schema up to date; `None` when cancelled.
pub(super) async fn bring_up_database(
    config: &Config,
    connector: &Connector,
    board: &Board,
    cancel: &CancellationToken,
) -> anyhow::Result<Option<Flavour>> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let work = bring_up_once(config, connector);
        let Some(result) = cancel.run_until_cancelled(work).await else { return Ok(None) };
        match result {
            Ok(flavour) => {
                board.set(Part::Database, Condition::Up, flavour.name());
                tracing::info!(flavour = flavour.name(), "the schema is up to date");
                return Ok(Some(flavour));
            }
            Err(BringUp::Patience(why)) => {
                tracing::warn!(error = %why, "the database cannot be used yet; trying again");
                board.set(Part::Database, Condition::Down, why);
            }
            Err(BringUp::Hopeless(error)) => return Err(error),
        }
        if cancel.run_until_cancelled(backoff.wait()).await.is_none() {
            return Ok(None);
        }
    }
}

enum BringUp {
    Patience(String),
    Hopeless(anyhow::Error),
}

async fn bring_up_once(config: &Config, connector: &Connector) -> Result<Flavour, BringUp> {
    let connected = connector.connect_for_long("migrate").await;
    let client = connected.map_err(|error| match error.lasts() {
        true => BringUp::Hopeless(error.into()),
        false => BringUp::Patience(error.to_string()),
    })?;
    let class = |error: migrate::MigrateError| match error.is_transient() {
        true => BringUp::Patience(error.to_string()),
        false => BringUp::Hopeless(error.into()),
    };
    let flavour = match config.database.migrate {
        true => migrate::run(&client).await.map_err(class)?.flavour,
        false => migrate::check(&client).await.map_err(class)?,
    };
    if let Err(error) = housekeeping::apply_policies(&client, flavour, &config.retention).await {
        let why = describe(&error);
        if class_of(&error) != Class::Operator {
            return Err(BringUp::Patience(why));
        }
        // A role that only reads and writes may not set them; whoever owns the tables has.
        tracing::warn!(error = why, "retention and compression policies are left as they are");
    }
    Ok(flavour)
}

/// Loads register, lists and zones once, however long the database takes; `None` when cancelled.
pub(super) async fn load_knowledge(
    knowledge: &KnowledgeHandle,
    connector: &Connector,
    board: &Board,
    cancel: &CancellationToken,
) -> Option<()> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let mut client = connector.connect_patiently("knowledge", cancel).await?;
        match cancel.run_until_cancelled(register::refresh_once(&mut client, knowledge)).await? {
            Ok(_) => {
                show_knowledge(knowledge, board);
                return Some(());
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not load the register; trying again");
                board.set(Part::Lists, Condition::Down, error.to_string());
            }
        }
        cancel.run_until_cancelled(backoff.wait()).await?;
    }
}

pub(super) fn show_knowledge(knowledge: &KnowledgeHandle, board: &Board) {
    let sizes = knowledge.load().sizes().map(|(kind, size)| format!("{size} {kind}"));
    board.set(Part::Lists, Condition::Up, sizes.join(", "));
}
