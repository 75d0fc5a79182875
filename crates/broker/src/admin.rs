//! Operations on a running broker, each one once; the CLI, and later REST and the dashboard, are
//! views of them.
//!
//! Every call may block for as long as the event loops take to answer (milliseconds): never call them
//! from an event loop.

use crate::access::AccessControl;
use crate::conn::NONE;
use crate::durable::{DurableTable, NodeStore, Storage};
use crate::info::*;
use crate::listener::ListenerState;
use crate::node::{ListenerControl, Node, session_limits};
use crate::passing::internal_sender;
use crate::shard::{Mail, Shard};
use crate::subscribe::{entry_of, parts_of};
use crate::target::{NOBODY, Options, is_group};
use emqttd_config::Settings;
use emqttd_mqtt::QoS;
use emqttd_plugin_sdk::{Access, Client};
use emqttd_router::Target;
use emqttd_session::{Message, MessageParts, Subscription};
use emqttd_store::Store;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How long an event loop may take to answer.
const ANSWER: Duration = Duration::from_secs(if cfg!(test) { 10 } else { 30 });

/// Handle to the running broker; clones are cheap.
#[derive(Clone)]
pub struct Broker {
    pub(crate) node: Arc<Node>,
}

impl Broker {
    /// A broker with so many event loops, and what each of them is to run.
    ///
    /// # Errors
    /// When acl.conf cannot be used: the message names file, line and rule.
    pub fn new(settings: Settings, shards: usize) -> Result<(Broker, Vec<Shard>), String> {
        Broker::open(settings, shards, None)
    }

    /// As [`Broker::new`], with what has to last in `storage`, and with all that is found there.
    ///
    /// # Errors
    /// Also when the store cannot be read.
    pub fn open(
        settings: Settings,
        shards: usize,
        storage: Option<Storage>,
    ) -> Result<(Broker, Vec<Shard>), String> {
        let access = AccessControl::new(settings.mqtt.acl_file.as_deref())?;
        // The owner of a subscription has seven bits for its shard.
        let shards = shards.clamp(1, 127);
        let (durable, found) = match storage {
            None => (None, None),
            Some(Storage {
                store,
                recovered,
                wake,
            }) => {
                let durable = NodeStore::new(store, recovered.next_owner, shards);
                (Some(durable), Some((recovered, wake)))
            }
        };
        let node = Arc::new(Node::new(settings, access, shards, durable));
        let mut all: Vec<Shard> = (0..shards)
            .map(|index| Shard::new(Arc::clone(&node), index))
            .collect();
        if let Some((recovered, wake)) = found {
            let counts = crate::durable::restore(&node, &mut all, recovered)?;
            log::info!("the store: {} sessions are back", counts.sessions);
            wake.connect(&node);
        }
        let broker = Broker { node };
        broker.bans().load()?;
        Ok((broker, all))
    }

    /// The store in which lasts what has to; `None` when `persistence.sync = off`.
    pub fn store(&self) -> Option<Store> {
        let durable = self.node.durable.as_ref();
        durable.map(|durable| durable.store.clone())
    }

    /// `node.name`.
    pub fn node_name(&self) -> String {
        self.node.name.clone()
    }

    /// `5 seconds`, `2 minutes, 5 seconds`, ... (sheet 8.2).
    pub fn uptime(&self) -> String {
        crate::sys::uptime(&self.node)
    }

