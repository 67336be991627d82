//! How far the reading of a file is: a bar on a terminal, a line every few seconds otherwise.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    /// "rows", "lines"
    units: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// `total` is an upper bound, such as the lines of the file; 0 where nothing is known.
    pub fn new(what: &str, units: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            // How many rows a workbook has shows when it is read.
            let (bar, template) = match total {
                0 => (ProgressBar::no_length(), format!("{{spinner}} {{msg}} {{pos}} {units}, {{per_sec}}")),
                total => (
                    ProgressBar::new(total),
                    format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {units}, {{per_sec}}, {{eta}} left"),
                ),
            };
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar.with_message(what.to_owned())
        });
        Self { bar, what: what.into(), units, total, done: 0, started: Instant::now(), last_line: Instant::now() }
    }

    pub fn advance(&mut self, more: u64) {
        self.done += more;
        if let Some(bar) = &self.bar {
            bar.set_position(if self.total == 0 { self.done } else { self.done.min(self.total) });
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let rate = self.done as f64 / self.started.elapsed().as_secs_f64();
            let of = if self.total == 0 { String::new() } else { format!(" of at most {}", self.total) };
            eprintln!("{}: {}{of} {} read, {rate:.0}/s", self.what, self.done, self.units);
        }
    }

    /// Everything is read; what follows cannot say how far it is.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Lines from which the database's own work takes long enough to be told.
const LARGE_LINES: u64 = 100_000;

/// How the phases after the last row of a file of that many lines are told.
pub fn phases(lines: u64) -> fn(&str) {
    if lines >= LARGE_LINES { |what| eprintln!("{what}") } else { |_| {} }
}
