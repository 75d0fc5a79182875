//! The plugin in a broker of memory.

#![allow(clippy::unwrap_used)]

mod keys;

use crate::plugin;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use emqttd_plugin_sdk::testing::{FakeBroker, client};
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer, Client, Config, StartError};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "s3cret";

/// base64url.
pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Header and claims, as they are signed.
fn unsigned(alg: &str, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": alg}).to_string();
    format!("{}.{}", encoded(header), encoded(claims.to_string()))
}

/// A token by HS256.
fn token(secret: &str, claims: &Value) -> String {
    let signed = unsigned("HS256", claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encoded(tag.as_ref()))
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn start(pairs: &[(&str, &str)]) -> FakeBroker {
    let broker = FakeBroker::new();
    let secret = [("auth.jwt.secret", SECRET)];
    broker
        .start(&plugin(), Config::of(&[&secret, pairs].concat()))
        .unwrap();
    broker
}

fn alice() -> Client {
    let mut client = client("c1");
    client.username = Some("alice".into());
    client
}

const YES: AuthAnswer = AuthAnswer::Allow { superuser: false };

#[track_caller]
fn ask(broker: &FakeBroker, claims: Value) -> AuthAnswer {
    broker.auth(&alice(), Some(token(SECRET, &claims).as_bytes()))
}

#[test]
fn what_is_a_token_and_what_is_none() {
    let broker = start(&[]);
    let ask = |password: Option<&str>| broker.auth(&alice(), password.map(str::as_bytes));
    assert_eq!(ask(Some(&token(SECRET, &json!({})))), YES);
    assert_eq!(ask(Some(&token("other", &json!({})))), AuthAnswer::Deny);
    assert_eq!(ask(Some("p.w.d")), AuthAnswer::Ignore);
    assert_eq!(ask(Some("")), AuthAnswer::Ignore);
    assert_eq!(ask(None), AuthAnswer::Deny);
    let good = token(SECRET, &json!({"sub": "a"}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        format!("{head}."),
        format!("{head}.{}", &signature[..20]),
        format!("{head}.{}", encoded([0; 32])),
        format!("{head}.{signature}AA"),
        head.to_string(),
        format!("{}.", unsigned("none", &json!({}))),
        format!("{}.{signature}", unsigned("none", &json!({}))),
        format!("{}.", unsigned("None", &json!({}))),
        format!("{}.{signature}", unsigned("hs256", &json!({}))),
        format!("{}.{signature}", unsigned("HS1", &json!({}))),
        format!("{}.{signature}", unsigned("HS256", &json!({"sub": "b"}))),
    ] {
        assert_eq!(ask(Some(&bad)), AuthAnswer::Deny, "{bad}");
    }
    // Signed all right, but no claims.
    let mut array = encoded(r#"{"alg":"HS256"}"#) + "." + &encoded("[]");
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, array.as_bytes());
    array += &format!(".{}", encoded(tag));
    assert_eq!(ask(Some(&array)), AuthAnswer::Deny);
    assert_eq!(broker.metric("auth/ignored"), Some(2));
    assert_eq!(broker.metric("auth/allowed"), Some(1));
}

#[test]
fn times() {
    let broker = start(&[]);
    let late = start(&[("auth.jwt.leeway", "60s")]);
    let now = now();
    for (claims, strict, lenient) in [
        (json!({"exp": now + 100}), true, true),
        (json!({"exp": now as f64 + 100.5}), true, true),
        (json!({"exp": now - 1}), false, true),
        (json!({"exp": now - 100}), false, false),
        (json!({"exp": 0}), false, false),
        (json!({"exp": -1e300}), false, false),
        (json!({"exp": 1e300}), true, true),
        (json!({"exp": "tomorrow"}), false, false),
        (json!({"exp": null}), false, false),
        (json!({"nbf": now - 1}), true, true),
        (json!({"nbf": now + 30}), false, true),
        (json!({"nbf": now + 100}), false, false),
        (json!({"nbf": "now"}), false, false),
        (json!({"iat": now + 100}), true, true),
    ] {
        let answer = |yes| if yes { YES } else { AuthAnswer::Deny };
        assert_eq!(ask(&broker, claims.clone()), answer(strict), "{claims}");
        assert_eq!(ask(&late, claims.clone()), answer(lenient), "{claims}");
    }
}

#[test]
fn claims_that_must_be() {
    let broker = start(&[
        ("auth.jwt.verify_claims.sub", "%u"),
        ("auth.jwt.verify_claims.dev", "id-%c"),
        ("auth.jwt.verify_claims.n", "7"),
        (r"auth.jwt.verify_claims.a\.b", "true"),
        ("auth.jwt.issuer", "me"),
        ("auth.jwt.audience", "mqtt"),
        ("auth.jwt.superuser_claim", "root"),
    ]);
    let good = json!({
        "sub": "alice", "dev": "id-c1", "n": 7, "a.b": true, "iss": "me", "aud": ["x", "mqtt"]
    });
    assert_eq!(ask(&broker, good.clone()), YES);
    for (name, value) in [
        ("sub", json!("bob")),
        ("sub", json!("%u")),
        ("sub", json!(["alice"])),
        ("dev", json!("id-c2")),
        ("n", json!(8)),
        ("n", json!(null)),
        ("a.b", json!(false)),
        ("iss", json!("you")),
        ("iss", json!(["me"])),
        ("aud", json!("mqt")),
        ("aud", json!(["x"])),
        ("aud", json!(7)),
    ] {
        let mut claims = good.clone();
        claims[name] = value.clone();
        assert_eq!(ask(&broker, claims), AuthAnswer::Deny, "{name} {value}");
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(ask(&broker, claims), AuthAnswer::Deny, "without {name}");
    }
    for (value, superuser) in [
        (json!(true), true),
        (json!("true"), false),
        (json!(1), false),
    ] {
        let mut claims = good.clone();
        claims["root"] = value;
        claims["aud"] = json!("mqtt");
        assert_eq!(ask(&broker, claims), AuthAnswer::Allow { superuser });
    }
    // Who has no user name has none to compare.
    let answer = broker.auth(&client("c1"), Some(token(SECRET, &good).as_bytes()));
    assert_eq!(answer, AuthAnswer::Deny);
}

#[test]
fn tokens_as_user_names() {
    let broker = start(&[("auth.jwt.from", "username")]);
    let mut client = client("c");
    assert_eq!(broker.auth(&client, Some(b"p")), AuthAnswer::Deny);
    client.username = Some("alice".into());
    assert_eq!(broker.auth(&client, Some(b"p")), AuthAnswer::Ignore);
    client.username = Some(token(SECRET, &json!({})).into());
    assert_eq!(broker.auth(&client, None), YES);
}

/// Comes in with an ACL in the token.
fn enter(broker: &FakeBroker, client: &Client, acl: Value) -> AuthAnswer {
    let token = token(SECRET, &json!({"acl": acl, "exp": now() + 3600}));
    let answer = broker.auth(client, Some(token.as_bytes()));
    let code = if answer == YES { 0 } else { 4 };
    broker.client_connected(client, code);
    answer
}

#[test]
fn what_tokens_grant() {
    use Access::{Publish, Subscribe};
    let broker = start(&[("auth.jwt.acl_claim", "acl")]);
    let alice = alice();
    let acl = json!({"pub": ["up/%c"], "sub": ["down/%u/#"], "all": ["both/+", "#"]});
    assert_eq!(enter(&broker, &alice, acl), YES);
    let whole = json!({"pub": ["up/%c"], "sub": ["down/%u/#"], "all": ["both/+"]});
    assert_eq!(enter(&broker, &alice, whole), YES);
    broker.client_disconnected(&alice, "conflict", None);
    let may = |access, topic: &str| broker.acl(&alice, access, topic);
    for (access, topic, wanted) in [
        (Publish, "up/c1", AclAnswer::Allow),
        (Publish, "up/c2", AclAnswer::Deny),
        (Subscribe, "up/c1", AclAnswer::Deny),
        (Subscribe, "down/alice/x", AclAnswer::Allow),
        (Subscribe, "down/alice/#", AclAnswer::Allow),
        (Subscribe, "down/+/x", AclAnswer::Deny),
        (Publish, "down/alice/x", AclAnswer::Deny),
        (Publish, "both/x", AclAnswer::Allow),
        (Subscribe, "both/+", AclAnswer::Allow),
        (Subscribe, "#", AclAnswer::Deny),
        (Publish, "x", AclAnswer::Deny),
    ] {
        assert_eq!(may(access, topic), wanted, "{access:?} {topic}");
    }
    // Names that are more than names grant nothing.
    let mut wild = client("+");
    wild.username = Some("#".into());
    wild.peername.set_port(9);
    assert_eq!(enter(&broker, &wild, json!({"all": ["up/%c", "%u"]})), YES);
    for topic in ["up/+", "up/x", "#"] {
        assert_eq!(
            broker.acl(&wild, Subscribe, topic),
            AclAnswer::Deny,
            "{topic}"
        );
    }
    for (acl, wanted) in [
        (json!({}), AclAnswer::Deny),
        (json!({"sub": []}), AclAnswer::Deny),
    ] {
        assert_eq!(enter(&broker, &alice, acl), YES);
        broker.client_disconnected(&alice, "conflict", None);
        assert_eq!(may(Publish, "up/c1"), wanted);
    }
    // Broken ones let nobody in.
    for acl in [
        json!([]),
        json!("#"),
        json!(null),
        json!({"pub": "#"}),
        json!({"pub": [1]}),
        json!({"pub": ["a/#/b"]}),
        json!({"pub": [""]}),
        json!({"publish": ["a"]}),
        json!({"write": []}),
        json!({"pub": vec!["a"; 1001]}),
    ] {
        assert_eq!(
            enter(&broker, &alice, acl.clone()),
            AuthAnswer::Deny,
            "{acl}"
        );
    }
    // A token that says nothing, and a client without one.
    let silent = token(SECRET, &json!({}));
    let mut other = client("c2");
    other.peername.set_port(7);
    assert_eq!(broker.auth(&other, Some(silent.as_bytes())), YES);
    broker.client_connected(&other, 0);
    assert_eq!(broker.acl(&other, Publish, "x"), AclAnswer::Ignore);
    assert_eq!(broker.acl(&client("c3"), Publish, "x"), AclAnswer::Ignore);
}

#[test]
fn one_connection_displaces_another() {
    use Access::Publish;
    let broker = start(&[("auth.jwt.acl_claim", "acl")]);
    let (old, mut new) = (alice(), alice());
    new.peername.set_port(2);
    assert_eq!(enter(&broker, &old, json!({"pub": ["old"]})), YES);
    assert_eq!(enter(&broker, &new, json!({"pub": ["new"]})), YES);
    // Until it is gone, the old one has its own.
    assert_eq!(broker.acl(&old, Publish, "old"), AclAnswer::Allow);
    assert_eq!(broker.acl(&old, Publish, "new"), AclAnswer::Deny);
    broker.client_disconnected(&old, "conflict", None);
    assert_eq!(broker.acl(&new, Publish, "new"), AclAnswer::Allow);
    assert_eq!(broker.acl(&new, Publish, "old"), AclAnswer::Deny);
    assert_eq!(broker.acl(&old, Publish, "old"), AclAnswer::Ignore);
    // One that is refused after all changes nothing.
    let token = token(SECRET, &json!({"acl": {"all": ["more"]}}));
    assert_eq!(broker.auth(&new, Some(token.as_bytes())), YES);
    assert_eq!(broker.acl(&new, Publish, "more"), AclAnswer::Deny);
    broker.client_connected(&new, 5);
    assert_eq!(broker.acl(&new, Publish, "new"), AclAnswer::Allow);
    broker.client_disconnected(&new, "closed", None);
    assert_eq!(broker.acl(&new, Publish, "new"), AclAnswer::Ignore);
}

#[test]
fn connections_end_with_their_token() {
    let broker = start(&[("auth.jwt.disconnect_after_expiry", "on")]);
    let enter = |id: &str, port, exp: u64| {
        let mut client = client(id);
        client.peername.set_port(port);
        let token = token(SECRET, &json!({"exp": exp}));
        assert_eq!(broker.auth(&client, Some(token.as_bytes())), YES);
        broker.client_connected(&client, 0);
        client
    };
    let soon = now() + 2;
    enter("ends", 1, soon);
    enter("stays", 2, soon + 3600);
    let gone = enter("gone", 3, soon);
    broker.client_disconnected(&gone, "closed", None);
    enter("displaced", 4, soon);
    enter("displaced", 5, soon + 3600);
    assert_eq!(broker.kicked(), [""; 0]);
    let kicked = broker.eventually(|| Some(broker.kicked()).filter(|all| !all.is_empty()));
    assert_eq!(kicked, ["ends"]);
    assert!(now() >= soon);
    enter("later", 6, now() + 1);
    let kicked = broker.eventually(|| Some(broker.kicked()).filter(|all| !all.is_empty()));
    assert_eq!(kicked, ["later"]);
}

#[test]
fn keys_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (key, value, what) in [
        ("auth.jwt.secret", " ".into(), "there is no key"),
        ("auth.jwt.pubkey", "nowhere.pem".into(), "nowhere.pem"),
        (
            "auth.jwt.pubkey",
            file("a", "hello"),
            "neither a public key",
        ),
        ("auth.jwt.pubkey", file("b", &private), "private key"),
        ("auth.jwt.jwks", "nowhere.json".into(), "nowhere.json"),
        ("auth.jwt.jwks", file("c", "{}"), "no list"),
        ("auth.jwt.jwks", "ftp://h/".into(), "no URL"),
    ] {
        let broker = FakeBroker::new();
        let started = broker.start(&plugin(), Config::of(&[(key, &value)]));
        let StartError(why) = started.unwrap_err();
        assert!(why.contains(what), "{key} = {value}: {why}");
    }
}
