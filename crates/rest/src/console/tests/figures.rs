use super::Bench;
use http_body_util::BodyExt;
use std::collections::{BTreeMap, BTreeSet};

const MANUAL: &str = include_str!("../../../../../docs/monitoring.md");
const DASHBOARD: &str = include_str!("../../../../../docs/grafana-dashboard.json");

/// Names and types in the manual's tables.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let rows = MANUAL.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`');
        Some((name, cells.next()?))
    });
    rows.filter(|(name, _)| name.starts_with("emqttd_"))
        .collect()
}

/// All words of a text that could be names.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("emqttd_") && *word != "emqttd_ctl")
        .collect()
}

/// A figure: its name, labels and value.
type Sample<'a> = (&'a str, &'a str, f64);

/// Takes a page apart as Prometheus does: the types, and the samples.
fn parse(page: &str) -> (BTreeMap<&str, &str>, Vec<Sample<'_>>) {
    let (mut types, mut samples, mut helped) = (BTreeMap::new(), Vec::new(), "");
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(text.ends_with('.'), "{line}");
            helped = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert_eq!(types.insert(name, kind), None, "{name} comes twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                None => (series, ""),
            };
            assert_eq!(name, helped, "a sample outside of its family");
            samples.push((name, labels, value.parse().unwrap()));
        }
    }
    (types, samples)
}

async fn page(bench: &Bench) -> String {
    let response = bench.send("GET", "/metrics", None).await;
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_manual_names_what_is_served() {
    let bench = Bench::new();
    let text = page(&bench).await;
    let (types, samples) = parse(&text);
    assert_eq!(types, documented());
    for (name, kind) in &types {
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
    }
    let series: BTreeSet<_> = samples
        .iter()
        .map(|(name, labels, _)| (name, labels))
        .collect();
    assert_eq!(series.len(), samples.len(), "a series comes twice");
    for name in names(MANUAL) {
        assert!(types.contains_key(name), "{name} is in the manual only");
    }
}

#[test]
fn the_dashboard_uses_only_what_is_documented() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 20);
    let used = names(DASHBOARD);
    let known = documented();
    assert!(used.len() > 30, "{used:?}");
    for name in used {
        assert!(known.contains_key(name), "{name} is not documented");
    }
}

#[tokio::test]
async fn it_lives_and_is_not_ready_without_listeners() {
    let bench = Bench::new();
    let response = bench.send("GET", "/health", None).await;
    assert_eq!(response.status(), 200);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&bytes[..], b"ok");
    let response = bench.send("GET", "/ready", None).await;
    assert_eq!(response.status(), 503);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let ready: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(ready["ready"], false);
    assert_eq!(ready["reasons"], serde_json::json!(["no listener is open"]));
}
