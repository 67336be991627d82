//! `events`: what Kafka did not take in full, and sending it again.

use std::{collections::BTreeSet, io::Write as _, time::Duration};

use anyhow::anyhow;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    cli::{ConfigArgs, Exit, UsageError},
    publish::{
        outbox,
        refused::{self, Refused},
    },
    store::{connect::Connector, error::describe},
};

/// Events fetched, and put back into the outbox in one transaction, at a time.
const PAGE: i64 = 500;

/// How often the outcome is looked for; the relay settles it once a second.
const LOOK: Duration = Duration::from_millis(250);

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub action: Action,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// One line for each event that is not in Kafka in full, in their order
    #[command(after_help = "\
Examples:
  dieselwatch events list
  dieselwatch events list --json > not-in-full.jsonl

`stand-in`: a small event is out in its place that says where to fetch it. `nothing`: not even that
was taken. `under way`: it was sent again, and Kafka has not taken it yet. The event itself is read at
/api/v1/events/ID.")]
    List(List),
    /// Send them again in full, in their order, once the cause is mended
    #[command(after_help = "\
Examples:
  dieselwatch events resend --all
  dieselwatch events resend --id 5d0c5f3e-7a53-5c0e-9a39-0d8f4f6f2b11
  dieselwatch events resend --all --wait 0

Events go back into the outbox, with their id and content and at a new position, and the running service
sends them; where none runs, the next one does. Those that are on their way already, or out by now, are not
sent a second time, so an interrupted command is completed by the same one again. Mend the cause first:
mostly max.message.bytes of the topic is too small. Exit 0: all are in Kafka (with --wait 0: handed over);
1: some were refused again, or Kafka had not taken them in time.")]
    Resend(Resend),
}

#[derive(clap::Args, Clone, Debug)]
pub struct List {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// JSON, an object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Resend {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub which: Which,
    /// How long to wait until Kafka has them, seconds; 0 only hands them over
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
}

#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The event with this id; may be repeated
    #[arg(long, value_name = "ID")]
    pub id: Vec<Uuid>,
    /// All that are not out in full
    #[arg(long)]
    pub all: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.action {
        Action::List(args) => list(args).await,
        Action::Resend(args) => resend(args).await,
    }
}

async fn list(args: &List) -> anyhow::Result<Exit> {
    let client = Connector::new(&args.config.load()?.database)?.connect_to_read("events").await?;
    let mut after = 0;
    loop {
        let page = refused::list(&client, after, PAGE).await.map_err(explain)?;
        let mut out = std::io::stdout().lock();
        for event in &page {
            match args.json {
                true => writeln!(out, "{}", serde_json::to_string(event)?)?,
                false => writeln!(out, "{}", told(event))?,
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = last.position,
            _ => return Ok(Exit::Ok),
        }
    }
}

fn told(event: &Refused) -> String {
    let state = match (event.resend_asked_at, event.stand_in) {
        (Some(_), _) => "under way",
        (None, true) => "stand-in",
        (None, false) => "nothing",
    };
    let Refused { position, id, topic, bytes, reason, refused_at, .. } = event;
    format!("{position:>10}  {id}  {topic}  {bytes:>7} B  {state:<9}  since {refused_at}: {reason}")
}

async fn resend(args: &Resend) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    if config.kafka.is_none() {
        let why =
            "there is no [kafka] section in the configuration, so nothing sends events; HTTP serves all of them whole";
        return Err(UsageError(why.into()).into());
    }
    let mut client = Connector::new(&config.database)?.connect("events").await?;
    let chosen = match args.which.all {
        true => all(&client).await?,
        false => refused::of_ids(&client, &args.which.id).await.map_err(explain)?,
    };
    let known: BTreeSet<Uuid> = chosen.iter().map(|event| event.id).collect();
    let strangers: Vec<&Uuid> = args.which.id.iter().filter(|id| !known.contains(id)).collect();
    for id in &strangers {
        eprintln!("dieselwatch: {id}: no such event, or Kafka has it in full; nothing to send");
    }
    let mut handed = 0;
    for some in chosen.chunks(PAGE as usize) {
        let ids: Vec<Uuid> = some.iter().map(|event| event.id).collect();
        handed += hand_over(&mut client, &ids).await.map_err(explain)?;
    }
    let under_way = chosen.len() as u64 - handed;
    println!("{handed} handed over to be sent in full, {under_way} were under way already");
    let left = match args.wait {
        0 => Vec::new(),
        seconds => outcome(&client, &known, Duration::from_secs(seconds)).await?,
    };
    if args.wait > 0 {
        println!("{} in Kafka in full, {} not", chosen.len() - left.len(), left.len());
    }
    for event in &left {
        println!("{}", told(event));
    }
    Ok(if left.is_empty() && strangers.is_empty() { Exit::Ok } else { Exit::Refused })
}

async fn all(client: &Client) -> anyhow::Result<Vec<Refused>> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |event: &Refused| event.position);
        let page = refused::list(client, after, PAGE).await.map_err(explain)?;
        let more = page.len() == PAGE as usize;
        all.extend(page);
        if !more {
            return Ok(all);
        }
    }
}

/// Puts them into the outbox, and tells the relay after the commit.
async fn hand_over(client: &mut Client, ids: &[Uuid]) -> Result<u64, tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    let handed = refused::resend(&transaction, ids).await?;
    transaction.commit().await?;
    client.batch_execute(&format!("NOTIFY {}", outbox::WAITING)).await?;
    Ok(handed)
}

/// Waits until each of them is in Kafka or was refused again; gives those that are not in Kafka.
async fn outcome(client: &Client, ids: &BTreeSet<Uuid>, limit: Duration) -> anyhow::Result<Vec<Refused>> {
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let deadline = Instant::now() + limit;
    loop {
        let left = refused::of_ids(client, &ids).await.map_err(explain)?;
        if left.iter().all(|event| event.resend_asked_at.is_none()) || Instant::now() >= deadline {
            return Ok(left);
        }
        sleep(LOOK).await;
    }
}

fn explain(error: tokio_postgres::Error) -> anyhow::Error {
    anyhow!("{}", describe(&error))
}
