//! From a verdict to what is held against the vehicle at once: a limit exceeded, a vehicle rule that fired, a listed vehicle
//! on the road.
//!
//! One finding per passage and rule: a passage over two limits is one finding that names both, a vehicle on two
//! retirement lists one that names both entries. The id is made of station and record, so a redelivered passage makes
//! the same findings.
//!
//! What holds for the passage (plate, confidence, kind) sends every finding to a person; what a rule found doubtful sends
//! only its own, and a rule whose action is `notice` always its own.
//! Two rules only ever ask a person to look: a plate that may be a listed vehicle's, misread ([`crate::vehicle::confusable`]),
//! and a vehicle of unknown fuel that would be over the limit of the diesel it looks like ([`super::suspicion`]). They carry
//! a doubt of their own, so they never stop anybody, and whatever else is found about the passage keeps its own standing.
//! A measurement that is over nothing but limits that screen waits for a person too.
//!
//! The `exempt` list hides nothing. With `effect = "review"` in the table, findings are made as ever, wait for a person
//! and ask for no officer; the entry stands among the lists of the verdict.

use serde_json::{Value, json};
use smallvec::SmallVec;

use super::{
    RuleBook,
    document::{EntryDocument, RuleDocument, VerdictDocument, of_verdict},
    limits::ListEffect,
    review,
    rules::{self, Action, Ruling},
    verdict::{Judgement, Outcome, Verdict},
};
use crate::{
    finding::{Finding, Review, Subject, finding_id},
    reading::passage::Passage,
    vehicle::facts::{ListHit, MatchKind, VehicleMatch},
};

/// A measurement over a limit, by itself.
pub const OVER_RULE: &str = "HJ845.over";

/// Why a finding waits whose only values over a limit are of pollutants that screen: by themselves they start a recheck
/// rather than a penalty.
pub const SCREENING_ONLY: &str = "screening_pollutant_only";

/// Why a finding of a rule with the action `notice` waits.
pub const NOTICE_ONLY: &str = "notice_only";

/// A plate read that is perhaps a listed vehicle's.
pub const SUSPECTED_MATCH_RULE: &str = "plate.suspected_match";

/// A vehicle that looks like a diesel, of a fuel nobody registered, over a diesel's limit.
pub const SUSPECTED_OVER_RULE: &str = "HJ845.suspected_over";

/// A rule that fired, with the entries behind it, why a person must look at it in particular, and whether it is of a kind
/// that stops vehicles.
struct Fired<'m> {
    rule: &'static str,
    entries: SmallVec<[&'m ListHit; 2]>,
    review: SmallVec<[&'static str; 2]>,
    intercept: bool,
}

impl Fired<'_> {
    /// What the measurement says by itself, with the doubt that is this finding's own.
    fn measured(rule: &'static str, doubt: Option<&'static str>) -> Self {
        Self { rule, entries: SmallVec::new(), review: doubt.into_iter().collect(), intercept: false }
    }
}

