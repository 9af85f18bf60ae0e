//! Memory file systems: which there are, and whether one has room.

use std::fs;
use std::path::{Path, PathBuf};

use super::DirectoryError;

/// What the kernel calls its memory file system.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Where a memory file system is usually found, best first: the one every process may use, then
/// this user's own.
pub(crate) fn memory_roots() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    [PathBuf::from("/dev/shm")].into_iter().chain(own).collect()
}

/// True if the path lies on a memory file system.
pub(crate) fn is_memory(path: &Path) -> Result<bool, DirectoryError> {
    let found = rustix::fs::statfs(path);
    let found = found.map_err(|error| DirectoryError::io("look at", path)(error.into()))?;
    Ok(u64::try_from(found.f_type).is_ok_and(|kind| kind == TMPFS_MAGIC))
}

/// Says no if `bytes` are more than half of what is free on the file system of `root`, or more than
/// half of the memory that is free, of the machine or of the control group that this process is in:
/// others live there too, and a group that outgrows its limit is killed.
pub(crate) fn check_room(root: &Path, bytes: u64) -> Result<(), DirectoryError> {
    let at = |error: rustix::io::Errno| DirectoryError::io("look at", root)(error.into());
    let found = rustix::fs::statvfs(root).map_err(at)?;
    let free = [
        (Some(found.f_bavail.saturating_mul(found.f_frsize)), "there"),
        (free_memory(), "of the machine's memory"),
        (free_in_group(), "of the memory this process may use"),
    ];
    for (free, of) in free {
        // What the system does not tell cannot be kept to.
        if let Some(free) = free.filter(|free| bytes > free / 2) {
            let why = format!("its {bytes} bytes are more than half of the {free} free {of}");
            let path = root.into();
            return Err(DirectoryError::NoPlace { path, why });
        }
    }
    Ok(())
}

/// The machine's free memory in bytes.
fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    figure(&text, "MemAvailable:")?.checked_mul(1024)
}

/// What the control groups of this process leave it, in bytes.
fn free_in_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_free(&groups, Path::new("/sys/fs/cgroup"))
}

/// The least that any of these groups, or one around it, leaves free. Each line of `groups` is
/// `number:controllers:path`; the unified hierarchy names no controllers.
fn least_free(groups: &str, root: &Path) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (base, names) = if controllers.is_empty() {
            (root.to_owned(), ["memory.max", "memory.current"])
        } else if controllers.split(',').any(|name| name == "memory") {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
            (root.join("memory"), names)
        } else {
            continue;
        };
        // In a container the path may be the host's, and only the base be there.
        let group = base.join(path.trim_start_matches('/'));
        let around = group.ancestors().take_while(|at| at.starts_with(&base));
        let free = around.filter_map(|at| free_of(at, names)).min();
        least = least.into_iter().chain(free).min();
    }
    least
}

/// What one group leaves free; none if it has no limit. Pages of files that were not used lately
/// are given up first, so they count as free.
fn free_of(group: &Path, [limit, usage]: [&str; 2]) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let stat = read("memory.stat").unwrap_or_default();
    let idle = figure(&stat, "total_inactive_file ").or(figure(&stat, "inactive_file "));
    let used = number(usage)?.saturating_sub(idle.unwrap_or(0));
    Some(number(limit)?.saturating_sub(used))
}

/// The figure in the line that begins with `name`.
fn figure(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_group_counts() {
        let dir = crate::directory::scratch();
        let root = dir.path();
        let group = |path: &str, files: &[(&str, &str)]| {
            fs::create_dir_all(root.join(path)).unwrap();
            for (name, text) in files {
                fs::write(root.join(path).join(name), text).unwrap();
            }
        };
        assert_eq!(least_free("0::/a/b\n", root), None, "no such group");
        group(
            "a/b",
            &[("memory.max", "max\n"), ("memory.current", "10\n")],
        );
        assert_eq!(least_free("0::/a/b\n", root), None, "no limit");
        group(
            "a",
            &[("memory.max", "1000\n"), ("memory.current", "700\n")],
        );
        assert_eq!(
            least_free("0::/a/b\n", root),
            Some(300),
            "the one around it"
        );
        group("a", &[("memory.stat", "anon 5\ninactive_file 200\n")]);
        assert_eq!(least_free("0::/a/b\n", root), Some(500));
        group("memory/c", &[("memory.limit_in_bytes", "900\n")]);
        group("memory/c", &[("memory.usage_in_bytes", "800\n")]);
        let both = "9:cpu:/c\n4:cpu,memory:/c\n0::/a/b\nnonsense\n";
        assert_eq!(least_free(both, root), Some(100));
        assert_eq!(least_free("4:memory:/elsewhere\n", root), None);
    }

    #[test]
    fn more_than_half_is_too_much() {
        let dir = crate::directory::scratch();
        assert!(check_room(dir.path(), 1 << 20).is_ok());
        let error = check_room(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("more than half"), "{error}");
        assert!(free_memory().is_some_and(|free| free > 1 << 20));
    }
}
