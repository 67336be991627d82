//! Whether commits happen: counted as they do, and told when messages wait and none does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    fault::Reason,
    pipeline::writer::Progress,
    reading::Timestamp,
    telemetry::{Books, Meters},
};

/// A commit within this time says itself how late it was, milliseconds.
const COMMITS_OFTEN_MS: u64 = 3_000;

/// Messages that wait longer than this for any commit wait for something that is not right, milliseconds. A commit takes
/// milliseconds, a large one through staging tables seconds.
const STUCK_MS: u64 = 15_000;

/// Without a commit for this long nobody knows whether one would succeed, milliseconds.
const QUIET_MS: u64 = 10_000;

/// What the writers say about their commits.
#[derive(Debug, Default)]
pub(super) struct Commits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Waiting,
    /// What was in the way last; nothing after a commit.
    trouble: Option<String>,
    /// The latest look.
    in_flight: u64,
    waited_ms: u64,
}

/// How long messages have been waiting while nothing commits; asked once a second.
#[derive(Debug, Default)]
struct Waiting {
    /// Since when there have been messages in flight.
    since_ms: Option<u64>,
}

impl Waiting {
    /// Milliseconds that messages have waited, 0 when none does and none was committed lately; `None` while commits say it
    /// themselves.
    fn look(&mut self, in_flight: u64, committed_at_ms: u64, now_ms: u64) -> Option<u64> {
        let (waited, since) = if in_flight == 0 {
            self.since_ms = None;
            (0, committed_at_ms)
        } else {
            let since = (*self.since_ms.get_or_insert(now_ms)).max(committed_at_ms);
            (now_ms.saturating_sub(since), since)
        };
        (now_ms.saturating_sub(since) > COMMITS_OFTEN_MS).then_some(waited)
    }
}

impl Commits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was in the way of a commit. `why` holds no secrets and no payloads.
    pub fn trouble(&self, why: &str) {
        self.state().trouble = Some(why.to_owned());
    }

    /// Counts a commit.
    pub fn note(&self, books: &Books, meters: &Meters, progress: &Progress<'_>) {
        count(books, meters, progress);
        self.state().trouble = None;
    }

    /// Looks how long messages wait, and shows it; once a second.
    pub fn look(&self, books: &Books) {
        let in_flight = books.message_books().iter().map(|book| book.in_flight).sum();
        let mut state = self.state();
        let waited = state.waiting.look(in_flight, books.levels.committed_at_ms.get(), now_ms());
        (state.in_flight, state.waited_ms) = (in_flight, waited.unwrap_or(0));
        if let Some(waited) = waited {
            books.levels.commit_lag_ms.set(waited);
        }
    }

    /// Why the store does not do its work, when messages wait for longer than is right.
    pub fn stuck(&self) -> Option<String> {
        let state = self.state();
        (state.waited_ms > STUCK_MS).then(|| {
            let trouble = state.trouble.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("no commit for {} s, messages waiting: {}{trouble}", state.waited_ms / 1000, state.in_flight)
        })
    }

    /// Whether only a probe can tell if anything can be committed.
    pub fn quiet(&self, books: &Books) -> bool {
        now_ms().saturating_sub(books.levels.committed_at_ms.get()) > QUIET_MS
    }
}

fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().micros() / 1000).unwrap_or_default()
}

fn count(books: &Books, meters: &Meters, progress: &Progress<'_>) {
    let committed = progress.committed;
    let mut readings = 0;
    for (index, tally) in committed.tallies.iter().enumerate() {
        let Some(source) = books.source(index) else { continue };
        readings += tally.decoded;
        source.decoded.add(tally.decoded);
        source.stored.add(tally.stored);
        source.duplicate.add(tally.duplicate);
        source.conflict.add(tally.conflict);
        source.unknown_fields.add(tally.unknown_fields);
    }
    for (index, reason) in &committed.refused {
        if let Some(source) = books.source(*index)
            // Counted as conflicts and duplicates.
            && !matches!(reason, Reason::Conflict | Reason::Respelled)
        {
            source.quarantined(*reason).add(1);
        }
    }
    for finding in &committed.findings {
        meters.finding_made(&finding.rule, finding.intercept);
    }
    for (&(rule, missing), &count) in &committed.undecided {
        meters.rule_undetermined(rule, missing, count);
    }
    meters.batch_readings.record(readings as f64);
    meters.batch_commit_seconds.record(progress.took.as_secs_f64());
    if let Some(oldest) = progress.oldest {
        let age = Timestamp::now().micros_since(oldest).max(0);
        meters.ack_seconds.record(age as f64 / 1e6);
        books.levels.commit_lag_ms.set(age as u64 / 1000);
    }
    books.levels.committed_at_ms.set(now_ms());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_nobody_commits_grow_old() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.look(0, 49_000, 50_000), None, "a commit says it itself");
        assert_eq!(waiting.look(0, 0, 50_000), Some(0), "nothing waits, whatever the last commit said");
        assert_eq!(waiting.look(7, 10_000, 60_000), None, "they came a moment ago, whenever the last commit was");
        assert_eq!(waiting.look(7, 10_000, 75_000), Some(15_000));
        assert_eq!(waiting.look(7, 74_000, 75_000), None, "a commit says it itself");
        assert_eq!(waiting.look(7, 74_000, 79_000), Some(5_000));
        assert_eq!(waiting.look(0, 74_000, 80_000), Some(0));
        assert_eq!(waiting.look(1, 74_000, 90_000), None);
    }

    #[test]
    fn waiting_messages_without_a_commit_are_told_with_the_cause() {
        let books = Books::new(["rs"]);
        books.attach_messages(|| vec![crate::telemetry::books::MessageBook { in_flight: 3, ..Default::default() }]);
        let commits = Commits::default();
        commits.look(&books);
        assert_eq!(commits.stuck(), None, "they came a moment ago");
        assert!(commits.quiet(&books), "nothing was ever committed");
        commits.state().waiting.since_ms = Some(now_ms() - 20_000);
        commits.trouble("no room on the disk (53100)");
        commits.look(&books);
        let stuck = commits.stuck().expect("they wait too long");
        assert!(stuck.starts_with("no commit for 20 s, messages waiting: 3: no room"), "{stuck}");
        assert!(books.levels.commit_lag_ms.get() >= 20_000);
        books.levels.committed_at_ms.set(now_ms());
        commits.look(&books);
        assert_eq!((commits.stuck(), commits.quiet(&books)), (None, false));
    }
}
