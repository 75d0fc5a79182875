//! The emqttd program: the verbs of `bin/emqttd`, and the broker itself.

mod control;

use emqttd_broker::{Broker, VERSION};
use emqttd_config::{Config, Loaded, LogConsole, Problem, Settings};
use emqttd_management::{Core, client, server};
use emqttd_net::Server;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread::Builder;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let root = match client::release_root() {
        Ok(root) => root,
        Err(error) => return fail(&[format!("emqttd: cannot find the release root: {error}")]),
    };
    if verb == "check-config" {
        return check_config(
            &arguments
                .next()
                .unwrap_or_else(|| root.join("etc").display().to_string()),
        );
    }
    if let Some(code) = control::run(&verb, &root) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    // Relative paths in the configuration are relative to the release root (sheet 1.1).
    if let Err(error) = std::env::set_current_dir(&root) {
        return fail(&[format!("emqttd: {}: {error}", root.display())]);
    }
    match run(Path::new("etc"), verb == control::DETACHED) {
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
    for line in lines {
        eprintln!("{line}");
    }
    ExitCode::FAILURE
}

fn check_config(dir: &str) -> ExitCode {
    match emqttd_config::load(Path::new(dir), client::environment()) {
        Ok(loaded) => {
            print!("{}", loaded.config.render_report());
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("{warning}"));
            ExitCode::SUCCESS
        }
        Err(problems) => fail(&lines_of(&problems)),
    }
}

fn lines_of(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// How the broker ended.
enum End {
    Stop,
    Restart,
}

/// Runs the broker until it is told to stop. A detached one has no console: what goes there goes to
/// its file instead, which is rotated.
fn run(etc: &Path, detached: bool) -> Result<End, Vec<String>> {
    let Loaded {
        config,
        mut settings,
        warnings,
        ..
    } = emqttd_config::load(etc, client::environment()).map_err(|problems| lines_of(&problems))?;
    if detached && settings.log.console != LogConsole::Off {
        settings.log.console = LogConsole::File;
    }
    println!("starting emqttd on node '{}'", settings.node.name);
    let log =
        emqttd_logging::init(&settings.log).map_err(|e| vec![format!("emqttd: the log: {e}")])?;
    for warning in &warnings {
        eprintln!("{warning}");
        log::warn!("{warning}");
    }
    allow_open_files(settings.node.max_ports);
    let data = settings.node.data_dir.clone();
    std::fs::create_dir_all(&data)
        .map_err(|e| vec![format!("emqttd: node.data_dir {}: {e}", data.display())])?;
    let listeners = settings.listeners.clone();
    let (broker, shards) =
        Broker::new(settings.clone(), shard_count(&settings)).map_err(|e| vec![e])?;
    let log = Arc::new(log);
    let observer = Arc::clone(&log);
    broker.on_settings(move |settings| observer.set_console_level(settings.log.console_level));
    note_plugins(&config, &settings)?;
    let core = Core::new(broker.clone(), Arc::new(Mutex::new(config)));
    let cli = emqttd_management::core(&core);
    // Before any listener: no other node may have this data directory.
    let reserved =
        server::reserve(&client::socket_in(&data)).map_err(|e| vec![format!("emqttd: {e}")])?;
    watch_signals(&broker, &log).map_err(|e| vec![format!("emqttd: signals: {e}")])?;
    let loops =
        Server::start(&broker, shards).map_err(|e| vec![format!("emqttd: event loops: {e}")])?;
    match loops.open(&listeners) {
        Ok(open) => {
            for listener in open {
                let (on, acceptors) = (listener.listen_on(), listener.settings.acceptors);
                println!(
                    "{} listen on {on} with {acceptors} acceptors.",
                    listener.protocol()
                );
            }
        }
        Err(errors) => {
            broker.stop();
            loops.join();
            return Err(errors.into_iter().map(|e| format!("emqttd: {e}")).collect());
        }
    }
    let socket = match reserved.serve(cli) {
        Ok(socket) => socket,
        Err(error) => {
            broker.stop();
            loops.join();
            return Err(vec![format!("emqttd: the control socket: {error}")]);
        }
    };
    println!("emqttd {VERSION} is running now");
    log::info!(
        "emqttd {VERSION} is running on node '{}'",
        settings.node.name
    );
    stop_with_stdin(&broker);
    loops.join();
    drop(socket);
    log.flush();
    Ok(if core.restart_wanted() {
        End::Restart
    } else {
        End::Stop
    })
}

/// `EMQ_LOADED_PLUGINS` takes the place of what the file of loaded plugins said (sheet 1.3).
fn note_plugins(config: &Config, settings: &Settings) -> Result<(), Vec<String>> {
    let Some(path) = &settings.plugins_loaded_file else {
        return Ok(());
    };
    if !config.plugins_from_environment() {
        return Ok(());
    }
    let names: String = config
        .loaded_plugins()
        .iter()
        .map(|name| format!("{name}.\n"))
        .collect();
    std::fs::write(path, names).map_err(|e| vec![format!("emqttd: {}: {e}", path.display())])
}

/// One event loop for each core but one, which is left to the kernel, to databases and to the disk;
/// `node.shards` says otherwise.
fn shard_count(settings: &Settings) -> usize {
    match settings.node.shards {
        0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).max(1)),
        given => given,
    }
}

/// Asks the system for as many descriptors as `node.max_ports` says, or as many as it gives.
fn allow_open_files(wanted: u64) {
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

fn watch_signals(broker: &Broker, log: &Arc<emqttd_logging::Handle>) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (broker, log) = (broker.clone(), Arc::clone(log));
    Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => log.reopen(),
                _ => broker.stop(),
            }
        }
    })?;
    Ok(())
}

/// For tests and supervisors that hold a pipe: the broker ends when its standard input does.
fn stop_with_stdin(broker: &Broker) {
    if std::env::var_os("EMQTTD_STOP_ON_STDIN_EOF").is_none() {
        return;
    }
    let broker = broker.clone();
    let thread = Builder::new().name("stdin".into()).spawn(move || {
        let mut bytes = [0; 64];
        while matches!(std::io::stdin().read(&mut bytes), Ok(1..)) {}
        broker.stop();
    });
    if let Err(error) = thread {
        log::error!("standard input is not watched: {error}");
    }
}