    /// Settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.node.settings.load_full()
    }

    /// Puts changed settings in force (`emqttd_ctl set`); sessions that are there keep theirs.
    pub fn reconfigure(&self, settings: Settings) {
        self.node.limits.store(Arc::new(session_limits(&settings)));
        for observer in self.node.observers.lock().iter() {
            observer(&settings);
        }
        self.node.settings.store(Arc::new(settings));
        self.node.access.forget();
        self.on_all(|shard| {
            shard.settings = shard.node.settings.load_full();
            shard.limits = shard.node.limits.load_full();
        });
        self.recheck();
    }

    /// Has `f` called with new settings whenever they are put in force.
    pub fn on_settings(&self, f: impl Fn(&Settings) + Send + 'static) {
        self.node.observers.lock().push(Box::new(f));
    }

    /// The chains of authentication and ACL, for modules to join.
    pub fn access(&self) -> &AccessControl {
        &self.node.access
    }

    /// The hook points, for plugins to use.
    pub fn hooks(&self) -> &crate::hooks::HookTable {
        &self.node.hooks
    }

    /// A table of that name, for whoever has something to keep: plugins, management.
    pub fn table(&self, name: &str) -> DurableTable {
        DurableTable::new(&self.node, name)
    }

    /// Runs `f` on a shard and waits for its answer; `None` when the shard has ended.
    pub(crate) fn on_shard<T: Send + 'static>(
        &self,
        index: usize,
        f: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = mpsc::sync_channel(1);
        let call = Box::new(move |shard: &mut Shard| drop(sender.send(f(shard))));
        self.node.mailboxes[index].post(&mut vec![Mail::Call(call)]);
        answer.recv_timeout(ANSWER).ok()
    }

    /// Runs `f` on every shard and waits for all answers.
    pub(crate) fn on_all<T: Send + 'static>(
        &self,
        f: impl Fn(&mut Shard) -> T + Send + Sync + 'static,
    ) -> Vec<T> {
        let f = Arc::new(f);
        let (sender, answers) = mpsc::sync_channel(self.node.mailboxes.len());
        for mailbox in &self.node.mailboxes {
            let (f, sender) = (Arc::clone(&f), sender.clone());
            let call = Box::new(move |shard: &mut Shard| drop(sender.send(f(shard))));
            mailbox.post(&mut vec![Mail::Call(call)]);
        }
        drop(sender);
        std::iter::from_fn(|| answers.recv_timeout(ANSWER).ok()).collect()
    }

    pub(crate) fn on_client<T: Send + 'static>(
        &self,
        clientid: &str,
        f: impl FnOnce(&mut Shard, u32) -> T + Send + 'static,
    ) -> Option<T> {
        let id = clientid.to_string();
        self.on_shard(self.node.shard_of(clientid), move |shard| {
            shard.find_session(&id).map(|slot| f(shard, slot))
        })?
    }

    /// The rows that `f` makes of each session of every shard.
    fn rows<T: Send + 'static, R: IntoIterator<Item = T> + 'static>(
        &self,
        f: fn(&Shard, u32) -> R,
    ) -> Vec<T> {
        let rows = self.on_all(move |shard| {
            let slots = shard.sessions.iter().map(|(slot, _)| slot as u32);
            slots.flat_map(|slot| f(shard, slot)).collect::<Vec<_>>()
        });
        rows.into_iter().flatten().collect()
    }

    /// Every connected client, ordered by client id.
    pub fn clients(&self) -> Vec<ClientInfo> {
        let mut rows = self.rows(client_info);
        rows.sort_by(|a, b| a.clientid.cmp(&b.clientid));
        rows
    }

    /// A connected client.
    pub fn client(&self, clientid: &str) -> Option<ClientInfo> {
        self.on_client(clientid, |shard, slot| client_info(shard, slot))
            .flatten()
    }

    /// Ends the client's connection (reason `kick`; the will is published).
    pub fn kick(&self, clientid: &str) -> Result<(), AdminError> {
        let kicked = self.on_client(clientid, |shard, slot| {
            let conn = shard.sessions[slot as usize].conn;
            if conn != NONE {
                shard.close(conn, emqttd_mqtt::ReasonCode::ADMINISTRATIVE_ACTION, "kick");
            }
            conn != NONE
        });
        if kicked == Some(true) {
            Ok(())
        } else {
            Err(AdminError::NotFound)
        }
    }

    /// Every session, online or not, ordered by client id.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mut rows = self.rows(|shard, slot| [session_info(shard, slot)]);
        rows.sort_by(|a, b| a.clientid.cmp(&b.clientid));
        rows
    }

    /// A session.
    pub fn session(&self, clientid: &str) -> Option<SessionInfo> {
        self.on_client(clientid, |shard, slot| session_info(shard, slot))
    }

    /// Every subscription.
    pub fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        self.rows(subscriptions_of)
    }

    /// The subscriptions of a client; `None` when there is no such session.
    pub fn subscriptions_of(&self, clientid: &str) -> Option<Vec<SubscriptionInfo>> {
        self.on_client(clientid, |shard, slot| subscriptions_of(shard, slot))
    }

    /// Subscribes for a client: no ACL, no `client.subscribe`, no SUBACK.
    pub fn subscribe(&self, clientid: &str, filter: &str, qos: u8) -> Result<(), AdminError> {
        let qos =
            QoS::from_u8(qos).ok_or_else(|| AdminError::Other("QoS should be 0, 1, 2".into()))?;
        if emqttd_mqtt::topic::SubscriptionFilter::parse(filter, false).is_err() {
            return Err(AdminError::BadTopic);
        }
        let filter = filter.to_string();
        let subscription = Subscription {
            qos,
            no_local: false,
            retain_as_published: false,
            id: 0,
            unchecked: true,
        };
        self.on_client(clientid, move |shard, slot| {
            shard.subscribe(slot, &filter, subscription);
            shard.tell_subscribed(slot, &entry_of(&filter, qos));
            shard.offer_groups(slot);
            let conn = shard.sessions[slot as usize].conn;
            if conn != NONE {
                shard.begin_replay(conn, &filter);
            }
        })
        .ok_or(AdminError::NotFound)
    }

    /// Takes a client's subscription away; fine when it has none.
    pub fn unsubscribe(&self, clientid: &str, filter: &str) -> Result<(), AdminError> {
        let filter = filter.to_string();
        self.on_client(clientid, move |shard, slot| {
            if shard.unsubscribe(slot, &filter) {
                shard.tell_unsubscribed(slot, &entry_of(&filter, QoS::AtMostOnce));
            }
        })
        .ok_or(AdminError::NotFound)
    }

    /// Publishes a message from `from`, with hooks and retaining; no ACL.
    pub fn publish(
        &self,
        from: &str,
        topic: &str,
        payload: &[u8],
        qos: u8,
        retain: bool,
    ) -> Result<(), AdminError> {
        let qos =
            QoS::from_u8(qos).ok_or_else(|| AdminError::Other("QoS should be 0, 1, 2".into()))?;
        if emqttd_mqtt::topic::validate_name(topic).is_err() {
            return Err(AdminError::BadTopic);
        }
        let parts = MessageParts {
            topic,
            properties: &[],
            payload,
            qos,
            retain,
        };
        let message = Arc::new(Message::new(
            parts,
            Some(internal_sender(from)),
            crate::node::unix_millis(),
            u64::MAX,
        ));
        let shard = self.node.shard_of(from);
        self.on_shard(shard, move |shard| shard.publish_message(message, NOBODY))
            .ok_or(AdminError::NotFound)
    }

    /// Routed filters, `$local` ones last.
    pub fn routes(&self) -> Vec<RouteInfo> {
        let mut rows = Vec::new();
        self.node
            .router
            .read()
            .for_each(|topic, targets| rows.push(route_info(topic, targets)));
        rows.sort_by(|a, b| (a.local, &a.topic).cmp(&(b.local, &b.topic)));
        rows
    }

    /// The route of exactly this filter.
    pub fn route(&self, filter: &str) -> Option<RouteInfo> {
        let router = self.node.router.read();
        let targets = router.targets(filter);
        (!targets.is_empty()).then(|| route_info(filter, targets))
    }

    /// Whether exactly this filter is routed.
    pub fn has_route(&self, filter: &str) -> bool {
        self.node.router.read().contains(filter)
    }

    /// Stats as in sheet 8.3 (`clients/count`, ...), sorted.
    pub fn stats(&self) -> Vec<(&'static str, u64)> {
        crate::sys::stats(&self.node)
    }

    /// The 38 metrics of sheet 8.4, sorted.
    pub fn metrics(&self) -> Vec<(&'static str, u64)> {
        crate::sys::metrics(&self.node, false)
    }

    /// The metrics of sheet 8.4 and those of ours (drops by reason and the like), sorted.
    pub fn all_metrics(&self) -> Vec<(&'static str, u64)> {
        crate::sys::metrics(&self.node, true)
    }

    /// Messages that wait in shared groups because no member can take them now.
    pub fn group_backlog(&self) -> usize {
        self.node.groups.waiting()
    }

    /// Alarms that hold.
    pub fn alarms(&self) -> Vec<crate::alarm::Alarm> {
        self.node.alarms.lock().active().cloned().collect()
    }

    /// Alarms that held once, with when they ended (unix seconds), the newest first; the last 1000.
    pub fn alarm_history(&self) -> Vec<(crate::alarm::Alarm, u64)> {
        let alarms = self.node.alarms.lock();
        let mut ended: Vec<_> = alarms.ended().cloned().collect();
        ended.reverse();
        ended
    }

    /// Has `f` called whenever an alarm is set or cleared, on an event loop: it must not block.
    pub fn on_alarm(&self, f: impl Fn(&crate::alarm::AlarmEvent) + Send + Sync + 'static) {
        self.node.alarm_observers.write().push(Box::new(f));
    }

    /// Open listeners, in the order of opening.
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        let rows = self.node.listeners.read();
        rows.iter()
            .map(|listener| ListenerInfo {
                protocol: listener.protocol().into(),
                listen_on: listener.listen_on(),
                acceptors: listener.settings.acceptors,
                max_clients: listener.max_clients(),
                current_clients: listener.current(),
                shutdown_count: listener.shutdown_count(),
            })
            .collect()
    }

    /// The event loops say how listeners are opened and closed.
    pub fn set_listener_control(&self, control: Arc<dyn ListenerControl>) {
        *self.node.control.write() = Some(control);
    }

    /// An event loop has opened a listener.
    pub fn listener_opened(&self, listener: Arc<ListenerState>) {
        self.node.listeners.write().push(listener);
    }

    /// An event loop has closed a listener.
    pub fn listener_closed(&self, listener: &Arc<ListenerState>) {
        self.node
            .listeners
            .write()
            .retain(|other| !Arc::ptr_eq(other, listener));
    }

    fn control(&self) -> Result<Arc<dyn ListenerControl>, AdminError> {
        self.node
            .control
            .read()
            .clone()
            .ok_or_else(|| AdminError::Other("not_running".into()))
    }

    fn is_open(&self, proto: &str, listen_on: &str) -> bool {
        self.node
            .listeners
            .read()
            .iter()
            .any(|l| l.protocol() == proto && l.listen_on() == listen_on)
    }

    /// `proto` as `mqtt:tcp`; `listen_on` exactly as listed.
    pub fn listener_start(&self, proto: &str, listen_on: &str) -> Result<(), AdminError> {
        if self.is_open(proto, listen_on) {
            return Err(AdminError::Existed);
        }
        self.control()?
            .start(proto, listen_on)
            .map_err(AdminError::Other)
    }

    /// Closes and opens a listener; its connections end.
    pub fn listener_restart(&self, proto: &str, listen_on: &str) -> Result<(), AdminError> {
        self.listener_stop(proto, listen_on)?;
        self.listener_start(proto, listen_on)
    }

    /// Closes a listener and its connections.
    pub fn listener_stop(&self, proto: &str, listen_on: &str) -> Result<(), AdminError> {
        if !self.is_open(proto, listen_on) {
            return Err(AdminError::NotFound);
        }
        self.control()?
            .stop(proto, listen_on)
            .map_err(AdminError::Other)
    }

    /// Running traces.
    pub fn traces(&self) -> Vec<TraceInfo> {
        self.node.traces.list()
    }

    /// Starts a trace; starting one that runs is fine.
    pub fn trace_start(&self, target: TraceTarget, file: &Path) -> Result<(), AdminError> {
        self.node
            .traces
            .start(target.clone(), file)
            .map_err(|e| AdminError::Other(format!("{}: {e}", file.display())))?;
        self.refresh_trace(&target);
        Ok(())
    }

    /// Ends a trace.
    pub fn trace_stop(&self, target: TraceTarget) -> Result<(), AdminError> {
        if !self.node.traces.stop(&target) {
            return Err(AdminError::NotFound);
        }
        self.refresh_trace(&target);
        Ok(())
    }

    /// Tells the connection that is traced, or is not any more. Who connects looks itself; and a topic is looked up with
    /// each message.
    fn refresh_trace(&self, target: &TraceTarget) {
        let TraceTarget::Client(clientid) = target else {
            return;
        };
        let name = clientid.clone();
        self.on_client(clientid, move |shard, slot| {
            let id = shard.sessions[slot as usize].conn;
            if id == NONE {
                return;
            }
            let trace = shard.node.traces.client(&name);
            let conn = &mut shard.conns[id as usize];
            conn.traced = trace.is_some();
            let traced = conn.traced;
            let detail = conn.detail();
            if traced || detail.rare.is_some() {
                detail.rare().trace = trace;
            }
        });
    }

    /// Re-reads acl.conf; the error says where it is wrong, and the old rules stay. Decisions made so far
    /// are void, and subscriptions that are no longer allowed end.
    pub fn acl_reload(&self) -> Result<(), String> {
        let settings = self.node.settings.load_full();
        self.node.access.reload(settings.mqtt.acl_file.as_deref())?;
        self.recheck();
        Ok(())
    }

    /// Asks the ACL again about the subscriptions of all connected clients: after any change of what it
    /// may answer.
    pub fn recheck(&self) {
        self.on_all(Shard::recheck_all);
    }

    /// Walks the real ACL chain.
    pub fn acl_test(
        &self,
        clientid: &str,
        username: Option<&str>,
        ip: IpAddr,
        publish: bool,
        topic: &str,
    ) -> Vec<ChainStep> {
        let access = if publish {
            Access::Publish
        } else {
            Access::Subscribe
        };
        let client = imagined(clientid, username, ip);
        let settings = self.node.settings.load();
        self.node
            .access
            .explain_acl(&client, access, topic, &settings.mqtt)
    }

    /// Walks the real authentication chain, unless a ban comes before it.
    pub fn auth_test(
        &self,
        clientid: &str,
        username: Option<&str>,
        password: Option<&[u8]>,
        ip: IpAddr,
    ) -> Vec<ChainStep> {
        if let Some(ban) = self.bans().find(clientid, username, ip) {
            return vec![ChainStep {
                module: "bans".into(),
                answer: "deny".into(),
                detail: format!("{} {}: {}", ban.kind, ban.value, ban.reason),
            }];
        }
        let client = imagined(clientid, username, ip);
        let settings = self.node.settings.load();
        self.node
            .access
            .explain_auth(&client, password, &settings.mqtt)
    }

    /// Event loops.
    pub fn shards(&self) -> usize {
        self.node.mailboxes.len()
    }

    /// Begins an orderly stop; returns at once.
    pub fn stop(&self) {
        if let Some(control) = &*self.node.control.read() {
            control.shutdown();
        }
    }
}

