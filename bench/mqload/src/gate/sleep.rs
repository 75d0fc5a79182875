//! Many MQTT-SN clients, half of them asleep: what one costs in memory, and whether it gets what came meanwhile.
//!
//! A client is an address and a port. Its socket need not be open while nobody talks to it, so there are a few at a
//! time, whatever the number of clients.
use super::sn;
use super::wire::shown;
use crate::codec;
use crate::sys::{self, ProcSnap};
use crate::Args;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::Duration;

/// Addresses that clients are spread over.
const ADDRESSES: u64 = 200;
/// Their first port: below those that the system gives out.
const FIRST_PORT: u64 = 20_000;
/// Seconds that they may be silent, awake or asleep.
const DURATION: u16 = 3600;
/// An answer that does not come is asked for again after that, so often.
const PATIENCE: Duration = Duration::from_millis(1000);
const TRIES: usize = 5;

struct Client {
    number: u64,
    socket: UdpSocket,
}

struct Clients {
    gateway: SocketAddrV4,
    at_once: u64,
    all: u64,
}

fn name(number: u64) -> String {
    format!("sleeper{number}")
}

fn topic(number: u64) -> String {
    format!("sleep/{number}/down")
}

impl Client {
    fn open(number: u64, gateway: SocketAddrV4) -> Result<Client, String> {
        let ip = Ipv4Addr::new(127, 0, 1, (1 + number % ADDRESSES) as u8);
        let port = (FIRST_PORT + number / ADDRESSES) as u16;
        let open = || {
            let socket = UdpSocket::bind((ip, port))?;
            socket.connect(gateway)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket =
            open().map_err(|e: std::io::Error| format!("{} at {ip}:{port}: {e}", name(number)))?;
        Ok(Client { number, socket })
    }

    /// The next message, given to `wanted`; asks again when none comes.
    fn answer(
        &self,
        question: &[u8],
        mut wanted: impl FnMut(u8, &[u8], &UdpSocket) -> bool,
    ) -> Result<(), String> {
        let mut buf = [0; 2048];
        let mut last = String::from("nothing");
        for _ in 0..TRIES {
            while let Ok(len) = self.socket.recv(&mut buf) {
                if let Some((kind, body)) = sn::open_message(&buf[..len]) {
                    if wanted(kind, body, &self.socket) {
                        return Ok(());
                    }
                }
                last = shown(&buf[..len]);
            }
            self.send(question)?;
        }
        Err(format!(
            "{}: {} was answered with {last}",
            name(self.number),
            shown(question)
        ))
    }

    fn send(&self, bytes: &[u8]) -> Result<(), String> {
        self.socket
            .send(bytes)
            .map(drop)
            .map_err(|e| format!("{}: {e}", name(self.number)))
    }
}

impl Clients {
    /// Some clients at a time: each sends what `questions` says, one after the other, and waits for an answer of that
    /// type whose code is accepted.
    fn each(
        &self,
        whom: impl Fn(u64) -> bool,
        questions: &[(&dyn Fn(u64) -> Vec<u8>, u8)],
    ) -> Result<(), String> {
        self.some(whom, |clients| {
            for (question, kind) in questions {
                for client in clients {
                    client.send(&question(client.number))?;
                }
                for client in clients {
                    client.answer(&question(client.number), |got, body, _| {
                        got == *kind && body.last().is_none_or(|code| *code == 0)
                    })?;
                }
            }
            Ok(())
        })
    }

