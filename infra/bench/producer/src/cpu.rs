//! CPU time, from `/proc`: what shared machines disturb least.

use std::time::Duration;

use anyhow::Context as _;

/// Clock ticks a second of `/proc/…/stat`; 100 on every Linux that Rust's standard library runs on.
const TICKS_PER_S: u64 = 100;

/// CPU time so far of this process, user and system.
///
/// # Errors
/// When `/proc` does not tell.
pub fn of_process() -> anyhow::Result<Duration> {
    sum_of_fields(&std::fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?, [13, 14])
}

/// CPU time so far of another process, user and system.
///
/// # Errors
/// When `/proc` does not tell, for instance because the process has ended.
pub fn of_process_with_id(id: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{id}/stat");
    sum_of_fields(&std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?, [13, 14])
}

/// CPU time of all children that were waited for.
///
/// # Errors
/// When `/proc` does not tell.
pub fn of_children() -> anyhow::Result<Duration> {
    sum_of_fields(&std::fs::read_to_string("/proc/self/stat").context("read /proc/self/stat")?, [15, 16])
}

/// Memory of this process that is resident now, in bytes.
///
/// # Errors
/// When `/proc` does not tell.
pub fn resident_bytes() -> anyhow::Result<u64> {
    resident_bytes_of(std::process::id())
}

/// Memory of another process that is resident now, in bytes.
///
/// # Errors
/// When `/proc` does not tell, for instance because the process has ended.
pub fn resident_bytes_of(id: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{id}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in the status")?;
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>().context("no number in the status")?;
    Ok(kib * 1024)
}

fn sum_of_fields(stat: &str, fields: [usize; 2]) -> anyhow::Result<Duration> {
    // The second field is the command in parentheses, which may hold spaces: count from behind it.
    let (_, rest) = stat.rsplit_once(") ").context("/proc/self/stat has an unknown form")?;
    let values: Vec<&str> = rest.split(' ').collect();
    let mut ticks = 0;
    for field in fields {
        let value = values.get(field - 2).context("/proc/self/stat is short")?;
        ticks += value.parse::<u64>().context("/proc/self/stat has no number where one was expected")?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_command_with_spaces() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 30 20 0";
        assert_eq!(sum_of_fields(stat, [13, 14]).unwrap(), Duration::from_secs(3));
        assert_eq!(sum_of_fields(stat, [15, 16]).unwrap(), Duration::from_millis(500));
        assert!(sum_of_fields("7 (a) S 1", [13, 14]).is_err());
    }
}
