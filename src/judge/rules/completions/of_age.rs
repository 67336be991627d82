//! Rules by age: R5 and R6.

use std::sync::LazyLock;

use chrono::NaiveDate;
use serde_json::json;

use super::*;
use crate::{
    judge::{
        rules::BUILT_IN,
        tests::{passage_with, truck},
    },
    reading::calendar::after_months,
};

/// The passage of every world: 2026-03-01.
static PASSAGE: LazyLock<Passage> = LazyLock::new(|| passage_with(json!({})));
static UNREAD: LazyLock<Passage> = LazyLock::new(|| passage_with(json!({"plate": null})));

fn said<P>(world: &World, series: &Series<P>, judge: impl for<'m> Fn(&Case<'m>, &P) -> RuleOutcome<'m>) -> Answer {
    let (found, nowhere) = (world.matched(), Surroundings::none());
    let passage: &Passage = if world.is_read { &PASSAGE } else { &UNREAD };
    let (matched, surroundings, measured) = (&found, &nowhere, Measured::NotOver);
    let case = Case { passage, matched, surroundings, measured, live: true };
    judge(&case, &series.at(passage.passed_at).expect("in force").parameters).into()
}

// --- R5 ---------------------------------------------------------------------------------------------------------------------

struct ScrapAge {
    /// By whether a low-speed truck has one cylinder, and whether a special vehicle carries loads; `None` is not known.
    tables: Vec<([Option<bool>; 2], Rules)>,
    kinds: Vec<&'static [u8; 3]>,
    vehicles: Vec<Vehicle>,
}

const KINDS: [&[u8; 3]; 8] = [b"H11", b"H41", b"H51", b"K33", b"K11", b"Z11", b"N11", b"X99"];
/// Freight, not operating, taxi, dangerous goods, bus; changed to not operating.
const USES: [u8; 6] = [b'F', b'A', b'D', b'R', b'C', b'L'];
/// First registrations of every age between two lives of the table, and the days on which lives end.
const REGISTERED: [&str; 14] = [
    "2025-01-01",
    "2018-03-02",
    "2018-03-01",
    "2017-03-02",
    "2017-03-01",
    "2016-03-01",
    "2014-09-01",
    "2014-03-01",
    "2013-03-01",
    "2011-03-02",
    "2011-03-01",
    "2006-03-01",
    "1996-03-02",
    "1990-01-01",
];

impl ScrapAge {
    fn new() -> Self {
        let settled = |text: String, word: &str, short: Option<bool>| match short {
            None => text,
            Some(true) => {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                for line in lines.iter_mut().filter(|line| line.contains(&format!("depends_on = \"{word}\""))) {
                    let at_least = line.split("years_at_least = ").nth(1).and_then(|rest| rest.split(',').next());
                    let at_least = at_least.expect("a number").to_owned();
                    let (head, _) = line.split_once(" years = ").expect("a life");
                    *line = format!("{head} years = {at_least} }},");
                }
                lines.join("\n")
            }
            Some(false) => [9, 15].iter().fold(text, |text, years| {
                text.replace(&format!(", years_at_least = {years}, depends_on = \"{word}\""), "")
            }),
        };
        let mut tables = Vec::new();
        for cylinders in [None, Some(true), Some(false)] {
            for load in [None, Some(true), Some(false)] {
                let text = settled(BUILT_IN.to_owned(), "cylinders", cylinders);
                let text = settled(text, "carries_load", load);
                tables.push(([cylinders, load], Rules::parse(&text).expect("a table")));
            }
        }
        let vehicles = [(b"H11", b'F', "1990-01-01"), (b"X99", b'F', "2025-01-01")];
        let vehicles = vehicles.map(|(kind, use_nature, day)| {
            let world = World::of(Vehicle { kind: *kind, use_nature, ..truck() }).with(set_day(Some(day)));
            world.vehicle.expect("there")
        });
        Self { tables, kinds: KINDS.to_vec(), vehicles: vehicles.to_vec() }
    }
}

