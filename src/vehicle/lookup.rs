//! One vehicle out of the database, for a desk that asks about it: no register in memory is needed for that.

use std::collections::BTreeMap;

use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use super::{
    facts::{ListHit, Vehicle},
    import::{LIST_PREFIX, rows::StoredVehicle},
    load::LoadError,
};
use crate::reading::{PlateKey, Timestamp};

/// What register and lists in force say of one vehicle.
#[derive(Clone, Debug)]
pub struct Found {
    pub vehicle: Option<Registered>,
    /// 0 when no register was ever imported.
    pub registry_version: i32,
    /// Entries in force at the time asked about, by list.
    pub entries: Vec<ListHit>,
    /// Every list that was ever imported, with its version in force.
    pub lists: BTreeMap<String, i32>,
}

/// A row of the register with its texts.
#[derive(Clone, Debug)]
pub struct Registered {
    pub vin: Option<String>,
    pub fuel: Option<String>,
    pub emission_stage: Option<i16>,
    pub vehicle_kind: Option<String>,
    pub use_nature: Option<String>,
    pub state: Option<String>,
    /// Days since 1970-01-01.
    pub registered_on: Option<i32>,
    pub local: Option<bool>,
    pub retrofit: bool,
    pub reference_torque_nm: Option<i32>,
    /// Rows of the register contradict each other or themselves.
    pub contradictory: bool,
}

impl Registered {
    /// What rules ask of it.
    pub fn facts(&self) -> Vehicle {
        StoredVehicle {
            vin: self.vin.as_deref(),
            fuel: self.fuel.as_deref(),
            emission_stage: self.emission_stage,
            vehicle_kind: self.vehicle_kind.as_deref(),
            use_nature: self.use_nature.as_deref(),
            state: self.state.as_deref(),
            registered_on: self.registered_on,
            local: self.local,
            retrofit: self.retrofit,
            reference_torque_nm: self.reference_torque_nm,
            contradictory: self.contradictory,
        }
        .facts()
    }

    /// Reads [`COLUMNS`], of which the first stands at that place.
    pub(super) fn read(row: &Row, first: usize) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            vin: row.try_get(first)?,
            fuel: row.try_get(first + 1)?,
            emission_stage: row.try_get(first + 2)?,
            vehicle_kind: row.try_get(first + 3)?,
            use_nature: row.try_get(first + 4)?,
            state: row.try_get(first + 5)?,
            registered_on: row.try_get(first + 6)?,
            local: row.try_get(first + 7)?,
            retrofit: row.try_get(first + 8)?,
            reference_torque_nm: row.try_get(first + 9)?,
            contradictory: row.try_get(first + 10)?,
        })
    }
}

/// Columns of a row `v` of the register, in the order of [`Registered`].
pub(super) const COLUMNS: &str = "v.vin, v.fuel, v.emission_stage, v.vehicle_kind, v.use_nature, v.state, \
     v.registered_on - DATE '1970-01-01', v.local, v.retrofit, v.reference_torque_nm, v.contradictory";

/// Looks the vehicle up in one consistent state. What is answered about the past is what the versions in force now say of
/// that time.
pub async fn lookup(client: &mut Client, key: PlateKey, at: Timestamp) -> Result<Found, LoadError> {
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let vehicle = vehicle(&transaction, key).await?;
    let rows = transaction.query("SELECT dataset, version FROM dataset_versions WHERE version > 0", &[]).await?;
    let versions: BTreeMap<String, i32> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let registry_version = versions.get("vehicles").copied().unwrap_or_default();
    let lists: BTreeMap<String, i32> = versions
        .iter()
        .filter_map(|(dataset, version)| Some((dataset.strip_prefix(LIST_PREFIX)?.to_owned(), *version)))
        .collect();
    let entries = entries(&transaction, key, at, &lists).await?;
    transaction.commit().await?;
    Ok(Found { vehicle, registry_version, entries, lists })
}

async fn vehicle(transaction: &Transaction<'_>, key: PlateKey) -> Result<Option<Registered>, tokio_postgres::Error> {
    let statement = format!("SELECT {COLUMNS} FROM vehicles v WHERE v.plate_key = $1 AND v.to_version IS NULL");
    let row = transaction.query_opt(&statement, &[&key.as_i64()]).await?;
    row.map(|row| Registered::read(&row, 0)).transpose()
}

async fn entries(
    transaction: &Transaction<'_>,
    key: PlateKey,
    at: Timestamp,
    lists: &BTreeMap<String, i32>,
) -> Result<Vec<ListHit>, tokio_postgres::Error> {
    let rows = transaction
        .query(
            "SELECT list, valid_from, valid_to, reason, document_no FROM list_entries \
             WHERE plate_key = $1 AND to_version IS NULL AND coalesce(valid_from <= $2, true) \
               AND coalesce($2 < valid_to, true) ORDER BY list, valid_from NULLS FIRST",
            &[&key.as_i64(), &at],
        )
        .await?;
    let text = |row: &Row, place: usize| row.get::<_, Option<String>>(place).map(Into::into);
    let hit = |row: &Row| {
        let list: String = row.get(0);
        ListHit {
            version: lists.get(&list).copied().unwrap_or_default(),
            list: list.into(),
            valid_from: row.get(1),
            valid_to: row.get(2),
            reason: text(row, 3),
            document_no: text(row, 4),
        }
    };
    Ok(rows.iter().map(hit).collect())
}
