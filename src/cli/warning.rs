//! `warning`: issue, lift, correct, withdraw and list heavy-pollution warnings.

use std::io::Write as _;

use crate::{
    cli::{ConfigArgs, Exit, block_on, import::user_name},
    reading::Timestamp,
    store::connect::Connector,
    vehicle::import::fields::{DateCounts, typed as instant},
    warning::{
        Level,
        ledger::{self, Act, By, Done, LedgerError, Revision},
    },
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Issue a warning, from now on or from a time on
    #[command(after_help = "Examples:\n  dieselwatch warning issue orange --document 2026-7\n  \
        dieselwatch warning issue red --from 2026-12-01T08:00:00+08:00 --until 2026-12-03")]
    Issue(Issue),
    /// Lift a warning, now or at a time
    #[command(after_help = "Example:\n  dieselwatch warning lift 3 --by 'duty desk'")]
    Lift(Lift),
    /// Correct level or times of a warning; what stood before stays in its history
    #[command(
        after_help = "Example:\n  dieselwatch warning correct 3 --from '2026-12-01 06:00' --why 'issued two hours late'"
    )]
    Correct(Correct),
    /// Withdraw a warning that was issued by mistake: it was never in force
    #[command(after_help = "Example:\n  dieselwatch warning withdraw 3 --why 'an exercise'")]
    Withdraw(Withdraw),
    /// Warnings and how they stand, or every act about them
    #[command(after_help = "Examples:\n  dieselwatch warning list --in-force\n  \
        dieselwatch warning list --history --json > warnings.jsonl")]
    List(List),
}

/// Who acts and why.
#[derive(clap::Args, Clone, Debug)]
pub struct Actor {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Who does it, for the record; the name of the user where not given
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why, for the record; a correction and a withdrawal need it
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Issue {
    #[arg(value_enum)]
    pub level: Level,
    /// First instant in force; a time without offset is of China
    #[arg(long, value_name = "TIME", value_parser = from)]
    pub from: Option<Timestamp>,
    /// First instant no longer in force; of a plain date its end
    #[arg(long, value_name = "TIME", value_parser = until)]
    pub until: Option<Timestamp>,
    /// Number of the document it is issued by
    #[arg(long, value_name = "NUMBER")]
    pub document: Option<String>,
    #[command(flatten)]
    pub actor: Actor,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Lift {
    pub warning: i64,
    /// First instant no longer in force
    #[arg(long, value_name = "TIME", value_parser = from)]
    pub at: Option<Timestamp>,
    #[command(flatten)]
    pub actor: Actor,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Correct {
    pub warning: i64,
    #[arg(long, value_enum)]
    pub level: Option<Level>,
    /// First instant in force
    #[arg(long, value_name = "TIME", value_parser = from)]
    pub from: Option<Timestamp>,
    /// First instant no longer in force
    #[arg(long, value_name = "TIME", value_parser = until, conflicts_with = "not_lifted")]
    pub until: Option<Timestamp>,
    /// Take the lifting back
    #[arg(long)]
    pub not_lifted: bool,
    #[arg(long, value_name = "NUMBER")]
    pub document: Option<String>,
    #[command(flatten)]
    pub actor: Actor,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Withdraw {
    pub warning: i64,
    #[command(flatten)]
    pub actor: Actor,
}

#[derive(clap::Args, Clone, Debug)]
pub struct List {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only those in force now
    #[arg(long, conflicts_with = "history")]
    pub in_force: bool,
    /// Every act instead of how each warning stands
    #[arg(long)]
    pub history: bool,
    /// JSON, an object a line, as `judge --warnings` takes it
    #[arg(long)]
    pub json: bool,
}

fn from(text: &str) -> Result<Timestamp, String> {
    time(text, DateCounts::FromItsStart)
}

fn until(text: &str) -> Result<Timestamp, String> {
    time(text, DateCounts::ToItsEnd)
}

fn time(text: &str, counts: DateCounts) -> Result<Timestamp, String> {
    instant(text, counts).ok_or_else(|| "expected a date or a time, such as 2026-12-01T08:00:00+08:00".to_owned())
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match args.action.clone() {
        Action::Issue(Issue { level, from, until, document, actor }) => {
            let issued_at = from.unwrap_or_else(Timestamp::now);
            carry_out(Act::Issue { level, issued_at, lifted_at: until, document_no: document }, actor)
        }
        Action::Lift(Lift { warning, at, actor }) => {
            carry_out(Act::Lift { warning, lifted_at: at.unwrap_or_else(Timestamp::now) }, actor)
        }
        Action::Correct(Correct { warning, level, from, until, not_lifted, document, actor }) => {
            let lifted_at = if not_lifted { Some(None) } else { until.map(Some) };
            carry_out(Act::Correct { warning, level, issued_at: from, lifted_at, document_no: document }, actor)
        }
        Action::Withdraw(Withdraw { warning, actor }) => carry_out(Act::Withdraw { warning }, actor),
        Action::List(args) => block_on(list(args)),
    }
}

fn carry_out(act: Act, actor: Actor) -> anyhow::Result<Exit> {
    let by = By { name: actor.by.unwrap_or_else(user_name), why: actor.why };
    block_on(async move {
        let mut client = Connector::new(&actor.config.load()?.database)?.connect("warning").await?;
        let Done { revision, past } = match ledger::act(&mut client, &act, &by).await {
            Ok(done) => done,
            Err(LedgerError::Refused(why)) => {
                eprintln!("dieselwatch: {why}");
                return Ok(Exit::Refused);
            }
            Err(error) => return Err(error.into()),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", line(&revision, Timestamp::now()))?;
        if let Some((from, to)) = past {
            writeln!(out, "readings stored already of {from} to {to} were judged without this")?;
        }
        Ok(Exit::Ok)
    })
}

async fn list(args: List) -> anyhow::Result<Exit> {
    let client = Connector::new(&args.config.load()?.database)?.connect_to_read("warning").await?;
    let now = Timestamp::now();
    let mut out = std::io::stdout().lock();
    for revision in ledger::list(&client, args.history).await? {
        if args.in_force && state(&revision, now) != "in force" {
            continue;
        }
        match args.json {
            true => writeln!(out, "{}", serde_json::to_string(&revision)?)?,
            false => writeln!(out, "{}", line(&revision, now))?,
        }
    }
    Ok(Exit::Ok)
}

fn state(revision: &Revision, now: Timestamp) -> &'static str {
    match revision {
        Revision { withdrawn: true, .. } => "withdrawn",
        Revision { issued_at, .. } if now < *issued_at => "to come",
        Revision { lifted_at: Some(lifted), .. } if *lifted <= now => "lifted",
        _ => "in force",
    }
}

fn line(revision: &Revision, now: Timestamp) -> String {
    let Revision { warning, revision: number, action, level, issued_at, lifted_at, done_by, done_at, .. } = revision;
    let lifted = lifted_at.map_or_else(|| "lifting".to_owned(), |at| at.to_string());
    let (action, level, state) = (action.name(), level.name(), state(revision, now));
    let mut line = format!(
        "{warning:>5}.{number}  {level:<6}  {state:<9}  {issued_at} to {lifted}  ({action} by {done_by} at {done_at})"
    );
    for (what, text) in [("document", &revision.document_no), ("why", &revision.why)] {
        if let Some(text) = text {
            line += &format!("  {what}: {text}");
        }
    }
    line
}
