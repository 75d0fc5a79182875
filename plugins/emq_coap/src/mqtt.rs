//! `/mqtt/{topic}?c=&u=&p=`: PUT publishes, GET with Observe subscribes (EMQ 2.2 and later).

use crate::codec::Code;
use crate::plan::{Form, Plan, Query, Route, check_name, topic_of, watch};
use crate::request::{Method, Request, Response};
use emqttd_plugin_sdk::virtual_client::Outgoing;

/// A request for a topic.
///
/// # Errors
/// The answer, when it cannot be done.
pub fn route<'a>(
    request: &Request<'a>,
    segments: impl Iterator<Item = &'a str>,
) -> Result<Route, Response> {
    let query = Query::of(request);
    let plan = match request.method {
        Method::Put => {
            let who = query.who()?;
            let topic = topic_of(segments);
            check_name(&topic)?;
            let (qos, retain) = query.delivery()?;
            // A topic is always there, and has no version.
            if !request.may_proceed(Some(&[])) {
                return Err(Response::new(Code::PRECONDITION_FAILED));
            }
            let message = Outgoing::new(topic, request.payload)
                .qos(qos)
                .retain(retain);
            let success = Code::CHANGED;
            return Ok(Route::As(who, Plan::Publish { message, success }));
        }
        Method::Get => watch(request, topic_of(segments), Form::Payload),
        _ => return Err(Response::new(Code::METHOD_NOT_ALLOWED)),
    };
    // Who asks comes first: without a name it is 4.00 whatever else is wrong.
    let who = query.who()?;
    Ok(Route::As(who, plan?))
}
