//! The exchange over the control socket: one line of JSON each way, then the connection ends. Who asks for
//! it is told before the answer how far a long command is, a line of JSON each time.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Longest request, bytes, line end included. Arguments are topics, identifiers and paths.
pub const MAX_REQUEST: u64 = 1024 * 1024;

/// What `emqttd_ctl` asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The words after `emqttd_ctl`, exactly as the shell passed them.
    pub argv: Vec<String>,
    /// What a command reads from standard input: a password, never an argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Whether lines of [`Progress`] are wanted before the reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub progress: bool,
}

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// what has been done, in bytes
    pub done: u64,
    /// what is to be done
    pub total: u64,
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Exit code of `emqttd_ctl`.
    pub exit: i32,
    /// Printed as it is; line ends are part of it.
    pub text: String,
}

/// The longest path of a socket that every system takes, bytes.
const MAX_SOCKET_PATH: usize = 100;

/// A path that can be bound or connected to: release trees may lie deeper than the system lets the
/// path of a socket be. The directory has to stay open while the path is used.
pub(crate) fn socket_path(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok((path.to_owned(), None));
    };
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok((path.to_owned(), None));
    }
    let dir = File::open(dir)?;
    Ok((
        PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name),
        Some(dir),
    ))
}
