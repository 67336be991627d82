//! One roadside passage against the limits of its vehicle (HJ 845-2017 by the built-in table).
//!
//! In this order, and each pollutant for itself:
//!
//! 1. The registered fuel decides which limits there are. Petrol, electric and other vehicles have none unless the table
//!    gives them some: `not_applicable`, whatever the weather was.
//! 2. The measurement must be valid. A condition not met *or not known* makes it `invalid`: neither a pass nor over.
//! 3. With an unknown fuel a valid measurement stays `undetermined`. The rig's own guess of the fuel, or a yellow plate,
//!    decides nothing; that diesel is suspected is noted among the reasons, and [`super::suspicion`] says what it would mean.
//! 4. Over means strictly greater than the limit in force when the vehicle passed.
//!
//! A value that the instrument cannot have measured ([`super::limits::bound`]) is none: the test is `invalid`, whatever else
//! was in order. A pollutant that was not measured does not appear: a black-smoke camera measures no gas.
//!
//! The whole is `over_limit` where any pollutant is; otherwise it acquits (`pass`) only where everything measured and
//! limited passed: one undetermined or invalid pollutant makes the whole that, because an acquittal that overlooks a
//! measurement would be none.

use smallvec::SmallVec;

use super::{
    RuleBook, StationFacts,
    condition::Checked,
    findings,
    limits::Class,
    pollutant::Pollutant,
    review::{PLATE_FOLDED, REGISTER_CONTRADICTORY},
    rules::{Case, Measured},
    suspicion,
    verdict::{Judgement, Outcome, PollutantVerdict, Verdict},
};
use crate::{
    reading::passage::{FuelHint, Passage, PlateReading},
    vehicle::{
        facts::{Fuel, MatchKind, VehicleMatch},
        surroundings::Surroundings,
    },
};

/// Judges one passage where there are neither zones nor warnings.
pub fn passage(
    passage: &Passage,
    matched: &VehicleMatch,
    station: Option<&StationFacts>,
    book: &RuleBook,
    live: bool,
) -> Judgement {
    passage_amid(passage, matched, station, &Surroundings::none(), book, live)
}

/// Judges one passage amid the zones and warnings of its time; see the module for the rules. `live` says whether it was
/// seen recently enough for somebody to be stopped (design invariant 7).
pub fn passage_amid(
    passage: &Passage,
    matched: &VehicleMatch,
    station: Option<&StationFacts>,
    surroundings: &Surroundings<'_>,
    book: &RuleBook,
    live: bool,
) -> Judgement {
    let verdict = verdict(passage, matched, station, book);
    let ruling = book.rules.judge(&case(&verdict, passage, matched, surroundings, live));
    let suspected = verdict.suspicion.is_some() || matches!(matched.kind, MatchKind::Suspected(_));
    if verdict.outcome != Outcome::OverLimit && matched.lists.is_empty() && ruling.fired.is_empty() && !suspected {
        return Judgement {
            verdict,
            undetermined: ruling.undetermined,
            explained: Vec::new(),
            review: SmallVec::new(),
            findings: Vec::new(),
        };
    }
    findings::of_passage(verdict, ruling, passage, matched, book, live)
}

/// The passage as the vehicle rules see it.
pub(super) fn case<'m>(
    verdict: &Verdict,
    passage: &'m Passage,
    matched: &'m VehicleMatch,
    surroundings: &'m Surroundings<'m>,
    live: bool,
) -> Case<'m> {
    Case { passage, matched, surroundings, measured: measured(verdict), live }
}

fn measured(verdict: &Verdict) -> Measured {
    if verdict.outcome != Outcome::OverLimit {
        return Measured::NotOver;
    }
    if verdict.only_screens() { Measured::OverScreening } else { Measured::Over }
}

/// Which limits a vehicle stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Class(Class),
    NoLimits,
    Unknown(&'static str),
}

fn standing(passage: &Passage, matched: &VehicleMatch) -> Standing {
    let Some(vehicle) = &matched.vehicle else {
        return Standing::Unknown(match passage.plate {
            PlateReading::Unread => "plate_unread",
            PlateReading::Read(_) => "vehicle_not_registered",
        });
    };
    match vehicle.engine_fuel() {
        Fuel::Diesel => Standing::Class(Class::Diesel),
        Fuel::Petrol => Standing::Class(Class::Petrol),
        Fuel::Gas => Standing::Class(Class::Gas),
        Fuel::Electric | Fuel::Other => Standing::NoLimits,
        Fuel::Hybrid | Fuel::Unknown if vehicle.fuel == Fuel::Hybrid => Standing::Unknown("hybrid_fuel_unknown"),
        Fuel::Unknown if vehicle.contradictory => Standing::Unknown(REGISTER_CONTRADICTORY),
        Fuel::Hybrid | Fuel::Unknown => Standing::Unknown("fuel_unknown"),
    }
}

