//! What the allocator holds.

/// Bytes of the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// in blocks that the broker uses
    pub used: u64,
    /// taken from the system for blocks, in use or free
    pub allocated: u64,
    /// the most that was ever taken, as far as the allocator knows
    pub allocated_most: u64,
}

/// Asks glibc's allocator. It counts its free blocks while it answers, and threads that want memory from the
/// same part of the heap wait: a millisecond for a hundred thousand of them.
///
/// # Errors
/// Why it does not tell.
#[cfg(target_env = "gnu")]
pub(crate) fn look() -> Result<Memory, String> {
    use malloc_info::info::{SystemType, TotalType};
    let info = malloc_info::malloc_info().map_err(|error| error.to_string())?;
    let total = |kind: TotalType| -> u64 {
        let of_kind = info.total.iter().filter(|row| row.r#type == kind);
        of_kind.map(|row| row.size as u64).sum()
    };
    let system = |kind: SystemType| -> u64 {
        let of_kind = info.system.iter().filter(|row| row.r#type == kind);
        of_kind.map(|row| row.size as u64).sum()
    };
    // Large blocks are mapped one by one and stand beside the heaps.
    let mapped = total(TotalType::Mmap);
    let free = total(TotalType::Fast) + total(TotalType::Rest);
    let allocated = system(SystemType::Current) + mapped;
    Ok(Memory {
        used: allocated.saturating_sub(free),
        allocated,
        allocated_most: allocated.max(system(SystemType::Max) + mapped),
    })
}

/// What Linux says, where the allocator is another: pages in memory and all that is mapped for data.
///
/// # Errors
/// Where there is no Linux.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn look() -> Result<Memory, String> {
    let status = |key| crate::process::status(key).ok_or("/proc/self/status has no such row");
    let (used, allocated) = (status("VmRSS")?, status("VmData")?);
    Ok(Memory {
        used: used.min(allocated),
        allocated,
        allocated_most: allocated.max(status("VmHWM")?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_taken_is_seen_and_so_is_what_is_given_back() {
        let before = look().unwrap();
        let large: Vec<u8> = vec![7; 64 << 20];
        let small: Vec<Vec<u8>> = (0..10_000).map(|_| vec![7; 1000]).collect();
        let during = look().unwrap();
        // Other tests run beside this one; none of them holds as much.
        assert!(
            during.used > before.used + (70 << 20),
            "{before:?} {during:?}"
        );
        assert!(during.allocated >= during.used, "{during:?}");
        assert_eq!((large[1], small[9_999][999]), (7, 7));
        drop((large, small));
        let after = look().unwrap();
        assert!(
            after.used < during.used - (60 << 20),
            "{during:?} {after:?}"
        );
    }
}