/// A client that asks only on paper.
fn imagined(clientid: &str, username: Option<&str>, ip: IpAddr) -> Arc<Client> {
    Arc::new(Client {
        clientid: clientid.into(),
        username: username.map(Into::into),
        peername: SocketAddr::new(ip, 0),
        clean_sess: true,
        proto_ver: 4,
        keepalive: 0,
        will_topic: None,
        headers: None,
        mountpoint: None,
        listener: String::new(),
        connected_at: 0,
    })
}

pub(crate) fn route_info(topic: &str, targets: &[Target]) -> RouteInfo {
    let local = |target: &Target| Options::unpack(target.opts).local && !is_group(target);
    RouteInfo {
        topic: topic.into(),
        local: targets.iter().all(local),
    }
}

pub(crate) fn client_info(shard: &Shard, slot: u32) -> Option<ClientInfo> {
    let entry = &shard.sessions[slot as usize];
    if entry.conn == NONE {
        return None;
    }
    let conn = &shard.conns[entry.conn as usize];
    let detail = conn.peek();
    Some(ClientInfo {
        clientid: entry.publisher.clientid.to_string(),
        clean_sess: detail.clean_start,
        username: entry.publisher.username.as_ref().map(ToString::to_string),
        peername: detail.peer.addr,
        connected_at: detail.connected_at,
        proto_ver: conn.version.level(),
        keepalive: detail.keepalive,
    })
}

