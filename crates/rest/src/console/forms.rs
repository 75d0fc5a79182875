//! Forms of questions and answers that all of the console's endpoints share.

use crate::answer::{Refusal, code};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use emqttd_broker::{AdminError, Find, Page};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::openapi::{
    ArrayBuilder, Content, Object, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema,
    Type,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// What went well: `{"code":0,"result":…}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<T: ToSchema> {
    /// 0
    #[schema(example = 0)]
    pub code: u16,
    /// what was asked for
    pub result: T,
}

/// What is answered instead: a code and a sentence.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    /// code of EMQ: 102, or a more special one
    #[schema(example = 102)]
    pub code: u16,
    /// what is wrong
    #[schema(example = "there is no such client")]
    pub message: String,
}

/// It is done, and there is nothing to tell: an empty array, as EMQ has it.
#[derive(Debug, Clone, Copy)]
pub struct Done;

impl Serialize for Done {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq::<[(); 0]>([])
    }
}

impl PartialSchema for Done {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(ObjectBuilder::new())
            .max_items(Some(0))
            .description(Some(
                "It is done, and there is nothing to tell: an empty array",
            ))
            .into()
    }
}

impl ToSchema for Done {
    fn name() -> Cow<'static, str> {
        "Done".into()
    }
}

/// A part of a list that may be long.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing<T: ToSchema> {
    /// rows
    pub objects: Vec<T>,
    /// give it back as `cursor` to get the rows behind these; null when there are none
    pub cursor: Option<String>,
    /// rows that match, where that was counted on the way (with `sort`)
    pub matched: Option<u64>,
    /// all rows there are, matching or not
    pub total: u64,
}

impl<T: ToSchema> Listing<T> {
    /// A page of the broker's as its rows are shown.
    pub fn of<R>(page: Page<R>, row: impl Fn(R) -> T) -> Listing<T> {
        Listing {
            objects: page.rows.into_iter().map(row).collect(),
            cursor: page.next,
            matched: page.matched.map(|n| n as u64),
            total: page.total as u64,
        }
    }
}

/// What the broker does not do, and why.
pub fn refused(why: AdminError) -> Refusal {
    match why {
        AdminError::NotFound => missing("there is none of that name"),
        AdminError::Existed => conflict("it is there already"),
        AdminError::BadTopic => bad("that is no topic filter"),
        AdminError::Unavailable(why) => busy(why),
        AdminError::Other(why) => bad(why),
    }
}

/// A refusal with a status of HTTP and a sentence.
pub fn refuse(status: StatusCode, message: impl Into<String>) -> Refusal {
    Refusal::status(status, code::UNKNOWN, message)
}

/// 400
pub fn bad(message: impl Into<String>) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, message)
}

/// 404
pub fn missing(message: impl Into<String>) -> Refusal {
    refuse(StatusCode::NOT_FOUND, message)
}

/// 409
pub fn conflict(message: impl Into<String>) -> Refusal {
    refuse(StatusCode::CONFLICT, message)
}

/// 503
pub fn busy(message: impl Into<String>) -> Refusal {
    refuse(StatusCode::SERVICE_UNAVAILABLE, message)
}

/// Most rows of an answer.
pub const MOST_ROWS: usize = 1000;
/// Rows of an answer when the question does not say how many.
const ROWS: usize = 50;

/// `limit` of a question.
///
/// # Errors
/// 400 outside of 1 to 1,000.
pub fn limit(asked: Option<u64>) -> Result<usize, Refusal> {
    match asked.map(usize::try_from) {
        None => Ok(ROWS),
        Some(Ok(limit @ 1..=MOST_ROWS)) => Ok(limit),
        Some(_) => Err(bad(format!("limit should be 1 to {MOST_ROWS}"))),
    }
}

/// A word of a question; one that is empty is as good as absent.
pub fn word(asked: Option<String>) -> Option<String> {
    asked.filter(|word| !word.is_empty())
}

/// `sort` of a question: one of `names`, behind `-` when the greatest come first.
///
/// # Errors
/// 400 with the names there are.
pub fn sort<O: Copy>(
    asked: Option<&str>,
    names: &[(&str, O)],
) -> Result<(Option<O>, bool), Refusal> {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
        return Ok((None, false));
    };
    let (name, descending) = match asked.strip_prefix('-') {
        Some(name) => (name, true),
        None => (asked, false),
    };
    match names.iter().find(|(known, _)| *known == name) {
        Some((_, order)) => Ok((Some(*order), descending)),
        None => {
            let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            Err(bad(format!(
                "sort should be one of {}, or one of them behind a minus sign",
                known.join(", ")
            )))
        }
    }
}

/// What `sort` may be, for the description of the API.
pub fn sorts<O>(names: &[(&str, O)]) -> Object {
    let both = names
        .iter()
        .flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]);
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(both))
        .build()
}

