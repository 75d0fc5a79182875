//! Segments that were begun and given up.
//!
//! Only the head of the segment that was begun instead says that they are void. So that one must not be cleaned while
//! a file of them may be found by the next start.

use crate::disk::Disk;
use crate::segment::log_name;
use std::io;

/// Those of which something may still be on the disk.
#[derive(Default)]
pub(crate) struct Void {
    numbers: Vec<u32>,
    /// it was said that they cannot be removed
    told: bool,
}

impl Void {
    /// One more.
    pub fn add(&mut self, number: u32) {
        self.numbers.push(number);
    }

    /// Removes their files; `true` when none of them can come back.
    pub fn clear(&mut self, disk: &dyn Disk) -> bool {
        if self.numbers.is_empty() {
            return true;
        }
        match self.remove(disk).and_then(|()| disk.sync_dir()) {
            Ok(()) => {
                *self = Void::default();
                true
            }
            Err(e) => {
                if !std::mem::replace(&mut self.told, true) {
                    log::warn!(
                        "store: {}: cleaning waits: a file that was begun in vain cannot be removed: {e}",
                        disk.place()
                    );
                }
                false
            }
        }
    }

    /// Tries it with all of them.
    fn remove(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut result = Ok(());
        for &number in &self.numbers {
            match disk.remove(&log_name(number)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => result = Err(e),
                _ => {}
            }
        }
        result
    }
}
