//! mqload: MQTT 3.1.1 load generator and raw relay. `cargo xtask bench` drives it.
mod codec;
mod floor;
mod gate;
mod hist;
mod load;
mod relay;
mod sink;
mod sys;
mod uring;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

pub struct Args {
    m: HashMap<String, String>,
}

impl Args {
    pub fn num(&self, k: &str, d: u64) -> u64 {
        self.m.get(k).map_or(d, |v| {
            v.parse()
                .unwrap_or_else(|_| die(&format!("--{k} {v}: not a number")))
        })
    }
    pub fn float(&self, k: &str, d: f64) -> f64 {
        self.m.get(k).map_or(d, |v| {
            v.parse()
                .unwrap_or_else(|_| die(&format!("--{k} {v}: not a number")))
        })
    }
    pub fn flag(&self, k: &str) -> bool {
        self.m.contains_key(k)
    }
    pub fn text(&self, k: &str) -> Option<&str> {
        self.m.get(k).map(String::as_str)
    }
    pub fn addr(&self) -> SocketAddrV4 {
        let a = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.num("port", 1883) as u16);
        // loopback only, by construction
        assert!(a.ip().is_loopback());
        a
    }
    pub fn pids(&self) -> Vec<u32> {
        self.m.get("pid").map_or(vec![], |v| {
            v.split(',').filter_map(|x| x.parse().ok()).collect()
        })
    }
    pub fn label(&self) -> String {
        let mut s = String::new();
        for k in ["peer", "row"] {
            if let Some(v) = self.m.get(k) {
                s.push_str(&format!(",\"{k}\":\"{v}\""));
            }
        }
        s
    }
}

fn die(m: &str) -> ! {
    eprintln!("mqload: {m}");
    std::process::exit(2)
}

const USAGE: &str = "usage: mqload MODE [--port 1883] [--pid BROKER[,PID]] [--peer NAME] [--row NAME] [--user U --password P] [options]
  p2p     --pairs 16 --qos 0 --size 64 [--window 100 | --rate MSG_S --burst 1 --tick-us 200] --warmup 1 --dur 5
  fanout  --pubs 1 --subs 1000 --window 10 | --rate ...
  fanin   --pubs 1000 --subs 1 [--shared] --window 4 | --rate ...
  wild    --filters 100000 --clients 100 --pubs 4 --window 50 | --rate ...
  retain  --messages 100000 --rounds 3 [--sub-qos 0]
  retain-wide --messages 1000000 --rounds 3 [--sub-qos 0] [--there]
          everything to one subscriber while another is asked how long it waits; ten by a wildcard
  storm   --slots 32 --dur 5 [--no-sub]
  conn    --n 20000 --procs 1 --hold 3 [--sub] [--ping SECONDS] [--keepalive S]
  logins  --n 2000 --inflight 64 [--user u --password P]     new clients, client i as user u<i>
  durable --pubs 64 --subs 1 --window 64 | --rate MSG_S [--online [--clean] [--deliveries]] [--topic T] [--most N]
          [--floor-dir DIR --floor-bytes 160 --slice-ms 500]
          publish to sessions that outlive their connections; acknowledgements are what counts
  resume  --subs 1 --expect N                     connect them again and take what they are owed
  populate --sessions 1000000 --slots 128         connect, subscribe to three filters, leave
  gate    --in mqtt|stomp|sockjs|sn|coap|echo --out mqtt|...|none --gate PORT [--con] --pairs 16 --qos 0 --size 64
          [--window 16 | --rate MSG_S --burst 1]  each from a sender to a receiver, by these protocols
  udp-echo --port P                               sends datagrams back: what `gate --in echo` talks to
  sn-sleep --n 20000 --gate PORT                  MQTT-SN clients, half of them asleep: memory
  floor   --dir DIR --bytes N --dur 2 [--zeros]   write and fdatasync without a broker
  sink    --port P                                what a web hook posts to; see sink.rs for what it reads
  relay   --port P [--ack] [--coalesce] [--nap-us N] [--procs K]
  relay-uring --port P [--coop]";

fn main() {
    let mut it = std::env::args().skip(1);
    let mode = it.next().unwrap_or_else(|| die(USAGE));
    let mut m = HashMap::new();
    let rest: Vec<String> = it.collect();
    let mut i = 0;
    while i < rest.len() {
        let k = rest[i]
            .strip_prefix("--")
            .unwrap_or_else(|| die(&format!("{}?\n{USAGE}", rest[i])));
        let v = rest.get(i + 1).filter(|v| !v.starts_with("--"));
        m.insert(k.to_string(), v.cloned().unwrap_or_default());
        i += if v.is_some() { 2 } else { 1 };
    }
    let a = Args { m };
    sys::raise_nofile();
    let r = match mode.as_str() {
        "p2p" => load::p2p(&a),
        "fanout" => load::fanout(&a),
        "fanin" => load::fanin(&a),
        "wild" => load::wild(&a),
        "retain" => load::retain(&a),
        "retain-wide" => load::wide::run(&a),
        "storm" => load::storm(&a),
        "conn" => load::conn(&a),
        "logins" => load::logins::run(&a),
        "durable" => load::durable::publish(&a),
        "resume" => load::durable::resume(&a),
        "populate" => load::durable::populate(&a),
        "gate" => gate::run(&a),
        "udp-echo" => gate::echo(&a),
        "sn-sleep" => gate::sleep(&a),
        "floor" => floor::run(&a),
        "sink" => sink::run(&a),
        "relay" => relay::run(&a),
        "relay-uring" => uring::run(&a),
        _ => die(USAGE),
    };
    match r {
        Ok(s) => println!("{s}"),
        Err(e) => {
            println!(
                "{{\"mode\":\"{mode}\"{},\"error\":\"{}\"}}",
                a.label(),
                e.replace('"', "'")
            );
            std::process::exit(1)
        }
    }
}
