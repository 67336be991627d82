//! Machines in control zones (R11): below the admitted stage they do not work there.
//!
//! One finding per machine, zone and China day, spanning that day: a machine that reports every minute is one machine in
//! one zone. As with terminals nothing in the finding depends on which report came first.

use serde_json::json;

use super::{RuleBook, terminal::china_day_span};
use crate::{
    finding::{Finding, Review, Subject, finding_id},
    reading::{DeviceId, Timestamp},
};

pub const STAGE_RULE: &str = "R11.nonroad_below_stage";

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
}

/// What a position says.
#[derive(Clone, Debug, PartialEq)]
pub enum NonroadOutcome {
    /// Outside every zone, or of an admitted stage.
    Clear,
    /// One finding per zone.
    Breach(Vec<Finding>),
    /// An input is missing, named: neither accused nor acquitted.
    Undetermined(&'static str),
}

impl NonroadOutcome {
    pub fn into_findings(self) -> Vec<Finding> {
        match self {
            Self::Breach(findings) => findings,
            Self::Clear | Self::Undetermined(_) => Vec::new(),
        }
    }
}

/// Judges one position of a machine.
pub fn nonroad(facts: &NonroadFacts<'_>, book: &RuleBook) -> NonroadOutcome {
    let rule = book.limits.nonroad();
    if !facts.position_valid {
        return NonroadOutcome::Undetermined("position_not_valid");
    }
    if facts.zones.is_empty() {
        return NonroadOutcome::Clear;
    }
    let Some(stage) = facts.stage else { return NonroadOutcome::Undetermined("stage_unknown") };
    if stage >= rule.min_stage {
        return NonroadOutcome::Clear;
    }
    let (from, to) = china_day_span(facts.at);
    let day = from.china_day();
    let breach = |zone: &ZoneFacts<'_>| Finding {
        id: finding_id(STAGE_RULE, &format!("{}/{}/{day}", facts.machine, zone.name)),
        rule: STAGE_RULE.into(),
        subject: Subject::Machine(facts.machine.clone()),
        from,
        to,
        review: Review::NotNeeded,
        intercept: false,
        content: json!({
            "rule": STAGE_RULE,
            "machine": facts.machine,
            "day": day.to_string(),
            "zone": zone.name,
            "zone_kind": zone.kind,
            "stage": stage,
            "min_stage": rule.min_stage,
            "standard": &*rule.citation.standard,
            "clause": &*rule.citation.clause,
            "source": &*rule.citation.source,
            "limits_version": book.limits.version(),
        }),
        evidence: Vec::new(),
    };
    NonroadOutcome::Breach(facts.zones.iter().map(breach).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::book;

    fn judged(stage: Option<u8>, position_valid: bool, zones: &[ZoneFacts<'_>], at: &str) -> NonroadOutcome {
        let machine = DeviceId::parse("CNFJG300000000001").expect("legal");
        let at = Timestamp::parse_rfc3339(at).expect("valid");
        nonroad(&NonroadFacts { machine: &machine, at, stage, position_valid, zones }, &book())
    }

    const ZONE: ZoneFacts<'_> = ZoneFacts { name: "core", kind: "nonroad_control" };
    const NOON: &str = "2026-03-01T12:00:00+08:00";

    #[test]
    fn below_the_stage_inside_a_zone_is_one_finding_a_day() {
        let noon = judged(Some(2), true, &[ZONE], NOON).into_findings();
        assert_eq!(noon.len(), 1);
        assert_eq!(noon, judged(Some(2), true, &[ZONE], "2026-03-01T00:00:00+08:00").into_findings());
        let tomorrow = judged(Some(2), true, &[ZONE], "2026-03-02T00:00:00+08:00").into_findings();
        assert_ne!(noon.first().map(|f| f.id), tomorrow.first().map(|f| f.id));
        let two = [ZONE, ZoneFacts { name: "school", kind: "nonroad_control" }];
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
}
