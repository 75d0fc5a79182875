//! What a client asks of the broker: REGISTER, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, and the answers.

use super::{ASKS, Answer, Device, RECEIVED};
use crate::packet::{Flags, Packet, ReturnCode, Topic, TopicKind};
use crate::world::{Count, Env, Kind, Taken, Ticket, World};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::topic::{has_wildcard, validate_filter, validate_name};
use emqttd_plugin_sdk::virtual_client::Outgoing;

/// A question to the broker.
#[derive(Debug)]
pub(super) struct Ask {
    pub ticket: Ticket,
    what: Asking,
}

#[derive(Debug)]
pub(super) enum Asking {
    Publish { qos: QoS, topic_id: u16 },
    Subscribe { what: Subscribing, asked: QoS },
    Unsubscribe,
}

/// What SUBACK will say.
#[derive(Debug)]
pub(super) enum Subscribing {
    /// this id
    Id(u16),
    /// the id of this name
    Name(Box<str>),
}

impl<C> Device<C> {
    pub(super) fn on_register<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        msg_id: u16,
        text: &[u8],
    ) {
        let predefined = &env.rules.predefined;
        let name = name(text);
        let later = name.is_some_and(|name| env.is_full() && !self.registry.has(name, predefined));
        let name = name.filter(|_| !later);
        let id = name.and_then(|name| self.registry.register(name, predefined));
        let code = match id {
            Some(_) => ReturnCode::ACCEPTED,
            None if later => ReturnCode::CONGESTION,
            None => ReturnCode::NOT_SUPPORTED,
        };
        let packet = Packet::RegAck {
            topic_id: id.unwrap_or(0),
            msg_id,
            code,
        };
        env.world.send(&self.peer, &packet);
        // The broker's messages may wait for that very name.
        self.pump(env);
    }

    /// The topic name that stands in a PUBLISH.
    fn topic_of<W: World<Client = C>>(
        &self,
        env: &Env<'_, W>,
        kind: TopicKind,
        topic: u16,
    ) -> Result<String, ReturnCode> {
        let predefined = &env.rules.predefined;
        let known = match kind {
            TopicKind::Normal => self.registry.name(topic, predefined),
            TopicKind::Predefined => predefined.name(topic),
            TopicKind::Short => return short_name(topic).ok_or(ReturnCode::NOT_SUPPORTED),
            TopicKind::Reserved => return Err(ReturnCode::NOT_SUPPORTED),
        };
        let topic = known.ok_or(ReturnCode::INVALID_TOPIC_ID)?;
        // A predefined one may be for subscriptions only.
        match has_wildcard(topic) {
            true => Err(ReturnCode::NOT_SUPPORTED),
            false => Ok(topic.to_string()),
        }
    }

    pub(super) fn on_publish<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        flags: Flags,
        topic: u16,
        msg_id: u16,
        payload: &[u8],
    ) {
        let qos = match QoS::from_u8(flags.qos()) {
            Some(qos) => qos,
            None if env.rules.qos_minus_1 => QoS::AtMostOnce,
            None => return,
        };
        if qos != QoS::AtMostOnce && self.is_repeated(env, qos, msg_id) {
            return;
        }
        let answer = match self.topic_of(env, flags.topic_kind(), topic) {
            Err(code) => Some(code),
            Ok(_) if qos != QoS::AtMostOnce && self.asks.len() >= ASKS => {
                Some(ReturnCode::CONGESTION)
            }
            Ok(name) => {
                let message = Outgoing::new(name, payload).qos(qos);
                let message = message.retain(flags.retain());
                self.publish(env, topic, msg_id, message)
            }
        };
        match answer {
            Some(code) if qos != QoS::AtMostOnce => self.puback(env, topic, msg_id, code),
            Some(ReturnCode::CONGESTION) => env.world.count(Count::Busy),
            _ => {}
        }
    }

    /// Hands a message to the broker; the code of what is known of it at once.
    fn publish<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        topic_id: u16,
        msg_id: u16,
        message: Outgoing,
    ) -> Option<ReturnCode> {
        let client = self.client.as_ref()?;
        let qos = message.qos;
        match env.world.publish(env.key, client, msg_id, message) {
            Taken::Yes if qos == QoS::AtMostOnce => None,
            Taken::Yes => {
                let what = Asking::Publish { qos, topic_id };
                self.remember(Kind::Publish, msg_id, what);
                None
            }
            Taken::Busy => Some(ReturnCode::CONGESTION),
            Taken::Invalid => Some(ReturnCode::NOT_SUPPORTED),
            // The end of the connection comes as an event.
            Taken::Closed => None,
        }
    }

    /// Whether a message is one that came before: one that the broker has not answered, or that it has and the client
    /// has not released.
    fn is_repeated<W: World<Client = C>>(
        &self,
        env: &mut Env<'_, W>,
        qos: QoS,
        msg_id: u16,
    ) -> bool {
        if qos == QoS::ExactlyOnce && self.received.contains(&msg_id) {
            env.world.send(&self.peer, &Packet::PubRec(msg_id));
            return true;
        }
        self.is_asked(Kind::Publish, msg_id)
    }

    fn puback<W: World<Client = C>>(
        &self,
        env: &mut Env<'_, W>,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    ) {
        let packet = Packet::PubAck {
            topic_id,
            msg_id,
            code,
        };
        env.world.send(&self.peer, &packet);
    }

    fn is_asked(&self, kind: Kind, msg_id: u16) -> bool {
        let ticket = Ticket { kind, msg_id };
        self.asks.iter().any(|ask| ask.ticket == ticket)
    }

    fn remember(&mut self, kind: Kind, msg_id: u16, what: Asking) {
        let ticket = Ticket { kind, msg_id };
        self.asks.push(Ask { ticket, what });
    }

    pub(super) fn on_subscribe<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        flags: Flags,
        msg_id: u16,
        topic: Topic<'_>,
    ) {
        if self.is_asked(Kind::Subscribe, msg_id) {
            return;
        }
        let refused = match self.subscribing(env, topic) {
            Err(refused) => Err(refused),
            Ok(_) if self.asks.len() >= ASKS => Err((0, ReturnCode::CONGESTION)),
            Ok(wanted) => match QoS::from_u8(flags.qos()) {
                Some(qos) => Ok((wanted, qos)),
                None => Err((0, ReturnCode::NOT_SUPPORTED)),
            },
        };
        match refused {
            Err((topic_id, code)) => {
                let flags = Flags::of_qos(flags.qos());
                self.suback(env, flags, topic_id, msg_id, code);
            }
            Ok(((filter, what), qos)) => {
                let Some(client) = &self.client else { return };
                env.world.subscribe(env.key, client, msg_id, &filter, qos);
                let what = Asking::Subscribe { what, asked: qos };
                self.remember(Kind::Subscribe, msg_id, what);
            }
        }
    }

    /// The filter that a SUBSCRIBE is about, and the id of its SUBACK; or id and code of one that refuses.
    fn subscribing<W: World<Client = C>>(
        &self,
        env: &Env<'_, W>,
        topic: Topic<'_>,
    ) -> Result<(String, Subscribing), (u16, ReturnCode)> {
        let predefined = &env.rules.predefined;
        let refused = (0, ReturnCode::NOT_SUPPORTED);
        match topic {
            Topic::Id(id) => {
                let name = predefined.name(id);
                let name = name.ok_or((id, ReturnCode::INVALID_TOPIC_ID))?;
                Ok((name.to_string(), Subscribing::Id(id)))
            }
            Topic::Short(text) => {
                let filter = filter(&text).ok_or(refused)?;
                Ok((filter.to_string(), Subscribing::Id(0)))
            }
            Topic::Name(text) => {
                let filter = filter(text).ok_or(refused)?;
                if has_wildcard(filter) {
                    return Ok((filter.to_string(), Subscribing::Id(0)));
                }
                if env.is_full() && !self.registry.has(filter, predefined) {
                    return Err((0, ReturnCode::CONGESTION));
                }
                if !self.registry.has_room(filter, predefined) {
                    return Err(refused);
                }
                Ok((filter.to_string(), Subscribing::Name(filter.into())))
            }
        }
    }

    fn suback<W: World<Client = C>>(
        &self,
        env: &mut Env<'_, W>,
        flags: Flags,
        topic_id: u16,
        msg_id: u16,
        code: ReturnCode,
    ) {
        let packet = Packet::SubAck {
            flags,
            topic_id,
            msg_id,
            code,
        };
        env.world.send(&self.peer, &packet);
    }

    pub(super) fn on_unsubscribe<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        msg_id: u16,
        topic: Topic<'_>,
    ) {
        if self.is_asked(Kind::Unsubscribe, msg_id) {
            return;
        }
        let filter = match &topic {
            Topic::Id(id) => env.rules.predefined.name(*id).map(|name| &**name),
            Topic::Short(text) => filter(text),
            Topic::Name(text) => filter(text),
        };
        match (filter, &self.client) {
            (Some(filter), Some(client)) if self.asks.len() < ASKS => {
                env.world.unsubscribe(env.key, client, msg_id, filter);
                self.remember(Kind::Unsubscribe, msg_id, Asking::Unsubscribe);
            }
            // With too much under way it asks again.
            (Some(_), _) => {}
            // There is no such subscription.
            (None, _) => env.world.send(&self.peer, &Packet::UnsubAck(msg_id)),
        }
    }

    /// The broker has answered.
    pub fn answered<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        ticket: Ticket,
        answer: Answer,
    ) {
        let Some(index) = self.asks.iter().position(|ask| ask.ticket == ticket) else {
            return;
        };
        let Ask { what, .. } = self.asks.remove(index);
        if self.asks.is_empty() {
            self.asks = Vec::new();
        }
        let msg_id = ticket.msg_id;
        match (what, answer) {
            (Asking::Unsubscribe, _) => {
                env.world.send(&self.peer, &Packet::UnsubAck(msg_id));
            }
            // The end of the connection comes as an event.
            (_, Answer::Ended) => {}
            (Asking::Publish { topic_id, .. }, Answer::Code(0x80..)) => {
                self.puback(env, topic_id, msg_id, ReturnCode::NOT_SUPPORTED);
            }
            (Asking::Publish { qos, topic_id }, Answer::Code(_)) => {
                if qos == QoS::ExactlyOnce {
                    if self.received.len() >= RECEIVED {
                        self.received.remove(0);
                    }
                    self.received.push(msg_id);
                    env.world.send(&self.peer, &Packet::PubRec(msg_id));
                } else {
                    self.puback(env, topic_id, msg_id, ReturnCode::ACCEPTED);
                }
            }
            // As EMQ's other refusals, with the QoS that was asked for.
            (Asking::Subscribe { asked, .. }, Answer::Code(0x80..)) => {
                let flags = Flags::of_qos(asked as u8);
                self.suback(env, flags, 0, msg_id, ReturnCode::DENIED);
            }
            (Asking::Subscribe { what, .. }, Answer::Code(qos)) => {
                let topic_id = match what {
                    Subscribing::Id(id) => Some(id),
                    Subscribing::Name(name) => self.registry.register(&name, &env.rules.predefined),
                };
                // Without an id its messages are announced as those of a wildcard.
                let topic_id = topic_id.unwrap_or(0);
                self.suback(
                    env,
                    Flags::of_qos(qos),
                    topic_id,
                    msg_id,
                    ReturnCode::ACCEPTED,
                );
            }
        }
    }
}

/// A topic name.
pub(super) fn name(text: &[u8]) -> Option<&str> {
    let name = str::from_utf8(text).ok()?;
    validate_name(name).ok().map(|()| name)
}

/// A topic filter.
fn filter(text: &[u8]) -> Option<&str> {
    let filter = str::from_utf8(text).ok()?;
    validate_filter(filter).ok().map(|()| filter)
}

/// A topic name of two characters.
pub fn short_name(topic: u16) -> Option<String> {
    name(&topic.to_be_bytes()).map(str::to_string)
}
