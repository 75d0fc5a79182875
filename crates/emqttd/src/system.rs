//! What the program asks of the system: descriptors, signals, standard input and output.

use emqttd_management::Core;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt::Display;
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread::Builder;

/// A line on standard output. A full disk behind it, or a reader that went away, is no reason to end.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The same on standard error.
pub fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Asks the system for as many descriptors as `node.max_ports` says, or as many as it gives.
pub fn allow_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: Some(limit.maximum.unwrap_or(wanted).max(wanted)),
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        // Only root may go above the hard limit; up to it everybody may.
        let most = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if setrlimit(Resource::Nofile, most).is_err() {
            log::warn!("the limit of open files stays at {:?}", limit.current);
        }
    }
}

/// SIGTERM and SIGINT stop the broker, SIGHUP opens its log files anew.
///
/// # Errors
/// When the system gives no thread or no pipe for it.
pub fn watch_signals(core: &Core, log: &Arc<emqttd_logging::Handle>) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (core, log) = (core.clone(), Arc::clone(log));
    Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => log.reopen(),
                _ => core.stop(),
            }
        }
    })?;
    Ok(())
}

/// For tests and supervisors that hold a pipe: the broker ends when its standard input does.
pub fn stop_with_stdin(core: &Core) {
    if std::env::var_os("EMQTTD_STOP_ON_STDIN_EOF").is_none() {
        return;
    }
    let core = core.clone();
    let thread = Builder::new().name("stdin".into()).spawn(move || {
        let mut bytes = [0; 64];
        while matches!(std::io::stdin().read(&mut bytes), Ok(1..)) {}
        core.stop();
    });
    if let Err(error) = thread {
        log::error!("standard input is not watched: {error}");
    }
}
