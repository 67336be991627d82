//! What terminals and machines say, from frames over MQTT to findings and events: a lamp with codes, a removal, downstream
//! NOx over its limit, a machine below stage III in a control zone.

use dieselwatch::{
    config::Protocol,
    decode::{
        Body, Channel, Command, DiagnosisProtocol, Dtcs, Layout, Mil, Obd, ObdDetail, Position, PositionReading,
        Stream, Text,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};
use serde_json::Value;

use super::{World, balanced, settled};
use crate::support::{publisher::publish, service::Service};

const VIN: &str = "LGDCHA1G8MA900002";
const OLD_MACHINE: &str = "CNFJG300000000001";
const NEW_MACHINE: &str = "CNFJG300000000002";

/// Seconds of a packet.
const SECONDS: i64 = 10;

fn framed(command: Command, protocol: Protocol, id: &str, unit: &[u8]) -> Vec<u8> {
    encode::frame(Envelope::plain(command, protocol, id).unwrap(), unit)
}

/// A whole second some minutes ago, so that nothing of the test lies in the future.
fn minutes_ago(minutes: i64) -> Timestamp {
    let now = Timestamp::now().micros() / 1_000_000;
    Timestamp::from_micros((now - minutes * 60) * 1_000_000)
}

fn realtime(serial: u16, at: Timestamp, bodies: Vec<Body>) -> Vec<u8> {
    realtime_sent(at, serial, at, bodies)
}

fn realtime_sent(sent_at: Timestamp, serial: u16, at: Timestamp, bodies: Vec<Body>) -> Vec<u8> {
    let entry = |(second, body)| Entry { collected_at: Some(at.plus_seconds(second)), serial, body };
    let entries: Vec<Entry> = (0..).zip(bodies).map(entry).collect();
    let unit = RealtimeUnit {
        layout: Layout::Two,
        sent_at: Some(sent_at),
        serial,
        position: PositionReading::Absent,
        entries: &entries,
        signature: None,
    };
    framed(Command::Realtime, Protocol::Hj1239, VIN, &unit.to_bytes())
}

/// A second of a warm engine that works.
fn second(nox_downstream_ppm: f64) -> Body {
    let mut stream = Stream::default();
    let set = |channel: &mut Channel, value| *channel = Channel::number(value);
    set(&mut stream.channels.engine_rpm, 1_500.0);
    set(&mut stream.channels.coolant_c, 82.0);
    set(&mut stream.channels.scr_inlet_c, 310.0);
    set(&mut stream.channels.nox_upstream_ppm, 1_100.0);
    set(&mut stream.channels.nox_downstream_ppm, nox_downstream_ppm);
    Body::Stream(stream)
}

fn diagnosis(mil: Mil, codes: &[[u8; 4]]) -> Body {
    Body::Obd(Obd {
        diagnosis_protocol: DiagnosisProtocol::Iso27145,
        mil,
        detail: Some(ObdDetail {
            support_bits: 0,
            readiness_bits: 0,
            vin: Text::new(VIN),
            calibration_id: Text::new("C"),
            cvn: [b'0'; 18],
            iupr: [0; 18],
        }),
        dtc: Ok(Dtcs::from_slice(codes)),
        position: PositionReading::Absent,
    })
}

fn machine(id: &str, at: Timestamp, lon: f64) -> Vec<u8> {
    let unit = RealtimeUnit {
        layout: Layout::Nonroad,
        sent_at: Some(at),
        serial: 1,
        position: PositionReading::Known(Position { valid: true, lon, lat: 36.80 }),
        entries: &[Entry { collected_at: None, serial: 1, body: Body::Stream(Stream::default()) }],
        signature: None,
    };
    framed(Command::Realtime, Protocol::Hj1014, id, &unit.to_bytes())
}

async fn content(world: &World, rule: &str) -> Vec<Value> {
    let sql = "SELECT content FROM finding WHERE rule = $1 AND state = 0 ORDER BY subject";
    world.client.query(sql, &[&rule]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lamp_with_codes_a_removal_and_a_run_of_nox_become_findings() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    let topic = format!("dw/v1/obd/{VIN}/frame");
    // Both diagnoses on one China day, whatever the hour.
    let noon = Timestamp::from_china_naive(minutes_ago(36 * 60).china_day().and_hms_opt(12, 0, 0).unwrap());
    let lamp = |second: i64, codes: &[[u8; 4]]| realtime(9, noon.plus_seconds(second), vec![diagnosis(Mil::On, codes)]);
    let off = realtime(8, noon.plus_seconds(-600), vec![diagnosis(Mil::Off, &[*b"\x20\x4e\x00\xaf"])]);
    let removal = encode::removal_alarm(Some(noon), 1, PositionReading::Absent, None);

    // 200 seconds over the limit in packets of ten, the odd ones first; then a pass, a gap, and a run that is too short.
    let begin = minutes_ago(60);
    let run = |packet: i64, ppm| {
        let bodies = (0..SECONDS).map(|_| second(ppm)).collect();
        realtime(packet as u16, begin.plus_seconds(packet * SECONDS), bodies)
    };
    let mut messages =
        vec![off, lamp(0, &[*b"\x20\x4e\x00\xaf", [1, 2, 3, 4]]), lamp(60, &[[1, 2, 3, 9], *b"\x20\x4e\x00\x2f"])];
    messages.push(framed(Command::RemovalAlarm, Protocol::Hj1239, VIN, &removal));
    messages.extend((0..20).filter(|packet| packet % 2 == 1).map(|packet| run(packet, 640.0)));
    messages.push(run(20, 120.0));
    messages.extend((40..50).map(|packet| run(packet, 640.0)));
    messages.extend((0..20).filter(|packet| packet % 2 == 0).rev().map(|packet| run(packet, 650.0)));
    let sent = messages.len() as u64;
    publish(&world.setting.broker, messages.iter().map(|payload| (topic.clone(), payload.clone()))).await;
    settled(&service, sent).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    world.until_count("SELECT count(*) FROM finding WHERE rule = 'terminal.nox_over_limit' AND state = 0", 1).await;

    let nox = content(&world, "terminal.nox_over_limit").await;
    assert_eq!((nox[0]["seconds"].as_i64(), nox[0]["peak"].as_f64()), (Some(200), Some(650.0)), "{nox:?}");
    assert_eq!(nox[0]["from"], begin.to_string());
    let packets = "SELECT count(*) FROM evidence e JOIN finding f ON f.id = e.finding \
                   WHERE f.rule = 'terminal.nox_over_limit' AND f.state = 0";
    assert_eq!(world.count(packets).await, 20, "every packet of the run, and no other");
    let lamps = content(&world, "terminal.lamp_on").await;
    assert_eq!(lamps.len(), 1, "two diagnoses of one day with the same codes: {lamps:?}");
    assert_eq!(lamps[0]["codes"], serde_json::json!(["010203", "204E00"]));
    assert_eq!(content(&world, "terminal.removal_alarm").await.len(), 1);
    let subjects = "SELECT count(*) FROM finding WHERE subject = 'LGDCHA1G8MA900002' AND rule LIKE 'terminal.%'";
    assert!(world.count(subjects).await >= 3);

    // All of it again: nothing changes, not even a revision.
    let before = world.count("SELECT sum(revision)::int8 FROM finding").await;
    publish(&world.setting.broker, messages.into_iter().map(|payload| (topic.clone(), payload))).await;
    settled(&service, 2 * sent).await;
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
    balanced(&service).await;
    assert_eq!(world.count("SELECT sum(revision)::int8 FROM finding").await, before);
    assert_eq!(service.stop().await, Some(0));
}

/// A clock that was reset says 2000 while the readings say when they were made: they are kept, and nothing goes to 2000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_send_clock_costs_no_reading() {
    let Some(world) = World::new().await else { return };
    let service = Service::start_ready(&world.setting).await;
    let reset = Timestamp::parse_rfc3339("2000-01-01T00:00:07+08:00").unwrap();
    let at = minutes_ago(60);
    let seconds = (0..SECONDS).map(|_| second(120.0)).collect();
    publish(&world.setting.broker, [(format!("dw/v1/obd/{VIN}/frame"), realtime_sent(reset, 1, at, seconds))]).await;
    settled(&service, 1).await;
    balanced(&service).await;
    assert_eq!(world.count("SELECT count(*) FROM terminal_stream").await, SECONDS);
    assert_eq!(world.count("SELECT count(*) FROM dead_letter").await, 0);
    let packet = world.client.query_one("SELECT sent_at FROM terminal_packet", &[]).await.unwrap();
    assert_eq!(packet.get::<_, Timestamp>(0), at, "the time of its first reading");
    assert_eq!(service.stop().await, Some(0));
}

/// The same smoke passes outside a zone of the strictest class and not inside; an unknown rated power accuses nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_smokes_in_the_strictest_zone_waits_for_a_person() {
    let Some(world) = World::new().await else { return };
    let zone = r#"{"type":"FeatureCollection","features":[{"type":"Feature",
        "properties":{"name":"core","kind":"nonroad_control","rule":"nonroad_smoke_class_3"},
        "geometry":{"type":"Polygon","coordinates":[[[117.8,36.7],[117.9,36.7],[117.9,36.9],[117.8,36.9],[117.8,36.7]]]}}]}"#;
    world.import(&["zones"], "zones.geojson", zone).await;
    let devices = format!(
        "device_id,kind,protocol,bound_to,installed_on,emission_stage,power_kw\n{OLD_MACHINE},nonroad,hj1014,,,3,90\n\
         {NEW_MACHINE},nonroad,hj1014,,,3,\n"
    );
    world.import(&["devices"], "devices.csv", &devices).await;
    let service = Service::start_ready(&world.setting).await;
    let noon = Timestamp::from_china_naive(minutes_ago(36 * 60).china_day().and_hms_opt(12, 0, 0).unwrap());
    let smoke = |id: &str, second: i64, lon: f64, k_m1: f64| {
        let message = serde_json::json!({
            "machine_id": id, "serial": second, "collected_at": noon.plus_seconds(second).to_string(),
            "position": {"valid": true, "lon": lon, "lat": 36.80}, "smoke_k_m1": k_m1,
        });
        (format!("dw/v1/nonroad/{id}/frame"), message.to_string())
    };
    let messages = [
        smoke(OLD_MACHINE, 0, 117.95, 0.6),
        smoke(OLD_MACHINE, 60, 117.85, 0.5),
        smoke(OLD_MACHINE, 120, 117.85, 0.6),
        smoke(OLD_MACHINE, 180, 117.86, 0.7),
        smoke(NEW_MACHINE, 0, 117.85, 9.0),
    ];
    publish(&world.setting.broker, messages).await;
    settled(&service, 5).await;
    balanced(&service).await;
    let found = content(&world, "GB36886.smoke").await;
    let [found] = &found[..] else { panic!("one finding for the machine's day: {found:?}") };
    assert_eq!((found["machine"].as_str(), found["class"].as_i64()), (Some(OLD_MACHINE), Some(3)));
    assert_eq!((found["limit_k_m1"].as_f64(), found["power_kw"].as_f64()), (Some(0.5), Some(90.0)));
    let review = "SELECT review::text FROM finding WHERE rule = 'GB36886.smoke'";
    let review: String = world.client.query_one(review, &[]).await.unwrap().get(0);
    assert!(review.contains("needed"), "{review}");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_below_stage_three_in_a_control_zone_is_one_finding_a_day() {
    let Some(world) = World::new().await else { return };
    let zone = r#"{"type":"FeatureCollection","features":[{"type":"Feature",
        "properties":{"name":"core","kind":"nonroad_control","rule":"nonroad_stage_min_3"},
        "geometry":{"type":"Polygon","coordinates":[[[117.8,36.7],[117.9,36.7],[117.9,36.9],[117.8,36.9],[117.8,36.7]]]}}]}"#;
    world.import(&["zones"], "zones.geojson", zone).await;
    let devices = format!(
        "device_id,kind,protocol,bound_to,installed_on,emission_stage\n{OLD_MACHINE},nonroad,hj1014,,,2\n\
         {NEW_MACHINE},nonroad,hj1014,,,3\n"
    );
    world.import(&["devices"], "devices.csv", &devices).await;
    let service = Service::start_ready(&world.setting).await;
    let noon = Timestamp::from_china_naive(minutes_ago(36 * 60).china_day().and_hms_opt(12, 0, 0).unwrap());
    let topic = |id: &str| format!("dw/v1/nonroad/{id}/frame");
    let messages = [
        (topic(OLD_MACHINE), machine(OLD_MACHINE, noon, 117.85)),
        (topic(OLD_MACHINE), machine(OLD_MACHINE, noon.plus_seconds(60), 117.86)),
        (topic(OLD_MACHINE), machine(OLD_MACHINE, noon.plus_seconds(86_400), 117.85)),
        (topic(OLD_MACHINE), machine(OLD_MACHINE, noon.plus_seconds(-86_400), 117.95)),
        (topic(NEW_MACHINE), machine(NEW_MACHINE, noon, 117.85)),
    ];
    publish(&world.setting.broker, messages).await;
    settled(&service, 5).await;
    balanced(&service).await;
    let found = content(&world, "R11.nonroad_below_stage").await;
    assert_eq!(found.len(), 2, "one for each day inside: {found:?}");
    assert!(found.iter().all(|each| each["machine"] == OLD_MACHINE && each["stage"] == 2 && each["min_stage"] == 3));
    assert_eq!(world.events().await.len(), 2);
    assert_eq!(service.stop().await, Some(0));
}
