//! `POST /mqtt/publish` of EMQ 2.0 to 2.2, which scripts and webhooks of its time call. Whoever may connect may call it,
//! so it asks what a connection would be asked: the chain of authentication, and the ACL.

use super::mqtt::LONGEST_ID;
use crate::App;
use crate::auth::Came;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emqttd_broker::ChainStep;
use emqttd_management::Core;
use emqttd_plugin_sdk::topic::validate_name;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::net::IpAddr;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

/// Topics of one request.
const MOST_TOPICS: usize = 1000;

/// Requests that may be asking plugins at a time: strangers that wait for a slow one must not take all the threads that
/// management has.
static AT_A_TIME: Semaphore = Semaphore::const_new(8);

/// A message, and where to. At least one of `topic` and `topics` is needed.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes what Message::read takes apart")]
pub struct LegacyPublish {
    /// a topic
    topic: Option<String>,
    /// topics, with commas between them
    topics: Option<String>,
    /// the payload
    message: Option<String>,
    /// who publishes it: client id, `http` for none
    client: Option<String>,
    /// 0, 1 or 2
    qos: Option<u8>,
    /// 0 or 1
    retain: Option<u8>,
}

/// The message that a body asks for.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    client: String,
    topics: Vec<String>,
    payload: String,
    qos: u8,
    retain: bool,
}

/// What a body says wrong.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    Body,
    Qos,
    Topics,
}

impl Wrong {
    fn text(&self) -> &'static str {
        match self {
            Wrong::Body => "Bad Request",
            Wrong::Qos => "Bad QoS",
            Wrong::Topics => "Bad Topics",
        }
    }
}

impl Message {
    fn read(body: &[u8], json: bool) -> Result<Message, Wrong> {
        let mut fields = match json {
            true => json_fields(body),
            false => serde_urlencoded::from_bytes(body).ok(),
        }
        .ok_or(Wrong::Body)?;
        let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_empty());
        let qos = match take("qos").as_deref() {
            None | Some("0") => 0,
            Some("1") => 1,
            Some("2") => 2,
            Some(_) => return Err(Wrong::Qos),
        };
        let several = take("topics").unwrap_or_default();
        let topics: Vec<String> = take("topic")
            .into_iter()
            .chain(
                several
                    .split(',')
                    .filter(|t| !t.is_empty())
                    .map(str::to_owned),
            )
            .collect();
        let valid = topics.iter().all(|topic| validate_name(topic).is_ok());
        if topics.is_empty() || topics.len() > MOST_TOPICS || !valid {
            return Err(Wrong::Topics);
        }
        let client = take("client").unwrap_or_else(|| "http".into());
        if client.len() > LONGEST_ID {
            return Err(Wrong::Body);
        }
        Ok(Message {
            client,
            topics,
            payload: take("message").unwrap_or_default(),
            qos,
            retain: matches!(take("retain").as_deref(), Some("1" | "true")),
        })
    }
}

/// Fields of a JSON object as they would stand in a form.
fn json_fields(body: &[u8]) -> Option<HashMap<String, String>> {
    let fields: serde_json::Map<String, Value> = serde_json::from_slice(body).ok()?;
    fields
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => Some((name, text)),
            Value::Number(number) => Some((name, number.to_string())),
            Value::Bool(yes) => Some((name, yes.to_string())),
            Value::Null => Some((name, String::new())),
            Value::Array(_) | Value::Object(_) => None,
        })
        .collect()
}

/// User name and password of a header of scheme Basic.
fn basic(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let given = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = given.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut given = STANDARD.decode(encoded.trim()).ok()?;
    let colon = given.iter().position(|byte| *byte == b':')?;
    let password = given.split_off(colon + 1);
    given.truncate(colon);
    Some((String::from_utf8(given).ok()?, password))
}

/// Publishes a message, as EMQ 2.0 to 2.2 took it.
///
/// Name and password are those of an MQTT client, and its rights are asked for.
#[utoipa::path(post, path = "/mqtt/publish", tag = "MQTT", operation_id = "legacy_publish", security(("basic" = [])),
    request_body(content((LegacyPublish = "application/x-www-form-urlencoded"), (LegacyPublish = "application/json"))),
    responses(
        (status = 200, body = String, content_type = "text/plain", description = "`OK`"),
        (status = 400, body = String, content_type = "text/plain", description = "`Bad QoS`, `Bad Topics`, or `Bad Request` for a body that cannot be read"),
        (status = 401, body = String, content_type = "text/plain", description = "`Unauthorized`"),
        (status = 403, body = String, content_type = "text/plain", description = "`Not Authorized`: the ACL denies one of the topics; nothing was published"),
        (status = 413, description = "the body is too large"),
    ))]
