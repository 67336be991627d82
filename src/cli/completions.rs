//! `completions`: a completion script for a shell.

use std::io::Write as _;

use clap::CommandFactory as _;

use crate::cli::{Cli, Exit};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Shell to write for
    pub shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    // Written to memory first: `generate` panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dieselwatch", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::Ok)
}
