//! The description of the API in OpenAPI, made from the handlers, and the shapes that all answers share.
//!
//! `docs/openapi.json` is this document as it was last committed; programs are generated from it, the dashboard's
//! types among them. A test compares the two.

use crate::console::forms::{Envelope, Fault};
use crate::{App, auth, console, v2};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, tag};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What could not be done. EMQ 2.3 answers it with status 200; what it had no code for has a status of its own.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Refused {
    /// 102 anything else, 103 wrong user name or password, 105 no such user, 106 `admin` stays, 107 a field is
    /// missing, 108 a field has the wrong type, 109 the body is not JSON, 110 the plugin runs already, 111 the
    /// plugin does not run, 112 the client is not connected, 113 there is such a user, 114 the old password is wrong
    #[schema(minimum = 102, maximum = 199, example = 102)]
    pub code: u16,
    /// a sentence, where there is one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub message: Option<String>,
}

/// Status 200 of an operation that EMQ 2.3 refuses with a code.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Outcome<T: ToSchema> {
    /// it was done
    Done(Envelope<T>),
    /// it was not
    Refused(Refused),
}

/// Tags of the document, in the order in which they stand there.
const TAGS: [(&str, &str); 20] = [
    ("Nodes", "Nodes and their figures"),
    ("Monitoring", "What the dashboard shows first"),
    ("Clients", "Who is connected"),
    ("Sessions", "What is kept for clients"),
    ("Subscriptions", "Who gets what"),
    (
        "Routes",
        "Topics and filters that somebody has subscribed to",
    ),
    (
        "Retained",
        "Messages that are kept for those who subscribe later",
    ),
    ("MQTT", "Publishing and subscribing"),
    ("Access", "Asking the chains of authentication and ACL"),
    ("Bans", "Who may not connect"),
    ("Alarms", "What is wrong"),
    ("Plugins", "Plugins and their configuration"),
    ("Listeners", "Where clients connect"),
    ("Configuration", "What can be changed while the broker runs"),
    ("Logging", "What is written to the log"),
    ("Traces", "What single clients and topics do"),
    ("Users", "Who may use all this"),
    ("API keys", "What programs log in with"),
    ("Audit", "Who did what"),
    ("Open", "Answered without a login"),
];

/// The whole document.
pub fn document() -> OpenApi {
    let below = v2::router()
        .merge(auth::router())
        .merge(console::router())
        .merge(router());
    let all = OpenApiRouter::<App>::with_openapi(frame())
        .nest("/api/v2", below)
        .merge(console::open_router())
        .merge(v2::root_router())
        .merge(v2::status_router())
        .merge(v2::legacy_router());
    all.into_openapi()
}

/// All but paths and schemas.
fn frame() -> OpenApi {
    let mut components = Components::new();
    // Named by the answers that all operations have.
    components.schemas.insert("Fault".into(), Fault::schema());
    for (name, scheme, about) in [
        (
            "basic",
            HttpAuthScheme::Basic,
            "name and password of a user of the dashboard, or id and secret of an API key",
        ),
        (
            "bearer",
            HttpAuthScheme::Bearer,
            "the token of a login, or `<id>.<secret>` of an API key",
        ),
    ] {
        let mut http = Http::new(scheme);
        http.description = Some(about.into());
        components.add_security_scheme(name, SecurityScheme::Http(http));
    }
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("emqttd management API")
                .version("2.3.11")
                .description(Some(
                    "The REST API of EMQ 2.3.11 and what this broker has beyond it.",
                ))
                .license(Some(
                    LicenseBuilder::new().name("MIT OR Apache-2.0").build(),
                )),
        )
        .components(Some(components))
        .tags(Some(TAGS.map(|(name, about)| {
            tag::TagBuilder::new()
                .name(name)
                .description(Some(about))
                .build()
        })))
        .build()
}

