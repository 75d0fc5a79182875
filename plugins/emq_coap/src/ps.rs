//! `/ps/{topic}?c=&u=&p=`: topics that keep their last value (draft-ietf-core-coap-pubsub-02).

use crate::codec::Code;
use crate::form;
use crate::link_format;
use crate::plan::{Plan, PsPlan, Query, Route, bad, check_name, topic_of};
use crate::request::{Method, Observe, Request, Response};
use crate::store::TopicStore;
use crate::well_known::LINK_FORMAT;
use emqttd_plugin_sdk::topic::SubscriptionFilter;
use emqttd_plugin_sdk::virtual_client::Outgoing;

/// `application/octet-stream`, `application/exi`, `application/json`: what values may be, as in EMQ.
const FORMATS: [u16; 3] = [42, 47, 50];
/// Max-Age of a request without one, seconds (RFC 7252, section 5.10.5).
pub const DEFAULT_MAX_AGE: u32 = 60;

/// A request for a topic, or for `/ps` itself.
///
/// # Errors
/// The answer, when it cannot be done.
pub fn route<'a>(
    request: &Request<'a>,
    segments: impl Iterator<Item = &'a str>,
    store: &TopicStore,
) -> Result<Route, Response> {
    let query = Query::of(request);
    let topic = topic_of(segments);
    let who = query.who()?;
    let plan = match request.method {
        Method::Get => get(request, topic)?,
        Method::Post if request.content_format == Some(LINK_FORMAT) => create(request, &topic)?,
        Method::Post | Method::Put => publish(request, topic, &query, store)?,
        Method::Delete => {
            check_topic(&topic)?;
            let may_proceed = may_proceed(request, store, &topic);
            Plan::Ps(PsPlan::Delete { topic, may_proceed })
        }
        Method::Other => return Err(Response::new(Code::METHOD_NOT_ALLOWED)),
    };
    Ok(Route::As(who, plan))
}

fn get(request: &Request<'_>, topic: String) -> Result<Plan, Response> {
    if topic.is_empty() && request.observe.is_none() {
        return Ok(Plan::Ps(PsPlan::List));
    }
    check_topic(&topic)?;
    let accept = request.accept;
    Ok(match request.observe {
        None => Plan::Ps(PsPlan::Read { topic, accept }),
        Some(Observe::Register) => Plan::Ps(PsPlan::Observe {
            topic,
            accept,
            renews: request.renews,
        }),
        Some(Observe::Deregister) => Plan::Unobserve { filter: topic },
    })
}

fn publish(
    request: &Request<'_>,
    topic: String,
    query: &Query<'_>,
    store: &TopicStore,
) -> Result<Plan, Response> {
    check_topic(&topic)?;
    let format = request.content_format.filter(|f| FORMATS.contains(f));
    let Some(format) = format else {
        let why = "Content-Format is 42, 47 or 50";
        return Err(Response::error(Code::UNSUPPORTED_FORMAT, why));
    };
    let (qos, retain) = query.delivery()?;
    let may_proceed = may_proceed(request, store, &topic);
    Ok(Plan::Ps(PsPlan::Publish {
        message: Outgoing::new(topic, request.payload)
            .qos(qos)
            .retain(retain),
        format,
        max_age: request.max_age.unwrap_or(DEFAULT_MAX_AGE),
        may_proceed,
    }))
}

fn may_proceed(request: &Request<'_>, store: &TopicStore, topic: &str) -> bool {
    let etag = store.get(topic).map(|topic| topic.etag());
    request.may_proceed(etag.as_ref().map(|etag| &etag[..]))
}

/// `<topic>;ct=42`, below the topic of the path.
fn create(request: &Request<'_>, parent: &str) -> Result<Plan, Response> {
    let text = std::str::from_utf8(request.payload).ok();
    let Some(link) = text.and_then(link_format::parse_one) else {
        return Err(bad("not a link: <topic>;ct=42"));
    };
    let format = link.attribute("ct").map(|ct| {
        let format = ct.parse().ok();
        format.filter(|format| FORMATS.contains(format))
    });
    let format = match format {
        Some(None) => return Err(bad("ct is 42, 47 or 50")),
        Some(format) => format,
        None => None,
    };
    let name = String::from_utf8(form::decode(link.target.as_bytes()));
    let name = name.map_err(|_| bad("not a topic name"))?;
    check_name(&name)?;
    let topic = match parent.strip_suffix('/').unwrap_or(parent) {
        "" => name,
        parent => format!("{parent}/{name}"),
    };
    check_topic(&topic)?;
    Ok(Plan::Ps(PsPlan::Create {
        topic,
        format,
        max_age: request.max_age.unwrap_or(DEFAULT_MAX_AGE),
    }))
}

/// A topic name that is no filter of a special kind either: reading it is subscribing to it.
fn check_topic(topic: &str) -> Result<(), Response> {
    check_name(topic)?;
    let is_plain = SubscriptionFilter::parse(topic, false)
        .is_ok_and(|filter| filter.share.is_none() && !filter.local);
    is_plain
        .then_some(())
        .ok_or_else(|| bad("not a topic of its own"))
}

/// Location-Path of a topic.
pub fn location(topic: &str) -> Vec<String> {
    let segments = topic.split('/').map(String::from);
    std::iter::once("ps".into()).chain(segments).collect()
}
