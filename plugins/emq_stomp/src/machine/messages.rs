//! SUBSCRIBE, UNSUBSCRIBE, and the messages that come by them.

use super::deliveries::{Deliveries, Delivery};
use super::headers::{Headers, content_type, user_headers};
use super::sending::qos;
use super::subscriptions::{AckMode, Refusal, Subscription};
use super::{Answer, Ask, Awaited, Machine, OUTPUT, Wanted, shown};
use crate::frame::{Encoder, Version};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::Incoming;
use std::collections::VecDeque;
use std::sync::Arc;

impl Machine {
    pub(super) fn subscribe(&mut self, headers: &Headers<'_>, receipt: Option<String>) {
        let wanted = match self.wanted(headers) {
            Ok(wanted) => wanted,
            Err(text) => return self.refuse(&text, receipt),
        };
        let asked = match self.subscriptions.add(&wanted, self.version) {
            Ok(asked) => asked,
            Err(Refusal::Same) => return self.give_receipt(receipt),
            Err(refusal) => {
                let text = match refusal {
                    Refusal::Filter(error) => format!("Invalid destination: {error}"),
                    Refusal::TooMany => "Too many subscriptions".into(),
                    Refusal::Taken | Refusal::Same => {
                        let id = wanted.id.as_deref().unwrap_or(&wanted.destination);
                        format!("Subscription {} exists already", shown(id))
                    }
                };
                return self.refuse(&text, receipt);
            }
        };
        let key = wanted.id.unwrap_or(wanted.destination);
        self.await_answer(Ask::Subscribe(asked), Awaited::Subscribe { key, receipt });
    }

    fn wanted(&self, headers: &Headers<'_>) -> Result<Wanted, String> {
        if headers.selector.is_some() {
            return Err("Selectors are not supported".into());
        }
        let Some(destination) = headers.destination.as_deref() else {
            return Err("SUBSCRIBE without destination".into());
        };
        if headers.id.is_none() && self.version != Version::V1_0 {
            return Err("SUBSCRIBE without id".into());
        }
        let ack = headers.ack.as_deref().unwrap_or("auto");
        let Some(ack) = AckMode::parse(ack) else {
            let text = "auto, client or client-individual";
            return Err(format!("Invalid ack {}: {text}", shown(ack)));
        };
        let by_mode = match ack {
            AckMode::Auto => QoS::AtMostOnce,
            AckMode::Client | AckMode::Individual => QoS::AtLeastOnce,
        };
        Ok(Wanted {
            id: headers.id.as_deref().map(Into::into),
            destination: destination.into(),
            ack,
            qos: qos(headers.qos.as_deref())?.unwrap_or(by_mode),
        })
    }

    /// The broker has answered to SUBSCRIBE.
    pub fn subscribed(&mut self, answer: Answer) {
        let Some(Awaited::Subscribe { key, receipt }) = self.awaited.take() else {
            return;
        };
        match answer {
            Ok(()) => self.give_receipt(receipt),
            Err(why) => {
                self.subscriptions.remove(&key);
                self.refuse(&format!("Not subscribed: {why}"), receipt);
            }
        }
        // A session that is older than the connection may have something for it.
        self.unpark();
    }

    fn unpark(&mut self) {
        self.unparked.append(&mut self.parked);
        self.spread();
    }

    pub(super) fn unsubscribe(&mut self, headers: Headers<'_>, receipt: Option<String>) {
        let Some(key) = headers.id.as_deref().or(headers.destination.as_deref()) else {
            return self.refuse("UNSUBSCRIBE without id", receipt);
        };
        let removed = self.subscriptions.remove(key);
        let filter = match removed {
            Some((subscription, filter)) => {
                let asks = &mut self.asks;
                if let Some(spreading) = &mut self.spreading {
                    let left = &mut spreading.left;
                    left.retain(|other| other.serial != subscription.serial);
                }
                self.deliveries
                    .end(subscription.serial, |id| asks.push_back(Ask::Ack(id)));
                filter
            }
            // Of an earlier connection, whose ids are not known any more.
            None if self.durable => headers.destination.map(Into::into),
            None => None,
        };
        let Some(filter) = filter else {
            return self.give_receipt(receipt);
        };
        self.subscriptions.leave(&filter);
        self.await_answer(Ask::Unsubscribe(filter), Awaited::Unsubscribe { receipt });
    }

    /// The broker has answered to UNSUBSCRIBE.
    pub fn unsubscribed(&mut self, answer: Answer) {
        let Some(Awaited::Unsubscribe { receipt }) = self.awaited.take() else {
            return;
        };
        match answer {
            Ok(()) => self.give_receipt(receipt),
            Err(why) => self.refuse(&format!("Not unsubscribed: {why}"), receipt),
        }
        self.unpark();
    }

