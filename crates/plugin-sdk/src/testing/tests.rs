#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    Access, AclAnswer, AclProvider, AuthAnswer, AuthProvider, Change, Flow, HookPoint, Key,
    KeyKind, PeerInfo, PipeEvents, Reply, Verdict,
};

/// Answers for those whose client identifier begins with its word.
struct Door(&'static str, AuthAnswer);

impl AuthProvider for Door {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        tokio::task::yield_now().await;
        match client.clientid.starts_with(self.0) && password == Some(b"pw") {
            true => self.1,
            false => AuthAnswer::Ignore,
        }
    }
}

struct ReadOnly;

impl AclProvider for ReadOnly {
    async fn check(&self, _: &Client, access: Access, _: &str) -> AclAnswer {
        match access {
            Access::Publish => AclAnswer::Deny,
            Access::Subscribe => AclAnswer::Ignore,
        }
    }
}

/// Appends its letter to topics.
struct Letter(&'static str);

impl Hooks for Letter {
    fn points(&self) -> u32 {
        HookPoint::MessagePublish as u32 | HookPoint::ClientSubscribe as u32
    }

    fn client_subscribe(&self, _: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        table.retain(|entry| entry.topic != "no");
        if table.is_empty() {
            Flow::Stop
        } else {
            Flow::Next
        }
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        if message.payload == b"drop" {
            return Verdict::Drop;
        }
        Verdict::Change(Change {
            topic: Some(format!("{}{}", message.topic, self.0)),
            ..Change::default()
        })
    }
}

struct Demo;

impl Plugin for Demo {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        match ctx.config().integer("demo.n") {
            Some(13) | None => Err("not that number".into()),
            Some(_) => Ok(()),
        }
    }

    fn stop(&self) {}
}

fn demo() -> Descriptor {
    Descriptor::new("demo", "1", "Demo", |ctx| {
        const ALLOW: AuthAnswer = AuthAnswer::Allow { superuser: false };
        ctx.auth(0, Door("a", AuthAnswer::Deny));
        ctx.auth(0, Door("a", ALLOW));
        ctx.auth(9, Door("ab", AuthAnswer::Unavailable));
        ctx.acl(0, ReadOnly);
        ctx.hooks(1, Letter("2"));
        ctx.hooks(0, Letter("1"));
        let table = ctx.table("t");
        ctx.command("demo", &[("demo put", "puts")], move |call| {
            match call.args {
                ["put", key] => match table.put(key.as_bytes(), b"") {
                    Ok(()) => Reply::Text("ok".into()),
                    Err(error) => Reply::Failed(error.0),
                },
                _ => Reply::Usage,
            }
        });
        let other = ctx.clone();
        ctx.spawn(async move { other.publish(Publish::new("late", "1")) });
        if ctx.config().integer("demo.n") == Some(13) {
            return Err("13 is bad luck".into());
        }
        Ok(Box::new(Demo))
    })
    .keys([
        Key::new("demo.n", KeyKind::Integer, "a number")
            .default("1")
            .hot(),
        Key::new("demo.$id.on", KeyKind::Switch, "whatever"),
    ])
}

fn started() -> FakeBroker {
    let broker = FakeBroker::new();
    broker.start(&demo(), Config::default()).unwrap();
    broker
}

#[test]
fn chains_are_asked_in_the_order_of_emq() {
    let broker = started();
    let pw: Option<&[u8]> = Some(b"pw");
    assert_eq!(
        broker.auth(&client("abc"), pw),
        AuthAnswer::Unavailable,
        "the highest sequence first"
    );
    assert_eq!(
        broker.auth(&client("acd"), pw),
        AuthAnswer::Allow { superuser: false },
        "of equal ones the latest"
    );
    assert_eq!(broker.auth(&client("acd"), None), AuthAnswer::Ignore);
    let c = client("c");
    assert_eq!(broker.acl(&c, Access::Publish, "t"), AclAnswer::Deny);
    assert_eq!(broker.acl(&c, Access::Subscribe, "t"), AclAnswer::Ignore);
}

#[test]
fn hooks_run_by_priority_and_hand_on_what_they_change() {
    let broker = started();
    let passed = broker.message_publish(&message("t", b"x")).unwrap();
    assert_eq!(passed.topic, "t12");
    assert_eq!(broker.message_publish(&message("t", b"drop")), None);
    let c = by_name("c", None);
    let table = vec![entry("no", QoS::AtMostOnce), entry("yes", QoS::AtLeastOnce)];
    let left = broker.client_subscribe(c, table).unwrap();
    assert_eq!(left, [entry("yes", QoS::AtLeastOnce)]);
    let table = vec![entry("no", QoS::AtMostOnce)];
    assert_eq!(broker.client_subscribe(c, table), None);
}

