//! What the tests of all gateways need: where a gateway listens, and what the broker shows of its clients.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use emqttd_tests::{Broker, Client, Packet, Publish, Version, peers, unique};

/// How long something that has to come may take, on a machine that compiles beside us.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// The address of a gateway's listener (`mqtt-sn:udp`, `stomp:tcp`, ...), as `emqttd_ctl listeners` shows it.
#[track_caller]
pub fn address(broker: &Broker, protocol: &str) -> SocketAddr {
    let (_, text) = broker.ctl(&["listeners"]);
    let head = format!("listener on {protocol}:");
    let row = text.lines().find_map(|line| line.strip_prefix(&head));
    let row = row.unwrap_or_else(|| panic!("no {protocol} in {text}"));
    row.parse()
        .unwrap_or_else(|_| panic!("{row:?} is no address"))
}

/// Waits until this is so.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < DEADLINE, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What `clients show` says; `None` when there is no such client.
pub fn shown(broker: &Broker, clientid: &str) -> Option<String> {
    let (_, text) = broker.ctl(&["clients", "show", clientid]);
    text.starts_with("Client(").then_some(text)
}

/// Waits until the client is connected.
#[track_caller]
pub fn wait_for_client(broker: &Broker, clientid: &str) -> String {
    let mut text = None;
    eventually(&format!("{clientid} is there"), || {
        text = shown(broker, clientid);
        text.is_some()
    });
    text.unwrap_or_default()
}

/// Waits until the client is gone.
#[track_caller]
pub fn wait_until_gone(broker: &Broker, clientid: &str) {
    eventually(&format!("{clientid} is gone"), || {
        shown(broker, clientid).is_none()
    });
}

/// An MQTT client with one subscription.
#[track_caller]
pub fn watcher(broker: &Broker, filter: &str, qos: u8) -> Client {
    let mut watcher = broker.client(Version::V311, "watcher");
    watcher.sub(filter, qos);
    watcher
}

/// A reproducible sequence for tests with hostile input (xorshift).
pub struct Random(pub u64);

impl Random {
    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// Bytes, up to so many.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let n = self.below(most + 1);
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

/// Runs a client while what it sends to `<base>/up` comes back at `<base>/down` by way of MQTT; it has to print `ok`.
#[track_caller]
pub fn run_with_echo(broker: &Broker, command: impl FnOnce(&str) -> Command) {
    let base = unique("peer");
    let mut mqtt = broker.client(Version::V5, "echo");
    mqtt.sub(&format!("{base}/up"), 0);
    let over = AtomicBool::new(false);
    let down = format!("{base}/down");
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if let Some(Some(Packet::Publish { payload, .. })) =
                    mqtt.recv_within(Duration::from_millis(100))
                {
                    mqtt.publish(Publish::new(&down, payload).qos(1));
                }
            }
        });
        let (ok, text) = peers::attempt(&mut command(&base));
        over.store(true, Ordering::Relaxed);
        assert!(ok && text.trim() == "ok", "{text}");
    });
}
