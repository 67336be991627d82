//! The text of a mapping file, checked whole: every mistake at once, the nearest known name with an unknown one.

use hashbrown::HashMap;
use toml::{Table, Value};

use super::{
    Mapping, Target, colours,
    rule::{Kind, OPTIONAL_WORDS, Rule, TimeForm, own_word},
    unit::{self, Scale},
};
use crate::reading::PlateColor;

const TOP_KEYS: &[&str] = &["about", "target", "missing", "ignore", "columns"];
const COLUMN_KEYS: &[&str] = &["from", "constant", "values", "table", "format", "unit", "missing", "otherwise"];

/// Similarity from which a known name is suggested (Jaro-Winkler, 0..=1).
const SIMILAR: f64 = 0.75;
/// Fields and words of one mapping; no export has as many.
const MAX_ENTRIES: usize = 1_000;

type Problems = Vec<String>;

pub fn parse(name: &str, text: &str) -> Result<Mapping, Problems> {
    let root: Table = match text.parse() {
        Ok(root) => root,
        Err(error) => {
            let error: toml::de::Error = error;
            return Err(vec![format!("it is no TOML: {}", error.message())]);
        }
    };
    let mut reading = Reading { problems: Vec::new() };
    reading.known_keys("", &root, TOP_KEYS);
    let about = reading.text("about", root.get("about")).unwrap_or_default();
    let target = reading.target(root.get("target"));
    let missing = reading.texts("missing", root.get("missing"));
    let ignore = reading.texts("ignore", root.get("ignore"));
    let columns = match root.get("columns") {
        Some(Value::Table(columns)) => Some(columns),
        Some(_) => reading.wrong("columns: must be a table"),
        None => reading.wrong("columns: missing"),
    };
    let (Some(target), Some(columns)) = (target, columns) else { return Err(reading.problems) };
    let (mut rules, mut constants) = (Vec::new(), Vec::new());
    let known = target.columns();
    for (column, value) in columns {
        let Some(&ours) = known.iter().find(|known| *known == column) else {
            let text = format!("columns.{column}: {}", unknown("column", column, &known));
            reading.problems.push(text);
            continue;
        };
        if let Some(rule) = reading.rule(ours, value, &missing) {
            if rule.constant.is_some() { constants.push(rule) } else { rules.push(rule) }
        }
    }
    for required in target.required() {
        if !columns.contains_key(*required) {
            reading.problems.push(format!("columns: `{required}` is required for {} and not mapped", target.name()));
        }
    }
    let mut places: HashMap<Box<str>, u16, foldhash::fast::FixedState> = HashMap::default();
    for (place, rule) in rules.iter().enumerate() {
        if places.insert(rule.foreign.clone(), place as u16).is_some() {
            reading.problems.push(format!("the field `{}` is mapped twice", rule.foreign));
        }
        if ignore.contains(&rule.foreign) {
            reading.problems.push(format!("the field `{}` is mapped and ignored", rule.foreign));
        }
    }
    if rules.len() + ignore.len() > MAX_ENTRIES {
        reading.problems.push(format!("it names more than {MAX_ENTRIES} fields"));
    }
    if !reading.problems.is_empty() {
        return Err(reading.problems);
    }
    Ok(Mapping {
        name: name.into(),
        about,
        target,
        rules: rules.into(),
        constants: constants.into(),
        places,
        ignore: ignore.into(),
    })
}

struct Reading {
    problems: Problems,
}

impl Reading {
    fn wrong<T>(&mut self, problem: impl Into<String>) -> Option<T> {
        self.problems.push(problem.into());
        None
    }

