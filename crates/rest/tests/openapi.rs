//! The description of the API that is committed is the one that the handlers give, and it describes them all.
#![allow(clippy::unwrap_used)]

use emqttd_rest::openapi::text;
use serde_json::Value;
use std::collections::BTreeSet;
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
    let tags = document["tags"].as_array().unwrap().iter();
    let tags: Vec<&str> = tags.map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    let operations = operations(&document);
    assert!(operations.len() > 80, "{} operations", operations.len());
    for (name, operation) in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{name}: another operation is called {id}");
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(tags.contains(&tag), "{name}: tag {tag}");
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

/// Schemas have the names of their types, whatever module these are in: of two with one name, one is lost.
#[test]
fn no_two_schemas_have_one_name() {
    fn sources(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut names = BTreeSet::new();
    for file in &files {
        let described = file.split("#[derive(").skip(1);
        for item in described.filter(|item| {
            let derives = item.split(")]").next().unwrap();
            derives.contains("ToSchema")
        }) {
            let mut words = item.split([' ', '<', '(', '{', '\n', ',']);
            words
                .find(|word| ["struct", "enum"].contains(word))
                .unwrap();
            let mut name = words.next().unwrap();
            if let Some((_, given)) = item.split_once("schema(as = ")
                && item.find("schema(as = ") < item.find("pub ").or(item.find("struct "))
            {
                name = given.split([')', ',']).next().unwrap();
            }
            assert!(
                names.insert(name.to_owned()),
                "two schemas are called {name}"
            );
        }
    }
    assert!(names.len() > 40, "{names:?}");
}
