//! Questions to the access chains that cannot be answered at once: the connection that asks waits, and
//! nobody else.
//!
//! The packet that asks is not used. When the answers are there it is taken again from its first byte, and
//! finds them here.

use crate::access::{AccessRequest, Ask};
use crate::conn::{ConnId, Phase};
use crate::shard::{Mail, Next, Shard, Step};
use emqttd_mqtt::Connect;
use emqttd_plugin_sdk::{Access, AuthAnswer, BoxFuture, Client};
use emqttd_session::{Message, Publisher};
use std::sync::Arc;

/// What a connection waits to be told, and what it has been told already.
pub(crate) struct Asking {
    /// tells the answers to these questions from those to earlier ones
    serial: u64,
    /// answers that have not come
    open: usize,
    /// who asks to come in: kept, because the client id may be one that was given out
    pub publisher: Option<Arc<Publisher>>,
    auth: Option<AuthAnswer>,
    acl: Vec<(Access, Box<str>, bool)>,
}

/// How long, in milliseconds, a connection is not read while it waits; the answer ends that sooner.
pub(crate) const WAIT: u64 = 1000;

/// What a packet comes to whose sender has to wait.
pub(crate) const WAITING: Step = Step::Wait(0, Next::Pause(WAIT));

impl Shard {
    /// Whether the connection waits for an answer.
    #[inline]
    pub(crate) fn is_waiting(&self, id: ConnId) -> bool {
        self.conns[id as usize].asking && self.asking(id).is_some_and(|asking| asking.open > 0)
    }

    fn asking(&self, id: ConnId) -> Option<&Asking> {
        let rare = self.conns[id as usize].peek().rare.as_ref()?;
        rare.asking.as_deref()
    }

    /// Who asked to come in when this CONNECT was looked at before.
    pub(crate) fn asking_publisher(&self, id: ConnId) -> Option<Arc<Publisher>> {
        self.asking(id)?.publisher.clone()
    }

