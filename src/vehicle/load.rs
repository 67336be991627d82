//! The datasets in force out of the database into memory: one consistent state, read as a stream.
//!
//! Rows go straight into the builders; nothing but the growing table and a few batches of rows is held. The peak while
//! two registers live is two tables and a part of 1/256.
//!
//! The register and the lists are taken apart on a blocking thread, batch by batch: ten million rows are seconds of work,
//! and an async worker that does them is one that takes no messages.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::{TryStreamExt as _, pin_mut};
use tokio::sync::mpsc;
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
    warning::{
        Warnings,
        ledger::{self, LedgerError, Revision},
    },
    zone::{Classes, Datum, Holding, Hours, Zone, Zones, geojson},
};

/// Why a dataset could not be loaded; the one in memory stays.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("read the register")]
    Database(#[from] tokio_postgres::Error),
    /// Only a hand in the database can bring this about; imports check every value.
    #[error("the stored {what} is none that an import writes: the table was changed by hand")]
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
    if differs("stations") || differs("zones") {
        next.stations = Arc::new(next.stations.sited(&next.zones));
    }
    if differs(ledger::DATASET) {
        next.warnings = Arc::new(warnings(&transaction, version_of(&wanted, ledger::DATASET)).await?);
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
                registered_on - DATE '1970-01-01', local, retrofit, reference_torque_nm, contradictory
         FROM vehicles WHERE to_version IS NULL",
    )
    .await?;
    let add = |builder: &mut RegistryBuilder, row: &Row| {
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
            contradictory: row.try_get(11)?,
        };
        builder.push(plate_key(row, 0)?, &stored.facts());
        Ok(())
    };
    collect(rows, RegistryBuilder::default(), add, move |builder| builder.build(version)).await
}

/// Rows handed over at once, and batches under way.
const BATCH: usize = 4_096;
const BATCHES: usize = 4;

/// Takes a stream of rows apart and builds a table of them, both on a blocking thread.
async fn collect<B: Send + 'static, T: Send + 'static>(
    rows: RowStream,
    mut builder: B,
    add: impl Fn(&mut B, &Row) -> Result<(), LoadError> + Send + 'static,
    build: impl FnOnce(B) -> T + Send + 'static,
) -> Result<T, LoadError> {
    let (sender, mut batches) = mpsc::channel::<Vec<Row>>(BATCHES);
    let work = tokio::task::spawn_blocking(move || {
        while let Some(batch) = batches.blocking_recv() {
            for row in &batch {
                add(&mut builder, row)?;
            }
        }
        Ok(build(builder))
    });
    let read = async {
        pin_mut!(rows);
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(row) = rows.try_next().await? {
            batch.push(row);
            // The receiver is gone when a row made no sense, which is what will be reported.
            if batch.len() == BATCH
                && sender.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).await.is_err()
            {
                return Ok(());
            }
        }
        let _ = sender.send(batch).await;
        Ok::<(), tokio_postgres::Error>(())
    };
    let read = read.await;
    drop(sender);
    let built = work.await?;
    // A stream cut short leaves a table that must not be used.
    read?;
    built
}

async fn lists(transaction: &Transaction<'_>, versions: &BTreeMap<String, i32>) -> Result<Lists, LoadError> {
    let mut builder = ListsBuilder::default();
    let handles: BTreeMap<String, _> =
        versions.iter().map(|(name, &version)| (name.clone(), builder.list(name, version))).collect();
    let rows = stream(
        transaction,
        "SELECT list, plate_key, valid_from, valid_to, reason, document_no FROM list_entries WHERE to_version IS NULL",
    )
    .await?;
    let add = move |builder: &mut ListsBuilder, row: &Row| {
        let Some(&list) = handles.get(row.try_get::<_, &str>(0)?) else { return Ok(()) };
        let entry = ListEntry {
            valid_from: row.try_get(2)?,
            valid_to: row.try_get(3)?,
            reason: row.try_get::<_, Option<&str>>(4)?.map(Into::into),
            document_no: row.try_get::<_, Option<&str>>(5)?.map(Into::into),
        };
        builder.push(list, plate_key(row, 1)?, &entry);
        Ok(())
    };
    collect(rows, builder, add, ListsBuilder::build).await
}

