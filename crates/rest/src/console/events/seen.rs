//! What event loops see, and the hooks by which they tell of it: they copy what is to be told, and no more.

use super::hub::{Event, Inlet};
use super::kinds::Kinds;
use crate::console::alarms::{ActiveAlarm, PastAlarm};
use crate::console::clients::ClientRow;
use emqttd_broker::{AlarmEvent, Broker};
use emqttd_plugin_sdk::{Client, ClientRef, HookPoint, Hooks};
use serde::Serialize;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// A name that was only borrowed.
type Name = Arc<str>;

/// What an event loop has seen.
pub(super) enum Seen {
    Connected(Box<Client>),
    Disconnected {
        client: Name,
        username: Option<Name>,
        reason: Box<str>,
        code: Option<u8>,
        at: u64,
    },
    SessionCreated {
        client: Name,
        username: Option<Name>,
        at: u64,
    },
    SessionTerminated {
        client: Name,
        username: Option<Name>,
        reason: Box<str>,
        at: u64,
    },
    Alarm(Box<AlarmEvent>),
}

#[derive(Serialize)]
struct Gone<'a> {
    client_id: &'a str,
    username: &'a str,
    reason: &'a str,
    code: Option<u8>,
    at: u64,
}

#[derive(Serialize)]
struct SessionBegun<'a> {
    client_id: &'a str,
    username: &'a str,
    at: u64,
}

#[derive(Serialize)]
struct SessionOver<'a> {
    client_id: &'a str,
    username: &'a str,
    reason: &'a str,
    at: u64,
}

fn name(username: Option<&Name>) -> &str {
    username.map_or("undefined", |name| name)
}

impl Seen {
    /// As streams tell it.
    pub fn event(&self) -> Event {
        match self {
            Seen::Connected(client) => {
                let row = ClientRow::of_client(client);
                Event::new(Kinds::CLIENTS, "client.connected", &row)
            }
            Seen::Disconnected {
                client,
                username,
                reason,
                code,
                at,
            } => {
                let gone = Gone {
                    client_id: client,
                    username: name(username.as_ref()),
                    reason,
                    code: *code,
                    at: *at,
                };
                Event::new(Kinds::CLIENTS, "client.disconnected", &gone)
            }
            Seen::SessionCreated {
                client,
                username,
                at,
            } => {
                let begun = SessionBegun {
                    client_id: client,
                    username: name(username.as_ref()),
                    at: *at,
                };
                Event::new(Kinds::SESSIONS, "session.created", &begun)
            }
            Seen::SessionTerminated {
                client,
                username,
                reason,
                at,
            } => {
                let over = SessionOver {
                    client_id: client,
                    username: name(username.as_ref()),
                    reason,
                    at: *at,
                };
                Event::new(Kinds::SESSIONS, "session.terminated", &over)
            }
            Seen::Alarm(event) => match &**event {
                AlarmEvent::Set(alarm) => {
                    let row = ActiveAlarm::of(alarm.clone());
                    Event::new(Kinds::ALARMS, "alarm.set", &row)
                }
                AlarmEvent::Cleared(alarm, at) => {
                    let row = PastAlarm::of(alarm.clone(), *at);
                    Event::new(Kinds::ALARMS, "alarm.cleared", &row)
                }
            },
        }
    }
}

/// The hooks.
pub(super) struct Watcher {
    kinds: Kinds,
    inlet: Inlet,
}

impl Watcher {
    pub fn new(kinds: Kinds, inlet: Inlet) -> Watcher {
        Watcher { kinds, inlet }
    }
}

impl Hooks for Watcher {
    fn points(&self) -> u32 {
        let clients = HookPoint::ClientConnected as u32 | HookPoint::ClientDisconnected as u32;
        let sessions = HookPoint::SessionCreated as u32 | HookPoint::SessionTerminated as u32;
        match self.kinds.has(Kinds::CLIENTS) {
            true => clients,
            false => sessions,
        }
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        if connack == 0 {
            // Headers of a WebSocket handshake may hold what nobody else should see.
            let headers = None;
            let mut seen = Client {
                headers,
                ..client.clone()
            };
            if seen.connected_at == 0 {
                seen.connected_at = now() / 1000;
            }
            self.inlet.put(Seen::Connected(Box::new(seen)));
        }
    }

    fn client_disconnected(&self, client: &Client, reason: &str, code: Option<u8>) {
        self.inlet.put(Seen::Disconnected {
            client: Arc::clone(&client.clientid),
            username: client.username.clone(),
            reason: reason.into(),
            code,
            at: now(),
        });
    }

    fn session_created(&self, client: ClientRef<'_>) {
        self.inlet.put(Seen::SessionCreated {
            client: client.clientid.into(),
            username: client.username.map(Into::into),
            at: now(),
        });
    }

    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        self.inlet.put(Seen::SessionTerminated {
            client: client.clientid.into(),
            username: client.username.map(Into::into),
            reason: reason.into(),
            at: now(),
        });
    }
}

/// Has the broker tell of alarms from now on.
pub(super) fn hear_alarms(broker: &Broker, inlet: Inlet) {
    broker.on_alarm(move |event| {
        if inlet.wants(Kinds::ALARMS) {
            inlet.put(Seen::Alarm(Box::new(event.clone())));
        }
    });
}
