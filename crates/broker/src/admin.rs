//! Operations on a running broker, each one once; the CLI, and later REST and the dashboard, are
//! views of them. Every call may block for as long as the event loops take to answer (milliseconds);
//! never call them from an event loop.
#![allow(missing_docs, unused_variables, clippy::todo)]

use crate::info::*;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// Handle to the running broker; clones are cheap.
#[derive(Clone)]
pub struct Broker {}

impl Broker {
    pub fn node_name(&self) -> String { todo!() }
    /// `5 seconds`, `2 minutes, 5 seconds`, ... (sheet 8.2)
    pub fn uptime(&self) -> String { todo!() }
    /// Settings in force.
    pub fn settings(&self) -> Arc<emqttd_config::Settings> { todo!() }
    /// Puts changed settings in force (`emqttd_ctl set`).
    pub fn reconfigure(&self, settings: emqttd_config::Settings) { todo!() }
    /// Every connected client, ordered by client id.
    pub fn clients(&self) -> Vec<ClientInfo> { todo!() }
    pub fn client(&self, clientid: &str) -> Option<ClientInfo> { todo!() }
    /// Ends the client's connection (reason `kick`; the will is published).
    pub fn kick(&self, clientid: &str) -> Result<(), AdminError> { todo!() }
    /// Every session, online or not, ordered by client id.
    pub fn sessions(&self) -> Vec<SessionInfo> { todo!() }
    pub fn session(&self, clientid: &str) -> Option<SessionInfo> { todo!() }
    pub fn subscriptions(&self) -> Vec<SubscriptionInfo> { todo!() }
    /// `None` when there is no such session.
    pub fn subscriptions_of(&self, clientid: &str) -> Option<Vec<SubscriptionInfo>> { todo!() }
    /// Subscribes for a client: no ACL, no hook, no SUBACK.
    pub fn subscribe(&self, clientid: &str, filter: &str, qos: u8) -> Result<(), AdminError> { todo!() }
    pub fn unsubscribe(&self, clientid: &str, filter: &str) -> Result<(), AdminError> { todo!() }
    /// Routed filters, `$local` ones last.
    pub fn routes(&self) -> Vec<RouteInfo> { todo!() }
    pub fn has_route(&self, filter: &str) -> bool { todo!() }
    /// Names as in sheet 8.3 (`clients/count`, ...), sorted.
    pub fn stats(&self) -> Vec<(&'static str, u64)> { todo!() }
    /// Names as in sheet 8.4, sorted; further ones of ours follow the same form.
    pub fn metrics(&self) -> Vec<(&'static str, u64)> { todo!() }
    pub fn listeners(&self) -> Vec<ListenerInfo> { todo!() }
    /// `proto` as `mqtt:tcp`; `listen_on` exactly as listed.
    pub fn listener_start(&self, proto: &str, listen_on: &str) -> Result<(), AdminError> { todo!() }
    pub fn listener_restart(&self, proto: &str, listen_on: &str) -> Result<(), AdminError> { todo!() }
    pub fn listener_stop(&self, proto: &str, listen_on: &str) -> Result<(), AdminError> { todo!() }
    pub fn traces(&self) -> Vec<TraceInfo> { todo!() }
    pub fn trace_start(&self, target: TraceTarget, file: &Path) -> Result<(), AdminError> { todo!() }
    pub fn trace_stop(&self, target: TraceTarget) -> Result<(), AdminError> { todo!() }
    /// Re-reads acl.conf; the error says where it is wrong, and the old rules stay.
    pub fn acl_reload(&self) -> Result<(), String> { todo!() }
    /// Walks the real ACL chain.
    pub fn acl_test(&self, clientid: &str, username: Option<&str>, ip: IpAddr, publish: bool, topic: &str) -> Vec<ChainStep> { todo!() }
    /// Walks the real authentication chain.
    pub fn auth_test(&self, clientid: &str, username: Option<&str>, password: Option<&[u8]>, ip: IpAddr) -> Vec<ChainStep> { todo!() }
    /// (event loops, threads, resident bytes, open files) and the like for `vm` are read from /proc by management.
    pub fn shards(&self) -> usize { todo!() }
    /// Begins an orderly stop; returns at once.
    pub fn stop(&self) { todo!() }
}
