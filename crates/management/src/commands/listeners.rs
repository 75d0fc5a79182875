//! `listeners`: those that are open, and opening, closing and reopening one by its address.

use super::Core;
use crate::cli::Cli;
use emqttd_broker::{AdminError, ListenerInfo};

/// The five lines of one listener.
pub fn listener_rows(l: &ListenerInfo) -> String {
    let row = |key: &str, value: String| format!("  {key:<16}: {value}\n");
    let reasons: Vec<String> = l
        .shutdown_count
        .iter()
        .map(|(r, n)| format!("{{{r},{n}}}"))
        .collect();
    [
        format!("listener on {}:{}\n", l.protocol, l.listen_on),
        row("acceptors", l.acceptors.to_string()),
        row("max_clients", l.max_clients.to_string()),
        row("current_clients", l.current_clients.to_string()),
        row("shutdown_count", format!("[{}]", reasons.join(","))),
    ]
    .concat()
}

/// `listeners [start|restart|stop <Proto> <ListenOn>]`
pub fn register(cli: &Cli, core: &Core) {
    let core = core.clone();
    cli.register(
        "listeners",
        &[
            ("listeners", "List listeners"),
            ("listeners restart <Proto> <Port>", "Restart a listener"),
            ("listeners stop    <Proto> <Port>", "Stop a listener"),
        ],
        Box::new(move |call| {
            let on = call.args.last().copied().map_or_else(String::new, address);
            Some(match *call.args {
                [] => core.broker.listeners().iter().map(listener_rows).collect(),
                ["start", proto, given] => {
                    let done = core.listener_start(&proto_name(proto), &on);
                    told("Start", "Start", proto, given, done)
                }
                ["restart", proto, given] => {
                    let done = core.listener_restart(&proto_name(proto), &on);
                    told("Restart", "restart", proto, given, done)
                }
                // Only the full name finds one, as observed; `tcp` alone never did.
                ["stop", proto, given] => {
                    let done = core.listener_stop(proto, &on);
                    told("Stop", "stop", proto, given, done)
                }
                _ => return None,
            })
        }),
    );
}

/// `tcp` is short for `mqtt:tcp`; `http` and `https` are what 2.0 called `ws` and `wss`.
fn proto_name(given: &str) -> String {
    match given {
        "tcp" | "ssl" | "ws" | "wss" | "api" => format!("mqtt:{given}"),
        "http" => "mqtt:ws".into(),
        "https" => "mqtt:wss".into(),
        other => other.into(),
    }
}

/// A bare port, as `emq.conf` and the usage have it, is listed with the address it stands for.
fn address(given: &str) -> String {
    match given.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("0.0.0.0:{given}"),
        false => given.into(),
    }
}

fn told(done: &str, verb: &str, proto: &str, on: &str, result: Result<(), AdminError>) -> String {
    match result {
        Ok(()) => format!("{done} {proto} listener on {on} successfully.\n"),
        Err(e) => format!("Failed to {verb} {proto} listener on {on}, error:{e}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let mut l = ListenerInfo {
            protocol: "mqtt:tcp".into(),
            listen_on: "127.0.0.1:1883".into(),
            acceptors: 16,
            max_clients: 102400,
            current_clients: 3,
            shutdown_count: vec![("closed".into(), 47), ("conflict".into(), 9)],
        };
        assert_eq!(
            listener_rows(&l),
            "listener on mqtt:tcp:127.0.0.1:1883\n  acceptors       : 16\n  max_clients     : 102400\n  \
             current_clients : 3\n  shutdown_count  : [{closed,47},{conflict,9}]\n"
        );
        assert_eq!(address("8883"), "0.0.0.0:8883");
        assert_eq!(address("127.0.0.1:8883"), "127.0.0.1:8883");
        l.shutdown_count.clear();
        assert!(listener_rows(&l).ends_with("  shutdown_count  : []\n"));
        assert_eq!(
            told("Stop", "stop", "tcp", "1", Err(AdminError::NotFound)),
            "Failed to stop tcp listener on 1, error:not_found\n"
        );
        assert_eq!(
            told("Restart", "restart", "mqtt:tcp", "1883", Ok(())),
            "Restart mqtt:tcp listener on 1883 successfully.\n"
        );
    }
}
