//! What the program runs on, and the versions of all who take part.

pub fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let lock = include_str!("../Cargo.lock");
    let names =
        "tollgate governor ratelimit throttlecrab limitador dashmap sled redb rusqlite redis tokio";
    let version = |name: &str| {
        let after = lock
            .split(&format!("name = \"{name}\"\nversion = \""))
            .nth(1)?;
        Some(format!("{name} {}", after.split('"').next()?))
    };
    let versions: Vec<_> = names.split(' ').filter_map(version).collect();
    format!(
        "{model}, {cores} cores, Linux {}, load {load} at the start; {}",
        kernel.trim(),
        versions.join(", ")
    )
}
