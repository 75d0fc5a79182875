//! `cluster` and `bridges`: a single node answers for itself.

use super::Core;
use crate::cli::Cli;

/// A node name without a host gets that of this node.
fn full_name(given: &str, this: &str) -> String {
    match this.split_once('@') {
        Some((_, host)) if !given.contains('@') => format!("{given}@{host}"),
        _ => given.to_owned(),
    }
}

/// `cluster join|leave|force-leave|status`
pub fn register_cluster(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "cluster",
        &[
            ("cluster join <Node>", "Join the cluster"),
            ("cluster leave", "Leave the cluster"),
            (
                "cluster force-leave <Node>",
                "Force the node leave from cluster",
            ),
            ("cluster status", "Cluster status"),
        ],
        Box::new(move |call| cluster(call.args, &broker.node_name())),
    );
}

fn cluster(args: &[&str], this: &str) -> Option<String> {
    Some(match args {
        ["join", node] => match full_name(node, this) {
            node if node == this => "Ignore.\n".into(),
            node => format!("Failed to join the cluster: {{node_down,'{node}'}}\n"),
        },
        ["leave"] => "Failed to leave the cluster: node_not_in_cluster\n".into(),
        // `remove` was its name until 2.2.
        ["force-leave" | "remove", node] => {
            if full_name(node, this) == this {
                "Ignore.\n".into()
            } else {
                "Failed to remove the node from cluster: node_not_in_cluster\n".into()
            }
        }
        ["status"] => format!("Cluster status: [{{running_nodes,['{this}']}}]\n"),
        _ => return None,
    })
}

/// `bridges list|options|start|stop`
pub fn register_bridges(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "bridges",
        &[
            ("bridges list", "List bridges"),
            ("bridges options", "Bridge options"),
            ("bridges start <Node> <Topic>", "Start a bridge"),
            (
                "bridges start <Node> <Topic> <Options>",
                "Start a bridge with options",
            ),
            ("bridges stop <Node> <Topic>", "Stop a bridge"),
        ],
        Box::new(move |call| bridges(call.args, &broker.node_name())),
    );
}

const BRIDGE_OPTIONS: &str = "Options:\n  prefix  = string\n  suffix  = string\n  queue   = integer\n\
                              Example:\n  prefix=abc/,suffix=/yxz,queue=1000\n";

fn bridges(args: &[&str], this: &str) -> Option<String> {
    Some(match args {
        ["list"] => String::new(),
        ["options"] => BRIDGE_OPTIONS.into(),
        ["start", node, _] => bridge_start(node, "", this),
        ["start", node, _, options] => bridge_start(node, options, this),
        ["stop", _, _] => "error: not_found\n".into(),
        _ => return None,
    })
}

fn bridge_start(node: &str, options: &str, this: &str) -> String {
    let mut out = String::new();
    for option in options.split(',').filter(|o| !o.is_empty()) {
        let key = option.split('=').next().unwrap_or(option);
        if !["prefix", "suffix", "queue"].contains(&key) {
            out += &format!("Bad Option: {key}\n");
        }
    }
    let node = full_name(node, this);
    if node == this {
        return out + "error: bridge_to_self\n";
    }
    // A bridge spoke the protocol between Erlang nodes, which is not spoken here.
    out + &format!("error: {{cannot_connect_node,'{node}'}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIS: &str = "emq@127.0.0.1";

    #[test]
    fn cluster_of_one() {
        let ask = |args: &[&str]| cluster(args, THIS).unwrap_or_default();
        assert_eq!(
            ask(&["status"]),
            "Cluster status: [{running_nodes,['emq@127.0.0.1']}]\n"
        );
        assert_eq!(ask(&["join", "emq"]), "Ignore.\n");
        assert_eq!(
            ask(&["join", "none"]),
            "Failed to join the cluster: {node_down,'none@127.0.0.1'}\n"
        );
        assert_eq!(ask(&["force-leave", THIS]), "Ignore.\n");
        assert_eq!(
            ask(&["leave"]),
            "Failed to leave the cluster: node_not_in_cluster\n"
        );
        assert_eq!(cluster(&["nope"], THIS), None);
    }

    #[test]
    fn no_bridges() {
        let ask = |args: &[&str]| bridges(args, THIS).unwrap_or_default();
        assert_eq!(ask(&["list"]), "");
        assert_eq!(ask(&["start", "emq", "t/#"]), "error: bridge_to_self\n");
        assert_eq!(
            ask(&["start", "b@h", "t/#", "qos=1,prefix=x"]),
            "Bad Option: qos\nerror: {cannot_connect_node,'b@h'}\n"
        );
        assert_eq!(ask(&["stop", "b@h", "t/#"]), "error: not_found\n");
        assert_eq!(bridges(&["start", "x"], THIS), None);
    }
}
