//! What the vehicle rules take of the throughput: the same load with every rule on and with every rule off.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::{
    processes::{Mosquitto, Service},
    support::{self, row},
    sustain::{Sustained, sustain},
};

/// The built-in table of rules.
const RULES: &str = include_str!("../../schemas/rules.toml");
/// Each order twice: what the machine does meanwhile, and what the one before leaves behind, hits both alike.
const ORDER: [bool; 4] = [false, true, true, false];

/// Limits of passages, episodes and evaluation are on in both, so that 3 % of the passages raise a finding either way.
pub async fn share(window: Duration) -> anyhow::Result<()> {
    let (server, folder) = support::postgres().await?;
    let off = folder.path().join("rules-off.toml");
    ensure!(RULES.contains("\nenabled = true\n"), "the table of rules has no switch of the known form");
    std::fs::write(&off, RULES.replace("\nenabled = true\n", "\nenabled = false\n"))?;
    let off = format!("judge.rules_file={}", off.to_str().context("path of a scratch file")?);
    let fleet = support::fleet();
    let admin = support::connect(server.url()).await?;
    let (mut with, mut without): (Vec<Sustained>, Vec<Sustained>) = (Vec::new(), Vec::new());
    for (place, on) in ORDER.into_iter().enumerate() {
        let name = format!("rules_{place}");
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let url = server.url_of(&name);
        support::prepare(&url, &fleet).await?;
        // A new one for each: what a busy broker had not read of the acknowledgements would come again.
        let broker = Mosquitto::start().await?;
        let settings = if on { Vec::new() } else { vec![off.clone()] };
        let service = Service::start(&broker, &url, settings).await?;
        let client = support::connect(&url).await?;
        let figures = sustain(&broker, &server, &service, &client, window).await?;
        service.stop().await?;
        println!("rules {}: {:.0} messages/s", if on { "on" } else { "off" }, figures.rate);
        if on { with.push(figures) } else { without.push(figures) }
    }
    let mean = |of: &[Sustained], figure: fn(&Sustained) -> f64| of.iter().map(figure).sum::<f64>() / of.len() as f64;
    for (name, figures) in [("off", &without), ("on", &with)] {
        row(&format!("rules {name}, committed messages/s"), &format!("{:.0}", mean(figures, |f| f.rate)), "");
        row("  service, us/message", &format!("{:.1}", mean(figures, |f| f.service_us)), "");
        row("  database, us/message", &format!("{:.1}", mean(figures, |f| f.database_us)), "");
        row("  findings per 1000 messages", &format!("{:.1}", mean(figures, |f| f.findings_per_mille)), "");
    }
    let lost = 100.0 * (1.0 - mean(&with, |f| f.rate) / mean(&without, |f| f.rate));
    row("throughput lost to the rules, %", &format!("{lost:.1}"), "10");
    Ok(())
}
