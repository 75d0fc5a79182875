//! `emqttd_ctl` as a user sees it, against live clients.

use std::sync::OnceLock;

use emqttd_tests::{ALL, Broker, Config, Connect, Sub, Version, unique};

fn managed() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(Config::new()))
}

#[test]
fn emq_ctl_status_and_broker() {
    let (code, text) = managed().ctl(&["status"]);
    assert_eq!(code, 0);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Node 'emq@127.0.0.1' is started"));
    assert!(
        lines
            .next()
            .is_some_and(|l| l.starts_with("emqttd ") && l.ends_with(" is running")),
        "{text}"
    );
    let (code, text) = managed().ctl(&["broker"]);
    assert_eq!(code, 0);
    for key in [
        "sysdescr  : ",
        "version   : ",
        "uptime    : ",
        "datetime  : ",
    ] {
        assert!(text.lines().any(|l| l.starts_with(key)), "{text}");
    }
}

#[test]
fn emq_ctl_unknown_command_prints_the_usage() {
    let (code, text) = managed().ctl(&["no-such-command"]);
    assert_eq!(code, 1);
    let (help_code, help) = managed().ctl(&["help"]);
    assert_eq!(help_code, 0);
    for command in [
        "status",
        "broker",
        "clients",
        "sessions",
        "listeners",
        "trace",
        "acl",
    ] {
        assert!(
            text.contains(command) && help.contains(command),
            "{command}"
        );
    }
}

#[test]
fn emq_ctl_clients() {
    for v in ALL {
        let id = unique("listed");
        let mut client = managed().open(&Connect::persistent(v, &id).username("alice"));
        let (code, text) = managed().ctl(&["clients", "show", &id]);
        assert_eq!(code, 0);
        let start = format!("Client({id}, clean_sess=false, username=alice, peername=127.0.0.1:");
        assert!(text.starts_with(&start), "{v}: {text}");
        assert!(
            text.contains(", connected_at=") && text.ends_with(")\n"),
            "{text}"
        );
        assert!(managed().ctl(&["clients", "list"]).1.contains(&text));
        assert_eq!(managed().ctl(&["clients", "kick", &id]), (0, String::new()));
        let code = client.closed();
        assert_eq!(code, if v.is_v5() { Some(0x98) } else { None }, "{v}");
        assert_eq!(
            managed().ctl(&["clients", "show", &id]),
            (0, "Not Found.\n".into())
        );
        assert_eq!(
            managed().ctl(&["clients", "kick", &id]),
            (0, "Not Found.\n".into())
        );
        // The session of a kicked client stays.
        assert!(
            managed()
                .ctl(&["sessions", "show", &id])
                .1
                .starts_with(&format!("Session({id}, clean_sess=false,"))
        );
    }
}

#[test]
fn emq_ctl_sessions() {
    for v in ALL {
        let id = unique("session");
        let topic = unique("session");
        let mut client = managed().open(&Connect::persistent(v, &id));
        client.subscribe(
            &[Sub::new(&topic, 1), Sub::new(&format!("{topic}/2"), 2)],
            &[],
        );
        client.disconnect();
        let mut publisher = managed().client(v, "pub");
        for _ in 0..3 {
            publisher.pub_(&topic, 1, "x");
        }
        let (_, text) = managed().ctl(&["sessions", "show", &id]);
        assert!(
            text.contains(
                "subscriptions=2, max_inflight=32, inflight=0, mqueue_len=3, mqueue_dropped=0,"
            ),
            "{v}: {text}"
        );
        assert!(
            managed()
                .ctl(&["sessions", "list", "persistent"])
                .1
                .contains(&text)
        );
        assert!(
            !managed()
                .ctl(&["sessions", "list", "transient"])
                .1
                .contains(&format!("Session({id},"))
        );
        let mut client = managed().open(&Connect::new(v, &id));
        client.ping();
        let (_, text) = managed().ctl(&["sessions", "list", "transient"]);
        assert!(
            text.contains(&format!("Session({id}, clean_sess=true, subscriptions=0,")),
            "{v}: {text}"
        );
    }
}

