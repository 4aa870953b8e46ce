//! What `/proc` says about processes and the machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU, of all its threads, in user space and in the kernel.
    pub(crate) cpu: Duration,
    /// The same of its children that have ended.
    pub(crate) children: Duration,
    /// Memory now.
    pub(crate) rss_kb: u64,
    /// Memory at its most.
    pub(crate) peak_kb: u64,
    pub(crate) parent: u32,
}

/// What a process has used.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The name, which may hold anything, is in parentheses.
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let field = |at: usize| fields.split_whitespace().nth(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let status = read(&format!("/proc/{pid}/status"))?;
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    Ok(Usage {
        cpu: ticks(field(11) + field(12)),
        children: ticks(field(13) + field(14)),
        rss_kb: kilobytes("VmRSS"),
        peak_kb: kilobytes("VmHWM"),
        parent: u32::try_from(field(1)).unwrap_or_default(),
    })
}

/// CPU of a process and everything it has ever started: of a PostgreSQL server, given its postmaster.
pub(crate) fn family_cpu(pid: u32) -> anyhow::Result<Duration> {
    let own = usage(pid)?;
    let mut sum = own.cpu + own.children;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ended meanwhile is among its parent's children that have.
        if let Ok(usage) = usage(child)
            && usage.parent == pid
        {
            sum += usage.cpu;
        }
    }
    Ok(sum)
}

/// CPU time of the whole machine: busy, and in all.
pub(crate) fn machine_cpu() -> anyhow::Result<(Duration, Duration)> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|text| text.parse().ok()).collect();
    let all: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    Ok((ticks(all.saturating_sub(idle)), ticks(all)))
}

/// The machine in a line.
pub(crate) fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = read(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':').map(|(_, rest)| rest.trim()));
        line.unwrap_or("unknown").to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = field("/proc/meminfo", "MemTotal").split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok());
    let memory = memory.unwrap_or(0) / (1024 * 1024);
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} x {}, {memory} GiB, Linux {}", field("/proc/cpuinfo", "model name"), kernel.trim())
}

/// Bytes that a file, or all files below a directory, take on the disk.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| disk_bytes(&entry.path())).sum()
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(count * 1000 / per_second)
}

fn read(file: &str) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_memory_and_the_machine_time() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.rss_kb > 0 && usage.peak_kb >= usage.rss_kb && usage.parent > 0, "{usage:?}");
        let (busy, all) = machine_cpu().unwrap();
        assert!(busy > Duration::ZERO && all > busy);
    }
}
