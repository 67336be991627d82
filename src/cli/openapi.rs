//! `openapi`: the document of the HTTP interface, as `schemas/openapi.json` holds it.

use std::io::Write as _;

use crate::{api, cli::Exit};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {}

pub fn run(_: &Args) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(api::document().as_bytes())?;
    out.flush()?;
    Ok(Exit::Ok)
}
