//! Foreign names, codes, dates and units into ours: one file in TOML for the exports of another system.
//!
//! ```text
//! built-in name or file -> Mapping -> passages over MQTT (decode::remote_sensing), rows of a CSV or XLSX (vehicle::import)
//! ```
//!
//! - A mapping says everything: a foreign field that it names neither in a column nor under `ignore` is not taken, even
//!   where its name happens to be ours.
//! - Nothing is guessed. A colour that travels as a number needs its table named, a time without offset its form, a
//!   number in another unit that unit. What fits none of it is refused under its foreign name, without its content.
//! - What a mapping makes goes through the same checks as our own form; it can never let in what those refuse.
//!
//! Why not expressions or scripts: an operator must be able to read what happened to a number that convicts somebody.

mod builtin;
mod colours;
mod file;
mod json;
mod rule;
mod unit;

use std::path::Path;

use hashbrown::HashMap;

use crate::{
    decode::remote_sensing,
    vehicle::import::rows::{DeviceRow, ListRow, Row as _, StationRow, VehicleRow},
};

pub use builtin::{BUILT_IN, BuiltIn};
pub use colours::word as colour_word;
pub use json::Feed;
pub use rule::{Rule, Unfit};

/// What a mapping makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Passage,
    Vehicles,
    List,
    Stations,
    Devices,
}

impl Target {
    pub const ALL: [Target; 5] = [Self::Passage, Self::Vehicles, Self::List, Self::Stations, Self::Devices];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Passage => "passage",
            Self::Vehicles => "vehicles",
            Self::List => "list",
            Self::Stations => "stations",
            Self::Devices => "devices",
        }
    }

    /// Columns without which nothing can be taken.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Passage => &["station_id", "record_id", "passed_at", "plate", "plate_color"],
            Self::Vehicles => VehicleRow::HEADER.required,
            Self::List => ListRow::HEADER.required,
            Self::Stations => StationRow::HEADER.required,
            Self::Devices => DeviceRow::HEADER.required,
        }
    }

    /// Every column, the required ones among them.
    fn columns(self) -> Vec<&'static str> {
        let header = match self {
            Self::Passage => return remote_sensing::FIELDS.to_vec(),
            Self::Vehicles => VehicleRow::HEADER,
            Self::List => ListRow::HEADER,
            Self::Stations => StationRow::HEADER,
            Self::Devices => DeviceRow::HEADER,
        };
        header.required.iter().chain(header.optional).copied().collect()
    }
}

/// One mapping, checked whole. Immutable.
#[derive(Clone, Debug)]
pub struct Mapping {
    name: Box<str>,
    about: Box<str>,
    target: Target,
    rules: Box<[Rule]>,
    /// Columns that no foreign field fills.
    constants: Box<[Rule]>,
    /// Place in `rules` by foreign name.
    places: HashMap<Box<str>, u16, foldhash::fast::FixedState>,
    ignore: Box<[Box<str>]>,
}

/// Why there is no mapping.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    #[error("there is no mapping `{name}`{}; built in are {}", if *.file { " and no such file" } else { "" }, BuiltIn::names())]
    Unknown { name: String, file: bool },
    #[error("read the mapping {path}")]
    Read { path: String, source: std::io::Error },
    #[error("the mapping {name} is wrong: {}", .problems.join("; "))]
    Wrong { name: String, problems: Vec<String> },
    #[error("the mapping {name} makes {}, not {}", .makes.name(), .wanted.name())]
    Target { name: String, makes: Target, wanted: Target },
}

/// Largest mapping file read, bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

impl Mapping {
    /// A built-in mapping by its name, or else a file.
    pub fn load(name_or_path: &str, wanted: Target) -> Result<Self, MappingError> {
        let mapping = match BuiltIn::find(name_or_path) {
            Some(built_in) => built_in.mapping()?,
            None => Self::read(name_or_path)?,
        };
        if mapping.target != wanted {
            return Err(MappingError::Target { name: mapping.name.into(), makes: mapping.target, wanted });
        }
        Ok(mapping)
    }

    fn read(path: &str) -> Result<Self, MappingError> {
        let looks_like_path = path.contains(['/', '.']);
        let unreadable = |source| MappingError::Read { path: path.to_owned(), source };
        match std::fs::metadata(Path::new(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(MappingError::Unknown { name: path.to_owned(), file: looks_like_path });
            }
            Err(error) => return Err(unreadable(error)),
            Ok(found) if found.len() > MAX_FILE_BYTES => {
                let problems = vec![format!("larger than {MAX_FILE_BYTES} bytes")];
                return Err(MappingError::Wrong { name: path.to_owned(), problems });
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file; every mistake in it is named.
    pub fn parse(name: &str, text: &str) -> Result<Self, MappingError> {
        file::parse(name, text).map_err(|problems| MappingError::Wrong { name: name.to_owned(), problems })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line for people.
    pub fn about(&self) -> &str {
        &self.about
    }

    pub fn target(&self) -> Target {
        self.target
    }

    /// The rule for a foreign field of exactly this name.
    #[inline]
    pub fn rule(&self, foreign: &str) -> Option<&Rule> {
        self.rules.get(usize::from(*self.places.get(foreign)?))
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn constants(&self) -> &[Rule] {
        &self.constants
    }

    /// Whether the foreign field is known and not wanted.
    pub fn ignores(&self, foreign: &str) -> bool {
        self.ignore.iter().any(|name| &**name == foreign)
    }

    /// How a refusal calls one of our columns: `hphm (plate)`.
    pub fn calls(&self, column: &str) -> String {
        match self.rules.iter().find(|rule| rule.column() == column) {
            Some(rule) => rule.calls(),
            None => column.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
