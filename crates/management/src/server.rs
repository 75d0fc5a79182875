//! The control socket: who may open the directory and the socket (its owner, and root) may ask.

use crate::cli::{Cli, Watcher};
use crate::wire::{MAX_REQUEST, Progress, Reply, Request, socket_path};
use rustix::process::geteuid;
use serde::Serialize;
use std::cell::Cell;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Connections answered at a time; one more is told to come again.
const MAX_CONNECTIONS: usize = 16;

/// For the request to arrive, and for each piece of the reply to leave.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two words on how far a command is.
const STEP: Duration = Duration::from_millis(100);

/// The data directory of a node, claimed for it alone until this and the [`Server`] of it are gone.
#[derive(Debug)]
pub struct Reserved {
    path: PathBuf,
    lock: Arc<File>,
}

/// The open socket. Dropping it removes the socket's file, so that the next `ping` sees at once
/// that nobody is there; connections that are being answered go on.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    /// Held locked while this node owns its data directory.
    _lock: Arc<File>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it is gone already, nobody misses it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Claims the directory of the socket `path`, before anything of the node is opened.
///
/// # Errors
/// `AddrInUse` when another node has it; else what the system said.
pub fn reserve(path: &Path) -> io::Result<Reserved> {
    Ok(Reserved {
        path: path.to_owned(),
        lock: Arc::new(own_directory(path)?),
    })
}

impl Reserved {
    /// Opens the socket with permissions 0600 and answers on it in threads of its own. Who pings
    /// takes an answer for "all is up": call it when the listeners are open.
    ///
    /// # Errors
    /// What the system said.
    pub fn serve(&self, cli: Arc<Cli>) -> io::Result<Server> {
        let listener = bind(&self.path)?;
        let server = Server {
            path: self.path.clone(),
            _lock: Arc::clone(&self.lock),
        };
        thread::Builder::new()
            .name("ctl".into())
            .spawn(move || accept(&listener, &cli))?;
        Ok(server)
    }
}

/// [`reserve`] and [`Reserved::serve`] in one.
///
/// # Errors
/// As those.
pub fn serve(path: &Path, cli: Arc<Cli>) -> io::Result<Server> {
    reserve(path)?.serve(cli)
}

/// Two nodes must not share one data directory: the second finds it locked.
fn own_directory(path: &Path) -> io::Result<File> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.with_extension("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!(
                "another node runs with this data directory ({})",
                path.display()
            ),
        )),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

/// Binds in a directory that only we can enter and moves the socket to its place when its
/// permissions are right: at no time is it open to others, and what a dead node left is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(old) if !old.file_type().is_socket() => {
            let text = format!("{} is there and is not a socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        _ => {}
    }
    let private = path.with_extension(format!("{}", std::process::id()));
    DirBuilder::new()
        .mode(0o700)
        .create(&private)
        .or_else(|e| match e.kind() {
            // Left by a process of the same number that died here.
            io::ErrorKind::AlreadyExists => {
                fs::set_permissions(&private, Permissions::from_mode(0o700))
            }
            _ => Err(e),
        })?;
    let inside = private.join("s");
    let _ = fs::remove_file(&inside);
    let bound = socket_path(&inside).and_then(|(short, _open)| {
        let listener = UnixListener::bind(short)?;
        fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
        fs::rename(&inside, path)?;
        Ok(listener)
    });
    let _ = fs::remove_dir_all(&private);
    bound
}

fn accept(listener: &UnixListener, cli: &Arc<Cli>) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                log::error!("control socket: {e}");
                // Out of file descriptors, most likely: others must give some back first.
                thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        if let Err(e) = admit(stream, &open, cli) {
            log::warn!("control connection: {e}");
        }
    }
}

