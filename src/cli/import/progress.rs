//! How far an import is: a bar on a terminal, a line every few seconds otherwise.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

pub struct Progress {
    bar: Option<ProgressBar>,
    dataset: String,
    total: u64,
    done: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// `total` is an upper bound: the lines of the file.
    pub fn new(dataset: &str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            // How many rows a workbook has shows when it is read.
            let (bar, template) = match total {
                0 => (ProgressBar::no_length(), "{spinner} {msg} {pos} rows, {per_sec}"),
                total => (ProgressBar::new(total), "{msg} {wide_bar} {pos}/{len} rows, {per_sec}, {eta} left"),
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.with_message(dataset.to_owned())
        });
        Self { bar, dataset: dataset.into(), total, done: 0, started: Instant::now(), last_line: Instant::now() }
    }

    pub fn advance(&mut self, rows: u64) {
        self.done += rows;
        if let Some(bar) = &self.bar {
            bar.set_position(if self.total == 0 { self.done } else { self.done.min(self.total) });
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let rate = self.done as f64 / self.started.elapsed().as_secs_f64();
            let of = if self.total == 0 { String::new() } else { format!(" of at most {}", self.total) };
            eprintln!("{}: {}{of} rows read, {rate:.0}/s", self.dataset, self.done);
        }
    }

    /// The rows are read; what follows in the database cannot say how far it is.
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
