//! `docs/plugin-guide.md`, followed word for word, and what the template does then.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Client, Config, Connect, End, Version, unique};

use crate::stranger::{run, source, target};

const PLUGIN: &str = "emq_plugin_abc";

/// A piece of code of the guide, without its fences.
struct Piece {
    language: String,
    text: String,
}

fn guide() -> Vec<Piece> {
    let text = fs::read_to_string(source().join("docs/plugin-guide.md")).unwrap();
    let mut pieces = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            pieces.push(Piece {
                language: language.into(),
                text: text.join("\n"),
            });
        }
    }
    pieces
}

#[test]
fn the_code_of_the_guide_is_that_of_the_template() {
    let template = source().join("templates/emq_plugin_template");
    let mut compared = 0;
    for piece in guide().iter().filter(|piece| piece.language == "rust") {
        let (head, code) = piece.text.split_once('\n').unwrap();
        let file = template.join(head.strip_prefix("// ").unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(code), "{} has not:\n{code}", file.display());
        compared += 1;
    }
    assert!(compared >= 8, "{compared} pieces of code");
}

/// The copy of the template, built by the commands of the guide.
struct Project {
    dir: PathBuf,
    /// commands that are not run yet
    commands: Vec<String>,
}

impl Project {
    /// Runs the first block, which makes the project.
    fn new(broker: &Broker) -> Project {
        let scratch =
            std::env::temp_dir().join(format!("{}-{}", unique("guide"), std::process::id()));
        fs::create_dir_all(&scratch).unwrap();
        let commands = guide().into_iter().filter(|piece| piece.language == "sh");
        let mut project = Project {
            dir: scratch,
            commands: commands.map(|piece| piece.text).collect(),
        };
        project.follow(broker, "cp -r");
        project.dir.push(PLUGIN);
        // Otherwise all it needs would be built anew each time.
        fs::create_dir_all(target()).unwrap();
        symlink(target(), project.dir.join("target")).unwrap();
        project
    }

    /// Runs the next block, which has to begin so.
    #[track_caller]
    fn follow(&mut self, broker: &Broker, beginning: &str) -> String {
        let block = self.commands.remove(0);
        assert!(block.starts_with(beginning), "next in the guide: {block}");
        run(Command::new("sh")
            .args(["-eu", "-c", &block])
            .current_dir(&self.dir)
            .env("SOURCE", source())
            .env("RELEASE", &broker.root))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.dir.parent().unwrap());
    }
}

fn connect(id: &str, password: &str) -> Connect {
    Connect::new(Version::V311, id)
        .username("tom")
        .password(password)
}

/// The code of CONNACK.
fn comes_in(broker: &Broker, password: &str) -> bool {
    let mut client = broker.raw(Version::V311);
    client.send(&connect(&unique("door"), password).encode());
    client.connack().1 == 0
}

