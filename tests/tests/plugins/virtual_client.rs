//! Virtual clients, through which gateways of plugins go the same way as MQTT clients. The gateway is
//! `tests/plugin-gateway`, in a library: a line of text is a command of a device.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Client, Config, Connect, Publish, Version, unique};

use crate::stranger::{run, source, target};

const PLUGIN: &str = "emq_plugin_gateway";
const DEADLINE: Duration = Duration::from_secs(20);

/// The library of `tests/plugin-gateway`.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--release", "--quiet", "--target-dir"])
            .arg(target())
            .current_dir(source().join("tests/plugin-gateway"));
        run(&mut cargo);
        target().join("release/libemq_plugin_gateway.so")
    })
}

/// A broker with the gateway loaded.
fn broker(shards: usize, conf: &str, config: Config) -> Broker {
    let config = config
        .plugin_conf(PLUGIN, conf)
        .set("node.shards", &shards.to_string());
    let broker = Broker::start(config);
    let dir = broker.root.join("plugins");
    fs::create_dir_all(&dir).unwrap();
    fs::copy(library(), dir.join(format!("{PLUGIN}.so"))).unwrap();
    broker.load(PLUGIN);
    broker
}

/// The gateway's rows in `emqttd_ctl listeners`: address, and what stands below it.
fn listener(broker: &Broker) -> Option<(String, String)> {
    let (_, text) = broker.ctl(&["listeners"]);
    let (_, rows) = text.split_once("listener on toy:tcp:")?;
    let (address, rows) = rows.split_once('\n').unwrap();
    let rows = rows.split("listener on").next().unwrap();
    Some((address.into(), rows.into()))
}

/// Waits until the gateway's rows have this line.
#[track_caller]
fn wait_for_row(broker: &Broker, key: &str, value: &str) {
    let row = format!("  {key:<16}: {value}\n");
    let begun = Instant::now();
    while !listener(broker).is_some_and(|(_, rows)| rows.contains(&row)) {
        assert!(
            begun.elapsed() < DEADLINE,
            "{row:?}: {:?}",
            listener(broker)
        );
    }
}

/// A device of the gateway.
struct Device {
    lines: BufReader<TcpStream>,
    address: String,
}

impl Device {
    fn open(broker: &Broker) -> Device {
        let (address, _) = listener(broker).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let address = stream.local_addr().unwrap().to_string();
        Device {
            lines: BufReader::new(stream),
            address,
        }
    }

    /// One that is let in, without a will.
    #[track_caller]
    fn connect(broker: &Broker, clientid: &str) -> Device {
        let mut device = Device::open(broker);
        device.say(&format!("connect {clientid} - - 1 -"));
        device.hears("connack 0 0");
        device
    }

    fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.lines.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// The next line; an empty one is the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').into()
    }

    #[track_caller]
    fn hears(&mut self, wanted: &str) {
        assert_eq!(self.line(), wanted);
    }

    /// A message, acknowledged; the words before its identifier and behind.
    #[track_caller]
    fn message(&mut self, qos: u8, rest: &str) {
        let line = self.line();
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let ["msg", level, id, got] = words[..] else {
            panic!("{line:?} instead of {rest:?}");
        };
        assert_eq!((level, got), (qos.to_string().as_str(), rest), "{line}");
        assert_eq!(id == "0", qos == 0, "{line}");
        let id = id.to_string();
        self.say(&format!("ack {id}"));
    }
}

fn watcher(broker: &Broker, filter: &str) -> Client {
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.sub(filter, 0);
    watcher
}

