//! What held around a passage when it happened: the zones that hold its place, and the warnings in force.
//!
//! A fixed station stands where the register says. A mobile unit is where its reading says it is, never where the register
//! once had it. A place that neither tells, or that is none ([`Area`]), is unknown, which is not the same as outside every
//! zone.

use super::{
    knowledge::Knowledge,
    stations::{Station, StationKind},
};
use crate::{
    reading::{Area, Timestamp, passage::Passage},
    warning::{Warning, Warnings},
    zone::{Holding, Zone, Zones},
};

/// Where a passage was, as far as zones go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The zones that hold it, in force or not.
    In(Holding),
    /// Nobody says; it may be in any.
    Unknown,
}

/// Where a passage was and what was known of zones and warnings; asked as of the passage's own time. Nothing is looked up
/// before a rule asks.
#[derive(Clone, Debug)]
pub struct Surroundings<'k> {
    place: Place,
    known: Option<(&'k Zones, &'k Warnings)>,
    /// When the reading arrived, where somebody could still be stopped: what is over by then stops nobody.
    pub arrived_at: Option<Timestamp>,
}

impl<'k> Surroundings<'k> {
    /// No zone and no warning anywhere.
    pub fn none() -> Self {
        Self { place: Place::In(Holding::new()), known: None, arrived_at: None }
    }

    /// The zones in force that hold the place; where the place is unknown, those that may.
    pub fn zones(&self, at: Timestamp) -> impl Iterator<Item = &'k Zone> + use<'_, 'k> {
        let all = self.known.map(|(zones, _)| zones);
        let (held, possible) = match &self.place {
            Place::In(numbers) => (numbers.as_slice(), None),
            Place::Unknown => (&[][..], all),
        };
        let held = all.into_iter().flat_map(move |zones| zones.in_force(held.iter().copied(), at));
        held.chain(possible.into_iter().flat_map(move |zones| zones.iter().filter(move |zone| zone.in_force(at))))
    }

    pub fn place_is_known(&self) -> bool {
        self.place != Place::Unknown
    }

    /// The warnings in force, in the order of their issue.
    pub fn warnings(&self, at: Timestamp) -> impl Iterator<Item = &'k Warning> + use<'k> {
        self.known.into_iter().flat_map(move |(_, warnings)| warnings.in_force(at))
    }
}

impl Knowledge {
    /// What held around the passage. `station` is the one it happened at, as the register has it; `area` says what is a
    /// place at all.
    #[inline]
    pub fn surroundings(
        &self,
        passage: &Passage,
        station: Option<&Station>,
        arrived_at: Option<Timestamp>,
        area: &Area,
    ) -> Surroundings<'_> {
        let stands = |s: &&Station| s.kind != Some(StationKind::Mobile) && area.place(s.lon, s.lat).is_some();
        let place = match station.filter(stands) {
            _ if self.zones.is_empty() => Place::In(Holding::new()),
            Some(station) => Place::In(station.zones.clone()),
            None => match area.place(passage.longitude, passage.latitude) {
                Some([lon, lat]) => Place::In(self.zones.holding(lon, lat)),
                None => Place::Unknown,
            },
        };
        Surroundings { place, known: Some((&self.zones, &self.warnings)), arrived_at }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use geo::polygon;
    use serde_json::json;

    use super::*;
    use crate::{
        judge::tests::{book, passage_with},
        vehicle::stations::Stations,
        zone::{Classes, Datum, Hours, Zones},
    };

    fn zone() -> Zone {
        let square = polygon![(x: 117.8, y: 36.7), (x: 117.9, y: 36.7), (x: 117.9, y: 36.8), (x: 117.8, y: 36.8)];
        Zone {
            name: "core".into(),
            kind: "low_emission".into(),
            rule: "any".into(),
            valid_from: None,
            valid_to: None,
            hours: Hours::default(),
            classes: Classes::default(),
            permits: None,
            drawn_in: Datum::Wgs84,
            parts: vec![square],
        }
    }

    fn inside(kind: StationKind, registered: Option<[f64; 2]>, own: Option<[f64; 2]>) -> Option<bool> {
        let zones = Zones::new(1, [zone()]);
        let [lon, lat] = [0, 1].map(|axis| registered.map(|place| place[axis]));
        let station = Station { kind: Some(kind), lon, lat, ..Station::default() };
        let stations = Stations::new(1, [("s".into(), station)]).sited(&zones);
        let knowledge = Knowledge { zones: Arc::new(zones), stations: Arc::new(stations), ..Knowledge::default() };
        let passage = match own {
            Some([longitude, latitude]) => passage_with(json!({"longitude": longitude, "latitude": latitude})),
            None => passage_with(json!({"longitude": null, "latitude": null})),
        };
        let area = book().terminal.bounds().area;
        let around = knowledge.surroundings(&passage, knowledge.stations.find("s"), None, &area);
        around.place_is_known().then(|| around.zones(passage.passed_at).next().is_some())
    }

    #[test]
    fn a_fixed_station_is_where_the_register_says_and_a_mobile_unit_where_it_says_itself() {
        let (here, away) = ([117.85, 36.75], [118.5, 36.75]);
        assert_eq!(inside(StationKind::FixedVertical, Some(here), Some(away)), Some(true));
        assert_eq!(inside(StationKind::FixedVertical, None, Some(here)), Some(true));
        assert_eq!(inside(StationKind::Mobile, Some(here), Some(away)), Some(false));
        assert_eq!(inside(StationKind::Mobile, Some(here), None), None, "it may be anywhere by now");
        assert_eq!(inside(StationKind::BlackSmoke, None, None), None);
    }

    #[test]
    fn what_is_no_place_is_unknown_wherever_it_stands() {
        for nowhere in [[0.0, 0.0], [0.0, 36.75], [117.85, 0.0], [36.75, 117.85], [2.3, 48.8], [-9999.0, -9999.0]] {
            assert_eq!(inside(StationKind::Mobile, None, Some(nowhere)), None, "{nowhere:?}");
            assert_eq!(inside(StationKind::FixedVertical, Some(nowhere), None), None, "{nowhere:?}");
            let here = Some([117.85, 36.75]);
            assert_eq!(inside(StationKind::FixedVertical, Some(nowhere), here), Some(true), "{nowhere:?}");
        }
    }
}
