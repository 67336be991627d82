//! The same files without a database: for the `judge` command and for tests. Rows are checked by the same code and
//! duplicates are treated the same way.

use std::path::Path;

use hashbrown::{HashMap, hash_map::Entry};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    ImportError, Refusals,
    accounts::ReadSummary,
    encoding::{Inspected, inspect},
    inspections::{InspectionRow, Reports, refuse_repeats},
    rows::{
        CONTRADICTS_ITSELF, DeviceRow, Exclusive, ListRow, Row, StationRow, Stored, VehicleRow, ZoneRow, contradicts,
        shares,
    },
    settle::settle,
    sheet::{Cells, Columns, Reading, Sheet},
};
use crate::{
    reading::{Area, Timestamp},
    strict_json,
    vehicle::{
        devices::Devices,
        lists::ListsBuilder,
        registry::{Registry, RegistryBuilder},
        stations::Stations,
    },
    warning::{Level, Warning, Warnings},
    zone::{Datum, Zones},
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

/// Stations that stand in the area.
pub fn stations(path: &Path, area: &Area) -> Result<(Stations, ReadSummary), ImportError> {
    let parse = |cells: &Cells| StationRow::parse_in(cells, area);
    let (rows, summary) = parsed_entries(path, parse, |row: &StationRow| row.station_id.clone())?;
    let stations = (1..).zip(&rows).map(|(id, row)| (row.station_id.as_str().into(), row.station(id)));
    Ok((Stations::new(VERSION, stations), summary))
}

pub fn devices(path: &Path) -> Result<(Devices, ReadSummary), ImportError> {
    let (rows, summary) = entries::<DeviceRow, _>(path, |row| (row.device_id.clone(), row.device(0).kind))?;
    let devices = (1..).zip(&rows).map(|(id, row)| (row.device_id.as_str().into(), row.device(id)));
    Ok((Devices::new(VERSION, devices), summary))
}

/// Reports as an import into an empty database would have them; those that wait for a decision are named as contradictory.
pub fn inspections(path: &Path) -> Result<(Reports, ReadSummary), ImportError> {
    let mut sheet = open(path, InspectionRow::HEADER, InspectionRow::parse)?;
    let (mut taken, mut read) = (Vec::new(), ReadSummary::default());
    sheet.read(InspectionRow::parse, &mut read, |number, row| {
        taken.push((number, row));
        true
    })?;
    let taken = refuse_repeats(taken, &mut read.refusals);
    read.balance(taken.len() as u64)?;
    let reports = Reports::of(taken, &mut read.contradictions);
    Ok((reports, read))
}

/// Opens a file in the encoding that its rows tell.
fn open<E: PartialEq>(
    path: &Path,
    columns: Columns,
    parse: impl Fn(&Cells) -> Result<E, String> + Copy,
) -> Result<Sheet, ImportError> {
    let mut inspected = inspect_file(path)?;
    let reading = Reading::default();
    settle(path, &mut inspected, &reading, columns, parse)?;
    Sheet::open(path, inspected.form, &reading, columns)
}

pub fn zones(path: &Path, datum: Datum, area: &Area) -> Result<(Zones, ReadSummary), ImportError> {
    let mut refusals = Refusals::default();
    let mut seen = Unique::default();
    let key = |row: &ZoneRow| (row.zone.name.clone(), row.zone.rule.clone(), row.zone.valid_from);
    let rows = ZoneRow::read_file(path, datum, area, &mut refusals, |number, row| {
        seen.add(key(&row), number, row);
        true
    })?;
    let mut summary = ReadSummary { rows, refusals, ..ReadSummary::default() };
    let zones = seen.finish(&mut summary)?;
    Ok((Zones::new(VERSION, zones.into_iter().map(|row| row.zone)), summary))
}

/// A line of a file of warnings: an act as `warning list --json` prints it, or less.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WarningLine {
    warning: i64,
    #[serde(default = "first")]
    revision: i32,
    level: Level,
    issued_at: Timestamp,
    lifted_at: Option<Timestamp>,
    #[serde(default)]
    withdrawn: bool,
    document_no: Option<Box<str>>,
    // Who did what and why changes nothing for a vehicle.
    #[serde(rename = "action", default)]
    _action: IgnoredAny,
    #[serde(rename = "done_by", default)]
    _done_by: IgnoredAny,
    #[serde(rename = "done_at", default)]
    _done_at: IgnoredAny,
    #[serde(rename = "why", default)]
    _why: IgnoredAny,
}

fn first() -> i32 {
    1
}

