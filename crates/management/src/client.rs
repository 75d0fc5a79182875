//! The asking end of the control socket, and where to find it.

use crate::wire::{Progress, Reply, Request, socket_path};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a command may take; the original's limit.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest line of [`Progress`], bytes: two numbers with their names.
const MAX_PROGRESS: usize = 128;

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// Nobody listens.
    NotThere,
    /// It took too long.
    Timeout,
    /// The connection ended without an answer: the process ended.
    Ended,
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for CallError {
    fn from(e: io::Error) -> CallError {
        match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => CallError::NotThere,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CallError::Timeout,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => CallError::Ended,
            _ => CallError::Io(e),
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::NotThere => f.write_str("not there"),
            CallError::Timeout => f.write_str("timeout"),
            CallError::Ended => f.write_str("ended"),
            CallError::Io(e) => write!(f, "{e}"),
        }
    }
}

/// Asks the node that listens on `socket`.
///
/// # Errors
/// See [`CallError`].
pub fn call(socket: &Path, request: &Request, timeout: Duration) -> Result<Reply, CallError> {
    watch(socket, request, timeout, &mut |_| {})
}

/// [`call`], and `told` hears how far it is if the request asks for that; the time begins anew with each word.
///
/// # Errors
/// See [`CallError`].
pub fn watch(
    socket: &Path,
    request: &Request,
    timeout: Duration,
    told: &mut dyn FnMut(Progress),
) -> Result<Reply, CallError> {
    let mut end = Instant::now() + timeout;
    let (path, _open) = socket_path(socket)?;
    let mut stream = UnixStream::connect(path)?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.set_write_timeout(Some(timeout))?;
    // A node that is full answers without having read.
    let sent = stream.write_all(&line);
    let mut text = Vec::new();
    let mut chunk = [0; 64 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(CallError::Timeout);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                text.extend_from_slice(&chunk[..n]);
                while let Some(progress) = take_progress(&mut text) {
                    told(progress);
                    end = Instant::now() + timeout;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // What came before the reset is the answer.
            Err(_) if !text.is_empty() && sent.is_err() => break,
            Err(e) => return Err(e.into()),
        }
    }
    if text.is_empty() {
        sent?;
        return Err(CallError::Ended);
    }
    serde_json::from_slice(&text).map_err(|e| CallError::Io(e.into()))
}

/// The line of progress at the beginning of `text`, taken out of it; `None` when the answer has begun, or
/// the line is not there yet.
fn take_progress(text: &mut Vec<u8>) -> Option<Progress> {
    // Such a line is short; an answer, of any length, is not searched.
    let end = text.iter().take(MAX_PROGRESS).position(|b| *b == b'\n')?;
    let progress = serde_json::from_slice(&text[..end]).ok()?;
    text.drain(..=end);
    Some(progress)
}

/// A node as seen from its release tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `node.name`
    pub name: String,
    /// its control socket
    pub socket: PathBuf,
}

impl Node {
    /// The node whose release tree is `root`, by its configuration and the environment.
    ///
    /// A configuration with errors does not keep one from reaching a node that runs: then the
    /// defaults are taken.
    pub fn find(root: &Path) -> Node {
        let settings = emqttd_config::load(&root.join("etc"), environment())
            .ok()
            .map(|l| l.settings.node);
        let (name, data) = match settings {
            Some(node) => (node.name, node.data_dir),
            None => ("emq@127.0.0.1".to_owned(), PathBuf::from("data")),
        };
        let given = std::env::var_os("EMQTTD_CTL_SOCKET").map(PathBuf::from);
        Node {
            name,
            socket: given.unwrap_or_else(|| socket_in(&root.join(data))),
        }
    }

    /// Asks it with the usual patience.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn ask(&self, argv: &[&str]) -> Result<Reply, CallError> {
        call(&self.socket, &Node::request(argv), TIMEOUT)
    }

    /// Asks it for something that takes longer, and hears how far it is.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn ask_watched(
        &self,
        argv: &[&str],
        told: &mut dyn FnMut(Progress),
    ) -> Result<Reply, CallError> {
        let request = Request {
            progress: true,
            ..Node::request(argv)
        };
        watch(&self.socket, &request, TIMEOUT, told)
    }

    fn request(argv: &[&str]) -> Request {
        Request {
            argv: argv.iter().map(|s| (*s).to_owned()).collect(),
            stdin: None,
            progress: false,
        }
    }
}

/// The environment as text; what is not UTF-8 cannot be meant for us.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

/// The control socket of a node with this data directory.
pub fn socket_in(data_dir: &Path) -> PathBuf {
    data_dir.join("emqttd.sock")
}

/// The release tree of the program that runs: the directory above that of the executable, where
/// that holds `etc/emq.conf`; else the current directory.
///
/// # Errors
/// When there is no current directory.
pub fn release_root() -> io::Result<PathBuf> {
    let above = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.to_owned()));
    match above.filter(|dir| dir.join("etc/emq.conf").is_file()) {
        Some(dir) => Ok(dir),
        None => std::env::current_dir(),
    }
}
