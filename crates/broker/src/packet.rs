//! From bytes to the function for each packet.

use crate::ask::WAITING;
use crate::conn::{ConnId, Phase};
use crate::metrics::Metric;
use crate::shard::{Next, Shard, Step};
use emqttd_mqtt::{
    Ack, AckKind, DecodeError, DecodeErrorKind, Packet, PacketType, ReasonCode, Version,
};

/// What a packet came to whose sender may have to wait for an answer of the access chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// it has been used
    Done,
    /// it comes again when the answer is there
    Waits,
}

impl Shard {
    /// The next packet of a connection.
    pub(crate) fn packet(&mut self, id: ConnId, bytes: &[u8]) -> Result<Step, DecodeError> {
        let conn = &self.conns[id as usize];
        let (phase, version) = (conn.phase, conn.version);
        // Before CONNECT nothing else is looked at, however long it says it is [MQTT-3.1.0-1].
        if phase == Phase::Fresh && bytes[0] >> 4 != PacketType::Connect as u8 {
            return Err(DecodeError::new(
                DecodeErrorKind::ProtocolError,
                "the first packet is not CONNECT",
            ));
        }
        let Some(header) = emqttd_mqtt::fixed_header(bytes)? else {
            return Ok(Step::More(0));
        };
        let mqtt = &self.settings.mqtt;
        let most = if phase == Phase::Fresh {
            mqtt.max_connect_size
        } else {
            usize::MAX
        };
        if header.remaining > mqtt.max_packet_size.min(most) {
            return Err(DecodeError::new(
                DecodeErrorKind::PacketTooLarge,
                "larger than mqtt.max_packet_size",
            ));
        }
        let whole = header.len + header.remaining;
        if bytes.len() < whole {
            return Ok(Step::More(whole));
        }
        let body = &bytes[header.len..whole];
        if self.is_stalled() && phase == Phase::Connected && self.needs_store(header.first) {
            return Ok(Step::Wait(0, Next::Pause(STALLED)));
        }
        if phase == Phase::Connected && header.first >> 4 == PacketType::Publish as u8 {
            // One that is taken again was counted before.
            if !self.conns[id as usize].asking
                && let Some(pause) = self.over_rate(id)
            {
                return Ok(Step::Wait(0, Next::Pause(pause)));
            }
            return match self.on_publish(id, version, header.first, body)? {
                Taken::Done => Ok(self.done(id, whole)),
                Taken::Waits => Ok(WAITING),
            };
        }
        let packet = emqttd_mqtt::decode(version, header.first, body)?;
        let conn = &self.conns[id as usize];
        if conn.traced && !conn.asking {
            crate::trace::received(conn, &packet);
        }
        match phase {
            Phase::Fresh => self.first_packet(id, packet, &bytes[..whole]),
            Phase::Authenticating => Ok(match self.authenticating_packet(id, packet)? {
                Taken::Done => self.done(id, whole),
                Taken::Waits => WAITING,
            }),
            Phase::Connected => Ok(match self.connected_packet(id, packet)? {
                Taken::Done => self.done(id, whole),
                Taken::Waits => WAITING,
            }),
            Phase::Free | Phase::Closing => Ok(Step::Done(whole)),
        }
    }

    /// A packet has been used; `len` is its length.
    fn done(&mut self, id: ConnId, len: usize) -> Step {
        if self.conns[id as usize].asking {
            self.forget_answers(id);
        }
        Step::Done(len)
    }

    fn first_packet(
        &mut self,
        id: ConnId,
        packet: Packet<'_>,
        whole: &[u8],
    ) -> Result<Step, DecodeError> {
        let Packet::Connect(connect) = packet else {
            return Err(DecodeError::new(
                DecodeErrorKind::ProtocolError,
                "the first packet is not CONNECT",
            ));
        };
        if !connect.client_id.is_empty() {
            let shard = self.node.shard_of(connect.client_id);
            if shard != self.index {
                return Ok(Step::Wait(0, Next::Move(shard)));
            }
        }
        if !self.conns[id as usize].asking {
            self.counters.add(Metric::Connect, 1);
        }
        Ok(match self.on_connect(id, &connect, whole) {
            Taken::Done => self.done(id, whole.len()),
            Taken::Waits => WAITING,
        })
    }

    fn authenticating_packet(
        &mut self,
        id: ConnId,
        packet: Packet<'_>,
    ) -> Result<Taken, DecodeError> {
        if self.has_proved(id) {
            return Ok(self.accept_after_exchange(id));
        }
        match packet {
            Packet::Auth(auth) => {
                self.counters.add(Metric::AuthReceived, 1);
                Ok(self.on_auth(id, &auth))
            }
            Packet::Disconnect(_) => {
                self.counters.add(Metric::Disconnect, 1);
                self.hang_up(id, "normal");
                Ok(Taken::Done)
            }
            // [MQTT-3.1.2-30]: nothing but AUTH and DISCONNECT before CONNACK.
            _ => Err(DecodeError::new(
                DecodeErrorKind::ProtocolError,
                "only AUTH and DISCONNECT before CONNACK",
            )),
        }
    }

