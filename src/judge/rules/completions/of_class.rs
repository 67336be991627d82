//! Rules by fuel, stage, kind and use, by list, place and warning: R1 to R4, R7 to R10, and the limits themselves.

use std::sync::{Arc, LazyLock};

use geo::polygon;
use serde_json::json;

use super::*;
use crate::{
    judge::{
        Outcome,
        rules::BUILT_IN,
        tests::{book, passage_with, truck},
    },
    vehicle::knowledge::Knowledge,
    warning::{Level, Warning, Warnings},
    zone::{Classes as ZoneClasses, Datum, Hours, Zone, Zones},
};

/// Which rule is asked, by which table, in which zone.
struct Rule {
    rules: Rules,
    knowledge: Knowledge,
    passages: [Passage; 3],
    unread: Passage,
    area: crate::reading::Area,
    name: &'static str,
    /// Inputs the rule goes by, in the order in which they are filled in.
    inputs: &'static [&'static str],
    vehicles: Vec<Vehicle>,
}

const KINDS: [&[u8; 3]; 4] = [b"H11", b"Q31", b"K33", b"X99"];
/// Freight, not operating, ambulance, school bus.
const USES: [u8; 4] = [b'F', b'A', b'J', b'O'];

fn zone(classes: &str) -> Zone {
    Zone {
        name: "core".into(),
        kind: "low_emission".into(),
        rule: "diesel_truck_stage_min_4".into(),
        valid_from: None,
        valid_to: None,
        hours: Hours::default(),
        classes: ZoneClasses::parse(classes).expect("classes"),
        permits: Some("permit".into()),
        drawn_in: Datum::Wgs84,
        parts: vec![polygon![(x: 117.8, y: 36.7), (x: 117.9, y: 36.7), (x: 117.9, y: 36.8), (x: 117.8, y: 36.8)]],
    }
}

/// Passages in the zone, outside and nowhere; the ordinary one names no station that stands still.
fn passages() -> [Passage; 3] {
    static PASSAGES: LazyLock<[Passage; 3]> = LazyLock::new(|| {
        let at = |lon: Option<f64>, lat: Option<f64>| passage_with(json!({"longitude": lon, "latitude": lat}));
        [at(Some(117.85), Some(36.75)), at(Some(118.5), Some(36.75)), at(None, None)]
    });
    PASSAGES.clone()
}

impl Rule {
    fn of(name: &'static str, inputs: &'static [&'static str], text: &str, classes: &str) -> Self {
        let knowledge = Knowledge { zones: Arc::new(Zones::new(1, [zone(classes)])), ..Knowledge::default() };
        let mut vehicles = Vec::new();
        for letters in FUELS {
            for stage in [0, 2, 3, 4, 6, 99] {
                for kind in KINDS {
                    for use_nature in USES {
                        let world = World::of(Vehicle { kind: *kind, use_nature, ..truck() });
                        let stage = EmissionStage::from_code(stage);
                        let is_true = crate::vehicle::fuel::stage_fits(stage, letters);
                        let vehicle = world.with(set_fuel(letters)).vehicle.filter(|_| is_true);
                        vehicles.extend(vehicle.map(|vehicle| Vehicle { stage, ..vehicle }));
                    }
                }
            }
        }
        let unread = passage_with(json!({"plate": null}));
        let rules = Rules::parse(text).expect("a table");
        let area = book().terminal.bounds().area;
        Self { rules, knowledge, passages: passages(), unread, area, name, inputs, vehicles }
    }

    fn outcome(&self, world: &World, knowledge: &Knowledge) -> Answer {
        let (found, place) = (world.matched(), self.passages[world.place as usize].clone());
        let passage = if world.is_read { place } else { self.unread.clone() };
        let surroundings = knowledge.surroundings(&passage, None, None, &self.area);
        let (measured, live) = (world.measured, true);
        let case = Case { passage: &passage, matched: &found, surroundings: &surroundings, measured, live };
        let at = passage.passed_at;
        fn dated<P>(series: &Series<P>, at: Timestamp) -> &P {
            &series.at(at).expect("in force").parameters
        }
        let rules = &self.rules;
        match self.name {
            "R1" => elimination::judge(&case, dated(&rules.elimination, at), rules).into(),
            "R2" => retirement::judge(&case, dated(&rules.retirement, at), rules).into(),
            "R3" => listed::old_gas(&case, dated(&rules.old_gas, at)).into(),
            "R4" => retrofit::judge(&case, dated(&rules.retrofit, at), rules).into(),
            "R7" => listed::unrepairable(&case, dated(&rules.unrepairable, at)).into(),
            "R8" => scrapped::judge(&case, dated(&rules.scrapped, at)).into(),
            "R9" => low_emission::judge(&case, dated(&rules.low_emission, at), rules).into(),
            "R10" => heavy_pollution::judge(&case, dated(&rules.heavy_pollution, at)).into(),
            other => unreachable!("{other}"),
        }
    }

    fn lack(&self, world: &World, input: &str) -> Option<Lack> {
        let states = |states: u32| world.with(move |vehicle| vehicle.states = states);
        match input {
            "vehicle" => world.unknown_vehicle(&self.vehicles),
            "listed" => (!world.is_read).then(|| {
                let read = World { is_read: true, ..world.clone() };
                let lists = ["retire_n2", "retire_n3", "old_gas", "unrepairable"];
                ("plate", vec![read.on(&lists), read])
            }),
            "vehicle_kind" => unknown_kind(world, &KINDS),
            "fuel" => unknown_fuel(world),
            "use_nature" => unknown_use(world, &USES),
            // That no stage is registered is a fact for R1, unless rows dispute it.
            "emission_stage" if self.name == "R1" => {
                let is_fact = world.vehicle?.stage.is_none() && !world.vehicle?.contradictory;
                unknown_stage(world).filter(|_| !is_fact)
            }
            "emission_stage" => unknown_stage(world),
            "vehicle_state" => {
                (world.vehicle?.states == 0).then(|| ("vehicle_state", [1, 1 << 4, 1 << 16].map(states).to_vec()))
            }
            "retrofit_feasibility" | "terminal_state" => {
                let (word, list) = match input {
                    "terminal_state" => ("terminal_state", "monitoring_unmet"),
                    _ => ("retrofit_feasibility", "retrofit_feasible"),
                };
                let is_known = world.is_on(list) || world.settled(word).is_some();
                (!is_known).then(|| (word, vec![world.on(&[list]), world.settle(word, true)]))
            }
            "place" => (world.place == Place::Unknown).then(|| {
                let at = |place| World { place, ..world.clone() };
                ("place", vec![at(Place::InZone), at(Place::Outside)])
            }),
            other => unreachable!("{other}"),
        }
    }
}

impl Asked for Rule {
    fn say(&self, world: &World) -> Answer {
        let warnings = world.warning.map(|level| {
            let issued_at = Timestamp::from_micros(0);
            Warning { id: 1, revision: 1, level, issued_at, lifted_at: None, document_no: None }
        });
        let knowledge = Knowledge { warnings: Arc::new(Warnings::new(1, warnings)), ..self.knowledge.clone() };
        match self.outcome(world, &knowledge) {
            // What no register and no list can say is settled here: it does not stand against the vehicle.
            Answer::Open(word) if world.settled(word) == Some(true) => Answer::Not,
            answer => answer,
        }
    }

