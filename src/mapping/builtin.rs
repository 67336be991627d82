//! The mappings that come with the program, by name.

use super::{Mapping, MappingError};

/// A mapping that needs no file.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    pub name: &'static str,
    text: &'static str,
}

/// By name. `dieselwatch import --help` shows them.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "baolong", text: include_str!("../../schemas/mappings/baolong.toml") },
    BuiltIn { name: "ga-vehicles", text: include_str!("../../schemas/mappings/ga-vehicles.toml") },
    BuiltIn { name: "rs-consumer", text: include_str!("../../schemas/mappings/rs-consumer.toml") },
];

impl BuiltIn {
    pub fn find(name: &str) -> Option<Self> {
        BUILT_IN.iter().copied().find(|mapping| mapping.name == name)
    }

    pub fn mapping(self) -> Result<Mapping, MappingError> {
        Mapping::parse(self.name, self.text)
    }

    /// All names in one line.
    pub fn names() -> String {
        BUILT_IN.iter().map(|mapping| mapping.name).collect::<Vec<_>>().join(", ")
    }

    /// Name, target and description of each, a line each.
    pub fn described() -> String {
        let line = |built_in: &BuiltIn| {
            let mapping = built_in.mapping().ok()?;
            Some(format!("  {:<12} {:<9} {}", built_in.name, mapping.target().name(), mapping.about()))
        };
        BUILT_IN.iter().filter_map(line).collect::<Vec<_>>().join("\n")
    }
}
