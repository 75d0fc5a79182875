//! The first two dialects, on exactly `/mqtt`: `qos=0&retain=0&message=payload&topic=hello` by POST, and GET with
//! `topic=..` as its payload or in its query.

use crate::codec::Code;
use crate::form;
use crate::plan::{Form, Plan, Query, Route, Who, bad, check_name, qos, retain, watch};
use crate::request::{Method, Request, Response};
use bytes::Bytes;
use emqttd_plugin_sdk::virtual_client::Outgoing;

/// What a form says.
#[derive(Default)]
struct Fields {
    topic: Option<Vec<u8>>,
    message: Option<Vec<u8>>,
    qos: Option<Vec<u8>>,
    retain: Option<Vec<u8>>,
    client: Option<Vec<u8>>,
}

impl Fields {
    fn read(form: &[u8]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in form::fields(form) {
            let field = match &*name {
                b"topic" => &mut fields.topic,
                b"message" => &mut fields.message,
                b"qos" => &mut fields.qos,
                b"retain" => &mut fields.retain,
                b"client" => &mut fields.client,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        fields
    }

    fn who(&self, query: &Query<'_>) -> Result<Who, Response> {
        match (query.clientid, text(self.client.as_deref())?) {
            (Some(_), _) => query.who(),
            (None, Some(client)) => query.called(client),
            (None, None) => Ok(Who::Nameless),
        }
    }
}

fn text(value: Option<&[u8]>) -> Result<Option<&str>, Response> {
    let text = value.map(std::str::from_utf8).transpose();
    text.map_err(|_| bad("a field is not UTF-8"))
}

/// Whether a GET without a topic in its path is one of these dialects.
pub fn is_meant(request: &Request<'_>) -> bool {
    Query::of(request).topic.is_some() || Fields::read(request.payload).topic.is_some()
}

/// A request for `/mqtt` itself.
///
/// # Errors
/// The answer, when it cannot be done.
pub fn route(request: &Request<'_>) -> Result<Route, Response> {
    let query = Query::of(request);
    let fields = Fields::read(request.payload);
    let topic = match query.topic {
        Some(topic) => Some(topic),
        None => text(fields.topic.as_deref())?,
    };
    let Some(topic) = topic else {
        return Err(bad("topic= is missing"));
    };
    let who = fields.who(&query)?;
    let plan = match request.method {
        Method::Post => publish(topic, &fields)?,
        _ => watch(request, topic.into(), Form::Fields)?,
    };
    Ok(Route::As(who, plan))
}

fn publish(topic: &str, fields: &Fields) -> Result<Plan, Response> {
    check_name(topic)?;
    let Some(message) = &fields.message else {
        return Err(bad("message= is missing"));
    };
    let message = Outgoing::new(topic, message.as_slice())
        .qos(qos(text(fields.qos.as_deref())?)?)
        .retain(retain(text(fields.retain.as_deref())?)?);
    let success = Code::CREATED;
    Ok(Plan::Publish { message, success })
}

/// `topic=X&message=Y`: the message is the rest, whatever is in it.
pub fn notification(topic: &str, payload: &[u8]) -> Bytes {
    [b"topic=", topic.as_bytes(), b"&message=", payload]
        .concat()
        .into()
}
