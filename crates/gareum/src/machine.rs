//! What the machine says about this process.

/// The most memory this process has had in use (resident) so far, in bytes; `None` where the system does not say.
pub fn peak_memory_bytes() -> Option<u64> {
    // `VmHWM` is the peak of the resident set, in kibibytes (proc_pid_status(5)).
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
