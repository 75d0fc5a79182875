//! The description of the API in OpenAPI, made from the handlers, and the shapes that all answers share.
//!
//! `docs/openapi.json` is this document as it was last committed; programs are generated from it, the dashboard's
//! types among them. A test compares the two.

use crate::console::forms::Envelope;
use crate::{App, console, v2};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use utoipa::ToSchema;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, tag};
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
const TAGS: [(&str, &str); 19] = [
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
];

/// The whole document.
pub fn document() -> OpenApi {
    let below = v2::router().merge(console::router()).merge(router());
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
    settle_paths(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("a document is JSON");
    text.push('\n');
    text
}

/// Wildcards lose their star, which OpenAPI does not know, and every operation says what all of them may answer.
fn settle_paths(document: &mut Value) {
    let Some(Value::Object(paths)) = document.get_mut("paths") else {
        return;
    };
    let settled: Map<String, Value> = std::mem::take(paths)
        .into_iter()
        .map(|(path, mut item)| {
            if let Value::Object(operations) = &mut item {
                for operation in operations.values_mut() {
                    settle_operation(&path, operation);
                }
            }
            (path.replace("{*", "{"), item)
        })
        .collect();
    *paths = settled;
}

fn settle_operation(path: &str, operation: &mut Value) {
    let Value::Object(operation) = operation else {
        return;
    };
    let open = !path.starts_with("/api/v2/") || operation.contains_key("security");
    let body = operation.contains_key("requestBody");
    if !open {
        let schemes = json!([{ "basic": [] }, { "bearer": [] }]);
        operation.insert("security".into(), schemes);
    }
    let Some(Value::Object(responses)) = operation.get_mut("responses") else {
        return;
    };
    let refused = |about: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Fault" });
        json!({ "description": about, "content": { "application/json": { "schema": schema } } })
    };
    let mut add = |status: &str, response: Value| {
        responses.entry(status).or_insert(response);
    };
    if path.starts_with("/api/v2/") {
        let text = json!({ "text/plain": { "schema": { "type": "string" } } });
        add(
            "404",
            json!({ "description": "no such path, method, node or plugin, or a number that is none", "content": text }),
        );
        add("500", refused("the operation failed; the log says why"));
        if body {
            add("413", json!({ "description": "the body is too large" }));
        }
    }
    if !open {
        add(
            "401",
            json!({
                "description": "no login, or a wrong one; a sentence as plain text where it needs one",
                "headers": { "WWW-Authenticate": { "schema": { "type": "string" }, "description": "left out for programs that bring a token" } },
            }),
        );
        add(
            "403",
            refused(
                "the key lacks the scope, the password has to be changed first, or the request came from another site",
            ),
        );
        add("429", refused("too many failed logins"));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    const UPDATE: &str = "UPDATE_OPENAPI";

    #[test]
    fn the_committed_document_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
        let text = text();
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "docs/openapi.json is not what the handlers say: write it with {UPDATE}=1 cargo test -p emqttd-rest openapi, \
             and look at what has changed"
        );
    }

    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
        });
        all.collect()
    }

    #[test]
    fn every_operation_is_described() {
        let document: Value = serde_json::from_str(&text()).unwrap();
        let tags: Vec<&str> = TAGS.iter().map(|(name, _)| *name).collect();
        let mut ids = std::collections::BTreeSet::new();
        let operations = operations(&document);
        assert!(operations.len() > 80, "{} operations", operations.len());
        for (name, operation) in operations {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{name}: another operation is called {id}");
            let tag = operation["tags"][0].as_str().unwrap();
            assert!(tag == "Open" || tags.contains(&tag), "{name}: tag {tag}");
            assert!(operation["security"].is_array(), "{name}: security");
            assert!(
                operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
                "{name}: summary"
            );
            let named: Vec<&str> = name
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
                .collect();
            let described = operation["parameters"].as_array().into_iter().flatten();
            let described: Vec<&str> = described
                .filter(|p| p["in"] == "path")
                .filter_map(|p| p["name"].as_str())
                .collect();
            assert_eq!(named, described, "{name}: parameters of the path");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(reference)) = fields.get("$ref") {
                        let pointer = reference.trim_start_matches('#');
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    fields.values().for_each(|value| walk(value, document));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(value, document)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(&text()).unwrap();
        walk(&document, &document);
    }
}
