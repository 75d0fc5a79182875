//! Forms that the endpoints of 2.3 share: what is asked in path, query and body, and how it is refused.

use crate::App;
use crate::answer::{Refusal, code};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use emqttd_broker::{AdminError, Find};
use serde::Serialize;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::HashMap;
use utoipa::{IntoParams, ToSchema};

/// What EMQ answers where it has no answer: status 404 and nothing else.
pub async fn not_found() -> Response {
    Fault::NotFound.into_response()
}

/// Why a request of 2.3 is not answered.
#[derive(Debug)]
pub enum Fault {
    /// 404 with an empty body
    NotFound,
    /// a code, with or without a sentence
    Refused(Refusal),
    /// the body could not be read
    Unread(StatusCode),
}

impl Fault {
    /// Status 200 and a code alone.
    pub fn bare(code: u16) -> Fault {
        Fault::Refused(Refusal {
            message: None,
            ..Refusal::code(code, "")
        })
    }

    /// Status 200, a code and a sentence.
    pub fn said(code: u16, message: impl Into<String>) -> Fault {
        Fault::Refused(Refusal::code(code, message))
    }

    /// Of a question that cannot be answered now.
    pub fn of_broker(error: AdminError) -> Fault {
        let status = match error {
            AdminError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Fault::Refused(Refusal::status(status, code::UNKNOWN, error.to_string()))
    }

    /// Of an operation on a client: [`code::NOT_ONLINE`] when there is none.
    pub fn of_client(error: AdminError) -> Fault {
        match error {
            AdminError::NotFound => Fault::bare(code::NOT_ONLINE),
            other => Fault::said(code::UNKNOWN, other.to_string()),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        Fault::Refused(refusal)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Fault::NotFound => {
                (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "text/plain")], "").into_response()
            }
            Fault::Refused(refusal) => refusal.into_response(),
            Fault::Unread(status) => status.into_response(),
        }
    }
}

/// The node that the path names is this one.
#[derive(Debug, Clone, Copy)]
pub struct Here;

impl FromRequestParts<App> for Here {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Here, Fault> {
        last_of_path(parts, app).await.map(|_| Here)
    }
}

/// The last thing that the path names, percent-decoded; a node named before it is this one.
#[derive(Debug, Clone)]
pub struct Name(pub String);

impl FromRequestParts<App> for Name {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Name, Fault> {
        last_of_path(parts, app).await.map(Name)
    }
}

async fn last_of_path(parts: &mut Parts, app: &App) -> Result<String, Fault> {
    // It fails for what is not UTF-8, and no id is that.
    let names = RawPathParams::from_request_parts(parts, app).await;
    let names = names.map_err(|_| Fault::NotFound)?;
    let mut last = None;
    for (what, value) in &names {
        if what == "node" && value != app.core().broker.node_name() {
            return Err(Fault::NotFound);
        }
        last = Some(value.to_owned());
    }
    last.ok_or(Fault::NotFound)
}

/// Most rows of a page.
pub const MOST_ROWS: u64 = 10_000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// which page; the first is 1
    #[param(minimum = 1, default = 1)]
    pub curr_page: Option<u64>,
    /// rows of a page; more than 10,000 are never answered
    #[param(minimum = 1, maximum = 10000, default = 20)]
    pub page_size: Option<u64>,
}

impl Paging {
    fn page(&self) -> u64 {
        self.curr_page.unwrap_or(1)
    }

    /// Rows of a page.
    pub fn size(&self) -> usize {
        self.page_size.unwrap_or(20) as usize
    }

    /// Rows before it.
    pub fn offset(&self) -> usize {
        let before = (self.page() - 1).saturating_mul(self.size() as u64);
        usize::try_from(before).unwrap_or(usize::MAX)
    }

    /// The question for this part of a list in that order.
    pub fn find<F: Default, O>(&self, order: O) -> Find<F, O> {
        Find {
            order: Some(order),
            offset: self.offset(),
            limit: self.size(),
            ..Find::default()
        }
    }