/// Waits until the session has nothing in flight.
#[track_caller]
fn wait_until_acknowledged(broker: &Broker, clientid: &str) {
    let begun = Instant::now();
    loop {
        let (_, text) = broker.ctl(&["sessions", "show", clientid]);
        if text.contains("inflight=0") {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{text}");
    }
}

#[test]
fn messages_go_both_ways_at_every_qos() {
    for shards in [1, 3] {
        let broker = broker(shards, "", Config::new());
        let mut mqtt = broker.client(Version::V5, "mqtt");
        mqtt.sub("up/+", 2);
        let id = unique("device");
        let mut device = Device::connect(&broker, &id);
        for qos in 0..=2 {
            device.say(&format!("sub {qos} down/{qos}"));
            device.hears(&format!("suback {qos}"));
        }
        for qos in 0..=2 {
            device.say(&format!("pub {qos} up/{qos} a b"));
            device.hears("puback 0");
            let message = mqtt.recv_message();
            assert_eq!(
                (message.topic, message.payload),
                (format!("up/{qos}"), "a b".into())
            );
            assert_eq!(message.qos, qos);
            mqtt.pub_(&format!("down/{qos}"), qos, "c d");
            device.message(qos, &format!("down/{qos} c d"));
        }
        wait_until_acknowledged(&broker, &id);
        // As long a message as a client may send, through the library in pieces.
        let long = "x".repeat(60_000);
        device.say(&format!("pub 1 down/2 {long}"));
        let mut both = [device.line(), device.line()];
        both.sort();
        assert!(
            both[0].starts_with("msg 1 ") && both[0].ends_with(&long),
            "{:.60}",
            both[0]
        );
        assert_eq!(both[1], "puback 0");
        device.say("unsub down/2");
        device.hears("unsuback");
        device.say("quit");
        device.hears("closed normal");
        device.hears("");
        wait_for_row(&broker, "current_clients", "0");
        wait_for_row(&broker, "shutdown_count", "[]");
    }
}

#[test]
fn it_is_in_all_lists_and_can_be_kicked() {
    let broker = broker(2, "", Config::new());
    let mut wills = watcher(&broker, "will/#");
    let id = unique("listed");
    let mut device = Device::open(&broker);
    device.say(&format!("connect {id} tom secret 1 will/{id}"));
    device.hears("connack 0 0");
    device.say("sub 1 t/+");
    device.hears("suback 1");
    let (_, text) = broker.ctl(&["clients", "show", &id]);
    assert!(
        text.contains(&format!("peername={}", device.address)),
        "{text}"
    );
    assert!(text.contains("username=tom"), "{text}");
    let (_, text) = broker.ctl(&["subscriptions", "show", &id]);
    assert!(text.contains("t/+"), "{text}");
    wait_for_row(&broker, "current_clients", "1");
    wait_for_row(&broker, "max_clients", "16");
    let (address, _) = listener(&broker).unwrap();
    let (_, text) = broker.ctl(&["listeners", "stop", "toy:tcp", &address]);
    assert!(text.contains("it is a plugin's"), "{text}");

    let (code, text) = broker.ctl(&["clients", "kick", &id]);
    assert_eq!(code, 0, "{text}");
    device.hears("closed kick");
    assert_eq!(wills.recv_message().topic, format!("will/{id}"));
    wait_for_row(&broker, "shutdown_count", "[{kick,1}]");
    // A device that is gone without a word.
    let mut device = Device::open(&broker);
    device.say(&format!("connect {id} - - 1 will/lost"));
    device.hears("connack 0 0");
    drop(device);
    assert_eq!(wills.recv_message().payload, id);
    wait_for_row(&broker, "shutdown_count", "[{device_lost,1},{kick,1}]");
}

#[test]
fn one_client_id_is_one_client_whatever_it_speaks() {
    let broker = broker(3, "", Config::new());
    for version in [Version::V311, Version::V5] {
        let id = unique("both");
        let mut device = Device::open(&broker);
        device.say(&format!("connect {id} - - 0 -"));
        device.hears("connack 0 0");
        device.say("sub 1 t");
        device.hears("suback 1");
        let (mut mqtt, present, _) = broker.resume(&Connect::persistent(version, &id));
        assert!(present);
        device.hears("closed conflict");
        let mut publisher = broker.client(Version::V311, "publisher");
        publisher.pub_("t", 1, "one");
        // Not acknowledged here, so it comes again there.
        assert_eq!(mqtt.recv_publish().payload, "one");
        let mut device = Device::open(&broker);
        device.say(&format!("connect {id} - - 0 -"));
        device.hears("connack 0 1");
        mqtt.expect_closed(&[0x8e]);
        device.message(1, "t one");
        device.say("unsub t");
        device.hears("unsuback");
        device.say("quit");
        device.hears("closed normal");
    }
}

#[test]
fn doors_and_rules_hold_for_devices() {
    let config = Config::new()
        .set("mqtt.allow_anonymous", "false")
        .acl("{deny, all, pubsub, [\"secret/#\"]}.\n{allow, all}.\n")
        .plugin_conf(
            "emq_auth_username",
            "auth.user.1.username = tom\nauth.user.1.password = right\n",
        )
        .loaded(&["emq_auth_username"]);
    let conf = "emq_plugin_gateway.mountpoint = toys/\nemq_plugin_gateway.max_clients = 2\n";
    let broker = broker(2, conf, config);
    for credentials in ["- -", "tom wrong", "jerry right"] {
        let mut device = Device::open(&broker);
        device.say(&format!("connect d {credentials} 1 -"));
        device.hears("connack 4 0");
    }
    let connect = Connect::new(Version::V311, &unique("mqtt"))
        .username("tom")
        .password("right");
    let mut mqtt = broker.open(&connect);
    mqtt.sub("#", 0);
    wait_for_row(&broker, "current_clients", "0");
    let mut device = Device::open(&broker);
    device.say("connect d tom right 1 -");
    device.hears("connack 0 0");
    device.say("sub 1 secret/a");
    device.hears("suback 128");
    // With 3.1.1 the broker says nothing of a message that is denied, and still it is known.
    device.say("pub 1 secret/a x");
    device.hears("puback 135");
    device.say("pub 1 open x");
    device.hears("puback 0");
    assert_eq!(mqtt.recv_message().topic, "toys/open");
    // There are two places, and then none.
    let mut second = Device::open(&broker);
    second.say("connect e tom right 1 -");
    second.hears("connack 0 0");
    let mut third = Device::open(&broker);
    third.say("connect f tom right 1 -");
    third.hears("connack 3 0");
}

#[test]
fn when_the_plugin_is_unloaded_its_clients_end() {
    let broker = broker(3, "", Config::new());
    let mut wills = watcher(&broker, "will/#");
    let ids: Vec<String> = (0..6).map(|_| unique("gone")).collect();
    let mut devices: Vec<Device> = ids
        .iter()
        .map(|id| {
            let mut device = Device::open(&broker);
            device.say(&format!("connect {id} - - 1 will/{id}"));
            device.hears("connack 0 0");
            device
        })
        .collect();
    broker.unload(PLUGIN);
    let mut told: Vec<String> = ids.iter().map(|_| wills.recv_message().payload).collect();
    told.sort();
    let mut wanted = ids.clone();
    wanted.sort();
    assert_eq!(told, wanted);
    assert_eq!(listener(&broker), None);
    for (device, id) in devices.iter_mut().zip(&ids) {
        // The task that would tell it may have ended before.
        let last = device.line();
        assert!(["closed shutdown", ""].contains(&last.as_str()), "{last}");
        let (_, text) = broker.ctl(&["clients", "show", id]);
        assert!(!text.contains(id.as_str()), "{text}");
    }
    // And again.
    broker.load(PLUGIN);
    Device::connect(&broker, &ids[0]).say("quit");
}

#[test]
fn a_broker_that_stops_tells_its_devices() {
    let mut broker = broker(2, "", Config::new());
    let mut device = Device::connect(&broker, &unique("last"));
    device.say("sub 1 t");
    device.hears("suback 1");
    assert!(broker.stop().success());
    let last = device.line();
    assert!(["closed shutdown", ""].contains(&last.as_str()), "{last}");
}

#[test]
fn a_slow_device_loses_nothing_at_qos_1() {
    const MESSAGES: usize = 800;
    let broker = broker(2, "", Config::new().set("mqtt.mqueue.max_length", "0"));
    let mut device = Device::connect(&broker, &unique("slow"));
    device.say("sub 1 t");
    device.hears("suback 1");
    let mut publisher = broker.client(Version::V311, "fast");
    let filler = "x".repeat(1000);
    for n in 0..MESSAGES {
        // It answers at once, however slow the device is.
        publisher.publish(Publish::new("t", format!("{n} {filler}")).qos(1));
    }
    for n in 0..MESSAGES {
        device.message(1, &format!("t {n} {filler}"));
    }
}

/// The gateway is there until its clients are gone.
#[test]
fn when_the_broker_stops_wills_of_its_clients_are_published() {
    let mut broker = broker(2, "", Config::new());
    let heir = Connect::new(Version::V311, &unique("heir")).clean(false);
    broker.open(&heir).sub("will/#", 1);
    let ids: Vec<String> = (0..4).map(|_| unique("gone")).collect();
    let devices: Vec<Device> = ids
        .iter()
        .map(|id| {
            let mut device = Device::open(&broker);
            device.say(&format!("connect {id} - - 1 will/{id}"));
            device.hears("connack 0 0");
            device
        })
        .collect();
    broker.restart(emqttd_tests::End::Stop);
    drop(devices);
    let (mut heir, present, _) = broker.resume(&heir);
    assert!(present);
    let mut told: Vec<String> = ids.iter().map(|_| heir.recv_message().payload).collect();
    told.sort();
    let mut wanted = ids.clone();
    wanted.sort();
    assert_eq!(told, wanted);
}
