//! What stands before all handlers that need a login.

use super::caller::Proof;
use super::needs::needed;
use super::password::{Turned, look_at, record, record_failure, record_refused};
use super::token::Token;
use super::{Caller, Came, origin};
use crate::App;
use crate::answer::{Outcome, Refusal, code};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emqttd_management::{Scope, Via};

/// Paths below which nobody has to say who they are.
const OPEN: [(&str, &Method); 4] = [
    ("/api/v2/auth", &Method::POST),
    ("/api/v2/login", &Method::POST),
    ("/api/v2/openapi.json", &Method::GET),
    ("/api/v2/openapi.json", &Method::HEAD),
];
/// Longest credentials that are looked at, bytes of the header.
const LONGEST: usize = 4096;

/// Lets those through who may do what they ask for, and notes what they have changed.
pub async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    if let Some(refused) = foreign(&request) {
        return refused;
    }
    if is_open(&method, &path) {
        return next.run(request).await;
    }
    let Some(came) = request.extensions().get::<Came>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if path.trim_end_matches('/') == "/api/logout" {
        return unknown(request.headers(), None);
    }
    let action = format!("{method} {path}");
    let caller = match authenticate(&app, &came, request.headers(), &action).await {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    let mut noted = changes(&method).then(|| Noted {
        app: &app,
        came: &came,
        caller: &caller,
        action: &action,
        outcome: None,
    });
    let response = match refused(&caller, &method, &path) {
        Some(refused) => refused.into_response(),
        None => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
    };
    if let Some(noted) = &mut noted {
        noted.outcome = Some(outcome(&response));
    }
    response
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// What a page that is not ours is answered when it would change something.
pub fn foreign(request: &Request) -> Option<Response> {
    let foreign = changes(request.method()) && origin::is_foreign(request.headers());
    foreign.then(|| {
        let why = "a page of another origin must not change anything here";
        Refusal::status(StatusCode::FORBIDDEN, code::UNKNOWN, why).into_response()
    })
}

/// A request that goes into the audit log when this is dropped: also when its sender has gone before the answer, since
/// what was asked for may be done all the same.
struct Noted<'a> {
    app: &'a App,
    came: &'a Came,
    caller: &'a Caller,
    action: &'a str,
    outcome: Option<String>,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.as_deref().unwrap_or("not answered");
        let caller = self.caller;
        record(
            self.app,
            self.came,
            &caller.name,
            caller.via,
            self.action,
            outcome,
        );
    }
}

fn is_open(method: &Method, path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    OPEN.iter().any(|(open, by)| *open == path && *by == method)
}

/// Status, and the code where there is another than 0.
fn outcome(response: &Response) -> String {
    let status = response.status().as_u16();
    match response.extensions().get::<Outcome>() {
        Some(Outcome(code)) => format!("{status} code {code}"),
        None => status.to_string(),
    }
}

/// Why somebody who is known may not do that.
fn refused(caller: &Caller, method: &Method, path: &str) -> Option<Refusal> {
    let forbidden = |why: String| Some(Refusal::status(StatusCode::FORBIDDEN, code::UNKNOWN, why));
    if caller.must_change_password && !is_of_newcomers(caller, method, path) {
        return forbidden("the default password must be changed first".into());
    }
    match needed(method, path) {
        Some(scope) if !caller.may(scope) => {
            forbidden(format!("the key lacks the scope `{}`", scope.as_str()))
        }
        _ => None,
    }
}

/// What can be done before the default password has been changed: to change it, and to leave.
fn is_of_newcomers(caller: &Caller, method: &Method, path: &str) -> bool {
    let Some(below) = path.strip_prefix("/api/v2/") else {
        return false;
    };
    let below = below.strip_suffix('/').unwrap_or(below);
    match (method, below) {
        (&Method::GET | &Method::HEAD, "me") | (&Method::POST, "logout") => true,
        (&Method::PUT, below) => below
            .strip_prefix("change_pwd/")
            .and_then(decoded)
            .is_some_and(|name| name == caller.name),
        _ => false,
    }
}

/// A path's word without percent signs.
fn decoded(word: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'/' => return None,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Who sends the request, or what they are answered.
async fn authenticate(
    app: &App,
    came: &Came,
    headers: &HeaderMap,
    action: &str,
) -> Result<Caller, Box<Response>> {
    let unknown = |why| Box::new(unknown(headers, why));
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(unknown(None));
    };
    let value = value.to_str().ok().filter(|value| value.len() <= LONGEST);
    let Some((scheme, credentials)) = value.and_then(|value| value.split_once(' ')) else {
        return Err(unknown(None));
    };
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        let (caller, via, who) = match credentials.split_once('.') {
            Some((id, secret)) => {
                let who = Some(id).filter(|id| is_key_id(id));
                (by_key(app, id, secret).await, Via::Key, who)
            }
            None => (by_token(app, credentials).await, Via::Token, None),
        };
        return match caller {
            Ok(Some(caller)) => Ok(caller),
            Ok(None) => {
                record_refused(app, came, who, via, action);
                Err(unknown(None))
            }
            Err(refusal) => Err(Box::new(refusal.into_response())),
        };
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unknown(None));
    }
    let decoded = STANDARD.decode(credentials).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
        return Err(unknown(None));
    };
    if is_key_id(user) {
        match by_key(app, user, password).await {
            Ok(Some(caller)) => return Ok(caller),
            // There may be a user of such a name.
            Ok(None) => {}
            Err(refusal) => return Err(Box::new(refusal.into_response())),
        }
    }
    match look_at(app, came, headers, user, password).await {
        Ok(welcome) => Ok(Caller {
            name: user.to_owned(),
            via: Via::Basic,
            scopes: Scope::ALL.into_iter().collect(),
            // Scripts of 2.x go on working on the machine itself; an alarm says what is wrong.
            must_change_password: false,
            proof: Proof::Password {
                generation: welcome.generation,
            },
        }),
        Err(turned) => {
            record_failure(app, came, user, action, &turned);
            Err(match turned {
                Turned::Wrong => unknown(None),
                Turned::NotFromHere(why) => unknown(Some(why)),
                other => Box::new(other.refusal().into_response()),
            })
        }
    }
}

