//! What a token grants beyond coming in.

use super::*;
use emqttd_tests::{Publish, Will};

/// In by a token, with these claims.
#[track_caller]
fn enter(broker: &Broker, version: Version, id: &str, claims: &str) -> Client {
    let connect = Connect::new(version, id).username("alice");
    broker.open(&connect.password(&token(claims)))
}

#[test]
fn topics_of_a_token() {
    let broker = broker("auth.jwt.acl_claim = acl\n");
    let claims = r#"{"acl":{"pub":["up/%c/+"],"sub":["down/%u/#"],"all":["both","$SYS/#"]}}"#;
    for version in [Version::V311, Version::V5] {
        let denied = if version.is_v5() { 0x87 } else { 0x80 };
        let id = unique("acl");
        let mut client = enter(&broker, version, &id, claims);
        for (filter, code) in [
            ("down/alice/x", 0),
            ("down/alice/#", 0),
            ("both", 0),
            ("$SYS/brokers", 0),
            ("down/bob/#", denied),
            ("down/+/x", denied),
            ("up/x/y", denied),
            ("#", denied),
        ] {
            assert_eq!(subscribe(&mut client, filter), code, "{filter}");
        }
        client.pub_("both", 1, "1");
        client.expect("both", "1");
        assert_ne!(client.pub_(&format!("up/{id}/x"), 1, "x"), 0x87);
        // Denied in silence, or with a word.
        for topic in ["down/alice/x", "up/other/x", "else"] {
            if version.is_v5() {
                assert_eq!(client.pub_(topic, 1, "2"), 0x87, "{topic}");
            } else {
                client.send_publish(Publish::new(topic, "2").qos(1));
                client.ping();
            }
        }
        client.quiet();
        let (_, text) = broker.ctl(&["acl", "test", &id, "alice", "127.0.0.1", "publish", "no"]);
        assert!(text.contains("its token does not have that"), "{text}");
        let (_, text) = broker.ctl(&["acl", "test", &id, "alice", "127.0.0.1", "publish", "both"]);
        assert!(text.contains("its token has that"), "{text}");
    }
    // Names that are more than names.
    let claims = r##"{"acl":{"all":["up/%c","%u/x"]}}"##;
    let connect = Connect::new(Version::V311, "+").username("#");
    let mut wild = broker.open(&connect.password(&token(claims)));
    for filter in ["up/+", "up/x", "#/x", "+/x", "#"] {
        // `#/x` is no filter; the others are, and are not granted.
        if filter != "#/x" {
            assert_eq!(subscribe(&mut wild, filter), 0x80, "{filter}");
        }
    }
    // A token that says nothing leaves it to the others, one with an empty list does not.
    let mut silent = enter(&broker, Version::V311, "silent", "{}");
    assert_eq!(subscribe(&mut silent, "anything"), 0);
    let mut nothing = enter(&broker, Version::V311, "nothing", r#"{"acl":{}}"#);
    assert_eq!(subscribe(&mut nothing, "anything"), 0x80);
    // One that makes no sense lets nobody in.
    for acl in [
        "[]",
        "\"#\"",
        "null",
        r#"{"pub":["a/#/b"]}"#,
        r#"{"write":[]}"#,
    ] {
        assert_eq!(
            answers(&broker, &token(&format!(r#"{{"acl":{acl}}}"#))),
            REFUSED,
            "{acl}"
        );
    }
}

#[test]
fn superusers() {
    let broker = broker("auth.jwt.acl_claim = acl\nauth.jwt.superuser_claim = is_superuser\n");
    for (root, code) in [
        ("true", 0),
        ("false", 0x80),
        ("1", 0x80),
        ("\"true\"", 0x80),
    ] {
        let claims = format!(r#"{{"is_superuser":{root},"acl":{{}}}}"#);
        let mut client = enter(&broker, Version::V311, "root", &claims);
        assert_eq!(subscribe(&mut client, "any/#"), code, "{root}");
    }
}

/// A client comes again with another token while it is still connected; each connection has the rights of its own.
#[test]
fn a_new_token() {
    let broker = broker("auth.jwt.acl_claim = acl\n");
    let mut old = enter(&broker, Version::V5, "again", r#"{"acl":{"all":["old"]}}"#);
    old.sub("old", 0);
    for _ in 0..5 {
        let mut new = enter(&broker, Version::V5, "again", r#"{"acl":{"all":["new"]}}"#);
        assert_eq!(old.closed(), Some(0x8e));
        assert_eq!(subscribe(&mut new, "new"), 0);
        assert_eq!(subscribe(&mut new, "old"), 0x87);
        // A token that is refused takes nothing from the one that is in.
        let bad = Connect::new(Version::V311, "again").username("alice");
        assert_eq!(answer(&broker, &bad.password(&token(r#"{"exp":1}"#))), 4);
        assert_eq!(subscribe(&mut new, "new"), 0);
        old = new;
    }
}

/// A session that outlives its connection: what it asks for anew goes by the token that comes back to it; what it
/// has subscribed to goes by that when `acl cache clean` says so.
#[test]
fn sessions_that_stay() {
    let broker = broker("auth.jwt.acl_claim = acl\n");
    let session = |acl: &str| {
        let connect = Connect::persistent(Version::V311, "session").username("alice");
        let token = token(&format!(r#"{{"acl":{{"all":{acl}}}}}"#));
        broker.resume(&connect.password(&token))
    };
    let (mut first, _, _) = session(r#"["a","b"]"#);
    first.sub("a", 1);
    first.sub("b", 1);
    first.disconnect();
    let (mut second, present, _) = session(r#"["b"]"#);
    assert!(present);
    assert_eq!(subscribe(&mut second, "a"), 0x80);
    let cleaned = broker.ctl(&["acl", "cache", "clean", "client", "session"]);
    assert_eq!(cleaned, (0, "ok\n".into()));
    let mut other = enter(&broker, Version::V311, "other", "{}");
    other.pub_("a", 1, "1");
    other.pub_("b", 1, "2");
    second.expect("b", "2");
    second.quiet();
}

/// The will of a client is published by the rights of its token.
#[test]
fn wills() {
    let broker = broker("auth.jwt.acl_claim = acl\n");
    let mut watcher = enter(&broker, Version::V311, "watcher", "{}");
    watcher.sub("will/#", 0);
    for (topic, id) in [("will/no", "w1"), ("will/yes", "w2")] {
        let connect = Connect::new(Version::V311, id).username("alice");
        let connect = connect.will(Will::new(topic, "gone"));
        let claims = r#"{"acl":{"pub":["will/yes"]}}"#;
        broker
            .open(&connect.password(&token(claims)))
            .drop_connection();
    }
    watcher.expect("will/yes", "gone");
    watcher.quiet();
}

#[test]
fn connections_end_with_their_token() {
    let broker = broker("auth.jwt.disconnect_after_expiry = on\n");
    let end = now() + 6;
    let claims = format!(r#"{{"exp":{end}}}"#);
    let mut ends = enter(&broker, Version::V5, "ends", &claims);
    let mut stays = enter(&broker, Version::V5, "stays", r#"{"exp":99999999999}"#);
    let mut ever = enter(&broker, Version::V5, "ever", "{}");
    // One that was displaced by another with a longer token.
    let mut old = enter(&broker, Version::V5, "longer", &claims);
    let mut new = enter(&broker, Version::V5, "longer", r#"{"exp":99999999999}"#);
    old.closed();
    ends.ping();
    ends.closed_within(Duration::from_secs(30));
    assert!(now() >= end);
    for client in [&mut stays, &mut ever, &mut new] {
        client.ping();
    }
    // It is off where nothing is said.
    let broker = super::broker("");
    let end = now() + 3;
    let mut stays = enter(
        &broker,
        Version::V5,
        "stays",
        &format!(r#"{{"exp":{end}}}"#),
    );
    while now() <= end + 1 {
        std::thread::sleep(Duration::from_millis(50));
    }
    stays.ping();
}
