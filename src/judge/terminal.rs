//! What a terminal says about itself: it is being removed, or its engine's lamp is on with trouble codes.
//!
//! One finding per device, China day and (for the lamp) set of codes. A terminal repeats its diagnosis every few minutes
//! and resends whole days; none of that changes a finding, because nothing in it depends on which of the repetitions came
//! first: it spans the whole day, and names codes without the bytes that change from one to the next (ISO 27145 status,
//! J1939 occurrence count). The exact second is in the evidence.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::trouble;
use crate::{
    config,
    decode::DiagnosisProtocol,
    finding::{Finding, Review, Subject, finding_id},
    reading::{DeviceId, Timestamp},
};

pub const REMOVAL_RULE: &str = "terminal.removal_alarm";
pub const LAMP_RULE: &str = "terminal.lamp_on";

/// Whose terminal it is; decides whom a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalKind {
    Vehicle,
    Machine,
}

/// One item of a terminal that may be an alarm by itself.
#[derive(Clone, Copy, Debug)]
pub struct TerminalFacts<'a> {
    pub kind: TerminalKind,
    pub device: &'a DeviceId,
    /// When the terminal says it happened.
    pub at: Timestamp,
    pub alarm: Alarm<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Alarm<'a> {
    /// The terminal reports that it is being taken off.
    Removal,
    /// An OBD item. Codes are the four bytes as sent: three of the code, one of status or occurrence count.
    Diagnosis { protocol: DiagnosisProtocol, mil_on: bool, dtcs: &'a [[u8; 4]] },
}

/// The finding that an item of a terminal makes by itself, if any. A lamp without codes, or codes without the lamp, is
/// none, and neither are codes that only fill the list.
pub fn terminal(facts: &TerminalFacts<'_>) -> Option<Finding> {
    match facts.alarm {
        Alarm::Removal => Some(finding(facts, REMOVAL_RULE, None)),
        Alarm::Diagnosis { protocol, mil_on: true, dtcs } if !dtcs.iter().all(|code| protocol.is_filler(*code)) => {
            Some(finding(facts, LAMP_RULE, Some((protocol, dtcs))))
        }
        Alarm::Diagnosis { .. } => None,
    }
}

fn finding(facts: &TerminalFacts<'_>, rule: &'static str, trouble: Option<(DiagnosisProtocol, &[[u8; 4]])>) -> Finding {
    let (from, to) = china_day_span(facts.at);
    let day = from.china_day();
    let mut key = format!("{}/{day}/", facts.device);
    let mut content = json!({ "rule": rule, "device": facts.device, "day": day.to_string(), "codes": null });
    if let Some((protocol, dtcs)) = trouble {
        let named = dtcs.iter().filter(|code| !protocol.is_filler(**code));
        let codes: BTreeMap<String, [u8; 4]> =
            named.map(|&[a, b, c, _]| (hex::encode_upper([a, b, c]), [a, b, c, 0])).collect();
        let described: Vec<Value> = codes
            .iter()
            .map(|(code, bytes)| {
                let (name, meaning) = trouble::described(protocol, *bytes).unzip();
                json!({ "code": code, "name": name, "meaning": meaning.flatten() })
            })
            .collect();
        // The protocol says what the bytes mean, so it is part of what the finding is about.
        key += &codes.keys().map(String::as_str).collect::<Vec<_>>().join(",");
        key += &format!("/{}", protocol.name());
        content["codes"] = codes.keys().cloned().collect::<Vec<_>>().into();
        content["diagnosis_protocol"] = protocol.name().into();
        content["described"] = described.into();
    }
    Finding {
        id: finding_id(rule, &key),
        rule: rule.into(),
        subject: match facts.kind {
            TerminalKind::Vehicle => Subject::Terminal(facts.device.clone()),
            TerminalKind::Machine => Subject::Machine(facts.device.clone()),
        },
        from,
        to,
        review: Review::NotNeeded,
        intercept: false,
        content,
        evidence: Vec::new(),
    }
}

/// First and last second of the calendar day in China that holds `at`.
pub(super) fn china_day_span(at: Timestamp) -> (Timestamp, Timestamp) {
    const DAY_SECONDS: i64 = 86_400;
    let midnight = Timestamp::from_china_naive(at.china_day().and_time(chrono::NaiveTime::MIN));
    (midnight, midnight.plus_seconds(DAY_SECONDS - 1))
}

/// The channels of one second that decide whether it counts for NOx; `None` is anything but a value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamFacts {
    pub engine_rpm: Option<f32>,
    pub coolant_c: Option<f32>,
    pub scr_inlet_c: Option<f32>,
    pub nox_downstream_ppm: Option<f32>,
    pub nox_upstream_ppm: Option<f32>,
}

/// What one second says of downstream NOx.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counted {
    /// ppm
    Over(f32),
    /// ppm
    Under(f32),
    /// The engine was not warm and working, or a sensor gave no value.
    NotValid,
}

/// The raw value 0 of a NOx channel, which cold sensors send: legal as encoded and no measurement (DOMAIN A.8).
pub(crate) const NOX_COLD_SENSOR_PPM: f32 = -200.0;

