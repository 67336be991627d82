//! The same files without a database: for the `judge` command and for tests. Rows are checked by the same code and
//! duplicates are treated the same way.

use std::path::Path;

use hashbrown::{HashMap, hash_map::Entry};

use super::{
    ImportError, Refusals,
    apply::ReadSummary,
    encoding::{Inspected, inspect},
    rows::{DeviceRow, ListRow, Row, StationRow, VehicleRow, ZoneRow},
    sheet::Sheet,
};
use crate::{
    vehicle::{
        devices::Devices,
        lists::ListsBuilder,
        registry::{Registry, RegistryBuilder},
        stations::Stations,
    },
    zone::Zones,
};

/// Version of tables that came from a file and not from a database.
const VERSION: i32 = 1;

/// Hash, length and encoding of a file.
pub fn inspect_file(path: &Path) -> Result<Inspected, ImportError> {
    let found = inspect(path).map_err(|source| ImportError::Read { path: path.display().to_string(), source })?;
    Ok(found?)
}

pub fn vehicles(path: &Path) -> Result<(Registry, ReadSummary), ImportError> {
    let (rows, summary) = entries::<VehicleRow, _>(path, |row| row.key)?;
    let mut builder = RegistryBuilder::default();
    for row in rows {
        builder.push(row.key, &row.facts());
    }
    Ok((builder.build(VERSION), summary))
}

/// Adds a list to those collected so far.
pub fn list(name: &str, path: &Path, lists: &mut ListsBuilder) -> Result<ReadSummary, ImportError> {
    let (rows, summary) = entries::<ListRow, _>(path, |row| (row.key, row.entry.valid_from))?;
    let handle = lists.list(name, VERSION);
    for row in rows {
        lists.push(handle, row.key, &row.entry);
    }
    Ok(summary)
}

pub fn stations(path: &Path) -> Result<(Stations, ReadSummary), ImportError> {
    let (rows, summary) = entries::<StationRow, _>(path, |row| row.station_id.clone())?;
    let stations = (1..).zip(&rows).map(|(id, row)| (row.station_id.as_str().into(), row.station(id)));
    Ok((Stations::new(VERSION, stations), summary))
}

pub fn devices(path: &Path) -> Result<(Devices, ReadSummary), ImportError> {
    let (rows, summary) = entries::<DeviceRow, _>(path, |row| (row.device_id.clone(), row.device(0).kind))?;
    let devices = (1..).zip(&rows).map(|(id, row)| (row.device_id.as_str().into(), row.device(id)));
    Ok((Devices::new(VERSION, devices), summary))
}

pub fn zones(path: &Path) -> Result<(Zones, ReadSummary), ImportError> {
    let mut refusals = Refusals::default();
    let mut seen = Unique::default();
    let key = |row: &ZoneRow| (row.zone.name.clone(), row.zone.rule.clone(), row.zone.valid_from);
    let rows = ZoneRow::read_file(path, &mut refusals, |number, row| {
        seen.add(key(&row), number, row);
        true
    })?;
    let zones = seen.finish("name, rule and valid_from", &mut refusals);
    Ok((Zones::new(VERSION, zones.into_iter().map(|row| row.zone)), ReadSummary { rows, refusals }))
}

fn entries<E, K>(path: &Path, key: impl Fn(&E) -> K) -> Result<(Vec<E>, ReadSummary), ImportError>
where
    E: Row + PartialEq,
    K: Eq + std::hash::Hash,
{
    let inspected = inspect_file(path)?;
    let mut sheet = Sheet::open(path, inspected.encoding, E::HEADER)?;
    let mut refusals = Refusals::default();
    let mut seen = Unique::default();
    let rows = sheet.read(E::parse, &mut refusals, |number, row| {
        seen.add(key(&row), number, row);
        true
    })?;
    let entries = seen.finish(E::KEY_WORDS, &mut refusals);
    Ok((entries, ReadSummary { rows, refusals }))
}

/// Rows by key, in file order; what `apply` does in SQL.
struct Unique<K, E> {
    places: HashMap<K, usize>,
    rows: Vec<Vec<(u64, E)>>,
}

impl<K, E> Default for Unique<K, E> {
    fn default() -> Self {
        Self { places: HashMap::new(), rows: Vec::new() }
    }
}

impl<K: Eq + std::hash::Hash, E: PartialEq> Unique<K, E> {
    fn add(&mut self, key: K, number: u64, row: E) {
        match self.places.entry(key) {
            Entry::Vacant(place) => {
                place.insert(self.rows.len());
                self.rows.push(vec![(number, row)]);
            }
            Entry::Occupied(place) => {
                if let Some(rows) = self.rows.get_mut(*place.get()) {
                    rows.push((number, row));
                }
            }
        }
    }

    fn finish(self, key_words: &str, refusals: &mut Refusals) -> Vec<E> {
        let mut taken = Vec::with_capacity(self.rows.len());
        let mut found = Refusals::default();
        for rows in self.rows {
            let numbers: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
            let first = rows.first().map(|(_, row)| row);
            let contradicts = rows.iter().any(|(_, row)| Some(row) != first);
            for number in numbers.iter().skip(usize::from(!contradicts)) {
                let other = numbers.iter().find(|other| *other != number).copied().unwrap_or_default();
                found.push(
                    *number,
                    if contradicts {
                        format!("same {key_words} as row {other} with other content: neither is taken")
                    } else {
                        format!("repeats row {other}")
                    },
                );
            }
            if !contradicts {
                taken.extend(rows.into_iter().next().map(|(_, row)| row));
            }
        }
        refusals.merge(found);
        taken
    }
}
