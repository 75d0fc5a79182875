//! `emq_stomp`, byte for byte, and with the clients of others.

mod access;
mod acknowledge;
mod connect;
mod headers;
mod heartbeat;
mod hostile;
mod limits;
mod listener;
mod messages;
mod peers;
mod syntax;
mod transactions;

use std::net::SocketAddr;
use std::sync::OnceLock;

use emqttd_tests::stomp::Stomp;
use emqttd_tests::{Broker, Config};

use crate::common::address;

const PLUGIN: &str = "emq_stomp";

/// A broker with two threads, and with the plugin, on a free port of loopback.
fn config(conf: &str) -> Config {
    Config::with_plugin(PLUGIN, &format!("stomp.listener = 127.0.0.1:0\n{conf}"))
        .set("node.shards", "2")
}

/// The broker of all tests that change nothing in it. Retained messages are kept.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(config("").loaded(&["emq_retainer", PLUGIN])))
}

/// Where [`broker`] speaks STOMP.
fn here() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| at(broker()))
}

fn at(broker: &Broker) -> SocketAddr {
    address(broker, "stomp:tcp")
}

/// A connection to [`broker`], let in as `guest`.
#[track_caller]
fn guest() -> Stomp {
    Stomp::guest(here(), &[])
}

/// The same with a client identifier.
#[track_caller]
fn named(clientid: &str) -> Stomp {
    Stomp::guest(here(), &[("client-id", clientid)])
}
