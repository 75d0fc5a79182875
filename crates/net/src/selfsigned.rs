//! Certificates for development and tests.

use std::io;
use std::path::Path;

/// Writes `cacert.pem`, `cert.pem`, `key.pem`, `client-cert.pem`, `client-key.pem` into `dir`
/// when one of them is missing; `true` when it wrote.
pub fn write_missing(dir: &Path) -> io::Result<bool> {
    let _ = dir;
    unimplemented!()
}