    fn connected_packet(&mut self, id: ConnId, packet: Packet<'_>) -> Result<Taken, DecodeError> {
        match packet {
            Packet::PubAck(ack) => self.on_puback(id, &ack),
            Packet::PubRec(ack) => self.on_pubrec(id, &ack),
            Packet::PubRel(ack) => self.on_pubrel(id, &ack),
            Packet::PubComp(ack) => self.on_pubcomp(id, &ack),
            Packet::Subscribe(subscribe) => return self.on_subscribe(id, &subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(id, &unsubscribe)?,
            Packet::PingReq => {
                self.counters.add(Metric::Pingreq, 1);
                self.counters.add(Metric::Pingresp, 1);
                self.reply(id, emqttd_mqtt::encode_pingresp);
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(id, &disconnect),
            Packet::Auth(auth) => {
                self.counters.add(Metric::AuthReceived, 1);
                return Ok(self.on_auth(id, &auth));
            }
            Packet::Connect(_) => {
                // [MQTT-3.1.0-2]
                self.counters.add(Metric::Connect, 1);
                self.close(id, ReasonCode::PROTOCOL_ERROR, "protocol_bad_connect");
            }
            // PUBLISH has its own way, above.
            Packet::Publish(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => {
                let detail = "a packet that only a server sends";
                return Err(DecodeError::new(DecodeErrorKind::ProtocolError, detail));
            }
        }
        Ok(Taken::Done)
    }

    /// Appends a packet to a connection's output.
    pub(crate) fn reply(&mut self, id: ConnId, encode: impl FnOnce(&mut Vec<u8>)) {
        self.mark(id);
        let conn = &mut self.conns[id as usize];
        let bytes = conn.out.bytes();
        let before = bytes.len();
        encode(bytes);
        let written = bytes.len() - before;
        if written > conn.max_packet as usize {
            // [MQTT-3.1.2-24]: the client would have to take it for an error.
            bytes.truncate(before);
            if conn.phase != Phase::Closing {
                self.hang_up(id, "packet_too_large");
            }
            return;
        }
        conn.packets += 1;
        crate::conn::trace_sent(conn, before);
        self.counters.add(Metric::BytesSent, written as u64);
    }

    pub(crate) fn reply_ack(
        &mut self,
        id: ConnId,
        kind: AckKind,
        packet_id: u16,
        reason: ReasonCode,
    ) {
        self.mark(id);
        crate::conn::write_ack(
            &mut self.conns[id as usize],
            kind,
            packet_id,
            reason,
            &self.counters,
        );
    }

    fn on_puback(&mut self, id: ConnId, ack: &Ack<'_>) {
        self.counters.add(Metric::PubackReceived, 1);
        self.with_session(id, Metric::PubackMissed, |session, now, sink| {
            session.puback(ack.packet_id, now, sink)
        });
    }

    fn on_pubrec(&mut self, id: ConnId, ack: &Ack<'_>) {
        self.counters.add(Metric::PubrecReceived, 1);
        let refused = ack.reason.is_error();
        self.with_session(id, Metric::PubrecMissed, |session, now, sink| {
            session.pubrec(ack.packet_id, refused, now, sink)
        });
    }

    fn on_pubcomp(&mut self, id: ConnId, ack: &Ack<'_>) {
        self.counters.add(Metric::PubcompReceived, 1);
        self.with_session(id, Metric::PubcompMissed, |session, now, sink| {
            session.pubcomp(ack.packet_id, now, sink)
        });
    }

    /// PUBREL: the message is routed now, as EMQ does it, and PUBCOMP always answers [MQTT-4.3.3-11].
    fn on_pubrel(&mut self, id: ConnId, ack: &Ack<'_>) {
        self.counters.add(Metric::PubrelReceived, 1);
        let slot = self.conns[id as usize].session;
        let owner = self.owner_of(slot);
        let written = self.written();
        let position = self.conns[id as usize].out.end();
        let released = self.sessions[slot as usize].session.release(ack.packet_id);
        let unknown = released.is_none();
        let reason = if unknown && self.version_of(id) == Version::V5 {
            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
        } else {
            ReasonCode::SUCCESS
        };
        self.reply_ack(id, AckKind::PubComp, ack.packet_id, reason);
        match released {
            Some(message) => {
                // In one batch with what comes of it: either both are found after a crash or neither.
                self.forget_inbound(slot, ack.packet_id);
                self.publish_message(message, owner);
            }
            None => self.counters.add(Metric::PubrelMissed, 1),
        }
        if unknown && self.is_lasting(slot) {
            // It may have been released a moment ago.
            self.gate(id, position);
        } else {
            self.gate_if_written(id, position, written);
        }
    }
}

/// How long, in milliseconds, a client waits whose message cannot be stored now.
const STALLED: u64 = 50;

impl Shard {
    /// Whether a packet may bring something to store: PUBLISH that asks for an answer or is to be retained,
    /// and PUBREL. `first` is its first byte.
    fn needs_store(&self, first: u8) -> bool {
        match first >> 4 {
            3 => first & 0b0110 != 0 || (first & 1 != 0 && self.node.retained.writes()),
            6 => true,
            _ => false,
        }
    }
}
