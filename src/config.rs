//! Typed configuration: an annotated TOML file that is the default, a user's file, environment, `--set`; checked whole.
//!
//! Every mistake of every layer is reported at once, with the place it stands at and the nearest known name, because an
//! operator who must restart a service for each typing error stops reading. Secrets live in [`secrecy::SecretString`];
//! a password written into a URL is moved there on loading, so no `Debug` and no log of a URL can show it.
//!
//! Why not `figment` or `config`: both bring a second TOML parser and neither tells line and column of every mistake.

mod across;
mod keys;
mod print;
mod problem;
pub mod sections;
mod settings;
mod value;

use std::path::{Path, PathBuf};

use serde::Deserialize as _;

pub use print::secret_property;
pub use problem::{Origin, Problem, Problems};
pub use sections::*;
use settings::Settings;

/// The annotated file that is the default.
pub const DEFAULT_TOML: &str = include_str!("../schemas/config.toml");

/// What is laid over the default, lowest first.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    pub file: Option<PathBuf>,
    /// Variables by name; those that do not begin with `DIESELWATCH__` are passed over.
    pub env: Vec<(String, String)>,
    /// Key paths and values, such as `database.writers` and `4`.
    pub set: Vec<(String, String)>,
}

impl Layers {
    /// A file and the environment of this process.
    pub fn from_process(file: Option<PathBuf>, set: Vec<(String, String)>) -> Self {
        // Bytes that are not UTF-8 become replacement characters, which no kind but plain text accepts.
        let env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Self { file, env, set }
    }

    /// Lays the layers over one another and checks the result.
    pub fn load(&self) -> Result<Effective, Problems> {
        let text = match &self.file {
            None => None,
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => Some((text, path.as_path())),
                Err(error) => return Err(unreadable(path, &error)),
            },
        };
        load(text.as_ref().map(|(text, path)| (text.as_str(), *path)), &self.env, &self.set)
    }
}

/// A configuration that passed every check, and where each value came from.
#[derive(Debug)]
pub struct Effective {
    pub config: Config,
    /// Kept as text with the secrets already replaced: the settings themselves hold them in the clear.
    printed: String,
}

impl Effective {
    /// The effective configuration as TOML, each line with the origin of its value, secrets replaced.
    pub fn to_toml(&self) -> &str {
        &self.printed
    }
}

impl Config {
    /// What the built-in file says, without any other layer.
    pub fn built_in() -> Result<Self, Problems> {
        Layers::default().load().map(|effective| effective.config)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problems {
    let origin = Origin::File { path: path.into(), line: 1, column: 1 };
    Problems(vec![Problem { origin, key: String::new(), text: format!("cannot read the file: {error}") }])
}

fn load(
    file: Option<(&str, &Path)>,
    env: &[(String, String)],
    set: &[(String, String)],
) -> Result<Effective, Problems> {
    let mut settings = Settings::default();
    settings.add_toml(DEFAULT_TOML, None);
    if let Some((text, path)) = file {
        settings.add_toml(text, Some(path));
    }
    settings.add_env(env);
    settings.add_flags(set);
    across::take_passwords(&mut settings);
    across::complete(&mut settings);
    across::check(&mut settings);
    if !settings.problems.is_empty() {
        return Err(Problems(settings.problems));
    }
    match Config::deserialize(print::to_table(&settings)) {
        Ok(config) => Ok(Effective { config, printed: print::to_toml(&settings) }),
        // Only a difference between the table of keys and the types gets here; tests hold them together.
        Err(error) => {
            Err(Problems(vec![Problem { origin: Origin::Default, key: String::new(), text: error.to_string() }]))
        }
    }
}

#[cfg(test)]
mod tests;
