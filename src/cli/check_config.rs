//! `check-config`: every mistake at once, or what is in force and where it came from.

use std::io::Write as _;

use crate::{
    cli::{ConfigArgs, Exit},
    config,
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the annotated default file instead: every key with its meaning, unit and range
    #[arg(long, conflicts_with_all = ["config", "set", "quiet"])]
    pub default: bool,
    /// Check only; print nothing when all is well
    #[arg(short, long)]
    pub quiet: bool,
}

/// Prints to standard output; wrong configuration is an error with every mistake in it.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    if args.default {
        out.write_all(config::DEFAULT_TOML.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let effective = args.config.load_effective()?;
    if !args.quiet {
        out.write_all(effective.to_toml().as_bytes())?;
    }
    out.flush()?;
    Ok(Exit::Ok)
}
