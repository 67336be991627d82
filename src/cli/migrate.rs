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
    let client = Connector::new(&config.database)?.connect("migrate").await?;
    // Building an index or rewriting a table takes as long as it takes.
    client.batch_execute("SET statement_timeout = 0").await?;
    if args.check {
        let flavour = migrate::check(&client).await?;
        println!("the schema is up to date ({})", flavour.name());
        return Ok(Exit::Ok);
    }
    let done = migrate::run(&client).await?;
    match done.applied.as_slice() {
        [] => println!("nothing to do ({})", done.flavour.name()),
        numbers => {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            println!("ran migrations {} ({})", numbers.join(", "), done.flavour.name());
        }
    }
    Ok(Exit::Ok)
}
