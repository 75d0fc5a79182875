//! The time for measuring calls: cheap, and good to a few milliseconds.

/// Milliseconds since some moment in the past.
#[cfg(target_os = "linux")]
pub(crate) fn coarse() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    // Neither is negative on this clock.
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// Milliseconds since some moment in the past.
#[cfg(not(target_os = "linux"))]
pub(crate) fn coarse() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_millis() as u64
}