async fn stations(transaction: &Transaction<'_>, version: i32) -> Result<Stations, LoadError> {
    let rows = stream(
        transaction,
        "SELECT station_id, id, kind, slope_deg, calibrated_at, certificate_until, longitude, latitude, known,
             ARRAY(SELECT v.calibrated_at FROM station_versions v
                   WHERE v.station_id = c.station_id AND v.to_version IS NOT NULL AND v.calibrated_at IS NOT NULL)
         FROM current_stations c",
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
            earlier_calibrations: row.try_get::<_, Vec<crate::reading::Timestamp>>(9)?.into(),
            certificate_until: row.try_get(5)?,
            lon: row.try_get(6)?,
            lat: row.try_get(7)?,
            known: row.try_get(8)?,
            zones: Holding::default(),
        };
        stations.push((row.try_get::<_, &str>(0)?.into(), station));
    }
    Ok(Stations::new(version, stations))
}

async fn devices(transaction: &Transaction<'_>, version: i32) -> Result<Devices, LoadError> {
    let rows = stream(
        transaction,
        "SELECT device_id, id, kind, protocol, bound_to, emission_stage, known, power_w FROM current_devices",
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
            power_w: row.try_get::<_, Option<i32>>(7)?.and_then(|power| u32::try_from(power).ok()),
        };
        devices.push((row.try_get::<_, &str>(0)?.into(), device));
    }
    Ok(tokio::task::spawn_blocking(move || Devices::new(version, devices)).await?)
}

async fn zones(transaction: &Transaction<'_>, version: i32) -> Result<Zones, LoadError> {
    let rows = stream(
        transaction,
        "SELECT name, kind, rule, valid_from, valid_to, hours, geometry, vehicle_classes, permits, drawn_in
         FROM current_zones
         ORDER BY name, rule, valid_from",
    )
    .await?;
    pin_mut!(rows);
    let mut zones = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let hours: Option<&str> = row.try_get(5)?;
        let classes: Option<&str> = row.try_get(7)?;
        let drawn_in: Option<&str> = row.try_get(9)?;
        zones.push(Zone {
            name: row.try_get::<_, &str>(0)?.into(),
            kind: row.try_get::<_, &str>(1)?.into(),
            rule: row.try_get::<_, &str>(2)?.into(),
            valid_from: row.try_get(3)?,
            valid_to: row.try_get(4)?,
            hours: Hours::parse(hours.unwrap_or_default())
                .map_err(|_| LoadError::Corrupt { what: "hours of a zone" })?,
            classes: Classes::parse(classes.unwrap_or_default())
                .map_err(|_| LoadError::Corrupt { what: "classes of a zone" })?,
            permits: row.try_get::<_, Option<&str>>(8)?.map(Into::into),
            drawn_in: drawn_in
                .map_or(Some(Datum::Wgs84), Datum::parse)
                .ok_or(LoadError::Corrupt { what: "datum of a zone" })?,
            parts: geojson::parts(&row.try_get(6)?).map_err(|_| LoadError::Corrupt { what: "outline of a zone" })?,
        });
    }
    Ok(tokio::task::spawn_blocking(move || Zones::new(version, zones)).await?)
}

async fn warnings(transaction: &Transaction<'_>, version: i32) -> Result<Warnings, LoadError> {
    let rows = transaction.query(&ledger::select("current_warnings"), &[]).await?;
    let standing: Vec<_> = rows.iter().map(ledger::read).collect::<Result<_, _>>().map_err(|error| match error {
        LedgerError::Database(error) => LoadError::Database(error),
        LedgerError::Corrupt | LedgerError::Refused(_) => LoadError::Corrupt { what: "warning" },
    })?;
    Ok(Warnings::of_acts(version, standing.into_iter().map(Revision::standing)))
}

fn plate_key(row: &Row, column: usize) -> Result<PlateKey, LoadError> {
    PlateKey::from_i64(row.try_get(column)?).ok_or(LoadError::Corrupt { what: "plate of a vehicle" })
}
