//! Many retained messages: everything to one subscriber while another client is asked how long it waits,
//! and a few of them by a wildcard in the middle. Threads and blocking sockets, so that the one who measures
//! has nothing else to do.

use crate::codec;
use crate::hist::Hist;
use crate::sys;
use crate::Args;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Subscriptions to `ten/+/b`, one after the other.
const TENS: usize = 200;

struct Client {
    socket: TcpStream,
    bytes: Vec<u8>,
    at: usize,
}

impl Client {
    fn connect(a: &Args, id: &str) -> io::Result<Client> {
        let socket = TcpStream::connect(a.addr())?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut client = Client {
            socket,
            bytes: Vec::new(),
            at: 0,
        };
        let mut w = Vec::new();
        codec::connect(&mut w, id, 600, true);
        client.socket.write_all(&w)?;
        client.packet(|_, _| ())?;
        Ok(client)
    }

    /// Waits for a packet: its first byte, and what `f` makes of it.
    fn packet<T>(&mut self, f: impl FnOnce(u8, &[u8]) -> T) -> io::Result<T> {
        loop {
            match codec::frame(&self.bytes[self.at..]) {
                Ok((first, head, len)) => {
                    let made = f(first, &self.bytes[self.at + head..self.at + len]);
                    self.at += len;
                    return Ok(made);
                }
                Err(true) => return Err(io::ErrorKind::InvalidData.into()),
                Err(false) => {
                    self.bytes.drain(..self.at);
                    self.at = 0;
                    let have = self.bytes.len();
                    self.bytes.resize(have + 256 * 1024, 0);
                    let n = self.socket.read(&mut self.bytes[have..])?;
                    self.bytes.truncate(have + n);
                    if n == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    fn ping(&mut self) -> io::Result<()> {
        self.socket.write_all(&codec::PINGREQ)?;
        while self.packet(|first, _| first != 0xd0)? {}
        Ok(())
    }

    /// Subscribes, and waits until SUBACK and so many messages have come; those out of order of their
    /// sequence.
    fn take(&mut self, filter: &str, qos: u8, messages: u64) -> io::Result<u64> {
        let mut w = Vec::new();
        codec::subscribe(&mut w, 1, &[filter.to_string()], qos);
        self.socket.write_all(&w)?;
        let (mut got, mut acked, mut last, mut wrong) = (0, false, None, 0);
        while got < messages || !acked {
            let (ack, seq, pid) = self.packet(|first, body| {
                if first >> 4 != 3 {
                    return (true, 0, None);
                }
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let id = (first >> 1 & 3 > 0)
                    .then(|| u16::from_be_bytes([body[2 + topic], body[3 + topic]]));
                let tail = &body[body.len().saturating_sub(4)..];
                (
                    false,
                    u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]),
                    id,
                )
            })?;
            if ack {
                acked = true;
                continue;
            }
            got += 1;
            wrong += u64::from(last.is_some_and(|last| seq <= last));
            last = Some(seq);
            if let Some(pid) = pid {
                let mut w = Vec::new();
                codec::ack(&mut w, codec::PUBACK, pid);
                self.socket.write_all(&w)?;
            }
        }
        Ok(wrong)
    }
}

/// A payload that ends with the number.
fn retained(w: &mut Vec<u8>, topic: &str, size: usize, seq: u32) {
    let at = w.len();
    codec::publish(w, topic.as_bytes(), 0, true, 0, size, 0, 0, 0);
    let end = w.len();
    debug_assert!(at < end);
    w[end - 4..].copy_from_slice(&seq.to_le_bytes());
}

pub fn run(a: &Args) -> Result<String, String> {
    measure(a).map_err(|e| e.to_string())
}

fn measure(a: &Args) -> io::Result<String> {
    let m = a.num("messages", 1_000_000);
    let rounds = a.num("rounds", 3);
    let size = (a.num("size", 64) as usize).max(codec::PAYLOAD_MIN + 4);
    let sub_qos = a.num("sub-qos", 0) as u8;
    let pids = a.pids();
    let mut publisher = Client::connect(a, "wide-pub")?;
    let before = sys::proc_snap(&pids);
    let start = sys::now_ns();
    if !a.flag("there") {
        let mut w = Vec::new();
        for i in 0..m {
            retained(
                &mut w,
                &format!("ret/{}/{}/v", i / 1000, i % 1000),
                size,
                i as u32,
            );
            if w.len() > 64 * 1024 || i + 1 == m {
                publisher.socket.write_all(&w)?;
                w.clear();
            }
        }
        for i in 0..1000 {
            let last = if i % 100 == 0 { "b" } else { "c" };
            retained(&mut w, &format!("ten/{i}/{last}"), size, m as u32 + i);
        }
        publisher.socket.write_all(&w)?;
        publisher.ping()?;
    }
    let store_s = (sys::now_ns() - start) as f64 / 1e9;
    let after = sys::proc_snap(&pids);
    let mut tens = Hist::new();
    for i in 0..TENS {
        let mut client = Client::connect(a, &format!("ten{i}"))?;
        let start = sys::now_ns();
        client.take("ten/+/b", sub_qos, 10)?;
        tens.add(sys::now_ns() - start);
        client.socket.write_all(&codec::DISCONNECT)?;
    }
    let mut alone = Hist::new();
    for _ in 0..2000 {
        let start = sys::now_ns();
        publisher.ping()?;
        alone.add(sys::now_ns() - start);
        std::thread::sleep(Duration::from_micros(200));
    }
    let (mut beside, mut times, mut wrong, mut longest) = (Hist::new(), Vec::new(), 0, 0);
    let c0 = sys::proc_snap(&pids);
    for round in 0..rounds {
        let mut wide = Client::connect(a, &format!("wide{round}"))?;
        let done = AtomicBool::new(false);
        let start = sys::now_ns();
        let out = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let wrong = wide.take("#", sub_qos, m + 1000);
                done.store(true, Ordering::Relaxed);
                (wrong, sys::now_ns())
            });
            while !done.load(Ordering::Relaxed) {
                let start = sys::now_ns();
                publisher.ping()?;
                let took = sys::now_ns() - start;
                beside.add(took);
                longest = longest.max(took);
                std::thread::sleep(Duration::from_micros(200));
            }
            let (out, end) = reading
                .join()
                .unwrap_or((Err(io::ErrorKind::Other.into()), 0));
            out.map(|out| (out, end))
        })?;
        wrong += out.0;
        times.push((out.1 - start) as f64 / 1e6);
    }
    let c1 = sys::proc_snap(&pids);
    times.sort_by(f64::total_cmp);
    Ok(format!(
        "{{\"mode\":\"retain-wide\"{},\"messages\":{m},\"size\":{size},\"store_s\":{store_s:.2},\"bytes_per_msg\":{:.0},\
         \"ten_us_p50\":{:.0},\"ten_us_p99\":{:.0},\"alone_us_p50\":{:.0},\"alone_us_p99\":{:.0},\"arrive_ms\":{:.0},\"arrive_us_cpu\":{:.3},\
         \"beside_us_p50\":{:.0},\"beside_us_p99\":{:.0},\"beside_us_max\":{:.0},\"pings\":{},\"gaps\":{wrong},\"rss_kb\":{}}}",
        a.label(),
        (after.rss_kb as f64 - before.rss_kb as f64) * 1024.0 / m as f64,
        tens.q_us(0.5),
        tens.q_us(0.99),
        alone.q_us(0.5),
        alone.q_us(0.99),
        times[times.len() / 2],
        (c1.cpu_us - c0.cpu_us) / (rounds * m) as f64,
        beside.q_us(0.5),
        beside.q_us(0.99),
        longest as f64 / 1000.0,
        beside.count(),
        c1.rss_kb,
    ))
}
