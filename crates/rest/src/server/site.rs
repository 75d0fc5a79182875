//! What is answered: the routers behind their guard, plugins, files, and what holds for every answer.

use super::body::{self, Sent};
use super::empty;
use super::files::Files;
use super::paced::Pace;
use crate::answer::{Refusal, code};
use crate::auth::guard::{foreign, guard};
use crate::auth::{self, Came};
use crate::{App, console, openapi, v2};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderName, HeaderValue, REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use emqttd_plugin_sdk::HttpRequest;
use futures_util::FutureExt;
use hyper::body::Incoming;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::sync::Semaphore;
use tower_service::Service;

/// Longest body of a request, bytes.
pub const MOST_BODY: usize = 1024 * 1024;
/// How long a body may take to come.
const BODY: Duration = Duration::from_secs(60);
/// Requests that plugins answer at a time: those of a slow one must not take all the threads that management has.
static TO_PLUGINS: Semaphore = Semaphore::const_new(4);
/// Longest target of a request, bytes.
const LONGEST_TARGET: usize = 16 * 1024;
/// Of answers that are no page: nothing in them is to be run or shown within another page.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What one listener answers.
#[derive(Debug)]
pub struct Site {
    router: Router,
    files: Option<Files>,
}

impl Site {
    /// The API, and beside it these files.
    pub fn new(app: &App, files: Option<Files>) -> Site {
        Site {
            router: router(app, files.is_some()),
            files,
        }
    }

    /// Answers a request, whatever happens.
    pub async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        came: &Came,
        pace: &Pace,
    ) -> hyper::Response<Sent> {
        let busy = pace.busy();
        // Where a proxy in front read the length of the body otherwise, what it took for the rest of the body would be
        // taken for the next request here. There is none.
        let mut last = request.headers().contains_key(TRANSFER_ENCODING);
        let mut response = match refused(&request) {
            Some(refused) => {
                last = true;
                refused
            }
            None => {
                let answer = AssertUnwindSafe(self.route(request, came)).catch_unwind();
                // The hook of panics has written it down.
                answer
                    .await
                    .unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
            }
        };
        frame(&mut response);
        if last {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response.map(|body| Sent::new(body, busy))
    }

    async fn route(&self, request: hyper::Request<Incoming>, came: &Came) -> Response {
        let path = request.uri().path();
        if let Some(files) = &self.files
            && !is_api(path)
        {
            return files.answer(request.method(), path, request.headers());
        }
        let mut request = request.map(|body| body::timed(body, BODY));
        let came = Came {
            old_http: request.version() == Version::HTTP_10,
            ..came.clone()
        };
        request.extensions_mut().insert(came);
        let mut router = self.router.clone();
        match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Whether a listener with files leaves that path to the API.
fn is_api(path: &str) -> bool {
    let first = path.get(1..).unwrap_or_default().split('/').next();
    matches!(
        first,
        Some("api" | "status" | "metrics" | "health" | "ready")
    )
}

/// What is refused before anybody looks at it.
fn refused(request: &hyper::Request<Incoming>) -> Option<Response> {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH);
    if length.is_some() && headers.contains_key(TRANSFER_ENCODING) {
        return Some(empty(StatusCode::BAD_REQUEST));
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Some(empty(StatusCode::BAD_REQUEST));
    }
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > LONGEST_TARGET) {
        return Some(empty(StatusCode::URI_TOO_LONG));
    }
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MOST_BODY as u64) {
        let why = "the body is longer than 1 MB";
        let refusal = Refusal::status(StatusCode::PAYLOAD_TOO_LARGE, code::UNKNOWN, why);
        return Some(refusal.into_response());
    }
    None
}

/// What every answer has.
fn frame(response: &mut Response) {
    let headers = response.headers_mut();
    let mut add = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    add(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    add(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    add(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    add(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    add(CONTENT_SECURITY_POLICY, NO_PAGE);
}

/// All routes. On a listener with files `/` is a page's, and the publishing of 2.2 is not there.
fn router(app: &App, files: bool) -> Router {
    let below = v2::router()
        .merge(console::router())
        .merge(auth::router())
        .merge(openapi::router());
    let guarded = utoipa_axum::router::OpenApiRouter::new().nest("/api/v2", below);
    let (guarded, _) = guarded.split_for_parts();
    let guarded = guarded
        .route("/api/plugins/{name}", axum::routing::any(plugin))
        .route("/api/plugins/{name}/", axum::routing::any(plugin))
        .route(
            "/api/plugins/{name}/{*path}",
            axum::routing::any(plugin_below),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app.clone());
    let mut open = console::open_router().merge(v2::status_router());
    if !files {
        open = open.merge(v2::root_router()).merge(v2::legacy_router());
    }
    let (open, _) = open.split_for_parts();
    open.layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(app.clone(), ajar))
        .with_state::<()>(app.clone())
        .fallback_service(guarded)
}

/// Before what is open: `/metrics` is not if `management.metrics.auth` says so, and pages of others change nothing.
async fn ajar(app: State<App>, request: Request, next: Next) -> Response {
    if let Some(refused) = foreign(&request) {
        return refused;
    }
    let closed = app.core().broker.settings().metrics_auth;
    match closed && request.uri().path() == "/metrics" {
        true => guard(app, request, next).await,
        false => next.run(request).await,
    }
}

async fn not_found() -> Response {
    empty(StatusCode::NOT_FOUND)
}

async fn plugin(app: State<App>, Path(name): Path<String>, request: Request) -> Response {
    to_plugin(app, &name, "", request).await
}

async fn plugin_below(
    app: State<App>,
    Path((name, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    to_plugin(app, &name, &path, request).await
}

/// Has a plugin answer below its own path.
async fn to_plugin(State(app): State<App>, name: &str, path: &str, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if name.contains('/') {
        return empty(StatusCode::NOT_FOUND);
    }
    let body = match body::whole(body, MOST_BODY).await {
        Ok(body) => body,
        Err(status) => return empty(status),
    };
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
    let Ok(query) = query else {
        return empty(StatusCode::BAD_REQUEST);
    };
    let headers = head.headers.iter().filter_map(|(name, value)| {
        // What opens the API is no affair of the plugin's.
        let secret = matches!(name.as_str(), "authorization" | "cookie");
        let value = value.to_str().ok().filter(|_| !secret)?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let request = HttpRequest {
        method: head.method.as_str().to_owned(),
        path: format!("/api/plugins/{name}/{path}"),
        query: query.0,
        headers: headers.collect(),
        body: body.to_vec(),
    };
    // Closed never.
    let turn = TO_PLUGINS.acquire().await;
    let asked = app.clone();
    let answered = app
        .ask(move |_| {
            let _turn = turn;
            asked.ask_plugin(&request)
        })
        .await;
    match answered {
        Ok(Some(answer)) => {
            let status = StatusCode::from_u16(answer.status);
            let mut response = Response::new(Body::from(answer.body));
            *response.status_mut() = status
                .ok()
                .filter(|status| !status.is_informational())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if let Ok(kind) = HeaderValue::from_str(&answer.content_type) {
                response.headers_mut().insert(CONTENT_TYPE, kind);
            }
            response
        }
        Ok(None) => empty(StatusCode::NOT_FOUND),
        Err(refusal) => refusal.into_response(),
    }
}
