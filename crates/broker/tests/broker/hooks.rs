//! Hooks: the points, their arguments, their order, and what their answers do.

use crate::access::AclFile;
use crate::net::Net;
use crate::packets::*;
use emqttd_mqtt::Version;
use emqttd_plugin_sdk::{
    Change, Client, ClientRef, Flow, HookPoint, Hooks, Message, Publish, QoS, TopicEntry, Verdict,
};
use std::sync::{Arc, Mutex};

const ALL: u32 = (1 << 12) - 1;

type OnPublish = Box<dyn Fn(&Message<'_>) -> Verdict + Send + Sync>;
type OnTable = Box<dyn Fn(&mut Vec<TopicEntry>) -> Flow + Send + Sync>;

/// Writes down what it is told, and answers as it was made to.
struct Recorder {
    name: &'static str,
    points: u32,
    log: Arc<Mutex<Vec<String>>>,
    on_publish: OnPublish,
    on_subscribe: OnTable,
    on_unsubscribe: OnTable,
}

impl Recorder {
    fn new(name: &'static str, points: u32, log: &Arc<Mutex<Vec<String>>>) -> Recorder {
        Recorder {
            name,
            points,
            log: Arc::clone(log),
            on_publish: Box::new(|_| Verdict::Pass),
            on_subscribe: Box::new(|_| Flow::Next),
            on_unsubscribe: Box::new(|_| Flow::Next),
        }
    }

    fn say(&self, text: String) {
        let name = self.name;
        self.log.lock().unwrap().push(if name.is_empty() {
            text
        } else {
            format!("{name}: {text}")
        });
    }
}

fn who(client: ClientRef<'_>) -> String {
    format!("{}/{}", client.clientid, client.username.unwrap_or("-"))
}

fn what(message: &Message<'_>) -> String {
    let from = message.from.map_or("broker".into(), who);
    let text = String::from_utf8_lossy(message.payload).into_owned();
    format!(
        "{from} {} {text} {}{}",
        message.topic,
        message.qos as u8,
        if message.retain { " retain" } else { "" }
    )
}

fn table(entries: &[TopicEntry]) -> String {
    let rows: Vec<String> = entries.iter().map(entry).collect();
    rows.join(", ")
}

fn entry(entry: &TopicEntry) -> String {
    let share = entry
        .share
        .as_ref()
        .map_or(String::new(), |s| format!(" share {s}"));
    format!(
        "{} {}{share}{}",
        entry.topic,
        entry.qos as u8,
        if entry.local { " local" } else { "" }
    )
}

impl Hooks for Recorder {
    fn points(&self) -> u32 {
        self.points
    }
    fn client_connected(&self, client: &Client, connack: u8) {
        self.say(format!("connected {} {connack}", who(client.by_name())));
    }
    fn client_disconnected(&self, client: &Client, reason: &str, code: Option<u8>) {
        let code = code.map_or(String::new(), |code| format!(" {code:#x}"));
        self.say(format!(
            "disconnected {} {reason}{code}",
            who(client.by_name())
        ));
    }
    fn client_subscribe(&self, client: ClientRef<'_>, entries: &mut Vec<TopicEntry>) -> Flow {
        self.say(format!("subscribe {} {}", who(client), table(entries)));
        (self.on_subscribe)(entries)
    }
    fn client_unsubscribe(&self, client: ClientRef<'_>, entries: &mut Vec<TopicEntry>) -> Flow {
        self.say(format!("unsubscribe {} {}", who(client), table(entries)));
        (self.on_unsubscribe)(entries)
    }
    fn session_created(&self, client: ClientRef<'_>) {
        self.say(format!("created {}", who(client)));
    }
    fn session_subscribed(&self, client: ClientRef<'_>, topic: &TopicEntry) {
        self.say(format!("subscribed {} {}", who(client), entry(topic)));
    }
    fn session_unsubscribed(&self, client: ClientRef<'_>, topic: &TopicEntry) {
        self.say(format!("unsubscribed {} {}", who(client), topic.topic));
    }
    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        self.say(format!("terminated {} {reason}", who(client)));
    }
    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        self.say(format!("publish {}", what(message)));
        (self.on_publish)(message)
    }
    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.say(format!("delivered {} <- {}", who(client), what(message)));
    }
    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.say(format!("acked {} {}", who(client), what(message)));
    }
    fn message_dropped(&self, message: &Message<'_>, reason: &str) {
        self.say(format!("dropped {} {reason}", what(message)));
    }
}

type Log = Arc<Mutex<Vec<String>>>;

