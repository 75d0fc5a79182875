//! `emqttd_ctl`: takes its words to the running node and prints the answer.

use emqttd_management::client::{self, CallError, Node, TIMEOUT};
use emqttd_management::{Bar, Reply, Request};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let argv: Result<Vec<String>, _> = std::env::args_os()
        .skip(1)
        .map(std::ffi::OsString::into_string)
        .collect();
    let Ok(argv) = argv else {
        eprintln!("emqttd_ctl: an argument is not UTF-8");
        return ExitCode::from(1);
    };
    let asked = password_of(&argv).and_then(|stdin| Ok((client::release_root()?, stdin)));
    let (root, stdin) = match asked {
        Ok(asked) => asked,
        Err(e) => {
            eprintln!("emqttd_ctl: {e}");
            return ExitCode::from(1);
        }
    };
    let node = Node::find(&root);
    match ask(&node, argv, stdin) {
        Ok(reply) => {
            // A reader that went away (`| head`) is no failure of the command.
            let _ = io::stdout().write_all(reply.text.as_bytes());
            ExitCode::from(u8::try_from(reply.exit).unwrap_or(1))
        }
        Err(CallError::NotThere) => {
            eprintln!("Node '{}' not responding to pings.", node.name);
            ExitCode::from(1)
        }
        Err(e) => {
            println!("RPC to {} failed: {e}", node.name);
            ExitCode::from(1)
        }
    }
}

/// Asks the node. A backup takes as long as it takes, and is shown on its way; its directory is where we are, not
/// where the node is.
fn ask(node: &Node, mut argv: Vec<String>, stdin: Option<String>) -> Result<Reply, CallError> {
    let progress = match &mut argv[..] {
        [backup, dir] if backup == "backup" => {
            let path = std::path::absolute(&*dir)?;
            // What was made of UTF-8 is UTF-8, unless the current directory is not.
            *dir = path.into_os_string().into_string().map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidInput, "the directory is not UTF-8")
            })?;
            true
        }
        _ => false,
    };
    let mut bar = Bar::new("backup");
    let request = Request {
        argv,
        stdin,
        progress,
    };
    client::watch(&node.socket, &request, TIMEOUT, &mut |step| bar.show(step))
}

/// `auth test <ClientId> <Username> <Ip> [-]` reads the password: from standard input with `-`,
/// and from a terminal in any case. An argument would show in the list of processes. For the same
/// reason `-` is read so where `users`, `clientid` and `admins` take a password.
fn password_of(argv: &[String]) -> io::Result<Option<String>> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let terminal = io::stdin().is_terminal();
    match words[..] {
        ["auth", "test", _, _, _, "-"] if !terminal => line().map(Some),
        ["users" | "clientid", "add" | "update", _, "-"] if !terminal => line().map(Some),
        ["users" | "clientid", "add" | "update", _, "-"] => typed("Password: ").map(Some),
        ["admins", "add" | "passwd", _, "-", ..] if !terminal => line().map(Some),
        ["admins", "add" | "passwd", _, "-", ..] => typed("Password: ").map(Some),
        ["auth", "test", _, _, _] | ["auth", "test", _, _, _, "-"] if terminal => {
            let password = typed("Password (empty: none): ")?;
            Ok(Some(password).filter(|p| !p.is_empty()))
        }
        _ => Ok(None),
    }
}

/// Asks at the terminal, without showing the answer.
fn typed(question: &str) -> io::Result<String> {
    eprint!("{question}");
    let answer = without_echo(line)?;
    eprintln!();
    Ok(answer)
}

fn line() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn without_echo<T>(read: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
    let result = read();
    tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    result
}
