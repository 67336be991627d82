//! Machines in control zones and on sites (R11): below the admitted stage they do not work there. And their smoke (GB 36886).
//! Both are switched and dated in `schemas/rules.toml` and judged by what was in force at the time of the reading.
//!
//! One finding per machine, zone and China day, spanning that day: a machine that reports every minute is one machine in
//! one zone. As with terminals nothing in the finding depends on which report came first; the values measured are in the
//! evidence. Smoke is one finding per machine, class and day, and always waits for a person: a sensor on a machine at work is
//! no test by the standard.

use serde_json::json;
use smallvec::{SmallVec, smallvec};

use super::{RuleBook, limits::SmokeLimit, terminal::china_day_span};
use crate::{
    finding::{Finding, Review, Subject, finding_id},
    reading::{DeviceId, Timestamp},
};

pub const STAGE_RULE: &str = "R11.nonroad_below_stage";
/// The same on a site, which refuses entry.
pub const SITE_RULE: &str = "R11.nonroad_site_entry";
pub const SMOKE_RULE: &str = "GB36886.smoke";

/// Why a finding about smoke waits.
const NO_TEST: &str = "onboard_smoke_is_no_test";

/// One position of a machine, already looked up in zones and register.
#[derive(Clone, Copy, Debug)]
pub struct NonroadFacts<'a> {
    pub machine: &'a DeviceId,
    pub at: Timestamp,
    /// GB 20891 stage by the register, 0..=4.
    pub stage: Option<u8>,
    /// The terminal had a fix. Without one it sends its last, which says nothing of now.
    pub position_valid: bool,
    /// The control zones for machines that hold the position at that time.
    pub zones: &'a [ZoneFacts<'a>],
}

#[derive(Clone, Copy, Debug)]
pub struct ZoneFacts<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    /// A site that machines are let onto, rather than an area they work in.
    pub is_site: bool,
}

/// What a position says.
#[derive(Clone, Debug, PartialEq)]
pub enum NonroadOutcome {
    /// Outside every zone, or of an admitted stage, or no rule was in force.
    Clear,
    /// One finding per zone.
    Breach(Vec<Finding>),
    /// An input is missing, named: neither accused nor acquitted.
    Undetermined(&'static str),
}

/// Judges one position of a machine.
pub fn nonroad(facts: &NonroadFacts<'_>, book: &RuleBook) -> NonroadOutcome {
    let Some(rule) = book.rules.nonroad_stage_at(facts.at) else { return NonroadOutcome::Clear };
    let (min_stage, citation) = (rule.parameters.min_stage, &rule.terms.citation);
    // A machine of an admitted stage may be anywhere, and none is of a lower stage than the lowest.
    if min_stage == 0 || facts.stage.is_some_and(|stage| stage >= min_stage) {
        return NonroadOutcome::Clear;
    }
    if !facts.position_valid {
        return NonroadOutcome::Undetermined("position_not_valid");
    }
    if facts.zones.is_empty() {
        return NonroadOutcome::Clear;
    }
    let Some(stage) = facts.stage else { return NonroadOutcome::Undetermined("stage_unknown") };
    let (from, to) = china_day_span(facts.at);
    let day = from.china_day();
    let rule_of = |zone: &ZoneFacts<'_>| if zone.is_site { SITE_RULE } else { STAGE_RULE };
    let breach = |zone: &ZoneFacts<'_>| Finding {
        id: finding_id(rule_of(zone), &format!("{}/{}/{day}", facts.machine, zone.name)),
        rule: rule_of(zone).into(),
        subject: Subject::Machine(facts.machine.clone()),
        from,
        to,
        review: Review::NotNeeded,
        intercept: false,
        content: json!({
            "rule": rule_of(zone),
            "machine": facts.machine,
            "day": day.to_string(),
            "zone": zone.name,
            "zone_kind": zone.kind,
            "stage": stage,
            "min_stage": min_stage,
            "standard": &*citation.standard,
            "clause": &*citation.clause,
            "source": &*citation.source,
            "limits_version": book.limits.version(),
            "rules_version": book.rules.version(),
        }),
        evidence: Vec::new(),
    };
    NonroadOutcome::Breach(facts.zones.iter().map(breach).collect())
}

