//! Windows of terminals through the service: any order of packets, repeated or sent later, ends in the same alarms.

use dieselwatch::{
    config::Protocol,
    decode::{
        Body, Channel, Command, Layout, Position, PositionReading, Stream, StreamChannels,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};
use serde_json::Value;

use super::{PASSAGES, World, balanced, passage, settled};
use crate::support::{self, publisher::publish, service::Service};

const TRUCKS: &str = "plate,plate_color,vin,fuel,emission_stage,vehicle_kind,use_nature,state,registered_on,local,reference_torque_nm\n\
    鲁C10001,yellow,LGDCHA1G8MA900011,B,6,H12,F,A,2022-05-01,true,1000\n\
    鲁C10002,yellow,LGDCHA1G8MA900012,B,6,H12,F,A,2022-05-01,true,1000\n\
    鲁C12345,yellow,LGDCHA1G8MA900013,B,6,H12,F,A,2022-05-01,true,1000\n";

/// The built-in table, evaluated at once.
fn table() -> String {
    let delay = "delay_seconds = { value = 300";
    assert!(dieselwatch::judge::terminal_table::BUILT_IN.contains(delay));
    dieselwatch::judge::terminal_table::BUILT_IN.replace(delay, "delay_seconds = { value = 0")
}

async fn start(table: &str) -> Option<(World, Service)> {
    let mut world = World::new().await?;
    let path = world.path("terminal.toml");
    std::fs::write(&path, table).unwrap();
    world.setting.further = format!("[judge]\nterminal_file = {:?}", path.display().to_string());
    world.import(&["vehicles"], "vehicles.csv", TRUCKS).await;
    let service = Service::start_ready(&world.setting).await;
    Some((world, service))
}

/// Ten seconds of an engine whose catalyst does nothing and whose reagent is nearly out.
fn packet(vin: &str, first: Timestamp, number: u16, resend: bool) -> (String, Vec<u8>) {
    let entry = |second: i64| {
        let wave = ((i64::from(number) * 10 + second) % 50) as f64;
        let channels = StreamChannels {
            speed_kmh: Channel::number(60.0),
            net_torque_pct: Channel::number(20.0 + wave),
            friction_torque_pct: Channel::number(9.0),
            engine_rpm: Channel::number(1200.0 + wave * 10.0),
            fuel_flow_lph: Channel::number(20.0),
            nox_upstream_ppm: Channel::number(700.0 + wave),
            nox_downstream_ppm: Channel::number(400.0 + wave / 2.0),
            reagent_pct: Channel::number(8.0),
            intake_air_kgph: Channel::number(500.0),
            scr_inlet_c: Channel::number(300.0 + wave),
            scr_outlet_c: Channel::number(290.0 + wave),
            dpf_dp_kpa: Channel::number(4.0 + wave / 10.0),
            coolant_c: Channel::number(85.0),
            odometer_km: Channel::number(100_000.0 + f64::from(number) / 6.0),
            ..StreamChannels::default()
        };
        let position =
            PositionReading::Known(Position { valid: true, lon: 118.0 + f64::from(number) * 0.0015, lat: 36.8 });
        let body = Body::Stream(Stream { channels, position, work_state: None });
        Entry { collected_at: Some(first.plus_seconds(second)), serial: number, body }
    };
    let entries: Vec<Entry> = (0..10).map(entry).collect();
    // Sent again, a packet keeps its serial and says that it is sent hours later.
    let sent_at = first.plus_seconds(if resend { 7200 } else { 10 });
    let unit = RealtimeUnit {
        layout: Layout::Two,
        sent_at: Some(sent_at),
        serial: number,
        position: PositionReading::Absent,
        entries: &entries,
        signature: None,
    };
    let command = if resend { Command::Resend } else { Command::Realtime };
    let envelope = Envelope::plain(command, Protocol::Hj1239, vin).unwrap();
    (format!("dw/v1/obd/{vin}/frame"), encode::frame(envelope, &unit.to_bytes()))
}

/// Rule, span and content of the alarms in force of a terminal; the device's name is taken out.
async fn alarms(world: &World, vin: &str) -> Vec<(String, Timestamp, Timestamp, Value)> {
    let rows = world
        .client
        .query(
            "SELECT rule, from_at, to_at, content FROM finding WHERE state = 0 AND subject = $1 \
             AND rule <> 'terminal.nox_over_limit' ORDER BY rule, from_at",
            &[&vin],
        )
        .await
        .unwrap();
    let alarm = |row: &tokio_postgres::Row| {
        let mut content: Value = row.get(3);
        content["device"] = Value::Null;
        (row.get(0), row.get(1), row.get(2), content)
    };
    rows.iter().map(alarm).collect()
}

async fn evaluated(world: &World) {
    let open = "SELECT count(*) FROM terminal_task WHERE due_at <= now()";
    world.until_count(open, 0).await;
    // Taken tasks are gone from sight only with their findings.
    world.until_count("SELECT count(*) FROM evaluation_task", 0).await;
}

/// Midnight in China of a day that is over, a few days ago.
fn some_morning() -> Timestamp {
    let day = Timestamp::now().plus_seconds(-3 * 86_400).china_day();
    Timestamp::from_china_naive(day.and_hms_opt(8, 0, 0).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shuffled_repeated_and_resent_packets_end_in_the_same_alarms() {
    let Some((world, service)) = start(&table()).await else { return };
    let (orderly, unruly) = ("LGDCHA1G8MA900011", "LGDCHA1G8MA900012");
    let morning = some_morning();
    let at = |number: u16| morning.plus_seconds(i64::from(number - 1) * 10);
    // Forty minutes, four windows.
    let numbers: Vec<u16> = (1..=240).collect();
    let mut sent = 0;
    let broker = world.setting.broker.clone();
    let mut send = async |packets: Vec<(String, Vec<u8>)>| {
        sent += packets.len() as u64;
        publish(&broker, packets).await;
        settled(&service, sent).await;
    };
    send(numbers.iter().map(|&n| packet(orderly, at(n), n, false)).collect()).await;
    evaluated(&world).await;

    // A full cycle through all numbers in another order; every third is sent again later instead, every fifth twice.
    let scattered: Vec<u16> = numbers.iter().map(|n| (n * 101) % 241).collect();
    let (late, live): (Vec<u16>, Vec<u16>) = scattered.into_iter().partition(|n| n % 3 == 0);
    for part in live.chunks(50) {
        send(part.iter().map(|&n| packet(unruly, at(n), n, false)).collect()).await;
        // Evaluated in between, so that alarms of half the story are made and taken back.
        evaluated(&world).await;
    }
    service.kill().await;
    let service = Service::start_ready(&world.setting).await;
    let mut again: Vec<(String, Vec<u8>)> =
        live.iter().filter(|n| *n % 5 == 0).map(|&n| packet(unruly, at(n), n, false)).collect();
    again.extend(late.iter().map(|&n| packet(unruly, at(n), n, true)));
    let messages = again.len() as u64;
    publish(&world.setting.broker, again).await;
    settled(&service, messages).await;
    balanced(&service).await;
    evaluated(&world).await;

    support::until("the same alarms", async || {
        (alarms(&world, orderly).await == alarms(&world, unruly).await).then_some(())
    })
    .await;
    let found = alarms(&world, orderly).await;
    let rules: Vec<&str> = found.iter().map(|(rule, ..)| rule.as_str()).collect();
    assert_eq!(rules, ["terminal.nox_specific_high", "terminal.reagent_low", "terminal.scr_efficiency_low"]);
    for (rule, from, to, content) in &found {
        assert_eq!((*from, *to), (at(1), at(240).plus_seconds(9)), "{rule}");
        assert!(content["peak"].is_object() && content["windows"].as_array().unwrap().len() == 4, "{rule}: {content}");
    }
    let bare = "SELECT count(*) FROM finding f WHERE NOT EXISTS (SELECT FROM evidence e WHERE e.finding = f.id)";
    assert_eq!(world.count(bare).await, 0, "every alarm has the packets behind it");
    let lost = "SELECT count(*) FROM terminal_day WHERE missing <> 0 OR records NOT IN (0, 2400)";
    assert_eq!(world.count(lost).await, 0, "what was sent again fills its gap");
    let sent = "SELECT count(*) FROM (SELECT payload FROM outbox GROUP BY payload HAVING count(*) > 1) t";
    assert_eq!(world.count(sent).await, 0, "no event is written twice");
    assert_eq!(service.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_asked_for_when_its_vehicle_is_seen() {
    let table = table().replace("settle_hours = { value = 120", "settle_hours = { value = 0");
    let Some((world, service)) = start(&table).await else { return };
    let vin = "LGDCHA1G8MA900013";
    let morning = some_morning();
    publish(&world.setting.broker, (1..=12).map(|n| packet(vin, morning.plus_seconds(i64::from(n) * 10), n, false)))
        .await;
    settled(&service, 12).await;
    evaluated(&world).await;
    // Unknown to the register, but it is the VIN of a vehicle: the next snapshot knows whose terminal it is.
    let devices = format!("device_id,kind,protocol,bound_to,installed_on,emission_stage\n{vin},obd,hj1239,,,\n");
    world.import(&["devices"], "devices.csv", &devices).await;
    support::until("the new devices", async || {
        let text = service.metrics().await;
        (support::http::metric(&text, "dieselwatch_knowledge_entries", &["devices"]) >= 1.0).then_some(())
    })
    .await;
    let seen = |record: &str, seconds: i64| {
        (PASSAGES, passage(record, &morning.plus_seconds(seconds).to_string(), 12.0).to_string())
    };
    publish(&world.setting.broker, [seen("near", 600), seen("far", 7200), seen("before", -86_400)]).await;
    settled(&service, 15).await;
    let silent = "SELECT count(*) FROM finding WHERE state = 0 AND rule = 'terminal.silent_while_seen'";
    world.until_count(silent, 1).await;
    let row =
        world.client.query_one("SELECT content FROM finding WHERE rule = 'terminal.silent_while_seen'", &[]).await;
    let content: Value = row.unwrap().get(0);
    assert_eq!(content["passages"].as_array().unwrap().len(), 1, "{content}");
    assert_eq!(content["passages"][0]["record_id"], "far");
    // What it stored up meanwhile takes the alarm back.
    publish(&world.setting.broker, [packet(vin, morning.plus_seconds(7000), 500, true)]).await;
    world.until_count(silent, 0).await;
    assert_eq!(service.stop().await, Some(0));
}
