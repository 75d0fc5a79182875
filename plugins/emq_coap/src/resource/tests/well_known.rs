use super::bench::{Bench, get, put, text};
use crate::codec::Code;

#[test]
fn what_is_here() {
    let mut bench = Bench::new();
    for (uri, links) in [
        ("/.well-known/core", "</mqtt>,</ps>"),
        ("/.well-known/core?c=1", "</mqtt>,</ps>"),
        ("/.well-known/core?rt=core.ps", "</ps>;rt=\"core.ps\";ct=40"),
        ("/.well-known/core?rt=core.*", "</ps>;rt=\"core.ps\";ct=40"),
        ("/.well-known/core?ct=40", "</ps>;rt=\"core.ps\";ct=40"),
        ("/.well-known/core?href=%2Fmqtt", "</mqtt>"),
        ("/.well-known/core?rt=x", ""),
        ("/.well-known/core?rt=", ""),
    ] {
        let response = bench.send(&get(uri)).unwrap();
        assert_eq!(response.code, Code::CONTENT, "{uri}");
        assert_eq!(response.content_format, Some(40));
        assert_eq!(text(&response), links, "{uri}");
    }
    let code = bench.code(&put("/.well-known/core", ""));
    assert_eq!(code, Code::METHOD_NOT_ALLOWED);
    assert!(bench.log().is_empty());
}

#[test]
fn nothing_else_is() {
    let mut bench = Bench::new();
    for uri in [
        "",
        "/",
        "/other?c=1",
        "/.well-known",
        "/.well-known/core/x",
        "/MQTT/a?c=1",
    ] {
        assert_eq!(bench.code(&get(uri)), Code::NOT_FOUND, "{uri}");
    }
}