/// What the broker is to look for: `filter`, and what every search asks besides; `orders` are those that `sort` may name.
///
/// # Errors
/// 400 as [`sort`] and [`limit`] have it.
pub fn find<F, O: Copy>(
    filter: F,
    orders: &[(&str, O)],
    asked_sort: Option<String>,
    asked_limit: Option<u64>,
    cursor: Option<String>,
) -> Result<Find<F, O>, Refusal> {
    let (order, descending) = sort(asked_sort.as_deref(), orders)?;
    Ok(Find {
        filter,
        order,
        descending,
        after: word(cursor),
        offset: 0,
        limit: limit(asked_limit)?,
    })
}

/// Local time as EMQ writes it: `2026-11-23 18:36:00`.
pub fn local_time(unix_seconds: u64) -> String {
    let at = i64::try_from(unix_seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    match at {
        Some(at) => at
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        None => String::new(),
    }
}

/// What is wrong with a parameter or a field, without the words of the library before its name.
fn told(text: &str) -> &str {
    const BEFORE: [&str; 2] = [
        "Failed to deserialize query string: ",
        "Failed to deserialize the JSON body into the target type: ",
    ];
    let said = BEFORE.iter().find_map(|words| text.strip_prefix(words));
    said.unwrap_or(text)
}

/// The query of a request.
#[derive(Debug)]
pub struct Ask<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let found: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        match found {
            Ok(Query(question)) => Ok(Ask(question)),
            Err(wrong) => Err(refuse(wrong.status(), told(&wrong.body_text()))),
        }
    }
}

/// What a path names, percent-decoded.
#[derive(Debug)]
pub struct Place<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Place<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let found: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        match found {
            Ok(Path(place)) => Ok(Place(place)),
            Err(wrong) => Err(refuse(wrong.status(), wrong.body_text())),
        }
    }
}

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let found: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        match found {
            Ok(Json(body)) => Ok(Body(body)),
            Err(JsonRejection::BytesRejection(wrong)) => {
                Err(refuse(wrong.status(), wrong.body_text()))
            }
            // One status for all that is wrong with a body.
            Err(wrong) => Err(bad(told(&wrong.body_text()))),
        }
    }
}

fn fault(description: &str) -> RefOr<Response> {
    ResponseBuilder::new()
        .description(description)
        .content(
            "application/json",
            Content::new(Some(Ref::from_schema_name("Fault"))),
        )
        .build()
        .into()
}

fn one(status: &str, description: &str) -> BTreeMap<String, RefOr<Response>> {
    BTreeMap::from([(status.to_owned(), fault(description))])
}

/// What every endpoint that needs a login may answer: 401, 403, 429.
pub struct Guarded;

impl IntoResponses for Guarded {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let login = ResponseBuilder::new()
            .description("nobody is logged in, or the login does not count (any more)")
            .build();
        BTreeMap::from([
            ("401".to_owned(), login.into()),
            (
                "403".to_owned(),
                fault("the key lacks the scope, or the request came from another site's page"),
            ),
            (
                "429".to_owned(),
                fault("too many failed logins; Retry-After says when to try again"),
            ),
        ])
    }
}

/// 400: something in the question is wrong.
pub struct Checked;

impl IntoResponses for Checked {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        one(
            "400",
            "a parameter or a field is wrong; the message says which",
        )
    }
}

/// 413: the body is too large.
pub struct Sized1M;

impl IntoResponses for Sized1M {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        one("413", "the body is larger than 1 MB")
    }
}

/// 404: there is no such thing.
pub struct Named;

impl IntoResponses for Named {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        one("404", "there is none of that name")
    }
}

/// 409: not as things are.
pub struct Settled;

impl IntoResponses for Settled {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        one(
            "409",
            "it cannot be done as things are; the message says why",
        )
    }
}

/// 503: not now.
pub struct Patient;

impl IntoResponses for Patient {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        one("503", "not now; try again later")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(limit(None).unwrap(), 50);
        assert_eq!(limit(Some(1)).unwrap(), 1);
        assert_eq!(limit(Some(1000)).unwrap(), 1000);
        for wrong in [0, 1001, u64::MAX] {
            let refusal = limit(Some(wrong)).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            assert_eq!(refusal.message.unwrap(), "limit should be 1 to 1000");
        }
    }

    #[test]
    fn orders() {
        let names = [("client_id", 1), ("username", 2)];
        assert_eq!(sort(None, &names).unwrap(), (None, false));
        assert_eq!(sort(Some(""), &names).unwrap(), (None, false));
        assert_eq!(sort(Some("username"), &names).unwrap(), (Some(2), false));
        assert_eq!(sort(Some("-client_id"), &names).unwrap(), (Some(1), true));
        for wrong in ["-", "--username", "ipaddress", "Username"] {
            let message = sort(Some(wrong), &names).unwrap_err().message.unwrap();
            assert!(message.contains("client_id, username"), "{message}");
        }
    }

    #[test]
    fn done_is_an_empty_array() {
        let text = serde_json::to_string(&Envelope {
            code: 0,
            result: Done,
        });
        assert_eq!(text.unwrap(), r#"{"code":0,"result":[]}"#);
    }
}