pub async fn publish(app: State<App>, came: Came, headers: HeaderMap, body: Bytes) -> Response {
    let Some((username, password)) = basic(&headers) else {
        return unauthorized();
    };
    // It is never closed.
    let one = AT_A_TIME.acquire().await;
    let json = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    let message = Message::read(&body, json);
    // Whoever has no right to publish is not told what else is wrong.
    let client = message.as_ref().map_or("http", |m| &m.client).to_owned();
    let ip = came.peer.ip();
    let may_come = {
        let (client, username) = (client.clone(), username.clone());
        // The permit lasts as long as the question, also when who asked has gone.
        app.ask(move |core| (may_come_in(core, &client, &username, &password, ip), one))
            .await
    };
    let (superuser, one) = match may_come {
        Ok((Some(superuser), one)) => (superuser, one),
        Ok((None, _)) => return unauthorized(),
        Err(refusal) => return refusal.into_response(),
    };
    let message = match message {
        Ok(message) => message,
        Err(wrong) => return plain(StatusCode::BAD_REQUEST, wrong.text()),
    };
    let done = app
        .ask(move |core| {
            let _one = one;
            publish_all(core, &message, &username, ip, superuser)
        })
        .await;
    match done {
        Ok(Ok(())) => plain(StatusCode::OK, "OK"),
        Ok(Err((status, text))) => plain(status, &text),
        Err(refusal) => refusal.into_response(),
    }
}

/// Whether this client could connect, and whether as a superuser.
fn may_come_in(
    core: &Core,
    client: &str,
    username: &str,
    password: &[u8],
    ip: IpAddr,
) -> Option<bool> {
    let username = Some(username).filter(|name| !name.is_empty());
    let steps = core.broker.auth_test(client, username, Some(password), ip);
    match last_answer(&steps) {
        "allow" => Some(false),
        "allow (superuser)" => Some(true),
        _ => None,
    }
}

fn publish_all(
    core: &Core,
    message: &Message,
    username: &str,
    ip: IpAddr,
    superuser: bool,
) -> Result<(), (StatusCode, String)> {
    let username = Some(username).filter(|name| !name.is_empty());
    let allowed = |topic: &String| {
        let steps = core
            .broker
            .acl_test(&message.client, username, ip, true, topic);
        last_answer(&steps) == "allow"
    };
    if !superuser && !message.topics.iter().all(allowed) {
        return Err((StatusCode::FORBIDDEN, "Not Authorized".into()));
    }
    for topic in &message.topics {
        let payload = message.payload.as_bytes();
        core.broker
            .publish(&message.client, topic, payload, message.qos, message.retain)
            .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    }
    Ok(())
}

/// The step that decided is the last one.
fn last_answer(steps: &[ChainStep]) -> &str {
    steps.last().map_or("", |step| &step.answer)
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain")], text.to_owned()).into_response()
}

fn unauthorized() -> Response {
    let mut response = plain(StatusCode::UNAUTHORIZED, "Unauthorized");
    let scheme = axum::http::HeaderValue::from_static("Basic Realm=\"emqttd\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn form(body: &str) -> Result<Message, Wrong> {
        Message::read(body.as_bytes(), false)
    }

    #[test]
    fn forms_and_json() {
        let message = form("qos=1&retain=1&topic=a%2Fb&message=m%20%C3%A9+x&client=me").unwrap();
        let same = r#"{"qos":1,"retain":true,"topic":"a/b","message":"m é x","client":"me"}"#;
        assert_eq!(Message::read(same.as_bytes(), true).unwrap(), message);
        assert_eq!((message.qos, message.retain), (1, true));
        assert_eq!(message.payload, "m é x");
        let several = form("topics=a,b/c,,d&topic=x").unwrap();
        assert_eq!(several.topics, ["x", "a", "b/c", "d"]);
        assert_eq!(several.client, "http");
        assert_eq!((several.qos, several.retain), (0, false));
    }

    #[test]
    fn what_is_wrong() {
        assert_eq!(form("topic=a&qos=3"), Err(Wrong::Qos));
        assert_eq!(form("topic=a&qos=x"), Err(Wrong::Qos));
        assert_eq!(form("qos=3"), Err(Wrong::Qos));
        for topics in ["", "topic=", "topic=a/%23", "topics=a,b/%2B", "message=x"] {
            assert_eq!(form(topics), Err(Wrong::Topics), "{topics}");
        }
        let many = format!("topics={}", "a,".repeat(1001));
        assert_eq!(form(&many), Err(Wrong::Topics));
        let long = |length| form(&format!("topic=a&client={}", "c".repeat(length)));
        assert!(long(65_535).is_ok());
        assert_eq!(long(65_536), Err(Wrong::Body));
        for body in ["", "topic=a", "[]", r#"{"topic":["a"]}"#] {
            let read = Message::read(body.as_bytes(), true);
            assert_eq!(read, Err(Wrong::Body), "{body}");
        }
    }

    #[test]
    fn logins() {
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, text.parse().unwrap());
            basic(&headers)
        };
        assert_eq!(with("Basic YTpiOmM="), Some(("a".into(), b"b:c".to_vec())));
        assert_eq!(with("basic Og=="), Some((String::new(), Vec::new())));
        assert_eq!(with("Bearer YTpi"), None);
        assert_eq!(with("Basic ???"), None);
        assert_eq!(with("Basic YQ=="), None);
        assert_eq!(basic(&HeaderMap::new()), None);
    }
}
