//! `status`, `broker`, `vm`, `mnesia`: the node as a whole.

use super::Core;
use crate::cli::Cli;
use crate::{SYSDESCR, VERSION, persistence, proc};
use emqttd_broker::Broker;
use emqttd_config::PersistenceSync;
use emqttd_store::Health;
use std::fmt::Display;

/// `<name padded>: <value>`, a line for each.
pub(super) fn rows<V: Display>(list: &[(&'static str, V)], width: usize) -> String {
    list.iter()
        .map(|(name, value)| format!("{name:<width$}: {value}\n"))
        .collect()
}

/// `status`
pub fn register_status(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "status",
        &[("status", "Show broker status")],
        Box::new(move |_| {
            let node = broker.node_name();
            Some(format!(
                "Node '{node}' is started\nemqttd {VERSION} is running\n"
            ))
        }),
    );
}

/// `broker [pubsub|stats|metrics]`
pub fn register_broker(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "broker",
        &[
            ("broker", "Show broker version, uptime and description"),
            ("broker pubsub", "Show process_info of pubsub"),
            (
                "broker stats",
                "Show broker statistics of clients, topics, subscribers",
            ),
            ("broker metrics", "Show broker metrics"),
        ],
        Box::new(move |call| {
            Some(match call.args {
                [] => rows(
                    &[
                        ("sysdescr", SYSDESCR.to_owned()),
                        ("version", VERSION.to_owned()),
                        ("uptime", broker.uptime()),
                        (
                            "datetime",
                            jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string(),
                        ),
                        ("persistence", persistence_line(&broker)),
                    ],
                    10,
                ),
                ["pubsub"] => pubsub(),
                ["stats"] => rows(&broker.stats(), 20),
                ["metrics"] => rows(&broker.metrics(), 24),
                // Those of EMQ and ours; scripts take the former for a closed list.
                ["metrics", "all"] => rows(&broker.all_metrics(), 24),
                _ => return None,
            })
        }),
    );
}

/// The mode of the store, and its health unless that is good.
fn persistence_line(broker: &Broker) -> String {
    let settings = &broker.settings().persistence;
    let Some(store) = broker.store() else {
        return persistence::mode(PersistenceSync::Off);
    };
    let mode = persistence::mode(settings.sync);
    match store.status() {
        status if status.health == Health::Good => mode,
        status => format!("{mode}; {}", persistence::health(&status, settings)),
    }
}

/// Event loops, which here do the work of the original's pubsub processes.
fn pubsub() -> String {
    let mut out = String::new();
    for (i, thread) in proc::threads("shard").iter().enumerate() {
        out += &format!(
            "pubsub: {}\n  {:<18}: {}\n  {:<18}: {}\n  {:<18}: {}\n",
            i + 1,
            "status",
            thread.status,
            "cpu_ms",
            thread.cpu_ms,
            "wakeups",
            thread.wakeups
        );
    }
    out
}

/// `vm [all|load|memory|process|io|ports]`: what the system says of this process.
pub fn register_vm(cli: &Cli) {
    cli.register(
        "vm",
        &[
            ("vm all", "Show info of Erlang VM"),
            ("vm load", "Show load of Erlang VM"),
            ("vm memory", "Show memory of Erlang VM"),
            ("vm process", "Show process of Erlang VM"),
            ("vm io", "Show IO of Erlang VM"),
            ("vm ports", "Show Ports of Erlang VM"),
        ],
        Box::new(|call| {
            Some(match call.args {
                [] | ["all"] => {
                    [vm_load(), vm_memory(), vm_process(), vm_io(), vm_ports()].concat()
                }
                ["load"] => vm_load(),
                ["memory"] => vm_memory(),
                ["process"] => vm_process(),
                ["io"] => vm_io(),
                ["ports"] => vm_ports(),
                _ => return None,
            })
        }),
    );
}

fn section(name: &str, width: usize, list: &[(&str, Option<String>)]) -> String {
    list.iter()
        .map(|(key, value)| {
            format!(
                "{name}/{key:<width$}: {}\n",
                value.as_deref().unwrap_or("undefined")
            )
        })
        .collect()
}

fn text(value: Option<u64>) -> Option<String> {
    value.map(|v| v.to_string())
}

fn vm_load() -> String {
    let [a, b, c] = proc::load().map_or([None, None, None], |l| l.map(Some));
    section("cpu", 20, &[("load1", a), ("load5", b), ("load15", c)])
}

fn vm_memory() -> String {
    section(
        "memory",
        17,
        &[
            ("total", text(proc::status("VmRSS"))),
            ("peak", text(proc::status("VmHWM"))),
            ("virtual", text(proc::status("VmSize"))),
            ("data", text(proc::status("VmData"))),
            ("stack", text(proc::status("VmStk"))),
            ("code", text(proc::status("VmExe"))),
            ("swap", text(proc::status("VmSwap"))),
        ],
    )
}

fn vm_process() -> String {
    section(
        "process",
        16,
        &[
            ("limit", text(proc::limit("Max processes"))),
            ("count", text(proc::status("Threads"))),
        ],
    )
}

fn vm_io() -> String {
    let (files, _) = proc::open_files();
    section(
        "io",
        21,
        &[
            ("max_fds", text(proc::limit("Max open files"))),
            ("active_fds", Some(files.to_string())),
        ],
    )
}

fn vm_ports() -> String {
    let (_, sockets) = proc::open_files();
    section(
        "ports",
        16,
        &[
            ("count", Some(sockets.to_string())),
            ("limit", text(proc::limit("Max open files"))),
        ],
    )
}

/// `mnesia`: what the node keeps, and where.
pub fn register_mnesia(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "mnesia",
        &[("mnesia", "Mnesia system info")],
        Box::new(move |call| {
            if !call.args.is_empty() {
                return None;
            }
            let stats = broker.stats();
            let count = |name: &str| {
                stats
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map_or(0, |(_, v)| *v)
                    .to_string()
            };
            Some(rows(
                &[
                    (
                        "storage",
                        match broker.store() {
                            Some(_) => "disk".to_owned(),
                            None => "memory".to_owned(),
                        },
                    ),
                    ("running_nodes", format!("['{}']", broker.node_name())),
                    ("sessions", count("sessions/count")),
                    ("subscriptions", count("subscriptions/count")),
                    ("routes", count("routes/count")),
                    ("retained", count("retained/count")),
                    ("waiting_in_groups", broker.group_backlog().to_string()),
                ],
                20,
            ))
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paddings() {
        assert_eq!(
            rows(&[("clients/count", 3)], 20),
            "clients/count       : 3\n"
        );
        assert_eq!(
            rows(&[("packets/pubcomp/received", 3)], 24),
            "packets/pubcomp/received: 3\n"
        );
        assert_eq!(rows(&[("version", "1")], 10), "version   : 1\n");
        let cut = |s: String| s.split(": ").next().map(str::to_owned);
        assert_eq!(cut(vm_load()).as_deref(), Some("cpu/load1               "));
        assert_eq!(
            cut(vm_memory()).as_deref(),
            Some("memory/total            ")
        );
        assert_eq!(
            cut(vm_process()).as_deref(),
            Some("process/limit           ")
        );
        assert_eq!(cut(vm_io()).as_deref(), Some("io/max_fds              "));
        assert_eq!(cut(vm_ports()).as_deref(), Some("ports/count           "));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn figures_of_this_process() {
        for row in [vm_memory(), vm_io(), vm_load()].concat().lines() {
            let value = row.rsplit(": ").next().and_then(|v| v.parse::<f64>().ok());
            assert!(value.is_some_and(|v| v >= 0.0), "{row}");
        }
    }
}
