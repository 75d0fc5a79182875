//! The frame of all answers: `{"code":0,"result":…}`, or a code with a sentence.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// What went well.
#[derive(Debug, Clone)]
pub struct Answer<T>(pub T);

#[derive(Serialize)]
struct Framed<T> {
    code: u16,
    result: T,
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        // As it is, field by field: by way of a `Value` a page of rows would be copied, and its names sorted.
        let framed = Framed {
            code: 0,
            result: self.0,
        };
        Json(framed).into_response()
    }
}

/// Nothing to tell but that it is done: `{"code":0,"result":[]}`.
pub const DONE: Answer<[(); 0]> = Answer([]);

/// What is answered instead. EMQ answers with status 200 what it has a code for; what it never had a code for
/// has the status that HTTP has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// status of HTTP
    pub status: StatusCode,
    /// code of EMQ
    pub code: u16,
    /// a sentence, where there is one
    pub message: Option<String>,
    /// seconds after which it may be tried again
    pub retry_after: Option<u64>,
}

/// The code of a [`Refusal`], in the extensions of its response: for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome(pub u16);

/// Codes of EMQ 2.3.
pub mod code {
    /// anything that has no code of its own
    pub const UNKNOWN: u16 = 102;
    /// wrong user name or password
    pub const WRONG_PASSWORD: u16 = 103;
    /// no such user
    pub const NO_USER: u16 = 105;
    /// `admin` stays
    pub const ADMIN_STAYS: u16 = 106;
    /// a field is missing
    pub const MISSING: u16 = 107;
    /// a field has the wrong type
    pub const TYPE: u16 = 108;
    /// the body is not JSON
    pub const NOT_JSON: u16 = 109;
    /// the plugin runs already
    pub const STARTED: u16 = 110;
    /// the plugin does not run
    pub const NOT_STARTED: u16 = 111;
    /// the client is not connected
    pub const NOT_ONLINE: u16 = 112;
    /// there is such a user
    pub const USER_EXISTS: u16 = 113;
    /// the old password is wrong
    pub const OLD_PASSWORD: u16 = 114;
}

impl Refusal {
    /// As EMQ says it: with status 200.
    pub fn code(code: u16, message: impl Into<String>) -> Refusal {
        Refusal::status(StatusCode::OK, code, message)
    }

    /// With a status of its own.
    pub fn status(status: StatusCode, code: u16, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            code,
            message: Some(message.into()),
            retry_after: None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = match self.message {
            Some(message) => json!({ "code": self.code, "message": message }),
            None => json!({ "code": self.code }),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(Outcome(self.code));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
