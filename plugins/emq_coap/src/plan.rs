//! What a request comes to: an answer, or something to be done in a client's session.

use crate::codec::Code;
use crate::request::{Observe, Request, Response, Ticket};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::topic::{SubscriptionFilter, validate_filter, validate_name};
use emqttd_plugin_sdk::virtual_client::Outgoing;

/// Longest client identifier, bytes (as in EMQ).
pub const MAX_CLIENTID: usize = 96;
/// Longest topic name or filter, bytes: that of MQTT 3.1.1 clients of this broker.
const MAX_TOPIC: usize = 4096;

/// What becomes of a request.
#[derive(Debug)]
pub enum Route {
    /// Answered, whoever asked.
    Answer(Response),
    /// To be done as that client.
    As(Who, Plan),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// `c`, `u` and `p` of the query
    Named(Names),
    /// somebody who gave no name (the first dialect): a client for each endpoint, for a short time
    Nameless,
}

/// A client by its credentials. No `Debug` that would show the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Names {
    /// client identifier
    pub clientid: String,
    /// user name
    pub username: Option<String>,
    /// password
    pub password: Option<String>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} as {:?}", self.clientid, self.username)
    }
}

/// What is to be done in the session of a client.
#[derive(Debug)]
pub enum Plan {
    /// Nothing: the request has shown that the device lives.
    Ping,
    /// Publish.
    Publish {
        /// what
        message: Outgoing,
        /// how success is said
        success: Code,
    },
    /// Observe what a filter matches.
    Observe(Watch),
    /// End the observations of that endpoint on a filter.
    Unobserve {
        /// topic filter
        filter: String,
    },
    /// A request for `/ps`.
    Ps(PsPlan),
}

/// Something to be observed.
#[derive(Debug)]
pub struct Watch {
    /// topic filter
    pub filter: String,
    /// how messages are told
    pub form: Form,
    /// the observation that this request renews
    pub renews: Option<Ticket>,
}

/// How an observer is told of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// the payload, as `application/octet-stream`
    Payload,
    /// `topic=X&message=Y`
    Fields,
    /// a topic of `/ps`
    Ps,
}

/// What is to be done with a topic of `/ps`.
#[derive(Debug)]
pub enum PsPlan {
    /// The topics there are.
    List,
    /// The last value.
    Read {
        /// topic name
        topic: String,
        /// Content-Format that it should have
        accept: Option<u16>,
    },
    /// The last value, and those to come.
    Observe {
        /// topic name
        topic: String,
        /// Content-Format that they should have
        accept: Option<u16>,
        /// the observation that this request renews
        renews: Option<Ticket>,
    },
    /// Publish and keep.
    Publish {
        /// what
        message: Outgoing,
        /// its Content-Format
        format: u16,
        /// seconds that it lasts
        max_age: u32,
        /// what If-Match and If-None-Match say
        may_proceed: bool,
    },
    /// Make a topic.
    Create {
        /// topic name
        topic: String,
        /// Content-Format of its values
        format: Option<u16>,
        /// seconds that a value lasts
        max_age: u32,
    },
    /// Remove a topic and those below it.
    Delete {
        /// topic name
        topic: String,
        /// what If-Match says
        may_proceed: bool,
    },
}

/// 4.00 with a line of text.
pub fn bad(why: &'static str) -> Response {
    Response::error(Code::BAD_REQUEST, why)
}

/// What the query of `/mqtt` and `/ps` says.
#[derive(Debug, Default)]
pub struct Query<'a> {
    /// client identifier
    pub clientid: Option<&'a str>,
    username: Option<&'a str>,
    password: Option<&'a str>,
    /// topic, of the second dialect
    pub topic: Option<&'a str>,
    qos: Option<&'a str>,
    retain: Option<&'a str>,
}