/// The document as text: what handlers and derives leave open is settled here, once for all operations.
pub fn text() -> String {
    let document = serde_json::to_value(document());
    // Maps of strings and numbers: nothing in it can fail to be JSON.
    let mut document = document.expect("a document is JSON");
    document["components"]["responses"] = common_responses();
    settle_paths(&mut document);
    name_results(&mut document);
    refer(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("a document is JSON");
    text.push('\n');
    text
}

/// Wildcards lose their star, which OpenAPI does not know, and every operation says what all of them may answer.
fn settle_paths(document: &mut Value) {
    let of_v2 = v2::router().into_openapi().paths.paths;
    let Some(Value::Object(paths)) = document.get_mut("paths") else {
        return;
    };
    let settled: Map<String, Value> = std::mem::take(paths)
        .into_iter()
        .map(|(path, mut item)| {
            let below = path.strip_prefix("/api/v2");
            let of_v2 = below.and_then(|below| of_v2.get(below));
            let of_v2 = of_v2.and_then(|item| serde_json::to_value(item).ok());
            for (method, operation) in item.as_object_mut().into_iter().flatten() {
                let place = Place {
                    api: below.is_some(),
                    v2: of_v2.as_ref().is_some_and(|v2| v2.get(method).is_some()),
                };
                settle_operation(place, operation);
            }
            (path.replace("{*", "{"), item)
        })
        .collect();
    *paths = settled;
}

/// Where an operation belongs.
#[derive(Clone, Copy)]
struct Place {
    /// below `/api/v2`
    api: bool,
    /// one that EMQ 2.3 had
    v2: bool,
}

fn settle_operation(place: Place, operation: &mut Value) {
    let Value::Object(operation) = operation else {
        return;
    };
    let open = !place.api || operation.contains_key("security");
    if !open {
        let schemes = json!([{ "basic": [] }, { "bearer": [] }]);
        operation.insert("security".into(), schemes);
    }
    let body = operation.contains_key("requestBody");
    let Some(Value::Object(responses)) = operation.get_mut("responses") else {
        return;
    };
    for response in responses.values_mut() {
        if response["description"] == "" {
            response["description"] = "the answer".into();
        }
    }
    let mut add = |status: &str, name: &str| {
        let reference = json!({ "$ref": format!("#/components/responses/{name}") });
        responses.entry(status).or_insert(reference);
    };
    if place.v2 {
        add("404", "NotHere");
    }
    if place.api {
        add("500", "Failed");
        if body {
            add("413", "TooLarge");
        }
    }
    if !open {
        add("401", "Unauthorized");
        add("403", "Forbidden");
        add("429", "TooManyFailures");
    }
}

/// What many operations may answer.
fn common_responses() -> Value {
    let refused = |about: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Fault" });
        json!({ "description": about, "content": { "application/json": { "schema": schema } } })
    };
    let login = json!({
        "description": "left out for programs that bring a token",
        "schema": { "type": "string" },
    });
    json!({
        "NotHere": {
            "description": "no such node or plugin, or a number that is none; the body is empty",
            "content": { "text/plain": { "schema": { "type": "string" } } },
        },
        "Failed": refused("the operation failed; the log says why"),
        "TooLarge": { "description": "the body is too large" },
        "Unauthorized": {
            "description": "no login, or one that does not count; a sentence as plain text where that needs one",
            "headers": { "WWW-Authenticate": login },
        },
        "Forbidden": refused(
            "the key lacks the scope, the password has to be changed first, or the request came from another site",
        ),
        "TooManyFailures": refused("too many failed logins; Retry-After says when to try again"),
    })
}

/// What stands inside of `Envelope_Page_Client` is called `Page_Client`, and so on.
fn name_results(document: &mut Value) {
    let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") else {
        return;
    };
    let named = schemas.iter().filter_map(|(name, schema)| {
        let name = name.strip_prefix("Envelope_")?;
        let result = schema.pointer("/properties/result")?;
        let generic = result.get("properties").is_some() && !schemas.contains_key(name);
        generic.then(|| (name.to_owned(), result.clone()))
    });
    let named: Vec<(String, Value)> = named.collect();
    schemas.extend(named);
}

/// A schema that stands inside of another, as those of generic types do, becomes a reference to its name.
fn refer(document: &mut Value) {
    let Some(Value::Object(schemas)) = document.pointer("/components/schemas").cloned() else {
        return;
    };
    let named: Vec<(&String, &Value)> = schemas
        .iter()
        .filter(|(_, schema)| schema.get("properties").is_some() || schema.get("oneOf").is_some())
        .collect();
    if let Some(Value::Object(all)) = document.pointer_mut("/components/schemas") {
        for schema in all.values_mut() {
            refer_within(schema, &named);
        }
    }
    if let Some(paths) = document.get_mut("paths") {
        refer_within(paths, &named);
    }
}

fn refer_within(value: &mut Value, named: &[(&String, &Value)]) {
    let within: Vec<&mut Value> = match value {
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Array(values) => values.iter_mut().collect(),
        _ => return,
    };
    for inner in within {
        let known = named.iter().find(|(_, schema)| *schema == inner);
        match known {
            Some((name, _)) => *inner = json!({ "$ref": format!("#/components/schemas/{name}") }),
            None => refer_within(inner, named),
        }
    }
}

/// `GET openapi.json`
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(openapi_json))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "Open", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn openapi_json() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