#[test]
fn commands_and_tables() {
    let broker = started();
    let ok = Some(Reply::Text("ok".into()));
    assert_eq!(broker.command(&["demo", "put", "k"]), ok);
    assert_eq!(broker.rows("t"), [(b"k".to_vec(), Vec::new())]);
    assert_eq!(broker.command(&["demo"]), Some(Reply::Usage));
    assert_eq!(broker.command(&["other"]), None);
    broker.store_fails(Some("disk full"));
    assert_eq!(
        broker.command(&["demo", "put", "k"]),
        Some(Reply::Failed("disk full".into()))
    );
}

#[test]
fn what_comes_later_is_awaited() {
    let broker = started();
    let late = broker.eventually(|| broker.published().pop());
    assert_eq!(late, Publish::new("late", "1"));
}

#[test]
fn keys_have_defaults_and_can_be_changed() {
    let broker = started();
    assert_eq!(broker.set("demo.n", "7"), Ok(()));
    assert!(broker.set("demo.n", "x").is_err());
    assert_eq!(broker.set("demo.n", "13"), Err("not that number".into()));
    assert!(broker.set("demo.1.on", "on").is_err(), "it is not hot");
    assert_eq!(broker.fake.state().config.text("demo.n"), Some("7"));
    let error = broker
        .start(&demo(), Config::of(&[("demo.n", "13")]))
        .unwrap_err();
    assert_eq!(error.0, "13 is bad luck");
    for (key, value) in [("demo.m", "1"), ("demo.1.on", "perhaps"), ("demo.n", "?")] {
        let refused = broker.start(&demo(), Config::of(&[(key, value)]));
        assert!(refused.is_err(), "{key}");
    }
    assert_eq!(broker.plugin(), None);
    assert_eq!(
        broker.command(&["demo"]),
        None,
        "gone when the start failed"
    );
}

#[test]
fn nothing_stays_after_the_end_but_tables() {
    let broker = started();
    broker.command(&["demo", "put", "k"]);
    broker.stop();
    assert_eq!(broker.command(&["demo"]), None);
    assert_eq!(broker.auth(&client("a"), Some(b"pw")), AuthAnswer::Ignore);
    assert_eq!(broker.rows("t").len(), 1);
}

struct Echo(Arc<Mutex<Vec<String>>>);

impl PipeEvents for Echo {
    fn output(&mut self, bytes: &[u8]) -> usize {
        self.0.lock().unwrap().push(format!("{bytes:?}"));
        bytes.len()
    }

    fn room(&mut self) {
        self.0.lock().unwrap().push("room".into());
    }

    fn closed(&mut self, reason: &str) {
        self.0.lock().unwrap().push(reason.into());
    }
}

#[test]
fn a_pipe_has_an_end_in_the_test() {
    let seen = Arc::default();
    let opened = Arc::new(Mutex::new(None));
    let (events, keep) = (Arc::clone(&seen), Arc::clone(&opened));
    let gateway = Descriptor::new("gw", "1", "Gateway", move |ctx| {
        let peer = |protocol: &str| PeerInfo {
            listener: (protocol.into(), "127.0.0.1:1".into()),
            peername: ([127, 0, 0, 1], 9).into(),
            cert_username: None,
            anonymous: true,
        };
        ctx.listener(PluginListener {
            protocol: "gw:udp".into(),
            listen_on: "127.0.0.1:1".into(),
            acceptors: 1,
            max_clients: 1,
            mountpoint: None,
        });
        assert!(ctx.open(peer("other"), Echo(Arc::clone(&events))).is_err());
        let pipe = ctx
            .open(peer("gw:udp"), Echo(Arc::clone(&events)))
            .map_err(|error| error.0)?;
        *keep.lock().unwrap() = Some(pipe);
        Ok(Box::new(()))
    });
    let broker = FakeBroker::new();
    broker.start(&gateway, Config::default()).unwrap();
    let plugin_end = opened.lock().unwrap().take().unwrap();
    let pipe = broker.pipes().remove(0);
    assert_eq!(plugin_end.send(b"abc"), 3);
    pipe.set_room(2);
    assert_eq!(plugin_end.send(b"def"), 2);
    assert_eq!(plugin_end.send(b"f"), 0);
    assert_eq!(pipe.received(), b"abcde");
    pipe.set_room(10);
    assert_eq!(pipe.output(b"x"), 1);
    pipe.end("kick");
    assert_eq!(plugin_end.send(b"late"), 0);
    assert_eq!(*seen.lock().unwrap(), ["room", "[120]", "kick"]);
}
