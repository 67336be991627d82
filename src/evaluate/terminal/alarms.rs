//! Alarms by windows of records: conversion, specific NOx, reagent, particle filter, sensors that stand still. Pure.

use serde_json::{Value, json};

use super::{
    day::{Alarm, Behind, Fleet},
    facts::{Channel, Facts, Parts, Stretch},
    jumps::{Jumps, Step, Trace},
    record::rounded,
    runs::{Judged, Run, Verdict, runs},
    steady::{Steady, Still, still},
    window_of,
};
use crate::{
    judge::{REGISTER_CONTRADICTORY, TerminalTable, terminal_table::AlarmRule},
    reading::Timestamp,
};

/// A window by its start.
pub type Window = (Timestamp, Facts);

pub fn scr_efficiency(windows: &[Window], table: &TerminalTable) -> Vec<Alarm> {
    let limit = &table.numbers.scr_efficiency;
    let judge = |facts: &Facts| {
        let part = facts.conversion?;
        let efficiency = (part.upstream - part.downstream) / part.upstream * 100.0;
        Some((part.over, verdict(part.over, limit.min_seconds, efficiency, efficiency < limit.min_efficiency_pct)))
    };
    let found = runs(&judged(windows, judge), limit.windows as usize, |a, b| a < b);
    found.iter().map(|run| by_windows(AlarmRule::ScrEfficiency, run, "efficiency_pct", json!({}))).collect()
}

/// Needs reference torque and stage; the caller says when they are missing.
pub fn nox_specific(windows: &[Window], fleet: &Fleet, table: &TerminalTable) -> Vec<Alarm> {
    let limit = &table.numbers.nox_specific;
    let (Some(torque_nm), Some(limit_g_kwh)) = (fleet.reference_torque_nm, stage_limit(fleet, table)) else {
        return Vec::new();
    };
    let judge = |facts: &Facts| {
        let part = facts.specific?;
        let work_kwh = part.work_kwh_per_nm * f64::from(torque_nm);
        let specific = part.nox_ppm_kg * limit.nox_g_per_ppm_kg / work_kwh;
        let told = match work_kwh >= limit.min_work_kwh {
            true => verdict(part.over, limit.min_seconds, specific, specific > limit_g_kwh),
            false => Verdict::Undetermined,
        };
        Some((part.over, told))
    };
    let found = runs(&judged(windows, judge), limit.windows as usize, |a, b| a > b);
    let known = json!({
        "reference_torque_nm": torque_nm, "emission_stage": fleet.stage, "limit_g_kwh": limit_g_kwh,
    });
    let why_review = fleet.contradictory.then_some(REGISTER_CONTRADICTORY);
    let alarm = |run| Alarm { why_review, ..by_windows(AlarmRule::NoxSpecific, run, "nox_g_kwh", known.clone()) };
    found.iter().map(alarm).collect()
}

/// The limit of the vehicle's stage, where the table has one.
pub fn stage_limit(fleet: &Fleet, table: &TerminalTable) -> Option<f64> {
    match fleet.stage? {
        5 => Some(table.numbers.nox_specific.limit_stage_5_g_kwh),
        6 => Some(table.numbers.nox_specific.limit_stage_6_g_kwh),
        _ => None,
    }
}

/// Needs a tank that is known to be there; the caller says when it is not.
pub fn reagent_low(windows: &[Window], parts: Parts, table: &TerminalTable) -> Vec<Alarm> {
    if !parts.reagent {
        return Vec::new();
    }
    let limit = &table.numbers.reagent_low;
    let judge = |facts: &Facts| {
        let part = facts.reagent?;
        let low = part.level.max < limit.min_level_pct;
        Some((part.over, verdict(part.over, limit.min_seconds, part.level.min, low)))
    };
    let found = runs(&judged(windows, judge), limit.windows as usize, |a, b| a < b);
    found.iter().map(|run| by_windows(AlarmRule::ReagentLow, run, "level_pct", json!({}))).collect()
}

/// The peak is the engine speed at which there was still no pressure. Needs a filter that is known to be there; the caller
/// says when it is not.
pub fn dpf_pressure(windows: &[Window], parts: Parts, table: &TerminalTable) -> Vec<Alarm> {
    if !parts.filter {
        return Vec::new();
    }
    let limit = &table.numbers.dpf_pressure;
    let judge = |facts: &Facts| {
        let part = facts.filter?;
        let none = part.pressure.max <= limit.max_pressure_kpa;
        Some((part.over, verdict(part.over, limit.min_seconds, part.rpm.max, none)))
    };
    let found = runs(&judged(windows, judge), limit.windows as usize, |a, b| a > b);
    found.iter().map(|run| by_windows(AlarmRule::DpfPressure, run, "engine_rpm", json!({}))).collect()
}

/// An empty tank, or none at all, stays at zero.
pub fn reagent_frozen(windows: &[Window], table: &TerminalTable) -> Vec<Alarm> {
    let levels = parts(windows, |facts| facts.burning.filter(|burning| burning.level.max > 0.0));
    let needed = table.numbers.reagent_frozen.fuel_burned_l;
    let alarm = |still: &Still<super::facts::Level>| {
        let content = json!({
            "level_pct": still.whole.level.min,
            "peak": { "fuel_burned_l": rounded(still.whole.burned_l) },
        });
        standing(AlarmRule::ReagentFrozen, "", still, content)
    };
    still(&levels, |level| level.burned_l >= needed).iter().map(alarm).collect()
}

