//! The datasets in force out of the database into memory: one consistent state, read as a stream.
//!
//! Rows go straight into the builders; nothing but the growing table and one network buffer is held. The peak while
//! two registers live is two tables and a part of 1/256.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{TryStreamExt as _, pin_mut};
use tokio_postgres::{Client, IsolationLevel, Row, RowStream, Transaction, types::ToSql};

use super::{
    devices::{Binding, Device, Devices, kind_of},
    import::{
        LIST_PREFIX,
        rows::{StoredVehicle, protocol_of},
    },
    knowledge::{Knowledge, Versions},
    lists::{ListEntry, Lists, ListsBuilder},
    registry::{Registry, RegistryBuilder},
    stations::{Station, StationKind, Stations},
};
use crate::{
    reading::PlateKey,
    zone::{Hours, Zone, Zones, geojson},
};

/// Why a dataset could not be loaded; the one in memory stays.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("read the register")]
    Database(#[from] tokio_postgres::Error),
    /// Only a hand in the database can bring this about; imports check every value.
    #[error("the stored {what} makes no sense")]
    Corrupt { what: &'static str },
    #[error("build the tables")]
    Build(#[from] tokio::task::JoinError),
}

/// Reads the versions in force and loads what differs from `running`. `None` when nothing does.
///
/// # Cancel safety
///
/// Dropped midway it changes nothing; the transaction only reads.
pub async fn load_changed(client: &mut Client, running: &Knowledge) -> Result<Option<Knowledge>, LoadError> {
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let wanted = versions(&transaction).await?;
    let loaded = running.versions();
    let differs = |dataset: &str| wanted.get(dataset) != loaded.get(dataset);
    let mut next = running.clone();
    let mut changed = false;
    if differs("vehicles") {
        next.registry = Arc::new(registry(&transaction, version_of(&wanted, "vehicles")).await?);
        changed = true;
    }
    if lists_of(&wanted) != lists_of(&loaded) {
        next.lists = Arc::new(lists(&transaction, &lists_of(&wanted)).await?);
        changed = true;
    }
    if differs("stations") {
        next.stations = Arc::new(stations(&transaction, version_of(&wanted, "stations")).await?);
        changed = true;
    }
    if differs("devices") {
        next.devices = Arc::new(devices(&transaction, version_of(&wanted, "devices")).await?);
        changed = true;
    }
    if differs("zones") {
        next.zones = Arc::new(zones(&transaction, version_of(&wanted, "zones")).await?);
        changed = true;
    }
    transaction.commit().await?;
    Ok(changed.then_some(next))
}

async fn versions(transaction: &Transaction<'_>) -> Result<Versions, LoadError> {
    let rows = transaction.query("SELECT dataset, version FROM dataset_versions WHERE version > 0", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn version_of(versions: &Versions, dataset: &str) -> i32 {
    versions.get(dataset).copied().unwrap_or_default()
}

/// Name to version of the lists among the datasets.
fn lists_of(versions: &Versions) -> BTreeMap<String, i32> {
    let lists = versions.iter().filter_map(|(dataset, version)| Some((dataset.strip_prefix(LIST_PREFIX)?, *version)));
    lists.map(|(name, version)| (name.to_owned(), version)).collect()
}

async fn stream(transaction: &Transaction<'_>, statement: &str) -> Result<RowStream, LoadError> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    Ok(transaction.query_raw(statement, none).await?)
}

async fn registry(transaction: &Transaction<'_>, version: i32) -> Result<Registry, LoadError> {
    let rows = stream(
        transaction,
        "SELECT plate_key, vin, fuel, emission_stage, vehicle_kind, use_nature, state,
                registered_on - DATE '1970-01-01', local, retrofit, reference_torque_nm
         FROM vehicles WHERE to_version IS NULL",
    )
    .await?;
    pin_mut!(rows);
    let mut builder = RegistryBuilder::default();
    while let Some(row) = rows.try_next().await? {
        let stored = StoredVehicle {
            vin: row.try_get(1)?,
            fuel: row.try_get(2)?,
            emission_stage: row.try_get(3)?,
            vehicle_kind: row.try_get(4)?,
            use_nature: row.try_get(5)?,
            state: row.try_get(6)?,
            registered_on: row.try_get(7)?,
            local: row.try_get(8)?,
            retrofit: row.try_get(9)?,
            reference_torque_nm: row.try_get(10)?,
        };
        builder.push(plate_key(&row, 0)?, &stored.facts());
    }
    Ok(tokio::task::spawn_blocking(move || builder.build(version)).await?)
}

async fn lists(transaction: &Transaction<'_>, versions: &BTreeMap<String, i32>) -> Result<Lists, LoadError> {
    let mut builder = ListsBuilder::default();
    let handles: BTreeMap<&str, _> =
        versions.iter().map(|(name, &version)| (name.as_str(), builder.list(name, version))).collect();
    let rows = stream(
        transaction,
        "SELECT list, plate_key, valid_from, valid_to, reason, document_no FROM list_entries WHERE to_version IS NULL",
    )
    .await?;
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await? {
        let Some(&list) = handles.get(row.try_get::<_, &str>(0)?) else { continue };
        let entry = ListEntry {
            valid_from: row.try_get(2)?,
            valid_to: row.try_get(3)?,
            reason: row.try_get::<_, Option<&str>>(4)?.map(Into::into),
            document_no: row.try_get::<_, Option<&str>>(5)?.map(Into::into),
        };
        builder.push(list, plate_key(&row, 1)?, &entry);
    }
    Ok(tokio::task::spawn_blocking(move || builder.build()).await?)
}

async fn stations(transaction: &Transaction<'_>, version: i32) -> Result<Stations, LoadError> {
    let rows = stream(
        transaction,
        "SELECT station_id, id, kind, slope_deg, calibrated_at, certificate_until, longitude, latitude, known
         FROM current_stations",
    )
    .await?;
    pin_mut!(rows);
    let mut stations = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let kind: Option<&str> = row.try_get(2)?;
        let station = Station {
            id: row.try_get(1)?,
            kind: kind.and_then(StationKind::parse),
            slope_deg: row.try_get(3)?,
            calibrated_at: row.try_get(4)?,
            certificate_until: row.try_get(5)?,
            lon: row.try_get(6)?,
            lat: row.try_get(7)?,
            known: row.try_get(8)?,
        };
        stations.push((row.try_get::<_, &str>(0)?.into(), station));
    }
    Ok(Stations::new(version, stations))
}

async fn devices(transaction: &Transaction<'_>, version: i32) -> Result<Devices, LoadError> {
    let rows = stream(
        transaction,
        "SELECT device_id, id, kind, protocol, bound_to, emission_stage, known FROM current_devices",
    )
    .await?;
    pin_mut!(rows);
    let mut devices = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let device = Device {
            id: row.try_get(1)?,
            kind: kind_of(row.try_get(2)?).ok_or(LoadError::Corrupt { what: "kind of a device" })?,
            protocol: row.try_get::<_, Option<&str>>(3)?.and_then(protocol_of),
            bound_to: row.try_get::<_, Option<&str>>(4)?.and_then(Binding::parse),
            emission_stage: row.try_get::<_, Option<i16>>(5)?.and_then(|stage| u8::try_from(stage).ok()),
            known: row.try_get(6)?,
        };
        devices.push((row.try_get::<_, &str>(0)?.into(), device));
    }
    Ok(tokio::task::spawn_blocking(move || Devices::new(version, devices)).await?)
}

async fn zones(transaction: &Transaction<'_>, version: i32) -> Result<Zones, LoadError> {
    let rows = stream(
        transaction,
        "SELECT name, kind, rule, valid_from, valid_to, hours, geometry FROM current_zones
         ORDER BY name, rule, valid_from",
    )
    .await?;
    pin_mut!(rows);
    let mut zones = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let hours: Option<&str> = row.try_get(5)?;
        zones.push(Zone {
            name: row.try_get::<_, &str>(0)?.into(),
            kind: row.try_get::<_, &str>(1)?.into(),
            rule: row.try_get::<_, &str>(2)?.into(),
            valid_from: row.try_get(3)?,
            valid_to: row.try_get(4)?,
            hours: Hours::parse(hours.unwrap_or_default())
                .map_err(|_| LoadError::Corrupt { what: "hours of a zone" })?,
            parts: geojson::parts(&row.try_get(6)?).map_err(|_| LoadError::Corrupt { what: "outline of a zone" })?,
        });
    }
    Ok(tokio::task::spawn_blocking(move || Zones::new(version, zones)).await?)
}

fn plate_key(row: &Row, column: usize) -> Result<PlateKey, LoadError> {
    PlateKey::from_i64(row.try_get(column)?).ok_or(LoadError::Corrupt { what: "plate of a vehicle" })
}
