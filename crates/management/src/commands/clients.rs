//! `clients`, `sessions`, `routes`, `topics`, `subscriptions`.

use super::Core;
use crate::cli::Cli;
use emqttd_broker::{AdminError, ClientInfo, SessionInfo, SubscriptionInfo};

const NOT_FOUND: &str = "Not Found.\n";

/// One line of `clients list`.
pub fn client_line(c: &ClientInfo) -> String {
    format!(
        "Client({}, clean_sess={}, username={}, peername={}, connected_at={})\n",
        c.clientid,
        c.clean_sess,
        c.username.as_deref().unwrap_or("undefined"),
        c.peername,
        c.connected_at
    )
}

/// One line of `sessions list`; without statistics the counters read `undefined`.
pub fn session_line(s: &SessionInfo, stats: bool) -> String {
    let n = |value: u64| {
        if stats {
            value.to_string()
        } else {
            "undefined".to_owned()
        }
    };
    format!(
        "Session({}, clean_sess={}, subscriptions={}, max_inflight={}, inflight={}, mqueue_len={}, \
         mqueue_dropped={}, awaiting_rel={}, deliver_msg={}, enqueue_msg={}, created_at={})\n",
        s.clientid,
        s.clean_sess,
        n(s.subscriptions as u64),
        n(s.max_inflight as u64),
        n(s.inflight as u64),
        n(s.mqueue_len as u64),
        n(s.mqueue_dropped),
        n(s.awaiting_rel as u64),
        n(s.deliver_msg),
        n(s.enqueue_msg),
        s.created_at
    )
}

fn subscription_line(s: &SubscriptionInfo) -> String {
    format!("{}{} -> {}\n", s.clientid, s.pid, s.topic)
}

/// The lines of one subscription in `subscriptions show`.
pub fn subscription_rows(s: &SubscriptionInfo) -> String {
    let mut out = subscription_line(s);
    out += &format!("  {:<8}: {}\n", "qos", s.qos);
    if let Some(group) = &s.share {
        // The original holds `$queue` as an atom that needs quotes, other groups as text.
        let group = if group == "$queue" { "'$queue'" } else { group };
        out += &format!("  {:<8}: {group}\n", "share");
    }
    if s.local {
        out += &format!("  {:<8}: true\n", "local");
    }
    out
}

/// `clients list|show|kick`
pub fn register_clients(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "clients",
        &[
            ("clients list", "List all clients"),
            ("clients show <ClientId>", "Show a client"),
            ("clients kick <ClientId>", "Kick out a client"),
        ],
        Box::new(move |call| {
            Some(match call.args {
                ["list"] => broker.clients().iter().map(client_line).collect(),
                ["show", id] => broker
                    .client(id)
                    .as_ref()
                    .map_or(NOT_FOUND.into(), client_line),
                ["kick", id] => match broker.kick(id) {
                    Ok(()) => String::new(),
                    Err(AdminError::NotFound) => NOT_FOUND.into(),
                    Err(e) => format!("Error: {e}\n"),
                },
                _ => return None,
            })
        }),
    );
}

/// `sessions list|show`
pub fn register_sessions(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "sessions",
        &[
            ("sessions list", "List all sessions"),
            ("sessions list persistent", "List all persistent sessions"),
            ("sessions list transient", "List all transient sessions"),
            ("sessions show <ClientId>", "Show a session"),
        ],
        Box::new(move |call| {
            let stats = broker.settings().session.enable_stats;
            let list = |keep: &dyn Fn(&SessionInfo) -> bool| -> String {
                broker
                    .sessions()
                    .iter()
                    .filter(|s| keep(s))
                    .map(|s| session_line(s, stats))
                    .collect()
            };
            Some(match call.args {
                ["list"] => list(&|_| true),
                ["list", "persistent"] => list(&|s| !s.clean_sess),
                ["list", "transient"] => list(&|s| s.clean_sess),
                ["show", id] => broker
                    .session(id)
                    .map_or(NOT_FOUND.into(), |s| session_line(&s, stats)),
                _ => return None,
            })
        }),
    );
}

/// `routes list|show`
pub fn register_routes(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "routes",
        &[
            ("routes list", "List all routes"),
            ("routes show <Topic>", "Show a route"),
        ],
        Box::new(move |call| {
            let node = broker.node_name();
            Some(match call.args {
                ["list"] => broker
                    .routes()
                    .iter()
                    .map(|r| format!("{} -> {node}\n", r.topic))
                    .collect(),
                ["show", topic] if broker.has_route(topic) => format!("{topic} -> {node}\n"),
                ["show", _] => String::new(),
                _ => return None,
            })
        }),
    );
}

