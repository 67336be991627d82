//! From a verdict to what is held against the vehicle at once: a limit exceeded, a listed vehicle on the road.
//!
//! One finding per passage and rule: a passage over two limits is one finding that names both, a vehicle on two
//! retirement lists one that names both entries. The id is made of station and record, so a redelivered passage makes
//! the same findings.
//!
//! The `exempt` list hides nothing. With `effect = "review"` in the table, findings are made as ever, wait for a person
//! and ask for no officer; the entry stands among the lists of the verdict.

use serde_json::{Value, json};
use smallvec::SmallVec;

use super::{
    RuleBook,
    document::{VerdictDocument, of_verdict},
    limits::ListEffect,
    review,
    verdict::{Judgement, Outcome, Verdict},
};
use crate::{
    finding::{Finding, Review, Subject, finding_id},
    reading::passage::Passage,
    vehicle::facts::{ListHit, VehicleMatch},
};

/// A measurement over a limit, by itself.
pub const OVER_RULE: &str = "HJ845.over";

/// A rule that fired, with the entries behind it and whether they are of a kind that stops vehicles.
struct Fired<'m> {
    rule: &'static str,
    entries: SmallVec<[&'m ListHit; 2]>,
    intercept: bool,
}

pub(super) fn of_passage(
    verdict: Verdict,
    passage: &Passage,
    matched: &VehicleMatch,
    book: &RuleBook,
    live: bool,
) -> Judgement {
    let none = |verdict| Judgement { verdict, review: SmallVec::new(), findings: Vec::new() };
    let Some(key) = passage.plate_key() else { return none(verdict) };

    let mut fired: SmallVec<[Fired<'_>; 3]> = SmallVec::new();
    if verdict.outcome == Outcome::OverLimit {
        fired.push(Fired { rule: OVER_RULE, entries: SmallVec::new(), intercept: false });
    }
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
                None => {
                    let entries = SmallVec::from_iter([hit]);
                    fired.push(Fired { rule: rule.rule, entries, intercept: rule.intercept });
                }
            },
        }
    }
    if fired.is_empty() {
        return none(verdict);
    }

    let mut why = review::reasons(passage, matched, book);
    if exempt {
        why.push("exempt_entry_in_force");
    }
    let mut document = of_verdict(&verdict, passage, matched, book);
    document.rules = fired.iter().map(|fired| fired.rule.to_owned()).collect();
    document.needs_review = why.iter().map(ToString::to_string).collect();
    let findings = fired
        .iter()
        .map(|fired| Finding {
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
        })
        .collect();
    Judgement { verdict, review: why, findings }
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
    let entries: Vec<Value> = fired
        .entries
        .iter()
        .map(|hit| {
            json!({
                "list": &*hit.list,
                "version": hit.version,
                "valid_from": hit.valid_from,
                "valid_to": hit.valid_to,
                "reason": hit.reason.as_deref(),
                "document_no": hit.document_no.as_deref(),
            })
        })
        .collect();
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
