//! The arguments of every command that reads the configuration.

use std::path::PathBuf;

use crate::config::{Config, Effective, Layers, Problems};

#[derive(clap::Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// TOML file laid over the built-in defaults; print those with `check-config --default`
    #[arg(short, long, value_name = "FILE", env = "DIESELWATCH_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Set one key, over file and environment, such as `database.writers=4` or `source[0].filter=a/+/b`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, global = true)]
    pub set: Vec<(String, String)>,
}

impl ConfigArgs {
    /// Default, file, environment of this process and `--set`, checked whole.
    pub fn load(&self) -> Result<Config, Problems> {
        self.load_effective().map(|effective| effective.config)
    }

    /// [`ConfigArgs::load`] with the origin of each value.
    pub fn load_effective(&self) -> Result<Effective, Problems> {
        Layers::from_process(self.config.clone(), self.set.clone()).load()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}
