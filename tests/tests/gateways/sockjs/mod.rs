//! `emq_sockjs`: the SockJS protocol byte for byte, and STOMP over each of its transports.

mod browser;
mod carrier;
mod closing;
mod conversation;
mod http;
mod listener;
mod paths;
mod polling;
mod sessions;
mod streaming;
mod websocket;

use std::net::SocketAddr;
use std::sync::OnceLock;

use emqttd_tests::{Broker, Config, unique};

use crate::common::address;

const PLUGIN: &str = "emq_sockjs";

/// A broker with two threads, and with the plugin, on a free port of loopback.
fn config(conf: &str) -> Config {
    Config::with_plugin(PLUGIN, &format!("sockjs.listener = 127.0.0.1:0\n{conf}"))
        .set("node.shards", "2")
}

/// The broker of all tests that change nothing in it.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(config("")))
}

/// Where [`broker`] speaks SockJS.
fn here() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| at(broker()))
}

fn at(broker: &Broker) -> SocketAddr {
    address(broker, "sockjs:http")
}

/// The path of a session that nobody has.
fn session() -> String {
    format!("/stomp/000/{}", unique("session"))
}

/// CONNECT as a message of SockJS.
const CONNECT: &str =
    "[\"CONNECT\\naccept-version:1.2\\nlogin:guest\\npasscode:guest\\n\\n\\u0000\"]";

/// What comes back.
const CONNECTED: &str =
    r#"a["CONNECTED\nserver:emq-stomp/1.2\nversion:1.2\nheart-beat:0,0\n\n\u0000"]"#;

/// DISCONNECT with a receipt, as a message of SockJS, and the receipt.
const DISCONNECT: &str = "[\"DISCONNECT\\nreceipt:bye\\n\\n\\u0000\"]";
const BYE: &str = r#"a["RECEIPT\nreceipt-id:bye\n\n\u0000"]"#;

/// What must not be kept by anybody on the way.
#[track_caller]
fn not_cached(head: &http::Head) {
    let control = head.value("cache-control");
    for word in [
        "no-store",
        "no-cache",
        "no-transform",
        "must-revalidate",
        "max-age=0",
    ] {
        assert!(control.contains(word), "{control}");
    }
    assert_eq!(head.header("expires"), None);
    assert_eq!(head.header("last-modified"), None);
}

/// Open to pages of any origin, with cookies where one was named.
#[track_caller]
fn cors(head: &http::Head, origin: Option<&str>) {
    let allowed = head.value("access-control-allow-origin");
    assert_eq!(allowed, origin.unwrap_or("*"));
    if origin.is_some() {
        assert_eq!(head.value("access-control-allow-credentials"), "true");
    }
}
