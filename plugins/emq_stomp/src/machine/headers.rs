//! The headers that frames behind CONNECT may have.

use crate::frame::Frame;
use std::borrow::Cow;

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
}

impl<'a> Headers<'a> {
    pub fn read(frame: &Frame<'a>) -> Headers<'a> {
        let mut headers = Headers::default();
        for (name, value) in frame.headers() {
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