/// Whether a second counts, and for what: the engine above its minimum speed, coolant and catalyst at temperature, both
/// NOx sensors measuring; then over means strictly greater than the configured limit.
pub fn nox_second(facts: &StreamFacts, settings: &config::Judge) -> Counted {
    let measuring = |ppm: Option<f32>| ppm.filter(|&ppm| ppm > NOX_COLD_SENSOR_PPM);
    let warm = facts.engine_rpm.is_some_and(|rpm| rpm > settings.nox_min_rpm)
        && facts.coolant_c.is_some_and(|c| c >= settings.nox_min_coolant_c)
        && facts.scr_inlet_c.is_some_and(|c| c >= settings.nox_min_scr_inlet_c);
    match (measuring(facts.nox_downstream_ppm), measuring(facts.nox_upstream_ppm)) {
        (Some(ppm), Some(_)) if warm && ppm > settings.nox_limit_ppm => Counted::Over(ppm),
        (Some(ppm), Some(_)) if warm => Counted::Under(ppm),
        _ => Counted::NotValid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::settings;

    fn device() -> DeviceId {
        DeviceId::parse("LGDCHA1G8MA900002").expect("legal")
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).expect("valid")
    }

    fn lamp(when: &str, mil_on: bool, dtcs: &[[u8; 4]]) -> Option<Finding> {
        let device = device();
        let alarm = Alarm::Diagnosis { protocol: DiagnosisProtocol::Iso27145, mil_on, dtcs };
        terminal(&TerminalFacts { kind: TerminalKind::Vehicle, device: &device, at: at(when), alarm })
    }

    #[test]
    fn repetitions_of_a_day_are_one_finding() {
        let morning = lamp("2026-03-01T08:00:00+08:00", true, &[[0x14, 0x56, 0, 0xaf], [1, 2, 3, 4]]);
        let resent = lamp("2026-03-01T23:59:59+08:00", true, &[[1, 2, 3, 9], [0x14, 0x56, 0, 0x2f], [1, 2, 3, 4]]);
        assert!(morning.is_some());
        assert_eq!(morning, resent, "order, repetition, status and occurrence count change nothing");
        let next_day = lamp("2026-03-02T00:00:00+08:00", true, &[[0x14, 0x56, 0, 0xaf], [1, 2, 3, 4]]);
        assert_ne!(morning.map(|f| f.id), next_day.map(|f| f.id));
    }

    #[test]
    fn another_code_is_another_finding() {
        let one = lamp("2026-03-01T08:00:00+08:00", true, &[[1, 2, 3, 4]]).expect("lamp with code");
        let two = lamp("2026-03-01T08:00:00+08:00", true, &[[1, 2, 4, 4]]).expect("lamp with code");
        assert_ne!(one.id, two.id);
        assert_eq!(one.content["codes"], json!(["010203"]));
    }

    #[test]
    fn codes_that_matter_are_put_into_words() {
        let finding = lamp("2026-03-01T08:00:00+08:00", true, &[[0x20, 0x4f, 0, 0xaf], [0x14, 0x56, 0, 1]]);
        let described = &finding.expect("lamp with codes").content["described"];
        let expected = json!([
            { "code": "145600", "name": "P1456-00", "meaning": null },
            { "code": "204F00", "name": "P204F-00", "meaning": "reagent system performance" },
        ]);
        assert_eq!(described, &expected);
    }

    #[test]
    fn lamp_and_codes_are_both_needed() {
        assert_eq!(lamp("2026-03-01T08:00:00+08:00", true, &[]), None);
        assert_eq!(lamp("2026-03-01T08:00:00+08:00", false, &[[1, 2, 3, 4]]), None);
    }

    #[test]
    fn a_lamp_with_nothing_but_fillers_raises_nothing() {
        let noon = "2026-03-01T12:00:00+08:00";
        for filler in [[0; 4], [0xff; 4], [0, 0, 0, 0xaf], [0xff, 0xff, 0xff, 0x2f], [0, 0, 0x42, 0x0a]] {
            assert_eq!(lamp(noon, true, &[filler, filler]), None, "{filler:?}");
            let beside = lamp(noon, true, &[filler, [0x14, 0x56, 0, 0xaf]]);
            assert_eq!(beside, lamp(noon, true, &[[0x14, 0x56, 0, 0xaf]]), "a filler beside a code is not there");
        }
    }

    #[test]
    fn a_removal_is_a_finding_about_the_device() {
        let device = device();
        let facts =
            |kind| TerminalFacts { kind, device: &device, at: at("2026-03-01T08:00:00Z"), alarm: Alarm::Removal };
        let removal = terminal(&facts(TerminalKind::Machine)).expect("alarm");
        assert_eq!((&*removal.rule, &removal.subject), (REMOVAL_RULE, &Subject::Machine(device.clone())));
        assert_eq!(removal.from, at("2026-03-01T00:00:00+08:00"));
        assert_eq!(removal.to, at("2026-03-01T23:59:59+08:00"));
        assert_ne!(terminal(&facts(TerminalKind::Vehicle)).map(|f| f.subject), Some(removal.subject));
    }

    #[test]
    fn seconds_count_only_when_warm_and_measuring() {
        let settings = settings();
        let good = StreamFacts {
            engine_rpm: Some(1500.0),
            coolant_c: Some(80.0),
            scr_inlet_c: Some(300.0),
            nox_downstream_ppm: Some(501.0),
            nox_upstream_ppm: Some(900.0),
        };
        assert_eq!(nox_second(&good, &settings), Counted::Over(501.0));
        let at_limit = StreamFacts { nox_downstream_ppm: Some(500.0), ..good };
        assert_eq!(nox_second(&at_limit, &settings), Counted::Under(500.0));
        for spoilt in [
            StreamFacts { engine_rpm: Some(settings.nox_min_rpm), ..good },
            StreamFacts { engine_rpm: None, ..good },
            StreamFacts { coolant_c: Some(69.0), ..good },
            StreamFacts { scr_inlet_c: None, ..good },
            StreamFacts { nox_upstream_ppm: None, ..good },
            StreamFacts { nox_upstream_ppm: Some(-200.0), ..good },
            StreamFacts { nox_downstream_ppm: Some(f32::NAN), ..good },
        ] {
            assert_eq!(nox_second(&spoilt, &settings), Counted::NotValid, "{spoilt:?}");
        }
    }
}
