//! Who may come in and what they may do: the chains, their order, their memory.

use crate::net::{Client, Net};
use crate::packets::*;

use emqttd_config::{AclDenyAction, AllowAnonymous, Settings};
use emqttd_mqtt::Version;
use emqttd_plugin_sdk::{
    self as sdk, Access, AclAnswer, AclProvider, AuthAnswer, AuthProvider, DynAcl, DynAuth,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type AuthRule = Box<dyn Fn(&sdk::Client, Option<&[u8]>) -> AuthAnswer + Send + Sync>;
type AclRule = Box<dyn Fn(&sdk::Client, Access, &str) -> AclAnswer + Send + Sync>;

struct Auth {
    name: &'static str,
    rule: AuthRule,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl AuthProvider for Auth {
    async fn check(&self, request: &sdk::Client, password: Option<&[u8]>) -> AuthAnswer {
        self.asked.lock().unwrap().push(self.name);
        (self.rule)(request, password)
    }
}

struct Acl {
    rule: AclRule,
    asked: Arc<AtomicUsize>,
}

impl AclProvider for Acl {
    async fn check(&self, request: &sdk::Client, access: Access, topic: &str) -> AclAnswer {
        self.asked.fetch_add(1, Ordering::Relaxed);
        (self.rule)(request, access, topic)
    }
}

const ALLOW: AuthAnswer = AuthAnswer::Allow { superuser: false };

fn add_auth(
    net: &Net,
    sequence: i32,
    name: &'static str,
    asked: &Arc<Mutex<Vec<&'static str>>>,
    rule: AuthRule,
) {
    let provider: Arc<dyn DynAuth> = Arc::new(Auth {
        name,
        rule,
        asked: Arc::clone(asked),
    });
    net.broker.access().add_auth(sequence, name, &provider);
}

fn add_acl(net: &Net, sequence: i32, name: &'static str, rule: AclRule) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let provider: Arc<dyn DynAcl> = Arc::new(Acl {
        rule,
        asked: Arc::clone(&asked),
    });
    net.broker.access().add_acl(sequence, name, &provider);
    asked
}

/// CONNACK code of a CONNECT.
fn code(net: &mut Net, connect: &Connect) -> u8 {
    let client = net.open(0);
    let got = net.connect_on(client, connect);
    let [Got::ConnAck { code, .. }, ..] = got[..] else {
        panic!("{got:?}")
    };
    if code != 0 {
        assert_eq!(net.closed(client), Some("auth_failure"));
        assert_eq!(
            net.stat("sessions/count"),
            0,
            "no session for whom is refused"
        );
    } else {
        net.lose(client);
    }
    code
}

/// A file of access rules that lives as long as this.
pub struct AclFile(PathBuf);

impl AclFile {
    pub fn new(name: &str, text: &str) -> AclFile {
        let path = std::env::temp_dir().join(format!("emqttd-{name}-{}.conf", std::process::id()));
        std::fs::write(&path, text).unwrap();
        AclFile(path)
    }
    pub fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
    pub fn net(&self, shards: usize, change: impl FnOnce(&mut Settings)) -> Net {
        Net::with(shards, |s| {
            s.mqtt.acl_file = Some(self.0.clone());
            change(s);
        })
    }
}

impl Drop for AclFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn modules_are_asked_by_sequence_number_the_latest_first_among_equals() {
    let mut net = Net::with(1, |s| s.mqtt.allow_anonymous = AllowAnonymous::False);
    let asked = Arc::default();
    for (sequence, name) in [(0, "zero a"), (9, "nine"), (-3, "minus"), (0, "zero b")] {
        add_auth(
            &net,
            sequence,
            name,
            &asked,
            Box::new(|_, _| AuthAnswer::Ignore),
        );
    }
    assert_eq!(code(&mut net, &Connect::v3("c")), 4);
    assert_eq!(
        *asked.lock().unwrap(),
        ["nine", "zero b", "zero a", "minus"]
    );
    let steps = net.broker.auth_test("c", None, None, [127, 0, 0, 1].into());
    let steps: Vec<(&str, &str)> = steps
        .iter()
        .map(|s| (s.module.as_str(), s.answer.as_str()))
        .collect();
    let ignored = ["nine", "zero b", "zero a", "minus"].map(|name| (name, "ignore"));
    assert_eq!(steps[..4], ignored);
    assert_eq!(steps[4], ("mqtt.allow_anonymous", "deny"));
}

