//! `emq_web_hook`, before a web server of our own.

mod bodies;
mod internal;
mod outages;
mod queue;
mod requests;
mod rules;
mod spill;

use std::time::{Duration, Instant};

use emqttd_tests::servers::sink::{Mode, Post, Sink};
use emqttd_tests::{Broker, Client, Config, Connect, Publish, Version};

const PLUGIN: &str = "emq_web_hook";

/// How long something may take that no test is about.
const PATIENCE: Duration = Duration::from_secs(30);

/// The event of each rule, as the keys have it.
const EVENTS: [&str; 11] = [
    "client.connected",
    "client.disconnected",
    "client.subscribe",
    "client.unsubscribe",
    "session.created",
    "session.subscribed",
    "session.unsubscribed",
    "session.terminated",
    "message.publish",
    "message.delivered",
    "message.acked",
];

/// A line with a rule about an event; `more` goes into its JSON, such as `, "topic": "a/#"`.
fn rule(event: &str, number: usize, more: &str) -> String {
    let action = event.replace('.', "_");
    format!("web.hook.rule.{event}.{number} = {{\"action\": \"on_{action}\"{more}}}\n")
}

fn url(sink: &Sink) -> String {
    format!("web.hook.api.url = {}\n", sink.url("/hook"))
}

/// All events, posted there one after another: so what several clients do comes in the order in which it happened.
fn everything(sink: &Sink) -> String {
    let rules: String = EVENTS.iter().map(|event| rule(event, 1, "")).collect();
    url(sink) + &rules + "web.hook.pool = 1\n"
}

/// Only what is published, posted one after another.
fn publishes(sink: &Sink) -> String {
    url(sink) + &rule("message.publish", 1, "") + "web.hook.pool = 1\n"
}

/// A broker with the plugin.
fn start(conf: &str) -> Broker {
    Broker::start(Config::with_plugin(PLUGIN, conf))
}

fn texts(posts: &[Post]) -> Vec<String> {
    posts.iter().map(|post| post.text().to_owned()).collect()
}

/// What has come since the last look has to be this, with `"ts":0` for each time.
#[track_caller]
fn expect(sink: &Sink, wanted: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while sink.count() < wanted.len() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let bodies: Vec<String> = texts(&sink.take()).iter().map(|b| timeless(b)).collect();
    assert_eq!(bodies, wanted);
}

/// A body with `"ts":0` in place of the time, which has to be now.
#[track_caller]
fn timeless(body: &str) -> String {
    let Some((head, rest)) = body.split_once("\"ts\":") else {
        return body.into();
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let at: u64 = rest[..digits].parse().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((now - 600..=now).contains(&at), "{body}: now is {now}");
    format!("{head}\"ts\":0{}", &rest[digits..])
}

/// The value of a string in a body, which has no escapes.
#[track_caller]
fn field<'a>(body: &'a str, name: &str) -> &'a str {
    let found = body.split_once(&format!("\"{name}\":\""));
    let (_, rest) = found.unwrap_or_else(|| panic!("no {name} in {body}"));
    rest.split_once('"').unwrap().0
}

/// The payloads of messages, which have no escapes.
#[track_caller]
fn payloads(posts: &[Post]) -> Vec<&str> {
    let texts = posts.iter().map(Post::text);
    texts.map(|text| field(text, "payload")).collect()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A figure of the plugin, such as `dropped/full`.
#[track_caller]
fn figure(broker: &Broker, name: &str) -> u64 {
    let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
    let wanted = format!("{PLUGIN}/{name}");
    let value = text.lines().find_map(|line| {
        let (key, value) = line.rsplit_once(": ")?;
        (key.trim_end() == wanted).then(|| value.trim().parse().unwrap())
    });
    value.unwrap_or_else(|| panic!("no {wanted} in\n{text}"))
}

/// Waits until a figure has this value.
#[track_caller]
fn await_figure(broker: &Broker, name: &str, wanted: u64) {
    let mut last = 0;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        last = figure(broker, name);
        if last == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (_, all) = broker.ctl(&["plugins", "show", PLUGIN]);
    panic!("{name} is {last}, not {wanted}\n{all}\n{}", broker.log());
}

/// `emqttd_ctl set`: what it said.
fn set(broker: &Broker, key: &str, value: &str) -> String {
    let setting = format!("{key}={value}");
    broker.ctl(&["set", &setting, &format!("--app={PLUGIN}")]).1
}

/// Publishes these payloads at QoS 1: afterwards all of them have been through the hooks.
#[track_caller]
fn publish_all<T: AsRef<[u8]>>(
    client: &mut Client,
    topic: &str,
    payloads: impl IntoIterator<Item = T>,
) {
    for payload in payloads {
        client.publish(Publish::new(topic, payload).qos(1));
    }
}

/// `0`, `1`, ... as payloads.
fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Somebody who hears of alarms.
fn watcher(broker: &Broker) -> Client {
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.sub("$SYS/brokers/+/alarms/#", 1);
    watcher
}

/// The next alarm has to be this one, such as `web_hook_unreachable/alert`; gives its JSON.
#[track_caller]
fn alarm(watcher: &mut Client, wanted: &str) -> String {
    let message = watcher.recv_message();
    let topic = &message.topic;
    assert!(topic.ends_with(&format!("/alarms/{wanted}")), "{message:?}");
    message.payload
}
