#![allow(clippy::unwrap_used)]
use super::*;

fn read(pairs: &[(&str, &str)]) -> Rules {
    Rules::read(&Config::of(pairs)).unwrap()
}

fn refused(pairs: &[(&str, &str)]) -> String {
    Rules::read(&Config::of(pairs)).unwrap_err().0
}

/// How payloads of messages with that topic are written, once for each rule.
fn about(rules: &Rules, topic: &str) -> Vec<Encoding> {
    let rules = rules.about(HookPoint::MessagePublish, topic);
    rules.map(|rule| rule.encoding).collect()
}

#[test]
fn the_shipped_rules_are_about_everything() {
    let pairs: Vec<(String, String)> = POINTS
        .iter()
        .map(|point| {
            let action = point.name.replace('.', "_");
            (
                format!("web.hook.rule.{}.1", point.name),
                format!("{{\"action\": \"on_{action}\"}}"),
            )
        })
        .collect();
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    let rules = read(&pairs);
    assert_eq!(
        rules.points(),
        HookPoint::ALL & !(HookPoint::MessageDropped as u32)
    );
    for (index, point) in POINTS.iter().enumerate() {
        assert_eq!(point.point as u32, 1 << index, "{}", point.name);
        assert!(rules.has(point.point));
    }
    assert_eq!(about(&rules, "$SYS/x"), [Encoding::Plain]);
    assert!(!rules.has(HookPoint::MessageDropped));
}

#[test]
fn without_rules_there_is_nothing() {
    let rules = read(&[("web.hook.encode_payload", "base64")]);
    assert_eq!(rules.points(), 0);
    assert!(!rules.has(HookPoint::SessionCreated));
    assert_eq!(about(&rules, "a"), []);
}

#[test]
fn each_rule_whose_filter_matches_counts_once() {
    let rules = read(&[
        ("web.hook.encode_payload", "base64"),
        (
            "web.hook.rule.message.publish.10",
            r##"{"action": "on_message_publish", "topic": "a/+"}"##,
        ),
        (
            "web.hook.rule.message.publish.2",
            r##"{"topic": "a/#", "action": "on_message_publish", "encode_payload": "plain"}"##,
        ),
        (
            "web.hook.rule.message.publish.3",
            r##"{"action":"on_message_publish","topic":"a/+","encode_payload":"base64"}"##,
        ),
        (
            "web.hook.rule.message.publish.x",
            r##"{"action": "on_message_publish", "topic": "#"}"##,
        ),
        (
            "web.hook.rule.session.created.1",
            r##" {"action": "on_session_created"} "##,
        ),
    ]);
    assert_eq!(
        rules.points(),
        HookPoint::MessagePublish as u32 | HookPoint::SessionCreated as u32
    );
    use Encoding::{Base64, Plain};
    assert_eq!(about(&rules, "a/1"), [Plain, Base64, Base64]);
    assert_eq!(about(&rules, "a/1/2"), [Plain, Base64]);
    assert_eq!(about(&rules, "c/1"), [Base64]);
    assert_eq!(about(&rules, "$SYS/x"), []);
    assert_eq!(rules.about(HookPoint::MessageAcked, "a/1").count(), 0);
}

#[test]
fn rules_that_are_not_understood_are_refused() {
    let publish = "web.hook.rule.message.publish.1";
    let created = "web.hook.rule.session.created.1";
    let subscribe = "web.hook.rule.client.subscribe.1";
    let action = r#"{"action": "on_message_publish", "#;
    for (key, value, what) in [
        (
            publish,
            "",
            "is no JSON object such as {\"action\": \"on_message_publish\"}: ",
        ),
        (publish, "on_message_publish", "is no JSON object"),
        (publish, "[]", "is no JSON object"),
        (
            publish,
            "{}",
            "has no \"action\": {\"action\": \"on_message_publish\"}",
        ),
        (
            publish,
            r#"{"action": "on_message_acked"}"#,
            "\"action\" must be \"on_message_publish\" here",
        ),
        (
            publish,
            r#"{"action": "message_publish"}"#,
            "\"action\" must be \"on_message_publish\" here",
        ),
        (publish, r#"{"action": 1}"#, "\"action\" must be a string"),
        (
            publish,
            &format!("{action}\"topic\": \"a/#/b\"}}"),
            "\"topic\": wildcard that is not a level by itself",
        ),
        (
            publish,
            &format!("{action}\"topic\": \"\"}}"),
            "\"topic\": empty topic",
        ),
        (
            publish,
            &format!("{action}\"topic\": null}}"),
            "\"topic\" must be a string",
        ),
        (
            publish,
            &format!("{action}\"topics\": \"a\"}}"),
            "\"topics\" is not known",
        ),
        (
            publish,
            &format!("{action}\"encode_payload\": \"base62\"}}"),
            "\"encode_payload\" must be plain or base64",
        ),
        (
            created,
            r#"{"action": "on_session_created", "topic": "a"}"#,
            "session.created has no \"topic\"",
        ),
        (
            subscribe,
            r#"{"action": "on_client_subscribe", "encode_payload": "plain"}"#,
            "client.subscribe has no \"encode_payload\"",
        ),
        (
            "web.hook.encode_payload",
            "base62",
            "must be plain or base64",
        ),
    ] {
        let error = refused(&[(key, value)]);
        let begin = format!("{key} (test) {what}");
        assert!(error.starts_with(&begin), "{error}\n{begin}");
    }
}

#[test]
fn one_topic_has_one_encoding() {
    let plain = r#"{"action": "on_message_acked", "topic": "a"}"#;
    let base64 = r#"{"action": "on_message_acked", "topic": "a", "encode_payload": "base64"}"#;
    let (one, two) = (
        "web.hook.rule.message.acked.1",
        "web.hook.rule.message.acked.2",
    );
    let error = refused(&[(one, plain), (two, base64)]);
    assert_eq!(
        error,
        format!("{two} (test) has the topic of another rule, and another encode_payload")
    );
    let rules = read(&[
        (one, plain),
        (two, base64),
        ("web.hook.encode_payload", "base64"),
    ]);
    assert_eq!(rules.about(HookPoint::MessageAcked, "a").count(), 1);
}