    /// The packet that asked has been dealt with.
    pub(crate) fn forget_answers(&mut self, id: ConnId) {
        let conn = &mut self.conns[id as usize];
        conn.asking = false;
        if let Some(rare) = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut()) {
            rare.asking = None;
        }
    }

    fn begin_asking(&mut self, id: ConnId) -> (u64, &mut Asking) {
        self.questions += 1;
        let serial = self.questions;
        let conn = &mut self.conns[id as usize];
        conn.asking = true;
        let asking = conn.detail().rare().asking.get_or_insert_with(|| {
            Box::new(Asking {
                serial,
                open: 0,
                publisher: None,
                auth: None,
                acl: Vec::new(),
            })
        });
        (asking.serial, asking)
    }

    /// Has `future` polled elsewhere; `take` gets what it comes to.
    fn answer_later<T: Send + 'static>(
        &self,
        future: BoxFuture<T>,
        take: impl FnOnce(&mut Shard, T) + Send + 'static,
    ) {
        let (node, index) = (Arc::clone(&self.node), self.index);
        self.node.access.spawn(Box::pin(async move {
            let answer = future.await;
            let call = Box::new(move |shard: &mut Shard| take(shard, answer));
            node.mailboxes[index].post(&mut vec![Mail::Call(call)]);
        }));
    }

    fn answered(&mut self, id: ConnId, serial: u64, note: impl FnOnce(&mut Asking)) {
        let Some(conn) = self.conns.get_mut(id as usize) else {
            return;
        };
        let rare = conn.detail.as_mut().and_then(|detail| detail.rare.as_mut());
        // The connection may be another one by now.
        let asking = rare.and_then(|rare| rare.asking.as_mut());
        if let Some(asking) = asking.filter(|asking| asking.serial == serial) {
            note(asking);
            asking.open -= 1;
            if asking.open == 0 {
                self.awake.push(id);
            }
        }
    }

    /// Whether a client may come in; `None` = it has to wait.
    pub(crate) fn authenticate(
        &mut self,
        id: ConnId,
        connect: &Connect<'_>,
        publisher: &Arc<Publisher>,
    ) -> Option<AuthAnswer> {
        if let Some(answer) = self.asking(id).and_then(|asking| asking.auth) {
            return Some(answer);
        }
        let client = Arc::new(self.connecting_client(id, connect, publisher));
        let settings = Arc::clone(&self.settings);
        match self
            .node
            .access
            .authenticate(&client, connect.password, &settings.mqtt)
        {
            Ask::Now(answer) => Some(answer),
            Ask::Later(future) => {
                let (serial, asking) = self.begin_asking(id);
                asking.open += 1;
                asking.publisher = Some(Arc::clone(publisher));
                self.answer_later(future, move |shard, answer| {
                    shard.answered(id, serial, |asking| asking.auth = Some(answer));
                });
                None
            }
        }
    }

    /// Whether the client of a connection may do that; `None` = it has to wait.
    pub(crate) fn may(&mut self, id: ConnId, access: Access, topic: &str) -> Option<bool> {
        let conn = &self.conns[id as usize];
        if conn.superuser {
            return Some(true);
        }
        if conn.asking
            && let Some(asking) = self.asking(id)
            && let Some((.., allowed)) = asking
                .acl
                .iter()
                .find(|(what, about, _)| *what == access && **about == *topic)
        {
            return Some(*allowed);
        }
        match self.ask(id, access, topic) {
            Ask::Now(allowed) => Some(allowed),
            Ask::Later(future) => {
                let (serial, asking) = self.begin_asking(id);
                asking.open += 1;
                let about: Box<str> = topic.into();
                self.answer_later(future, move |shard, allowed| {
                    shard.answered(id, serial, |asking| {
                        asking.acl.push((access, about, allowed));
                    });
                });
                None
            }
        }
    }

    /// Asks the ACL chain about the client of a connection.
    fn ask(&mut self, id: ConnId, access: Access, topic: &str) -> Ask<bool> {
        let node = Arc::clone(&self.node);
        let detail = self.conns[id as usize].peek();
        let Some(publisher) = detail.publisher.clone() else {
            return Ask::Now(false);
        };
        let request = AccessRequest {
            clientid: &publisher.clientid,
            username: publisher.username.as_deref(),
            ip: detail.peer.addr.ip(),
        };
        let settings = Arc::clone(&self.settings);
        let client = || self.client(id, &publisher);
        node.access
            .authorize(&request, client, access, topic, &settings.mqtt)
    }

    /// The client of a connection, as plugins see it; kept while plugins are asked about it.
    fn client(&mut self, id: ConnId, publisher: &Arc<Publisher>) -> Arc<Client> {
        let connected = self.conns[id as usize].phase == Phase::Connected;
        let rare = self.conns[id as usize].detail().rare();
        if let Some(client) = &rare.client {
            return Arc::clone(client);
        }
        let client = Arc::new(self.client_of(id, publisher));
        if connected {
            self.conns[id as usize].detail().rare().client = Some(Arc::clone(&client));
        }
        client
    }

    /// The client of a connection, as plugins see it.
    pub(crate) fn client_of(&self, id: ConnId, publisher: &Publisher) -> Client {
        let conn = &self.conns[id as usize];
        let detail = conn.peek();
        let listener = &detail.peer.listener;
        Client {
            clientid: Arc::clone(&publisher.clientid),
            username: publisher.username.clone(),
            peername: detail.peer.addr,
            clean_sess: detail.clean_start,
            proto_ver: conn.version.level(),
            keepalive: detail.keepalive,
            will_topic: detail.will.as_ref().map(|will| will.message.topic().into()),
            headers: detail.peer.headers.clone(),
            mountpoint: listener.settings.mountpoint.clone(),
            listener: listener.protocol().into(),
            connected_at: detail.connected_at,
        }
    }

    /// As [`Shard::client_of`], while its CONNECT is looked at.
    pub(crate) fn connecting_client(
        &self,
        id: ConnId,
        connect: &Connect<'_>,
        publisher: &Publisher,
    ) -> Client {
        Client {
            clean_sess: connect.clean_start,
            keepalive: connect.keep_alive,
            will_topic: connect.will.as_ref().map(|will| will.topic.into()),
            ..self.client_of(id, publisher)
        }
    }

    /// Asks whether a will may be published (with the mounted topic: sheet 14, 25), and does one or the
    /// other, now or when the answer is there.
    pub(crate) fn judge_will(
        &mut self,
        id: ConnId,
        will: &Arc<Message>,
        verdict: impl FnOnce(&mut Shard, Arc<Message>, bool) + Send + 'static,
    ) {
        let allowed = match self.conns[id as usize].superuser {
            true => Ask::Now(true),
            false => self.ask(id, Access::Publish, will.topic()),
        };
        let will = Arc::clone(will);
        let tell = move |shard: &mut Shard, allowed: bool| {
            if !allowed {
                log::error!(
                    "the will on {} is denied",
                    emqttd_logging::escape(will.topic())
                );
            }
            verdict(shard, will, allowed);
        };
        match allowed {
            Ask::Now(allowed) => tell(self, allowed),
            Ask::Later(future) => self.answer_later(future, tell),
        }
    }

    /// Asks the ACL again about a subscription of a connected client; ends it if it is no longer allowed,
    /// now (then it is `true`) or when the answer is there.
    pub(crate) fn recheck(&mut self, id: ConnId, slot: u32, key: &str, filter: &str) -> bool {
        let conn = &self.conns[id as usize];
        let known = conn.asking.then(|| self.asking(id)).flatten();
        let known = known.and_then(|asking| {
            let about = |(what, about, _): &&(Access, Box<str>, bool)| {
                *what == Access::Subscribe && **about == *filter
            };
            asking.acl.iter().find(about).map(|(.., allowed)| *allowed)
        });
        let answer = match known {
            Some(allowed) => Ask::Now(allowed),
            None => self.ask(id, Access::Subscribe, filter),
        };
        match answer {
            Ask::Now(true) => false,
            Ask::Now(false) => self.end_subscription(slot, key),
            Ask::Later(future) => {
                let (owner, key) = (self.owner_of(slot), key.to_string());
                self.answer_later(future, move |shard, allowed| {
                    if !allowed
                        && let Some(slot) = shard.living(owner)
                        && shard.end_subscription(slot, &key)
                    {
                        shard.forget_unsubscribed(slot);
                    }
                });
                false
            }
        }
    }

    fn end_subscription(&mut self, slot: u32, key: &str) -> bool {
        log::warn!(
            "the ACL no longer allows a subscription to {}: ended",
            emqttd_logging::escape(key)
        );
        self.unsubscribe(slot, key)
    }

    /// Asks about all that a session which is about to be resumed is subscribed to, so that nothing is
    /// delivered before the answers are there; `false` = its client has to wait.
    pub(crate) fn may_resume(&mut self, id: ConnId, publisher: &Publisher, clean: bool) -> bool {
        if clean || !self.node.access.has_acl_providers() {
            return true;
        }
        let Some(slot) = self.find_session(&publisher.clientid) else {
            return true;
        };
        let filters = self.checked_filters(id, slot);
        let mut known = true;
        for (_, filter) in filters {
            known &= self.may(id, Access::Subscribe, &filter).is_some();
        }
        known
    }

    /// Connections that have their answers, for the event loop to read on.
    pub fn take_awake(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.awake)
    }
}
