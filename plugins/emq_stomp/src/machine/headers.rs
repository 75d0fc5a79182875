//! The headers that frames behind CONNECT may have, and those that go from SEND to MESSAGE.

use crate::frame::{Encoder, Frame};
use emqttd_plugin_sdk::virtual_client::About;
use std::borrow::Cow;

/// Of what type a body is when nobody says it.
const CONTENT_TYPE: &str = "text/plain";

/// How many properties of a message become headers. Some clients give up at frames with more than a hundred.
const MOST: usize = 64;

/// Headers of a frame, found in one pass.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    pub ack: Option<Cow<'a, str>>,
    pub destination: Option<Cow<'a, str>>,
    pub id: Option<Cow<'a, str>>,
    pub message_id: Option<Cow<'a, str>>,
    pub qos: Option<Cow<'a, str>>,
    pub receipt: Option<Cow<'a, str>>,
    pub requeue: Option<Cow<'a, str>>,
    pub retain: Option<Cow<'a, str>>,
    pub selector: Option<Cow<'a, str>>,
    pub subscription: Option<Cow<'a, str>>,
    pub transaction: Option<Cow<'a, str>>,
    /// there are some that a SEND says of its message
    say_more: bool,
}

impl<'a> Headers<'a> {
    pub fn read(frame: &Frame<'a>) -> Headers<'a> {
        let mut headers = Headers::default();
        for (name, value) in frame.headers() {
            headers.say_more |= name == "content-type" || !is_ours(&name);
            let place = match &*name {
                "ack" => &mut headers.ack,
                "destination" => &mut headers.destination,
                "id" => &mut headers.id,
                "message-id" => &mut headers.message_id,
                "qos" => &mut headers.qos,
                "receipt" => &mut headers.receipt,
                "requeue" => &mut headers.requeue,
                "retain" => &mut headers.retain,
                "selector" => &mut headers.selector,
                "subscription" => &mut headers.subscription,
                "transaction" => &mut headers.transaction,
                _ => continue,
            };
            // Of those with the same name the first counts.
            if place.is_none() {
                *place = Some(value);
            }
        }
        headers
    }
}

impl Headers<'_> {
    /// What the frame, a SEND, says of its message: its content type, and the headers that are for those who get it.
    pub fn about(&self, frame: &Frame<'_>) -> Option<Box<About>> {
        if !self.say_more {
            return None;
        }
        let mut about = About::default();
        for (name, value) in frame.headers() {
            if name == "content-type" {
                about.content_type.get_or_insert(value.into());
            } else if !is_ours(&name) {
                about.user_properties.push((name.into(), value.into()));
            }
        }
        Some(Box::new(about))
    }
}

/// Headers of a SEND for the server, and those of a MESSAGE that it writes.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "ack"
            | "content-length"
            | "content-type"
            | "destination"
            | "message-id"
            | "qos"
            | "receipt"
            | "redelivered"
            | "retain"
            | "subscription"
            | "transaction"
    )
}

/// Adds the content type of a message.
pub(super) fn content_type<'a>(frame: Encoder<'a>, about: Option<&About>) -> Encoder<'a> {
    let said = about.and_then(|about| about.content_type.as_deref());
    let said = said.filter(|said| frame.can_say("content-type", said));
    frame.header("content-type", said.unwrap_or(CONTENT_TYPE))
}

/// Adds what else is said of a message. Whoever published it by MQTT may have said what the version has no words for.
pub(super) fn user_headers<'a>(mut frame: Encoder<'a>, about: Option<&About>) -> Encoder<'a> {
    let pairs = about.iter().flat_map(|about| &about.user_properties);
    for (name, value) in pairs.take(MOST) {
        if !is_ours(name) && frame.can_say(name, value) {
            frame = frame.named(name, value);
        }
    }
    frame
}