fn recorded(shards: usize, change: impl FnOnce(&mut Recorder)) -> (Net, Log) {
    let net = Net::new(shards);
    let log = Log::default();
    let mut recorder = Recorder::new("", ALL, &log);
    change(&mut recorder);
    net.broker.hooks().add(0, Arc::new(recorder));
    (net, log)
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

#[test]
fn a_life_of_a_client_calls_all_points_in_their_order() {
    let (mut net, log) = recorded(1, |_| {});
    let client = net.connect(&Connect::v3("c").user("u", "p"));
    assert_eq!(take(&log), ["created c/u", "connected c/u 0"]);
    net.send(
        client,
        &subscribe(
            Version::V311,
            1,
            &[("a/+", 1), ("$share/g/b", 2), ("$local/l", 0)],
        ),
    );
    assert_eq!(
        net.take(client).last(),
        Some(&Got::SubAck(1, vec![1, 2, 0]))
    );
    assert_eq!(
        take(&log),
        [
            "subscribe c/u a/+ 1, b 2 share g, l 0 local",
            "subscribed c/u a/+ 1",
            "subscribed c/u b 2 share g",
            "subscribed c/u l 0 local",
        ]
    );
    net.publish(client, "a/x", "one", 2);
    net.take(client);
    assert_eq!(
        take(&log),
        [
            "publish c/u a/x one 2",
            "delivered c/u <- c/u a/x one 2",
            "acked c/u c/u a/x one 2"
        ],
        "a QoS 2 message is published by PUBREL, and acknowledged by PUBACK of the QoS 1 subscription"
    );
    net.publish(client, "b", "two", 2);
    net.take(client);
    assert_eq!(
        take(&log),
        [
            "publish c/u b two 2",
            "delivered c/u <- c/u b two 2",
            "acked c/u c/u b two 2"
        ],
        "PUBREC acknowledges, PUBCOMP does not do so again"
    );
    net.publish(client, "nobody", "three", 0);
    assert_eq!(
        take(&log),
        [
            "publish c/u nobody three 0",
            "dropped c/u nobody three 0 no_subscribers"
        ]
    );
    net.unsubscribe(client, "a/+");
    net.unsubscribe(client, "not/there");
    assert_eq!(
        take(&log),
        [
            "unsubscribe c/u a/+ 0",
            "unsubscribed c/u a/+",
            "unsubscribe c/u not/there 0"
        ],
    );
    net.send(client, &disconnect(Version::V311, 0));
    assert_eq!(
        take(&log),
        ["disconnected c/u normal", "terminated c/u normal"]
    );
}

#[test]
fn connections_that_end_are_told_with_their_reason_after_their_wills() {
    let (mut net, log) = recorded(2, |_| {});
    let lost = net.connect(&Connect::v3("lost").keep());
    net.lose(lost);
    net.connect(&Connect::v3("twice"));
    net.connect(&Connect::v3("twice"));
    let away = net.connect(&Connect::v3("away").keep());
    net.lose(away);
    net.connect(&Connect::v3("away"));
    let kicked = net.connect(&Connect::v3("kicked").will("w", "bye", 0, false));
    net.admin(|broker| broker.kick("kicked")).unwrap();
    assert_eq!(net.closed(kicked), Some("kick"));
    net.take(kicked);
    let log = take(&log);
    let of = |name: &str| {
        log.iter()
            .filter(|l| l.contains(name))
            .map(String::as_str)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("lost/-"),
        [
            "created lost/-",
            "connected lost/- 0",
            "disconnected lost/- closed"
        ]
    );
    assert_eq!(
        of("twice/-"),
        [
            "created twice/-",
            "connected twice/- 0",
            "disconnected twice/- conflict",
            "terminated twice/- conflict",
            "created twice/-",
            "connected twice/- 0"
        ]
    );
    assert_eq!(
        of("away/-"),
        [
            "created away/-",
            "connected away/- 0",
            "disconnected away/- closed",
            "terminated away/- conflict",
            "created away/-",
            "connected away/- 0"
        ]
    );
    assert_eq!(
        of("kicked/-"),
        [
            "created kicked/-",
            "connected kicked/- 0",
            "publish kicked/- w bye 0",
            "dropped kicked/- w bye 0 no_subscribers",
            "disconnected kicked/- kick",
            "terminated kicked/- normal"
        ]
    );
}

#[test]
fn a_refused_connect_is_told_with_its_code() {
    let mut net = Net::with(1, |s| {
        s.mqtt.allow_anonymous = emqttd_config::AllowAnonymous::False
    });
    let log = Log::default();
    net.broker
        .hooks()
        .add(0, Arc::new(Recorder::new("", ALL, &log)));
    let client = net.open(0);
    net.connect_on(client, &Connect::v5("no").user("u", "p"));
    assert_eq!(
        take(&log),
        ["connected no/u 4", "disconnected no/u auth_failure"]
    );
    let client = net.open(0);
    net.connect_on(client, &Connect::v3(&"x".repeat(2000)));
    let log = take(&log);
    assert_eq!(log.len(), 1);
    assert!(log[0].ends_with("/- 2"), "{log:?}");
}

#[test]
fn callbacks_run_by_priority_and_then_in_the_order_of_registering() {
    let mut net = Net::new(1);
    let log = Log::default();
    let point = HookPoint::SessionCreated as u32;
    let middle: Arc<dyn Hooks> = Arc::new(Recorder::new("second at 0", point, &log));
    net.broker
        .hooks()
        .add(5, Arc::new(Recorder::new("at 5", point, &log)));
    net.broker
        .hooks()
        .add(0, Arc::new(Recorder::new("first at 0", point, &log)));
    net.broker.hooks().add(0, Arc::clone(&middle));
    net.broker
        .hooks()
        .add(-5, Arc::new(Recorder::new("at -5", point, &log)));
    net.broker.hooks().add(
        -9,
        Arc::new(Recorder::new(
            "elsewhere",
            HookPoint::MessageAcked as u32,
            &log,
        )),
    );
    let client = net.connect(&Connect::v3("c"));
    assert_eq!(
        take(&log),
        [
            "at -5: created c/-",
            "first at 0: created c/-",
            "second at 0: created c/-",
            "at 5: created c/-"
        ]
    );
    net.broker.hooks().remove(&middle);
    net.lose(client);
    net.connect(&Connect::v3("c"));
    assert_eq!(
        take(&log),
        [
            "at -5: created c/-",
            "first at 0: created c/-",
            "at 5: created c/-"
        ]
    );
}

#[test]
fn a_chain_that_is_stopped_goes_no_further_and_the_message_is_dropped_but_answered() {
    let mut net = Net::new(2);
    let log = Log::default();
    let points = HookPoint::MessagePublish as u32 | HookPoint::MessageDropped as u32;
    let mut first = Recorder::new("first", points, &log);
    first.on_publish = Box::new(|m| {
        if m.topic == "stop" {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    net.broker.hooks().add(1, Arc::new(first));
    net.broker
        .hooks()
        .add(2, Arc::new(Recorder::new("second", points, &log)));
    let sub = net.connect(&Connect::v3("sub"));
    net.subscribe(sub, "#", 2);
    let client = net.connect(&Connect::v5("pub"));
    for qos in 0..=2 {
        let reason = net.retain(client, "stop", "x", qos);
        assert_eq!(
            reason,
            [None, Some(0), Some(0)][usize::from(qos)],
            "the publisher is answered all the same"
        );
        assert_eq!(
            take(&log),
            [
                format!("first: publish pub/- stop x {qos} retain"),
                format!("first: dropped pub/- stop x {qos} retain hook"),
                format!("second: dropped pub/- stop x {qos} retain hook")
            ]
        );
    }
    assert_eq!(net.stat("retained/count"), 0);
    net.publish(client, "go", "y", 1);
    assert_eq!(net.payloads(sub), ["y"]);
    assert_eq!(
        take(&log).iter().filter(|l| l.contains("publish")).count(),
        2
    );
}

#[test]
fn a_message_changed_at_publish_is_what_is_routed_and_retained() {
    let mut net = Net::new(2);
    let log = Log::default();
    let point = HookPoint::MessagePublish as u32;
    let mut first = Recorder::new("1", point, &log);
    first.on_publish = Box::new(|_| {
        Verdict::Change(Change {
            topic: Some("to".into()),
            payload: Some(b"new".to_vec()),
            qos: Some(QoS::AtLeastOnce),
            retain: Some(true),
        })
    });
    net.broker.hooks().add(1, Arc::new(first));
    net.broker
        .hooks()
        .add(2, Arc::new(Recorder::new("2", point, &log)));
    let names = [net.name_on(0, "s"), net.name_on(1, "s")];
    take(&log);
    let subs = names.map(|name| net.connect(&Connect::v3(&name)));
    for sub in subs {
        net.subscribe(sub, "from", 2);
        net.subscribe(sub, "to", 2);
    }
    let client = net.connect(&Connect::v3("pub"));
    for qos in 0..=2 {
        net.publish(client, "from", "old", qos);
        assert_eq!(
            take(&log),
            [
                format!("1: publish pub/- from old {qos}"),
                "2: publish pub/- to new 1 retain".into()
            ]
        );
        for sub in subs {
            let got = net.messages(sub);
            assert_eq!(got.len(), 1);
            assert_eq!(
                (got[0].topic.as_str(), got[0].text(), got[0].qos),
                ("to", "new".into(), 1)
            );
        }
    }
    assert_eq!(net.stat("retained/count"), 1);
}

#[test]
fn a_table_changed_at_subscribe_is_what_is_subscribed() {
    let (mut net, log) = recorded(1, |r| {
        r.on_subscribe = Box::new(|table| {
            for entry in table.iter_mut() {
                if entry.topic == "old" {
                    entry.topic = "new/+".into();
                    entry.qos = QoS::ExactlyOnce;
                }
                if entry.topic == "bad" {
                    entry.topic = "bad/#/x".into();
                }
            }
            Flow::Next
        });
        r.on_unsubscribe = Box::new(|table| {
            table
                .iter_mut()
                .filter(|e| e.topic == "old")
                .for_each(|e| e.topic = "new/+".into());
            Flow::Next
        });
    });
    let client = net.connect(&Connect::v5("c"));
    net.take(client);
    net.send(
        client,
        &subscribe(Version::V5, 1, &[("keep", 1), ("old", 0), ("bad", 0)]),
    );
    assert_eq!(
        net.take(client),
        [Got::SubAck(1, vec![1, 2, 0x87])],
        "a filter that is none is not subscribed"
    );
    let mut routes: Vec<String> = net.broker.routes().into_iter().map(|r| r.topic).collect();
    routes.sort();
    assert_eq!(routes, ["keep", "new/+"]);
    net.publish(client, "new/x", "m", 2);
    assert_eq!(net.payloads(client), ["m"]);
    take(&log);
    assert_eq!(net.unsubscribe(client, "old"), [0]);
    assert_eq!(
        take(&log),
        ["unsubscribe c/- old 0", "unsubscribed c/- new/+"]
    );
    assert_eq!(net.stat("subscriptions/count"), 1);
}

#[test]
fn a_stop_at_subscribe_subscribes_nothing_and_at_unsubscribe_takes_nothing_away() {
    let (mut net, _) = recorded(1, |r| {
        r.on_subscribe = Box::new(|t| {
            if t[0].topic == "stop" {
                Flow::Stop
            } else {
                Flow::Next
            }
        });
        r.on_unsubscribe = Box::new(|_| Flow::Stop);
    });
    for connect in [Connect::v3("c"), Connect::v5("d")] {
        let v5 = connect.version == Version::V5;
        let client = net.connect(&connect);
        net.take(client);
        net.send(
            client,
            &subscribe(connect.version, 1, &[("stop", 1), ("also", 1)]),
        );
        let refused = if v5 { 0x87 } else { 0x80 };
        assert_eq!(net.take(client), [Got::SubAck(1, vec![refused, refused])]);
        assert_eq!(net.subscribe(client, "go", 1), 1);
        assert_eq!(
            net.unsubscribe(client, "go"),
            if v5 { vec![0x11] } else { vec![] }
        );
        assert!(net.broker.has_route("go"));
        assert!(!net.broker.has_route("also"));
        net.lose(client);
    }
}

#[test]
fn what_the_acl_refuses_is_not_shown_to_the_subscribe_hook() {
    let dir = std::env::temp_dir().join(format!("emqttd-hooks-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("acl.conf");
    std::fs::write(&file, "{deny, all, subscribe, [\"secret\"]}.\n").unwrap();
    let mut net = Net::with(1, |s| s.mqtt.acl_file = Some(file.clone()));
    std::fs::remove_dir_all(&dir).unwrap();
    let log = Log::default();
    net.broker.hooks().add(
        0,
        Arc::new(Recorder::new("", HookPoint::ClientSubscribe as u32, &log)),
    );
    let client = net.connect(&Connect::v5("c"));
    net.take(client);
    net.send(
        client,
        &subscribe(Version::V5, 1, &[("a", 0), ("secret", 0), ("b", 1)]),
    );
    assert_eq!(net.take(client), [Got::SubAck(1, vec![0, 0x87, 1])]);
    assert_eq!(take(&log), ["subscribe c/- a 0, b 1"]);
}

#[test]
fn every_delivery_is_told_also_a_repeated_one_and_drops_with_their_reason() {
    let (mut net, log) = recorded(1, |_| {});
    let sub = net.connect(&Connect::v3("sub").keep());
    net.subscribe(sub, "t", 1);
    net.silent(sub);
    let client = net.connect(&Connect::v3("pub"));
    net.publish(client, "t", "x", 1);
    net.take(sub);
    net.lose(sub);
    take(&log);
    let (sub, _, _) = net.resume(&Connect::v3("sub").keep());
    let of = |log: &Log, word: &str| take(log).iter().filter(|l| l.starts_with(word)).count();
    assert_eq!(of(&log, "delivered"), 1);
    net.lose(sub);
    // The queue keeps no QoS 0 when told so; here it is full.
    let mut settings = (*net.broker.settings()).clone();
    settings.session.queue_max_length = 2;
    net.admin(move |broker| broker.reconfigure(settings));
    let small = net.connect(&Connect::v3("small").keep());
    net.subscribe(small, "s", 1);
    net.lose(small);
    take(&log);
    for text in ["1", "2", "3"] {
        net.publish(client, "s", text, 1);
    }
    assert_eq!(
        take(&log)
            .into_iter()
            .filter(|l| l.starts_with("dropped"))
            .collect::<Vec<_>>(),
        ["dropped pub/- s 1 1 queue_full"]
    );
    assert_eq!(net.metric("messages/dropped/queue_full"), 1);
}

#[test]
fn messages_of_a_group_that_ends_are_told_as_dropped() {
    let (mut net, log) = recorded(2, |r| r.points = HookPoint::MessageDropped as u32);
    let member = net.connect(&Connect::v3("member").keep());
    net.subscribe(member, "$share/g/t", 1);
    net.lose(member);
    let publisher = net.connect(&Connect::v3("publisher"));
    for text in ["1", "2"] {
        net.publish(publisher, "t", text, 1);
    }
    assert_eq!(net.broker.group_backlog(), 2);
    assert_eq!(take(&log), [""; 0]);
    // A clean session takes the place of the only member.
    net.connect(&Connect::v3("member"));
    assert_eq!(net.broker.group_backlog(), 0);
    assert_eq!(
        take(&log),
        [
            "dropped publisher/- t 1 1 group_gone",
            "dropped publisher/- t 2 1 group_gone"
        ]
    );
    assert_eq!(net.metric("messages/dropped/group_full"), 2);
}

#[test]
fn management_and_plugins_publish_with_an_empty_user_name_clients_without_one() {
    let (mut net, log) = recorded(2, |r| r.points = HookPoint::MessagePublish as u32);
    let nameless = net.connect(&Connect::v3("nameless"));
    net.publish(nameless, "t", "1", 0);
    let empty = net.connect(&Connect::v3("empty").user("", "p"));
    net.publish(empty, "t", "2", 0);
    net.admin(|broker| broker.publish("http", "t", b"3", 0, true))
        .unwrap();
    let presence = Publish::new("t", "4").from("presence");
    net.admin(|broker| broker.post_publish(presence)).unwrap();
    net.admin(|broker| broker.post_publish(Publish::new("t", "5")))
        .unwrap();
    assert_eq!(
        take(&log),
        [
            "publish nameless/- t 1 0",
            "publish empty/- t 2 0",
            "publish http/ t 3 0 retain",
            "publish presence/ t 4 0",
            "publish broker t 5 0"
        ]
    );
}

#[test]
fn subscriptions_that_others_make_and_end_are_told_of_the_session_alone() {
    let file = AclFile::new("hooks", "{allow, all}.\n");
    let mut net = file.net(1, |_| {});
    let log = Log::default();
    let client = net.connect(&Connect::v3("c").user("u", "p").keep());
    net.subscribe(client, "$share/g/secret", 1);
    let recorder = Recorder::new("", ALL, &log);
    net.broker.hooks().add(0, Arc::new(recorder));
    net.admin(|broker| broker.subscribe("c", "$share/g/t", 2))
        .unwrap();
    assert_eq!(take(&log), ["subscribed c/u t 2 share g"]);
    for _ in 0..2 {
        net.admin(|broker| broker.unsubscribe("c", "$share/g/t"))
            .unwrap();
    }
    assert_eq!(take(&log), ["unsubscribed c/u t"]);
    file.write("{deny, all, subscribe, [\"secret\"]}.\n");
    net.admin(|broker| broker.acl_reload()).unwrap();
    assert_eq!(take(&log), ["unsubscribed c/u secret"]);
    // Its session is there without it.
    net.lose(client);
    take(&log);
    net.admin(|broker| broker.subscribe("c", "away", 0))
        .unwrap();
    assert_eq!(take(&log), ["subscribed c/u away 0"]);
}
