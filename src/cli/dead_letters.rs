//! `dead-letters`: look at what was put aside, and send it through the same path again.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use bytes::Bytes;

use crate::{
    app,
    cli::{ConfigArgs, Exit, UsageError, block_on},
    fault::Reason,
    pipeline::assemble::{Assembler, Message},
    reading::Timestamp,
    store::{
        batch::Batch,
        commit::{Committed, Committer},
        connect::Connector,
        dead_letters::{self, Filter, Stored},
        error::{Class, class_of, describe},
    },
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// One line for each, oldest first
    #[command(after_help = "Examples:\n  dieselwatch dead-letters list --where reason=checksum_mismatch\n  \
        dieselwatch dead-letters list --where source=rs --where since=2026-01-01T00:00:00+08:00 --json")]
    List(List),
    /// One of them whole, with its bytes
    #[command(after_help = "Example:\n  dieselwatch dead-letters show 17 --raw > payload.bin")]
    Show(Show),
    /// Decode, judge and store them again; what is taken now leaves the list
    #[command(after_help = "Examples:\n  dieselwatch dead-letters replay --where reason=unknown_station\n  \
        dieselwatch dead-letters replay --where id=17 --with fixed.json")]
    Replay(Replay),
}

#[derive(clap::Args, Clone, Debug)]
pub struct List {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// `id=N`, `reason=NAME`, `source=NAME` or `since=TIME`; several must all hold
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub conditions: Vec<String>,
    /// Also what was replayed already
    #[arg(long)]
    pub replayed: bool,
    /// At most this many
    #[arg(long, default_value_t = 100)]
    pub limit: i64,
    /// JSON, an object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Show {
    #[command(flatten)]
    pub config: ConfigArgs,
    pub id: i64,
    /// Only the bytes, as they came
    #[arg(long)]
    pub raw: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Replay {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// `id=N`, `reason=NAME`, `source=NAME` or `since=TIME`; several must all hold; none: all that were not replayed
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    pub conditions: Vec<String>,
    /// Use the bytes of this file instead; with `id=N` only
    #[arg(long, value_name = "FILE")]
    pub with: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::List(list) => block_on(run_list(list)),
        Action::Show(show) => block_on(run_show(show)),
        Action::Replay(replay) => block_on(run_replay(replay)),
    }
}

fn filter(conditions: &[String], replayed: bool) -> Result<Filter, UsageError> {
    let mut filter = Filter { replayed, ..Filter::default() };
    for condition in conditions {
        let wrong = |what: &str| UsageError(format!("--where {condition}: {what}"));
        let (field, value) = condition.split_once('=').ok_or_else(|| wrong("expected FIELD=VALUE"))?;
        match field {
            "id" => filter.id = Some(value.parse().map_err(|_| wrong("the id is not a number"))?),
            "reason" => {
                let reason = Reason::parse(value).ok_or_else(|| {
                    wrong(&format!("no such reason; there are {}", Reason::ALL.map(Reason::name).join(", ")))
                })?;
                filter.reason = Some(reason);
            }
            "source" => filter.source = Some(value.to_owned()),
            "since" => {
                let since = Timestamp::parse_rfc3339(value);
                filter.since = Some(since.ok_or_else(|| wrong("the time is not RFC 3339 with an offset"))?);
            }
            _ => return Err(wrong("fields are id, reason, source and since")),
        }
    }
    Ok(filter)
}

async fn run_list(args: &List) -> anyhow::Result<Exit> {
    let filter = filter(&args.conditions, args.replayed)?;
    let client = Connector::new(&args.config.load()?.database)?.connect_to_read("dead-letters").await?;
    let letters = dead_letters::list(&client, &filter, 0, args.limit).await.map_err(explain)?;
    let mut out = std::io::stdout().lock();
    for letter in &letters {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(letter)?)?;
        } else {
            let Stored { id, received_at, source, reason, detail, bytes, .. } = letter;
            writeln!(out, "{id:>8}  {received_at}  {source:<9} {reason:<18} {bytes:>7} B  {detail}")?;
        }
    }
    if !args.json && letters.len() as i64 == args.limit {
        writeln!(out, "(there may be more: --limit)")?;
    }
    Ok(Exit::Ok)
}

