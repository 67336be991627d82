//! Throughput of decoding on one core: `cargo bench --bench decode [-- SECONDS]`, one line per form.
//!
//! The goal is 500 MB/s for HJ 1239 packets of ten one-second records. Nothing is measured across threads, so the figure is
//! that of one core; it is taken from the thread's processor time, so that other work on the machine is not counted. Packets differ from each other, so that neither branches nor values are learnt by heart.

use std::{hint::black_box, time::Duration};

use dieselwatch::{
    config::{Protocol, SignatureForm, SourceKind},
    decode::{
        Body, Carriage, Channel, Command, Layout, Position, PositionReading, Stream, decode_payload,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Packets of each form: about half a megabyte, more than the caches next to the core hold.
const PACKETS: usize = 1000;

fn main() {
    // `cargo bench` adds `--bench`; the only other argument is the time for each form.
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let mut random = StdRng::seed_from_u64(1239);
    let two: Vec<Vec<u8>> = (0..PACKETS).map(|_| packet(&mut random, Layout::Two, Protocol::Hj1239)).collect();
    let one: Vec<Vec<u8>> = (0..PACKETS).map(|_| packet(&mut random, Layout::One, Protocol::Gb17691)).collect();
    let hex: Vec<Vec<u8>> = two.iter().map(|packet| hex::encode_upper(packet).into_bytes()).collect();
    let json: Vec<Vec<u8>> =
        two.iter().map(|packet| format!(r#"{{"data":"{}"}}"#, hex::encode(packet)).into_bytes()).collect();

    println!("{:<44} {:>9} {:>12} {:>12} {:>11}", "form", "MB/s", "packets/s", "records/s", "ns/record");
    measure("HJ 1239, 10 stream records, binary", &two, Protocol::Hj1239, time);
    measure("HJ 1239, 10 stream records, protocol auto", &two, Protocol::Auto, time);
    measure("GB 17691, 10 stream records, binary", &one, Protocol::Gb17691, time);
    measure("HJ 1239, 10 stream records, hex text", &hex, Protocol::Hj1239, time);
    measure("HJ 1239, 10 stream records, hex in JSON", &json, Protocol::Hj1239, time);
}

const RECORDS: usize = 10;

fn packet(random: &mut StdRng, layout: Layout, protocol: Protocol) -> Vec<u8> {
    let start =
        Timestamp::from_china(2024, 3, 15, 8, 30, 0).expect("a date").plus_seconds(random.random_range(0..86_400));
    let entry = |second: i64| Entry {
        collected_at: Some(start.plus_seconds(second)),
        serial: second as u16,
        body: Body::Stream(record(random)),
    };
    let entries: Vec<Entry> = (0..RECORDS as i64).map(entry).collect();
    let unit = RealtimeUnit {
        layout,
        sent_at: Some(start.plus_seconds(10)),
        serial: 7,
        position: PositionReading::Absent,
        entries: &entries,
        signature: None,
    };
    let envelope = Envelope::plain(Command::Realtime, protocol, "LGDCHA1G8MA900002").expect("a command");
    encode::frame(envelope, &unit.to_bytes())
}

/// Every channel somewhere in its lower half; one in fifty is a sensor error.
fn record(random: &mut StdRng) -> Stream {
    let mut stream = Stream::default();
    let mut names = Vec::new();
    stream.channels.each(|name, _, _| names.push(name));
    for name in names {
        let (channel, scale) = stream.channels.named_mut(name).expect("a channel");
        let range = scale.range();
        let middle = (range.start() + range.end()) / 2.0;
        let number = Channel::number(random.random_range(*range.start()..middle));
        *channel = if random.random_ratio(1, 50) { Channel::SENSOR_ERROR } else { number };
    }
    let (lon, lat) = (random.random_range(117.6..118.1), random.random_range(36.6..37.0));
    stream.position = PositionReading::Known(Position { valid: true, lon, lat });
    stream
}

fn measure(form: &str, packets: &[Vec<u8>], protocol: Protocol, time: Duration) {
    let pointers = ["/data".to_owned()];
    let carriage = Carriage {
        kind: SourceKind::Obd,
        protocol,
        hex_pointers: &pointers,
        allow_missing_checksum: false,
        max_bytes: 1 << 20,
        signature: SignatureForm::Lengths,
    };
    let round = || {
        let mut records = 0;
        for packet in packets {
            for frame in decode_payload(black_box(packet), &carriage) {
                records += black_box(frame).expect("a good frame").items.len();
            }
        }
        assert_eq!(records, packets.len() * RECORDS);
    };
    round();
    let bytes: usize = packets.iter().map(Vec::len).sum();
    let (start, mut rounds) = (processor_time(), 0_u32);
    while processor_time() - start < time {
        round();
        rounds += 1;
    }
    let per_round = (processor_time() - start).as_secs_f64() / f64::from(rounds);
    let packets_per_second = packets.len() as f64 / per_round;
    println!(
        "{form:<44} {:>9.0} {:>12.0} {:>12.0} {:>11.1}",
        bytes as f64 / per_round / 1e6,
        packets_per_second,
        packets_per_second * RECORDS as f64,
        1e9 / packets_per_second / RECORDS as f64,
    );
}

/// Time this thread has run.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which is ours and outlives it.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "Linux has a clock for each thread");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