#[test]
fn emq_ctl_subscriptions_add_and_del() {
    for v in ALL {
        let id = unique("subscribed");
        let topic = unique("added");
        let mut client = managed().open(&Connect::new(v, &id));
        assert_eq!(
            managed().ctl(&["subscriptions", "add", &id, &topic, "1"]),
            (0, "ok\n".into())
        );
        let mut publisher = managed().client(v, "pub");
        publisher.pub_(&topic, 2, "x");
        assert_eq!(client.expect(&topic, "x").qos, 1);
        let (_, text) = managed().ctl(&["subscriptions", "show", &id]);
        assert!(
            text.contains(&format!("-> {topic}\n")) && text.contains("  qos     : 1\n"),
            "{text}"
        );
        assert!(
            managed()
                .ctl(&["topics", "list"])
                .1
                .lines()
                .any(|l| l == topic)
        );
        assert_eq!(
            managed().ctl(&["routes", "show", &topic]).1,
            format!("{topic} -> emq@127.0.0.1\n")
        );
        assert_eq!(
            managed().ctl(&["subscriptions", "del", &id, &topic]),
            (0, "ok\n".into())
        );
        publisher.pub_(&topic, 1, "y");
        client.nothing_from(&mut publisher);
        assert_eq!(managed().ctl(&["topics", "show", &topic]).1, "");
        assert_eq!(
            managed().ctl(&["subscriptions", "add", "nobody-there", &topic, "1"]),
            (0, "Error: Session not found!".into())
        );
        assert_eq!(
            managed().ctl(&["subscriptions", "add", &id, &topic, "3"]),
            (0, "QoS should be 0, 1, 2\n".into())
        );
    }
}

/// A listener is stopped, its clients go with it, and it can be started again.
#[test]
fn emq_ctl_listeners() {
    let broker = Broker::start(Config::new().listener("tcp.other", &[]));
    let addr = broker.addr("tcp.other");
    let name = addr.to_string();
    let mut client =
        emqttd_tests::Client::over(emqttd_tests::transport::tcp(addr), Version::V5, "other");
    client.connect(&Connect::new(Version::V5, &unique("other")));
    let (_, text) = broker.ctl(&["listeners"]);
    assert!(
        text.contains(&format!(
            "listener on mqtt:tcp:{name}\n  acceptors       : "
        )),
        "{text}"
    );
    let stopped = broker.ctl(&["listeners", "stop", "mqtt:tcp", &name]);
    assert_eq!(
        stopped,
        (
            0,
            format!("Stop mqtt:tcp listener on {name} successfully.\n")
        )
    );
    client.closed();
    assert!(
        std::net::TcpStream::connect(addr).is_err(),
        "the listener still accepts"
    );
    assert!(!broker.ctl(&["listeners"]).1.contains(&name));
    broker.client(Version::V5, "external").quiet();
}

/// A trace has the packets of its client, and no passwords.
#[test]
fn emq_ctl_trace() {
    let id = unique("traced");
    let file = managed().root.join("log").join(format!("{id}.log"));
    let path = file.to_str().unwrap();
    let (code, text) = managed().ctl(&["trace", "client", &id, path]);
    assert_eq!(
        (code, text),
        (0, format!("trace client {id} successfully.\n"))
    );
    let mut client = managed().open(
        &Connect::new(Version::V311, &id)
            .username("u")
            .password("secret"),
    );
    client.pub_("trace/d", 1, "hello");
    client.disconnect();
    let (_, text) = managed().ctl(&["trace", "client", &id, "off"]);
    assert_eq!(text, format!("stop tracing client {id} successfully.\n"));
    // Lines are written behind a queue.
    let start = std::time::Instant::now();
    let mut log = String::new();
    while !log.contains("SEND PUBACK") && start.elapsed() < emqttd_tests::transport::DEADLINE {
        log = std::fs::read_to_string(&file).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(
        log.contains("RECV PUBLISH(Q1, R0, D0, Topic=trace/d, PacketId=1"),
        "{log}"
    );
    assert!(log.contains("SEND PUBACK(Q0, R0, D0, PacketId=1)"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

/// Settings can be changed in the running broker.
#[test]
fn emq_ctl_set_takes_effect() {
    let broker = Broker::start(Config::new());
    broker.client(Version::V311, "before").quiet();
    let (code, text) = broker.ctl(&["set", "mqtt.allow_anonymous=false", "--app=emqttd"]);
    assert_eq!(code, 0);
    assert!(
        text.contains("\"mqtt.allow_anonymous\" set to \"false\" successfully"),
        "{text}"
    );
    let mut client = broker.raw(Version::V311);
    client.send(&Connect::new(Version::V311, &unique("after")).encode());
    assert_eq!(client.closed(), Some(4));
    let (_, text) = broker.ctl(&["show", "mqtt.allow_anonymous", "--app=emqttd"]);
    assert!(text.contains("false"), "{text}");
}

#[test]
fn emq_ctl_acl_and_auth_test() {
    let (code, text) = managed().ctl(&[
        "acl",
        "test",
        "someone",
        "joe",
        "127.0.0.1",
        "publish",
        "a/b",
    ]);
    assert_eq!(code, 0);
    assert!(text.contains("allow"), "{text}");
}

/// Without a broker there is nobody to answer.
#[test]
fn emq_ctl_without_a_broker() {
    let mut broker = Broker::start(Config::new());
    assert!(broker.stop().success());
    let (code, text) = broker.ctl(&["status"]);
    assert_eq!(
        (code, text.trim()),
        (1, "Node 'emq@127.0.0.1' not responding to pings.")
    );
}