/// Warnings, one JSON object a line: how each stands, or every act about it. A line that is wrong ends it: a warning left
/// out would acquit whoever drove through it.
pub fn warnings(path: &Path) -> Result<Warnings, ImportError> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| ImportError::Read { path: shown.clone(), source })?;
    let whole =
        |fault: strict_json::Fault| ImportError::NotAWarning { path: shown.clone(), line: 1, why: fault.to_string() };
    let (_, text) = strict_json::text(&bytes).map_err(whole)?;
    let mut acts: Vec<(Warning, bool)> = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let wrong = |why: String| ImportError::NotAWarning { path: shown.clone(), line, why };
        strict_json::check(text).map_err(|fault| wrong(fault.to_string()))?;
        let read: WarningLine = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let WarningLine { warning: id, revision, level, issued_at, lifted_at, withdrawn, document_no, .. } = read;
        if lifted_at.is_some_and(|lifted| lifted <= issued_at) {
            return Err(wrong("the lifting is not after the issue".into()));
        }
        if acts.iter().any(|(known, _)| (known.id, known.revision) == (id, revision)) {
            return Err(wrong("an earlier line has the same warning and revision".into()));
        }
        acts.push((Warning { id, revision, level, issued_at, lifted_at, document_no }, withdrawn));
    }
    Ok(Warnings::of_acts(VERSION, acts))
}

fn entries<E, K>(path: &Path, key: impl Fn(&E) -> K) -> Result<(Vec<E>, ReadSummary), ImportError>
where
    E: Row + PartialEq,
    K: Eq + std::hash::Hash,
{
    parsed_entries(path, E::parse, key)
}

fn parsed_entries<E, K>(
    path: &Path,
    parse: impl Fn(&Cells) -> Result<E, String> + Copy,
    key: impl Fn(&E) -> K,
) -> Result<(Vec<E>, ReadSummary), ImportError>
where
    E: Row + PartialEq,
    K: Eq + std::hash::Hash,
{
    let mut sheet = open(path, E::HEADER, parse)?;
    let (mut summary, mut seen) = (ReadSummary::default(), Unique::default());
    sheet.read(parse, &mut summary, |number, row| {
        seen.add(key(&row), number, row);
        true
    })?;
    let entries = seen.finish(&mut summary)?;
    Ok((entries, summary))
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

impl<K: Eq + std::hash::Hash, E: PartialEq + Stored> Unique<K, E> {
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

    fn finish(self, summary: &mut ReadSummary) -> Result<Vec<E>, ImportError> {
        let mut taken = Vec::with_capacity(self.rows.len());
        let (mut refused, mut kept) = (Refusals::default(), Refusals::default());
        for rows in self.rows {
            let numbers: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
            let other = |number: u64| numbers.iter().find(|other| **other != number).copied().unwrap_or_default();
            let first = rows.first().map(|(_, row)| row);
            if rows.iter().all(|(_, row)| Some(row) == first) {
                for &number in numbers.iter().skip(1) {
                    refused.push(number, format!("repeats row {}", other(number)));
                }
                let first = rows.into_iter().next();
                if let Some((number, row)) = &first
                    && row.contradicts_itself()
                {
                    kept.push(*number, CONTRADICTS_ITSELF);
                }
                taken.extend(first);
                continue;
            }
            let all: Vec<&E> = rows.iter().map(|(_, row)| row).collect();
            match E::agreed(&all) {
                Some((agreed, disputed)) => {
                    summary.merged += numbers.len().saturating_sub(1) as u64;
                    numbers.iter().for_each(|&number| kept.push(number, contradicts::<E>(other(number), &disputed)));
                    taken.push((numbers.first().copied().unwrap_or_default(), agreed));
                }
                None => {
                    for &number in &numbers {
                        let (words, other) = (E::KEY_WORDS, other(number));
                        refused
                            .push(number, format!("same {words} as row {other} with other content: neither is taken"));
                    }
                }
            }
        }
        flag_shared(&mut taken, &mut kept);
        summary.refusals.merge(refused);
        summary.contradictions.merge(kept);
        summary.balance(taken.len() as u64)?;
        Ok(taken.into_iter().map(|(_, row)| row).collect())
    }
}

/// Flags rows in use that share what one of them alone can have.
fn flag_shared<E: Stored>(rows: &mut [(u64, E)], kept: &mut Refusals) {
    let Some(Exclusive { column, .. }) = E::EXCLUSIVE else { return };
    let mut spans: HashMap<&str, (u64, u64)> = HashMap::new();
    for (number, row) in rows.iter() {
        let Some(value) = row.exclusive() else { continue };
        let (first, last) = spans.entry(value).or_insert((*number, *number));
        (*first, *last) = ((*first).min(*number), (*last).max(*number));
    }
    let shared: Vec<(usize, u64)> = rows
        .iter()
        .enumerate()
        .filter_map(|(place, (number, row))| {
            let &(first, last) = spans.get(row.exclusive()?)?;
            let other = if *number == first { last } else { first };
            (first != last && !row.contradicts_itself()).then_some((place, other))
        })
        .collect();
    drop(spans);
    for (place, other) in shared {
        if let Some((number, row)) = rows.get_mut(place) {
            row.flag();
            kept.push(*number, shares(other, column));
        }
    }
}

#[cfg(test)]
mod tests;