    fn parse(query: &HashMap<String, String>) -> Option<Paging> {
        let number = |key: &str| match query.get(key) {
            None => Some(None),
            Some(text) => text.parse::<i64>().ok().map(Some),
        };
        let page = number("curr_page")?.map(|page| page.max(1) as u64);
        let size = match number("page_size")? {
            Some(..1) => return None,
            size => size.map(|size| (size as u64).min(MOST_ROWS)),
        };
        Some(Paging {
            curr_page: page,
            page_size: size,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Paging, Fault> {
        let query = Query::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let query = query.map_err(|_| Fault::NotFound)?;
        Paging::parse(&query).ok_or(Fault::NotFound)
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T: ToSchema> {
    /// which page this is
    pub current_page: u64,
    /// rows that a page has at most
    pub page_size: u64,
    /// rows of the list
    pub total_num: u64,
    /// pages of the list
    pub total_page: u64,
    /// the rows
    pub objects: Vec<T>,
}

impl<T: ToSchema> Page<T> {
    /// The part of a list with so many rows that `paging` asks for.
    pub fn new(paging: Paging, total: usize, objects: Vec<T>) -> Page<T> {
        let size = paging.size() as u64;
        Page {
            current_page: paging.page(),
            page_size: size,
            total_num: total as u64,
            total_page: (total as u64).div_ceil(size),
            objects,
        }
    }
}

/// What was found: nothing, one or several.
#[derive(Debug, Serialize, ToSchema)]
pub struct Objects<T: ToSchema> {
    /// the rows
    pub objects: Vec<T>,
}

impl<T: ToSchema> FromIterator<T> for Objects<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Objects<T> {
        Objects {
            objects: rows.into_iter().collect(),
        }
    }
}

/// The fields of a body, which notes what was not as it should be.
pub struct Fields {
    given: Map<String, Value>,
    missing: Cell<bool>,
    mistyped: Cell<bool>,
}

impl Fields {
    fn parse(body: &[u8]) -> Result<Fields, Fault> {
        let given = match body {
            [] => Map::new(),
            body => match serde_json::from_slice(body) {
                Ok(Value::Object(given)) => given,
                Ok(_) => return Err(wrong_type()),
                Err(_) => return Err(Fault::said(code::NOT_JSON, "Body not json")),
            },
        };
        Ok(Fields {
            given,
            missing: Cell::new(false),
            mistyped: Cell::new(false),
        })
    }

    fn read<'a, T>(&'a self, name: &str, typed: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.given.get(name)?;
        let typed = typed(value);
        self.mistyped.set(self.mistyped.get() || typed.is_none());
        typed
    }

    fn need<T: Default>(&self, name: &str, value: Option<T>) -> T {
        let missing = self.missing.get() || !self.given.contains_key(name);
        self.missing.set(missing);
        value.unwrap_or_default()
    }

    /// A string that has to be there.
    pub fn text(&self, name: &str) -> String {
        let text = self.read(name, Value::as_str).map(str::to_owned);
        self.need(name, text)
    }

    /// `true` or `false` that has to be there.
    pub fn boolean(&self, name: &str) -> bool {
        self.need(name, self.read(name, Value::as_bool))
    }

    /// A string that may be left out.
    pub fn text_or(&self, name: &str, default: &str) -> String {
        let text = self.read(name, Value::as_str);
        text.unwrap_or(default).to_owned()
    }

    /// `true` or `false` that may be left out.
    pub fn boolean_or(&self, name: &str, default: bool) -> bool {
        self.read(name, Value::as_bool).unwrap_or(default)
    }

    /// The field `qos`, which is 0 when it is left out.
    pub fn qos(&self) -> u8 {
        let qos = self.read("qos", |value| match value.as_u64() {
            Some(qos @ 0..=2) => Some(qos as u8),
            _ => None,
        });
        qos.unwrap_or(0)
    }

    /// All fields, each of them a string.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let pair = |name: &String| Some((name.clone(), self.read(name, Value::as_str)?.to_owned()));
        self.given.keys().filter_map(pair).collect()
    }

    /// Missing fields come before those of a wrong type.
    fn verdict(&self) -> Result<(), Fault> {
        if self.missing.get() {
            return Err(Fault::said(code::MISSING, "params error"));
        }
        if self.mistyped.get() {
            return Err(wrong_type());
        }
        Ok(())
    }
}

fn wrong_type() -> Fault {
    Fault::said(code::TYPE, "params type error")
}

/// What a body says.
pub trait Form: Sized {
    /// Takes its fields; what it makes of wrong ones is thrown away.
    fn read(fields: &Fields) -> Self;
}

/// A body, read and checked: 109 for what is not JSON, 107 for a missing field, 108 for one of a wrong type.
/// Its Content-Type does not matter.
#[derive(Debug)]
pub struct Body<F>(pub F);

impl<F: Form> FromRequest<App> for Body<F> {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &App) -> Result<Body<F>, Fault> {
        let bytes = Bytes::from_request(request, app).await;
        let bytes = bytes.map_err(|error| Fault::Unread(error.status()))?;
        let fields = Fields::parse(&bytes)?;
        let form = F::read(&fields);
        fields.verdict().map(|()| Body(form))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn paging(pairs: &[(&str, &str)]) -> Option<Paging> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Paging::parse(&pairs.iter().map(owned).collect())
    }

    #[test]
    fn pages() {
        let default = paging(&[]).unwrap();
        assert_eq!((default.offset(), default.size()), (0, 20));
        let third = paging(&[("curr_page", "3"), ("page_size", "7"), ("_", "x")]).unwrap();
        assert_eq!((third.offset(), third.size()), (14, 7));
        for (page, offset) in [("0", 0), ("-5", 0), ("9223372036854775807", usize::MAX)] {
            let paging = paging(&[("curr_page", page)]).unwrap();
            assert_eq!(paging.offset(), offset, "{page}");
        }
        let large = paging(&[("page_size", "10001")]).unwrap();
        assert_eq!(large.size(), 10_000);
        for wrong in ["x", "", "1.5", "1 ", "0", "-1", "9223372036854775808"] {
            assert_eq!(paging(&[("page_size", wrong)]), None, "{wrong}");
        }
        for wrong in ["x", "", "1.5", "0x1"] {
            assert_eq!(paging(&[("curr_page", wrong)]), None, "{wrong}");
        }
    }

    #[test]
    fn totals() {
        for (size, total, pages) in [("20", 0, 0), ("20", 1, 1), ("20", 20, 1), ("20", 21, 2)] {
            let paging = paging(&[("page_size", size)]).unwrap();
            let page = Page::<u32>::new(paging, total, Vec::new());
            assert_eq!(page.total_page, pages, "{total} rows");
        }
    }

    fn code_of(body: &str, read: fn(&Fields)) -> u16 {
        let fields = match Fields::parse(body.as_bytes()) {
            Ok(fields) => fields,
            Err(Fault::Refused(refusal)) => return refusal.code,
            Err(other) => panic!("{other:?}"),
        };
        read(&fields);
        match fields.verdict() {
            Ok(()) => 0,
            Err(Fault::Refused(refusal)) => refusal.code,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields() {
        let publish = |fields: &Fields| {
            fields.text("topic");
            fields.qos();
            fields.boolean_or("retain", false);
        };
        for (body, code) in [
            (r#"{"topic":"t"}"#, 0),
            (r#"{"topic":"","qos":2,"retain":true,"more":[]}"#, 0),
            ("", 107),
            ("{}", 107),
            (r#"{"qos":7}"#, 107),
            (r#"{"topic":null}"#, 108),
            (r#"{"topic":5}"#, 108),
            (r#"{"topic":"t","qos":3}"#, 108),
            (r#"{"topic":"t","qos":-1}"#, 108),
            (r#"{"topic":"t","qos":"1"}"#, 108),
            (r#"{"topic":"t","qos":1.5}"#, 108),
            (r#"{"topic":"t","retain":1}"#, 108),
            ("[]", 108),
            ("7", 108),
            ("not json", 109),
            (" ", 109),
            (r#"{"topic":"t"} x"#, 109),
            ("{\"topic\":\"\u{0}\"}", 109),
        ] {
            assert_eq!(code_of(body, publish), code, "{body}");
        }
        let pairs = |fields: &Fields| drop(fields.pairs());
        assert_eq!(code_of(r#"{"a":"1","b":""}"#, pairs), 0);
        assert_eq!(code_of(r#"{"a":"1","b":2}"#, pairs), 108);
        let switch = |fields: &Fields| {
            fields.boolean("active");
        };
        assert_eq!(code_of(r#"{"active":false}"#, switch), 0);
        assert_eq!(code_of(r#"{"active":"x"}"#, switch), 108);
    }
}
