//! What no instrument can have measured neither accuses nor acquits.

use proptest::prelude::*;

use super::*;
use crate::judge::limits::{BUILT_IN, Channel};

/// How rigs say that they have nothing.
const FILLERS: [f64; 9] = [-9999.0, -999.9, -999.0, -99.9, -99.0, 255.0, 9999.0, 65_535.0, 999_999.0];

fn outcomes(changes: serde_json::Value, vehicle: &VehicleMatch) -> (Judgement, Vec<(Pollutant, Outcome)>) {
    let (_, judgement) = judged(changes, vehicle);
    let each = judgement.verdict.pollutants.iter().map(|each| (each.pollutant, each.outcome)).collect();
    (judgement, each)
}

#[test]
fn the_built_in_table_bounds_every_channel() {
    for channel in Channel::ALL {
        assert!(BUILT_IN.contains(&format!("[[bound]]\nchannel = \"{}\"\n", channel.name())), "{channel:?}");
    }
    let own = Limits::parse(&BUILT_IN.replacen("max = 5000.0", "max = 4000.0", 1)).expect("right");
    assert_eq!(own.bounds().of(Channel::No).max, 4000.0);
    let text = BUILT_IN.replacen("channel = \"no_ppm\"\nmin = -60.0", "channel = \"no_ppm\"\nmin = 6000.0", 1);
    let problems = Limits::parse(&text).expect_err("no value lies in it");
    assert_eq!(problems.0[0].problem, "no value lies in this bound");
    let few: String = BUILT_IN
        .split("[[bound]]")
        .enumerate()
        .map(|(n, part)| match n {
            0 => part,
            _ => part.split_once("\n\n").map_or("", |(_, rest)| rest),
        })
        .collect();
    assert_eq!(Limits::parse(&few).expect("right").bounds(), Limits::built_in().bounds(), "those built in stand in");
}

#[test]
fn a_sentinel_in_a_pollutant_makes_its_test_invalid() {
    let truck = matched(truck(), &[]);
    for (pollutant, field) in
        [(Pollutant::Opacity, "opacity_pct"), (Pollutant::Ringelmann, "ringelmann"), (Pollutant::No, "no_ppm")]
    {
        for filler in FILLERS.into_iter().filter(|filler| field != "no_ppm" || *filler != 255.0) {
            let (judgement, each) = outcomes(json!({ field: filler }), &truck);
            assert!(each.contains(&(pollutant, Outcome::Invalid)), "{field} {filler}: {each:?}");
            assert_eq!(judgement.verdict.outcome, Outcome::Invalid, "{field} {filler}");
            assert_eq!(judgement.verdict.reasons().collect::<Vec<_>>(), [format!("{field}_beyond_instrument")]);
            assert!(judgement.findings.is_empty(), "{field} {filler}");
        }
    }
    let (judgement, each) = outcomes(json!({"no_ppm": -9999, "opacity_pct": 41.2}), &truck);
    assert!(each.contains(&(Pollutant::Opacity, Outcome::OverLimit)), "the other instrument measured: {each:?}");
    assert_eq!(judgement.verdict.outcome, Outcome::OverLimit);
}

#[test]
fn a_sentinel_of_a_stranger_is_no_suspicion() {
    for filler in FILLERS {
        let (judgement, _) = outcomes(json!({"plate": "鲁G55555", "opacity_pct": filler}), &stranger());
        assert!(judgement.findings.is_empty(), "{filler}");
        let suspicion = judgement.verdict.suspicion.expect("a yellow plate");
        assert!(suspicion.tests.iter().all(|test| test.pollutant != Pollutant::Opacity), "{filler}");
    }
}

