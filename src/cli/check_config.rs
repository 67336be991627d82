//! `check-config`: every mistake at once, or what is in force and where it came from; and whether the database will do.

use std::io::Write as _;

use crate::{
    cli::{ConfigArgs, Exit, block_on},
    config,
    judge::RuleBook,
    store::connect::Connector,
};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print the annotated default file instead: every key with its meaning, unit and range
    #[arg(long, conflicts_with_all = ["config", "set", "quiet"])]
    pub default: bool,
    /// Check only; print nothing when all is well
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not ask the database whether it can be used
    #[arg(long)]
    pub offline: bool,
}

/// Prints to standard output; wrong configuration is an error with every mistake in it.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    if args.default {
        out.write_all(config::DEFAULT_TOML.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let effective = args.config.load_effective()?;
    // The tables are configuration that stands in files of its own; the service would not start with a wrong one.
    RuleBook::load(effective.config.judge.clone())?;
    let connector = Connector::new(&effective.config.database)?;
    if !args.quiet {
        out.write_all(effective.to_toml().as_bytes())?;
    }
    out.flush()?;
    if !args.offline {
        ask(&connector, args.quiet)?;
    }
    Ok(Exit::Ok)
}

/// Whether the database that is named can be used. One that is away now, or takes no writes now, is no mistake of the
/// configuration: the service would wait for it.
fn ask(connector: &Connector, quiet: bool) -> anyhow::Result<()> {
    match block_on(async { Ok(connector.connect("check-config").await) })? {
        Err(error) if error.lasts() => Err(error.into()),
        Err(error) => {
            if !quiet {
                eprintln!("dieselwatch: not checked whether the database can be used: {error}");
            }
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{RuleBookError, limits, rules, terminal_table};

    fn check(set: &[(String, String)]) -> anyhow::Result<Exit> {
        let config = ConfigArgs { config: None, set: set.to_vec() };
        run(&Args { config, default: false, quiet: true, offline: true })
    }

    #[test]
    fn wrong_tables_are_told_all_at_once_with_file_and_line() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut set = Vec::new();
        for (key, text) in [
            ("limits_file", limits::BUILT_IN.to_owned() + "\nsoot = 1\n"),
            ("rules_file", rules::BUILT_IN.to_owned()),
            ("terminal_file", terminal_table::BUILT_IN.to_owned()),
        ] {
            let path = folder.path().join(format!("{key}.toml"));
            std::fs::write(&path, text).expect("written");
            set.push((format!("judge.{key}"), path.to_str().expect("text").to_owned()));
        }
        let line = limits::BUILT_IN.lines().count() + 2;
        let told = check(&set).expect_err("one is wrong");
        assert!(told.is::<RuleBookError>(), "{told:#}");
        let told = format!("{told:#}");
        assert!(told.contains("limits_file.toml is wrong: line") && !told.contains("rules_file.toml"), "{told}");
        assert!(told.contains(&format!("line {line}: ")), "{told}");

        std::fs::write(folder.path().join("rules_file.toml"), "version = 3").expect("written");
        std::fs::write(folder.path().join("terminal_file.toml"), "[").expect("written");
        let told = format!("{:#}", check(&set).expect_err("all are wrong"));
        for file in ["limits_file.toml", "rules_file.toml is wrong: line 1", "terminal_file.toml is wrong: line 1"] {
            assert!(told.contains(file), "{file}: {told}");
        }
        for (key, text) in [
            ("limits_file", limits::BUILT_IN),
            ("rules_file", rules::BUILT_IN),
            ("terminal_file", terminal_table::BUILT_IN),
        ] {
            std::fs::write(folder.path().join(format!("{key}.toml")), text).expect("written");
        }
        assert_eq!(check(&set).expect("right"), Exit::Ok);
    }
}
