//! Memory asked for ahead of its use.

/// Asks for the memory at the beginning of `what`, and waits for nothing. A hint: where it is not
/// known how to ask, nothing is done.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::allow_attributes,
    reason = "the way to ask, where there is one"
)]
pub(crate) fn prefetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // Safety: every x86-64 has the instruction, and at whatever address it changes nothing but
        // what the caches hold.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(what).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}