#[test]
fn the_first_who_decides_ends_the_chain_and_unavailable_is_a_refusal() {
    for (answer, v3, v5, text) in [
        (ALLOW, 0, 0, "allow"),
        (
            AuthAnswer::Allow { superuser: true },
            0,
            0,
            "allow (superuser)",
        ),
        (AuthAnswer::Deny, 4, 0x86, "deny"),
        (AuthAnswer::Unavailable, 3, 0x88, "unavailable"),
    ] {
        // Anonymous clients would be let in, and a later module says yes.
        let mut net = Net::new(1);
        let asked = Arc::default();
        add_auth(&net, 1, "decides", &asked, Box::new(move |_, _| answer));
        add_auth(&net, 0, "late", &asked, Box::new(|_, _| ALLOW));
        assert_eq!(code(&mut net, &Connect::v3("a")), v3);
        assert_eq!(code(&mut net, &Connect::v5("b")), v5);
        assert_eq!(*asked.lock().unwrap(), ["decides", "decides"]);
        let steps = net.broker.auth_test("a", None, None, [127, 0, 0, 1].into());
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].answer, text);
    }
}

#[test]
fn modules_see_client_id_user_name_password_and_address() {
    let mut net = Net::with(1, |s| s.mqtt.allow_anonymous = AllowAnonymous::False);
    let asked = Arc::default();
    let rule: AuthRule = Box::new(|request, password| {
        assert_eq!(
            request.peername.ip(),
            std::net::IpAddr::from([127, 0, 0, 1])
        );
        let fits = &*request.clientid == "c"
            && request.username.as_deref() == Some("u")
            && password == Some(b"p");
        if fits { ALLOW } else { AuthAnswer::Deny }
    });
    add_auth(&net, 0, "m", &asked, rule);
    assert_eq!(code(&mut net, &Connect::v3("c").user("u", "p")), 0);
    assert_eq!(code(&mut net, &Connect::v3("c").user("u", "q")), 4);
    assert_eq!(code(&mut net, &Connect::v3("d").user("u", "p")), 4);
    assert_eq!(code(&mut net, &Connect::v3("c")), 4);
}

#[test]
fn when_nobody_decides_allow_anonymous_does() {
    for (allow, want) in [
        (AllowAnonymous::True, 0),
        (AllowAnonymous::False, 4),
        (AllowAnonymous::Local, 0),
    ] {
        let mut net = Net::with(1, |s| s.mqtt.allow_anonymous = allow);
        assert_eq!(code(&mut net, &Connect::v3("c")), want, "{allow:?}");
        let far = net.broker.auth_test("c", None, None, [192, 0, 2, 1].into());
        assert_eq!(
            far[0].answer == "allow",
            allow == AllowAnonymous::True,
            "{allow:?}"
        );
    }
}

/// Publishes at QoS 1 and says whether it was allowed.
fn may_publish(net: &mut Net, client: Client, topic: &str) -> bool {
    match net.publish(client, topic, "x", 1) {
        Some(0x87) => false,
        Some(0 | 0x10) => true,
        other => panic!("{other:?}"),
    }
}

#[test]
fn acl_modules_then_the_file_then_nomatch_and_unavailable_denies() {
    let file = AclFile::new(
        "chain",
        "{deny, all, pubsub, [\"file/denied\", \"module/allowed\"]}.\n",
    );
    for nomatch in [true, false] {
        let mut net = file.net(1, |s| s.mqtt.acl_nomatch_allow = nomatch);
        let rule = |_: &sdk::Client, _: Access, topic: &str| match topic {
            "module/allowed" => AclAnswer::Allow,
            "module/denied" => AclAnswer::Deny,
            "down" => AclAnswer::Unavailable,
            _ => AclAnswer::Ignore,
        };
        add_acl(&net, 1, "first", Box::new(rule));
        add_acl(
            &net,
            0,
            "second",
            Box::new(|_, _, t| {
                if t == "down" {
                    AclAnswer::Allow
                } else {
                    AclAnswer::Ignore
                }
            }),
        );
        let client = net.connect(&Connect::v5("c"));
        for (topic, allowed, steps) in [
            ("module/allowed", true, &["first"][..]),
            ("module/denied", false, &["first"]),
            ("down", false, &["first"]),
            ("file/denied", false, &["first", "second", "acl_internal"]),
            (
                "else",
                nomatch,
                &["first", "second", "acl_internal", "mqtt.acl_nomatch"],
            ),
        ] {
            assert_eq!(
                may_publish(&mut net, client, topic),
                allowed,
                "publish {topic}"
            );
            let granted = net.subscribe(client, topic, 1);
            assert_eq!(granted == 1, allowed, "subscribe {topic}: {granted}");
            let walk = net
                .broker
                .acl_test("c", None, [127, 0, 0, 1].into(), true, topic);
            assert_eq!(
                walk.iter().map(|s| s.module.as_str()).collect::<Vec<_>>(),
                steps
            );
        }
    }
}