fn verdict(passage: &Passage, matched: &VehicleMatch, station: Option<&StationFacts>, book: &RuleBook) -> Verdict {
    let standing = standing(passage, matched);
    let mut verdict = Verdict {
        outcome: Outcome::Undetermined,
        pollutants: SmallVec::new(),
        unmet: SmallVec::new(),
        passed_over: SmallVec::new(),
        beyond: SmallVec::new(),
        notes: SmallVec::new(),
        suspicion: None,
    };
    let mut measured = 0;
    for pollutant in book.limits.limited() {
        let Some(value) = pollutant.channel().sent(passage) else { continue };
        let bound = book.limits.bounds().of(pollutant.channel());
        let entry = match standing {
            Standing::Class(class) => book.limits.find(pollutant, class, passage.passed_at),
            Standing::NoLimits | Standing::Unknown(_) => None,
        };
        let outcome = match (standing, entry) {
            (Standing::Class(_) | Standing::NoLimits, None) => Outcome::NotApplicable,
            _ if !bound.holds(value) => {
                verdict.beyond.push(pollutant);
                Outcome::Invalid
            }
            (Standing::Unknown(_), _) => Outcome::Undetermined,
            (_, Some((_, limit))) if value > limit.value => Outcome::OverLimit,
            (_, Some(_)) => Outcome::Pass,
        };
        if !matches!(outcome, Outcome::NotApplicable | Outcome::Invalid) {
            measured |= pollutant.bit();
        }
        let (limit, screening) = entry.map(|(_, limit)| (limit.value, limit.screening)).unzip();
        let (entry, screening) = (entry.map(|(place, _)| place), screening.unwrap_or(false));
        verdict.pollutants.push(PollutantVerdict { pollutant, outcome, value, limit, screening, entry });
    }
    if measured != 0 {
        invalidate(&mut verdict, passage, station, book, measured);
    }
    if matches!(standing, Standing::Unknown(_)) {
        verdict.suspicion = suspicion::of_unknown_fuel(passage, matched, &verdict.pollutants, book).map(Box::new);
    }
    verdict.outcome = whole(&verdict, standing, passage, book);
    note(&mut verdict, standing, passage);
    verdict
}

/// Looks at every condition of the pollutants that count, and takes back what an unmet one makes worthless.
fn invalidate(verdict: &mut Verdict, passage: &Passage, station: Option<&StationFacts>, book: &RuleBook, measured: u8) {
    let mut spoilt = 0;
    for (place, condition) in book.limits.conditions_at(passage.passed_at) {
        if condition.pollutants & measured == 0 {
            continue;
        }
        match condition.check(place, passage, station, book.limits.bounds()) {
            Checked::Met => {}
            Checked::PassedOver => verdict.passed_over.push(condition.key),
            Checked::Unmet(unmet) => {
                spoilt |= condition.pollutants;
                verdict.unmet.push(unmet);
            }
        }
    }
    if spoilt == 0 {
        return;
    }
    for each in &mut verdict.pollutants {
        if each.outcome != Outcome::NotApplicable && spoilt & each.pollutant.bit() != 0 {
            each.outcome = Outcome::Invalid;
        }
    }
}

fn whole(verdict: &Verdict, standing: Standing, passage: &Passage, book: &RuleBook) -> Outcome {
    let any = |outcome| verdict.pollutants.iter().any(|each| each.outcome == outcome);
    if let Some(first) = [Outcome::OverLimit, Outcome::Undetermined, Outcome::Invalid, Outcome::Pass]
        .into_iter()
        .find(|&outcome| any(outcome))
    {
        return first;
    }
    // Nothing was measured that has a limit for this vehicle. Is there one at all?
    match standing {
        Standing::NoLimits => Outcome::NotApplicable,
        Standing::Unknown(_) => Outcome::Undetermined,
        Standing::Class(class) => {
            let at = passage.passed_at;
            let limited = Pollutant::ALL.into_iter().any(|p| book.limits.find(p, class, at).is_some());
            if limited { Outcome::Undetermined } else { Outcome::NotApplicable }
        }
    }
}

/// Names what is not sure of the plate, the missing input, and suspicions that decide nothing.
fn note(verdict: &mut Verdict, standing: Standing, passage: &Passage) {
    if passage.plate_as_read.is_some() {
        verdict.notes.push(PLATE_FOLDED);
    }
    match standing {
        Standing::Unknown(why) => {
            verdict.notes.push(why);
            if verdict.suspicion.is_some() {
                verdict.notes.push("diesel_suspected");
            }
        }
        Standing::Class(class) => {
            if verdict.outcome == Outcome::Undetermined {
                verdict.notes.push("nothing_measured");
            }
            let contradicted = match passage.fuel_hint {
                Some(FuelHint::Diesel) => class != Class::Diesel,
                Some(FuelHint::Petrol) => class != Class::Petrol,
                Some(FuelHint::Gas) => class != Class::Gas,
                Some(FuelHint::Electric) => true,
                Some(FuelHint::Other) | None => false,
            };
            if contradicted && verdict.outcome != Outcome::Pass {
                verdict.notes.push("fuel_hint_contradicts_register");
            }
        }
        Standing::NoLimits => {
            if passage.fuel_hint == Some(FuelHint::Diesel) {
                verdict.notes.push("fuel_hint_contradicts_register");
            }
        }
    }
}
