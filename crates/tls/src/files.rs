//! Reading PEM files, with errors that name the key of the configuration and the file.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// A file that a key of the configuration names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PemFile<'a> {
    pub(crate) key: &'static str,
    pub(crate) path: &'a Path,
}

impl PemFile<'_> {
    /// `certfile etc/certs/cert.pem <problem>`
    pub(crate) fn problem(&self, problem: impl std::fmt::Display) -> String {
        format!("{} {} {problem}", self.key, self.path.display())
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        std::fs::read(self.path)
            .map_err(|error| self.problem(format_args!("cannot be read: {error}")))
    }

    fn objects<T: PemObject>(&self) -> Result<Vec<T>, String> {
        T::pem_slice_iter(&self.read()?)
            .collect::<Result<Vec<T>, pem::Error>>()
            .map_err(|error| self.problem(format_args!("is not valid PEM: {error}")))
    }

    /// At least one certificate.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let found = self.objects()?;
        if found.is_empty() {
            return Err(self.problem("holds no certificate (BEGIN CERTIFICATE)"));
        }
        Ok(found)
    }

    /// At least one revocation list.
    pub(crate) fn revocation_lists(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
        let found = self.objects()?;
        if found.is_empty() {
            return Err(self.problem("holds no revocation list (BEGIN X509 CRL)"));
        }
        Ok(found)
    }

    /// The private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        let text = self.read()?;
        // Asked before parsing: the old form of an encrypted key is not even PEM to the parser.
        if String::from_utf8_lossy(&text)
            .lines()
            .any(|line| line.contains("BEGIN ENCRYPTED") || line.contains("4,ENCRYPTED"))
        {
            return Err(self.problem(
                "is encrypted: a passphrase cannot be given, decrypt it with `openssl pkey`",
            ));
        }
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            pem::Error::NoItemsFound => self.problem("holds no private key"),
            error => self.problem(format_args!("is not valid PEM: {error}")),
        })
    }
}

/// What tells one state of some files from another: inode, time of change, length of each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Option<(u64, i64, i64, u64)>>);

impl Fingerprint {
    pub(crate) fn of<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Fingerprint {
        let state = |path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
        };
        Fingerprint(paths.into_iter().map(state).collect())
    }
}
