//! `trace`: packet logs of one client or one topic.

use super::Core;
use crate::cli::Cli;
use emqttd_broker::{AdminError, TraceInfo, TraceTarget};
use std::path::Path;

fn name(target: &TraceTarget) -> String {
    match target {
        TraceTarget::Client(id) => format!("client {id}"),
        TraceTarget::Topic(topic) => format!("topic {topic}"),
    }
}

fn line(t: &TraceInfo) -> String {
    format!("trace {} -> {}\n", name(&t.target), t.file.display())
}

fn started(target: &TraceTarget, result: Result<(), AdminError>) -> String {
    match result {
        // A second start of the same trace is no error.
        Ok(()) | Err(AdminError::Existed) => format!("trace {} successfully.\n", name(target)),
        Err(e) => format!("trace {} error: {e}.\n", name(target)),
    }
}

fn stopped(target: &TraceTarget, result: Result<(), AdminError>) -> String {
    match result {
        Ok(()) => format!("stop tracing {} successfully.\n", name(target)),
        Err(e) => format!("stop tracing {} error: {e}.\n", name(target)),
    }
}

/// `trace list|client|topic`
pub fn register(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "trace",
        &[
            ("trace list", "List all traces"),
            ("trace client <ClientId> <LogFile>", "Trace a client"),
            ("trace client <ClientId> off", "Stop tracing a client"),
            ("trace topic <Topic> <LogFile>", "Trace a topic"),
            ("trace topic <Topic> off", "Stop tracing a Topic"),
        ],
        Box::new(move |call| {
            let (target, file) = match *call.args {
                ["list"] => return Some(broker.traces().iter().map(line).collect()),
                ["client", id, file] => (TraceTarget::Client(id.into()), file),
                ["topic", topic, file] => (TraceTarget::Topic(topic.into()), file),
                _ => return None,
            };
            Some(if file == "off" {
                stopped(&target, broker.trace_stop(target.clone()))
            } else {
                started(&target, broker.trace_start(target.clone(), Path::new(file)))
            })
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let c = TraceTarget::Client("c1".into());
        let t = TraceTarget::Topic("t/a".into());
        assert_eq!(started(&c, Ok(())), "trace client c1 successfully.\n");
        assert_eq!(
            started(&t, Err(AdminError::Existed)),
            "trace topic t/a successfully.\n"
        );
        assert_eq!(
            stopped(&c, Ok(())),
            "stop tracing client c1 successfully.\n"
        );
        assert_eq!(
            stopped(&c, Err(AdminError::NotFound)),
            "stop tracing client c1 error: not_found.\n"
        );
        let info = TraceInfo {
            target: t,
            file: "F".into(),
        };
        assert_eq!(line(&info), "trace topic t/a -> F\n");
    }
}
