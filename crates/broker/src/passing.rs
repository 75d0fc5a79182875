//! A message on its way through the broker.

use emqttd_session::{Message, MessageParts, Publisher};
use std::ops::Range;
use std::sync::Arc;

/// The user name of a sender that is no client. No client has it: U+0000 is not allowed in a string of MQTT [MQTT-1.5.4-2].
/// Hooks see an empty one in its place.
pub(crate) const NO_CLIENT: &str = "\0";

/// The sender of what management or a plugin publishes under `name`.
pub(crate) fn internal_sender(name: &str) -> Arc<Publisher> {
    Arc::new(Publisher {
        clientid: name.into(),
        username: Some(NO_CLIENT.into()),
    })
}

/// A message on its way: borrowed from the scratch buffer until somebody has to keep it.
pub(crate) struct Passing<'a> {
    pub parts: MessageParts<'a>,
    pub publisher: Option<&'a Arc<Publisher>>,
    /// milliseconds of the node's clock; `u64::MAX` = never
    pub expires_at: u64,
    pub unix: u64,
    pub kept: Option<Arc<Message>>,
    /// the packet as QoS 0 for 3.x and for 5.0, once somebody needed it, in the shard's `encoded`
    pub packets: [Option<Range<usize>>; 2],
}

impl<'a> Passing<'a> {
    /// A message that is kept already.
    pub fn of(message: &'a Arc<Message>) -> Passing<'a> {
        Passing {
            parts: message.parts(),
            publisher: message.publisher.as_ref(),
            expires_at: message.expires_at,
            unix: message.timestamp,
            kept: Some(Arc::clone(message)),
            packets: [None, None],
        }
    }

    /// The message as something that can be kept.
    pub fn keep(&mut self) -> &Arc<Message> {
        self.kept.get_or_insert_with(|| {
            Arc::new(Message::new(
                self.parts,
                self.publisher.cloned(),
                self.unix,
                self.expires_at,
            ))
        })
    }
}