    fn lacks(&self, world: &World) -> Vec<Lack> {
        self.inputs.iter().filter_map(|input| self.lack(world, input)).collect()
    }
}

/// Every vehicle that may lack something, in every order of what it may lack.
fn worlds(kinds: &[[u8; 3]], uses: &[u8], stages: &[Option<u8>]) -> Vec<World> {
    let mut worlds = vec![World { vehicle: None, ..World::of(truck()) }];
    worlds.push(World { is_read: false, ..worlds[0].clone() });
    for letters in FUELS.into_iter().chain([[0; 2], *b"O\0"]) {
        for &stage in stages {
            for &kind in kinds {
                for &use_nature in uses {
                    let stage = stage.and_then(EmissionStage::from_code);
                    worlds.push(World::of(Vehicle { kind, use_nature, stage, ..truck() }).with(set_fuel(letters)));
                }
            }
        }
    }
    worlds
}

fn every_stage() -> Vec<Option<u8>> {
    STAGES.iter().copied().map(Some).chain([None]).collect()
}

fn every_kind() -> Vec<[u8; 3]> {
    or_missing(&KINDS.map(|kind| *kind), [0; 3])
}

/// Asks the rule about each world on each set of lists.
fn ask(rule: &Rule, worlds: &[World], lists: &[&[&'static str]]) {
    for world in worlds {
        for lists in lists.iter().filter(|lists| world.is_read || lists.is_empty()) {
            check(rule, &world.on(lists));
        }
    }
}

#[test]
fn r1_to_eliminate() {
    for max_stage in [2, 0] {
        let text = BUILT_IN.replacen("max_stage = 2", &format!("max_stage = {max_stage}"), 1);
        let rule = Rule::of("R1", &["vehicle", "fuel", "emission_stage"], &text, "");
        let mut worlds = worlds(&[*b"H11"], b"F", &every_stage());
        let disputed: Vec<World> =
            worlds.iter().map(|world| world.with(|vehicle| vehicle.contradictory = true)).collect();
        worlds.extend(disputed);
        ask(&rule, &worlds, &[&[], &["yellow_to_green"]]);
    }
}

#[test]
fn r2_r3_r7_by_list() {
    let worlds = worlds(&every_kind(), &[b'F', 0], &every_stage());
    for (name, list) in [("R2", "retire_n2"), ("R2", "retire_n3"), ("R3", "old_gas"), ("R7", "unrepairable")] {
        ask(&Rule::of(name, &["listed"], BUILT_IN, ""), &worlds, &[&[], &[list]]);
    }
}

#[test]
fn r4_to_be_fitted() {
    let inputs = &["vehicle", "vehicle_kind", "fuel", "emission_stage", "retrofit_feasibility"];
    let rule = Rule::of("R4", inputs, BUILT_IN, "");
    for measured in [Measured::NotOver, Measured::OverScreening, Measured::Over] {
        for retrofit in [false, true] {
            let of = |world: &World| World { measured, ..world.with(|vehicle| vehicle.retrofit = retrofit) };
            let worlds: Vec<World> = worlds(&every_kind(), b"F", &every_stage()).iter().map(of).collect();
            ask(&rule, &worlds, &[&[], &["retrofit_feasible"]]);
        }
    }
}

#[test]
fn r8_scrapped() {
    let mut worlds = worlds(&[*b"H11"], b"F", &[Some(3)]);
    for states in [0, 1, 1 << 4, 1 << 16, 1 | 1 << 12] {
        worlds.push(World::of(Vehicle { states, ..truck() }));
    }
    let of_state = |states: &u32| Vehicle { states: *states, ..truck() };
    let by_state = BUILT_IN.to_owned();
    let by_list = BUILT_IN.replacen("states = [\"E\", \"M\", \"P\"]", "states = []", 1);
    for (text, inputs) in [(by_state, &["vehicle", "vehicle_state"][..]), (by_list, &["scrapped"])] {
        let by_list = inputs == ["scrapped"];
        let mut rule = Rule::of("R8", if by_list { &[] } else { &["vehicle", "vehicle_state"] }, &text, "");
        rule.vehicles = [1, 1 << 4].iter().map(of_state).collect();
        let worlds: Vec<World> = worlds.iter().filter(|world| world.is_read || !by_list).cloned().collect();
        ask(&rule, &worlds, &[&[], &["scrapped"]]);
    }
}

#[test]
fn r9_in_a_zone() {
    let inputs = &["place", "vehicle", "vehicle_kind", "fuel", "emission_stage", "terminal_state"];
    for classes in ["", "H1"] {
        let rule = Rule::of("R9", inputs, BUILT_IN, classes);
        for place in [Place::InZone, Place::Outside, Place::Unknown] {
            let of = |world: &World| World { place, ..world.clone() };
            let mut worlds: Vec<World> = worlds(&every_kind(), b"F", &every_stage()).iter().map(of).collect();
            // An unread plate needs its place as well, and the ordinary passage has one.
            worlds.retain(|world| world.is_read);
            ask(&rule, &worlds, &[&[], &["permit"], &["monitoring_unmet"], &["permit", "monitoring_unmet"]]);
        }
    }
}

#[test]
fn r10_during_a_warning() {
    let inputs = &["vehicle", "vehicle_kind", "use_nature", "fuel", "emission_stage"];
    let without_exempt_uses = BUILT_IN.replacen("exempt_uses = [\"H\", \"I\", \"J\", \"K\"]", "exempt_uses = []", 1);
    for text in [BUILT_IN, &without_exempt_uses] {
        let rule = Rule::of("R10", inputs, text, "");
        for warning in [None, Some(Level::Yellow), Some(Level::Orange), Some(Level::Red)] {
            let of = |world: &World| World { warning, ..world.clone() };
            let kinds = [*b"H11", *b"K33", [0; 3]];
            let worlds: Vec<World> = worlds(&kinds, &[b'F', b'J', 0], &every_stage()).iter().map(of).collect();
            let lists: [&[&str]; 6] = [
                &[],
                &["high_emission"],
                &["warning_exempt"],
                &["livelihood"],
                &["high_emission", "warning_exempt"],
                &["high_emission", "livelihood"],
            ];
            ask(&rule, &worlds, &lists);
        }
    }
}

/// A limit is undetermined for want of the fuel only, and nothing is passed or over without it.
#[test]
fn the_limits_need_the_fuel() {
    for changes in [json!({}), json!({"opacity_pct": 50}), json!({"no_ppm": 1600}), json!({"opacity_pct": null})] {
        let passage = passage_with(changes);
        let outcome =
            |world: &World| crate::judge::passage(&passage, &world.matched(), None, &book(), false).verdict.outcome;
        for world in worlds(&[*b"H11"], b"F", &every_stage()).iter().filter(|world| world.is_read) {
            let filled: Vec<World> = match unknown_fuel(world) {
                Some((_, filled)) => filled,
                None if world.vehicle.is_some() => continue,
                None => FUELS.map(|letters| World::of(truck()).with(set_fuel(letters))).to_vec(),
            };
            let found: BTreeSet<&str> = filled.iter().map(|world| outcome(world).name()).collect();
            assert_eq!(outcome(world), Outcome::Undetermined, "{world:?}");
            assert!(found.len() > 1 && !found.contains("undetermined"), "{found:?}: {world:?}");
        }
    }
}