pub(super) fn of_passage<'m>(
    verdict: Verdict,
    ruling: Ruling<'m>,
    passage: &Passage,
    matched: &'m VehicleMatch,
    book: &RuleBook,
    live: bool,
) -> Judgement {
    let undetermined = ruling.undetermined;
    let none = |verdict, undetermined| Judgement {
        verdict,
        undetermined,
        explained: Vec::new(),
        review: SmallVec::new(),
        findings: Vec::new(),
    };
    let Some(key) = passage.plate_key() else { return none(verdict, undetermined) };

    let mut fired: SmallVec<[Fired<'_>; 3]> = SmallVec::new();
    if verdict.outcome == Outcome::OverLimit {
        fired.push(Fired::measured(OVER_RULE, verdict.only_screens().then_some(SCREENING_ONLY)));
    }
    if book.settings.plates.suspected_over && verdict.suspicion.as_ref().is_some_and(|suspicion| suspicion.is_over()) {
        fired.push(Fired::measured(SUSPECTED_OVER_RULE, Some("fuel_suspected")));
    }
    if let MatchKind::Suspected(candidates) = &matched.kind {
        let entries = candidates.iter().flat_map(|candidate| &candidate.lists).collect();
        fired.push(Fired { entries, ..Fired::measured(SUSPECTED_MATCH_RULE, Some("plate_suspected")) });
    }
    let explained = ruling.fired.iter().map(explain).collect();
    fired.extend(ruling.fired.into_iter().map(of_rule));
    let exempt = listed(&mut fired, passage, matched, book);
    if fired.is_empty() {
        return none(verdict, undetermined);
    }

    let mut why = review::reasons(passage, matched, book);
    if exempt {
        why.push("exempt_entry_in_force");
    }
    let mut judgement = Judgement { verdict, undetermined, explained, review: why, findings: Vec::new() };
    let mut document = of_verdict(&judgement, passage, matched, book);
    document.rules = fired.iter().map(|fired| fired.rule.to_owned()).collect();
    judgement.findings = fired
        .iter()
        .map(|fired| {
            let why: SmallVec<[_; 4]> = judgement.review.iter().chain(&fired.review).copied().collect();
            document.needs_review = why.iter().map(ToString::to_string).collect();
            Finding {
                id: finding_id(fired.rule, &format!("{}/{}", passage.station_id, passage.record_id)),
                rule: fired.rule.into(),
                subject: Subject::Vehicle(key),
                from: passage.passed_at,
                to: passage.passed_at,
                review: if why.is_empty() {
                    Review::NotNeeded
                } else {
                    Review::Needed(why.iter().map(|why| (*why).into()).collect())
                },
                intercept: fired.intercept && live && why.is_empty(),
                content: content(fired, &document, passage, matched),
                evidence: Vec::new(),
            }
        })
        .collect();
    judgement
}

fn of_rule(fired: rules::Fired<'_>) -> Fired<'_> {
    let is_over = fired.grounds.is_over;
    Fired {
        rule: fired.rule,
        review: review_of(&fired),
        entries: fired.grounds.entries,
        intercept: fired.terms.action == Action::Intercept && !is_over,
    }
}

fn review_of(fired: &rules::Fired<'_>) -> SmallVec<[&'static str; 2]> {
    let notice = (fired.terms.action == Action::Notice).then_some(NOTICE_ONLY);
    fired.grounds.review.iter().copied().chain(notice).collect()
}

fn explain(fired: &rules::Fired<'_>) -> RuleDocument {
    let citation = &fired.terms.citation;
    RuleDocument {
        rule: fired.rule,
        action: fired.terms.action,
        facts: fired.grounds.facts.clone(),
        entries: fired.grounds.entries.iter().map(|hit| EntryDocument::of(hit)).collect(),
        needs_review: review_of(fired).into_vec(),
        standard: citation.standard.to_string(),
        clause: citation.clause.to_string(),
        source: citation.source.to_string(),
        confidence: citation.confidence,
    }
}

/// Adds the rules of the operators' own lists; `true` when an entry asks for a person.
fn listed<'m>(
    fired: &mut SmallVec<[Fired<'m>; 3]>,
    passage: &Passage,
    matched: &'m VehicleMatch,
    book: &RuleBook,
) -> bool {
    let mut exempt = false;
    for hit in in_force(matched, passage) {
        let Some(rule) = book.limits.list_rule(&hit.list) else { continue };
        match rule.effect {
            ListEffect::Review => exempt = true,
            ListEffect::Violation => match fired.iter_mut().find(|fired| fired.rule == rule.rule) {
                Some(fired) => {
                    fired.entries.push(hit);
                    fired.intercept |= rule.intercept;
                }
                None => fired.push(Fired {
                    rule: rule.rule,
                    entries: SmallVec::from_iter([hit]),
                    review: SmallVec::new(),
                    intercept: rule.intercept,
                }),
            },
        }
    }
    exempt
}

/// Entries that hold at the time of the passage. Matching applies that already; an intercept is worth looking twice.
fn in_force<'m>(matched: &'m VehicleMatch, passage: &Passage) -> impl Iterator<Item = &'m ListHit> {
    let at = passage.passed_at;
    matched
        .lists
        .iter()
        .filter(move |hit| hit.valid_from.is_none_or(|from| from <= at) && hit.valid_to.is_none_or(|to| at < to))
}

fn content(fired: &Fired<'_>, document: &VerdictDocument, passage: &Passage, matched: &VehicleMatch) -> Value {
    let entries: Vec<EntryDocument> = fired.entries.iter().map(|hit| EntryDocument::of(hit)).collect();
    json!({
        "rule": fired.rule,
        "station_id": passage.station_id.as_str(),
        "record_id": passage.record_id.as_str(),
        "passed_at": passage.passed_at,
        "entries": entries,
        "registry_version": matched.registry_version,
        "verdict": document,
    })
}
