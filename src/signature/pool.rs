//! Threads that verify and do nothing else.
//!
//! Not the runtime's workers, on which ingest runs, and not its blocking pool, which has hundreds of threads and no order: a
//! few threads of a lower priority, each given its part of a round and no more. There is one round at a time, so nothing
//! queues in here; what waits, waits in the database.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
};

use tokio::sync::oneshot;

use super::{
    check::{Outcome, Packet, Rules, With},
    key::PublicKey,
};

/// A packet to verify.
pub struct Job {
    pub packet: Packet,
    /// The key in force, if there is one.
    pub key: Option<PublicKey>,
    /// Verify with the key that the packet itself files.
    pub filed: bool,
}

struct Part {
    jobs: Vec<Job>,
    answer: oneshot::Sender<Vec<(Job, Outcome)>>,
}

pub struct Pool {
    threads: Vec<mpsc::SyncSender<Part>>,
}

/// How much less the scheduler gives these threads while others want to run.
const NICE: i32 = 10;

impl Pool {
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: u16, rules: &Arc<Rules>) -> std::io::Result<Self> {
        let start = |number: u16| {
            // One round at a time: a part is taken before the next one is given.
            let (sender, parts) = mpsc::sync_channel::<Part>(1);
            let rules = Arc::clone(rules);
            let thread = std::thread::Builder::new().name(format!("signature-{number}"));
            thread.spawn(move || {
                step_back();
                for Part { jobs, answer } in parts {
                    let done = jobs.into_iter().map(|job| check(&rules, job)).collect();
                    // Whoever asked may be gone: its transaction is, too.
                    let _gone = answer.send(done);
                }
            })?;
            Ok(sender)
        };
        Ok(Self { threads: (0..threads.max(1)).map(start).collect::<std::io::Result<_>>()? })
    }

    /// Verifies the jobs, divided among the threads; the results are in their order. Shorter than the jobs only when a
    /// thread is gone, which nothing but the end of the process brings about.
    pub async fn verify(&self, mut jobs: Vec<Job>) -> Vec<(Job, Outcome)> {
        let share = jobs.len().div_ceil(self.threads.len().max(1)).max(1);
        let mut answers = Vec::with_capacity(self.threads.len());
        for thread in &self.threads {
            if jobs.is_empty() {
                break;
            }
            let rest = jobs.split_off(share.min(jobs.len()));
            let (answer, done) = oneshot::channel();
            if thread.try_send(Part { jobs, answer }).is_err() {
                return Vec::new();
            }
            answers.push(done);
            jobs = rest;
        }
        let mut verified = Vec::new();
        for answer in answers {
            verified.extend(answer.await.unwrap_or_default());
        }
        verified
    }
}

/// A panic of the arithmetic must not take the thread with it; a packet that causes one is malformed as far as we know.
fn check(rules: &Rules, job: Job) -> (Job, Outcome) {
    let with = if job.filed { With::Filed } else { With::Known(job.key.as_ref()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| rules.check(&job.packet, with)));
    (job, outcome.unwrap_or(Outcome::Malformed))
}

/// Lowers this thread's priority, where the system has one per thread.
fn step_back() {
    #[cfg(target_os = "linux")]
    // SAFETY: plain numbers; 0 is the calling thread.
    let _refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