fn admit(stream: UnixStream, open: &Arc<AtomicUsize>, cli: &Arc<Cli>) -> io::Result<()> {
    if !trusted(&stream)? {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "refused: another user",
        ));
    }
    stream.set_write_timeout(Some(PATIENCE))?;
    if open.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
        open.fetch_sub(1, Ordering::AcqRel);
        // Read first: closing on unread data would take the answer with it.
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        BufReader::new((&stream).take(MAX_REQUEST)).read_line(&mut String::new())?;
        return answer(
            &stream,
            &Reply {
                exit: 1,
                text: "Too many commands at a time.\n".into(),
            },
        );
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let slot = Slot(open.clone());
    let cli = cli.clone();
    thread::Builder::new()
        .name("ctl-call".into())
        .spawn(move || {
            let _slot = slot;
            if let Err(e) = talk(&stream, &cli) {
                log::warn!("control connection: {e}");
            }
        })?;
    Ok(())
}

/// Gives its place back when the connection ends, however it ends.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The peer is this user or root. (The permissions of the socket say the same; a file system may
/// ignore them.)
#[cfg(target_os = "linux")]
fn trusted(stream: &UnixStream) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(peer.uid.is_root() || peer.uid == geteuid())
}

#[cfg(not(target_os = "linux"))]
fn trusted(_: &UnixStream) -> io::Result<bool> {
    let _ = geteuid();
    Ok(true)
}

/// Who asks, for the audit log.
#[cfg(target_os = "linux")]
fn caller(stream: &UnixStream) -> String {
    match rustix::net::sockopt::socket_peercred(stream) {
        Ok(peer) => format!("uid {}", peer.uid.as_raw()),
        Err(_) => "unknown".into(),
    }
}

#[cfg(not(target_os = "linux"))]
fn caller(_: &UnixStream) -> String {
    "unknown".into()
}

fn talk(stream: &UnixStream, cli: &Cli) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream.take(MAX_REQUEST)).read_line(&mut line)?;
    if line.is_empty() {
        // Somebody looked whether the socket is alive.
        return Ok(());
    }
    let teller = Teller::new(stream);
    let tell = |progress| teller.tell(progress);
    let reply = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let watcher = match request.progress {
                true => Watcher::new(&tell),
                false => Watcher::default(),
            };
            cli.run_for(
                &caller(stream),
                &request.argv,
                request.stdin.as_deref(),
                watcher,
            )
        }
        Err(e) => Reply {
            exit: 1,
            text: format!("Bad request: {e}\n"),
        },
    };
    answer(stream, &reply)
}

fn answer(stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    write_line(stream, reply)
}

fn write_line(mut stream: &UnixStream, line: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    stream.write_all(&bytes)
}

/// Tells who asked how far a command is: not at each step, but the last one.
struct Teller<'a> {
    stream: &'a UnixStream,
    next: Cell<Option<Instant>>,
}

