//! A client that others wrote: `mqtt_sn_pub` and `mqtt_sn_sub` of the package mqtt-sn-12.

use std::process::{Child, Command, Stdio};

use emqttd_tests::peers::{gateways_python, run};
use emqttd_tests::{Broker, End, Publish, Version};

use super::device::gateway;
use crate::common::{DEADLINE, address, eventually, watcher};

fn client(broker: &Broker, program: &str, args: &[&str]) -> Option<Command> {
    let mut command = Command::new(gateways_python("mqttsn12")?);
    let port = address(broker, "mqtt-sn:udp").port().to_string();
    // Its clean session is on whatever it is told: `-c` only leaves it as it was.
    let start = format!(
        "import sys; from mqttsn12.client.MqttSnClient import MqttSnClient as Client\n\
         from mqttsn12.{program} import main\n\
         init = Client.__init__\n\
         def kept(self):\n    init(self); self.clean_session = False\n\
         Client.__init__ = kept\n\
         sys.exit(main())"
    );
    command.args(["-c", &start, "-h", "127.0.0.1", "-p", &port]);
    command.args(args);
    Some(command)
}

/// Publishes and waits for the end of the program.
fn publish(broker: &Broker, args: &[&str]) {
    if let Some(mut command) = client(broker, "mqtt_sn_pub", args) {
        run(&mut command);
    }
}

/// A subscriber that ends with its first message.
struct Subscriber(Child);

impl Subscriber {
    /// One that has subscribed.
    fn start(broker: &Broker, id: &str, args: &[&str]) -> Option<Subscriber> {
        let mut command = client(broker, "mqtt_sn_sub", &["-i", id, "-1"])?;
        let child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        eventually("it has subscribed", || {
            broker.ctl(&["subscriptions", "show", id]).1.contains(id)
        });
        Some(Subscriber(child))
    }

    /// What it has printed, once it has ended.
    fn output(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }
}

#[test]
fn what_it_publishes() {
    let broker = gateway("mqtt.sn.enable_qos3 = on\n");
    if client(&broker, "mqtt_sn_pub", &[]).is_none() {
        return;
    }
    let mut heard = watcher(&broker, "#", 2);
    for (args, topic, qos) in [
        (&["-t", "sn/py/0", "-m", "m", "-q", "0"][..], "sn/py/0", 0),
        (&["-t", "sn/py/1", "-m", "m", "-q", "1"], "sn/py/1", 1),
        (&["-t", "sn/py/2", "-m", "m", "-q", "2"], "sn/py/2", 2),
        (&["-t", "zz", "-m", "m", "-q", "1"], "zz", 1),
        (
            &["-T", "1", "-m", "m", "-q", "1"],
            "/predefined/topic/name/hello",
            1,
        ),
        (
            &["-T", "2", "-m", "m", "-q", "-1"],
            "/predefined/topic/name/nice",
            0,
        ),
    ] {
        publish(&broker, &[&["-i", "sn-py-pub"], args].concat());
        assert_eq!(heard.expect(topic, "m").qos, qos, "{args:?}");
    }
    let long = "x".repeat(200);
    publish(
        &broker,
        &[
            "-i",
            "sn-py-pub",
            "-t",
            "sn/py/long",
            "-m",
            &long,
            "-q",
            "1",
        ],
    );
    heard.expect("sn/py/long", &long);
}

#[test]
fn what_it_receives() {
    let broker = gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    for (args, topic) in [
        (&["-t", "sn/py/down"][..], "sn/py/down"),
        (&["-t", "sn/py/down", "-q", "1"], "sn/py/down"),
        (&["-t", "sn/w/#"], "sn/w/x/y"),
        (&["-t", "sn/+/end", "-q", "1"], "sn/mid/end"),
        (&["-t", "yy"], "yy"),
        (&["-T", "1"], "/predefined/topic/name/hello"),
    ] {
        let Some(subscriber) = Subscriber::start(&broker, "sn-py-sub", args) else {
            return;
        };
        mqtt.publish(Publish::new(topic, "down").qos(1));
        assert!(subscriber.output().contains("down"), "{args:?}");
        crate::common::wait_until_gone(&broker, "sn-py-sub");
    }
}

#[test]
fn its_will() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "sn/py/will", 1);
    let args = [
        "-t",
        "x/y",
        "-k",
        "1",
        "--will-topic",
        "sn/py/will",
        "--will-payload",
        "gone",
    ];
    let Some(mut subscriber) = Subscriber::start(&broker, "sn-py-will", &args) else {
        return;
    };
    subscriber.0.kill().unwrap();
    subscriber.0.wait().unwrap();
    heard.expect("sn/py/will", "gone");
}

/// Clean session off; the broker is killed between.
#[test]
fn its_session() {
    let mut broker = gateway("");
    let args = ["-t", "sn/py/kept", "-q", "1", "-c"];
    let Some(mut subscriber) = Subscriber::start(&broker, "sn-py-kept", &args) else {
        return;
    };
    subscriber.0.kill().unwrap();
    subscriber.0.wait().unwrap();
    broker.restart(End::Kill);
    let mut mqtt = broker.client(Version::V311, "mqtt");
    mqtt.publish(Publish::new("sn/py/kept", "later").qos(1));
    let begun = std::time::Instant::now();
    let subscriber = Subscriber::start(&broker, "sn-py-kept", &args).unwrap();
    assert!(subscriber.output().contains("later"));
    assert!(begun.elapsed() < DEADLINE);
}
