//! The memory of a process, as Linux tells it. Elsewhere nothing is known, and nothing is limited.

/// Memory in use now, in MB of 1,024 KB.
pub(super) fn used_mb(pid: u32) -> Option<u64> {
    field_mb(&status(pid)?, "VmRSS:")
}

/// The most memory that was in use at once.
pub(super) fn peak_mb(pid: u32) -> Option<u64> {
    field_mb(&status(pid)?, "VmHWM:")
}

fn status(pid: u32) -> Option<String> {
    // Served from memory by the kernel: this does not wait for a disk.
    std::fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

fn field_mb(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib.div_ceil(1_024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernel_s_text() {
        let status = "Name:\tbootstrap\nVmHWM:\t    4100 kB\nVmRSS:\t    4096 kB\nThreads:\t3\n";
        assert_eq!(field_mb(status, "VmHWM:"), Some(5));
        assert_eq!(field_mb(status, "VmRSS:"), Some(4));
        assert_eq!(field_mb(status, "VmSwap:"), None);
        assert_eq!(field_mb("VmRSS:\tlots", "VmRSS:"), None);
    }
}
