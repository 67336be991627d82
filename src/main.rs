//! Table of contents: arguments, one command, one exit code.

use std::{panic, process::ExitCode};

use clap::Parser as _;
use dieselwatch::cli::{self, Cli, Exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Usage mistakes end here, with code 2, and `--help` with 0.
    let arguments = Cli::parse();
    // The hook has told where the panic was; here it only gets the right exit code.
    let exit = panic::catch_unwind(|| cli::report(cli::run(arguments))).unwrap_or(Exit::Internal);
    exit.into()
}
