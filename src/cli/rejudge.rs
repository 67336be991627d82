//! `rejudge`: says what the limits and lists in force now would change about stored readings, and changes it when asked to.

mod report;

use std::{io::Write as _, path::PathBuf, time::Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    app,
    cli::{ConfigArgs, Exit, UsageError},
    evaluate::rejudge::{Rejudge, RejudgeError, Span, Then, run::Run},
    judge::RuleBook,
    reading::Timestamp,
    store::{
        connect::Connector,
        error::{Class, class_of},
    },
    vehicle::import::fields::{DateCounts, typed as instant},
};
use report::Report;

/// A step that met a deadlock or a cancelled statement is tried this often; nothing of it was stored.
const TRIES: u32 = 5;

/// Between two lines where there is no terminal.
const LINE_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Readings from this day or time on (RFC 3339, or a date in China)
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// Readings up to this day, the day included, or before this time
    #[arg(long, value_name = "TIME")]
    pub to: String,
    /// Readings of this station only
    #[arg(long, value_name = "ID")]
    pub station: Option<String>,
    /// Change what differs; without it nothing is changed
    #[arg(long)]
    pub apply: bool,
    /// Write every finding that changes to this file, JSON, one a line; it holds plates
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Who recalculates, for the record; the name of the user where not given
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let book = RuleBook::load(config.judge.clone())?;
    let connector = Connector::new(&config.database)?;
    // Counting years of readings takes as long as it takes; the steps are short by their number of readings.
    let mut client = connector.connect_for_long("rejudge").await?;
    let span = span(args, &client).await?;
    let assembler = app::assembler(&config, &connector).await?;
    let by = args.by.clone().unwrap_or_else(super::import::user_name);
    let mut run = Run::new(&span, &book, &assembler.versions(), &by);
    let rejudge = Rejudge { assembler: &assembler, book: &book, span };
    let total = rejudge.count(&client).await?;
    let then = if args.apply { Then::Keep } else { Then::Undo };
    if then == Then::Keep {
        run = run.resume_or_begin(&client).await?;
        eprintln!(
            "rejudge run {}{}",
            run.number,
            if run.cursor >= 0 { ", which was interrupted, goes on" } else { "" }
        );
    }
    let mut report = Report::open(args.report.as_deref())?;
    let mut progress = Progress::new(total);
    let mut after = run.cursor;
    while let Some(step) = step(&rejudge, &mut client, &run, after, then).await? {
        after = step.cursor;
        progress.advance(step.readings);
        report.add(&step)?;
    }
    progress.finish();
    if then == Then::Keep {
        run.finish(&client).await?;
    }
    report.close()?;
    std::io::stdout().lock().write_all(report.text(then).as_bytes())?;
    Ok(if report.left() == 0 { Exit::Ok } else { Exit::Refused })
}

/// One step, tried again where another transaction was in its way.
async fn step(
    rejudge: &Rejudge<'_>,
    client: &mut tokio_postgres::Client,
    run: &Run,
    after: i64,
    then: Then,
) -> Result<Option<crate::evaluate::rejudge::Step>, RejudgeError> {
    let mut tries = 1;
    loop {
        match rejudge.step(client, run, after, then).await {
            Err(RejudgeError::Database(error)) if class_of(&error) == Class::Again && tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

async fn span(args: &Args, client: &tokio_postgres::Client) -> anyhow::Result<Span> {
    let time = |name: &str, text: &str, counts| -> Result<Timestamp, UsageError> {
        instant(text, counts).ok_or_else(|| UsageError(format!("--{name} {text} is neither a date nor a time")))
    };
    let from = time("from", &args.from, DateCounts::FromItsStart)?;
    let to = time("to", &args.to, DateCounts::ToItsEnd)?;
    if from >= to {
        return Err(UsageError("--to is not after --from".into()).into());
    }
    let station = match &args.station {
        None => None,
        Some(name) => {
            let found = client.query_opt("SELECT id FROM stations WHERE station_id = $1", &[name]).await;
            let row = found.context("look up the station")?;
            let row = row.ok_or_else(|| UsageError(format!("no station {name} was ever heard of")))?;
            Some((row.get(0), name.clone()))
        }
    };
    Ok(Span { from, to, station })
}

/// How far it is: a bar on a terminal, a line every few seconds otherwise.
struct Progress {
    bar: Option<ProgressBar>,
    total: i64,
    done: u64,
    last_line: Instant,
}

impl Progress {
    fn new(total: i64) -> Self {
        let bar = std::io::IsTerminal::is_terminal(&std::io::stderr()).then(|| {
            let bar = ProgressBar::new(total.unsigned_abs());
            let template = "{wide_bar} {pos}/{len} readings, {per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, total, done: 0, last_line: Instant::now() }
    }

    fn advance(&mut self, readings: u64) {
        self.done += readings;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("{} of {} readings", self.done, self.total);
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
