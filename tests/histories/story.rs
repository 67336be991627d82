//! Random histories of several vehicles, and random ways in which they reach the service.

use std::ops::Range;

use dieselwatch::{
    judge::limits::InspectionKind,
    reading::{Plate, PlateColor, PlateKey, Timestamp},
    vehicle::import::inspections::InspectionRow,
};
use proptest::prelude::*;
use serde_json::json;

use super::naive::{self, Recheck, Seen, Test};

pub const STATIONS: [&str; 2] = ["370306-01", "370306-02"];

/// What happens on the road and at the inspection station.
#[derive(Clone, Debug)]
pub struct Story {
    pub readings: Vec<Seen>,
    pub rechecks: Vec<Recheck>,
}

/// One thing that reaches the service.
#[derive(Clone, Copy, Debug)]
pub enum Delivery {
    Reading(usize),
    Recheck(usize),
}

/// How a story is told: in which order and batches, how often, by how many at once.
#[derive(Clone, Debug)]
pub struct Telling {
    pub rounds: Vec<Round>,
}

/// What happens at once: each committer stores its batch on its own connection while evaluators work on theirs.
#[derive(Clone, Debug)]
pub struct Round {
    pub batches: Vec<Vec<Delivery>>,
    pub evaluators: usize,
}

/// Committers and evaluators at most.
pub const COMMITTERS: usize = 3;
pub const EVALUATORS: usize = 3;

pub fn plate(vehicle: usize) -> String {
    format!("鲁C7{vehicle:04}")
}

/// Stories of `vehicles` that begin around noon of a 31 August. `first_record` keeps the records of several stories apart.
pub fn stories(start: i64, vehicles: Range<usize>, first_record: usize) -> impl Strategy<Value = Story> {
    // Few days far apart and few seconds, so that passages, months, midnights and ties all happen.
    let day = prop_oneof![
        8 => prop::sample::select(vec![0_i64, 1, 90, 181, 182, 270]),
        1 => 0..280_i64,
    ];
    let second = prop_oneof![
        8 => prop::sample::select(vec![0_i64, 30, 60, 100, 43_199, 43_200]),
        1 => 0..300_i64,
    ];
    let test = || prop_oneof![6 => Just(Test::Over), 1 => Just(Test::Pass), 1 => Just(Test::None)];
    let reading = (vehicles, 0..STATIONS.len(), day, second, test(), test(), 0..8_u8, 0..8_u8);
    // Around a reading of its vehicle, where it matters on which side of it the recheck lies.
    let apart = prop::sample::select(vec![-2_592_000_i64, -1, 0, 0, 1, 2_592_000]);
    let recheck = (any::<prop::sample::Index>(), apart, any::<bool>());
    (prop::collection::vec(reading, 1..14), prop::collection::vec(recheck, 0..4)).prop_map(
        move |(readings, rechecks)| {
            let readings: Vec<Seen> = readings
                .into_iter()
                .enumerate()
                .map(|(place, (vehicle, station, day, second, opacity, no, weather, sure))| {
                    let valid = weather > 0;
                    Seen {
                        vehicle,
                        station: STATIONS[station].to_owned(),
                        // In an order that is not that of time.
                        record: format!("r{:05}", (first_record + place) * 7919 % 99_991),
                        second: start + day * 86_400 + second,
                        opacity: if valid { opacity } else { Test::None },
                        no: if valid { no } else { Test::None },
                        sure: sure > 0,
                    }
                })
                .collect();
            let of_rechecks = rechecks.into_iter().enumerate().map(|(place, (near, apart, whole_day))| {
                let near = &readings[near.index(readings.len())];
                let report = format!("i{:05}", first_record + place);
                let moment = near.second + apart;
                let second = if whole_day { last_second_of_day(moment) } else { moment };
                Recheck { vehicle: near.vehicle, report, second, whole_day }
            });
            let rechecks = of_rechecks.collect();
            Story { readings, rechecks }
        },
    )
}

/// Ways to tell a story: every delivery at least once, in any order, some repeated.
pub fn tellings(story: &Story) -> impl Strategy<Value = Telling> + use<> {
    let all: Vec<Delivery> = (0..story.readings.len())
        .map(Delivery::Reading)
        .chain((0..story.rechecks.len()).map(Delivery::Recheck))
        .collect();
    let repeats = prop::collection::vec(prop::sample::select(all.clone()), 0..6);
    let deliveries = repeats.prop_flat_map(move |repeats| {
        let all: Vec<Delivery> = all.iter().copied().chain(repeats).collect();
        Just(all).prop_shuffle()
    });
    let sizes = prop::collection::vec((prop::collection::vec(1..4_usize, 1..=COMMITTERS), 0..=EVALUATORS), 24);
    (deliveries, sizes).prop_map(|(deliveries, sizes)| {
        let mut rest = deliveries.as_slice();
        let mut rounds = Vec::new();
        // Twenty-four rounds of at least one delivery each hold every story that `stories` makes.
        for (batches, evaluators) in sizes {
            let mut round = Round { batches: Vec::new(), evaluators };
            for size in batches {
                let (batch, left) = rest.split_at(size.min(rest.len()));
                if !batch.is_empty() {
                    round.batches.push(batch.to_vec());
                }
                rest = left;
            }
            rounds.push(round);
        }
        assert!(rest.is_empty(), "a delivery was forgotten");
        Telling { rounds }
    })
}

/// The reading as its station sends it.
pub fn payload(seen: &Seen) -> serde_json::Value {
    // An invalid test is a windy one with values over the limits; what was not measured is left out.
    let mut passage = json!({
        "station_id": seen.station, "record_id": seen.record, "passed_at": at(seen.second), "plate": plate(seen.vehicle),
        "plate_color": "yellow", "lane": 1, "plate_confidence": if seen.sure { 0.97 } else { 0.5 }, "speed_kmh": 42.5,
        "acceleration_ms2": 0.35, "slope_deg": 0.5, "vsp_kwt": 7.9, "co2_pct": 9.8, "wind_speed_ms": 1.8,
        "temperature_c": 8.5, "humidity_pct": 45, "pressure_kpa": 101.2, "precipitation": false
    });
    match seen.opacity {
        Test::Over => passage["opacity_pct"] = json!(41.2),
        Test::Pass => passage["opacity_pct"] = json!(12.0),
        Test::None => {}
    }
    match seen.no {
        Test::Over => passage["no_ppm"] = json!(1600.0),
        Test::Pass => passage["no_ppm"] = json!(600.0),
        Test::None => {}
    }
    if (seen.opacity, seen.no) == (Test::None, Test::None) {
        passage["opacity_pct"] = json!(80.0);
        passage["no_ppm"] = json!(2000.0);
        passage["wind_speed_ms"] = json!(9.0);
    }
    passage
}

/// Of the day in China that holds this second.
fn last_second_of_day(second: i64) -> i64 {
    (naive::china_day(second) + 1) * 86_400 - 8 * 3_600 - 1
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::EPOCH.plus_seconds(second)
}

/// The recheck as a row of a file.
pub fn inspection(recheck: &Recheck) -> InspectionRow {
    InspectionRow {
        station: "inspection-1".into(),
        report_no: recheck.report.as_str().into(),
        key: PlateKey::new(Plate::parse(&plate(recheck.vehicle)).unwrap(), PlateColor::Yellow),
        inspected_at: at(recheck.second),
        whole_day: recheck.whole_day,
        kind: InspectionKind::Recheck,
        passed: true,
    }
}