/// Whether it looks like the id of an API key.
fn is_key_id(name: &str) -> bool {
    name.strip_prefix("ak_").is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

async fn by_key(app: &App, id: &str, secret: &str) -> Result<Option<Caller>, Refusal> {
    if !is_key_id(id) {
        return Ok(None);
    }
    let (name, secret) = (id.to_owned(), secret.to_owned());
    let key = app
        .ask_first(move |core| core.api_keys().verify(&name, &secret))
        .await?;
    Ok(key.map(|key| Caller {
        name: key.id,
        via: Via::Key,
        scopes: key.scopes,
        must_change_password: false,
        proof: Proof::Key {
            expires_at: key.expires_at,
        },
    }))
}

async fn by_token(app: &App, text: &str) -> Result<Option<Caller>, Refusal> {
    let key = app.door().token_key(app).await?;
    let Some(token) = Token::read(text, &key, super::now()) else {
        return Ok(None);
    };
    let caller = Caller {
        name: token.user.clone(),
        via: Via::Token,
        scopes: Scope::ALL.into_iter().collect(),
        must_change_password: token.limited,
        proof: Proof::Token(token),
    };
    Ok(caller.holds(app).then_some(caller))
}

/// 401: empty, or with a sentence. A browser shows its own box only to who came with nothing or with Basic.
fn unknown(headers: &HeaderMap, why: Option<String>) -> Response {
    let bearer = headers.get(AUTHORIZATION).is_some_and(|value| {
        let value = value.as_bytes();
        value
            .get(..6)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    });
    let page = headers
        .get("x-requested-with")
        .is_some_and(|value| value == "emqttd-dashboard");
    let mut response = match why {
        Some(why) => (
            StatusCode::UNAUTHORIZED,
            [(CONTENT_TYPE, "text/plain")],
            why,
        )
            .into_response(),
        None => (StatusCode::UNAUTHORIZED, Body::empty()).into_response(),
    };
    let headers = response.headers_mut();
    if !bearer && !page {
        let realm = HeaderValue::from_static("Basic Realm=\"emqx control center\"");
        headers.insert(WWW_AUTHENTICATE, realm);
    }
    headers.remove(RETRY_AFTER);
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    fn caller(scopes: &[Scope], limited: bool) -> Caller {
        Caller {
            name: "a b/ä".into(),
            via: Via::Token,
            scopes: scopes.iter().copied().collect::<BTreeSet<_>>(),
            must_change_password: limited,
            proof: Proof::Key { expires_at: None },
        }
    }

    #[test]
    fn what_is_open() {
        assert!(is_open(&Method::POST, "/api/v2/auth"));
        assert!(is_open(&Method::POST, "/api/v2/login/"));
        for (method, path) in [
            (Method::GET, "/api/v2/auth"),
            (Method::POST, "/api/v2/login/refresh"),
            (Method::POST, "/api/v2//login"),
            (Method::POST, "/api/v2/login//"),
            (Method::POST, "/api/v2/users/../login"),
            (Method::POST, "/api/v2/%6cogin"),
            (Method::PUT, "/api/v2/login"),
        ] {
            assert!(!is_open(&method, path), "{method} {path}");
        }
    }

    #[test]
    fn a_newcomer_can_change_the_own_password_and_nothing_else() {
        let newcomer = caller(&Scope::ALL, true);
        let may = |method: Method, path: &str| refused(&newcomer, &method, path).is_none();
        assert!(may(Method::PUT, "/api/v2/change_pwd/a%20b%2f%C3%A4"));
        assert!(may(Method::GET, "/api/v2/me"));
        assert!(may(Method::POST, "/api/v2/logout"));
        for (method, path) in [
            (Method::PUT, "/api/v2/change_pwd/admin"),
            (Method::PUT, "/api/v2/change_pwd/a b/ä"),
            (Method::PUT, "/api/v2/change_pwd/a%20b%2f%C3%A4/x"),
            (Method::PUT, "/api/v2/change_pwd/%zz"),
            (Method::PUT, "/api/v2/change_pwd/%2"),
            (Method::POST, "/api/v2/login/refresh"),
            (Method::GET, "/api/v2/users"),
            (Method::GET, "/api/v2/overview"),
            (Method::PUT, "/api/v2/me"),
            (Method::GET, "/api/plugins/x/"),
        ] {
            assert!(!may(method, path), "{path}");
        }
    }

    #[test]
    fn a_key_does_what_its_scopes_allow() {
        let reader = caller(&[Scope::Read], false);
        assert!(refused(&reader, &Method::GET, "/api/v2/overview").is_none());
        assert!(refused(&reader, &Method::GET, "/api/v2/me").is_none());
        let no = refused(&reader, &Method::POST, "/api/v2/mqtt/publish").unwrap();
        assert_eq!(no.status, StatusCode::FORBIDDEN);
        assert_eq!(
            no.message.as_deref(),
            Some("the key lacks the scope `publish`")
        );
        assert!(refused(&reader, &Method::GET, "/api/v2/users").is_some());
        let all = caller(&[Scope::Admin], false);
        assert!(refused(&all, &Method::POST, "/api/v2/mqtt/publish").is_none());
        assert!(refused(&all, &Method::GET, "/api/v2/users").is_none());
    }
}