/// A channel that is zero throughout says nothing: it may belong to a part that is not there.
pub fn sensor_stuck(windows: &[Window], table: &TerminalTable) -> Vec<Alarm> {
    let limit = &table.numbers.sensor_stuck;
    let mut alarms = Vec::new();
    for channel in Channel::ALL {
        let parts = parts(windows, |facts| facts.watched.get(&channel).copied());
        let found = still(&parts, |watched| {
            if watched.value.is_zero() {
                return false;
            }

            watched.over.seconds >= limit.min_seconds
                && watched.rpm.spread() >= limit.rpm_spread
                && watched.torque.spread() >= limit.torque_spread_pct
        });
        alarms.extend(found.iter().map(|still| {
            let content = json!({
                "channel": channel,
                "value": still.whole.value.min,
                "engine_rpm": still.whole.rpm,
                "net_torque_pct": still.whole.torque,
                "peak": { "seconds": rounded(still.whole.over.seconds) },
            });
            standing(AlarmRule::SensorStuck, channel.name(), still, content)
        }));
    }
    alarms
}

/// Jumps of a day, which begins after the last record of the day before.
pub fn jumps<T: Step>(
    rule: AlarmRule,
    before: &[Window],
    windows: &[Window],
    table: &TerminalTable,
    trace: impl Fn(&Facts) -> Option<Trace<T>>,
) -> Option<Alarm> {
    let earlier = before.iter().rev().find_map(|(_, facts)| trace(facts)).map(|trace| {
        // What jumped yesterday is yesterday's.
        Trace { jumps: None, ..trace }
    });
    let today = windows.iter().filter_map(|(_, facts)| trace(facts));
    let whole = earlier.into_iter().chain(today).reduce(|a, b| a.followed_by(b, &table.numbers))?;
    let Jumps { count, first, worst, last } = whole.jumps?;
    let instant = |at: Timestamp| (at, at);
    Some(Alarm {
        rule,
        key: last.to.at.china_day().to_string(),
        from: first.from.at,
        to: last.to.at,
        why_review: None,
        content: json!({ "jumps": count, "first": first.shown(), "peak": worst.shown() }),
        behind: Behind {
            records: [first.from.at, first.to.at, worst.from.at, worst.to.at].map(instant).to_vec(),
            ..Behind::default()
        },
    })
}

fn verdict(over: Stretch, min_seconds: f64, value: f64, bad: bool) -> Verdict {
    match (over.seconds >= min_seconds, bad) {
        (false, _) => Verdict::Undetermined,
        (true, true) => Verdict::Bad(value),
        (true, false) => Verdict::Good,
    }
}

fn judged(windows: &[Window], judge: impl Fn(&Facts) -> Option<(Stretch, Verdict)>) -> Vec<Judged> {
    let one = |(window, facts): &Window| {
        let (over, verdict) = judge(facts)?;
        Some(Judged { window: *window, from: over.from, to: over.to, verdict })
    };
    windows.iter().filter_map(one).collect()
}

fn parts<T>(windows: &[Window], part: impl Fn(&Facts) -> Option<T>) -> Vec<(Timestamp, T)> {
    windows.iter().filter_map(|(window, facts)| Some((*window, part(facts)?))).collect()
}

/// Evidence of a long run are the windows that convicted and the worst one: proof, and no copy of the day.
pub(super) fn by_windows(rule: AlarmRule, run: &Run, measured: &str, mut content: Value) -> Alarm {
    let listed: Vec<Value> =
        run.windows.iter().map(|(at, value)| json!({ "from": at, measured: rounded(*value) })).collect();
    let at = |place: usize| run.windows.get(place).map(|(at, _)| *at);
    let peak = run.windows.get(run.peak).map(|(at, value)| json!({ "from": at, measured: rounded(*value) }));
    content["windows"] = listed.into();
    content["peak"] = peak.into();
    content["convicted_at"] = json!(at(run.convicted));
    let mut behind: Vec<Timestamp> = (0..=run.convicted).filter_map(at).chain(at(run.peak)).collect();
    behind.sort_unstable();
    behind.dedup();
    Alarm {
        rule,
        key: at(run.convicted).unwrap_or(run.from).to_string(),
        from: run.from,
        to: run.to,
        why_review: None,
        content,
        behind: Behind { records: behind.into_iter().map(whole_window).collect(), ..Behind::default() },
    }
}

fn standing<T: Steady>(rule: AlarmRule, what: &str, still: &Still<T>, mut content: Value) -> Alarm {
    content["convicted_at"] = json!(still.convicted);
    let over = still.whole.over();
    let behind = match still.first_window == still.convicted {
        true => vec![still.convicted],
        false => vec![still.first_window, still.convicted],
    };
    Alarm {
        rule,
        key: format!("{what}/{}", still.convicted),
        from: over.from,
        to: over.to,
        why_review: None,
        content,
        behind: Behind { records: behind.into_iter().map(whole_window).collect(), ..Behind::default() },
    }
}

pub(super) fn whole_window(at: Timestamp) -> (Timestamp, Timestamp) {
    let start = window_of(at);
    (start, start.plus_seconds(super::WINDOW_SECONDS - 1))
}