/// `topics list|show`: the routes that other nodes would see, without `$local/` ones.
pub fn register_topics(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "topics",
        &[
            ("topics list", "List all topics"),
            ("topics show <Topic>", "Show a topic"),
        ],
        Box::new(move |call| {
            Some(match call.args {
                ["list"] => {
                    let routes = broker.routes();
                    routes
                        .iter()
                        .filter(|r| !r.local)
                        .map(|r| format!("{}\n", r.topic))
                        .collect()
                }
                ["show", topic] if broker.has_route(topic) => {
                    format!("{topic} -> {}\n", broker.node_name())
                }
                ["show", _] => String::new(),
                _ => return None,
            })
        }),
    );
}

/// `subscriptions list|show|add|del`
pub fn register_subscriptions(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "subscriptions",
        &[
            ("subscriptions list", "List all subscriptions"),
            (
                "subscriptions show <ClientId>",
                "Show subscriptions of a client",
            ),
            (
                "subscriptions add <ClientId> <Topic> <QoS>",
                "Add a static subscription manually",
            ),
            (
                "subscriptions del <ClientId> <Topic>",
                "Delete a static subscription manually",
            ),
        ],
        Box::new(move |call| {
            Some(match call.args {
                ["list"] => broker
                    .subscriptions()
                    .iter()
                    .map(subscription_line)
                    .collect(),
                ["show", id] => broker.subscriptions_of(id).map_or(NOT_FOUND.into(), |l| {
                    l.iter().map(subscription_rows).collect()
                }),
                ["add", id, filter, qos] => match *qos {
                    "0" => outcome(broker.subscribe(id, filter, 0)),
                    "1" => outcome(broker.subscribe(id, filter, 1)),
                    "2" => outcome(broker.subscribe(id, filter, 2)),
                    _ => "QoS should be 0, 1, 2\n".into(),
                },
                ["del", id, filter] => outcome(broker.unsubscribe(id, filter)),
                _ => return None,
            })
        }),
    );
}

fn outcome(result: Result<(), AdminError>) -> String {
    match result {
        Ok(()) => "ok\n".into(),
        // Without a line end, as ever.
        Err(AdminError::NotFound) => "Error: Session not found!".into(),
        Err(e) => format!("Error: {e}\n"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_broker::Pid;

    #[test]
    fn clients() {
        let mut c = ClientInfo {
            clientid: "c1".into(),
            clean_sess: false,
            username: Some("alice".into()),
            peername: "127.0.0.1:48388".parse().unwrap(),
            connected_at: 1795383670,
            proto_ver: 4,
            keepalive: 60,
        };
        assert_eq!(
            client_line(&c),
            "Client(c1, clean_sess=false, username=alice, peername=127.0.0.1:48388, connected_at=1795383670)\n"
        );
        c.username = None;
        assert!(client_line(&c).contains(", username=undefined, "));
    }

    #[test]
    fn sessions() {
        let s = SessionInfo {
            clientid: "c1".into(),
            clean_sess: false,
            subscriptions: 3,
            max_inflight: 32,
            inflight: 1,
            mqueue_len: 0,
            mqueue_dropped: 0,
            awaiting_rel: 0,
            deliver_msg: 2,
            enqueue_msg: 0,
            created_at: 1795383670,
            online: true,
        };
        assert_eq!(
            session_line(&s, true),
            "Session(c1, clean_sess=false, subscriptions=3, max_inflight=32, inflight=1, mqueue_len=0, \
             mqueue_dropped=0, awaiting_rel=0, deliver_msg=2, enqueue_msg=0, created_at=1795383670)\n"
        );
        assert!(session_line(&s, false).contains("deliver_msg=undefined, enqueue_msg=undefined, "));
    }

    #[test]
    fn subscriptions() {
        let mut s = SubscriptionInfo {
            clientid: "c2".into(),
            pid: Pid { shard: 0, slot: 7 },
            topic: "q/1".into(),
            qos: 0,
            share: Some("$queue".into()),
            local: false,
        };
        assert_eq!(
            subscription_rows(&s),
            "c2<0.7.0> -> q/1\n  qos     : 0\n  share   : '$queue'\n"
        );
        s.share = Some("g1".into());
        assert!(subscription_rows(&s).ends_with("  share   : g1\n"));
        s.share = None;
        s.local = true;
        assert_eq!(
            subscription_rows(&s),
            "c2<0.7.0> -> q/1\n  qos     : 0\n  local   : true\n"
        );
        assert_eq!(
            outcome(Err(AdminError::NotFound)),
            "Error: Session not found!"
        );
        assert_eq!(outcome(Ok(())), "ok\n");
    }
}
