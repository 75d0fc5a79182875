//! Certificates of open listeners, which can change while they are open.

use crate::Broker;
use std::path::PathBuf;

impl Broker {
    /// Files of certificates, keys and authorities that listeners use, configured or open, each once.
    pub fn cert_files(&self) -> Vec<PathBuf> {
        let control = self.node.control.read().clone();
        control.map_or_else(Vec::new, |control| control.cert_files())
    }

    /// Reads them again for the connections to come; those that are there keep what they have. Blocks.
    ///
    /// # Errors
    /// Names each file that cannot be used: its listener stays as it was.
    pub fn reload_certs(&self) -> Result<(), String> {
        let control = self.node.control.read().clone();
        control.map_or(Ok(()), |control| control.reload_certs())
    }
}
