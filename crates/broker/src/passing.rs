//! A message on its way through the broker.

use emqttd_session::{Message, MessageParts, Publisher};
use std::ops::Range;
use std::sync::Arc;

/// The sender of what management or a plugin publishes under `name`. By its user name, which is empty and not
/// missing, hooks tell it from a client; only a client that gives an empty user name itself looks the same.
pub(crate) fn internal_sender(name: &str) -> Arc<Publisher> {
    Arc::new(Publisher {
        clientid: name.into(),
        username: Some("".into()),
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
