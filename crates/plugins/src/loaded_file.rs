//! The file of plugins to start, `data/loaded_plugins`: Erlang terms `name.`, one a line, `%` comments.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The names in the file, in their order. One that is not there holds none.
///
/// # Errors
/// What the system said.
pub(crate) fn read(path: &Path) -> io::Result<Vec<String>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut names: Vec<String> = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let code = line.split('%').next().unwrap_or_default();
        for name in code.split(['.', ' ', '\t', '\r']) {
            let name = name.trim_matches('\'');
            if !name.is_empty() && !names.iter().any(|other| other == name) {
                names.push(name.to_string());
            }
        }
    }
    Ok(names)
}

/// Puts these names in the place of what the file has: after a crash it holds the old ones or the new.
///
/// # Errors
/// What the system said; the file is then as it was.
pub(crate) fn write(path: &Path, names: &[String]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str() != "" => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let text: String = names.iter().map(|name| format!("{name}.\n")).collect();
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_form_of_emq() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/loaded_plugins");
        assert_eq!(read(&path).unwrap(), Vec::<String>::new());
        write(&path, &["emq_recon".into(), "emq_modules".into()]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "emq_recon.\nemq_modules.\n"
        );
        fs::write(
            &path,
            "% started in this order\r\nemq_recon.\r\n'emq_x'. emq_y.\nemq_recon. % again\n\n",
        )
        .unwrap();
        assert_eq!(read(&path).unwrap(), ["emq_recon", "emq_x", "emq_y"]);
        write(&path, &[]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(read(dir.path()).is_err());
    }
}
