//! What a recalculation changed, or would: a table by rule and month, and a file with every finding.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Context as _;

use crate::{
    evaluate::rejudge::{Became, Step, Then},
    judge::Outcome,
};

/// Collects steps.
pub struct Report {
    file: Option<BufWriter<File>>,
    vehicles: usize,
    readings: u64,
    verdicts: BTreeMap<(i16, i16), u64>,
    left: BTreeMap<&'static str, u64>,
    /// Findings raised, restated and revoked by rule and month.
    findings: BTreeMap<(String, String), [u64; 3]>,
}

impl Report {
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = match path {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("write the report {}", path.display()))?;
                Some(BufWriter::new(file))
            }
            None => None,
        };
        let (verdicts, left, findings) = Default::default();
        Ok(Self { file, vehicles: 0, readings: 0, verdicts, left, findings })
    }

    pub fn add(&mut self, step: &Step) -> anyhow::Result<()> {
        self.vehicles += step.vehicles;
        self.readings += step.readings;
        for (change, readings) in &step.verdicts {
            *self.verdicts.entry(*change).or_default() += readings;
        }
        for (why, readings) in &step.left {
            *self.left.entry(why).or_default() += readings;
        }
        for told in &step.changes {
            let month = told.from.china_day().format("%Y-%m").to_string();
            let [raised, restated, revoked] = self.findings.entry((told.rule.clone(), month)).or_default();
            *match told.change {
                Became::Raised => raised,
                Became::Restated => restated,
                Became::Revoked => revoked,
            } += 1;
            if let Some(file) = &mut self.file {
                serde_json::to_writer(&mut *file, told).context("write the report")?;
                file.write_all(b"\n").context("write the report")?;
            }
        }
        Ok(())
    }

    pub fn close(&mut self) -> anyhow::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.flush().context("write the report"))
    }

    /// Readings that could not be judged again.
    pub fn left(&self) -> u64 {
        self.left.values().sum()
    }

    pub fn text(&self, then: Then) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{} readings of {} vehicles judged again", self.readings - self.left(), self.vehicles);
        for ((before, after), readings) in &self.verdicts {
            let _ = match before == after {
                true => writeln!(out, "{readings:>9}  {} as before, by other pollutants", name(*before)),
                false => writeln!(out, "{readings:>9}  {} -> {}", name(*before), name(*after)),
            };
        }
        if !self.findings.is_empty() {
            let _ = writeln!(out, "{:<28} {:<8} {:>8} {:>8} {:>8}", "rule", "month", "raised", "restated", "revoked");
        }
        for ((rule, month), [raised, restated, revoked]) in &self.findings {
            let _ = writeln!(out, "{rule:<28} {month:<8} {raised:>8} {restated:>8} {revoked:>8}");
        }
        for (why, readings) in &self.left {
            let _ = writeln!(out, "{readings:>9}  left as they are: {why}");
        }
        let _ = writeln!(
            out,
            "{}",
            match (then, self.verdicts.is_empty() && self.findings.is_empty()) {
                (_, true) => "nothing differs",
                (Then::Keep, false) => "changed",
                (Then::Undo, false) => "nothing was changed; --apply changes it",
            }
        );
        out
    }
}

fn name(verdict: i16) -> &'static str {
    u8::try_from(verdict).ok().and_then(Outcome::from_code).map_or("unknown", Outcome::name)
}
