//! The layers put over one another: a flat list of settings, each with the place it came from.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use toml::{
    Value,
    de::{DeTable, DeValue},
};

use super::{
    keys::{self, KEYS, Key, Kind},
    problem::{Origin, Problem},
    value,
};

/// Prefix of every environment variable that is a setting.
pub(super) const ENV_PREFIX: &str = "DIESELWATCH__";

/// Most entries of `[[source]]`: each is a metric label and a subscription on every connection.
const MAX_SOURCES: usize = 64;

/// Identifies one setting; ordered as the default file is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Position of the first key of the same top-level table.
    section: usize,
    /// Which entry of `[[source]]`, from 0; 0 elsewhere.
    pub index: usize,
    /// Position in [`KEYS`].
    row: usize,
    /// Name of a librdkafka property; empty elsewhere.
    pub property: String,
}

impl Place {
    pub fn new(path: &str, index: usize, property: &str) -> Option<Self> {
        let row = KEYS.iter().position(|key| key.path == path)?;
        let top = path.split('.').next()?;
        let section = KEYS.iter().position(|key| key.path.split('.').next() == Some(top))?;
        Some(Self { section, index, row, property: property.to_owned() })
    }

    pub fn key(&self) -> &'static Key {
        &KEYS[self.row]
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        match key.path.strip_prefix("source.") {
            Some(name) => write!(f, "source[{}].{name}", self.index),
            None if self.property.is_empty() => f.write_str(key.path),
            None => write!(f, "{}.\"{}\"", key.path, self.property),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub value: Value,
    pub origin: Origin,
}

/// All settings so far, and all that is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub map: BTreeMap<Place, Setting>,
    pub problems: Vec<Problem>,
}

impl Settings {
    /// Lays a TOML text over what is there. Any `[[source]]` in it replaces all that were there.
    pub fn add_toml(&mut self, text: &str, path: Option<&Path>) {
        let path: Option<Arc<Path>> = path.map(Arc::from);
        let at = |offset: usize| match &path {
            None => Origin::Default,
            Some(path) => {
                let (line, column) = line_and_column(text, offset);
                Origin::File { path: path.clone(), line, column }
            }
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            self.wrong(at(offset), "", format!("not TOML: {}", error.message()));
        }
        if table.get_ref().contains_key("source") {
            self.map.retain(|place, _| place.key().section() != "source");
        }
        self.add_table("", 0, table.get_ref(), &at);
    }

    fn add_table(&mut self, section: &str, index: usize, table: &DeTable<'_>, at: &dyn Fn(usize) -> Origin) {
        for (name, found) in table {
            let origin = at(name.span().start);
            let name = name.get_ref().as_ref();
            let path = if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
            match (keys::key(&path), found.get_ref()) {
                (Some(key), DeValue::Table(properties)) if key.kind == Kind::Properties => {
                    self.add_properties(key, "", properties, at);
                }
                (Some(key), found) => {
                    let found = match key.kind {
                        Kind::Properties => Err("expected a table of properties".into()),
                        kind => value::from_toml(kind, found),
                    };
                    self.add(key, index, "", found, origin);
                }
                (None, DeValue::Array(entries)) if path == "source" => self.add_sources(entries.as_ref(), origin, at),
                (None, DeValue::Table(table)) if keys::is_section(&path) && path != "source" => {
                    self.add_table(&path, index, table, at);
                }
                (None, _) if path == "source" => {
                    self.wrong(origin, "source", "expected a list of tables, each headed [[source]]");
                }
                (None, _) if keys::is_section(&path) => self.wrong(origin, &path, "expected a table"),
                (None, _) => self.wrong(origin, &path, unknown(name, &keys::children(section))),
            }
        }
    }

