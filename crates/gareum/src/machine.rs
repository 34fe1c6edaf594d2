//! What the machine is and what it says about this process. On Linux all of it stands in files; elsewhere most answers are
//! `None`.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// How files are read: a function, so that tests can make up a machine.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The most memory this process has had in use (resident) so far, in bytes; `None` where the system does not say.
pub fn peak_memory_bytes() -> Option<u64> {
    kibibytes(&read(Path::new("/proc/self/status"))?, "VmHWM")
}

/// The memory this process has in use (resident) now, in bytes; `None` where the system does not say.
pub fn resident_memory_bytes() -> Option<u64> {
    kibibytes(&read(Path::new("/proc/self/status"))?, "VmRSS")
}

/// Bytes that a run may take: the smaller one of physical memory and the limit of the control group.
pub fn memory_limit_bytes() -> Option<u64> {
    Memory::of_machine().limit_bytes
}

/// Bytes that are free for this process now.
pub fn available_memory_bytes() -> Option<u64> {
    Memory::of_machine().available_bytes
}

/// Bytes that this process may grow to without harm: what it has and what is free now, less one part in sixteen, since other
/// programs grow too.
pub fn memory_to_use_bytes() -> Option<u64> {
    let all = available_memory_bytes()? + resident_memory_bytes()?;
    Some(all - all / 16)
}

/// Bytes for people, in the unit that keeps the number small.
pub fn readable_bytes(bytes: u64) -> String {
    let mib = bytes as f64 / (1u64 << 20) as f64;
    if mib < 1000.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.2} GiB", mib / 1024.0)
    }
}

/// Main memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What is built in.
    pub physical_bytes: Option<u64>,
    /// What the control group (of a container, for example) allows; `None` if it sets no limit.
    pub control_group_bytes: Option<u64>,
    /// The smaller one of the two.
    pub limit_bytes: Option<u64>,
    /// What is free now, within both.
    pub available_bytes: Option<u64>,
}

impl Memory {
    /// What this machine says.
    pub fn of_machine() -> Self {
        Self::from_files(&read)
    }

    fn from_files(read: Read<'_>) -> Self {
        let information = read(Path::new("/proc/meminfo")).unwrap_or_default();
        let physical_bytes = kibibytes(&information, "MemTotal");
        let groups = control_groups(&read(Path::new("/proc/self/cgroup")).unwrap_or_default());
        let limits = groups
            .iter()
            .filter_map(|group| Some((group, group.limit_bytes(read)?)));
        let limits: Vec<(&ControlGroup, u64)> = limits.collect();
        let control_group_bytes = limits.iter().map(|(_, limit)| *limit).min();
        // Every group on the way up has its own limit and its own use.
        let left = limits
            .iter()
            .filter_map(|(group, limit)| Some(limit.saturating_sub(group.used_bytes(read)?)));
        let available_bytes = left.chain(kibibytes(&information, "MemAvailable")).min();
        Self {
            physical_bytes,
            control_group_bytes,
            limit_bytes: physical_bytes.into_iter().chain(control_group_bytes).min(),
            available_bytes,
        }
    }
}

/// The value of a line such as `MemTotal:  24684084 kB` in bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// A control group that may limit memory, as a directory of the second or first version of the interface (`man 7 cgroups`).
#[derive(Debug, Clone, PartialEq, Eq)]
struct ControlGroup {
    directory: PathBuf,
    is_v2: bool,
}

/// The groups that `/proc/self/cgroup` names, each with all above it. In a container the path may be the one outside, of
/// which only the last one above, the mount itself, is there: who reads skips what does not exist.
fn control_groups(text: &str) -> Vec<ControlGroup> {
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (mount, is_v2) = match controllers {
            "" => ("/sys/fs/cgroup", true),
            list if list.split(',').any(|controller| controller == "memory") => ("/sys/fs/cgroup/memory", false),
            _ => continue,
        };
        for above in Path::new(path).ancestors() {
            let directory = Path::new(mount).join(above.strip_prefix("/").unwrap_or(above));
            groups.push(ControlGroup { directory, is_v2 });
        }
    }
    groups
}

impl ControlGroup {
    fn number(&self, read: Read<'_>, file: &str) -> Option<u64> {
        read(&self.directory.join(file))?.trim().parse().ok()
    }

    /// `None` if there is none, which the second version calls `max` and the first one writes as a huge number.
    fn limit_bytes(&self, read: Read<'_>) -> Option<u64> {
        let file = if self.is_v2 {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        self.number(read, file).filter(|&limit| limit < 1 << 60)
    }

    /// What is in use and cannot be given up: files that were read are kept in memory only while nobody needs the room.
    fn used_bytes(&self, read: Read<'_>) -> Option<u64> {
        let (file, key) = match self.is_v2 {
            true => ("memory.current", "inactive_file"),
            false => ("memory.usage_in_bytes", "total_inactive_file"),
        };
        let cached = read(&self.directory.join("memory.stat")).and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
            line.trim().parse::<u64>().ok()
        });
        Some(self.number(read, file)?.saturating_sub(cached.unwrap_or(0)))
    }
}

/// The processor's name; `None` where the system does not say.
pub fn processor_name() -> Option<String> {
    processor_name_in(&read(Path::new("/proc/cpuinfo"))?)
}

fn processor_name_in(text: &str) -> Option<String> {
    let value = |key: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.find_map(|(found, value)| (found.trim() == key).then(|| value.trim().to_owned()))
    };
    // Of an ARM processor there is no name, at best that of the board.
    value("model name")
        .or_else(|| value("Model"))
        .filter(|name| !name.is_empty())
}

