//! The verbs of `bin/emqttd` that act on a node from outside: start, stop, restart, ping, pid.

use crate::backup;
use crate::check::{self, no_keys_in};
use crate::system::{complain, say};
use emqttd_management::VERSION;
use emqttd_management::client::{CallError, Node};
use rustix::process::{Pid, Resource, getrlimit, setsid, test_kill_process};
use std::fs::{File, create_dir_all};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The verb by which `start` runs the broker; `main` then goes on as with `foreground`.
pub const DETACHED: &str = "detached";

const USAGE: &str = "Usage: emqttd {start|start_boot <file>|stop|restart|reboot|console|foreground|\
                     ping|pid|check-config [DIR]|backup DIR|restore DIR|attach|remote_console|upgrade}";

/// How often a node that starts or ends is looked at.
const STEP: Duration = Duration::from_millis(100);

/// Bytes of `log/run.log` beyond which a start begins a new one.
const RUN_LOG: u64 = 1024 * 1024;

/// Carries out `verb` on the node of the release tree `root` and gives the exit code, or `None`
/// when `main` itself is to go on as the broker (`console`, `foreground`, [`DETACHED`]) or to check
/// the configuration. `given` is the directory behind the verb, if there is one.
pub fn run(verb: &str, given: Option<&Path>, root: &Path) -> Option<i32> {
    if getrlimit(Resource::Nofile)
        .current
        .is_some_and(|files| files < 1024)
        && verb != DETACHED
    {
        say("WARNING: ulimit -n is below 1024; the node will run out of file descriptors.");
    }
    let node = || Node::find(root);
    Some(match verb {
        "check-config" => return None,
        "console" | "foreground" => {
            make_certificates(root);
            return None;
        }
        DETACHED => {
            // Fails when we lead a session already, and then nothing is to be done.
            let _ = setsid();
            make_certificates(root);
            return None;
        }
        "start" => start(root, &node()),
        "stop" => stop(&node()),
        "restart" | "reboot" => restart(root, &node()),
        "backup" | "restore" => match (verb, given) {
            ("backup", Some(to)) => backup::take(&node(), to),
            (_, Some(from)) => backup::restore(from),
            (_, None) => {
                say(format_args!("Usage: emqttd {verb} DIR"));
                1
            }
        },
        "ping" => told(&node(), ".ping"),
        "pid" => told(&node(), ".pid"),
        "attach" | "remote_console" => match pid(&node()) {
            Ok(Some(_)) | Err(_) => {
                refused("there is no Erlang shell to attach to; see emqttd_ctl")
            }
            Ok(None) => {
                say("Node is not running!");
                1
            }
        },
        "start_boot" | "console_clean" | "console_boot" | "upgrade" | "downgrade" | "install"
        | "unpack" | "escript" | "rpc" | "rpcterms" | "eval" => {
            refused("this verb belongs to the Erlang machine and has no meaning here")
        }
        _ => {
            say(USAGE);
            1
        }
    })
}

/// A tree is shipped without keys, so that no two nodes share one. The shipped configuration names
/// files in `etc/certs`; they are made when that directory holds none, and never touched after.
fn make_certificates(root: &Path) {
    let dir = root.join("etc/certs");
    if !no_keys_in(&dir) {
        return;
    }
    match emqttd_net::selfsigned::write_missing(&dir) {
        Ok(_) => say(
            "etc/certs was empty: made a certificate of our own for this node. Clients that verify \
             it need etc/certs/cacert.pem; put your own files there for others.",
        ),
        // The listener that needs them says so if they are missed.
        Err(e) => complain(format_args!(
            "WARNING: cannot make certificates in {}: {e}",
            dir.display()
        )),
    }
}

fn refused(why: &str) -> i32 {
    complain(format_args!("emqttd: {why}"));
    1
}

/// How long `start` waits. EMQ waited 15 s; a node with millions of stored sessions may take longer, and one
/// that ends is seen to end.
fn patience() -> Duration {
    let given = std::env::var("WAIT_FOR_ERLANG")
        .ok()
        .and_then(|v| v.trim().parse().ok());
    Duration::from_secs(given.unwrap_or(120))
}

