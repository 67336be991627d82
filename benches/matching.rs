//! Look-ups in a register of two million vehicles with lists, and the search for misread plates among a million listed
//! ones: time each, memory per vehicle, time to build and to swap.
//!
//! `cargo bench --bench matching [VEHICLES]`. The keys asked for are shuffled, so that every look-up misses the caches
//! as a real stream of plates does.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use dieselwatch::{
    reading::{Plate, PlateColor, PlateKey, Timestamp, Vin},
    vehicle::{
        facts::{EmissionStage, Fuel, MatchKind, Vehicle},
        knowledge::{Knowledge, KnowledgeHandle},
        lists::{ListEntry, ListsBuilder},
        registry::RegistryBuilder,
    },
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

const LISTS: [&str; 6] = ["exempt", "high_emission", "inspection_overdue", "retire_n2", "retire_n3", "scrapped"];
/// One vehicle in twenty is on a list.
const LISTED_EVERY: usize = 20;
const LOOKUPS: usize = 4_000_000;
/// Listed plates that a misread one is compared with.
const LISTED: usize = 1_000_000;

fn main() {
    let vehicles = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(2_000_000);
    let started = Instant::now();
    let handle = KnowledgeHandle::new(build(vehicles));
    let knowledge = handle.load();
    println!("{vehicles} vehicles built in {:.2?}", started.elapsed());
    let (bytes, len) = (knowledge.registry.bytes(), knowledge.registry.len());
    println!("register {:.1} bytes a vehicle, {:.1} MB", bytes as f64 / len as f64, bytes as f64 / 1e6);
    println!("lists {} entries, {:.1} MB", knowledge.lists.len(), knowledge.lists.bytes() as f64 / 1e6);
    println!("resident {} now, {} at the peak", status("VmRSS"), status("VmHWM"));

    let mut random = StdRng::seed_from_u64(7);
    let mut known: Vec<PlateKey> = (0..LOOKUPS).map(|_| key(random.random_range(0..vehicles))).collect();
    known.shuffle(&mut random);
    let unknown: Vec<PlateKey> = (0..LOOKUPS).map(|_| key(vehicles + random.random_range(0..vehicles))).collect();
    let vins: Vec<String> = (0..LOOKUPS / 4).map(|_| vin(random.random_range(0..vehicles))).collect();
    let at = Timestamp::from_micros(1_790_000_000_000_000);

    measure("register, known plate", &known, |key| knowledge.registry.find(*key).is_some());
    measure("register, unknown plate", &unknown, |key| knowledge.registry.find(*key).is_some());
    measure("lists, any plate", &known, |key| !knowledge.lists.find(*key, at).is_empty());
    measure("match by plate, known", &known, |key| knowledge.match_vehicle(*key, at).vehicle.is_some());
    measure("match by plate, unknown", &unknown, |key| knowledge.match_vehicle(*key, at).vehicle.is_some());
    measure("match by plate, snapshot loaded each time", &known, |key| {
        handle.load().match_vehicle(*key, at).vehicle.is_some()
    });
    measure_ahead(
        "register, known plate, 16 asked ahead",
        &known,
        |key| knowledge.registry.ask_ahead(*key),
        |key| knowledge.registry.find(*key).is_some(),
    );
    measure_ahead(
        "match by plate, known, 16 asked ahead",
        &known,
        |key| knowledge.registry.ask_ahead(*key),
        |key| knowledge.match_vehicle(*key, at).vehicle.is_some(),
    );
    measure("match by VIN", &vins, |vin| knowledge.match_vin(vin, at).vehicle.is_some());

    let watched = LISTS.map(str::to_owned);
    measure("match or suspect, known", &known, |key| knowledge.identify(*key, at, &watched).vehicle.is_some());
    let listed = listed(LISTED);
    println!("lists of their own: {} entries, {:.1} MB", listed.lists.len(), listed.lists.bytes() as f64 / 1e6);
    // Plates of the same letters as the listed ones, so that many have a neighbour there.
    let misread: Vec<PlateKey> = (0..LOOKUPS / 40).map(|_| key(2 * random.random_range(0..LISTED) + 1)).collect();
    let suspected = |key: &PlateKey| matches!(listed.identify(*key, at, &watched).kind, MatchKind::Suspected(_));
    measure("suspected match, plate nobody knows", &misread, suspected);

    drop(knowledge);
    let next = build(vehicles);
    println!("resident {} with two snapshots, {} at the peak", status("VmRSS"), status("VmHWM"));
    let started = Instant::now();
    let old = handle.swap(next);
    println!("swap {:.1?}", started.elapsed());
    let started = Instant::now();
    drop(old);
    println!("free the old one {:.1?}", started.elapsed());
}

