//! The processor's own counter: what the kernel's clock goes by, read without the kernel.
//!
//! Source: Intel SDM, volume 3, "Invariant TSC"; AMD APM, volume 2, "Time-Stamp Counter"; Arm ARM,
//! "Generic Timer".
#![allow(unsafe_code, reason = "an instruction that has no safe form")]

/// The counter now. It may be read before loads that stand before it in the program: a processor
/// runs ahead by some hundred instructions.
#[inline(always)]
pub(super) fn read() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // Safety: every x86-64 processor has the instruction, and Linux allows it to user space unless
    // a process forbids it to itself (`PR_SET_TSC`). It reads a register and touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let ticks: u64;
        // Safety: Linux lets user space read the virtual counter. It touches no memory.
        unsafe {
            core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack));
        }
        ticks
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    0
}

/// The counter, read after every load that stands before it in the program.
#[inline(always)]
pub(super) fn read_in_order() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // Safety: every x86-64 processor has SSE2, to which the fence belongs. It touches no memory.
    unsafe {
        core::arch::x86_64::_mm_lfence();
    }
    #[cfg(target_arch = "aarch64")]
    // Safety: a barrier, which any code may use.
    unsafe {
        core::arch::asm!("isb", options(nostack));
    }
    read()
}

/// True if the kernel's own clock goes by this counter: then its rate is constant, it does not stop
/// while a processor sleeps, and all processors agree on it.
pub(super) fn is_trusted() -> bool {
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = std::fs::read_to_string(SOURCE).unwrap_or_default();
    match source.trim() {
        "tsc" => cfg!(target_arch = "x86_64"),
        // A guest's clock is the counter, scaled by what the host says; the flags are the host's.
        "kvm-clock" | "hyperv_clocksource_tsc_page" => {
            cfg!(target_arch = "x86_64") && has_flags(&["constant_tsc", "nonstop_tsc"])
        }
        "arch_sys_counter" => cfg!(target_arch = "aarch64"),
        _ => false,
    }
}

fn has_flags(wanted: &[&str]) -> bool {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = processors.lines().find(|line| line.starts_with("flags"));
    let has = |flag: &&str| flags.is_some_and(|all| all.split_whitespace().any(|one| one == *flag));
    wanted.iter().all(has)
}