pub(crate) fn session_info(shard: &Shard, slot: u32) -> SessionInfo {
    let entry = &shard.sessions[slot as usize];
    let session = &entry.session;
    SessionInfo {
        clientid: entry.publisher.clientid.to_string(),
        clean_sess: entry.expiry == 0,
        subscriptions: session.subscriptions.len(),
        max_inflight: usize::from(session.max_inflight()),
        inflight: session.inflight_len(),
        mqueue_len: session.queue_len(),
        mqueue_dropped: session.dropped,
        awaiting_rel: session.awaiting_rel_len(),
        deliver_msg: session.delivered,
        enqueue_msg: session.enqueued,
        created_at: entry.created_at,
        online: entry.conn != NONE,
    }
}

fn subscriptions_of(shard: &Shard, slot: u32) -> Vec<SubscriptionInfo> {
    let all = shard.sessions[slot as usize].session.subscriptions.iter();
    all.map(|(key, subscription)| subscription_info(shard, slot, key, subscription))
        .collect()
}

/// `key` is the name under which the session has it.
pub(crate) fn subscription_info(
    shard: &Shard,
    slot: u32,
    key: &str,
    subscription: &Subscription,
) -> SubscriptionInfo {
    let parts = parts_of(key);
    SubscriptionInfo {
        clientid: shard.sessions[slot as usize].publisher.clientid.to_string(),
        pid: Pid {
            shard: shard.index as u16,
            slot,
        },
        topic: parts.filter.into(),
        qos: subscription.qos as u8,
        share: parts.share.map(Into::into),
        local: parts.local,
    }
}