/// Processor time of the best of five runs: the clock on the wall would count whoever else is on the machine.
fn measure<T>(what: &str, asked: &[T], look_up: impl Fn(&T) -> bool) {
    let mut best = Duration::MAX;
    let mut found = 0;
    for _ in 0..5 {
        let started = processor_time();
        found = asked.iter().filter(|asked| black_box(look_up(black_box(asked)))).count();
        best = best.min(processor_time() - started);
    }
    let share = 100.0 * found as f64 / asked.len() as f64;
    println!("{what:45} {:6.1} ns  ({share:.0} % found)", best.as_nanos() as f64 / asked.len() as f64);
}

/// The same for whoever knows several keys before the first is needed, as with an array of passages.
fn measure_ahead<T>(what: &str, asked: &[T], ask: impl Fn(&T), look_up: impl Fn(&T) -> bool) {
    const AT_ONCE: usize = 16;
    let mut best = Duration::MAX;
    let mut found = 0;
    for _ in 0..5 {
        let started = processor_time();
        found = 0;
        for some in asked.chunks(AT_ONCE) {
            some.iter().for_each(&ask);
            found += some.iter().filter(|asked| black_box(look_up(black_box(asked)))).count();
        }
        best = best.min(processor_time() - started);
    }
    let share = 100.0 * found as f64 / asked.len() as f64;
    println!("{what:45} {:6.1} ns  ({share:.0} % found)", best.as_nanos() as f64 / asked.len() as f64);
}

/// What this thread has used so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the place given, which is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// So many listed vehicles and a register that knows none of them.
fn listed(entries: usize) -> Knowledge {
    let mut registry = RegistryBuilder::default();
    registry.push(key(2 * entries), &vehicle(0));
    let mut lists = ListsBuilder::default();
    let handles = LISTS.map(|name| lists.list(name, 1));
    for number in 0..entries {
        lists.push(handles[number % LISTS.len()], key(2 * number), &ListEntry::default());
    }
    Knowledge { registry: registry.build(1).into(), lists: lists.build().into(), ..Knowledge::default() }
}

fn build(vehicles: usize) -> Knowledge {
    let mut registry = RegistryBuilder::default();
    let mut lists = ListsBuilder::default();
    let handles = LISTS.map(|name| lists.list(name, 1));
    for number in 0..vehicles {
        let key = key(number);
        registry.push(key, &vehicle(number));
        if number % LISTED_EVERY == 0 {
            let reason = Some("early retirement".into());
            let entry = ListEntry { reason, document_no: Some("2026-7".into()), ..ListEntry::default() };
            lists.push(handles[number / LISTED_EVERY % LISTS.len()], key, &entry);
        }
    }
    Knowledge { registry: registry.build(1).into(), lists: lists.build().into(), ..Knowledge::default() }
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

fn vin(number: usize) -> String {
    format!("LGDCHA1G{number:09}")
}

fn vehicle(number: usize) -> Vehicle {
    Vehicle {
        fuel: Fuel::Diesel,
        fuel_code: *b"B\0",
        stage: EmissionStage::from_code((number % 7) as u8),
        kind: *b"H12",
        use_nature: b'F',
        states: 1,
        registered_on: Some(15_000 + (number % 3_000) as i32),
        local: Some(true),
        retrofit: false,
        reference_torque_nm: Some(1_850),
        vin: Vin::parse(&vin(number)),
        contradictory: false,
    }
}

/// A line of the kernel's account of this process.
fn status(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    line.unwrap_or("unknown").to_owned()
}
