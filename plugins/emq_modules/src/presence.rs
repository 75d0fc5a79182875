//! Presence: a message for each client that connects, is refused, or is gone.

use crate::json::push_string;
use crate::throttle::Throttle;
use emqttd_plugin_sdk::{Client, Context, HookPoint, Hooks, Publish, QoS};
use std::borrow::Cow;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// The sender of these messages, as hooks see it.
const SENDER: &str = "presence";

pub(crate) struct Presence {
    ctx: Context,
    qos: QoS,
    /// `$SYS/brokers/<node>/clients/`
    prefix: String,
    unsent: Throttle,
}

impl Presence {
    pub(crate) fn new(ctx: Context, qos: QoS) -> Presence {
        let prefix = format!("$SYS/brokers/{}/clients/", ctx.node());
        Presence {
            ctx,
            qos,
            prefix,
            unsent: Throttle::new(),
        }
    }

    fn publish(&self, client: &Client, event: &str, payload: String) {
        let topic = format!("{}{}/{event}", self.prefix, topic_form(&client.clientid));
        let message = Publish::new(topic, payload).qos(self.qos).from(SENDER);
        if let Err(error) = self.ctx.publish(message) {
            self.unsent.warn(|| {
                let len = client.clientid.len();
                format!("presence: {event} of a client id of {len} bytes: {error}")
            });
        }
    }
}

impl Hooks for Presence {
    fn points(&self) -> u32 {
        HookPoint::ClientConnected as u32 | HookPoint::ClientDisconnected as u32
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        self.publish(client, "connected", connected(client, connack, now()));
    }

    fn client_disconnected(&self, client: &Client, reason: &str, code: Option<u8>) {
        let payload = disconnected(client, reason, code, now());
        self.publish(client, "disconnected", payload);
    }
}

/// A client identifier as levels of a topic name. A `/` in it separates levels, as in EMQ; wildcards may
/// not stand in a topic name and are written as in a URL, like in the topics of alarms.
fn topic_form(clientid: &str) -> Cow<'_, str> {
    if clientid.contains(['+', '#']) {
        clientid.replace('+', "%2b").replace('#', "%23").into()
    } else {
        clientid.into()
    }
}

fn connected(client: &Client, connack: u8, ts: u64) -> String {
    let mut json = names(client);
    // Writing to a String does not fail.
    let _ = write!(
        json,
        r#","ipaddress":"{}","clean_sess":{},"protocol":{},"connack":{connack},"ts":{ts}}}"#,
        client.peername.ip(),
        client.clean_sess,
        client.proto_ver,
    );
    json
}

/// The reason code stands behind EMQ's fields, for clients whose protocol has such codes.
fn disconnected(client: &Client, reason: &str, code: Option<u8>, ts: u64) -> String {
    let mut json = names(client);
    json.push_str(r#","reason":"#);
    push_string(&mut json, reason);
    let _ = write!(json, r#","ts":{ts}"#);
    if let Some(code) = code
        && client.proto_ver >= 5
    {
        let _ = write!(json, r#","reason_code":{code}"#);
    }
    json.push('}');
    json
}

/// The beginning of both payloads: who it is.
fn names(client: &Client) -> String {
    let mut json = String::with_capacity(192);
    json.push_str(r#"{"clientid":"#);
    push_string(&mut json, &client.clientid);
    json.push_str(r#","username":"#);
    push_string(&mut json, client.username.as_deref().unwrap_or("undefined"));
    json
}

/// Unix seconds.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use emqttd_plugin_sdk::testing::client;

    #[test]
    fn fields_stand_in_the_order_of_emq() {
        let mut c = client("c1");
        assert_eq!(
            connected(&c, 4, 1_530_000_000),
            r#"{"clientid":"c1","username":"undefined","ipaddress":"127.0.0.1","clean_sess":true,"protocol":4,"connack":4,"ts":1530000000}"#
        );
        c.username = Some("u1".into());
        c.clean_sess = false;
        c.proto_ver = 3;
        c.peername = "[2001:db8::1]:1883".parse().expect("an address");
        assert_eq!(
            connected(&c, 0, 1),
            r#"{"clientid":"c1","username":"u1","ipaddress":"2001:db8::1","clean_sess":false,"protocol":3,"connack":0,"ts":1}"#
        );
        assert_eq!(
            disconnected(&c, "normal", Some(0), 1_530_000_000),
            r#"{"clientid":"c1","username":"u1","reason":"normal","ts":1530000000}"#
        );
    }

    #[test]
    fn a_reason_code_is_for_mqtt_5() {
        let mut c = client("c\"");
        c.proto_ver = 5;
        assert_eq!(
            disconnected(&c, "conflict", Some(142), 7),
            r#"{"clientid":"c\"","username":"undefined","reason":"conflict","ts":7,"reason_code":142}"#
        );
        assert_eq!(
            disconnected(&c, "closed", None, 7),
            r#"{"clientid":"c\"","username":"undefined","reason":"closed","ts":7}"#
        );
    }

    #[test]
    fn client_ids_as_levels() {
        assert_eq!(topic_form("a/b"), "a/b");
        assert_eq!(topic_form("pres/9/+#"), "pres/9/%2b%23");
        assert_eq!(topic_form("100%"), "100%");
    }
}
