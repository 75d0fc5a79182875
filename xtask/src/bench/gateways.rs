//! Rows about gateways: what a message costs that comes in or leaves by another protocol, beside one by MQTT alone, and
//! beside a datagram that is only sent back; and the memory of MQTT-SN clients of which half sleep.

use super::peers::Relay;
use super::report::{failures, faults, machine_lines, met, micros, middle, number, sorted, spread};
use super::server::{Extra, Peer, Programs, Server};
use super::{Run, generate};
use crate::node;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What the rows are run with.
pub struct Bench<'a> {
    pub programs: &'a Programs,
    /// where the broker has its directory
    pub home: PathBuf,
    /// seconds of a measurement
    pub duration: f64,
    pub warmup: f64,
    /// MQTT-SN clients of the row about memory
    pub sleepers: u64,
}

/// One row.
pub struct Row {
    pub name: &'static str,
    title: &'static str,
    load: Load,
    /// the row that it is compared with, and how many times as much it may cost
    beside: Option<(&'static str, Option<f64>)>,
}

/// Who is measured, and the generator's arguments.
enum Load {
    /// a broker without a gateway
    Mqtt(&'static str),
    /// a process that sends datagrams back
    Echo(&'static str),
    Gateway(&'static Gateway, &'static str),
    /// many clients of MQTT-SN
    Sleepers,
}

/// A plugin with an address.
struct Gateway {
    plugin: &'static str,
    udp: bool,
    /// its file; PORT is the one that it listens on, OTHER one that nothing else has
    keys: &'static str,
}

static STOMP: Gateway = Gateway {
    plugin: "emq_stomp",
    udp: false,
    keys: "stomp.listener = 127.0.0.1:PORT\n",
};

static SOCKJS: Gateway = Gateway {
    plugin: "emq_sockjs",
    udp: false,
    keys: "sockjs.listener = 127.0.0.1:PORT\n",
};

static SN: Gateway = Gateway {
    plugin: "emq_sn",
    udp: true,
    keys: "mqtt.sn.port = 127.0.0.1:PORT\nmqtt.sn.advertise_to = 127.0.0.1:OTHER\n",
};

static COAP: Gateway = Gateway {
    plugin: "emq_coap",
    udp: true,
    keys: "coap.port = 127.0.0.1:PORT\ncoap.dtls.port = 127.0.0.1:OTHER\n",
};

/// The figure that is compared.
const COST: &str = "broker_us_msg";
/// What the project has set itself: so many times the cost beside which a row stands.
const TIMES: f64 = 3.0;
/// The row about memory.
const SLEEP: &str = "sn-sleep";

const fn plain(name: &'static str, title: &'static str, args: &'static str) -> Row {
    Row {
        name,
        title,
        load: Load::Mqtt(args),
        beside: None,
    }
}

const fn echo(name: &'static str, title: &'static str, args: &'static str) -> Row {
    Row {
        name,
        title,
        load: Load::Echo(args),
        beside: None,
    }
}

/// With a goal.
const fn within(
    name: &'static str,
    title: &'static str,
    gateway: &'static Gateway,
    args: &'static str,
    beside: &'static str,
) -> Row {
    Row {
        name,
        title,
        load: Load::Gateway(gateway, args),
        beside: Some((beside, Some(TIMES))),
    }
}

/// Compared, without a goal.
const fn seen(
    name: &'static str,
    title: &'static str,
    gateway: &'static Gateway,
    args: &'static str,
    beside: &'static str,
) -> Row {
    Row {
        name,
        title,
        load: Load::Gateway(gateway, args),
        beside: Some((beside, None)),
    }
}

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    plain("mqtt-10k", "MQTT to MQTT, QoS 0, 10k/s, lone messages", "--rate 10000"),
    plain("mqtt-b16", "… 50k/s, bursts of 16", "--rate 50000 --burst 16"),
    plain("mqtt-max", "… closed loop", ""),
    plain("mqtt-q1-10k", "MQTT to MQTT, QoS 1, 10k/s, lone messages", "--qos 1 --rate 10000"),
    plain("mqtt-q1-max", "… closed loop", "--qos 1"),
    within("stomp-in-10k", "SEND to MQTT, 10k/s, lone messages", &STOMP, "--in stomp --rate 10000", "mqtt-10k"),
    within("stomp-in-b16", "… 50k/s, bursts of 16", &STOMP, "--in stomp --rate 50000 --burst 16", "mqtt-b16"),
    within("stomp-in-max", "… closed loop", &STOMP, "--in stomp", "mqtt-max"),
    within("stomp-in-q1-10k", "SEND with a receipt to MQTT, 10k/s, lone messages", &STOMP, "--in stomp --qos 1 --rate 10000", "mqtt-q1-10k"),
    within("stomp-in-q1-max", "… closed loop", &STOMP, "--in stomp --qos 1", "mqtt-q1-max"),
    within("stomp-out-10k", "MQTT to MESSAGE, 10k/s, lone messages", &STOMP, "--out stomp --rate 10000", "mqtt-10k"),
    within("stomp-out-b16", "… 50k/s, bursts of 16", &STOMP, "--out stomp --rate 50000 --burst 16", "mqtt-b16"),
    within("stomp-out-max", "… closed loop", &STOMP, "--out stomp", "mqtt-max"),
    within("stomp-out-q1-10k", "MQTT to MESSAGE and ACK, 10k/s, lone messages", &STOMP, "--out stomp --qos 1 --rate 10000", "mqtt-q1-10k"),
    within("stomp-out-q1-max", "… closed loop", &STOMP, "--out stomp --qos 1", "mqtt-q1-max"),
    seen("sockjs-in-10k", "SEND by WebSocket to MQTT, 10k/s, lone messages", &SOCKJS, "--in sockjs --rate 10000", "mqtt-10k"),
    seen("sockjs-in-max", "… closed loop", &SOCKJS, "--in sockjs", "mqtt-max"),
    seen("sockjs-out-10k", "MQTT to MESSAGE by WebSocket, 10k/s, lone messages", &SOCKJS, "--out sockjs --rate 10000", "mqtt-10k"),
    seen("sockjs-out-max", "… closed loop", &SOCKJS, "--out sockjs", "mqtt-max"),
    echo("echo-71-10k", "a datagram of 71 bytes sent back, 10k/s, lone ones", "--size 71 --rate 10000"),
    echo("echo-71-max", "… closed loop", "--size 71"),
    within("sn-q0-10k", "PUBLISH QoS 0 that nobody gets, 10k/s, lone messages", &SN, "--in sn --out none --rate 10000", "echo-71-10k"),
    within("sn-q0-max", "… closed loop, PINGREQ behind 16 of them", &SN, "--in sn --out none", "echo-71-max"),
    within("sn-q1-10k", "PUBLISH QoS 1 that nobody gets, 10k/s, lone messages", &SN, "--in sn --out none --qos 1 --rate 10000", "echo-71-10k"),
    within("sn-q1-max", "… closed loop", &SN, "--in sn --out none --qos 1", "echo-71-max"),
    seen("sn-in-10k", "PUBLISH QoS 0 to MQTT, 10k/s, lone messages", &SN, "--in sn --rate 10000", "mqtt-10k"),
    seen("sn-in-max", "… closed loop", &SN, "--in sn", "mqtt-max"),
    seen("sn-in-q1-10k", "PUBLISH QoS 1 to MQTT, 10k/s, lone messages", &SN, "--in sn --qos 1 --rate 10000", "mqtt-q1-10k"),
    seen("sn-in-q1-max", "… closed loop", &SN, "--in sn --qos 1", "mqtt-q1-max"),
    seen("sn-out-10k", "MQTT to PUBLISH QoS 0, 10k/s, lone messages", &SN, "--out sn --rate 10000", "mqtt-10k"),
    seen("sn-out-max", "… closed loop", &SN, "--out sn", "mqtt-max"),
    seen("sn-out-q1-10k", "MQTT to PUBLISH QoS 1, 10k/s, lone messages", &SN, "--out sn --qos 1 --rate 10000", "mqtt-q1-10k"),
    echo("echo-92-10k", "a datagram of 92 bytes sent back, 10k/s, lone ones", "--size 92 --rate 10000"),
    echo("echo-92-max", "… closed loop", "--size 92"),
    within("coap-non-10k", "PUT, NON, that nobody gets, 10k/s, lone messages", &COAP, "--in coap --out none --rate 10000", "echo-92-10k"),
    within("coap-non-max", "… closed loop", &COAP, "--in coap --out none", "echo-92-max"),
    within("coap-con-10k", "PUT, CON, that nobody gets, 10k/s, lone messages", &COAP, "--in coap --out none --con --rate 10000", "echo-92-10k"),
    within("coap-con-max", "… closed loop", &COAP, "--in coap --out none --con", "echo-92-max"),
    seen("coap-in-10k", "PUT, CON, to MQTT, 10k/s, lone messages", &COAP, "--in coap --con --rate 10000", "mqtt-10k"),
    seen("coap-in-max", "… closed loop", &COAP, "--in coap --con", "mqtt-max"),
    seen("coap-out-10k", "MQTT to notifications, 10k/s, lone messages", &COAP, "--out coap --rate 10000", "mqtt-10k"),
    seen("coap-out-max", "… closed loop", &COAP, "--out coap", "mqtt-max"),
    Row {
        name: SLEEP,
        title: "",
        load: Load::Sleepers,
        beside: None,
    },
];

/// What the row about memory tells: key, title, unit, whether it is to be shown as it is.
const MEMORY: [(&str, &str, &str); 7] = [
    ("rss_awake", "memory of a client that is awake", "B"),
    ("rss_half", "… when half of them sleep", "B"),
    (
        "rss_waiting",
        "… when a message waits for each that sleeps",
        "B",
    ),
    ("conn_s", "connected and subscribed", "/s"),
    ("broker_us_conn", "… processor time of one", "µs"),
    (
        "wake_us",
        "to wake one with its message, processor time",
        "µs",
    ),
    (
        "idle_cpu_pct",
        "processor time of all when nothing happens",
        "%",
    ),
];

impl Row {
    /// Starts who is measured, runs the generator, and stops them.
    pub fn run(&self, bench: &Bench<'_>) -> Result<Map<String, Value>, String> {
        match self.load {
            Load::Mqtt(args) => {
                let mut broker = bench.start(&Extra::default())?;
                let port = broker.port.to_string();
                let args = format!("gate {args} --port {port} --pid {}", broker.pids());
                let result = bench.generate(&args);
                alive(&mut broker, result)
            }
            Load::Echo(args) => {
                let echo = Echo::start(bench.programs)?;
                let args = format!(
                    "gate --in echo --out none {args} --gate {} --pid {}",
                    echo.port,
                    echo.child.id()
                );
                bench.generate(&args)
            }
            Load::Gateway(gateway, args) => {
                let (mut broker, port) = bench.gateway(gateway)?;
                let before = bench.received(&broker);
                let result = bench.generate(&format!(
                    "gate {args} --gate {port} --port {} --pid {}",
                    broker.port,
                    broker.pids()
                ));
                let mut figures = alive(&mut broker, result)?;
                if args.contains("--out none") {
                    // Whether they all came in is known to the broker alone.
                    let came = bench.received(&broker)? - before?;
                    let sent = figures.get("sent").and_then(Value::as_f64);
                    let lost = (sent.unwrap_or_default() - came).max(0.0);
                    figures.insert("lost".into(), lost.into());
                }
                Ok(figures)
            }
            Load::Sleepers => {
                let (mut broker, port) = bench.gateway(&SN)?;
                let result = bench.generate(&format!(
                    "sn-sleep --n {} --gate {port} --port {} --pid {}",
                    bench.sleepers,
                    broker.port,
                    broker.pids()
                ));
                alive(&mut broker, result)
            }
        }
    }
}

/// The result of a broker that still runs.
fn alive(
    broker: &mut Server,
    result: Result<Map<String, Value>, String>,
) -> Result<Map<String, Value>, String> {
    match result {
        _ if !broker.alive() => Err(format!("the broker died: {}", broker.said())),
        Err(e) => Err(format!("{e}; the broker: {:?}", broker.said())),
        figures => figures,
    }
}

impl Bench<'_> {
    fn start(&self, extra: &Extra) -> Result<Server, String> {
        Server::start(Peer::Ours, self.programs, Relay::No, &self.home, extra)
    }