    /// A message of the broker's: a MESSAGE for each subscription that it is for.
    pub(super) fn message(&mut self, message: Incoming) {
        let held = if self.subscriptions.wait_for_acks() {
            Held::Shared(Arc::new(message))
        } else {
            Held::Own(message)
        };
        let message = held.get();
        let Machine {
            subscriptions,
            deliveries,
            out,
            version,
            ..
        } = self;
        let (mut waits, mut left) = (false, VecDeque::new());
        let identifiers = &message.subscriptions;
        let count = subscriptions.each(identifiers, &message.topic, message.retain, |to| {
            if out.len() < OUTPUT {
                waits |= give(out, deliveries, *version, to, &held);
            } else {
                left.push_back(Arc::clone(to));
            }
        });
        if !left.is_empty() {
            self.deliveries.hold(message.id);
            self.spreading = Some(Spreading { held, left, waits });
            return;
        }
        let id = message.id;
        if id == 0 || waits {
            return;
        }
        if count > 0 {
            self.written.push(id);
        } else if self.durable && !self.subscriptions.is_left(&message.topic) {
            // It stays in the broker's window, which bounds what waits here.
            self.parked.push_back(held.take());
        } else {
            self.asks.push_back(Ask::Ack(id));
        }
    }

    /// Goes on with what there was no room for: a message that not all of its subscriptions have, and messages of a
    /// session from before.
    pub fn spread(&mut self) {
        while self.has_space() {
            if let Some(spreading) = self.spreading.take() {
                self.go_on_with(spreading);
            } else if let Some(message) = self.unparked.pop_front() {
                self.message(message);
            } else {
                return;
            }
        }
    }

    fn go_on_with(&mut self, mut spreading: Spreading) {
        let (out, deliveries) = (&mut self.out, &mut self.deliveries);
        let Spreading { held, left, waits } = &mut spreading;
        while out.len() < OUTPUT
            && let Some(to) = left.pop_front()
        {
            *waits |= give(out, deliveries, self.version, &to, held);
        }
        if !left.is_empty() {
            self.spreading = Some(spreading);
            return;
        }
        let id = held.get().id;
        let settled = deliveries.release(id);
        if id != 0 && !*waits {
            self.written.push(id);
        } else if settled {
            self.asks.push_back(Ask::Ack(id));
        }
    }

    /// Sends what was refused again, as far as there is room.
    pub fn message_again(&mut self) {
        while self.has_room()
            && let Some((number, delivery)) = self.deliveries.next_again()
        {
            let Delivery {
                subscription,
                message,
            } = &delivery;
            put(
                &mut self.out,
                self.version,
                subscription,
                message,
                number,
                true,
            );
        }
    }
}

/// A message, shared where ACKs for it are waited for.
enum Held {
    Own(Incoming),
    Shared(Arc<Incoming>),
}

impl Held {
    fn get(&self) -> &Incoming {
        match self {
            Held::Own(message) => message,
            Held::Shared(message) => message,
        }
    }

    fn take(self) -> Incoming {
        match self {
            Held::Own(message) => message,
            Held::Shared(message) => Arc::unwrap_or_clone(message),
        }
    }
}

/// A message that some of its subscriptions do not have yet, because the client does not read as fast as one message
/// becomes many. Nothing else comes meanwhile.
pub(super) struct Spreading {
    held: Held,
    left: VecDeque<Arc<Subscription>>,
    /// whether ACK is waited for
    waits: bool,
}

/// Gives a subscription the message; whether ACK is waited for.
fn give(
    out: &mut Vec<u8>,
    deliveries: &mut Deliveries,
    version: Version,
    to: &Arc<Subscription>,
    held: &Held,
) -> bool {
    let message = held.get();
    let (number, waits) = match held {
        Held::Shared(message) if to.ack != AckMode::Auto => {
            let delivery = Delivery {
                subscription: Arc::clone(to),
                message: Arc::clone(message),
            };
            (deliveries.wait(delivery), true)
        }
        _ => (deliveries.number(), false),
    };
    put(out, version, to, message, number, message.dup);
    waits
}

/// Bytes of a MESSAGE beside the id of the subscription, the topic and the body.
const HEADERS: usize = 160;

/// The frame of a MESSAGE.
fn put(
    out: &mut Vec<u8>,
    version: Version,
    to: &Subscription,
    message: &Incoming,
    number: u64,
    again: bool,
) {
    out.reserve(to.beginning.len() + message.topic.len() + message.payload.len() + HEADERS);
    let frame = Encoder::resume(out, &to.beginning, version)
        .number("message-id", number)
        .header("destination", &message.topic);
    let about = message.about.as_deref();
    let mut frame = content_type(frame, about);
    if version == Version::V1_2 && to.ack != AckMode::Auto {
        frame = frame.number("ack", number);
    }
    if again {
        frame = frame.header("redelivered", "true");
    }
    user_headers(frame, about).body(&message.payload);
}
