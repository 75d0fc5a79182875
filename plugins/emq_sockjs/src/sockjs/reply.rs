//! Responses of HTTP: their headers, and what is the same in many of them.

use super::transport::Content;
use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW,
    CACHE_CONTROL, CONTENT_TYPE, COOKIE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, ORIGIN, SET_COOKIE, VARY,
};
use hyper::{Response, StatusCode};
use md5::{Digest, Md5};
use std::time::{Duration, SystemTime};

/// A response.
pub type Reply = Response<Content>;

/// How long what never changes may be kept, seconds.
const YEAR: u64 = 31_536_000;
const TEXT: &str = "text/plain; charset=UTF-8";
const NOT_CACHED: &str = "no-store, no-cache, no-transform, must-revalidate, max-age=0";

/// With a status and no body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Content::none());
    *reply.status_mut() = status;
    reply
}

/// With plain text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    with_body(status, TEXT, Content::of(text))
}

/// With a body of that type.
pub fn with_body(status: StatusCode, content_type: &'static str, content: Content) -> Reply {
    let mut reply = Response::new(content);
    *reply.status_mut() = status;
    set(&mut reply, CONTENT_TYPE, content_type);
    reply
}

/// 404.
pub fn not_found() -> Reply {
    empty(StatusCode::NOT_FOUND)
}

/// 405, with what is allowed.
pub fn not_allowed(methods: &'static str) -> Reply {
    let mut reply = empty(StatusCode::METHOD_NOT_ALLOWED);
    set(&mut reply, ALLOW, methods);
    reply
}

/// 204 for OPTIONS: what may be done with the resource, by pages of other origins too.
pub fn options(methods: &'static str) -> Reply {
    let mut reply = empty(StatusCode::NO_CONTENT);
    set(&mut reply, ACCESS_CONTROL_ALLOW_METHODS, methods);
    set(&mut reply, ACCESS_CONTROL_MAX_AGE, "31536000");
    cached(reply)
}

/// 204 with the type that Firefox wants.
pub fn sent() -> Reply {
    let mut reply = empty(StatusCode::NO_CONTENT);
    set(&mut reply, CONTENT_TYPE, TEXT);
    reply
}

/// What may be kept for as long as it bears the same tag; 304 when the client has it.
pub fn tagged(request: &HeaderMap, content_type: &'static str, content: impl Into<Bytes>) -> Reply {
    let content: Bytes = content.into();
    let digest = Md5::digest(&content);
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in digest.as_slice() {
        tag.push_str(&format!("{byte:02x}"));
    }
    tag.push('"');
    let known = request.get_all(IF_NONE_MATCH).iter().any(|tags| {
        let tags = tags.to_str().unwrap_or_default().split(',');
        tags.map(|one| one.trim().trim_start_matches("W/"))
            .any(|one| one == tag || one == "*")
    });
    let mut reply = match known {
        true => empty(StatusCode::NOT_MODIFIED),
        false => with_body(StatusCode::OK, content_type, Content::of(content)),
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        reply.headers_mut().insert(ETAG, tag);
    }
    reply
}

/// It may be kept for a year.
pub fn cached(mut reply: Reply) -> Reply {
    set(&mut reply, CACHE_CONTROL, "public, max-age=31536000");
    let expires = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(YEAR));
    if let Ok(expires) = HeaderValue::try_from(expires) {
        reply.headers_mut().insert(EXPIRES, expires);
    }
    reply
}

/// It must not be kept at all.
pub fn not_cached(mut reply: Reply) -> Reply {
    set(&mut reply, CACHE_CONTROL, NOT_CACHED);
    reply
}

/// The page that asked may read it, and send cookies with what it asks.
pub fn shared(mut reply: Reply, request: &HeaderMap) -> Reply {
    let headers = reply.headers_mut();
    match request.get(ORIGIN) {
        Some(origin) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        None => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
    }
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    reply
}

/// By the cookie JSESSIONID load balancers send all requests of a session to one server.
pub fn with_cookie(mut reply: Reply, request: &HeaderMap) -> Reply {
    let cookies = request.get_all(COOKIE).iter();
    let session = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix("JSESSIONID="))
        .unwrap_or("dummy");
    if let Ok(cookie) = HeaderValue::try_from(format!("JSESSIONID={session}; path=/")) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}

/// Sets a header.
pub fn set(reply: &mut Reply, name: HeaderName, value: &'static str) {
    reply
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}
