//! The floor of everything durable: writes and fdatasync in a loop, with no broker.
//!
//! The file is allocated beforehand, as a log does that knows what it is about: a sync then writes no new size.
use crate::hist::Hist;
use crate::sys;
use crate::Args;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the file: more than is written in a measurement, so that no block is written twice.
const FILE: u64 = 1 << 30;
/// Bytes of a file that is written beforehand, where it makes no difference that appends begin again at its start.
const WRITTEN: u64 = 1 << 27;

pub struct Log {
    file: File,
    path: PathBuf,
    at: u64,
    len: u64,
    buf: Vec<u8>,
    /// time from the write to the end of its sync
    pub hist: Hist,
}

impl Log {
    /// A new file in `dir`, removed with this value. With `zeros` it has been written once, so that a sync need not
    /// note that blocks are in use now.
    pub fn create(dir: &Path, zeros: bool) -> Result<Log, String> {
        let path = dir.join(format!("mqload-floor-{}", std::process::id()));
        let say = |e: std::io::Error| format!("{}: {e}", path.display());
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(say)?;
        let len = if zeros { WRITTEN } else { FILE };
        // Owned from here on: it goes in any case.
        let log = Log {
            file,
            path: path.clone(),
            at: 0,
            len,
            buf: vec![],
            hist: Hist::new(),
        };
        if unsafe { libc::fallocate(log.file.as_raw_fd(), 0, 0, len as i64) } != 0 {
            return Err(say(std::io::Error::last_os_error()));
        }
        if zeros {
            let block = vec![0u8; 1 << 20];
            for at in (0..len).step_by(block.len()) {
                log.file.write_all_at(&block, at).map_err(say)?;
            }
        }
        log.file.sync_all().map_err(say)?;
        Ok(log)
    }

    /// Writes so many bytes behind those before, and waits until they are on the disk.
    pub fn append(&mut self, bytes: usize) -> Result<(), String> {
        let mut bytes = bytes;
        while bytes > 0 {
            let n = bytes.min(1 << 24);
            if self.at + n as u64 > self.len {
                self.at = 0;
            }
            if self.buf.len() < n {
                self.buf.resize(n, b'x');
            }
            let t = sys::now_ns();
            let done = self
                .file
                .write_all_at(&self.buf[..n], self.at)
                .and_then(|()| self.file.sync_data());
            done.map_err(|e| format!("{}: {e}", self.path.display()))?;
            self.hist.add(sys::now_ns() - t);
            self.at += n as u64;
            bytes -= n;
        }
        Ok(())
    }

    /// For `ns`, appends `rate` records of `bytes` in a second: each time all that have come due, then one sync.
    pub fn paced(&mut self, rate: u64, bytes: usize, tick_ns: u64, ns: u64) -> Result<(), String> {
        let start = sys::now_ns();
        let mut written = 0;
        loop {
            let past = sys::now_ns() - start;
            if past >= ns {
                return Ok(());
            }
            let due = (past as f64 * rate as f64 / 1e9) as u64;
            if due > written {
                self.append((due - written) as usize * bytes)?;
                written = due;
            } else {
                std::thread::sleep(std::time::Duration::from_nanos(tick_ns - past % tick_ns));
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Back to back, for `--dur` seconds.
pub fn run(a: &Args) -> Result<String, String> {
    let dir = a.text("dir").ok_or("--dir is missing")?;
    let bytes = a.num("bytes", 4096).max(1) as usize;
    let dur = (a.float("dur", 2.0) * 1e9) as u64;
    let mut log = Log::create(Path::new(dir), a.flag("zeros"))?;
    log.append(bytes)?;
    log.hist.clear();
    let start = sys::now_ns();
    let mut end = start;
    while end - start < dur {
        log.append(bytes)?;
        end = sys::now_ns();
    }
    Ok(format!(
        "{{\"mode\":\"floor\"{},\"bytes\":{bytes},\"zeros\":{},\"syncs\":{},\"syncs_s\":{:.1},\"mean_us\":{:.1},\
         \"p50_us\":{:.1},\"p99_us\":{:.1}}}",
        a.label(),
        a.flag("zeros"),
        log.hist.count(),
        log.hist.count() as f64 / ((end - start) as f64 / 1e9),
        log.hist.mean_us(),
        log.hist.q_us(0.5),
        log.hist.q_us(0.99)
    ))
}
