//! `schema`: the JSON Schemas of messages, verdicts and events, out of the program itself.

use std::io::Write as _;

use crate::{
    cli::{Exit, UsageError},
    judge,
};

/// Events as they stand in Kafka; `dataschema` of an event names its file.
const EVENTS: &[(&str, &str)] = &[
    ("violation-raised.v1", include_str!("../../schemas/events/violation-raised.v1.schema.json")),
    ("violation-revoked.v1", include_str!("../../schemas/events/violation-revoked.v1.schema.json")),
    ("intercept-raised.v1", include_str!("../../schemas/events/intercept-raised.v1.schema.json")),
    ("event-stand-in.v1", include_str!("../../schemas/events/event-stand-in.v1.schema.json")),
];

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Which schema; left out: the names of all, one a line
    pub name: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    match &args.name {
        None => {
            for (name, _) in all() {
                writeln!(out, "{name}")?;
            }
        }
        Some(wanted) => {
            let Some((_, text)) = all().find(|(name, _)| name == wanted) else {
                let names: Vec<&str> = all().map(|(name, _)| *name).collect();
                return Err(UsageError(format!("no schema {wanted:?}; there are {}", names.join(", "))).into());
            };
            out.write_all(text.as_bytes())?;
        }
    }
    out.flush()?;
    Ok(Exit::Ok)
}

fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    judge::schemas::schemas().iter().chain(EVENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committed_schema_has_its_name() {
        let mut committed = Vec::new();
        for folder in ["messages", "events"] {
            let path = format!("{}/schemas/{folder}", env!("CARGO_MANIFEST_DIR"));
            for entry in std::fs::read_dir(path).unwrap() {
                let file = entry.unwrap().file_name().into_string().unwrap();
                committed.push(file.trim_end_matches(".schema.json").to_owned());
            }
        }
        let mut named: Vec<_> = all().map(|(name, _)| (*name).to_owned()).collect();
        committed.sort();
        named.sort();
        assert_eq!(named, committed);
    }
}
