//! `migrate`: brings the schema of the database up to date, or tells whether it is.

use crate::{
    cli::{ConfigArgs, Exit},
    store::{connect::Connector, migrate},
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Change nothing; fail when something is pending or the schema is newer than this program
    #[arg(long)]
    pub check: bool,
}

/// Unlike `serve` this does not wait for a database that is away: it is a step of a deploy, which has its own patience.
pub async fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    let connector = Connector::new(&config.database)?;
    if args.check {
        let client = connector.connect_to_read("migrate").await?;
        let flavour = migrate::check(&client).await?;
        println!("the schema is up to date ({})", flavour.name());
        return Ok(Exit::Ok);
    }
    let done = migrate::run(&connector.connect_for_long("migrate").await?).await?;
    match done.applied.as_slice() {
        [] => println!("nothing to do ({})", done.flavour.name()),
        numbers => {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            println!("ran migrations {} ({})", numbers.join(", "), done.flavour.name());
        }
    }
    Ok(Exit::Ok)
}
