//! Nanoseconds of one core to decode and judge a passage of 400 bytes that passes, and of its parts.
//!
//! Each figure is the median of many batches of this thread's processor time, so that other load on the machine moves
//! it little; the fastest batch stands beside it. Where matching is not named the vehicle is at hand; where it is, the plates
//! of a million vehicles are asked for in random order, as a real stream of them does.

use std::{cell::Cell, hint::black_box, time::Duration};

use dieselwatch::{
    config,
    decode::remote_sensing,
    judge::{self, Limits, RuleBook},
    mapping::{Mapping, Target},
    reading::{Plate, PlateColor, PlateKey, passage::Passage},
    vehicle::{
        facts::{EmissionStage, Fuel, MatchKind, Vehicle, VehicleMatch},
        knowledge::Knowledge,
        lists::{ListEntry, ListsBuilder},
        registry::RegistryBuilder,
    },
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

const PASSAGE: &str = include_str!("../tests/fixtures/passages/bytes_400.json");
/// One passage in a platform's names and units, and in ours; the first has fields that nobody needs besides.
const FOREIGN: &str = include_str!("../tests/fixtures/mappings/rs-consumer.json");
const OURS: &str = include_str!("../tests/fixtures/mappings/rs-consumer.native.json");
const BATCHES: usize = 200;
const VEHICLES: usize = 1_000_000;
const BATCH_TIME: Duration = Duration::from_millis(10);

fn main() {
    let book = RuleBook::new(Limits::built_in(), settings());
    let truck = matched();
    let single = PASSAGE.trim();
    let array = format!("[{}]", vec![single; 100].join(","));
    let over = single.replace("12.4", "41.2");
    let passage = decoded(single);
    let over_passage = decoded(&over);

    println!("passage of {} bytes", single.len());
    measure("decode, single object", 1, || {
        black_box(remote_sensing::decode(black_box(single.as_bytes())).map(Iterator::last).ok());
    });
    measure("decode, array of 100, each", 100, || {
        black_box(
            remote_sensing::decode(black_box(array.as_bytes())).map(|e| e.filter(|e| e.passage.is_ok()).count()).ok(),
        );
    });
    let mapping = Mapping::load("rs-consumer", Target::Passage).expect("built in");
    for (name, text, mapping) in [
        ("decode, the same passage in our form", OURS, None),
        ("decode, a platform's form, mapped", FOREIGN, Some(&mapping)),
    ] {
        measure(name, 1, || {
            let elements = remote_sensing::decode_mapped(black_box(text.trim().as_bytes()), mapping);
            assert!(black_box(elements.map(Iterator::last)).is_ok_and(|last| last.is_some_and(|e| e.passage.is_ok())));
        });
    }
    measure("content hash", 1, || {
        black_box(black_box(&passage).content_hash());
    });
    measure("judge, pass", 1, || {
        black_box(judge::passage(black_box(&passage), &truck, None, &book, true));
    });
    measure("judge, over the limit, with finding", 1, || {
        black_box(judge::passage(black_box(&over_passage), &truck, None, &book, true));
    });
    measure("decode + content hash + judge, pass", 1, || {
        for element in remote_sensing::decode(black_box(single.as_bytes())).into_iter().flatten() {
            if let Ok(passage) = element.passage {
                black_box(passage.content_hash());
                black_box(judge::passage(&passage, &truck, None, &book, true));
            }
        }
    });
    match_and_judge("match + judge, all rules, none fires", &passage, &book, 0);
    match_and_judge("match + judge, 3 of 100 raise a finding", &passage, &book, 3);
}

/// Look-up in a register of a million vehicles in order, of which so many of a hundred are on a list, and judgement.
fn match_and_judge(name: &str, passage: &Passage, book: &RuleBook, listed_of_hundred: usize) {
    let mut registry = RegistryBuilder::default();
    let mut lists = ListsBuilder::default();
    let high_emission = lists.list("high_emission", 1);
    let vehicle = matched().vehicle.expect("a vehicle");
    let mut keys: Vec<PlateKey> = (0..VEHICLES).map(key).collect();
    for (number, &key) in keys.iter().enumerate() {
        registry.push(key, &vehicle);
        if number % 100 < listed_of_hundred {
            lists.push(high_emission, key, &ListEntry::default());
        }
    }
    let knowledge =
        Knowledge { registry: registry.build(1).into(), lists: lists.build().into(), ..Knowledge::default() };
    keys.shuffle(&mut StdRng::seed_from_u64(7));
    let next = Cell::new(0);
    measure(name, 1, || {
        let place = next.get();
        next.set((place + 1) % VEHICLES);
        let matched = knowledge.match_vehicle(keys[place], passage.passed_at);
        black_box(judge::passage(black_box(passage), &matched, None, book, true));
    });
}

/// Different plates of Shandong for different numbers below 24 x 34^5.
fn key(number: usize) -> PlateKey {
    const CHARACTERS: &[u8; 34] = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let mut rest = number;
    let mut digits = [0u8; 5];
    for digit in &mut digits {
        *digit = CHARACTERS[rest % 34];
        rest /= 34;
    }
    let text = format!("鲁{}{}", CHARACTERS[10 + rest % 24] as char, String::from_utf8_lossy(&digits));
    PlateKey::new(Plate::parse(&text).expect("a legal plate"), PlateColor::Yellow)
}

fn decoded(text: &str) -> Passage {
    let element = remote_sensing::decode(text.as_bytes()).expect("JSON").next().expect("one passage");
    element.passage.expect("a legal passage")
}

/// Prints the time of one unit of work, of which `call` does `units`.
fn measure(name: &str, units: u32, mut call: impl FnMut()) {
    let mut calls = 1_u32;
    loop {
        let begin = processor_time();
        (0..calls).for_each(|_| call());
        if processor_time() - begin >= BATCH_TIME {
            break;
        }
        calls *= 2;
    }
    let mut figures: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let begin = processor_time();
            (0..calls).for_each(|_| call());
            (processor_time() - begin).as_secs_f64() * 1e9 / f64::from(calls) / f64::from(units)
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    println!("{name:<40} {:>9.1} ns median {:>9.1} ns fastest", figures[BATCHES / 2], figures[0]);
}

/// Processor time this thread has used.
fn processor_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec of our own.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    assert_eq!(code, 0, "the thread's clock is always there");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn matched() -> VehicleMatch {
    let vehicle = Vehicle {
        fuel: Fuel::Diesel,
        fuel_code: *b"B\0",
        stage: EmissionStage::from_code(5),
        kind: *b"H11",
        use_nature: b'F',
        states: 1,
        registered_on: Some(17_600),
        local: Some(true),
        retrofit: false,
        reference_torque_nm: None,
        vin: None,
        contradictory: false,
    };
    VehicleMatch { kind: MatchKind::Exact, vehicle: Some(vehicle), lists: Default::default(), registry_version: 1 }
}

fn settings() -> config::Judge {
    config::Judge {
        limits_file: None,
        rules_file: None,
        terminal_file: None,
        live_seconds: 120,
        plate_confidence_min: 0.9,
        same_passage_seconds: 60,
        nox_consecutive_seconds: 60,
        nox_limit_ppm: 500.0,
        nox_min_rpm: 800.0,
        nox_min_coolant_c: 70.0,
        nox_min_scr_inlet_c: 250.0,
        plates: config::Plates {
            local_prefixes: vec!["鲁C".into()],
            suspected_lists: vec!["scrapped".into(), "retire_n3".into()],
            suspected_over: true,
            clone_window_seconds: 7200,
            clone_speed_kmh: 150.0,
            clone_position_uncertainty_m: 200.0,
            clone_clock_uncertainty_seconds: 60.0,
        },
    }
}
