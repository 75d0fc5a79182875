//! The emqttd program: the verbs of `bin/emqttd`, and the broker itself.
//!
//! A program of one's own, with other plugins built in, is a `main` that gives its list to [`run`].

mod backup;
mod check;
mod control;
mod plugins;
mod storage;
mod system;
mod web;

use crate::system::{complain, say};
use emqttd_broker::VERSION;
use emqttd_config::{Loaded, LogConsole, Settings};
use emqttd_management::{Core, client, server};
use emqttd_net::Server;
pub use emqttd_plugin_sdk::Descriptor;
use parking_lot::Mutex;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Does what the command line asks: the whole of `main`. `plugins` are those that are built in.
pub fn run(plugins: Vec<Descriptor>) -> ExitCode {
    check::set_built_in(plugins.iter().map(|p| p.name.to_string()).collect());
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let root = match client::release_root() {
        Ok(root) => root,
        Err(error) => return fail(&[format!("emqttd: cannot find the release root: {error}")]),
    };
    let given = match arguments.next().map(std::path::absolute).transpose() {
        Ok(given) => given,
        Err(error) => return fail(&[format!("emqttd: {error}")]),
    };
    // `check-config /another/tree/etc` is about that tree.
    let root = match given.as_deref().filter(|_| verb == "check-config") {
        Some(etc) if etc.ends_with("etc") => etc.parent().unwrap_or(&root).to_owned(),
        _ => root,
    };
    // Relative paths in the configuration are relative to the release root (sheet 1.1).
    if let Err(error) = std::env::set_current_dir(&root) {
        return fail(&[format!("emqttd: {}: {error}", root.display())]);
    }
    if verb == "check-config" {
        return match check::report(&root, &given.unwrap_or_else(|| root.join("etc"))) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        };
    }
    if let Some(code) = control::run(&verb, given.as_deref(), &root) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    match serve(Path::new("etc"), verb == control::DETACHED, plugins) {
        Ok(End::Stop) => ExitCode::SUCCESS,
        Ok(End::Restart) => {
            let Ok(program) = std::env::current_exe() else {
                return ExitCode::FAILURE;
            };
            fail(&[format!(
                "emqttd: restart: {}",
                Command::new(program).args(std::env::args().skip(1)).exec()
            )])
        }
        Err(errors) => fail(&errors),
    }
}

fn fail(lines: &[String]) -> ExitCode {
    lines.iter().for_each(complain);
    ExitCode::FAILURE
}

/// How the broker ended.
enum End {
    Stop,
    Restart,
}