#[test]
fn a_superuser_passes_every_acl() {
    let mut net = Net::new(1);
    let asked = Arc::default();
    add_auth(
        &net,
        0,
        "m",
        &asked,
        Box::new(|r, _| AuthAnswer::Allow {
            superuser: r.username.as_deref() == Some("root"),
        }),
    );
    let consulted = add_acl(&net, 0, "deny", Box::new(|_, _, _| AclAnswer::Deny));
    let root = net.connect(&Connect::v5("root").user("root", ""));
    assert!(may_publish(&mut net, root, "t"));
    assert_eq!(net.subscribe(root, "#", 2), 2);
    assert_eq!(consulted.load(Ordering::Relaxed), 0);
    let other = net.connect(&Connect::v5("other").user("other", ""));
    assert!(!may_publish(&mut net, other, "t"));
    assert_eq!(net.subscribe(other, "#", 2), 0x87);
}

#[test]
fn publish_decisions_are_remembered_within_bounds_and_subscribe_decisions_are_not() {
    let mut net = Net::with(1, |s| s.mqtt.acl_cache_max_size = 4);
    let asked = add_acl(&net, 0, "m", Box::new(|_, _, _| AclAnswer::Allow));
    let count = || asked.swap(0, Ordering::Relaxed);
    let client = net.connect(&Connect::v5("c"));
    for _ in 0..3 {
        for topic in ["a", "b", "c", "d"] {
            may_publish(&mut net, client, topic);
        }
    }
    assert_eq!(count(), 4, "four fit");
    for _ in 0..3 {
        for topic in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            may_publish(&mut net, client, topic);
        }
    }
    assert!(count() > 9, "nine do not");
    for _ in 0..3 {
        net.subscribe(client, "s", 0);
    }
    assert_eq!(count(), 3);
    // Another connection has a memory of its own.
    let other = net.connect(&Connect::v5("d"));
    may_publish(&mut net, other, "a");
    assert_eq!(count(), 1);

    let mut net = Net::with(1, |s| s.mqtt.cache_acl = false);
    let asked = add_acl(&net, 0, "m", Box::new(|_, _, _| AclAnswer::Allow));
    let client = net.connect(&Connect::v5("c"));
    for _ in 0..3 {
        may_publish(&mut net, client, "a");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3, "mqtt.cache_acl = false");
}

#[test]
fn a_change_of_the_chain_makes_what_was_remembered_void() {
    let mut net = Net::new(2);
    let client = net.connect(&Connect::v5("c"));
    for topic in ["a", "b"] {
        assert!(may_publish(&mut net, client, topic));
    }
    assert!(
        may_publish(&mut net, client, "b"),
        "the topic published last has a memory of its own"
    );
    add_acl(&net, 0, "m", Box::new(|_, _, _| AclAnswer::Deny));
    for topic in ["b", "a", "b"] {
        assert!(!may_publish(&mut net, client, topic));
    }
    // Other settings, another answer of nomatch.
    let mut net = Net::new(2);
    let client = net.connect(&Connect::v5("c"));
    assert!(may_publish(&mut net, client, "a"));
    let mut settings = (*net.broker.settings()).clone();
    settings.mqtt.acl_nomatch_allow = false;
    net.admin(move |broker| broker.reconfigure(settings));
    assert!(!may_publish(&mut net, client, "a"));
}