impl Teller<'_> {
    fn new(stream: &UnixStream) -> Teller<'_> {
        Teller {
            stream,
            next: Cell::new(Some(Instant::now())),
        }
    }

    fn tell(&self, progress: Progress) {
        let now = Instant::now();
        let due = |next| now >= next || progress.done >= progress.total;
        if self.next.get().is_some_and(due) {
            // Who went away, or does not read, is not told again; the command goes on.
            let told = write_line(self.stream, &progress).is_ok();
            self.next.set(told.then_some(now + STEP));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::client::{self, CallError};

    fn cli() -> Arc<Cli> {
        let cli = Cli::new("emq@127.0.0.1");
        cli.register(
            "say",
            &[("say <Text>", "Say it")],
            Box::new(|call| match call.args {
                [one] => Some(format!("{one}{}\n", call.stdin.unwrap_or(""))),
                _ => None,
            }),
        );
        cli.register(
            "count",
            &[("count", "To 1000")],
            Box::new(|call| {
                (1..=1000).for_each(|n| call.watcher.tell(n, 1000));
                Some("counted\n".into())
            }),
        );
        Arc::new(cli)
    }

    fn ask(path: &Path, argv: &[&str], stdin: Option<&str>) -> Result<Reply, CallError> {
        client::call(path, &request(argv, stdin), PATIENCE)
    }

    fn request(argv: &[&str], stdin: Option<&str>) -> Request {
        Request {
            argv: argv.iter().map(|s| (*s).to_owned()).collect(),
            stdin: stdin.map(str::to_owned),
            progress: false,
        }
    }

    #[test]
    fn arguments_go_there_and_the_answer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emqttd.sock");
        let server = serve(&path, cli()).unwrap();
        assert_eq!(
            ask(&path, &["say", "a  b"], Some("!")).unwrap().text,
            "a  b!\n"
        );
        assert_eq!(ask(&path, &["nope"], None).unwrap().exit, 1);
        drop(server);
        assert!(matches!(
            ask(&path, &["say", "x"], None),
            Err(CallError::NotThere)
        ));
    }

    #[test]
    fn who_wants_it_is_told_how_far_a_command_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emqttd.sock");
        let _server = serve(&path, cli()).unwrap();
        let mut steps = Vec::new();
        let asked = Request {
            progress: true,
            ..request(&["count"], None)
        };
        let reply = client::watch(&path, &asked, PATIENCE, &mut |step| steps.push(step));
        assert_eq!(reply.unwrap().text, "counted\n");
        assert!(steps.len() < 1000, "told {} times", steps.len());
        assert!(steps.iter().all(|p| p.total == 1000));
        assert!(steps.is_sorted_by_key(|p| p.done));
        assert_eq!(steps.last().unwrap().done, 1000);
        // Who does not want it sees the answer alone.
        assert_eq!(ask(&path, &["count"], None).unwrap().text, "counted\n");
    }

    #[test]
    fn the_directory_is_ours_until_both_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emqttd.sock");
        let reserved = reserve(&path).unwrap();
        let server = reserved.serve(cli()).unwrap();
        drop(server);
        assert_eq!(reserve(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(reserved);
        reserve(&path).unwrap();
    }

    #[test]
    fn a_tree_may_lie_deep() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let path = deep.join("emqttd.sock");
        let _server = serve(&path, cli()).unwrap();
        assert_eq!(ask(&path, &["say", "x"], None).unwrap().text, "x\n");
    }

    #[test]
    fn only_the_owner_may_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emqttd.sock");
        let _server = serve(&path, cli()).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["emqttd.lock", "emqttd.sock"]);
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emqttd.sock");
        drop(UnixListener::bind(&path).unwrap());
        let server = serve(&path, cli()).unwrap();
        assert_eq!(
            serve(&path, cli()).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        assert_eq!(ask(&path, &["say", "x"], None).unwrap().text, "x\n");
        drop(server);
        fs::write(&path, "a file").unwrap();
        assert_eq!(
            serve(&path, cli()).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn a_request_that_is_too_long_or_no_json_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emqttd.sock");
        let _server = serve(&path, cli()).unwrap();
        for request in ["{\n".to_owned(), "\"".repeat(MAX_REQUEST as usize)] {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            let reply: Reply = serde_json::from_str(&text).unwrap();
            assert_eq!(reply.exit, 1);
            assert!(reply.text.starts_with("Bad request: "), "{}", reply.text);
        }
    }

    #[test]
    fn connections_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("emqttd.sock");
        let _server = serve(&path, cli()).unwrap();
        let idle: Vec<UnixStream> = (0..MAX_CONNECTIONS)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        let reply = ask(&path, &["say", "x"], None).unwrap();
        assert_eq!(
            (reply.exit, reply.text.as_str()),
            (1, "Too many commands at a time.\n")
        );
        drop(idle);
        // Their threads end on their own time; the place comes back.
        while ask(&path, &["say", "x"], None).unwrap().exit != 0 {
            thread::yield_now();
        }
    }
}
