//! `vehicle`: what other desks ask about one vehicle, from the database.

use std::io::Write as _;

use anyhow::Context as _;

use crate::{
    api::standing::{self, Bar, Standing},
    cli::{ConfigArgs, Exit, UsageError},
    judge::RuleBook,
    reading::{Plate, PlateColor, PlateKey, Timestamp},
    store::connect::Connector,
    vehicle::import::fields::{DateCounts, typed as instant},
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The plate, such as 鲁C12345
    pub plate: String,
    /// blue, yellow, green, yellow_green, white, black, other or unknown: plate and colour together are the vehicle
    #[arg(long, visible_alias = "colour")]
    pub color: String,
    /// As of this time (RFC 3339, or a date in China: its beginning); now where not given
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// JSON, as the HTTP interface answers
    #[arg(long)]
    pub json: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let plate = Plate::parse(&args.plate).map_err(|error| UsageError(error.to_string()))?;
    let colours = || PlateColor::ALL.map(PlateColor::name).join(", ");
    let colour =
        PlateColor::parse(&args.color).ok_or_else(|| UsageError(format!("--color is none of {}", colours())))?;
    let at = match &args.at {
        None => Timestamp::now(),
        Some(text) => instant(text, DateCounts::FromItsStart)
            .ok_or_else(|| UsageError(format!("--at {text} is neither a date nor a time")))?,
    };
    let config = args.config.load()?;
    let book = RuleBook::load(config.judge.clone())?;
    let mut client = Connector::new(&config.database)?.connect_to_read("vehicle").await?;
    let key = PlateKey::new(plate, colour);
    let standing = standing::look_up(&mut client, key, at, &book).await.context("look up the vehicle")?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &standing)?;
        writeln!(out)?;
    } else {
        write(&mut out, &standing)?;
    }
    Ok(Exit::Ok)
}

fn write(out: &mut impl std::io::Write, standing: &Standing) -> std::io::Result<()> {
    let Standing { plate, plate_color, at, change, inspection, transfer, .. } = standing;
    writeln!(out, "{plate} ({plate_color}) as of {at}")?;
    for (name, bar) in [("change", change), ("inspection", inspection), ("transfer", transfer)] {
        write_bar(out, name, bar)?;
    }
    match &standing.register {
        None => writeln!(out, "register: not known (version {})", standing.registry_version)?,
        Some(register) => {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
            let stage = register.emission_stage.map_or_else(|| "not registered".to_owned(), |stage| stage.to_string());
            let (fuel, kind, uses) = (text(&register.fuel), text(&register.vehicle_kind), text(&register.use_nature));
            let (state, since) = (text(&register.state), text(&register.registered_on));
            writeln!(
                out,
                "register: fuel {fuel}, stage {stage}, kind {kind}, use {uses}, state {state}, registered on {since} \
                 (version {})",
                standing.registry_version
            )?;
        }
    }
    for entry in &standing.lists {
        writeln!(out, "on list {} (version {})", entry.list, entry.version)?;
    }
    for finding in &standing.findings {
        writeln!(out, "finding {} {} from {} to {}", finding.id, finding.rule, finding.from, finding.to)?;
    }
    if standing.more_findings {
        writeln!(out, "... and further findings")?;
    }
    Ok(())
}

fn write_bar(out: &mut impl std::io::Write, name: &str, bar: &Bar) -> std::io::Result<()> {
    writeln!(out, "{name:<10} barred: {}", bar.barred.name())?;
    for because in &bar.grounds {
        let entry = &because.entry;
        let time = |at: Option<Timestamp>| at.map_or_else(|| "open".to_owned(), |at| at.to_string());
        writeln!(
            out,
            "             list {} version {}, {} to {}, document {}; {}, {}",
            entry.list,
            entry.version,
            time(entry.valid_from),
            time(entry.valid_to),
            entry.document_no.as_deref().unwrap_or("not named"),
            because.standard,
            because.clause
        )?;
        if !because.contradicted_by.is_empty() {
            let against = because.contradicted_by.join(", ");
            writeln!(out, "             the register contradicts the clause by {against}: a person must decide")?;
        }
    }
    for list in &bar.missing_lists {
        writeln!(out, "             list {list} was never imported")?;
    }
    Ok(())
}
