//! The command line: one file per command, each with its `Args` and its `run`.

pub mod check_config;
pub mod completions;
mod configured;
pub mod dead_letters;
pub mod decode;
pub mod demo;
pub mod events;
mod exit;
pub mod import;
pub mod inspections;
pub mod judge;
pub mod migrate;
pub mod openapi;
mod progress;
pub mod rejudge;
pub mod schema;
pub mod serve;
pub mod simulate;
pub mod vehicle;
pub mod warning;

use clap::{Parser, Subcommand};

pub use configured::ConfigArgs;
pub use exit::{Exit, UsageError, report};

/// Takes in what roadside rigs, diesel OBD terminals, retrofit terminals and non-road trackers publish over MQTT, judges
/// it against the limits in force, keeps it, and hands over-limit events on.
///
/// Exit codes: 0 done, 1 the work failed or part of it was refused, 2 usage or configuration, 70 internal.
#[derive(Debug, Parser)]
#[command(name = "dieselwatch", version, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service until it is told to stop
    #[command(after_help = "Examples:\n  \
        dieselwatch serve --config /etc/dieselwatch.toml\n  \
        DIESELWATCH__DATABASE__PASSWORD=... dieselwatch serve --set mqtt.url=mqtt://broker:1883")]
    Serve(serve::Args),
    /// Run everything on this machine with a made-up district: broker, database, fleet and page
    #[command(
        after_help = "Examples:\n  dieselwatch demo\n  dieselwatch demo --rate 500 --seconds 60 --http 127.0.0.1:9000"
    )]
    Demo(demo::Args),
    /// Let a made-up fleet of stations, terminals and machines publish over MQTT, and keep a ledger of what was taken
    #[command(after_help = "Examples:\n  \
        dieselwatch simulate --broker mqtt://127.0.0.1:1883 --rate 50 --seconds 60\n  \
        dieselwatch simulate --rate 500 --mix rs=60,obd=30,nonroad=5,retrofit=5 --scenario demo --ledger ledger.jsonl\n  \
        dieselwatch simulate --fast --rate 50000 --seconds 30")]
    Simulate(Box<simulate::Args>),
    /// Decode terminal frames from hex text or a binary stream to JSON lines
    Decode(decode::Args),
    /// Judge remote-sensing passages from a file or standard input, without broker or database
    Judge(judge::Args),
    /// Import an operator's file as the next version of a dataset
    Import(import::Args),
    /// Decide between reports of inspection stations that contradict each other
    #[command(after_help = "Examples:\n  dieselwatch inspections conflicts\n  \
        dieselwatch inspections resolve 17 --take second --by 'Li' --why 'the station confirmed the plate by telephone'")]
    Inspections(inspections::Args),
    /// Issue and lift heavy-pollution warnings
    #[command(after_help = "Examples:\n  dieselwatch warning issue orange --document 2026-7\n  \
        dieselwatch warning lift 3\n  dieselwatch warning list --in-force")]
    Warning(warning::Args),
    /// Look at what was put aside, and send it through the same path again
    #[command(after_help = "Examples:\n  dieselwatch dead-letters list\n  dieselwatch dead-letters show 17\n  \
        dieselwatch dead-letters replay --where reason=unknown_station")]
    DeadLetters(dead_letters::Args),
    /// Look at events that Kafka did not take in full, and send them again
    #[command(after_help = "Examples:\n  dieselwatch events list\n  dieselwatch events resend --all\n  \
        dieselwatch events resend --id 5d0c5f3e-7a53-5c0e-9a39-0d8f4f6f2b11")]
    Events(events::Args),
    /// Apply the limits and lists in force now to stored readings: say what would change, and change it when asked to
    #[command(after_help = "Examples:\n  \
        dieselwatch rejudge --from 2026-01-01 --to 2026-06-30 --report changes.jsonl\n  \
        dieselwatch rejudge --from 2026-01-01 --to 2026-06-30 --station 370306-01 --apply")]
    Rejudge(rejudge::Args),
    /// Say whether a vehicle is barred from change, inspection or transfer, and why
    #[command(after_help = "Examples:\n  dieselwatch vehicle 鲁C12345 --color yellow\n  \
        dieselwatch vehicle 鲁C12345 --color yellow --at 2026-03-01 --json")]
    Vehicle(vehicle::Args),
    /// Bring the database's schema up to date
    #[command(
        after_help = "Examples:\n  dieselwatch migrate --config /etc/dieselwatch.toml\n  dieselwatch migrate --check"
    )]
    Migrate(migrate::Args),
    /// Check the configuration and print what is in force, where each value came from, secrets left out
    #[command(after_help = "Examples:\n  \
        dieselwatch check-config --config /etc/dieselwatch.toml\n  \
        DIESELWATCH__MQTT__CONNECTIONS=4 dieselwatch check-config --set database.writers=4\n  \
        dieselwatch check-config --default > dieselwatch.toml")]
    CheckConfig(check_config::Args),
    /// Print the description of the HTTP interface
    #[command(after_help = "Example:\n  dieselwatch openapi > openapi.json")]
    Openapi(openapi::Args),
    /// Print a JSON Schema or an annotated default table by name
    #[command(after_help = "Examples:\n  dieselwatch schema\n  dieselwatch schema passage > passage.schema.json")]
    Schema(schema::Args),
    /// Write a completion script for a shell
    #[command(after_help = "Example:\n  \
        dieselwatch completions bash > /etc/bash_completion.d/dieselwatch")]
    Completions(completions::Args),
}

/// Carries out one command.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Decode(args) => decode_offline(&args),
        Command::Judge(args) => judge::run(&args),
        Command::Import(args) => block_on(async move { Ok(Exit::from_code(import::run(&args).await)) }),
        Command::Inspections(args) => block_on(async move { inspections::run(&args).await }),
        Command::Warning(args) => warning::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Events(args) => block_on(async move { events::run(&args).await }),
        Command::Rejudge(args) => block_on(async move { rejudge::run(&args).await }),
        Command::Vehicle(args) => block_on(async move { vehicle::run(&args).await }),
        Command::Migrate(args) => block_on(async move { migrate::run(&args).await }),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Openapi(args) => openapi::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

fn decode_offline(args: &decode::Args) -> anyhow::Result<Exit> {
    match decode::run(args) {
        Ok(summary) if summary.refused == 0 => Ok(Exit::Ok),
        Ok(_) => Ok(Exit::Refused),
        Err(error @ decode::DecodeError::Open { .. }) => Err(UsageError(chain(&error)).into()),
        Err(error) => Err(error.into()),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Runs a command that waits for others, on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_well_formed_and_every_command_shows_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "`{} --help` shows no example", sub.get_name());
            assert!(help.contains(&format!("dieselwatch {}", sub.get_name())), "{}", sub.get_name());
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
        }
    }

    #[test]
    fn settings_on_the_command_line_are_keys_with_values() {
        let parse = |set: &str| Cli::try_parse_from(["dieselwatch", "check-config", "--set", set]);
        assert!(parse("database.writers=4").is_ok() && parse("kafka.properties.a.b=x=y").is_ok());
        assert!(parse("database.writers").is_err() && parse("=4").is_err());
    }
}
