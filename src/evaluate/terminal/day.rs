//! One day of one terminal: every alarm that should be in force, and the figures. Pure.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    alarms::{self, Window},
    facts::{Channel, Facts, Parts},
    presence::{self, Count},
};
use crate::{
    finding::{Finding, Review, Subject, finding_id},
    judge::{TerminalTable, terminal::TerminalKind, terminal_table::AlarmRule},
    reading::{DeviceId, Timestamp},
};

/// What the register says of the vehicle that a terminal is fixed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    pub reference_torque_nm: Option<u16>,
    /// 0..=6
    pub stage: Option<u8>,
    /// Parts that it must have by its kind; `false` says nothing.
    pub fitted: Parts,
    /// The register's rows about the vehicle contradict each other or themselves, so torque and stage are in doubt.
    pub contradictory: bool,
}

/// A roadside unit saw the vehicle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passage {
    pub passed_at: Timestamp,
    pub station_id: String,
    pub record_id: String,
    /// The database's number of the station.
    pub station: i32,
    /// Recognized with the confidence that judgement asks for.
    pub plate_is_sure: bool,
}

/// What to fetch as evidence: packets with a record in a span, packets sent in a span, passages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behind {
    pub records: Vec<(Timestamp, Timestamp)>,
    pub packets: Vec<(Timestamp, Timestamp)>,
    pub passages: Vec<Passage>,
}

/// Something that is wrong with a vehicle's exhaust treatment, or with the terminal that should tell of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    pub rule: AlarmRule,
    /// What it is about, besides rule and device.
    pub key: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub why_review: Option<&'static str>,
    /// Peak, windows and whatever else explains it.
    pub content: Value,
    pub behind: Behind,
}

/// What is known of a terminal and its day. Windows are in the order of time.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub before: &'a [Window],
    pub windows: &'a [Window],
    pub after: &'a [Window],
    pub fleet: Fleet,
    pub passages: &'a [Passage],
    /// Serials of packets sent again since the day began.
    pub resent: &'a BTreeSet<u16>,
    /// How late it is: a passage is taken for unanswered only when the terminal had time to resend.
    pub as_of: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Day {
    pub alarms: Vec<Alarm>,
    pub count: Count,
    pub records: u32,
    /// Rules that could not be decided, each with the input that is missing.
    pub undetermined: Vec<&'static str>,
}

/// Decides a day.
pub fn day(known: &Known<'_>, table: &TerminalTable) -> Day {
    let Known { before, windows, after, fleet, passages, resent, as_of } = *known;
    let around: Vec<Window> = [before, windows, after].concat();
    let count = presence::count(windows, resent, table);
    // What moved yesterday is there today, unless somebody took it out.
    let seen = before.iter().chain(windows).fold(Parts::default(), |parts, (_, facts)| parts.or(facts.parts));
    let parts = fleet.fitted.or(seen);
    let mut alarms = Vec::new();
    for rule in AlarmRule::ALL.into_iter().filter(|rule| table.is_on(*rule)) {
        alarms.extend(match rule {
            AlarmRule::ScrEfficiency => alarms::scr_efficiency(windows, table),
            AlarmRule::NoxSpecific => alarms::nox_specific(windows, &fleet, table),
            AlarmRule::ReagentLow => alarms::reagent_low(windows, parts, table),
            AlarmRule::ReagentFrozen => alarms::reagent_frozen(windows, table),
            AlarmRule::DpfPressure => alarms::dpf_pressure(windows, parts, table),
            AlarmRule::SensorStuck => alarms::sensor_stuck(windows, table),
            AlarmRule::ClockDrift => presence::clock_drift(windows, table),
            AlarmRule::OdometerJump => {
                alarms::jumps(rule, before, windows, table, |facts| facts.odometer).into_iter().collect()
            }
            AlarmRule::PositionJump => {
                alarms::jumps(rule, before, windows, table, |facts| facts.position).into_iter().collect()
            }
            AlarmRule::PacketLoss => presence::packet_loss(&count, table).into_iter().collect(),
            AlarmRule::Silence => presence::silence(&around, passages, as_of, table).into_iter().collect(),
        });
    }
    let records = windows.iter().map(|(_, facts)| facts.records).sum();
    Day { alarms, count, records, undetermined: undetermined(windows, parts, &fleet, &count, table) }
}

fn undetermined(
    windows: &[Window],
    parts: Parts,
    fleet: &Fleet,
    count: &Count,
    table: &TerminalTable,
) -> Vec<&'static str> {
    let mut missing = Vec::new();
    let any = |asked: fn(&Facts) -> bool| windows.iter().any(|(_, facts)| asked(facts));
    if !parts.reagent && any(|facts| facts.reagent.is_some()) {
        missing.push("reagent_low: nothing shows that there is a tank of reagent");
    }
    if !parts.filter && any(|facts| facts.filter.is_some()) {
        missing.push("dpf_pressure: nothing shows that there is a particle filter");
    }
    let zero_throughout = |channel: &Channel| {
        let mut values = windows.iter().filter_map(|(_, facts)| facts.watched.get(channel)).peekable();
        values.peek().is_some() && values.all(|watched| watched.value.is_zero())
    };
    if Channel::ALL.iter().any(zero_throughout) {
        missing.push("sensor_stuck: a channel is zero throughout");
    }
    if any(|facts| facts.records > 0) && !any(|facts| facts.position.is_some()) {
        missing.push("position_jump: no valid position");
    }
    let has_specific = windows.iter().any(|(_, facts)| facts.specific.is_some());
    if has_specific && fleet.reference_torque_nm.is_none() {
        missing.push("nox_specific: reference torque unknown");
    }
    if has_specific && alarms::stage_limit(fleet, table).is_none() {
        missing.push("nox_specific: no limit for the emission stage");
    }
    if count.seen > 0 && count.missing.is_none() {
        missing.push("packet_loss: packets without serial");
    }
    missing
}

/// The finding of an alarm; its evidence is fetched later.
pub fn finding(device: &DeviceId, kind: TerminalKind, alarm: &Alarm, table: &TerminalTable) -> Finding {
    let rule = alarm.rule.name();
    let mut content = json!({
        "rule": rule,
        "device": device,
        "from": alarm.from,
        "to": alarm.to,
        "numbers": table.shown(alarm.rule),
        "table_version": table.version(),
    });
    if let (Some(all), Value::Object(own)) = (content.as_object_mut(), alarm.content.clone()) {
        all.extend(own);
    }
    Finding {
        id: finding_id(rule, &format!("{device}/{}", alarm.key)),
        rule: rule.into(),
        subject: match kind {
            TerminalKind::Vehicle => Subject::Terminal(device.clone()),
            TerminalKind::Machine => Subject::Machine(device.clone()),
        },
        from: alarm.from,
        to: alarm.to,
        review: match alarm.why_review {
            Some(why) => Review::Needed(vec![why.into()]),
            None => Review::NotNeeded,
        },
        intercept: false,
        content,
        evidence: Vec::new(),
    }
}
