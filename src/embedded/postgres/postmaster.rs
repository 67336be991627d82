//! Servers at home in a data folder, found by what the kernel says about them.

use std::{path::Path, time::Duration};

use crate::embedded::child::Process;

/// A fast stop writes a checkpoint: at most `max_wal_size` of changes, seconds even on a slow disk.
const FAST_STOP: Duration = Duration::from_secs(60);
const FORCED_STOP: Duration = Duration::from_secs(10);

/// Stops a postmaster: fast (connections are cut, a checkpoint is written), then at once, then by force. Blocks; tells
/// whether it ended.
pub(super) fn stop(postmaster: &Process) -> bool {
    for (signal, limit) in [(libc::SIGINT, FAST_STOP), (libc::SIGQUIT, FORCED_STOP), (libc::SIGKILL, FORCED_STOP)] {
        postmaster.signal(signal);
        if postmaster.wait(limit) {
            return true;
        }
    }
    false
}

/// Processes whose working directory is `folder`, which every process of a PostgreSQL cluster has in its data folder.
pub(super) fn working_in(folder: &Path) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| works_in(*pid, folder)).collect()
}

/// Whether this process is a PostgreSQL server at home in `folder`.
pub(super) fn works_in(pid: i32, folder: &Path) -> bool {
    let at_home = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder);
    at_home && std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "postgres")
}
