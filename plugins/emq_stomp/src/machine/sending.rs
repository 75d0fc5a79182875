//! SEND, ACK and NACK, at once or at COMMIT.

use super::deliveries::{Unknown, Verdict};
use super::headers::Headers;
use super::transactions::{Refusal, Step};
use super::{Ask, Due, Machine, shown};
use crate::frame::{Frame, Version};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::topic::validate_name;
use emqttd_plugin_sdk::virtual_client::Outgoing;
use std::sync::Arc;
use std::time::Instant;

impl Machine {
    pub(super) fn send(
        &mut self,
        headers: Headers<'_>,
        frame: &Frame<'_>,
        receipt: Option<String>,
    ) {
        let about = headers.about(frame);
        let Some(destination) = headers.destination else {
            return self.refuse("SEND without destination", receipt);
        };
        if let Err(error) = validate_name(&destination) {
            return self.refuse(&format!("Invalid destination: {error}"), receipt);
        }
        let asked = match qos(headers.qos.as_deref()) {
            Ok(asked) => asked,
            Err(text) => return self.refuse(&text, receipt),
        };
        let by_receipt = match receipt {
            Some(_) => QoS::AtLeastOnce,
            None => QoS::AtMostOnce,
        };
        let mut message = self.spare.pop().unwrap_or_else(|| Outgoing::new("", ""));
        message.topic.push_str(&destination);
        message.payload.extend_from_slice(frame.body);
        message.about = about;
        message.qos = asked.unwrap_or(by_receipt);
        message.retain = headers.retain.as_deref() == Some("true");
        match headers.transaction {
            None => {
                let answered = receipt.is_some() || message.qos != QoS::AtMostOnce;
                self.publish(message, answered.then_some(Due::Published(receipt)));
            }
            Some(name) => {
                let asked = asked.is_some();
                self.add(&name, Step::Send { message, asked }, receipt);
            }
        }
    }

    /// Publishes; `due` when the answer is waited for.
    fn publish(&mut self, message: Outgoing, due: Option<Due>) {
        let answered = due.is_some();
        self.due.extend(due);
        self.asks.push_back(Ask::Publish { message, answered });
    }

    /// ACK and NACK.
    pub(super) fn settle(
        &mut self,
        headers: &Headers<'_>,
        verdict: Verdict,
        receipt: Option<String>,
    ) {
        // 1.2 has `id`, which is the `ack` of the message; before there were `message-id` and `subscription`.
        let text = if self.version == Version::V1_2 {
            headers.id.as_deref().or(headers.message_id.as_deref())
        } else {
            headers.message_id.as_deref().or(headers.id.as_deref())
        };
        let Some(text) = text else {
            return self.refuse("ACK or NACK without the id of a message", receipt);
        };
        if let Some(name) = headers.transaction.as_deref()
            && !self.transactions.is_open(name)
        {
            return self.refuse_as_observed(&Refusal::NotFound.text(name), receipt);
        }
        let number = text.parse().unwrap_or(0);
        let subscription = headers.subscription.as_deref();
        match self.deliveries.check(number, subscription) {
            Ok(()) => {}
            Err(Unknown::Number) => {
                return self.refuse(&format!("Message {} not found", shown(text)), receipt);
            }
            Err(Unknown::Subscription) => {
                let text = format!("Message {number} is of another subscription");
                return self.refuse(&text, receipt);
            }
        }
        match &headers.transaction {
            None => {
                self.settle_now(number, verdict);
                self.give_receipt(receipt);
            }
            Some(name) => self.add(name, Step::Settle { number, verdict }, receipt),
        }
    }

    fn settle_now(&mut self, number: u64, verdict: Verdict) {
        let asks = &mut self.asks;
        let done = |id| asks.push_back(Ask::Ack(id));
        self.counts.requeued += self.deliveries.settle(number, verdict, done) as u64;
    }

    /// A frame that waits for COMMIT.
    fn add(&mut self, name: &str, step: Step, receipt: Option<String>) {
        match self.transactions.add(name, step) {
            Ok(()) => self.give_receipt(receipt),
            Err(refusal) => self.refuse_as_observed(&refusal.text(name), receipt),
        }
    }

    pub(super) fn transaction(
        &mut self,
        command: &str,
        headers: &Headers<'_>,
        receipt: Option<String>,
        now: Instant,
    ) {
        let Some(name) = headers.transaction.as_deref() else {
            return self.refuse(&format!("{command} without transaction"), receipt);
        };
        let most = self.settings.max_transactions;
        let done = match command {
            "BEGIN" => self.transactions.begin(name, most, now),
            "COMMIT" => self.transactions.end(name).map(|steps| {
                self.commit(steps, receipt.as_deref());
            }),
            _ => self.transactions.end(name).map(drop),
        };
        match done {
            Ok(()) => self.give_receipt(receipt),
            Err(refusal) => self.refuse_as_observed(&refusal.text(name), receipt),
        }
    }

    /// The frames of a transaction, in their order. A receipt that was asked for says that the broker has them all.
    fn commit(&mut self, steps: Vec<Step>, receipt: Option<&str>) {
        let receipt: Option<Arc<str>> = receipt.map(Into::into);
        for step in steps {
            match step {
                Step::Send { mut message, asked } => {
                    if receipt.is_some() && !asked {
                        message.qos = QoS::AtLeastOnce;
                    }
                    let answered = message.qos != QoS::AtMostOnce;
                    let due = answered.then(|| Due::Committed(receipt.clone()));
                    self.publish(message, due);
                }
                Step::Settle { number, verdict } => self.settle_now(number, verdict),
            }
        }
    }
}

/// The header `qos`.
pub(super) fn qos(text: Option<&str>) -> Result<Option<QoS>, String> {
    match text {
        None => Ok(None),
        Some("0") => Ok(Some(QoS::AtMostOnce)),
        Some("1") => Ok(Some(QoS::AtLeastOnce)),
        Some("2") => Ok(Some(QoS::ExactlyOnce)),
        Some(other) => Err(format!("Invalid qos {}: 0, 1 or 2", shown(other))),
    }
}
