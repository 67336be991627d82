//! The script of the year: its format, and the messages that devices would send.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, NaiveTime};
use dieselwatch::{
    config::Protocol,
    decode::{
        Body, Channel, Command, DiagnosisProtocol, Dtcs, Layout, Mil, Obd, ObdDetail, Position, PositionReading,
        Stream, Text,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::service::passage;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    pub step: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Step {
    Passages(Passages),
    List(List),
    Frames(Frames),
    Inspections(Inspections),
    Warning(Warning),
    Replay(Replay),
}

#[derive(Deserialize)]
pub struct Passages {
    pub passages: Vec<Passing>,
}

#[derive(Deserialize)]
pub struct Frames {
    pub frames: Vec<Sent>,
}

#[derive(Deserialize)]
pub struct Inspections {
    reports: Vec<Report>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    plate: String,
    day: i64,
    result: String,
}

#[derive(Deserialize)]
pub struct Warning {
    level: String,
    from: i64,
    to: i64,
}

#[derive(Deserialize)]
pub struct Replay {}

#[derive(Deserialize)]
pub struct List {
    pub name: String,
    entries: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    plate: String,
    #[serde(default = "yellow")]
    colour: String,
    from: i64,
    to: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passing {
    record: String,
    plate: Option<String>,
    #[serde(default = "yellow")]
    colour: String,
    #[serde(default = "first_station")]
    station: String,
    day: Option<i64>,
    /// Month and day.
    on: Option<String>,
    at: Option<String>,
    #[serde(default)]
    now: bool,
    opacity: Option<f64>,
    ringelmann: Option<f64>,
    smoke_only: Option<f64>,
    #[serde(default)]
    rain: bool,
    lane: Option<u8>,
    confidence: Option<f64>,
}

fn yellow() -> String {
    "yellow".into()
}

fn first_station() -> String {
    "S1".into()
}

/// What a terminal sends; exactly one of the first four says what, and who.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    removal: Option<String>,
    lamp: Option<String>,
    nox: Option<String>,
    machine: Option<String>,
    day: i64,
    at: String,
    #[serde(default)]
    resent: bool,
    code: Option<String>,
    seconds: Option<i64>,
    lon: Option<f64>,
    lat: Option<f64>,
}

/// The script and the year it plays in.
pub struct Year {
    pub script: Script,
    first: NaiveDate,
}

/// Days from the beginning of the year to today: a year and some days for what is uploaded late, below the 400 days that a
/// reading may be old.
const DAYS: i64 = 380;

impl Year {
    pub fn of_today(script: Script) -> Self {
        Self { script, first: Timestamp::now().plus_seconds(-DAYS * 86_400).china_day() }
    }

    fn date(&self, day: i64) -> NaiveDate {
        assert!((0..=DAYS).contains(&day), "day {day} is not in the year");
        self.first + chrono::Duration::days(day)
    }

    /// The last day of the year with this month and day of the month.
    fn date_on(&self, on: &str) -> NaiveDate {
        let is_it = |date: &NaiveDate| format!("{:02}-{:02}", date.month(), date.day()) == on;
        (0..DAYS).rev().map(|day| self.date(day)).find(is_it).unwrap_or_else(|| panic!("{on} is no date"))
    }

    /// Number of a date.
    pub fn day_of(&self, date: NaiveDate) -> i64 {
        (date - self.first).num_days()
    }

    /// Number of the day and time in China.
    pub fn moment(&self, at: &str) -> (i64, String) {
        let at = Timestamp::parse_rfc3339(at).unwrap().in_china().naive_local();
        (self.day_of(at.date()), at.time().format("%H:%M:%S").to_string())
    }

    /// Topic and payload of everything a step sends.
    pub fn messages(&self, step: &Step) -> Vec<(String, Vec<u8>)> {
        match step {
            Step::Passages(step) => {
                let mut by_station: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
                for each in &step.passages {
                    by_station.entry(&each.station).or_default().push(self.passage(each));
                }
                let message = |(station, passages)| {
                    (format!("dw/v1/rs/{station}/passage"), Value::Array(passages).to_string().into_bytes())
                };
                by_station.into_iter().map(message).collect()
            }
            Step::Frames(step) => step.frames.iter().flat_map(|sent| self.frames(sent)).collect(),
            Step::List(_) | Step::Inspections(_) | Step::Warning(_) | Step::Replay(_) => Vec::new(),
        }
    }

    fn passage(&self, of: &Passing) -> Value {
        let at = match (of.now, of.day, &of.on) {
            (true, None, None) => Timestamp::now().plus_seconds(-5),
            (false, Some(day), None) => self.at(self.date(day), of.at.as_deref()),
            (false, None, Some(on)) => self.at(self.date_on(on), of.at.as_deref()),
            _ => panic!("{}: exactly one of now, day and on", of.record),
        };
        let mut passage = passage(&of.record, &at.to_string(), of.opacity.unwrap_or(12.0));
        let mut set = |name: &str, value: Value| passage[name] = value;
        set("station_id", json!(of.station));
        set("plate", json!(of.plate));
        set("plate_color", json!(of.colour));
        set("precipitation", json!(of.rain));
        set("lane", json!(of.lane.unwrap_or(1)));
        set("plate_confidence", json!(of.confidence.unwrap_or(0.97)));
        if let Some(level) = of.ringelmann.or(of.smoke_only) {
            set("ringelmann", json!(level));
        }
        if of.smoke_only.is_some() {
            for gas in ["opacity_pct", "co2_pct", "co_pct", "hc_ppm", "no_ppm"] {
                set(gas, Value::Null);
            }
        }
        passage
    }

    /// A time in China; noon when none is given.
    fn at(&self, date: NaiveDate, time: Option<&str>) -> Timestamp {
        let time = NaiveTime::parse_from_str(time.unwrap_or("12:00:00"), "%H:%M:%S").unwrap();
        Timestamp::from_china_naive(date.and_time(time))
    }

    fn frames(&self, sent: &Sent) -> Vec<(String, Vec<u8>)> {
        let at = self.at(self.date(sent.day), Some(&sent.at));
        let data = if sent.resent { Command::Resend } else { Command::Realtime };
        match (&sent.removal, &sent.lamp, &sent.nox, &sent.machine) {
            (Some(vin), None, None, None) => {
                // The copy that is uploaded later has another serial, because serials begin anew with each day.
                let serial = if sent.resent { 900 } else { 5 };
                let unit = encode::removal_alarm(Some(at), serial, PositionReading::Absent, None);
                vec![road(vin, Command::RemovalAlarm, &unit)]
            }
            (None, Some(vin), None, None) => {
                let code = hex::decode(sent.code.as_ref().unwrap()).unwrap();
                let body = Body::Obd(diagnosis(vin, code.try_into().unwrap()));
                vec![road(vin, data, &unit(Layout::Two, at, vec![(at, body)], PositionReading::Absent))]
            }
            (None, None, Some(vin), None) => {
                let seconds: Vec<_> = (0..sent.seconds.unwrap()).map(|second| at.plus_seconds(second)).collect();
                // Ten seconds a packet, as terminals send them.
                seconds
                    .chunks(10)
                    .map(|seconds| {
                        let bodies = seconds.iter().map(|at| (*at, Body::Stream(dirty()))).collect();
                        road(vin, data, &unit(Layout::Two, seconds[0], bodies, PositionReading::Absent))
                    })
                    .collect()
            }
            (None, None, None, Some(machine)) => {
                let (lon, lat) = (sent.lon.unwrap(), sent.lat.unwrap());
                let position = PositionReading::Known(Position { valid: true, lon, lat });
                let bodies = vec![(at, Body::Stream(Stream::default()))];
                let envelope = Envelope::plain(data, Protocol::Hj1014, machine).unwrap();
                let frame = encode::frame(envelope, &unit(Layout::Nonroad, at, bodies, position));
                vec![(format!("dw/v1/nonroad/{machine}/frame"), frame)]
            }
            _ => panic!("exactly one of removal, lamp, nox and machine"),
        }
    }
}

fn road(vin: &str, command: Command, unit: &[u8]) -> (String, Vec<u8>) {
    let envelope = Envelope::plain(command, Protocol::Hj1239, vin).unwrap();
    (format!("dw/v1/obd/{vin}/frame"), encode::frame(envelope, unit))
}

fn unit(layout: Layout, at: Timestamp, bodies: Vec<(Timestamp, Body)>, position: PositionReading) -> Vec<u8> {
    let entries: Vec<Entry> =
        bodies.into_iter().map(|(at, body)| Entry { collected_at: Some(at), serial: 1, body }).collect();
    RealtimeUnit { layout, sent_at: Some(at), serial: 1, position, entries: &entries, signature: None }.to_bytes()
}

/// Warm, at work, and 700 ppm behind the catalyst.
fn dirty() -> Stream {
    let mut stream = Stream::default();
    let channels = &mut stream.channels;
    channels.engine_rpm = Channel::number(1500.0);
    channels.coolant_c = Channel::number(85.0);
    channels.scr_inlet_c = Channel::number(310.0);
    channels.nox_upstream_ppm = Channel::number(900.0);
    channels.nox_downstream_ppm = Channel::number(700.0);
    stream
}

fn diagnosis(vin: &str, code: [u8; 3]) -> Obd {
    let [a, b, c] = code;
    Obd {
        diagnosis_protocol: DiagnosisProtocol::Iso27145,
        mil: Mil::On,
        detail: Some(ObdDetail {
            support_bits: 0,
            readiness_bits: 0,
            vin: Text::new(vin),
            calibration_id: Text::new("YEAR"),
            cvn: [b'0'; 18],
            iupr: [1; 18],
        }),
        dtc: Ok(Dtcs::from_slice(&[[a, b, c, 0xaf]])),
        position: PositionReading::Absent,
    }
}

impl List {
    /// The list as an office would hand it in.
    pub fn csv(&self, year: &Year) -> String {
        let mut text = String::from("plate,plate_color,valid_from,valid_to,reason,document_no\n");
        for entry in &self.entries {
            let to = entry.to.map(|day| year.date(day).to_string()).unwrap_or_default();
            text += &format!("{},{},{},{to},scripted,2026-1\n", entry.plate, entry.colour, year.date(entry.from));
        }
        text
    }
}

impl Inspections {
    /// The journal of an inspection station.
    pub fn csv(&self, year: &Year) -> String {
        let mut text = String::from("plate,plate_color,station_id,inspected_at,kind,result,report_no\n");
        for report in &self.reports {
            let day = year.date(report.day);
            text += &format!("{0},yellow,I1,{day},recheck,{1},{0}-{day}\n", report.plate, report.result);
        }
        text
    }
}

impl Warning {
    /// The command that issues it.
    pub fn command(&self, year: &Year) -> Vec<String> {
        let midnight = |day: i64| format!("{}T00:00:00+08:00", year.date(day));
        let fixed = ["warning", "issue", &self.level, "--by", "duty desk", "--from"].map(String::from);
        [&fixed[..], &[midnight(self.from), "--until".into(), midnight(self.to)]].concat()
    }
}
