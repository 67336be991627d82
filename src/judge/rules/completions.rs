//! A rule is undetermined exactly where an input that it lacks could change its answer.
//!
//! Each rule is asked about every world of a small domain, many of which lack something. What a world lacks is then filled in
//! with every value that it may have, and the rule is asked again, until nothing is lacking and it has to answer:
//!
//! - undetermined: the answers are not all the same, and the input named is one that decides between two of them;
//! - fired, or not: every answer is that.
//!
//! "Not fired" is one answer, whether the rule is clear or does not apply. What a list says, and what was measured, is taken
//! as it stands: a vehicle on no list is on none.

use std::collections::BTreeSet;

use super::*;
use crate::{
    judge::tests::{matched, stranger},
    vehicle::facts::{EmissionStage, Fuel},
};

mod of_age;
mod of_class;

/// Everything that one rule is asked about.
#[derive(Clone, Debug)]
struct World {
    is_read: bool,
    vehicle: Option<Vehicle>,
    /// Lists that name the vehicle, since a day where it matters.
    lists: Vec<(&'static str, Option<&'static str>)>,
    measured: Measured,
    place: Place,
    warning: Option<crate::warning::Level>,
    /// Facts that no register holds, once they are known.
    settled: Vec<(&'static str, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    InZone,
    Outside,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Fires,
    Not,
    Open(&'static str),
}

/// One input that a world lacks, and the world with each value it may have.
type Lack = (&'static str, Vec<World>);

/// A rule, and what it goes by.
trait Asked {
    fn say(&self, world: &World) -> Answer;
    /// In the order in which they are to be filled in.
    fn lacks(&self, world: &World) -> Vec<Lack>;
}

impl World {
    fn of(vehicle: Vehicle) -> Self {
        Self {
            is_read: true,
            vehicle: Some(vehicle),
            lists: Vec::new(),
            measured: Measured::Over,
            place: Place::InZone,
            warning: None,
            settled: Vec::new(),
        }
    }

    fn on(&self, lists: &[&'static str]) -> Self {
        let more = lists.iter().map(|list| (*list, None));
        Self { lists: self.lists.iter().copied().chain(more).collect(), ..self.clone() }
    }

    fn with(&self, change: impl Fn(&mut Vehicle)) -> Self {
        let mut world = self.clone();
        world.vehicle.iter_mut().for_each(change);
        world
    }

    fn settle(&self, word: &'static str, value: bool) -> Self {
        let mut world = self.clone();
        world.settled.push((word, value));
        world
    }

    fn settled(&self, word: &str) -> Option<bool> {
        self.settled.iter().find(|(settled, _)| *settled == word).map(|(_, value)| *value)
    }

    fn is_on(&self, list: &str) -> bool {
        self.lists.iter().any(|(name, _)| *name == list)
    }

    fn matched(&self) -> VehicleMatch {
        let mut found = self.vehicle.map_or_else(stranger, |vehicle| matched(vehicle, &[]));
        for &(list, since) in &self.lists {
            let mut hit = matched(crate::judge::tests::truck(), &[list]).lists.remove(0);
            if let Some(since) = since {
                // `open` is no day.
                hit.valid_from = Timestamp::parse_rfc3339(&format!("{since}T00:00:00+08:00"));
            }
            found.lists.push(hit);
        }
        found
    }

    /// What any rule lacks of the register alone: the plate, or the vehicle. `vehicles` are known through and through.
    fn unknown_vehicle(&self, vehicles: &[Vehicle]) -> Option<Lack> {
        let filled = |vehicle: &Vehicle| Self { is_read: true, vehicle: Some(*vehicle), ..self.clone() };
        let word = if self.is_read { "vehicle" } else { "plate" };
        (self.vehicle.is_none()).then(|| (word, vehicles.iter().map(filled).collect()))
    }
}

impl<'m> From<RuleOutcome<'m>> for Answer {
    fn from(outcome: RuleOutcome<'m>) -> Self {
        match outcome {
            RuleOutcome::Fired(_) => Self::Fires,
            RuleOutcome::Clear | RuleOutcome::NotApplicable => Self::Not,
            RuleOutcome::Undetermined(missing) => Self::Open(missing),
        }
    }
}

/// Every answer that filling in what is lacking can lead to.
fn answers(rule: &impl Asked, world: &World, found: &mut BTreeSet<Answer>) {
    match rule.lacks(world).into_iter().next() {
        None => {
            let answer = rule.say(world);
            assert!(!matches!(answer, Answer::Open(_)), "nothing is lacking, and yet {answer:?}: {world:?}");
            found.insert(answer);
        }
        Some((_, filled)) => {
            for world in filled {
                answers(rule, &world, found);
                if found.len() == 2 {
                    return;
                }
            }
        }
    }
}

fn all_answers(rule: &impl Asked, world: &World) -> BTreeSet<Answer> {
    let mut found = BTreeSet::new();
    answers(rule, world, &mut found);
    found
}

/// Whether, with everything else filled in somehow, this input still decides.
fn decides(rule: &impl Asked, world: &World, word: &'static str) -> bool {
    let lacks = rule.lacks(world);
    match lacks.iter().find(|(other, _)| *other != word) {
        Some((_, filled)) => filled.iter().any(|world| decides(rule, world, word)),
        None => lacks.iter().any(|(other, _)| *other == word) && all_answers(rule, world).len() == 2,
    }
}

/// Asks about one world and holds what it is told against every completion of it.
fn check(rule: &impl Asked, world: &World) {
    let told = rule.say(world);
    let found = all_answers(rule, world);
    match told {
        Answer::Open(word) => {
            assert_eq!(found.len(), 2, "open for {word}, and yet all that it may be is {found:?}: {world:?}");
            assert!(decides(rule, world, word), "{word} decides nothing: {world:?}");
        }
        definite => assert_eq!(found, BTreeSet::from([definite]), "{definite:?} too early: {world:?}"),
    }
}

fn set_fuel(letters: [u8; 2]) -> impl Fn(&mut Vehicle) {
    move |vehicle| (vehicle.fuel, vehicle.fuel_code) = (Fuel::of_code(letters), letters)
}

/// Every fuel that an engine may turn out to burn.
const FUELS: [[u8; 2]; 6] = [*b"B\0", *b"A\0", *b"E\0", *b"C\0", *b"P\0", *b"BC"];
const STAGES: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 99];

fn unknown_fuel(world: &World) -> Option<Lack> {
    let vehicle = world.vehicle?;
    let may_be = |letters: &&[u8; 2]| vehicle.fuel != Fuel::Hybrid || letters.contains(&b'C');
    let hybrids = [*b"AC"];
    let filled = FUELS
        .iter()
        .chain(&hybrids)
        .filter(may_be)
        .filter(|letters| **letters != *b"C\0" || vehicle.fuel != Fuel::Hybrid);
    (vehicle.engine_fuel() == Fuel::Unknown)
        .then(|| ("fuel", filled.map(|letters| world.with(set_fuel(*letters))).collect()))
}

/// A stage that is not registered, or that a vehicle which burns something cannot have.
fn unknown_stage(world: &World) -> Option<Lack> {
    let vehicle = world.vehicle?;
    let is_impossible = vehicle.stage == Some(EmissionStage::ZeroEmission)
        && vehicle.engine_fuel() != Fuel::Unknown
        && !matches!(vehicle.fuel, Fuel::Electric | Fuel::Other);
    // Electric vehicles have no stage of an engine.
    let fits = |stage: &&u8| (vehicle.fuel == Fuel::Electric) == (**stage == 99);
    let with = |stage: &u8| world.with(|vehicle| vehicle.stage = EmissionStage::from_code(*stage));
    (vehicle.stage.is_none() || is_impossible).then(|| {
        ("emission_stage", STAGES.iter().filter(fits).filter(|s| **s != 99 || !burns(vehicle.fuel)).map(with).collect())
    })
}

fn burns(fuel: Fuel) -> bool {
    !matches!(fuel, Fuel::Electric | Fuel::Other)
}

fn unknown_kind(world: &World, kinds: &[&[u8; 3]]) -> Option<Lack> {
    let with = |kind: &&[u8; 3]| world.with(|vehicle| vehicle.kind = **kind);
    (world.vehicle?.kind == [0; 3]).then(|| ("vehicle_kind", kinds.iter().map(with).collect()))
}

fn unknown_use(world: &World, uses: &[u8]) -> Option<Lack> {
    let with = |letter: &u8| world.with(|vehicle| vehicle.use_nature = *letter);
    (world.vehicle?.use_nature == 0).then(|| ("use_nature", uses.iter().map(with).collect()))
}

fn set_day(day: Option<&str>) -> impl Fn(&mut Vehicle) {
    let day = day.map(|day| day.parse::<chrono::NaiveDate>().expect("a day").to_epoch_days());
    move |vehicle| vehicle.registered_on = day
}

fn or_missing<T: Clone>(values: &[T], missing: T) -> Vec<T> {
    values.iter().cloned().chain([missing]).collect()
}
