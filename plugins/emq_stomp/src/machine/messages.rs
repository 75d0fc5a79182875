//! SUBSCRIBE, UNSUBSCRIBE, and the messages that come by them.

use super::deliveries::Delivery;
use super::headers::Headers;
use super::sending::qos;
use super::subscriptions::{AckMode, Refusal, Subscription};
use super::{Answer, Ask, Awaited, Machine, Wanted, shown};
use crate::frame::{Encoder, Version};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::Incoming;
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
        for message in std::mem::take(&mut self.parked) {
            self.message(message);
        }
    }

    pub(super) fn unsubscribe(&mut self, headers: Headers<'_>, receipt: Option<String>) {
        let Some(key) = headers.id.as_deref().or(headers.destination.as_deref()) else {
            return self.refuse("UNSUBSCRIBE without id", receipt);
        };
        let removed = self.subscriptions.remove(key);
        let filter = match removed {
            Some((subscription, filter)) => {
                let asks = &mut self.asks;
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
        let (topic, id) = (&message.topic, message.id);
        let Machine {
            subscriptions,
            deliveries,
            out,
            version,
            ..
        } = self;
        let mut waits = false;
        let identifiers = &message.subscriptions;
        let count = subscriptions.each(identifiers, topic, message.retain, |to| {
            let number = match &held {
                Held::Shared(message) if to.ack != AckMode::Auto => {
                    waits = true;
                    deliveries.wait(Delivery {
                        subscription: Arc::clone(to),
                        message: Arc::clone(message),
                    })
                }
                _ => deliveries.number(),
            };
            put(out, *version, to, message, number, message.dup);
        });
        if id == 0 || waits {
            return;
        }
        if count > 0 {
            self.written.push(id);
        } else if self.durable && !self.subscriptions.is_left(topic) {
            // It stays in the broker's window, which bounds what waits here.
            self.parked.push_back(held.take());
        } else {
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
    let mut frame = Encoder::resume(out, &to.beginning, version)
        .number("message-id", number)
        .header("destination", &message.topic)
        .header("content-type", "text/plain");
    if version == Version::V1_2 && to.ack != AckMode::Auto {
        frame = frame.number("ack", number);
    }
    if again {
        frame = frame.header("redelivered", "true");
    }
    frame.body(&message.payload);
}
