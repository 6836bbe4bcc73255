//! What the machine and the system give this process: cores, memory, open files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fractally_transport::{GuardConfig, raise_descriptor_limit};

use super::{default_of, report::Finding};
use crate::table::bytes;

/// Connections of a broker's socket below which a grid is small indeed.
const CONNECTIONS_FEW: usize = 16;
/// Enough for any LAN.
const CONNECTIONS_MANY: usize = 1024;

/// Processors that this process may use, and how much of their time.
pub(super) fn cores() -> Finding {
    let usable = rustix::thread::sched_getaffinity(None).map_or(0, |set| set.count());
    let quota = Cgroup::of(Path::new("/")).cpus();
    let plural = if usable == 1 { "" } else { "s" };
    match quota {
        Some(quota) if quota < f64::from(usable) => Finding::note(
            "cores",
            format!("{usable} processor{plural}, but time of {quota:.2} only, by a control group"),
            format!("let workers have that many threads (--threads {}), or raise the quota", quota.max(1.0).floor()),
        ),
        _ => Finding::ok("cores", format!("{usable} processor{plural}, without a quota that is less")),
    }
}

/// Memory, against what a broker may take of it.
pub(super) fn memory() -> Finding {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (Some(total), Some(available)) = (field_of(&told, "MemTotal:"), field_of(&told, "MemAvailable:")) else {
        return Finding::note("memory", "the system does not tell how much there is", "make /proc readable");
    };
    let limit = Cgroup::of(Path::new("/")).memory().filter(|limit| *limit < total);
    let usable = limit.unwrap_or(total);
    let broker = default_of("broker", "memory").and_then(|mib| mib.parse::<u64>().ok()).unwrap_or(0) << 20;
    let by = if limit.is_some() { " by a control group" } else { "" };
    let text = format!("{}{by}, {} available", bytes(usable), bytes(available.min(usable)));
    if usable < 2 * broker {
        let advice = format!("a broker holds up to {} of bands: give it --memory {}", bytes(broker), (usable >> 21).max(64));
        return Finding::note("memory", text, advice);
    }
    Finding::ok("memory", format!("{text}; a broker holds up to {} of bands (--memory)", bytes(broker)))
}

/// The bytes of a line such as `MemTotal:  3 kB`.
fn field_of(told: &str, name: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

/// Open files, as the peers that a broker admits with them.
pub(super) fn descriptors() -> Finding {
    let limit = match raise_descriptor_limit() {
        Ok(limit) => limit,
        Err(error) => return Finding::note("descriptors", format!("the limit cannot be raised: {error}"), "see `ulimit -Hn`"),
    };
    let connections = GuardConfig::for_clients().connections_max;
    let limit = if limit == u64::MAX { "no limit".to_owned() } else { format!("{limit} open at once") };
    let text = format!("{limit}, enough for a broker with {connections} clients and as many workers");
    match connections {
        0..CONNECTIONS_FEW => {
            Finding::bad("descriptors", text, "raise the limit: `ulimit -Hn 20000`, or LimitNOFILE= of a service")
        }
        CONNECTIONS_FEW..CONNECTIONS_MANY => {
            Finding::note("descriptors", text, "for more, raise the limit: `ulimit -Hn 20000`, or LimitNOFILE= of a service")
        }
        _ => Finding::ok("descriptors", text),
    }
}

/// The control groups that this process is in, from its own up to the root.
struct Cgroup {
    /// Folders of the version 2 hierarchy.
    folders: Vec<PathBuf>,
    /// Folders of the version 1 hierarchies of processor time and of memory.
    cpu: Vec<PathBuf>,
    memory: Vec<PathBuf>,
}

impl Cgroup {
    /// As told below `root`, which is `/` but in tests.
    fn of(root: &Path) -> Self {
        let told = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mounts = root.join("sys/fs/cgroup");
        // A number, names of controllers, a path.
        let lines = || told.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let of = |controller: &str| {
            let path = lines().find(|(names, _)| names.split(',').any(|name| name == controller)).map(|(_, path)| path);
            // In a container the path may be the host's, and the container's own group the root of what is mounted.
            path.map_or_else(Vec::new, |path| upwards(&mounts.join(controller), path))
        };
        let folders = lines().find(|(names, _)| names.is_empty()).map_or_else(Vec::new, |(_, path)| upwards(&mounts, path));
        Self { folders, cpu: of("cpu"), memory: of("memory") }
    }

    /// Processors whose time it may have, where there is a limit.
    fn cpus(&self) -> Option<f64> {
        let ratio = |quota: &str, period: &str| Some(quota.trim().parse::<f64>().ok()? / period.trim().parse::<f64>().ok()?);
        let two = self.folders.iter().filter_map(|folder| {
            let told = fs::read_to_string(folder.join("cpu.max")).ok()?;
            let (quota, period) = told.trim().split_once(' ')?;
            ratio(quota, period)
        });
        let one = self.cpu.iter().filter_map(|folder| {
            let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
            ratio(&read("cpu.cfs_quota_us")?, &read("cpu.cfs_period_us")?)
        });
        two.chain(one).filter(|cpus| *cpus > 0.0 && cpus.is_finite()).min_by(f64::total_cmp)
    }

    /// Bytes that it may have, where there is a limit.
    fn memory(&self) -> Option<u64> {
        let files = self.folders.iter().map(|folder| folder.join("memory.max"));
        let files = files.chain(self.memory.iter().map(|folder| folder.join("memory.limit_in_bytes")));
        files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
    }
}

/// A folder below `mount` and all above it, `mount` included.
fn upwards(mount: &Path, path: &str) -> Vec<PathBuf> {
    let folder = mount.join(path.trim_start_matches('/'));
    folder.ancestors().take_while(|folder| folder.starts_with(mount)).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = system(&[
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/outer/memory.max", "max\n"),
        ]);
        let group = Cgroup::of(root.path());
        assert_eq!((group.cpus(), group.memory()), (Some(1.5), Some(1 << 30)));
    }

    #[test]
    fn the_older_hierarchies_count_too() {
        let root = system(&[
            ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/a\n"),
            ("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ]);
        let group = Cgroup::of(root.path());
        assert_eq!((group.cpus(), group.memory()), (Some(0.5), Some(256 << 20)));
    }

    #[test]
    fn without_groups_there_are_no_limits() {
        let root = system(&[("proc/self/cgroup", "garbage\n0::\n")]);
        let group = Cgroup::of(root.path());
        assert_eq!((group.cpus(), group.memory()), (None, None));
        assert_eq!(field_of("MemTotal:  8 kB\n", "MemTotal:"), Some(8192));
    }
}