#[test]
fn reloading_the_file_ends_what_it_no_longer_allows() {
    let file = AclFile::new("reload", "{allow, all}.\n");
    let mut net = file.net(2, |_| {});
    let names = [net.name_on(0, "c"), net.name_on(1, "c")];
    let clients = names
        .clone()
        .map(|name| net.connect(&Connect::v5(&name).keep().expiry(600)));
    for client in clients {
        for filter in ["a/1", "b/1", "$share/g/a/2"] {
            assert_eq!(net.subscribe(client, filter, 1), 1);
        }
        assert!(may_publish(&mut net, client, "a/1"));
        net.take(client);
    }
    for name in names.clone() {
        net.admin(move |broker| broker.subscribe(&name, "a/admin", 0))
            .unwrap();
    }
    let away = net.connect(&Connect::v5("away").keep().expiry(600));
    net.subscribe(away, "a/1", 1);
    net.lose(away);

    file.write("{deny, all, pubsub, [\"a/#\"]}.\n");
    net.admin(|broker| broker.acl_reload()).unwrap();
    for name in names.clone() {
        let mut left = net
            .admin(move |broker| broker.subscriptions_of(&name))
            .unwrap();
        left.sort_by(|a, b| a.topic.cmp(&b.topic));
        let left: Vec<String> = left.into_iter().map(|s| s.topic).collect();
        assert_eq!(
            left,
            ["a/admin", "b/1"],
            "what management subscribed is not asked about"
        );
    }
    for client in clients {
        assert!(!may_publish(&mut net, client, "a/1"));
        assert!(may_publish(&mut net, client, "b/1"));
    }
    // The one who was away is looked at when it returns.
    assert_eq!(
        net.admin(|broker| broker.subscriptions_of("away"))
            .unwrap()
            .len(),
        1
    );
    let (_, present, _) = net.resume(&Connect::v5("away").keep().expiry(600));
    assert!(present);
    assert_eq!(
        net.admin(|broker| broker.subscriptions_of("away"))
            .unwrap()
            .len(),
        0
    );

    // A file that cannot be used changes nothing.
    file.write("{allow, all}.\n{oops");
    let error = net.admin(|broker| broker.acl_reload()).unwrap_err();
    assert!(error.contains(":2:"), "{error}");
    assert!(!may_publish(&mut net, clients[0], "a/1"));
    assert!(may_publish(&mut net, clients[0], "b/1"));
}

#[test]
fn one_denied_filter_refuses_all_of_a_3x_subscribe_and_only_itself_in_5() {
    let file = AclFile::new("filters", "{deny, all, subscribe, [\"no\"]}.\n");
    let mut net = file.net(1, |_| {});
    for (connect, want) in [
        (Connect::v3("a"), vec![0x80, 0x80]),
        (Connect::v5("b"), vec![1, 0x87]),
    ] {
        let client = net.connect(&connect);
        net.take(client);
        net.send(
            client,
            &subscribe(connect.version, 1, &[("yes", 1), ("no", 1)]),
        );
        assert_eq!(net.take(client), [Got::SubAck(1, want)]);
    }
}

#[test]
fn a_denied_publish_is_ignored_or_ends_the_connection_as_configured() {
    let file = AclFile::new("deny", "{deny, all, publish, [\"no\"]}.\n");
    for action in [AclDenyAction::Ignore, AclDenyAction::Disconnect] {
        let mut net = file.net(1, |s| s.mqtt.acl_deny_action = action);
        let sub = net.connect(&Connect::v3("sub"));
        net.subscribe(sub, "no", 2);
        for connect in [Connect::v3("a"), Connect::v5("b")] {
            for qos in 0..=2 {
                let v5 = connect.version == Version::V5;
                let client = net.connect(&connect);
                net.take(client);
                let id = net.put_publish(client, "no", "x", qos, true);
                net.run();
                let got = net.take(client);
                let want = match (action, v5, qos) {
                    (AclDenyAction::Disconnect, true, _) => vec![Got::Disconnect(0x87)],
                    (AclDenyAction::Disconnect, false, _) | (_, false, _) | (_, _, 0) => vec![],
                    (_, _, 1) => vec![Got::PubAck(id, 0x87)],
                    _ => vec![Got::PubRec(id, 0x87)],
                };
                assert_eq!(
                    got, want,
                    "{action:?}, version {:?}, QoS {qos}",
                    connect.version
                );
                let ended = action == AclDenyAction::Disconnect;
                assert_eq!(net.closed(client), ended.then_some("acl_denied"));
            }
        }
        assert_eq!(net.messages(sub), []);
        assert_eq!(net.stat("retained/count"), 0);
        assert_eq!(net.metric("messages/dropped/acl_denied"), 6);
    }
}

#[test]
fn a_listener_with_a_mountpoint_asks_with_the_names_of_the_client() {
    let file = AclFile::new(
        "mount",
        "{deny, all, pubsub, [\"no\"]}.\n{deny, all, pubsub, [\"mp/yes\"]}.\n",
    );
    let mut net = file.net(1, |s| s.listeners[0].mountpoint = Some("mp/".into()));
    let client = net.connect(&Connect::v5("c"));
    assert_eq!(net.subscribe(client, "yes", 1), 1);
    assert_eq!(net.subscribe(client, "no", 1), 0x87);
    assert!(may_publish(&mut net, client, "yes"));
    assert!(!may_publish(&mut net, client, "no"));
    let topics: Vec<String> = net.messages(client).into_iter().map(|m| m.topic).collect();
    assert_eq!(
        topics,
        ["yes"],
        "the mountpoint is taken off deliveries (sheet 7.9)"
    );
}
