//! What the clients sent and got since the last drain, for whoever has to understand a finding.

use std::cell::RefCell;
use std::fmt::Arguments;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

/// A file that begins anew whenever all is well. Clones write to the same one.
#[derive(Debug, Clone)]
pub struct Trace(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    file: BufWriter<File>,
    begun: Instant,
}

impl Trace {
    /// An empty one.
    pub fn new(path: &Path) -> io::Result<Trace> {
        Ok(Trace(Rc::new(RefCell::new(Inner {
            file: BufWriter::new(File::create(path)?),
            begun: Instant::now(),
        }))))
    }

    /// Adds a line, with the milliseconds since the beginning. A full disk costs the trace, not the run.
    pub fn note(&self, line: Arguments<'_>) {
        let mut inner = self.0.borrow_mut();
        let ms = inner.begun.elapsed().as_micros() as f64 / 1000.0;
        let _ = writeln!(inner.file, "{ms:.1} {line}");
    }

    /// Forgets all lines.
    pub fn clear(&self) {
        let mut inner = self.0.borrow_mut();
        let _ = inner.file.flush();
        let file = inner.file.get_mut();
        let _ = file.set_len(0).and_then(|()| file.rewind());
    }

    /// Brings the lines into the file.
    pub fn flush(&self) {
        let _ = self.0.borrow_mut().file.flush();
    }
}