    fn known_keys(&mut self, at: &str, table: &Table, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let dot = if at.is_empty() { "" } else { "." };
            self.problems.push(format!("{at}{dot}{key}: {}", unknown("key", key, known)));
        }
    }

    fn text(&mut self, at: &str, value: Option<&Value>) -> Option<Box<str>> {
        match value {
            None => None,
            Some(Value::String(text)) => Some(text.as_str().into()),
            // Codes may be written as numbers.
            Some(Value::Integer(number)) => Some(number.to_string().into()),
            Some(_) => self.wrong(format!("{at}: must be text")),
        }
    }

    fn texts(&mut self, at: &str, value: Option<&Value>) -> Vec<Box<str>> {
        match value {
            None => Vec::new(),
            Some(Value::Array(items)) => items.iter().filter_map(|item| self.text(at, Some(item))).collect(),
            Some(single) => self.text(at, Some(single)).into_iter().collect(),
        }
    }

    fn target(&mut self, value: Option<&Value>) -> Option<Target> {
        let Some(text) = self.text("target", value) else {
            return if value.is_none() { self.wrong("target: missing") } else { None };
        };
        let found = Target::ALL.into_iter().find(|target| target.name() == &*text);
        if found.is_none() {
            let names = Target::ALL.map(Target::name);
            self.problems.push(format!("target: {}", unknown("target", &text, &names)));
        }
        found
    }

    fn rule(&mut self, column: &'static str, value: &Value, missing: &[Box<str>]) -> Option<Rule> {
        let at = format!("columns.{column}");
        let single;
        let table = match value {
            Value::Table(table) => table,
            Value::String(_) => {
                single = Table::from_iter([("from".to_owned(), value.clone())]);
                &single
            }
            _ => return self.wrong(format!("{at}: must be the name of a field or a table")),
        };
        self.known_keys(&at, table, COLUMN_KEYS);
        let foreign = self.text(&format!("{at}.from"), table.get("from"));
        let constant = self.text(&format!("{at}.constant"), table.get("constant"));
        let foreign = match (foreign, &constant) {
            (Some(foreign), None) if !foreign.trim().is_empty() => foreign,
            (None, Some(_)) => Box::default(),
            (Some(_), Some(_)) => return self.wrong(format!("{at}: has both `from` and `constant`")),
            _ => return self.wrong(format!("{at}: needs `from`, the name of their field, or `constant`")),
        };
        let kind = kind_of(column);
        let own = self.texts(&format!("{at}.missing"), table.get("missing"));
        let rule = Rule {
            column,
            kind,
            foreign,
            constant,
            missing: missing.iter().cloned().chain(own).collect(),
            values: self.values(&at, column, kind, table.get("values")),
            table: self.colours(&at, kind, table.get("table")),
            forms: self.forms(&at, kind, table.get("format")),
            scale: self.scale(&at, column, table.get("unit")),
            otherwise_missing: self.otherwise(&at, column, table.get("otherwise")),
        };
        if let Some(constant) = rule.constant()
            && (rule.text(constant).is_err() || constant.is_empty())
        {
            return self.wrong(format!("{at}.constant: is no value of {column}"));
        }
        Some(rule)
    }

    fn values(&mut self, at: &str, column: &str, kind: Kind, value: Option<&Value>) -> HashMap<Box<str>, Box<str>> {
        let mut values = HashMap::new();
        let table = match value {
            None => return values,
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.problems.push(format!("{at}.values: must be a table of their words and ours"));
                return values;
            }
        };
        for (theirs, ours) in table {
            let at = format!("{at}.values.{theirs}");
            let Some(ours) = self.text(&at, Some(ours)) else { continue };
            let right = match (column, kind) {
                (_, Kind::Colour) => PlateColor::parse(&ours).is_some(),
                (column, _) => own_word(column, &ours),
            };
            if !right {
                self.problems.push(format!("{at}: `{ours}` is no value of {column}"));
            }
            values.insert(theirs.as_str().into(), ours);
        }
        values
    }

    /// What a word means that `values` does not name; `true` where it stands for no value.
    fn otherwise(&mut self, at: &str, column: &str, value: Option<&Value>) -> bool {
        let Some(word) = self.text(&format!("{at}.otherwise"), value) else { return false };
        if &*word != "missing" {
            self.problems.push(format!("{at}.otherwise: {}", unknown("word", &word, &["missing"])));
        }
        let may = OPTIONAL_WORDS.contains(&column);
        if !may {
            self.problems.push(format!("{at}.otherwise: only for {}", OPTIONAL_WORDS.join(" and ")));
        }
        may
    }

    fn colours(&mut self, at: &str, kind: Kind, value: Option<&Value>) -> Option<(Box<str>, &'static colours::Codes)> {
        let name = self.text(&format!("{at}.table"), value)?;
        if kind != Kind::Colour {
            return self.wrong(format!("{at}.table: only plate_color has tables of codes"));
        }
        match colours::table(&name) {
            Some(codes) => Some((name, codes)),
            None => self.wrong(format!("{at}.table: {}", unknown("table", &name, &colours::names()))),
        }
    }

    fn forms(&mut self, at: &str, kind: Kind, value: Option<&Value>) -> Box<[TimeForm]> {
        let texts = self.texts(&format!("{at}.format"), value);
        if !texts.is_empty() && !matches!(kind, Kind::Time | Kind::Day) {
            self.problems.push(format!("{at}.format: only times and dates have a form"));
        }
        let mut forms = Vec::new();
        for text in &texts {
            match TimeForm::parse(text) {
                Some(form) => forms.push(form),
                None => self
                    .problems
                    .push(format!("{at}.format: neither unix_s nor unix_ms nor a pattern such as %Y-%m-%d %H:%M:%S")),
            }
        }
        forms.into()
    }

    fn scale(&mut self, at: &str, column: &str, value: Option<&Value>) -> Option<Scale> {
        let name = self.text(&format!("{at}.unit"), value)?;
        let units = unit::of_column(column);
        if units.is_empty() {
            return self.wrong(format!("{at}.unit: {column} has no unit"));
        }
        match units.iter().find(|(known, _)| *known == &*name) {
            Some((_, scale)) => Some(*scale).filter(|scale| !scale.is_identity()),
            None => {
                let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
                self.wrong(format!("{at}.unit: {}", unknown("unit", &name, &names)))
            }
        }
    }
}

fn kind_of(column: &str) -> Kind {
    match column {
        "plate_color" => Kind::Colour,
        "registered_on" | "installed_on" => Kind::Day,
        "passed_at" | "calibrated_at" | "valid_from" | "valid_to" | "certificate_until" => Kind::Time,
        "lane" => Kind::Integer,
        "precipitation" | "local" | "retrofit" => Kind::Flag,
        "images" | "video" => Kind::Media,
        "plate_confidence" | "ringelmann" | "longitude" | "latitude" => Kind::Number,
        _ if !unit::of_column(column).is_empty() => Kind::Number,
        _ => Kind::Text,
    }
}

fn unknown(what: &str, typed: &str, known: &[&str]) -> String {
    let scored = known.iter().map(|name| (strsim::jaro_winkler(typed, name), *name));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score >= SIMILAR) {
        Some((_, name)) => format!("unknown {what} `{typed}`; is `{name}` meant?"),
        None => format!("unknown {what} `{typed}`; known are {}", known.join(", ")),
    }
}
