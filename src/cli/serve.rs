//! `serve`: the service, until it is told to stop.

use anyhow::Context as _;

use crate::{
    app::App,
    cli::{ConfigArgs, Exit, block_on},
    shutdown, telemetry,
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Runs until SIGINT or SIGTERM; 0 when everything taken was committed and acknowledged.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    telemetry::logs::init(&config.service).context("start logging")?;
    block_on(async {
        let stop = shutdown::on_signal();
        let broker = config.mqtt.url.clone();
        let Some(mut app) = App::start(config, &stop).await? else { return Ok(Exit::Ok) };
        tracing::info!(http = %app.http, broker, "the service runs");
        let failure = stop.run_until_cancelled(app.fail()).await;
        let stopped = app.stop().await;
        match failure {
            Some(failure) => Err(failure.into()),
            None if stopped.clean => Ok(Exit::Ok),
            None => Ok(Exit::Refused),
        }
    })
}