    fn add_sources(&mut self, entries: &[toml::Spanned<DeValue<'_>>], origin: Origin, at: &dyn Fn(usize) -> Origin) {
        if entries.is_empty() || entries.len() > MAX_SOURCES {
            self.wrong(origin, "source", format!("{} entries; there must be 1 to {MAX_SOURCES}", entries.len()));
        }
        for (index, entry) in entries.iter().enumerate().take(MAX_SOURCES) {
            match entry.get_ref() {
                DeValue::Table(table) => self.add_table("source", index, table, at),
                _ => self.wrong(at(entry.span().start), "source", "expected a table"),
            }
        }
    }

    /// Takes `"security.protocol" = ".."` as well as `security.protocol = ".."`, which TOML reads as nested tables.
    fn add_properties(&mut self, key: &'static Key, prefix: &str, table: &DeTable<'_>, at: &dyn Fn(usize) -> Origin) {
        for (name, found) in table {
            let property = format!("{prefix}{}", name.get_ref());
            match found.get_ref() {
                DeValue::Table(inner) => self.add_properties(key, &format!("{property}."), inner, at),
                found => {
                    let found = value::from_toml(Kind::Properties, found);
                    self.add(key, 0, &property, found, at(name.span().start));
                }
            }
        }
    }

    /// Lays environment variables over what is there; others than [`ENV_PREFIX`] are none of ours.
    pub fn add_env(&mut self, variables: &[(String, String)]) {
        let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        ours.sort();
        // `DIESELWATCH_MQTT__URL` is easily written and would otherwise change nothing without a word.
        for (name, _) in variables {
            if let Some(rest) = name.strip_prefix("DIESELWATCH_").filter(|rest| !rest.starts_with('_'))
                && rest.contains("__")
            {
                self.wrong(Origin::Env(name.clone()), "", format!("not a setting; is {ENV_PREFIX}{rest} meant?"));
            }
        }
        for (name, text) in ours {
            let segments: Vec<String> =
                name.trim_start_matches(ENV_PREFIX).split("__").map(str::to_ascii_lowercase).collect();
            let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
            let origin = Origin::Env(name.clone());
            // Deploy tools hand over a variable that nobody filled in as an empty one.
            let optional = |key: &Key| !key.required && text.is_empty();
            match self.find(&segments, |property| property.replace('_', ".")) {
                Ok((key, _, _)) if optional(key) => {}
                Ok((key, index, property)) => self.add(key, index, &property, value::from_text(key.kind, text), origin),
                Err(text) => self.wrong(origin, "", text),
            }
        }
    }

    /// Lays `--set KEY=VALUE` over what is there.
    pub fn add_flags(&mut self, flags: &[(String, String)]) {
        for (path, text) in flags {
            let segments: Vec<&str> = match path.strip_prefix("kafka.properties.") {
                Some(property) => vec!["kafka", "properties", property],
                None => path.split(['.', '[', ']']).filter(|segment| !segment.is_empty()).collect(),
            };
            match self.find(&segments, str::to_owned) {
                Ok((key, index, property)) => {
                    self.add(key, index, &property, value::from_text(key.kind, text), Origin::Flag);
                }
                Err(text) => self.wrong(Origin::Flag, path, text),
            }
        }
    }

    /// Resolves `["source", "0", "filter"]` and the like to a key, an index and a property name.
    fn find(
        &self,
        segments: &[&str],
        property: impl Fn(&str) -> String,
    ) -> Result<(&'static Key, usize, String), String> {
        if let ["source", index, rest @ ..] = segments {
            let count = self.sources();
            let Some(index) = index.parse().ok().filter(|index: &usize| *index < count) else {
                return Err(format!("there is no source {index}; entries are counted from 0 and there are {count}"));
            };
            return find_key(&[&["source"], rest].concat()).map(|key| (key, index, String::new()));
        }
        if let ["kafka", "properties", name] = segments {
            return find_key(&["kafka", "properties"]).map(|key| (key, 0, property(name)));
        }
        find_key(segments).and_then(|key| match key.kind {
            Kind::Properties => Err("properties are set one by one: kafka.properties.NAME".into()),
            _ => Ok((key, 0, String::new())),
        })
    }

    fn add(&mut self, key: &'static Key, index: usize, property: &str, value: Result<Value, String>, origin: Origin) {
        let Some(place) = Place::new(key.path, index, property) else { return };
        if key.kind == Kind::Properties && keys::OWN_PROPERTIES.contains(&property) {
            let hint = if property == "sasl.password" { "set kafka.password instead" } else { "the service sets it" };
            return self.wrong(origin, &place.to_string(), hint);
        }
        match value.and_then(|value| value::check(key.kind, &value).map(|()| value)) {
            Ok(value) => {
                self.map.insert(place, Setting { value, origin });
            }
            Err(text) => {
                self.wrong(origin, &place.to_string(), text);
                // What a wrong value covers is out of force, too; checks across keys skip a key that is not there.
                self.map.remove(&place);
            }
        }
    }

    /// Number of `[[source]]` entries.
    pub fn sources(&self) -> usize {
        let last = self.map.keys().filter(|place| place.key().section() == "source").map(|place| place.index).max();
        last.map_or(0, |last| last + 1)
    }

    pub fn get(&self, path: &str, index: usize) -> Option<&Setting> {
        self.map.get(&Place::new(path, index, "")?)
    }

    pub fn text(&self, path: &str, index: usize) -> Option<&str> {
        self.get(path, index)?.value.as_str()
    }

    pub fn integer(&self, path: &str) -> Option<i64> {
        self.get(path, 0)?.value.as_integer()
    }

    pub fn wrong(&mut self, origin: Origin, key: &str, text: impl Into<String>) {
        self.problems.push(Problem { origin, key: key.to_owned(), text: text.into() });
    }

    /// Whether a mistake about this key is already noted, so that it need not be called missing as well.
    pub fn is_wrong(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }
}

fn find_key(segments: &[&str]) -> Result<&'static Key, String> {
    let path = segments.join(".");
    if let Some(key) = keys::key(&path) {
        return Ok(key);
    }
    if keys::is_section(&path) {
        return Err(format!("{path} is a table; set one of {}", keys::children(&path).join(", ")));
    }
    // The first segment that leads nowhere is the mistyped one.
    let known = (1..segments.len()).take_while(|count| keys::is_section(&segments[..*count].join("."))).count();
    let section = segments[..known].join(".");
    Err(unknown(segments.get(known).copied().unwrap_or_default(), &keys::children(&section)))
}

fn unknown(typed: &str, names: &[&str]) -> String {
    match keys::nearest(typed, names) {
        Some(name) => format!("unknown key {typed:?}; is {name:?} meant?"),
        None => format!("unknown key {typed:?}; known here: {}", names.join(", ")),
    }
}

/// Line and column of a byte offset, both from 1; the column counts characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}