/// One value of a machine's smoke.
#[derive(Clone, Copy, Debug)]
pub struct SmokeFacts<'a> {
    pub machine: &'a DeviceId,
    pub at: Timestamp,
    /// Light absorption, 1/m.
    pub k_m1: f64,
    /// GB 20891 stage by the register, 0..=4.
    pub stage: Option<u8>,
    /// Rated power by the register, W.
    pub power_w: Option<u32>,
    /// Whether it is in a zone of the strictest class; `None` where it is not known where it is.
    pub in_class_3_zone: Option<bool>,
}

/// Judges one value of a machine's smoke.
pub fn smoke(facts: &SmokeFacts<'_>, book: &RuleBook) -> NonroadOutcome {
    if !book.rules.judges_smoke_at(facts.at) {
        return NonroadOutcome::Clear;
    }
    let by_stage = |stage: u8| if stage >= 3 { 2 } else { 1 };
    let classes: SmallVec<[u8; 3]> = match (facts.in_class_3_zone, facts.stage) {
        (Some(true), _) => smallvec![3],
        (Some(false), Some(stage)) => smallvec![by_stage(stage)],
        (Some(false), None) => smallvec![1, 2],
        (None, Some(stage)) => smallvec![by_stage(stage), 3],
        (None, None) => smallvec![1, 2, 3],
    };
    // Every limit that it may stand under; where all of them say the same, what is missing does not matter.
    let limits: SmallVec<[Option<&SmokeLimit>; 4]> = classes
        .iter()
        .flat_map(|&class| match facts.power_w {
            Some(power_w) => SmallVec::<[_; 4]>::from_iter([book.limits.smoke(class, power_w, facts.at)]),
            None => book.limits.smoke_of_any_power(class, facts.at).collect(),
        })
        .collect();
    let is_over = |limit: &Option<&SmokeLimit>| limit.is_some_and(|limit| facts.k_m1 > limit.k_m1);
    if !limits.iter().any(is_over) {
        return NonroadOutcome::Clear;
    }
    if !limits.iter().all(is_over) {
        return NonroadOutcome::Undetermined(match (facts.power_w, facts.in_class_3_zone) {
            (None, _) => "power_unknown",
            (Some(_), None) => "position_not_valid",
            (Some(_), Some(_)) => "stage_unknown",
        });
    }
    // Of several the one that allows most: it is over that one whatever it is.
    let most = limits.into_iter().flatten().max_by(|a, b| a.k_m1.total_cmp(&b.k_m1));
    let Some(limit) = most else { return NonroadOutcome::Clear };
    let class = limit.class;
    let (from, to) = china_day_span(facts.at);
    let day = from.china_day();
    NonroadOutcome::Breach(vec![Finding {
        id: finding_id(SMOKE_RULE, &format!("{}/{class}/{day}", facts.machine)),
        rule: SMOKE_RULE.into(),
        subject: Subject::Machine(facts.machine.clone()),
        from,
        to,
        review: Review::Needed(vec![NO_TEST.into()]),
        intercept: false,
        content: json!({
            "rule": SMOKE_RULE,
            "machine": facts.machine,
            "day": day.to_string(),
            "class": class,
            "limit_k_m1": limit.k_m1,
            "power_kw": facts.power_w.map(|power_w| f64::from(power_w) / 1000.0),
            "stage": facts.stage,
            "standard": &*limit.citation.standard,
            "clause": &*limit.citation.clause,
            "source": &*limit.citation.source,
            "confidence": limit.citation.confidence,
            "limits_version": book.limits.version(),
        }),
        evidence: Vec::new(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Rules, rules, tests::book};

    fn judged(stage: Option<u8>, position_valid: bool, zones: &[ZoneFacts<'_>], at: &str) -> NonroadOutcome {
        let machine = DeviceId::parse("CNFJG300000000001").expect("legal");
        let at = Timestamp::parse_rfc3339(at).expect("valid");
        nonroad(&NonroadFacts { machine: &machine, at, stage, position_valid, zones }, &book())
    }

    impl NonroadOutcome {
        fn into_findings(self) -> Vec<Finding> {
            match self {
                Self::Breach(findings) => findings,
                Self::Clear | Self::Undetermined(_) => Vec::new(),
            }
        }
    }

    const ZONE: ZoneFacts<'_> = ZoneFacts { name: "core", kind: "nonroad_control", is_site: false };
    const NOON: &str = "2026-03-01T12:00:00+08:00";

    #[test]
    fn below_the_stage_inside_a_zone_is_one_finding_a_day() {
        let noon = judged(Some(2), true, &[ZONE], NOON).into_findings();
        assert_eq!(noon.len(), 1);
        assert_eq!(noon, judged(Some(2), true, &[ZONE], "2026-03-01T00:00:00+08:00").into_findings());
        let tomorrow = judged(Some(2), true, &[ZONE], "2026-03-02T00:00:00+08:00").into_findings();
        assert_ne!(noon.first().map(|f| f.id), tomorrow.first().map(|f| f.id));
        let two = [ZONE, ZoneFacts { name: "school", kind: "nonroad_control", is_site: false }];
        assert_eq!(judged(Some(0), true, &two, NOON).into_findings().len(), 2);
    }

    #[test]
    fn what_is_not_known_accuses_nobody() {
        assert_eq!(judged(None, true, &[ZONE], NOON), NonroadOutcome::Undetermined("stage_unknown"));
        assert_eq!(judged(Some(1), false, &[ZONE], NOON), NonroadOutcome::Undetermined("position_not_valid"));
        assert_eq!(judged(Some(3), true, &[ZONE], NOON), NonroadOutcome::Clear);
        assert_eq!(judged(Some(1), true, &[], NOON), NonroadOutcome::Clear);
        assert_eq!(judged(None, true, &[], NOON), NonroadOutcome::Clear);
    }

    fn machine() -> DeviceId {
        DeviceId::parse("CNFJG300000000001").expect("legal")
    }

    /// A machine of stage II in a control zone, with more smoke than any class allows: what each rule says at that time.
    fn of_both_rules(book: &RuleBook, at: &str) -> [NonroadOutcome; 2] {
        let (machine, at) = (machine(), Timestamp::parse_rfc3339(at).expect("valid"));
        let stage = Some(2);
        let place = NonroadFacts { machine: &machine, at, stage, position_valid: true, zones: &[ZONE] };
        let power_w = Some(50_000);
        let smoked = SmokeFacts { machine: &machine, at, k_m1: 9.0, stage, power_w, in_class_3_zone: Some(false) };
        [nonroad(&place, book), smoke(&smoked, book)]
    }

    /// The built-in table of rules with one entry changed.
    fn rules_with(rule: &str, from: &str, to: &str) -> RuleBook {
        let (head, entry) = rules::BUILT_IN.split_once(&format!("[[rule.{rule}]]")).expect("stands there");
        let entry = entry.replacen(from, to, 1);
        let text = format!("{head}[[rule.{rule}]]{entry}");
        RuleBook { rules: Rules::parse(&text).expect("right"), ..book() }
    }

    #[test]
    fn each_rule_is_switched_off_by_itself() {
        let clear = NonroadOutcome::Clear;
        assert!(of_both_rules(&book(), NOON).iter().all(|said| *said != clear));
        let off = |rule| rules_with(rule, "enabled = true", "enabled = false");
        assert!(matches!(of_both_rules(&off("R11"), NOON), [NonroadOutcome::Clear, NonroadOutcome::Breach(_)]));
        assert!(matches!(of_both_rules(&off("GB36886"), NOON), [NonroadOutcome::Breach(_), NonroadOutcome::Clear]));
    }

    #[test]
    fn a_rule_holds_from_its_first_day_and_by_the_time_of_the_reading() {
        for (rule, place) in [("R11", 0), ("GB36886", 1)] {
            let book = rules_with(rule, "valid_from = 20", "valid_to = 2026-03-02\nvalid_from = 20");
            let said = |at: &str| of_both_rules(&book, at)[place] != NonroadOutcome::Clear;
            assert!(said("2026-03-01T23:59:59+08:00"), "{rule}");
            assert!(!said("2026-03-02T00:00:00+08:00"), "{rule}");
        }
        let later = "valid_to = 2026-03-02\nvalid_from = 20";
        let other = rules::BUILT_IN.replacen(
            "[rule.R11.parameters]\nmin_stage = 3\n",
            "[rule.R11.parameters]\nmin_stage = 2\n\n[[rule.R11]]\nenabled = true\nvalid_from = 2026-03-02\n\
             standard = \"S\"\nclause = \"1\"\nsource = \"t\"\nconfidence = \"sourced\"\nparameters = { min_stage = 3 }\n",
            1,
        );
        let (head, entry) = other.split_once("[[rule.R11]]").expect("stands there");
        let text = format!("{head}[[rule.R11]]{}", entry.replacen("valid_from = 20", later, 1));
        let book = RuleBook { rules: Rules::parse(&text).expect("meets exactly"), ..book() };
        assert_eq!(of_both_rules(&book, NOON)[0], NonroadOutcome::Clear, "stage II was admitted");
        assert!(matches!(of_both_rules(&book, "2026-03-02T00:00:00+08:00")[0], NonroadOutcome::Breach(_)));
    }

    #[test]
    fn a_site_refuses_entry_under_a_name_of_its_own() {
        let gate = ZoneFacts { name: "site 4", kind: "site", is_site: true };
        let rules: Vec<_> =
            judged(Some(2), true, &[ZONE, gate], NOON).into_findings().into_iter().map(|found| found.rule).collect();
        assert_eq!(rules, [STAGE_RULE, SITE_RULE]);
        assert_eq!(judged(None, true, &[gate], NOON), NonroadOutcome::Undetermined("stage_unknown"));
    }

    fn smoked(k_m1: f64, stage: Option<u8>, power_kw: Option<f64>, in_zone: Option<bool>) -> NonroadOutcome {
        let machine = DeviceId::parse("CNFJG300000000001").expect("legal");
        let at = Timestamp::parse_rfc3339(NOON).expect("valid");
        let power_w = power_kw.map(|kw| (kw * 1000.0) as u32);
        smoke(&SmokeFacts { machine: &machine, at, k_m1, stage, power_w, in_class_3_zone: in_zone }, &book())
    }

    #[test]
    fn smoke_by_class_and_band_of_power() {
        for (limit, stage, power_kw, in_zone) in [
            (3.00, Some(2), 18.9, false),
            (2.00, Some(0), 19.0, false),
            (1.61, Some(2), 37.0, false),
            (1.61, Some(2), 560.0, false),
            (2.00, Some(3), 18.9, false),
            (1.00, Some(4), 36.9, false),
            (0.80, Some(3), 100.0, false),
            (0.80, None, 18.9, true),
            (0.80, Some(3), 19.0, true),
            (0.50, Some(1), 37.0, true),
        ] {
            let at = |k_m1| smoked(k_m1, stage, Some(power_kw), Some(in_zone)).into_findings();
            assert_eq!(at(limit), [], "over is strictly greater: {power_kw} kW, stage {stage:?}");
            let [finding] = &at(limit + 0.01)[..] else { panic!("one finding: {power_kw} kW, stage {stage:?}") };
            assert_eq!(finding.review, Review::Needed(vec![NO_TEST.into()]));
        }
        assert_eq!(smoked(9.0, Some(2), Some(600.0), Some(false)), NonroadOutcome::Clear, "no limit above 560 kW");
    }

    #[test]
    fn smoke_without_power_stage_or_place_is_undetermined_where_that_matters() {
        let undetermined = |what| NonroadOutcome::Undetermined(what);
        assert_eq!(
            smoked(9.0, Some(2), None, Some(false)),
            undetermined("power_unknown"),
            "above 560 kW there is no limit"
        );
        assert_eq!(smoked(1.0, None, Some(50.0), Some(false)), undetermined("stage_unknown"));
        assert_eq!(smoked(1.0, Some(2), Some(50.0), None), undetermined("position_not_valid"));
        let over = smoked(2.0, None, Some(50.0), None).into_findings();
        assert_eq!(over[0].content["limit_k_m1"], 1.61, "over every limit, so over the highest");
    }

    /// What is said without an input is what every value of it says; where it is undetermined, they differ.
    #[test]
    fn only_what_could_change_the_answer_leaves_it_open() {
        type Machine = (Option<u8>, Option<f64>, Option<bool>);
        /// The word for what is missing, and every value of it.
        fn lacks(of: Machine) -> Vec<(&'static str, Vec<Machine>)> {
            let (stage, power, zone) = of;
            let mut lacks = Vec::new();
            if power.is_none() {
                let all = [10.0, 25.0, 100.0, 600.0];
                lacks.push(("power_unknown", all.map(|power| (stage, Some(power), zone)).to_vec()));
            }
            if stage.is_none() {
                lacks.push(("stage_unknown", [0, 2, 3, 4].map(|stage| (Some(stage), power, zone)).to_vec()));
            }
            if zone.is_none() {
                lacks.push(("position_not_valid", [true, false].map(|zone| (stage, power, Some(zone))).to_vec()));
            }
            lacks
        }
        fn answers(of: Machine, say: &dyn Fn(Machine) -> NonroadOutcome) -> std::collections::BTreeSet<bool> {
            match lacks(of).into_iter().next() {
                Some((_, filled)) => filled.into_iter().flat_map(|of| answers(of, say)).collect(),
                None => [!matches!(say(of), NonroadOutcome::Clear)].into(),
            }
        }
        fn decides(of: Machine, word: &str, say: &dyn Fn(Machine) -> NonroadOutcome) -> bool {
            match lacks(of).into_iter().find(|(other, _)| *other != word) {
                Some((_, filled)) => filled.into_iter().any(|of| decides(of, word, say)),
                None => answers(of, say).len() == 2,
            }
        }
        let stages = [None, Some(1), Some(2), Some(3), Some(4)];
        let powers = [None, Some(10.0), Some(18.9), Some(36.9), Some(100.0), Some(600.0)];
        for k in [0.4, 0.6, 0.9, 1.2, 1.8, 2.5, 3.5] {
            let smoke = move |(stage, power, zone): Machine| smoked(k, stage, power, zone);
            let place = |(stage, _, zone): Machine| {
                let zones: &[ZoneFacts<'_>] = if zone == Some(true) { &[ZONE] } else { &[] };
                judged(stage, zone.is_some(), zones, NOON)
            };
            for say in [&smoke as &dyn Fn(Machine) -> NonroadOutcome, &place] {
                for (stage, power, zone) in stages.iter().flat_map(|stage| {
                    powers
                        .iter()
                        .flat_map(move |power| [None, Some(true), Some(false)].map(|zone| (*stage, *power, zone)))
                }) {
                    let of = (stage, power, zone);
                    match say(of) {
                        NonroadOutcome::Undetermined(word) => {
                            assert!(decides(of, word, say), "{k} {of:?}: {word} decides nothing");
                        }
                        told => {
                            let fires = told != NonroadOutcome::Clear;
                            assert_eq!(answers(of, say), [fires].into(), "{k} {of:?}");
                        }
                    }
                }
            }
        }
    }
}