async fn run_show(args: &Show) -> anyhow::Result<Exit> {
    let client = Connector::new(&args.config.load()?.database)?.connect_to_read("dead-letters").await?;
    let filter = Filter { id: Some(args.id), replayed: true, ..Filter::default() };
    let letters = dead_letters::list(&client, &filter, 0, 1).await.map_err(explain)?;
    let letter = letters.first().ok_or_else(|| UsageError(format!("there is no dead letter {}", args.id)))?;
    let raw = dead_letters::raw(&client, letter.id).await.map_err(explain)?;
    let mut out = std::io::stdout().lock();
    if args.raw {
        out.write_all(&raw)?;
        return Ok(Exit::Ok);
    }
    writeln!(out, "{}", serde_json::to_string_pretty(letter)?)?;
    match std::str::from_utf8(&raw) {
        Ok(text) => writeln!(out, "{text}")?,
        Err(_) => writeln!(out, "{}", hex::encode_upper(&raw))?,
    }
    Ok(Exit::Ok)
}

async fn run_replay(args: &Replay) -> anyhow::Result<Exit> {
    let filter = filter(&args.conditions, false)?;
    let replacement = match &args.with {
        None => None,
        Some(_) if filter.id.is_none() => {
            return Err(UsageError("--with needs --where id=N: it replaces the bytes of one".into()).into());
        }
        Some(path) => Some(std::fs::read(path).with_context(|| format!("read {}", path.display()))?),
    };
    let config = args.config.load()?;
    let connector = Connector::new(&config.database)?;
    let client = connector.connect("dead-letters").await?;
    let assembler = app::assembler(&config, &connector).await?;
    let sources = app::source_names(&config);
    let mut committer = Committer::new(connector.connect("replay").await?, "replay".into(), sources.clone());
    let (mut taken, mut refused, mut after) = (0, 0, 0);
    loop {
        let letters = dead_letters::list(&client, &filter, after, 500).await.map_err(explain)?;
        let Some(last) = letters.last() else { break };
        after = last.id;
        for letter in letters {
            let source = sources.iter().position(|name| *name == letter.source).unwrap_or(sources.len());
            let payload = match &replacement {
                Some(replacement) => replacement.clone(),
                None => dead_letters::raw(&client, letter.id).await.map_err(explain)?,
            };
            let payload = Bytes::from(payload);
            match replay(&assembler, &mut committer, source, &letter, payload).await? {
                Ok(result) => {
                    dead_letters::mark_replayed(&client, letter.id, result).await.map_err(explain)?;
                    taken += 1;
                }
                Err(reason) => {
                    refused += 1;
                    println!("{:>8}  still {}", letter.id, reason.name());
                }
            }
        }
    }
    println!("{taken} taken, {refused} still refused");
    Ok(if refused == 0 { Exit::Ok } else { Exit::Refused })
}

/// One letter through the whole path; what it became, or why it is still refused.
async fn replay(
    assembler: &Assembler,
    committer: &mut Committer,
    source: usize,
    letter: &Stored,
    payload: Bytes,
) -> anyhow::Result<Result<&'static str, Reason>> {
    let device = assembler.device_in(source, &letter.topic).unwrap_or_default();
    let message = Message {
        source,
        device: device.into(),
        topic: letter.topic.as_str().into(),
        payload,
        received_at: letter.received_at,
        replayed: true,
    };
    let mut batch = Batch::new(assembler.books());
    while let Err(missing) = assembler.add(&message, 0..usize::MAX, &mut batch) {
        match assembler.give_number(committer.client(), &missing).await {
            Err(error) if error.class() == Class::Poison => return Ok(Err(Reason::RefusedByStore)),
            given => given?,
        }
    }
    // A reading that is refused again is the letter that is there already; nothing is written for it. A frame with nothing to
    // read in it will never be anything else.
    if let Some(again) = batch.dead_letters.iter().find(|letter| letter.reason != Reason::NoReading) {
        return Ok(Err(again.reason));
    }
    if batch.readings() == batch.dead_letters.len() {
        return Ok(Ok("no reading"));
    }
    batch.dead_letters.clear();
    let committed = match committer.commit(&batch).await {
        Ok(committed) => committed,
        Err(error) if class_of(&error) == Class::Poison => return Ok(Err(Reason::RefusedByStore)),
        Err(error) => return Err(explain(error)),
    };
    Ok(outcome(&committed))
}

fn outcome(committed: &Committed) -> Result<&'static str, Reason> {
    let sum = |of: fn(&crate::store::batch::Tally) -> u64| committed.tallies.iter().map(of).sum::<u64>();
    if sum(|tally| tally.conflict) > 0 {
        Err(Reason::Conflict)
    } else if sum(|tally| tally.stored) > 0 {
        Ok("stored")
    } else {
        Ok("duplicate")
    }
}

fn explain(error: tokio_postgres::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", describe(&error))
}