impl Asked for ScrapAge {
    fn say(&self, world: &World) -> Answer {
        let settled = ["cylinders", "carries_load"].map(|word| world.settled(word));
        let (_, rules) = self.tables.iter().find(|(of, _)| *of == settled).expect("every table");
        match said(world, &rules.scrap_age, |case, p| scrap_age::judge(case, p, rules)) {
            // Its life is computed from both uses, and is longer than either.
            Answer::Open("use_history") if world.settled("use_history") == Some(true) => Answer::Not,
            answer => answer,
        }
    }

    fn lacks(&self, world: &World) -> Vec<Lack> {
        let vehicle = world.vehicle.unwrap_or(self.vehicles[0]);
        let either = |word| (word, vec![world.settle(word, true), world.settle(word, false)]);
        let depends =
            |kind: &[u8], word| (vehicle.kind.starts_with(kind) && world.settled(word).is_none()).then(|| either(word));
        let is_truck = matches!(vehicle.kind[0], b'H' | b'Q');
        let is_changed = vehicle.use_nature == b'L' && world.settled("use_history").is_none();
        let history = (is_changed && vehicle.kind[0] != 0).then(|| {
            let before = USES.iter().filter(|letter| **letter != b'L');
            let as_before = before.map(|letter| world.with(|vehicle| vehicle.use_nature = *letter));
            let longer = (vehicle.kind[0] == b'K').then(|| world.settle("use_history", true));
            ("use_history", as_before.chain(longer).collect())
        });
        let registered = vehicle
            .registered_on
            .is_none()
            .then(|| ("registered_on", REGISTERED.iter().map(|day| world.with(set_day(Some(day)))).collect()));
        assert!(is_truck || vehicle.kind[0] != b'H');
        [
            world.unknown_vehicle(&self.vehicles),
            unknown_kind(world, &self.kinds),
            unknown_use(world, &USES),
            history,
            registered,
            depends(b"H5", "cylinders"),
            depends(b"Z", "carries_load"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[test]
fn r5_service_life() {
    let rule = ScrapAge::new();
    check(&rule, &World { vehicle: None, ..World::of(truck()) });
    check(&rule, &World { vehicle: None, is_read: false, ..World::of(truck()) });
    for kind in or_missing(&KINDS.map(|kind| *kind), [0; 3]) {
        for use_nature in or_missing(&USES, 0) {
            for day in or_missing(&REGISTERED.map(Some), None) {
                check(&rule, &World::of(Vehicle { kind, use_nature, ..truck() }).with(set_day(day)));
            }
        }
    }
}

// --- R6 ---------------------------------------------------------------------------------------------------------------------

struct Inspection {
    rules: Rules,
    vehicles: Vec<Vehicle>,
}

const INSPECTED: [&[u8; 3]; 4] = [b"H11", b"K33", b"K11", b"X99"];
const INSPECTED_USES: [u8; 3] = [b'F', b'A', b'C'];
const LIST: &str = "inspection_overdue";

/// A day every few months, and one a day past each.
fn days(from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    (0..).map_while(move |step| after_months(from, step * 3)).take_while(move |day| *day <= to)
}

fn leaked(day: NaiveDate) -> &'static str {
    static KNOWN: LazyLock<std::sync::Mutex<std::collections::BTreeMap<NaiveDate, &'static str>>> =
        LazyLock::new(Default::default);
    KNOWN.lock().expect("one thread").entry(day).or_insert_with(|| day.to_string().leak())
}

impl Asked for Inspection {
    fn say(&self, world: &World) -> Answer {
        said(world, &self.rules.inspection, inspection::judge)
    }

    fn lacks(&self, world: &World) -> Vec<Lack> {
        let (today, oldest) = (PASSAGE.passed_at.china_day(), NaiveDate::from_ymd_opt(1996, 3, 1).expect("a day"));
        let since = world.lists.first().and_then(|(_, since)| *since);
        // Nobody knows when it ran out: the state says so, or an entry without a day.
        let is_open = match world.lists.first() {
            Some((_, since)) => *since == Some("open"),
            None => world.vehicle.is_some_and(|vehicle| vehicle.has_state(b'Q')),
        };
        let since_day = since.and_then(|since| since.parse::<NaiveDate>().ok());
        let vehicle = match (world.lists.is_empty(), world.is_read) {
            (true, true) => None,
            // Whoever it was may stand on the list.
            (true, false) => world.unknown_vehicle(&self.vehicles).map(|(word, read)| {
                let listed =
                    read.iter().map(|world| World { lists: vec![(LIST, Some("2010-01-01"))], ..world.clone() });
                (word, listed.chain(read.clone()).collect())
            }),
            (false, _) => world.unknown_vehicle(&self.vehicles),
        };
        let registered = world.vehicle.filter(|vehicle| vehicle.registered_on.is_none()).map(|_| {
            let known = days(oldest, since_day.unwrap_or(today)).map(|day| world.with(set_day(Some(leaked(day)))));
            ("registered_on", known.collect())
        });
        let overdue = world.vehicle.filter(|_| is_open).map(|vehicle| {
            let from = vehicle.registered_on.and_then(NaiveDate::from_epoch_days).unwrap_or(oldest);
            let known = days(from, today).chain([today]);
            let at = |day| World { lists: vec![(LIST, Some(leaked(day)))], ..world.clone() };
            ("inspection_overdue_since", known.map(at).collect())
        });
        [vehicle, unknown_kind(world, &INSPECTED), unknown_use(world, &INSPECTED_USES), registered, overdue]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[test]
fn r6_cycles_missed() {
    let vehicles = [(b"H11", "2000-01-01"), (b"X99", "2000-01-01")].map(|(kind, day)| {
        let world = World::of(Vehicle { kind: *kind, ..truck() }).with(set_day(Some(day)));
        world.vehicle.expect("there")
    });
    let rule = Inspection { rules: Rules::built_in(), vehicles: vehicles.to_vec() };
    let since = [
        None,
        Some("open"),
        Some("2025-12-01"),
        Some("2024-09-02"),
        Some("2024-09-01"),
        Some("2023-03-02"),
        Some("2023-03-01"),
        Some("2020-03-02"),
        Some("2020-03-01"),
        Some("2019-01-01"),
    ];
    let registered = ["2001-03-01", "2010-06-15", "2015-03-01", "2018-12-01", "2022-12-01", "2024-01-01"];
    let mut worlds = vec![World { vehicle: None, ..World::of(truck()) }];
    for kind in or_missing(&INSPECTED.map(|kind| *kind), [0; 3]) {
        for use_nature in or_missing(&INSPECTED_USES, 0) {
            for day in or_missing(&registered.map(Some), None) {
                for states in [1, 1 << 16] {
                    let vehicle = Vehicle { kind, use_nature, states, ..truck() };
                    worlds.push(World::of(vehicle).with(set_day(day)));
                }
            }
        }
    }
    for world in &worlds {
        for since in since {
            let entry = since.map(|since| (LIST, Some(since)));
            let world = World { lists: entry.into_iter().collect(), ..world.clone() };
            let registered =
                world.vehicle.and_then(|vehicle| vehicle.registered_on).and_then(NaiveDate::from_epoch_days);
            let ran_out = since.and_then(|since| since.parse::<NaiveDate>().ok());
            match (registered, ran_out) {
                // List and register contradict each other: one of the two days is wrong, so nothing is held against it.
                (Some(registered), Some(ran_out)) if ran_out < registered => {
                    assert!(matches!(rule.say(&world), Answer::Open("registered_on") | Answer::Not), "{world:?}");
                }
                _ => check(&rule, &world),
            }
        }
    }
    check(&rule, &World { is_read: false, ..worlds[0].clone() });
}