    /// A broker with this gateway, and the port of the gateway.
    fn gateway(&self, gateway: &Gateway) -> Result<(Server, u16), String> {
        let free = || {
            if gateway.udp {
                free_udp_port()
            } else {
                node::free_port()
            }
        };
        let (port, other) = (free()?, free()?);
        let keys = gateway.keys.replace("PORT", &port.to_string());
        let keys = keys.replace("OTHER", &other.to_string());
        let extra = Extra {
            plugin: Some((gateway.plugin, keys)),
            ..Extra::default()
        };
        Ok((self.start(&extra)?, port))
    }

    fn generate(&self, args: &str) -> Result<Map<String, Value>, String> {
        let mut command = Command::new(&self.programs.mqload);
        command
            .args(args.split_whitespace())
            .args(["--dur", &self.duration.to_string()])
            .args(["--warmup", &self.warmup.to_string()]);
        match generate(&mut command, Duration::from_secs(150))? {
            Value::Object(figures) => Ok(figures),
            other => Err(other.to_string()),
        }
    }

    /// Messages that have come in so far.
    fn received(&self, broker: &Server) -> Result<f64, String> {
        let ctl = self.programs.ours.with_file_name("emqttd_ctl");
        let output = Command::new(&ctl)
            .args(["broker", "metrics"])
            .current_dir(&broker.home)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("{}: {e}", ctl.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut rows = text.lines().filter_map(|line| line.split_once(':'));
        rows.find(|(name, _)| name.trim() == "messages/received")
            .and_then(|(_, count)| count.trim().parse().ok())
            .ok_or_else(|| format!("no count of messages in {text:?}"))
    }
}

fn free_udp_port() -> Result<u16, String> {
    let bound = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|s| s.local_addr());
    bound
        .map(|addr| addr.port())
        .map_err(|e| format!("no free port: {e}"))
}

/// The floor of what comes by UDP; ends with this value.
struct Echo {
    child: Child,
    port: u16,
}

impl Echo {
    fn start(programs: &Programs) -> Result<Echo, String> {
        let port = free_udp_port()?;
        let child = Command::new(&programs.mqload)
            .args(["udp-echo", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("{}: {e}", programs.mqload.display()))?;
        Ok(Echo { child, port })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part of the report, without a title.
pub fn markdown(rows: &[&Row], runs: &[Run], reps: usize, load: &str, bench: &Bench<'_>) -> String {
    let mut out = machine_lines(load);
    let _ = writeln!(
        out,
        "- {reps} interleaved repetitions, medians; processor time of the broker's process, or of the echo's"
    );
    if rows.iter().any(|row| row.name != SLEEP) {
        out.push_str(
            "\n16 senders, each with a receiver of its own or none; payloads of 64 bytes. In a closed loop each sender has 16 \
             messages under way. A row is compared with the one of the same shape that is named `beside`.\n\n\
             | row | | messages/s | processor time of a message | least to most | beside | × | goal | goal met |\n\
             |---|---|--:|--:|--:|---|--:|--:|---|\n",
        );
        for row in rows.iter().filter(|row| row.name != SLEEP) {
            line(&mut out, row, runs);
        }
    }
    if rows.iter().any(|row| row.name == SLEEP) {
        let _ = writeln!(
            out,
            "\n{} clients of MQTT-SN with a subscription at QoS 1 each, then every other one asleep; resident memory, of which what \
             the broker had before is taken away.\n\n\
             | row | | | least to most |\n|---|---|--:|--:|",
            number(bench.sleepers as f64)
        );
        for (key, title, unit) in MEMORY {
            let all = sorted(runs, SLEEP, key);
            let value = middle(&all).map_or("–".into(), |v| format!("{} {unit}", number(v)));
            let _ = writeln!(out, "| {SLEEP} | {title} | {value} | {} |", spread(&all));
        }
    }
    let mut notes = String::new();
    for row in rows {
        if let Some(faults) = faults(runs, row.name, Peer::Ours.name()) {
            let _ = writeln!(notes, "- {}: {faults}", row.name);
        }
    }
    failures(&mut notes, runs);
    let _ = write!(out, "\n{notes}");
    out
}

fn line(out: &mut String, row: &Row, runs: &[Run]) {
    let cost = |row| middle(&sorted(runs, row, COST));
    let all = sorted(runs, row.name, COST);
    let own = middle(&all);
    let other = row.beside.and_then(|(name, _)| cost(name));
    let times = own.zip(other).filter(|(_, other)| *other > 0.0);
    let times = times.map(|(own, other)| own / other);
    let goal = row.beside.and_then(|(_, goal)| goal);
    let cell = |value: Option<f64>| value.map_or("–".into(), number);
    let _ = writeln!(
        out,
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        row.name,
        row.title,
        cell(middle(&sorted(runs, row.name, "recv_s"))),
        micros(own),
        spread(&all),
        row.beside.map_or("–", |(name, _)| name),
        cell(times),
        goal.map_or("–".into(), |goal| format!("≤ {}", number(goal))),
        met(times, goal),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(row: &'static str, result: Value) -> Run {
        Run {
            row,
            peer: "emqttd",
            result: Ok(result),
        }
    }

    #[test]
    fn a_row_is_compared_with_the_one_beside() {
        let runs = [
            run("mqtt-10k", json!({COST: 10.0, "recv_s": 10_000})),
            run("stomp-in-10k", json!({COST: 26.0, "recv_s": 10_000})),
            run("mqtt-10k", json!({COST: 12.0})),
            run("stomp-in-10k", json!({COST: 90.0, "lost": 2})),
            run("mqtt-10k", json!({COST: 11.0})),
            run("stomp-in-10k", json!({COST: 44.0})),
            run(SLEEP, json!({"rss_half": 1500})),
        ];
        let rows: Vec<&Row> = ROWS.iter().collect();
        let programs = Programs::default();
        let bench = Bench {
            programs: &programs,
            home: PathBuf::new(),
            duration: 1.0,
            warmup: 0.0,
            sleepers: 20_000,
        };
        let text = markdown(&rows, &runs, 3, "0", &bench);
        for line in [
            "| 10,000 | 11.0 µs | 10.0 – 12.0 | – | – | – | – |",
            "| 10,000 | 44.0 µs | 26.0 – 90.0 | mqtt-10k | 4.00 | ≤ 3.00 | no, +33 % |",
            "- stomp-in-10k: 2 lost\n",
            "| sn-sleep | … when half of them sleep | 1,500 B | – |",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn what_a_row_is_compared_with_is_a_row_before_it() {
        for (n, row) in ROWS.iter().enumerate() {
            assert!(
                !ROWS[..n].iter().any(|r| r.name == row.name),
                "{}",
                row.name
            );
            if let Some((beside, _)) = row.beside {
                assert!(ROWS[..n].iter().any(|r| r.name == beside), "{}", row.name);
            }
        }
    }
}