/// Waits for a line that begins so, on the broker's console.
#[track_caller]
fn await_line(broker: &Broker, beginning: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let log = broker.log();
        if let Some(line) = log.lines().find(|line| line.starts_with(beginning)) {
            return line.into();
        }
        assert!(Instant::now() < deadline, "no {beginning:?} in:\n{log}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Connects, subscribes, publishes, unsubscribes, disconnects; each hook prints one line.
fn every_hook_prints_its_line(broker: &Broker) {
    let id = unique("lines");
    let mut client = broker.open(&connect(&id, "wrong"));
    client.sub("line/t", 1);
    client.pub_("line/t", 1, "text");
    client.expect("line/t", "text");
    client.unsubscribe(&["line/t"]);
    client.disconnect();
    let message = format!("Message(Q1, R0, From={id}/tom, Topic=line/t)");
    let lines = [
        format!("Auth Demo: clientId={id}, username=tom, password=wrong"),
        format!("client {id} connected, connack: 0"),
        format!("session({id}/tom) created."),
        format!("ACL Demo: {id} subscribe line/t"),
        format!("client(tom/{id}) will subscribe: [{{\"line/t\",[{{qos,1}}]}}]"),
        format!("session(tom/{id}) subscribed: {{\"line/t\",[{{qos,1}}]}}"),
        format!("ACL Demo: {id} publish line/t"),
        format!("publish {message}"),
        format!("delivered to client(tom/{id}): {message}"),
        format!("client(tom/{id}) acked: {message}"),
        format!("client({id}/tom) unsubscribe [{{\"line/t\""),
        format!("session(tom/{id}) unsubscribed: {{\"line/t\""),
        format!("client {id} disconnected, reason: normal"),
        format!("session({id}/tom) terminated: normal."),
    ];
    for line in &lines {
        await_line(broker, line);
    }
    let log = broker.log();
    for line in &lines {
        let times = log.lines().filter(|l| l.starts_with(line.as_str())).count();
        assert_eq!(times, 1, "{line}");
    }
}

/// `$SYS` messages go by without a line.
fn sys_prints_nothing(broker: &Broker) {
    let mut client: Client = broker.open(&connect(&unique("sys"), "wrong"));
    client.sub("$SYS/brokers/+/uptime", 0);
    let message = client.recv_message();
    assert!(message.topic.starts_with("$SYS/"));
    // What was printed for it would be before what is printed for this one.
    client.pub_("after/sys", 1, "x");
    await_line(broker, "publish Message(Q1, R0, From=sys");
    let log = broker.log();
    for line in log.lines().filter(|line| line.contains("$SYS")) {
        assert!(
            !line.starts_with("publish") && !line.starts_with("delivered"),
            "{line}"
        );
    }
}

#[test]
fn the_guide_followed_word_for_word() {
    let users =
        "auth.user.1.username = tom\nauth.user.1.password = right\nauth.user.hash_cost = light\n";
    let config = Config::with_plugin("emq_auth_username", users)
        .set("mqtt.allow_anonymous", "false")
        .set("mqtt.broker.sys_interval", "1s");
    let mut broker = Broker::start(config);
    let mut project = Project::new(&broker);
    let made = fs::read_to_string(project.dir.join("Cargo.toml")).unwrap();
    assert!(
        made.contains(PLUGIN) && !made.contains("template"),
        "{made}"
    );

    let text = project.follow(&broker, "cargo test");
    assert!(text.contains("test result: ok. 5 passed"), "{text}");
    project.follow(&broker, "cargo build --release");

    assert!(comes_in(&broker, "right"));
    assert!(!comes_in(&broker, "wrong"));
    let text = project.follow(&broker, "\"$RELEASE/bin/emqttd_ctl\" plugins load");
    let row =
        format!("Plugin({PLUGIN}, version=0.1.0, description=emqttd abc plugin, active=true)\n");
    assert!(text.contains(&row), "{text}");
    assert!(
        text.contains(&format!("Plugin {PLUGIN} loaded successfully.\n")),
        "{text}"
    );
    assert!(text.ends_with("ok\n"), "{text}");
    assert_eq!(broker.loaded_plugins(), ["emq_auth_username", PLUGIN]);

    // It was loaded last, so it is asked first.
    assert!(comes_in(&broker, "wrong"));
    every_hook_prints_its_line(&broker);
    sys_prints_nothing(&broker);
    let (_, usage) = broker.ctl(&["cmd"]);
    assert!(
        usage.contains("cmd arg1 arg2") && usage.contains("# cmd demo"),
        "{usage}"
    );
    its_counter_is_shown(&broker);
    its_key_can_be_changed(&broker);
    broker.restart(End::Stop);
    assert!(comes_in(&broker, "wrong"), "loaded again at the start");

    let text = project.follow(&broker, "\"$RELEASE/bin/emqttd_ctl\" plugins unload");
    assert!(text.contains("unloaded successfully."), "{text}");
    assert!(!comes_in(&broker, "wrong"));
    assert!(comes_in(&broker, "right"));
    let (code, text) = broker.ctl(&["cmd", "arg1", "arg2"]);
    assert!(code != 0 && !text.contains("cmd"), "{text}");
    assert!(
        project.commands.is_empty(),
        "not run: {:?}",
        project.commands
    );
}

/// A library brings its counters over once a second.
fn its_counter_is_shown(broker: &Broker) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
        let head = format!("{PLUGIN}/messages");
        let line = text.lines().find(|line| line.starts_with(&head));
        if line.is_some_and(|line| !line.trim_end().ends_with(" 0")) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn its_key_can_be_changed(broker: &Broker) {
    let app = format!("--app={PLUGIN}");
    let (_, text) = broker.ctl(&["set", &format!("{PLUGIN}.say=off"), &app]);
    assert!(text.contains("successfully"), "{text}");
    let mut client = broker.open(&connect(&unique("still"), "wrong"));
    client.pub_("nobody/hears", 1, "x");
    client.disconnect();
    let (_, text) = broker.ctl(&["set", &format!("{PLUGIN}.say=on"), &app]);
    assert!(text.contains("successfully"), "{text}");
    let mut client = broker.open(&connect(&unique("loud"), "wrong"));
    client.pub_("somebody/hears", 1, "x");
    await_line(broker, "publish Message(Q1, R0, From=loud");
    assert!(!broker.log().contains("nobody/hears)"), "{}", broker.log());
}