/// Its process, or `None` when nobody is there.
fn pid(node: &Node) -> Result<Option<Pid>, CallError> {
    match node.ask(&[".pid"]) {
        Ok(reply) => Ok(reply.text.trim().parse().ok().and_then(Pid::from_raw)),
        Err(CallError::NotThere | CallError::Ended) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether it answers: with this it is up.
fn is_up(node: &Node) -> bool {
    matches!(pid(node), Ok(Some(_)))
}

/// Somebody is there, and does not answer us: it may be another user's.
fn failed(node: &Node, error: &CallError) -> i32 {
    complain(format_args!("RPC to {} failed: {error}", node.name));
    1
}

fn told(node: &Node, command: &str) -> i32 {
    match node.ask(&[command]) {
        Ok(reply) => {
            say(reply.text.trim_end_matches('\n'));
            reply.exit
        }
        Err(CallError::NotThere) => not_there(node),
        Err(e) => failed(node, &e),
    }
}

fn not_there(node: &Node) -> i32 {
    complain(format_args!(
        "Node '{}' not responding to pings.",
        node.name
    ));
    1
}

/// What is wrong or odd in the configuration on stderr; whether it keeps the node from starting.
fn config_is_bad(root: &Path) -> bool {
    match check::load(root, &root.join("etc")) {
        Ok(loaded) => {
            check::lines(loaded.warnings).iter().for_each(complain);
            false
        }
        Err(errors) => {
            errors.iter().for_each(complain);
            true
        }
    }
}

fn start(root: &Path, node: &Node) -> i32 {
    match pid(node) {
        Ok(None) => {}
        Ok(Some(_)) => {
            say("Node is already running!");
            return 1;
        }
        Err(e) => return failed(node, &e),
    }
    if config_is_bad(root) {
        return 1;
    }
    make_certificates(root);
    let (mut child, before) = match detach(root) {
        Ok(started) => started,
        Err(e) => return refused(&format!("cannot start: {e}")),
    };
    let end = Instant::now() + patience();
    while Instant::now() < end {
        if is_up(node) {
            say(format_args!("emqttd {VERSION} is started successfully!"));
            return 0;
        }
        if let Ok(Some(status)) = child.try_wait() {
            complain(output_from(root, before).trim_end());
            return refused(&format!("the node ended ({status}); see also log/run.log"));
        }
        sleep(STEP);
    }
    say(format_args!(
        "Node did not answer within {} seconds.\n\
         Run ./bin/emqttd console to see what it does, or\n\
         set WAIT_FOR_ERLANG to a greater number of seconds.",
        patience().as_secs()
    ));
    1
}

/// The broker as a process of its own session, its output in `log/run.log`, and how much was in
/// there before.
fn detach(root: &Path) -> io::Result<(Child, u64)> {
    let log = root.join("log");
    let path = log.join("run.log");
    let out = create_dir_all(&log)
        .and_then(|()| {
            if std::fs::metadata(&path).is_ok_and(|m| m.len() > RUN_LOG) {
                std::fs::rename(&path, log.join("run.log.1"))?;
            }
            File::options().create(true).append(true).open(&path)
        })
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let before = out.metadata()?.len();
    let err = out.try_clone()?;
    let child = Command::new(std::env::current_exe()?)
        .arg(DETACHED)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()?;
    Ok((child, before))
}

/// What the node wrote to `log/run.log` since it was started.
fn output_from(root: &Path, before: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(root.join("log/run.log")).and_then(|mut file| {
        file.seek(SeekFrom::Start(before))?;
        file.take(RUN_LOG).read_to_end(&mut text)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

fn stop(node: &Node) -> i32 {
    let pid = match pid(node) {
        Ok(Some(pid)) => pid,
        Ok(None) => return not_there(node),
        Err(e) => return failed(node, &e),
    };
    match node.ask(&[".stop"]) {
        // The end of the connection is the end of the process.
        Err(CallError::Ended | CallError::NotThere) => {}
        Ok(reply) => return refused(reply.text.trim_end()),
        Err(e) => return refused(&format!("{} does not stop: {e}", node.name)),
    }
    // Its files are closed; the last traces of the process follow within moments.
    let end = Instant::now() + Duration::from_secs(10);
    while alive(pid) {
        if Instant::now() > end {
            return refused(&format!("process {} does not end", pid.as_raw_nonzero()));
        }
        sleep(STEP);
    }
    say("ok");
    0
}

/// Whether the process exists and is not merely waiting to be collected by its parent.
fn alive(pid: Pid) -> bool {
    if test_kill_process(pid).is_err_and(|e| e == rustix::io::Errno::SRCH) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // `<pid> (<name>) <state> …`, and the name may hold anything.
    let dead = |s: String| {
        s.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    };
    !stat.is_ok_and(dead)
}

/// The node executes itself anew: same process number, fresh configuration.
fn restart(root: &Path, node: &Node) -> i32 {
    match pid(node) {
        Ok(Some(_)) => {}
        Ok(None) => return not_there(node),
        Err(e) => return failed(node, &e),
    }
    // Better found now than after the node has gone.
    if config_is_bad(root) {
        return 1;
    }
    match node.ask(&[".restart"]) {
        Err(CallError::Ended | CallError::NotThere) => {}
        Ok(reply) => return refused(reply.text.trim_end()),
        Err(e) => return refused(&format!("{} does not stop: {e}", node.name)),
    }
    let end = Instant::now() + patience();
    while !is_up(node) {
        if Instant::now() > end {
            return refused("the node did not come back; its log says why");
        }
        sleep(STEP);
    }
    say("ok");
    0
}
