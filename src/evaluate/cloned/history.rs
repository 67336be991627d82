//! The sightings of a plate from the store, and its findings brought in step with them.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::{CLONE_RULE, Place, PlaceSource, Rule, Sighting, findings, pairs};
use crate::{
    evaluate::{
        reconcile::{self, Change, Desired},
        vehicle,
    },
    pipeline::passage::reading_name,
    reading::{Area, PlateKey, Timestamp},
    store::prepared::Prepared,
    vehicle::carrier::NOT_SURE,
};

/// Reconciles the findings of each plate for the days that its tasks touch.
pub async fn evaluate(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    plates: &[(i64, (Timestamp, Timestamp))],
    rule: &Rule,
) -> Result<Vec<Change>, tokio_postgres::Error> {
    let mut changes = Vec::new();
    for (key, (from, to)) in plates {
        let Some(key) = PlateKey::from_i64(*key) else { continue };
        let (first, last) = (from.china_day(), to.china_day());
        let (sightings, places) = load(transaction, prepared, key, first, last, rule).await?;
        let mut pairs = pairs(&sightings, rule);
        pairs.retain(|pair| (first..=last).contains(&pair.later.passed_at.china_day()));
        let desired = Desired { made: findings(key, &pairs, rule), maker_of: vec![CLONE_RULE], ..Desired::default() };
        let subject = key.to_string();
        let mut existing = reconcile::existing(transaction, prepared, std::slice::from_ref(&subject)).await?;
        let mut existing = existing.remove(&subject).unwrap_or_default();
        // Other rules are other evaluations' business, and other days were not looked at.
        let is_of_the_days = |to: Timestamp| (first..=last).contains(&to.china_day());
        existing.retain(|old| old.finding.rule == CLONE_RULE && is_of_the_days(old.finding.to));
        let kept: HashMap<Uuid, BTreeSet<String>> =
            existing.iter().map(|old| (old.finding.id, old.readings.iter().cloned().collect())).collect();
        let mut found = reconcile::compare(desired, existing);
        for finding in found.iter_mut().filter_map(Change::finding_in_force) {
            let kept = kept.get(&finding.id);
            finding.evidence.retain(|evidence| !kept.is_some_and(|kept| kept.contains(&evidence.reading)));
            finding.evidence = vehicle::evidence(transaction, prepared, finding, &places).await?;
        }
        changes.extend(found);
    }
    Ok(changes)
}

/// Every sighting that a pair of these days may be made of, and where its raw payload lies.
async fn load(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    key: PlateKey,
    first: NaiveDate,
    last: NaiveDate,
    rule: &Rule,
) -> Result<(Vec<Sighting>, HashMap<String, vehicle::Place>), tokio_postgres::Error> {
    let midnight = |day: NaiveDate| Timestamp::from_china_naive(day.and_time(chrono::NaiveTime::MIN));
    let from = midnight(first).plus_seconds(-i64::from(rule.window_seconds));
    let to = midnight(last).plus_seconds(86_400);
    let rows = prepared
        .query(
            transaction,
            "SELECT k.station, k.record_id, k.passed_at, k.lon, k.lat, s.station_id, s.kind, s.longitude, s.latitude \
             FROM passage_key k JOIN current_stations s ON s.id = k.station \
             WHERE k.plate_key = $1 AND k.passed_at >= $2 AND k.passed_at < $3 AND k.carrier IS DISTINCT FROM $4",
            &[&key.as_i64(), &from, &to, &NOT_SURE],
        )
        .await?;
    let mut sightings = Vec::new();
    let mut places = HashMap::new();
    for row in &rows {
        let (station, record): (String, String) = (row.get("station_id"), row.get("record_id"));
        let passed_at = row.get("passed_at");
        places.insert(reading_name(&station, &record), vehicle::Place { station: row.get("station"), passed_at });
        if let Some(place) = place(row, &rule.area) {
            sightings.push(Sighting { station, record, passed_at, place });
        }
    }
    Ok((sightings, places))
}

/// Where a reading was made: columns `kind`, `longitude`, `latitude` of the station and `lon`, `lat` of the reading.
fn place(row: &Row, area: &Area) -> Option<Place> {
    let station = station_place(row, area);
    station.or_else(|| reading_place(row, area))
}

/// The register's place of a station; `None` for one that moves or that nobody has placed.
pub(super) fn station_place(row: &Row, area: &Area) -> Option<Place> {
    let moves = row.get::<_, Option<&str>>("kind") == Some("mobile");
    let [lon, lat] = area.place(row.get("longitude"), row.get("latitude"))?;
    Some(Place { lon, lat, source: PlaceSource::Register }).filter(|_| !moves)
}

pub(super) fn reading_place(row: &Row, area: &Area) -> Option<Place> {
    let [lon, lat] = area.place(row.get("lon"), row.get("lat"))?;
    Some(Place { lon, lat, source: PlaceSource::Reading })
}
