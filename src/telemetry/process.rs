//! Processor time and resident memory of this process, as the kernel tells them (`/proc/self`, Linux).

use metrics::gauge;

use super::metrics as name;

/// Processor seconds (user and system) and resident bytes; `None` where there is no `/proc`.
pub fn usage() -> Option<(f64, u64)> {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    let (ticks, page) = (u64::try_from(ticks).ok()?, u64::try_from(page).ok()?);
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?, ticks, page)
}

/// Fields of proc(5) `stat` counted behind the command, which may itself hold blanks and parentheses: 14 utime, 15 stime,
/// 24 rss, where the field behind the command is number 3.
fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<(f64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let cpu = (number(14)? + number(15)?) as f64 / ticks_per_second as f64;
    Some((cpu, number(24)? * page_bytes))
}

pub(super) fn publish() {
    if let Some((cpu_seconds, resident_bytes)) = usage() {
        gauge!(name::PROCESS_CPU_SECONDS).set(cpu_seconds);
        gauge!(name::PROCESS_RESIDENT_BYTES).set(resident_bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fields_are_counted_behind_the_command() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 19 20 25 22";
        assert_eq!(super::parse(stat, 100, 4096), Some((2.0, 25 * 4096)));
        assert_eq!(super::parse("", 100, 4096), None);
        assert!(super::usage().is_some_and(|(_, resident)| resident > 1_000_000));
    }
}
