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
    last_line: Instant,
}

impl Progress {
    /// `total` is an upper bound: the lines of the file.
    pub fn new(dataset: &str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} rows, {per_sec}, {eta} left")
            {
                bar.set_style(style);
            }
            bar.with_message(dataset.to_owned())
        });
        Self { bar, dataset: dataset.into(), total, done: 0, last_line: Instant::now() }
    }

    pub fn advance(&mut self, rows: u64) {
        self.done += rows;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done.min(self.total));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("{}: {} of at most {} rows read", self.dataset, self.done, self.total);
        }
    }

    /// The rows are read; what follows in the database cannot say how far it is.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
