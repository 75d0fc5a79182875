//! `emq_lua_hook`: sheet 13 and what this broker adds to it, through the real binary.

mod bytes;
mod callbacks;
mod commands;
mod dialect;
mod library;
mod limits;
mod messages;
mod sandbox;
mod state;
mod subscriptions;
mod traffic;

use std::fs;
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Client, Config, Version};

const PLUGIN: &str = "emq_lua_hook";

/// For what has to happen, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(40);

/// A broker with the plugin loaded, these scripts (name without `.lua`, text) and these lines in its file.
///
/// A call may take long, unless `keys` say another thing: a thread that the system does not let run is no script
/// that loops.
fn config(scripts: &[(&str, &str)], keys: &str) -> Config {
    let time = ["lua.max_time = 10s\n", ""][usize::from(keys.contains("lua.max_time"))];
    let config = Config::with_plugin(PLUGIN, &format!("{time}{keys}"))
        // Without it no message may be retained.
        .loaded(&["emq_retainer", PLUGIN])
        .set("node.shards", "2")
        .file("hook_lua/README", "scripts\n");
    scripts.iter().fold(config, |config, (name, text)| {
        config.file(&format!("hook_lua/{name}.lua"), text)
    })
}

/// Starts [`config`].
fn broker(scripts: &[(&str, &str)], keys: &str) -> Broker {
    Broker::start(config(scripts, keys))
}

/// A script of which `on_message_publish` has this body, with the parameters `clientid`, `username`, `topic`, `payload`,
/// `qos`, `retain`.
fn on_publish(body: &str) -> String {
    format!(
        "function on_message_publish(clientid, username, topic, payload, qos, retain)\n{body}\nend\n\
         function register_hook() return \"on_message_publish\" end\n"
    )
}

/// Writes a script into the tree.
fn write_script(broker: &Broker, name: &str, text: &str) {
    fs::write(broker.root.join(format!("hook_lua/{name}.lua")), text).unwrap();
}

/// `emqttd_ctl luahook ..`: what it printed.
#[track_caller]
fn luahook(broker: &Broker, words: &[&str]) -> String {
    let (code, text) = broker.ctl(&[&["luahook"], words].concat());
    assert_eq!(code, 0, "luahook {words:?}: {text}");
    text
}

/// `luahook <verb> <script>`, which has to succeed.
#[track_caller]
fn succeed(broker: &Broker, verb: &str, script: &str) {
    assert_eq!(
        luahook(broker, &[verb, script]),
        format!("success to {verb} \"{script}\"\n")
    );
}

/// Waits until it is so.
#[track_caller]
fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the log of this start has a line with all these words.
#[track_caller]
fn logs(broker: &Broker, words: &[&str]) {
    eventually(&format!("a log line with {words:?}"), || {
        let log = broker.log_of_this_start();
        log.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    });
}

/// A client that has subscribed to `#`.
fn listener(broker: &Broker) -> Client {
    let mut client = broker.client(Version::V311, "listener");
    client.sub("#", 2);
    client
}

/// Publishes to itself at QoS 1 and says what came, `topic payload`.
#[track_caller]
fn echo(client: &mut Client, topic: &str, payload: &str) -> String {
    assert_eq!(client.pub_(topic, 1, payload), 0);
    let message = client.recv_message();
    format!("{} {}", message.topic, message.payload)
}

/// A field of `luahook status <script>`.
#[track_caller]
fn status(broker: &Broker, script: &str, field: &str) -> String {
    let text = luahook(broker, &["status", script]);
    let mut rows = text.lines().filter_map(|line| line.split_once(':'));
    let row = rows.find(|(name, _)| name.trim() == field);
    let (_, value) = row.unwrap_or_else(|| panic!("no {field} in:\n{text}"));
    value.trim().to_owned()
}