/// NVIDIA GPUs and their driver. Found in files: nothing of NVIDIA is needed to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Gpus {
    /// The names of the devices.
    pub devices: Vec<String>,
    /// The version of the kernel's driver.
    pub driver: Option<String>,
}

impl Gpus {
    /// What this machine has.
    pub fn of_machine() -> Self {
        let mut devices: Vec<PathBuf> = std::fs::read_dir("/proc/driver/nvidia/gpus")
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("information")))
            .collect();
        devices.sort();
        let mut devices: Vec<String> = devices.iter().filter_map(|path| gpu_name(&read(path)?)).collect();
        // In a container the devices may be there and their descriptions not.
        if devices.is_empty() && Path::new("/dev/nvidia0").exists() {
            devices.push("NVIDIA device".to_owned());
        }
        let driver = read(Path::new("/proc/driver/nvidia/version")).and_then(|text| driver_version(&text));
        Self { devices, driver }
    }
}

/// The model in `/proc/driver/nvidia/gpus/*/information`.
fn gpu_name(information: &str) -> Option<String> {
    let name = information.lines().find_map(|line| line.strip_prefix("Model:"))?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The first word of `/proc/driver/nvidia/version` that is a version, such as `550.54.15`.
fn driver_version(text: &str) -> Option<String> {
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.lines()
        .next()?
        .split_whitespace()
        .find(is_version)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MEMINFO: &str = "MemTotal:       16777216 kB\nMemFree:         1000 kB\nMemAvailable:    8388608 kB\n";

    fn memory(files: &[(&str, &str)]) -> Memory {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        Memory::from_files(&read)
    }

    #[test]
    fn without_control_groups_memory_is_what_is_built_in() {
        let found = memory(&[("/proc/meminfo", MEMINFO)]);
        let expected = Memory {
            physical_bytes: Some(16 * GIB),
            control_group_bytes: None,
            limit_bytes: Some(16 * GIB),
            available_bytes: Some(8 * GIB),
        };
        assert_eq!(found, expected);
        assert_eq!(memory(&[]), Memory::default());
    }

    #[test]
    fn the_second_version_counts_every_group_above() {
        let found = memory(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/user.slice/job\n"),
            ("/sys/fs/cgroup/user.slice/job/memory.max", "max\n"),
            ("/sys/fs/cgroup/user.slice/memory.max", "4294967296\n"),
            ("/sys/fs/cgroup/user.slice/memory.current", "3221225472\n"),
            (
                "/sys/fs/cgroup/user.slice/memory.stat",
                "anon 5\ninactive_file 1073741824\nactive_file 7\n",
            ),
        ]);
        assert_eq!(found.control_group_bytes, Some(4 * GIB));
        assert_eq!(found.limit_bytes, Some(4 * GIB));
        assert_eq!(found.available_bytes, Some(2 * GIB));
    }

    #[test]
    fn a_container_sees_only_its_own_group() {
        // The path is that of the outside; what is mounted is the container's own group.
        let found = memory(&[
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/docker/0123abcd\n"),
            ("/sys/fs/cgroup/memory.max", "1073741824\n"),
        ]);
        assert_eq!(
            (found.limit_bytes, found.available_bytes),
            (Some(GIB), Some(8 * GIB)),
            "without memory.current only the machine says what is free"
        );
    }

    #[test]
    fn the_first_version_and_its_huge_number() {
        let groups = "9:name=systemd:/\n4:memory,hugetlb:/job/7\n1:cpu:/\n0::/\n";
        let files = |limit| {
            vec![
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", groups),
                ("/sys/fs/cgroup/memory/job/7/memory.limit_in_bytes", limit),
                ("/sys/fs/cgroup/memory/job/7/memory.usage_in_bytes", "1073741824\n"),
                ("/sys/fs/cgroup/memory/job/7/memory.stat", "total_inactive_file 0\n"),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ]
        };
        let found = memory(&files("2147483648\n"));
        assert_eq!((found.limit_bytes, found.available_bytes), (Some(2 * GIB), Some(GIB)));
        let found = memory(&files("9223372036854771712\n"));
        assert_eq!((found.control_group_bytes, found.limit_bytes), (None, Some(16 * GIB)));
    }

    #[test]
    fn names_of_processors() {
        let found = processor_name_in(
            "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9B14\n",
        );
        assert_eq!(found.as_deref(), Some("AMD EPYC 9B14"));
        let found = processor_name_in("processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 5 Model B\n");
        assert_eq!(found.as_deref(), Some("Raspberry Pi 5 Model B"));
        assert_eq!(processor_name_in("processor\t: 0\n"), None);
    }

    #[test]
    fn nvidia_files() {
        let information = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 60\nGPU UUID: \t GPU-1\n";
        assert_eq!(gpu_name(information).as_deref(), Some("NVIDIA H100 80GB HBM3"));
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: gcc 12.2.0\n";
        assert_eq!(driver_version(version).as_deref(), Some("550.54.15"));
        let version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build\n";
        assert_eq!(driver_version(version).as_deref(), Some("570.86.10"));
        assert_eq!((gpu_name(""), driver_version("")), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_says_something() {
        let memory = Memory::of_machine();
        assert!(memory.limit_bytes.is_some_and(|limit| limit > 0), "{memory:?}");
        assert!(resident_memory_bytes() <= peak_memory_bytes());
    }
}
