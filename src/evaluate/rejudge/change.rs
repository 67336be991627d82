//! What a reading's findings are now against what they were: pure.

use serde_json::Value;
use uuid::Uuid;

use crate::{
    evaluate::reconcile::{Change, Existing},
    finding::{Finding, Review},
    reading::Timestamp,
};

/// What must change for one reading.
#[derive(Debug, Default, PartialEq)]
pub struct Compared {
    pub changes: Vec<Change>,
    /// Findings that are not in force because another reading stands for their passage, with what they would say now: for
    /// the day when they are stated again. Nobody is told.
    pub quiet: Vec<Finding>,
    /// Findings not in force that the reading does not make any more, so that they must not come back that day.
    pub gone: Vec<Uuid>,
}

/// Compares what the reading makes now with what exists of it.
pub fn compare(made: Vec<Finding>, mut existing: Vec<Existing>, why: &str) -> Compared {
    let mut compared = Compared::default();
    for finding in made {
        let place = existing.iter().position(|old| old.finding.id == finding.id);
        let Some(old) = place.map(|place| existing.swap_remove(place)) else {
            compared.changes.push(Change::Raise(finding));
            continue;
        };
        let revision = old.revision + 1;
        let differs = says(&finding) != says(&old.finding);
        match (old.in_force, old.rejudged) {
            (true, _) if differs => compared.changes.push(Change::Restate { finding, revision }),
            (false, true) => compared.changes.push(Change::Restate { finding, revision }),
            (false, false) if differs => compared.quiet.push(finding),
            _ => {}
        }
    }
    for old in existing {
        if old.in_force {
            let revision = old.revision + 1;
            compared.changes.push(Change::Revoke { finding: old.finding, revision, why: why.to_owned() });
        } else if !old.rejudged {
            compared.gone.push(old.finding.id);
        }
    }
    compared
}

/// Everything a finding says, without the versions of what it was made by.
fn says(finding: &Finding) -> (Timestamp, Timestamp, &Review, Value) {
    let mut content = finding.content.clone();
    forget_versions(&mut content);
    (finding.from, finding.to, &finding.review, content)
}

fn forget_versions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let is_version =
                |name: &str| matches!(name, "limits_version" | "rules_version" | "registry_version" | "version");
            fields.retain(|name, _| !is_version(name));
            fields.values_mut().for_each(forget_versions);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_versions),
        // `retire_n3@v12`
        Value::String(text) => {
            if let Some((list, version)) = text.rsplit_once("@v")
                && !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_digit())
            {
                *text = list.to_owned();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        finding::{Subject, finding_id},
        reading::{Plate, PlateColor, PlateKey},
    };

    fn made(rule: &'static str, value: f64, version: &str) -> Finding {
        let plate = Plate::parse("鲁C12345").expect("legal");
        Finding {
            id: finding_id(rule, "s/r"),
            rule: rule.into(),
            subject: Subject::Vehicle(PlateKey::new(plate, PlateColor::Yellow)),
            from: Timestamp::EPOCH,
            to: Timestamp::EPOCH,
            review: Review::NotNeeded,
            intercept: false,
            content: json!({
                "value": value, "limits_version": version, "lists": [format!("retire_n3@v{version}")],
                "verdict": {"rules_version": version},
            }),
            evidence: Vec::new(),
        }
    }

    fn stored(finding: Finding, in_force: bool, rejudged: bool) -> Existing {
        Existing { finding, in_force, revision: 3, readings: vec!["passage s/r".into()], rejudged }
    }

    #[test]
    fn the_same_by_another_version_is_no_change() {
        let compared = compare(vec![made("a", 1.0, "2")], vec![stored(made("a", 1.0, "1"), true, false)], "why");
        assert_eq!(compared, Compared::default());
    }

    #[test]
    fn what_differs_is_restated_what_is_gone_revoked_what_is_new_raised() {
        let existing = vec![stored(made("a", 1.0, "1"), true, false), stored(made("b", 1.0, "1"), true, false)];
        let compared = compare(vec![made("a", 2.0, "2"), made("c", 1.0, "2")], existing, "why");
        assert_eq!(
            compared.changes,
            [
                Change::Restate { finding: made("a", 2.0, "2"), revision: 4 },
                Change::Raise(made("c", 1.0, "2")),
                Change::Revoke { finding: made("b", 1.0, "1"), revision: 4, why: "why".into() },
            ]
        );
    }

    #[test]
    fn what_another_reading_stands_for_changes_quietly_and_what_a_run_took_back_returns() {
        let compared = compare(vec![made("a", 2.0, "2")], vec![stored(made("a", 1.0, "1"), false, false)], "why");
        assert_eq!((compared.changes.len(), compared.quiet.len()), (0, 1));
        let compared = compare(vec![made("a", 1.0, "2")], vec![stored(made("a", 1.0, "1"), false, true)], "why");
        assert!(matches!(compared.changes[..], [Change::Restate { revision: 4, .. }]));
        let gone = |rejudged| compare(Vec::new(), vec![stored(made("a", 1.0, "1"), false, rejudged)], "why").gone.len();
        assert_eq!((gone(true), gone(false)), (0, 1));
    }
}
