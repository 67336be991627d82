//! TOML to rules: every entry checked, every error reported at once with its line.

use toml::Spanned;

use super::{
    Classes, Dated, KindPrefix, Rules, Series, StageByDate, Terms,
    classes::letters,
    elimination,
    file::{ClassesEntry, Entry, File, StageByDateEntry},
    heavy_pollution, inspection, listed, low_emission, machine, retirement, retrofit, scrap_age, scrapped,
};
use crate::judge::limits::{
    LimitsError, LimitsErrors,
    file::Cited,
    load::{Check, day, line_of},
};

impl Rules {
    /// Loads a table. Fails with every error at once where an entry is malformed or the entries of a rule overlap or leave
    /// a gap.
    pub fn parse(text: &str) -> Result<Self, LimitsErrors> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            LimitsErrors(vec![LimitsError { line, problem: error.message().to_owned() }])
        })?;
        let mut check = Check { text, errors: Vec::new() };
        let rules = Self {
            version: file.version.into(),
            classes: classes(&mut check, file.classes),
            stage_by_date: stage_by_date(&mut check, file.stage_by_date),
            elimination: series(&mut check, "R1", file.rule.elimination, as_is(elimination::Parameters::problem)),
            retirement: series(&mut check, "R2", file.rule.retirement, as_is(retirement::Parameters::problem)),
            old_gas: series(&mut check, "R3", file.rule.old_gas, as_is(listed::Parameters::problem)),
            retrofit: series(&mut check, "R4", file.rule.retrofit, as_is(retrofit::Parameters::problem)),
            scrap_age: series(&mut check, "R5", file.rule.scrap_age, scrap_age::Table::build),
            inspection: series(&mut check, "R6", file.rule.inspection, inspection::Table::build),
            unrepairable: series(&mut check, "R7", file.rule.unrepairable, as_is(listed::Parameters::problem)),
            scrapped: series(&mut check, "R8", file.rule.scrapped, as_is(scrapped::Parameters::problem)),
            low_emission: series(&mut check, "R9", file.rule.low_emission, as_is(low_emission::Parameters::problem)),
            heavy_pollution: series(&mut check, "R10", file.rule.heavy_pollution, heavy_pollution::Table::build),
            nonroad_stage: series(&mut check, "R11", file.rule.nonroad_stage, as_is(machine::Parameters::problem)),
            nonroad_smoke: series(&mut check, "GB36886", file.rule.nonroad_smoke, |(), _| ()),
        };
        if rules.version.trim().is_empty() {
            check.report(1, "version is empty");
        }
        if check.errors.is_empty() {
            return Ok(rules);
        }
        check.errors.sort_by_key(|error| error.line);
        Err(LimitsErrors(check.errors))
    }
}

/// Parameters that stand as the file has them; `problem` says what is wrong with them.
fn as_is<P>(problem: impl Fn(&P) -> Option<String>) -> impl Fn(P, &mut Vec<String>) -> P {
    move |parameters, problems| {
        problems.extend(problem(&parameters));
        parameters
    }
}

/// The entries of one rule in the order of time. `build` makes parameters of what the file says and adds what is wrong.
fn series<E: Into<Entry<P>>, P, Q>(
    check: &mut Check<'_>,
    id: &str,
    entries: Vec<Spanned<E>>,
    build: impl Fn(P, &mut Vec<String>) -> Q,
) -> Series<Q> {
    let mut found = Vec::new();
    for entry in entries {
        let (line, entry) = check.open(entry);
        let entry: Entry<P> = entry.into();
        let mut problems = Vec::new();
        let parameters = build(entry.parameters, &mut problems);
        for problem in problems {
            check.report(line, format!("{id}: {problem}"));
        }
        let cited = Cited {
            standard: entry.standard,
            clause: entry.clause,
            source: entry.source,
            confidence: entry.confidence,
        };
        let citation = check.citation(line, cited);
        let Some(interval) = check.interval(line, &entry.valid_from, entry.valid_to.as_ref()) else { continue };
        let terms = Terms { enabled: entry.enabled, action: entry.action, interval, citation };
        found.push((line, Dated { terms, parameters }));
    }
    found.sort_by_key(|(_, dated)| dated.terms.interval.from);
    for pair in found.windows(2) {
        if let [(_, earlier), (line, later)] = pair {
            check.joint(*line, &format!("rule {id}"), earlier.terms.interval, later.terms.interval);
        }
    }
    Series(found.into_iter().map(|(_, dated)| dated).collect())
}

fn classes(check: &mut Check<'_>, entry: Spanned<ClassesEntry>) -> Classes {
    let (line, entry) = check.open(entry);
    if entry.source.trim().is_empty() {
        check.report(line, "source is empty");
    }
    let mut problems = Vec::new();
    let trucks = KindPrefix::all(&entry.trucks, &mut problems);
    let operating = letters(&entry.operating, &mut problems);
    for problem in problems {
        check.report(line, problem);
    }
    Classes { trucks, operating }
}

fn stage_by_date(check: &mut Check<'_>, entry: Spanned<StageByDateEntry>) -> StageByDate {
    let (line, entry) = check.open(entry);
    if entry.source.trim().is_empty() {
        check.report(line, "source is empty");
    }
    let mut problems = Vec::new();
    let kinds = KindPrefix::all(&entry.kinds, &mut problems);
    let mut steps: Vec<(i32, u8)> = Vec::new();
    for step in &entry.steps {
        match day(&step.before) {
            Some(before) if steps.last().is_none_or(|(last, _)| *last < super::china_day(before)) => {
                steps.push((super::china_day(before), step.stage));
            }
            Some(_) => problems.push("steps are not in the order of time".to_owned()),
            None => problems.push("before is not a day".to_owned()),
        }
    }
    if entry.steps.iter().map(|step| step.stage).chain([entry.afterwards]).any(|stage| stage > 6) {
        problems.push("a stage must be 0 to 6".to_owned());
    }
    for problem in problems {
        check.report(line, problem);
    }
    StageByDate { kinds, steps: steps.into(), afterwards: entry.afterwards }
}