#[test]
fn a_sentinel_in_a_condition_is_not_measured() {
    let fields = ["temperature_c", "humidity_pct", "pressure_kpa", "wind_speed_ms", "speed_kmh", "vsp_kwt", "co2_pct"];
    for field in fields {
        for filler in FILLERS {
            let (judgement, each) = outcomes(
                json!({ field: filler, "slope_deg": null, "opacity_pct": 41.2, "no_ppm": 2000 }),
                &matched(truck(), &[]),
            );
            // Smoke needs no plume.
            let accused = if field == "co2_pct" { Outcome::OverLimit } else { Outcome::Invalid };
            assert_eq!(judgement.verdict.outcome, accused, "{field} {filler}: {each:?}");
            assert!(each.contains(&(Pollutant::No, Outcome::Invalid)), "{field} {filler}: {each:?}");
            let reasons: Vec<_> = judgement.verdict.reasons().collect();
            assert!(reasons.contains(&&*format!("{field}_beyond_instrument")), "{field} {filler}: {reasons:?}");
        }
    }
    // Zero stands for "nothing" where air is never so.
    for field in ["humidity_pct", "pressure_kpa"] {
        let (judgement, _) = outcomes(json!({ field: 0 }), &matched(truck(), &[]));
        assert_eq!(judgement.verdict.outcome, Outcome::Invalid, "{field}");
    }
}

#[test]
fn power_is_computed_where_the_rig_sends_a_sentinel_for_it() {
    let of = |changes| outcomes(changes, &matched(truck(), &[])).0.verdict.outcome;
    assert_eq!(of(json!({"vsp_kwt": -9999})), Outcome::Pass, "speed, acceleration and slope are there");
    assert_eq!(of(json!({"vsp_kwt": null, "acceleration_ms2": -99.0})), Outcome::Invalid);
    assert_eq!(of(json!({"vsp_kwt": null, "slope_deg": 255})), Outcome::Invalid);
}

#[test]
fn a_verdict_shows_what_the_instrument_can_measure() {
    let passage = passage_with(json!({"no_ppm": -9999, "wind_speed_ms": 9999}));
    let vehicle = matched(truck(), &[]);
    let judgement = super::super::passage(&passage, &vehicle, None, &book(), true);
    let document = serde_json::to_value(judgement.document(&passage, &vehicle, &book())).expect("JSON");
    let no =
        document["pollutants"].as_array().expect("some").iter().find(|each| each["pollutant"] == "no").expect("sent");
    assert_eq!((&no["verdict"], &no["value"], &no["over"]), (&json!("invalid"), &json!(-9999.0), &json!(null)));
    assert_eq!((&no["instrument"]["min"], &no["instrument"]["max"]), (&json!(-60.0), &json!(5000.0)));
    let wind = &document["conditions"][0];
    assert_eq!((&wind["condition"], &wind["value"]), (&json!("wind_speed_ms"), &json!(9999.0)));
    assert_eq!(wind["instrument"]["max"], 60.0);
    assert_eq!(document["reasons"], json!(["no_ppm_beyond_instrument", "wind_speed_ms_beyond_instrument"]));
}

#[test]
fn small_negative_noise_stays_legal() {
    let noise = json!({"opacity_pct": -0.4, "no_ppm": -15, "co_pct": -0.02, "hc_ppm": -30, "ringelmann": 0});
    assert_eq!(outcomes(noise, &matched(truck(), &[])).0.verdict.outcome, Outcome::Pass);
}

proptest! {
    /// Of every channel: beyond its bound nothing passes or is over by it, and inside nothing is taken away.
    #[test]
    fn no_value_beyond_a_bound_decides_anything(
        channel in prop::sample::select(Channel::ALL),
        value in prop_oneof![-100_000.0..100_000.0_f32, -200.0..300.0_f32],
    ) {
        let vehicle = matched(truck(), &[]);
        let holds = book().limits.bounds().of(channel).holds(value);
        let (judgement, each) = outcomes(json!({ channel.name(): value }), &vehicle);
        let (absent, without) = outcomes(json!({ channel.name(): null }), &vehicle);
        if holds {
            prop_assert!(judgement.verdict.reasons().all(|reason| reason != channel.beyond()));
        } else {
            let its_own = |pollutant: Pollutant| pollutant.channel() == channel;
            for (pollutant, outcome) in &each {
                let expected = match its_own(*pollutant) {
                    true => Outcome::Invalid,
                    // As if nothing had been sent for it.
                    false => without.iter().find(|(known, _)| known == pollutant).expect("sent").1,
                };
                prop_assert_eq!(*outcome, expected, "{:?} {} {:?}", channel, value, pollutant);
            }
            prop_assert!(judgement.findings.is_empty());
            prop_assert_eq!(absent.findings.len(), 0);
        }
    }
}
