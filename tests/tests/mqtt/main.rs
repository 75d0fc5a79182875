//! Black-box tests over sockets, one module a feature.
//!
//! A test is named for the statement that it checks: `mqtt_3_1_0_2_...` is [MQTT-3.1.0-2] of MQTT 5.0, run
//! with all versions that have the statement; `mqtt5_...` runs with 5.0 only; `mqtt311_...` is numbered as in
//! 3.1.1 and runs with 3.1 and 3.1.1. Further statements stand in its doc comment. `emq_...` is what EMQ 2.x
//! did where the standard leaves a choice. `docs/conformance.md` is made from these names.

#![allow(clippy::unwrap_used, missing_docs)]

mod acl;
mod connect;
mod ctl;
mod durable;
mod durable_disk;
mod durable_files;
mod durable_flows;
mod durable_queue;
mod durable_retained;
mod durable_shards;
mod durable_shared;
mod enhanced_auth;
mod flow_control;
mod keepalive;
mod limits;
mod malformed;
mod ordering;
mod properties;
mod proxy_protocol;
mod publish;
mod qos1;
mod qos2;
mod queue;
mod request_response;
mod retain;
mod session_resume;
mod shared;
mod subscribe;
mod sys;
mod takeover;
mod tls;
mod topic_alias;
mod topics;
mod unsubscribe;
mod websocket;
mod will;

use std::sync::OnceLock;

use emqttd_tests::{Broker, Config};

/// The broker of all tests that need no configuration of their own.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new()))
}