/// Runs the broker until it is told to stop. A detached one has no console: what goes there goes to
/// its file instead, which is rotated.
fn serve(etc: &Path, detached: bool, plugins: Vec<Descriptor>) -> Result<End, Vec<String>> {
    let Loaded {
        config,
        mut settings,
        warnings,
        ..
    } = check::load(Path::new(""), etc)?;
    if detached && settings.log.console != LogConsole::Off {
        settings.log.console = LogConsole::File;
    }
    say(format_args!(
        "starting emqttd on node '{}'",
        settings.node.name
    ));
    let log =
        emqttd_logging::init(&settings.log).map_err(|e| vec![format!("emqttd: the log: {e}")])?;
    for warning in check::lines(warnings) {
        complain(&warning);
        log::warn!("{}", warning.trim_start_matches("warning: "));
    }
    system::allow_open_files(settings.node.max_ports);
    let data = settings.node.data_dir.clone();
    let in_data = |e: &std::io::Error| format!("emqttd: node.data_dir {}: {e}", data.display());
    std::fs::create_dir_all(&data).map_err(|e| vec![in_data(&e)])?;
    let listeners = settings.listeners.clone();
    // Before anything of it is opened: no other node may have this data directory.
    let reserved = server::reserve(&client::socket_in(&data)).map_err(|e| vec![in_data(&e)])?;
    let (broker, shards, store) = storage::open(&settings, shard_count(&settings))?;
    let log = Arc::new(log);
    let observer = Arc::clone(&log);
    broker.on_settings(move |settings| observer.set_console_level(settings.log.console_level));
    let core = Core::new(broker.clone(), Arc::new(Mutex::new(config)));
    let cli = emqttd_management::core(&core);
    system::watch_signals(&core, &log).map_err(|e| vec![format!("emqttd: signals: {e}")])?;
    let manager = plugins::manager(&core, &cli, etc, plugins)?;
    core.set_plugins(Arc::clone(&manager) as _);
    let web = web::server(&core, &manager);
    // Nobody comes in before the plugins are there that decide who may; and before the event loops run, so that
    // a will that is due is not published without those who want to know of it, change it or retain it.
    let stopping = || core.stopping().load(Ordering::SeqCst);
    let started = manager.boot().and_then(|warnings| {
        warnings
            .iter()
            .for_each(|text| complain(format_args!("warning: {text}")));
        if stopping() {
            return Ok(None);
        }
        emqttd_management::after_boot(&cli, &core);
        let loops = Server::start(&broker, shards)
            .map_err(|e| vec![format!("emqttd: event loops: {e}")])?;
        broker.set_listener_control(Arc::new(web::Listeners {
            sockets: loops.control(),
            web: Arc::clone(&web),
        }));
        Ok(Some(loops))
    });
    // And they are there until the last client is gone: its will is judged, seen and retained as any message.
    let end = |loops: Option<Server>| {
        core.stop();
        let well = loops.is_none_or(Server::join);
        web.end();
        manager.stop();
        manager.end_runtime();
        well
    };
    let loops = match started {
        Ok(Some(loops)) if !stopping() => loops,
        // When it was told to, there may have been no event loops that could be told.
        Ok(loops) => {
            end(loops);
            say("emqttd is stopped while it starts");
            log::info!("emqttd is stopped while it starts");
            log.flush();
            return Ok(End::Stop);
        }
        Err(errors) => {
            end(None);
            return Err(errors);
        }
    };
    let of_plugins = broker.listeners();
    let opened = loops.open(&listeners).and_then(|mut open| {
        open.extend(web.open_configured(&listeners)?);
        Ok(open)
    });
    let open = match opened {
        Ok(open) => open,
        Err(errors) => {
            end(Some(loops));
            return Err(errors.into_iter().map(|e| format!("emqttd: {e}")).collect());
        }
    };
    for listener in of_plugins {
        let (protocol, on) = (listener.protocol, listener.listen_on);
        let acceptors = listener.acceptors;
        say(format_args!(
            "{protocol} listen on {on} with {acceptors} acceptors."
        ));
    }
    for listener in &open {
        let (protocol, on) = (listener.protocol(), listener.listen_on());
        let acceptors = listener.settings.acceptors;
        say(format_args!(
            "{protocol} listen on {on} with {acceptors} acceptors."
        ));
    }
    let socket = match reserved.serve(cli) {
        Ok(socket) => socket,
        Err(error) => {
            end(Some(loops));
            return Err(vec![in_data(&error)]);
        }
    };
    web.begin();
    say(format_args!("emqttd {VERSION} is running now"));
    log::info!(
        "emqttd {VERSION} is running on node '{}'",
        settings.node.name
    );
    system::stop_with_stdin(&core);
    let well = loops.join() & end(None);
    for listener in &open {
        let (protocol, on) = (listener.protocol(), listener.listen_on());
        say(format_args!("stopped {protocol} on {on}"));
    }
    core.audit().flush();
    drop(store);
    drop(socket);
    log.flush();
    if !well {
        return Err(vec![
            "emqttd: an event loop has ended in a panic; see the crash log".to_string(),
        ]);
    }
    Ok(if core.restart_wanted() {
        End::Restart
    } else {
        End::Stop
    })
}

/// One event loop for each core but one, which is left to the kernel, to databases and to the disk;
/// `node.shards` says otherwise.
fn shard_count(settings: &Settings) -> usize {
    match settings.node.shards {
        0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1)),
        given => given,
    }
}
