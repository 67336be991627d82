//! Small integer keys for stations and devices that no register names yet.
//!
//! A reading of an unknown station is stored under a key too, so the identity is made on first sight with
//! `known = false` and outlives every version of the register. Many writers may meet the same newcomer at once: the
//! unique constraint decides, and everyone gets the same key.

use tokio_postgres::{Client, types::ToSql};

use super::devices::kind_name;
use crate::{
    config::SourceKind,
    reading::{DeviceId, StationId},
    store::error::{Class, class_of, describe},
};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("look up or make the identity")]
    Database(#[from] tokio_postgres::Error),
    #[error("a remote-sensing rig is a station, not a device")]
    NotADevice,
    /// Somebody deletes identities while we make them; nothing in this service does.
    #[error("the identity vanished while it was made")]
    Vanished,
}

impl DirectoryError {
    /// What should be done about it, by the one table of classes.
    pub fn class(&self) -> Class {
        match self {
            DirectoryError::Database(error) => class_of(error),
            DirectoryError::NotADevice => Class::Poison,
            DirectoryError::Vanished => Class::Again,
        }
    }

    /// One sentence with the cause.
    pub fn describe(&self) -> String {
        match self {
            DirectoryError::Database(error) => format!("{self}: {}", describe(error)),
            _ => self.to_string(),
        }
    }
}

/// A newcomer made by another writer between our look and our insert is there at the second look.
const ATTEMPTS: u32 = 4;

/// The key of a station, made if there is none.
pub async fn get_or_create_station(client: &Client, station_id: &StationId) -> Result<i32, DirectoryError> {
    let statement = "WITH found AS (SELECT id FROM stations WHERE station_id = $1),
             made AS (INSERT INTO stations (station_id) SELECT $1 WHERE NOT EXISTS (SELECT FROM found)
                      ON CONFLICT DO NOTHING RETURNING id)
         SELECT id FROM found UNION ALL SELECT id FROM made";
    get_or_create(client, statement, &[&station_id.as_str()]).await
}

/// The key of a device of that kind, made if there is none.
pub async fn get_or_create_device(
    client: &Client,
    kind: SourceKind,
    device_id: &DeviceId,
) -> Result<i32, DirectoryError> {
    let kind = kind_name(kind).ok_or(DirectoryError::NotADevice)?;
    let statement = "WITH found AS (SELECT id FROM devices WHERE device_id = $1 AND kind = $2),
             made AS (INSERT INTO devices (device_id, kind) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM found)
                      ON CONFLICT DO NOTHING RETURNING id)
         SELECT id FROM found UNION ALL SELECT id FROM made";
    get_or_create(client, statement, &[&device_id.as_str(), &kind]).await
}

/// The statement gives no row when another writer's insert was in the way: it waited for that to commit, but its
/// snapshot is older. The next attempt sees it.
async fn get_or_create(
    client: &Client,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<i32, DirectoryError> {
    for _ in 0..ATTEMPTS {
        if let Some(row) = client.query_opt(statement, parameters).await? {
            return Ok(row.try_get(0)?);
        }
    }
    Err(DirectoryError::Vanished)
}
