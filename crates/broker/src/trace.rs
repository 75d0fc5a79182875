//! Packet logs of one client, or of one topic (sheet 4.3).

use crate::conn::Conn;
use crate::info::{TraceInfo, TraceTarget};
use crate::passing::NO_CLIENT;
use emqttd_logging::trace::{Direction, TraceFile};
use emqttd_mqtt::{Packet, PublishHead};
use emqttd_session::Message;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

struct Running {
    target: TraceTarget,
    path: PathBuf,
    file: TraceFile,
}

/// The traces of the node.
#[derive(Default)]
pub(crate) struct Traces {
    running: RwLock<Vec<Running>>,
    topics: AtomicBool,
}

impl Traces {
    pub fn list(&self) -> Vec<TraceInfo> {
        let running = self.running.read();
        running
            .iter()
            .map(|r| TraceInfo {
                target: r.target.clone(),
                file: r.path.clone(),
            })
            .collect()
    }

    pub fn start(&self, target: TraceTarget, path: &Path) -> std::io::Result<()> {
        let file = TraceFile::open(path)?;
        let mut running = self.running.write();
        running.retain(|r| r.target != target);
        running.push(Running {
            target,
            path: path.into(),
            file,
        });
        self.note_topics(&running);
        Ok(())
    }

    pub fn stop(&self, target: &TraceTarget) -> bool {
        let mut running = self.running.write();
        let before = running.len();
        running.retain(|r| r.target != *target);
        self.note_topics(&running);
        running.len() < before
    }

    fn note_topics(&self, running: &[Running]) {
        let any = running
            .iter()
            .any(|r| matches!(r.target, TraceTarget::Topic(_)));
        self.topics.store(any, Ordering::Relaxed);
    }

    /// Whether any topic is traced.
    #[inline]
    pub fn topics(&self) -> bool {
        self.topics.load(Ordering::Relaxed)
    }

    pub fn client(&self, clientid: &str) -> Option<TraceFile> {
        let running = self.running.read();
        let found = running
            .iter()
            .find(|r| matches!(&r.target, TraceTarget::Client(id) if id == clientid))?;
        Some(found.file.clone())
    }
}

fn line(conn: &Conn, direction: Direction, packet: &Packet<'_>) {
    let detail = conn.peek();
    let file = detail.rare.as_ref().and_then(|rare| rare.trace.as_ref());
    if let (Some(file), Some(publisher)) = (file, &detail.publisher) {
        file.packet(
            &publisher.clientid,
            detail.peer.addr,
            direction,
            packet,
            conn.version,
        );
    }
}

/// A packet from a traced client.
pub(crate) fn received(conn: &Conn, packet: &Packet<'_>) {
    line(conn, Direction::Received, packet);
}

/// A packet to a traced client: everything in its output since `before`.
pub(crate) fn sent(conn: &mut Conn, before: usize) {
    let bytes = conn.out.bytes()[before..].to_vec();
    if let Ok(Some(header)) = emqttd_mqtt::fixed_header(&bytes)
        && let Ok(packet) = emqttd_mqtt::decode(conn.version, header.first, &bytes[header.len..])
    {
        line(conn, Direction::Sent, &packet);
    }
}

/// A PUBLISH to a traced client, whose payload may stand elsewhere.
pub(crate) fn sent_publish(conn: &mut Conn, head: &PublishHead<'_>, payload: &[u8]) {
    let publish = emqttd_mqtt::Publish {
        dup: head.dup,
        qos: head.qos,
        retain: head.retain,
        topic: head.topic,
        packet_id: head.packet_id,
        properties: emqttd_mqtt::Properties::default(),
        payload,
    };
    line(conn, Direction::Sent, &Packet::Publish(publish));
}

/// A message that enters the broker, for the traces of its topic and of its publisher.
pub(crate) fn published(traces: &Traces, message: &Message) {
    let topic = message.topic();
    for r in traces.running.read().iter() {
        if matches!(&r.target, TraceTarget::Topic(t) if t == topic) {
            let (clientid, username) = match &message.publisher {
                Some(p) => {
                    let username = p.username.as_deref().filter(|name| *name != NO_CLIENT);
                    (&*p.clientid, username)
                }
                None => ("broker", None),
            };
            r.file.publish(clientid, username, topic, message.payload());
        }
    }
}
