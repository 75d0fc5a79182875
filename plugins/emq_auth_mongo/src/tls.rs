//! TLS in the form that the driver takes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emqttd_backend::TlsSettings;
use mongodb::options::TlsOptions;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The options, and the files that they name: these have to live until the driver has read them.
#[derive(Debug)]
pub struct TlsFiles {
    pub options: TlsOptions,
    files: Vec<File>,
}

impl TlsFiles {
    /// The driver wants the broker's certificate and key in one file, and believes Mozilla's authorities where it is
    /// given none. So it is given files that have no name: nothing stays on the disk.
    ///
    /// # Errors
    /// The file that cannot be read or made, and why.
    pub fn new(tls: &TlsSettings) -> Result<TlsFiles, String> {
        let mut all = TlsFiles {
            options: TlsOptions::default(),
            files: Vec::new(),
        };
        if !tls.verify {
            all.options.allow_invalid_certificates = Some(true);
        } else if let Some(ca) = &tls.cacertfile {
            all.options.ca_file_path = Some(ca.clone());
        } else {
            let machine = rustls_native_certs::load_native_certs().certs;
            let text: String = machine.iter().map(|cert| certificate(cert)).collect();
            all.options.ca_file_path = Some(all.unnamed(text.as_bytes())?);
        }
        if let Some((cert, key)) = &tls.identity {
            let both = [read(cert)?, b"\n".to_vec(), read(key)?].concat();
            all.options.cert_key_file_path = Some(all.unnamed(&both)?);
        }
        Ok(all)
    }

    /// A path to a file without a name.
    fn unnamed(&mut self, content: &[u8]) -> Result<PathBuf, String> {
        let make = || {
            let mut file = tempfile::tempfile()?;
            file.write_all(content)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        let file: std::io::Result<File> = make();
        let file = file.map_err(|error| format!("a temporary file for TLS: {error}"))?;
        let path = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
        self.files.push(file);
        Ok(path)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificate(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let digits = STANDARD.encode(der);
    for line in digits.as_bytes().chunks(64) {
        // Base64 is ASCII.
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
