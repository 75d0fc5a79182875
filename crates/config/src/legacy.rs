//! Keys of EMQ 2.0 to 2.2 that 2.3 no longer knew, and what they are called now.

use crate::schema::words;

/// What an old key becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Translation {
    /// present keys with their values; empty when nothing corresponds
    pub(crate) assignments: Vec<(String, String)>,
    /// the warning
    pub(crate) message: String,
}

/// What happens to an old key that is no listener's.
enum Fate {
    /// same value under a new name
    Renamed(&'static str),
    /// another form of value under a new name
    Converted(&'static str, fn(&str) -> String),
    /// still a key of its plugin, which obeys it
    Obeyed(&'static str),
    /// nothing corresponds
    Gone(&'static str),
}

use Fate::{Converted, Gone, Obeyed, Renamed};

const NOMATCH: &str = "of 2.0 and 2.1 is still obeyed: what this plugin's ACL does not decide gets this \
                       answer; mqtt.acl_nomatch is the key for all";

/// Fixed names; those with a free word are in [`translate`].
const OLD: &[(&str, Fate)] = &[
    ("auth.http.acl_nomatch", Obeyed(NOMATCH)),
    ("auth.mongo.acl_nomatch", Obeyed(NOMATCH)),
    ("auth.mysql.acl_nomatch", Obeyed(NOMATCH)),
    ("auth.pgsql.acl_nomatch", Obeyed(NOMATCH)),
    ("auth.redis.acl_nomatch", Obeyed(NOMATCH)),
    (
        "auth.ldap.user_dn",
        Obeyed(
            "of 2.0 to 2.2 is still obeyed: clients are bound as this name; auth.ldap.auth_dn looks them up instead",
        ),
    ),
    ("auth.mongo.user", Renamed("auth.mongo.login")),
    ("cluster.id", Renamed("cluster.name")),
    (
        "cluster.multicast",
        Gone(
            "is written cluster.discovery = mcast with cluster.mcast.addr and cluster.mcast.ports now",
        ),
    ),
    ("coap.server", Converted("coap.port", port_of)),
    (
        "mqtt.client_idle_timeout",
        Renamed("mqtt.client.idle_timeout"),
    ),
    ("mqtt.mqueue.qos0", Renamed("mqtt.mqueue.store_qos0")),
    ("mqtt.pubsub.by_clientid", Gone("has no successor")),
    (
        "mqtt.queue.high_watermark",
        Renamed("mqtt.mqueue.high_watermark"),
    ),
    (
        "mqtt.queue.low_watermark",
        Renamed("mqtt.mqueue.low_watermark"),
    ),
    ("mqtt.queue.max_length", Renamed("mqtt.mqueue.max_length")),
    ("mqtt.queue.priority", Renamed("mqtt.mqueue.priority")),
    ("mqtt.queue.qos0", Renamed("mqtt.mqueue.store_qos0")),
    ("mqtt.queue.type", Renamed("mqtt.mqueue.type")),
    (
        "mqtt.session.collect_interval",
        Converted("mqtt.session.enable_stats", on_if_above_zero),
    ),
    (
        "mqtt.session.expired_after",
        Renamed("mqtt.session.expiry_interval"),
    ),
    ("mqtt.module.presence", Renamed("module.presence")),
    ("mqtt.module.presence.qos", Renamed("module.presence.qos")),
    (
        "mqtt.module.retainer",
        Gone("has no successor; retained messages are always kept, see retainer.*"),
    ),
    (
        "mqtt.module.retainer.expired_after",
        Converted("retainer.expiry_interval", seconds),
    ),
    (
        "mqtt.module.retainer.max_message_num",
        Renamed("retainer.max_message_num"),
    ),
    (
        "mqtt.module.retainer.max_payload_size",
        Renamed("retainer.max_payload_size"),
    ),
    (
        "mqtt.module.retainer.storage_type",
        Renamed("retainer.storage_type"),
    ),
    ("mqtt.module.subscription", Renamed("module.subscription")),
    (
        "module.retainer.expired_after",
        Converted("retainer.expiry_interval", seconds),
    ),
    (
        "module.retainer.max_message_num",
        Renamed("retainer.max_message_num"),
    ),
    (
        "module.retainer.max_payload_size",
        Renamed("retainer.max_payload_size"),
    ),
    (
        "module.retainer.storage_type",
        Renamed("retainer.storage_type"),
    ),
    (
        "module.subscription.backend",
        Gone("has no successor; see module.subscription.N.topic"),
    ),
];

/// What `key` means today, if an earlier release knew it and 2.3.11 did not.
pub(crate) fn translate(key: &str, value: &str) -> Option<Translation> {
    if let Some((_, fate)) = OLD.iter().find(|(old, _)| *old == key) {
        return Some(match fate {
            Renamed(new) => renamed((*new).to_owned(), value.to_owned()),
            Converted(new, convert) => renamed((*new).to_owned(), convert(value)),
            Obeyed(message) => Translation {
                assignments: vec![(key.to_owned(), value.to_owned())],
                message: (*message).to_owned(),
            },
            Gone(message) => Translation {
                assignments: Vec::new(),
                message: format!("of an earlier release is ignored: it {message}"),
            },
        });
    }
    match words(key).as_slice() {
        ["mqtt", "listener", kind, rest @ ..] => listener(kind, rest, value),
        ["mqtt", "module", "subscription", "topics"] => Some(subscriptions(value)),
        // Some words of two dots are keys of today, such as `auth.client.hash_cost`.
        ["auth", "client", id] if crate::schema::find(key).is_none() => {
            Some(credential("auth.client", "clientid", id, value))
        }
        ["auth", "username", name] => Some(credential("auth.user", "username", name, value)),
        ["coap", "handler" | "prefix", _] => Some(Translation {
            assignments: Vec::new(),
            message: "of an earlier release is ignored: the paths are fixed now".into(),
        }),
        _ => None,
    }
}

fn renamed(new: String, value: String) -> Translation {
    Translation {
        message: format!("of an earlier release is called {new} now"),
        assignments: vec![(new, value)],
    }
}

/// `mqtt.listener.<kind>` had one listener of each kind; http and https were WebSocket and HTTP API.
fn listener(kind: &str, rest: &[&str], value: &str) -> Option<Translation> {
    let (now, note) = match kind {
        "tcp" => ("tcp", ""),
        "ssl" => ("ssl", ""),
        "http" => (
            "ws",
            "; the HTTP API that it also served has listener.api.mgmt",
        ),
        "https" => (
            "wss",
            "; the HTTP API that it also served has listener.api.mgmt",
        ),
        _ => return None,
    };
    let new = match rest {
        [] => format!("listener.{now}.external"),
        // 2.0-rc.2 and rc.3 spelt it so.
        ["failed_if_no_peer_cert"] => format!("listener.{now}.external.fail_if_no_peer_cert"),
        [sub] => format!("listener.{now}.external.{sub}"),
        ["access", id] => format!("listener.{now}.external.access.{id}"),
        _ => return None,
    };
    crate::schema::find(&new)?;
    let mut translation = renamed(new, value.to_owned());
    if rest.is_empty() {
        translation.message.push_str(note);
    }
    Some(translation)
}

/// `$client/%c=1,$user/%u=1`
fn subscriptions(value: &str) -> Translation {
    let items = value
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    let mut assignments = Vec::new();
    for (index, item) in items.enumerate() {
        let (topic, qos) = item.rsplit_once('=').unwrap_or((item, "0"));
        let head = format!("module.subscription.{}", index + 1);
        assignments.push((format!("{head}.topic"), topic.trim().to_owned()));
        assignments.push((format!("{head}.qos"), qos.trim().to_owned()));
    }
    Translation {
        assignments,
        message: "of an earlier release is written module.subscription.N.topic and .qos now".into(),
    }
}

/// 2.0-rc.2 had the id or name in the key, and the password as the value.
fn credential(area: &str, field: &str, word: &str, password: &str) -> Translation {
    Translation {
        assignments: vec![
            (format!("{area}.{word}.{field}"), word.replace("\\.", ".")),
            (format!("{area}.{word}.password"), password.to_owned()),
        ],
        message: format!(
            "of an earlier release is written {area}.N.{field} and {area}.N.password now"
        ),
    }
}

fn port_of(value: &str) -> String {
    value.rsplit(':').next().unwrap_or(value).to_owned()
}

fn on_if_above_zero(value: &str) -> String {
    if value.bytes().all(|b| b == b'0') {
        "off"
    } else {
        "on"
    }
    .to_owned()
}

fn seconds(value: &str) -> String {
    if !value.is_empty() && value != "0" && value.bytes().all(|b| b.is_ascii_digit()) {
        format!("{value}s")
    } else {
        value.to_owned()
    }
}
