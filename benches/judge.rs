//! Nanoseconds of one core to decode and judge a passage of 400 bytes that passes, and of its parts.
//!
//! Each figure is the median of many batches of this thread's processor time, so that other load on the machine moves
//! it little; the fastest batch stands beside it. Matching is not included: the vehicle is at hand.

use std::{hint::black_box, time::Duration};

use dieselwatch::{
    config,
    decode::remote_sensing,
    judge::{self, Limits, RuleBook},
    vehicle::facts::{EmissionStage, Fuel, MatchKind, Vehicle, VehicleMatch},
};

const PASSAGE: &str = include_str!("../tests/fixtures/passages/bytes_400.json");
const BATCHES: usize = 200;
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
}

fn decoded(text: &str) -> dieselwatch::reading::passage::Passage {
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
        registered_on: None,
        local: Some(true),
        retrofit: false,
        reference_torque_nm: None,
        vin: None,
    };
    VehicleMatch { kind: MatchKind::Exact, vehicle: Some(vehicle), lists: Default::default(), registry_version: 1 }
}

fn settings() -> config::Judge {
    config::Judge {
        limits_file: None,
        live_seconds: 120,
        plate_confidence_min: 0.9,
        same_passage_seconds: 60,
        nox_consecutive_seconds: 60,
        nox_limit_ppm: 500.0,
        nox_min_rpm: 800.0,
        nox_min_coolant_c: 70.0,
        nox_min_scr_inlet_c: 250.0,
    }
}