impl<'a> Query<'a> {
    /// Of a request; the first field of a name counts, unknown ones are ignored.
    pub fn of(request: &Request<'a>) -> Query<'a> {
        let mut query = Query::default();
        for (name, value) in request.query() {
            let field = match name {
                "c" => &mut query.clientid,
                "u" => &mut query.username,
                "p" => &mut query.password,
                "topic" => &mut query.topic,
                "qos" => &mut query.qos,
                "retain" => &mut query.retain,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        query
    }

    /// Who asks.
    ///
    /// # Errors
    /// The answer, when it does not say.
    pub fn who(&self) -> Result<Who, Response> {
        let clientid = self.clientid.unwrap_or_default();
        self.called(clientid)
    }

    /// Who asks, when its client identifier stands somewhere else.
    ///
    /// # Errors
    /// The answer, when that is none.
    pub fn called(&self, clientid: &str) -> Result<Who, Response> {
        if clientid.is_empty() {
            return Err(bad("client identifier (c=) is missing"));
        }
        if clientid.len() > MAX_CLIENTID {
            return Err(bad("client identifier is longer than 96 bytes"));
        }
        let username = self.username.filter(|name| !name.is_empty());
        let password = self.password;
        let password = password.filter(|word| username.is_some() || !word.is_empty());
        Ok(Who::Named(Names {
            clientid: clientid.into(),
            username: username.map(Into::into),
            password: password.map(Into::into),
        }))
    }

    /// Quality of service and retain.
    ///
    /// # Errors
    /// The answer, when one of them is not a value.
    pub fn delivery(&self) -> Result<(QoS, bool), Response> {
        Ok((qos(self.qos)?, retain(self.retain)?))
    }
}

/// `0`, `1`, `2`; 0 when it is missing.
///
/// # Errors
/// The answer to anything else.
pub fn qos(text: Option<&str>) -> Result<QoS, Response> {
    match text {
        None | Some("0") => Ok(QoS::AtMostOnce),
        Some("1") => Ok(QoS::AtLeastOnce),
        Some("2") => Ok(QoS::ExactlyOnce),
        Some(_) => Err(bad("qos is 0, 1 or 2")),
    }
}

/// `0`, `1`, `true`, `false`; no when it is missing.
///
/// # Errors
/// The answer to anything else.
pub fn retain(text: Option<&str>) -> Result<bool, Response> {
    match text {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(bad("retain is 0 or 1")),
    }
}

/// Segments behind the first one, as a topic: `/mqtt/a/b` and `/mqtt/a%2Fb` are both `a/b`.
pub fn topic_of<'a>(mut segments: impl Iterator<Item = &'a str>) -> String {
    let mut topic = String::from(segments.next().unwrap_or_default());
    for segment in segments {
        topic.push('/');
        topic.push_str(segment);
    }
    topic
}

/// A topic name that can be published to.
///
/// # Errors
/// The answer, when it is none.
pub fn check_name(topic: &str) -> Result<(), Response> {
    if topic.len() > MAX_TOPIC {
        return Err(bad("topic is longer than 4096 bytes"));
    }
    validate_name(topic).map_err(|_| bad("not a topic name"))
}

/// A topic filter that can be subscribed to.
///
/// # Errors
/// The answer, when it is none.
pub fn check_filter(filter: &str) -> Result<(), Response> {
    if filter.len() > MAX_TOPIC {
        return Err(bad("topic is longer than 4096 bytes"));
    }
    let is_one = validate_filter(filter).is_ok() && SubscriptionFilter::parse(filter, true).is_ok();
    is_one
        .then_some(())
        .ok_or_else(|| bad("not a topic filter"))
}

/// What a GET wants with a filter.
pub fn watch(request: &Request<'_>, filter: String, form: Form) -> Result<Plan, Response> {
    match request.observe {
        None => Ok(Plan::Ping),
        Some(Observe::Deregister) => Ok(Plan::Unobserve { filter }),
        Some(Observe::Register) => {
            check_filter(&filter)?;
            Ok(Plan::Observe(Watch {
                filter,
                form,
                renews: request.renews,
            }))
        }
    }
}