    fn some(
        &self,
        whom: impl Fn(u64) -> bool,
        mut work: impl FnMut(&[Client]) -> Result<(), String>,
    ) -> Result<(), String> {
        let numbers: Vec<u64> = (0..self.all).filter(|n| whom(*n)).collect();
        for numbers in numbers.chunks(self.at_once as usize) {
            let clients: Result<Vec<_>, _> = numbers
                .iter()
                .map(|number| Client::open(*number, self.gateway))
                .collect();
            work(&clients?)?;
        }
        Ok(())
    }
}

fn asleep(number: u64) -> bool {
    number % 2 == 1
}

/// A message at QoS 1 to each that sleeps, by MQTT.
fn publish(addr: SocketAddrV4, all: u64) -> std::io::Result<u64> {
    let mut tcp = TcpStream::connect(addr)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut out = vec![];
    codec::connect(&mut out, "waker", 600, true);
    tcp.write_all(&out)?;
    tcp.read_exact(&mut [0; 4])?;
    let mut sent = 0;
    let numbers: Vec<u64> = (0..all).filter(|n| asleep(*n)).collect();
    for numbers in numbers.chunks(100) {
        out.clear();
        for (n, number) in numbers.iter().enumerate() {
            let topic = topic(*number);
            codec::publish(
                &mut out,
                topic.as_bytes(),
                1,
                false,
                n as u16 + 1,
                64,
                0,
                0,
                0,
            );
        }
        tcp.write_all(&out)?;
        tcp.read_exact(&mut vec![0; 4 * numbers.len()])?;
        sent += numbers.len() as u64;
    }
    tcp.write_all(&codec::DISCONNECT)?;
    Ok(sent)
}

pub fn run(a: &Args) -> Result<String, String> {
    let pids = a.pids();
    let clients = Clients {
        gateway: SocketAddrV4::new(*a.addr().ip(), a.num("gate", 1884) as u16),
        at_once: a.num("inflight", 64).max(1),
        all: a.num("n", 20_000),
    };
    let n = clients.all;
    let settled = || {
        sys::sleep_ms(500);
        sys::proc_snap(&pids)
    };
    let before = settled();
    let start = sys::now_ns();
    let connect = |number| sn::connect(&name(number), DURATION);
    let subscribe = |number| {
        let mut out = vec![];
        let topic = topic(number);
        let fields: [&[u8]; 2] = [&[1 << 5, 0, 1], topic.as_bytes()];
        sn::message(sn::SUBSCRIBE, &fields, &mut out);
        out
    };
    clients.each(
        |_| true,
        &[(&connect, sn::CONNACK), (&subscribe, sn::SUBACK)],
    )?;
    let seconds = (sys::now_ns() - start) as f64 / 1e9;
    let awake = settled();
    let sleep = |_| {
        let mut out = vec![];
        sn::message(sn::DISCONNECT, &[&DURATION.to_be_bytes()], &mut out);
        out
    };
    clients.each(asleep, &[(&sleep, sn::DISCONNECT)])?;
    let half = settled();
    let hold = a.float("hold", 2.0);
    sys::sleep_ms((hold * 1000.0) as u64);
    let idle = sys::proc_snap(&pids);
    let sent = publish(a.addr(), n).map_err(|e| format!("publishing: {e}"))?;
    let waiting = settled();
    let (mut came, mut topics) = (0, 0);
    clients.some(asleep, |clients| {
        let wake = |number| {
            let mut out = vec![];
            sn::message(sn::PINGREQ, &[name(number).as_bytes()], &mut out);
            out
        };
        for client in clients {
            client.send(&wake(client.number))?;
        }
        for client in clients {
            client.answer(&wake(client.number), |kind, body, socket| {
                let mut reply = vec![];
                match (kind, body) {
                    (sn::PUBLISH, [_, topic_high, topic_low, high, low, payload @ ..]) => {
                        came += u64::from(payload.len() == 64);
                        let fields: [&[u8]; 1] = [&[*topic_high, *topic_low, *high, *low, 0]];
                        sn::message(sn::PUBACK, &fields, &mut reply);
                    }
                    (sn::REGISTER, [topic_high, topic_low, high, low, ..]) => {
                        topics += 1;
                        let fields: [&[u8]; 1] = [&[*topic_high, *topic_low, *high, *low, 0]];
                        sn::message(sn::REGACK, &fields, &mut reply);
                    }
                    _ => {}
                }
                let _ = reply.is_empty() || socket.send(&reply).is_ok();
                kind == sn::PINGRESP
            })?;
        }
        Ok(())
    })?;
    let end = settled();
    let per = |s: &ProcSnap| (s.rss_kb as f64 - before.rss_kb as f64) * 1024.0 / n as f64;
    Ok(format!(
        "{{\"mode\":\"sn-sleep\"{},\"n\":{n},\"conn_s\":{:.0},\"broker_us_conn\":{:.1},\"rss_awake\":{:.0},\"rss_half\":{:.0},\
         \"rss_waiting\":{:.0},\"idle_cpu_pct\":{:.2},\"sent\":{sent},\"lost\":{},\"registered\":{topics},\"wake_us\":{:.1},\
         \"rss_kb\":{},\"rss_peak_kb\":{}}}",
        a.label(),
        n as f64 / seconds,
        (awake.cpu_us - before.cpu_us) / n as f64,
        per(&awake),
        per(&half),
        per(&waiting),
        (idle.cpu_us - half.cpu_us) / (hold * 1e4).max(1.0),
        sent as i64 - came as i64,
        (end.cpu_us - waiting.cpu_us) / sent.max(1) as f64,
        end.rss_kb,
        end.hwm_kb
    ))
}
