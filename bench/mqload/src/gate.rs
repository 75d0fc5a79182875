//! Messages that come in by one protocol and leave by another: MQTT, STOMP (also over SockJS), MQTT-SN, CoAP; and a
//! bare echo of datagrams, the floor of what comes by UDP.
//!
//! One thread. Each of `--pairs` senders has a receiver of its own, or none. Connections are set up one after the
//! other and blocking; then everything goes through one epoll.
mod coap;
mod echo;
mod mqtt;
mod sleep;
mod sn;
mod sockjs;
mod stomp;
mod wire;

pub use echo::serve as echo;
pub use sleep::run as sleep;

use crate::hist::Hist;
use crate::sys::{self, Epoll};
use crate::Args;
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use wire::{Got, Role, Setup, Wire};

const RBUF: usize = 256 * 1024;
/// After so long without progress what is under way is given up.
const LOST_NS: u64 = 1_000_000_000;

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Mqtt,
    Stomp,
    Sockjs,
    Sn,
    Coap,
    Echo,
}

impl Kind {
    fn parse(name: &str) -> Result<Kind, String> {
        Ok(match name {
            "mqtt" => Kind::Mqtt,
            "stomp" => Kind::Stomp,
            "sockjs" => Kind::Sockjs,
            "sn" => Kind::Sn,
            "coap" => Kind::Coap,
            "echo" => Kind::Echo,
            other => return Err(format!("{other}: no such protocol")),
        })
    }

    fn open(self, setup: &Setup) -> Result<(i32, Box<dyn Wire>), String> {
        let opened = match self {
            Kind::Mqtt => mqtt::open(setup),
            Kind::Stomp => stomp::open(setup),
            Kind::Sockjs => sockjs::open(setup),
            Kind::Sn => sn::open(setup),
            Kind::Coap => coap::open(setup),
            Kind::Echo => echo::open(setup),
        };
        opened.map_err(|e| format!("{}: {e}", setup.name))
    }
}

/// One connection.
struct End {
    fd: i32,
    wire: Box<dyn Wire>,
    pair: usize,
    /// bytes that the socket has not taken yet
    out: Vec<u8>,
    written: usize,
    wants_out: bool,
    dirty: bool,
    /// the begin of what is not there as a whole
    part: Vec<u8>,
    open: bool,
}

/// A sender with its receiver.
#[derive(Default)]
struct Pair {
    sent: u64,
    delivered: u64,
    acked: u64,
    given_up: u64,
    last_seq: u32,
    progress: u64,
    moved: bool,
}

/// What a message is waited for with.
#[derive(Clone, Copy)]
struct Await {
    /// its receiver
    delivery: bool,
    /// the answer that the sender gets
    ack: bool,
    /// the answer to a question that is sent behind a window of messages
    pong: bool,
}

struct Engine {
    ep: Epoll,
    ends: Vec<End>,
    pairs: Vec<Pair>,
    size: usize,
    wait: Await,
    hist: Hist,
    ack_hist: Hist,
    got: Got,
    rbuf: Vec<u8>,
    evs: Vec<libc::epoll_event>,
    dirty: Vec<usize>,
    moved: Vec<usize>,
    payload: Vec<u8>,
    sent: u64,
    delivered: u64,
    acked: u64,
    bad: u64,
    gaps: u64,
    closed: u64,
    /// datagrams that our own socket did not take
    refused: u64,
}

/// Payload: time in nanoseconds (16 hexadecimal digits), sender (8), sequence (8), and what fills it up: text, since
/// not every protocol carries bytes.
const PAYLOAD_MIN: usize = 32;

fn hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit)) as usize & 15]);
    }
}

fn number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value: u64, digit| {
        Some(value << 4 | u64::from((*digit as char).to_digit(16)?))
    })
}

impl Engine {
    fn put_payload(&mut self, pair: usize, seq: u32, ts: u64) {
        self.payload.clear();
        hex(&mut self.payload, ts, 16);
        hex(&mut self.payload, pair as u64, 8);
        hex(&mut self.payload, u64::from(seq), 8);
        self.payload.resize(self.size, b'x');
    }

    /// The ends of senders come first, so a pair's sender has its number.
    fn emit(&mut self, pair: usize, count: u64, ts: u64) {
        if !self.ends[pair].open {
            return;
        }
        for _ in 0..count {
            self.pairs[pair].sent += 1;
            let seq = self.pairs[pair].sent as u32;
            self.put_payload(pair, seq, ts);
            let end = &mut self.ends[pair];
            end.wire.put(&self.payload, seq, ts, &mut end.out);
            if end.wire.datagrams() {
                self.send_datagram(pair);
            }
        }
        if self.wait.pong && count > 0 {
            let end = &mut self.ends[pair];
            end.wire.ask(&mut end.out);
            self.send_datagram(pair);
        }
        self.sent += count;
        self.mark(pair);
    }

    fn send_datagram(&mut self, e: usize) {
        let end = &mut self.ends[e];
        if !end.out.is_empty() {
            match sys::write(end.fd, &end.out) {
                -2 => self.close(e),
                -1 => self.refused += 1,
                _ => {}
            }
            self.ends[e].out.clear();
        }
    }

    fn mark(&mut self, e: usize) {
        if !self.ends[e].dirty && !self.ends[e].wire.datagrams() {
            self.ends[e].dirty = true;
            self.dirty.push(e);
        }
    }

    fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for &e in &dirty {
            self.ends[e].dirty = false;
            self.flush(e);
        }
        dirty.clear();
        self.dirty = dirty;
    }

    fn flush(&mut self, e: usize) {
        let end = &mut self.ends[e];
        while end.open && end.written < end.out.len() {
            match sys::write(end.fd, &end.out[end.written..]) {
                n if n >= 0 => end.written += n as usize,
                -1 => {
                    if !end.wants_out {
                        end.wants_out = true;
                        self.ep.modify(end.fd, e as u64, sys::IN | sys::OUT);
                    }
                    return;
                }
                _ => return self.close(e),
            }
        }
        end.out.clear();
        end.written = 0;
        if end.wants_out && end.open {
            end.wants_out = false;
            self.ep.modify(end.fd, e as u64, sys::IN);
        }
    }

    fn close(&mut self, e: usize) {
        if self.ends[e].open {
            sys::close(self.ends[e].fd);
            self.ends[e].open = false;
            self.closed += 1;
        }
    }

    /// One wake-up: reads what is ready, and writes what that calls for. Whether the timer fired.
    fn poll(&mut self, timeout_ms: i32) -> bool {
        let mut evs = std::mem::take(&mut self.evs);
        let n = self.ep.wait(&mut evs, timeout_ms);
        let mut tick = false;
        for ev in &evs[..n] {
            if ev.u64 & (1 << 63) != 0 {
                sys::read((ev.u64 & 0x7fff_ffff) as i32, &mut [0u8; 8]);
                tick = true;
                continue;
            }
            let e = ev.u64 as usize;
            if ev.events as i32 & libc::EPOLLOUT != 0 {
                self.flush(e);
            }
            if ev.events as i32 & (libc::EPOLLIN | libc::EPOLLHUP | libc::EPOLLERR) != 0
                && self.ends[e].open
            {
                if self.ends[e].wire.datagrams() {
                    self.read_datagrams(e);
                } else {
                    self.read_stream(e);
                }
            }
        }
        self.evs = evs;
        self.flush_dirty();
        tick
    }

    fn read_datagrams(&mut self, e: usize) {
        let mut buf = std::mem::take(&mut self.rbuf);
        // Not without end: the others are to be read, too.
        for _ in 0..64 {
            match sys::read(self.ends[e].fd, &mut buf) {
                -1 => break,
                -2 => {
                    self.close(e);
                    break;
                }
                n => {
                    self.ends[e].wire.take(&buf[..n as usize], &mut self.got);
                    self.account(e);
                }
            }
        }
        self.rbuf = buf;
    }

    fn read_stream(&mut self, e: usize) {
        let mut buf = std::mem::take(&mut self.rbuf);
        let end = &mut self.ends[e];
        let have = end.part.len();
        if buf.len() < have + RBUF / 2 {
            buf.resize(have + RBUF, 0);
        }
        buf[..have].copy_from_slice(&end.part);
        match sys::read(end.fd, &mut buf[have..]) {
            0 | -2 => self.close(e),
            -1 => {}
            n => {
                let all = &buf[..have + n as usize];
                let used = end.wire.take(all, &mut self.got);
                end.part.clear();
                end.part.extend_from_slice(&all[used..]);
                self.account(e);
            }
        }
        self.rbuf = buf;
    }

    /// Counts what was read, and sends what it calls for.
    fn account(&mut self, e: usize) {
        let now = sys::now_ns();
        let mut got = std::mem::take(&mut self.got);
        self.bad += std::mem::take(&mut got.bad);
        if got.broken {
            self.close(e);
        }
        for payload in got.messages() {
            let fields = (payload.len() == self.size).then(|| {
                let (ts, pair) = (number(&payload[..16])?, number(&payload[16..24])?);
                Some((ts, pair as usize, number(&payload[24..32])? as u32))
            });
            match fields.flatten() {
                Some((ts, pair, seq)) if pair < self.pairs.len() => {
                    self.delivered += 1;
                    self.hist.add(now.saturating_sub(ts));
                    let of = &mut self.pairs[pair];
                    of.delivered += 1;
                    if seq != of.last_seq.wrapping_add(1) {
                        self.gaps += 1;
                    }
                    of.last_seq = seq;
                    self.progress(pair, now);
                }
                _ => self.bad += 1,
            }
        }
        let pair = self.ends[e].pair;
        let acks = std::mem::take(&mut got.acks);
        if acks > 0 {
            self.acked += acks;
            self.pairs[pair].acked += acks;
            self.progress(pair, now);
        }
        if std::mem::take(&mut got.pongs) > 0 {
            let of = &mut self.pairs[pair];
            self.acked += of.sent - of.acked;
            of.acked = of.sent;
            self.progress(pair, now);
        }
        for ts in got.answered.drain(..) {
            self.ack_hist.add(now.saturating_sub(ts));
        }
        if self.ends[e].wire.datagrams() {
            for reply in got.replies() {
                self.ends[e].out.extend_from_slice(reply);
                self.send_datagram(e);
            }
        } else if !got.reply.is_empty() {
            self.ends[e].out.extend_from_slice(&got.reply);
            self.mark(e);
        }
        got.clear();
        self.got = got;
    }

    fn progress(&mut self, pair: usize, now: u64) {
        let of = &mut self.pairs[pair];
        of.progress = now;
        if !of.moved {
            of.moved = true;
            self.moved.push(pair);
        }
    }

    /// What has been sent and is not done.
    fn outstanding(&self, pair: usize) -> u64 {
        let of = &self.pairs[pair];
        let mut done = of.sent;
        if self.wait.delivery {
            done = done.min(of.delivered);
        }
        if self.wait.ack || self.wait.pong {
            done = done.min(of.acked);
        }
        of.sent.saturating_sub(done + of.given_up)
    }

    /// What counts as a message.
    fn done(&self) -> u64 {
        if self.wait.delivery {
            self.delivered
        } else if self.wait.ack || self.wait.pong {
            self.acked
        } else {
            self.sent
        }
    }
}

/// Load from senders that speak `--in` to receivers that speak `--out`.
pub fn run(a: &Args) -> Result<String, String> {
    let pairs = a.num("pairs", 16) as usize;
    let from = Kind::parse(a.text("in").unwrap_or("mqtt"))?;
    let to = match a.text("out") {
        Some("none") => None,
        Some(name) => Some(Kind::parse(name)?),
        None => Some(Kind::Mqtt),
    };
    let rate = a.num("rate", 0);
    let mut engine = Engine::new(a);
    let setup = |kind, role, pair: usize, name| Setup {
        addr: SocketAddrV4::new(
            *a.addr().ip(),
            match kind {
                Kind::Mqtt => a.addr().port(),
                _ => a.num("gate", 0) as u16,
            },
        ),
        role,
        name: format!("{name}{pair}"),
        topic: format!("gate/{pair}/t"),
        qos: a.num("qos", 0) as u8,
        confirmable: a.flag("con"),
        source: pair as u32 % a.num("src", 100) as u32,
    };
    for pair in 0..pairs {
        let setup = setup(from, Role::Sender, pair, "p");
        let (fd, wire) = from.open(&setup)?;
        engine.wait.ack = wire.acknowledged();
        engine.add(pair, fd, wire);
        engine.pairs.push(Pair::default());
    }
    if let Some(to) = to {
        for pair in 0..pairs {
            let (fd, wire) = to.open(&setup(to, Role::Receiver, pair, "s"))?;
            engine.add(pair, fd, wire);
        }
    }
    engine.wait.delivery = to.is_some();
    engine.wait.pong = to.is_none() && !engine.wait.ack;
    if engine.wait.pong && (from != Kind::Sn || rate > 0) {
        // Nobody would tell that a message has been taken: they are counted by the broker.
        engine.wait.pong = false;
        if rate == 0 {
            return Err("a closed loop needs somebody who answers".into());
        }
    }
    Ok(engine.measure(a, rate))
}

impl Engine {
    fn new(a: &Args) -> Engine {
        Engine {
            ep: Epoll::new(),
            ends: vec![],
            pairs: vec![],
            size: (a.num("size", 64) as usize).max(PAYLOAD_MIN),
            wait: Await {
                delivery: false,
                ack: false,
                pong: false,
            },
            hist: Hist::new(),
            ack_hist: Hist::new(),
            got: Got::default(),
            rbuf: vec![0; RBUF],
            evs: vec![sys::no_event(); 1024],
            dirty: vec![],
            moved: vec![],
            payload: vec![],
            sent: 0,
            delivered: 0,
            acked: 0,
            bad: 0,
            gaps: 0,
            closed: 0,
            refused: 0,
        }
    }

    fn add(&mut self, pair: usize, fd: i32, wire: Box<dyn Wire>) {
        self.ep.add(fd, self.ends.len() as u64, sys::IN);
        self.ends.push(End {
            fd,
            wire,
            pair,
            out: vec![],
            written: 0,
            wants_out: false,
            dirty: false,
            part: vec![],
            open: true,
        });
    }

    /// Sends during warm-up and `--dur` seconds, and reports what was seen in `--dur`.
    fn measure(&mut self, a: &Args, rate: u64) -> String {
        let pids = a.pids();
        let win = a.num("window", 16);
        let burst = a.num("burst", 1).max(1);
        let warm = (a.float("warmup", 1.0) * 1e9) as u64;
        let dur = (a.float("dur", 5.0) * 1e9) as u64;
        let period = if rate > 0 {
            a.num("tick-us", 200) * 1000
        } else {
            50_000_000
        };
        let tfd = sys::timerfd(period);
        self.ep.add(tfd, (1 << 63) | tfd as u64, sys::IN);
        let count = self.pairs.len();
        let start = sys::now_ns();
        for pair in &mut self.pairs {
            pair.progress = start;
        }
        let (t1, t2) = (start + warm, start + warm + dur);
        if rate == 0 {
            for pair in 0..count {
                self.emit(pair, win, start);
            }
            self.flush_dirty();
        }
        let (mut next, mut due_sent, mut last_look) = (0, 0, start);
        let mut s1 = None;
        loop {
            let tick = self.poll(1000);
            let now = sys::now_ns();
            if s1.is_none() && now >= t1 {
                s1 = Some(self.snap(&pids));
                self.hist.clear();
                self.ack_hist.clear();
            }
            if now >= t2 || self.closed > 0 {
                break;
            }
            let mut moved = std::mem::take(&mut self.moved);
            for &pair in &moved {
                self.pairs[pair].moved = false;
                if rate == 0 {
                    let under_way = self.outstanding(pair);
                    // Asked for by the window, so that what lies before the question is known.
                    if under_way == 0 || (!self.wait.pong && under_way < win) {
                        self.emit(pair, win - under_way, now);
                    }
                }
            }
            moved.clear();
            self.moved = moved;
            if rate > 0 && tick {
                let due = ((now - start) as f64 * rate as f64 / 1e9) as u64;
                while due_sent + burst <= due {
                    self.emit(next, burst, now);
                    next = (next + 1) % count;
                    due_sent += burst;
                }
            }
            if rate == 0 && now - last_look > 200_000_000 {
                last_look = now;
                for pair in 0..count {
                    let under_way = self.outstanding(pair);
                    if now.saturating_sub(self.pairs[pair].progress) > LOST_NS && under_way > 0 {
                        self.pairs[pair].given_up += under_way;
                        self.pairs[pair].progress = now;
                        self.emit(pair, win, now);
                    }
                }
            }
            self.flush_dirty();
        }
        let s2 = self.snap(&pids);
        let s1 = s1.unwrap_or(s2);
        let (own, other) = (self.quantiles(), &self.ack_hist);
        let acks = (other.count() > 0).then(|| (other.q_us(0.5), other.q_us(0.99)));
        self.drain();
        let missing = self.sent as i64 - self.done() as i64;
        let end = sys::proc_snap(&pids);
        let sec = (s2.t - s1.t) as f64 / 1e9;
        let d = (s2.done - s1.done) as f64;
        let dd = d.max(1.0);
        let bytes = self.ends.first().map_or(0, |e| e.wire.bytes());
        let mut o = String::new();
        let _ = write!(
            o,
            "{{\"mode\":\"gate\"{},\"in\":\"{}\",\"out\":\"{}\",\"qos\":{},\"size\":{},\"bytes\":{bytes},\"rate\":{rate},\"burst\":{burst},\
             \"window\":{win},\"pairs\":{count},\"sec\":{sec:.2},\"recv_s\":{:.0},\"sent_s\":{:.0},\"sent\":{},\"lost\":{missing},\
             \"gaps\":{},\"bad\":{},\"closed\":{},\"refused\":{},\"p50_us\":{:.0},\"p99_us\":{:.0},\"broker_us_msg\":{:.3},\
             \"broker_user_us\":{:.3},\"broker_sys_us\":{:.3},\"broker_cpu_pct\":{:.1},\"broker_ctxt_msg\":{:.4},\"broker_threads\":{},\
             \"rss_kb\":{},\"rss_peak_kb\":{},\"gen_us_msg\":{:.3}",
            a.label(),
            a.text("in").unwrap_or("mqtt"),
            a.text("out").unwrap_or("mqtt"),
            a.num("qos", 0),
            self.size,
            d / sec,
            (s2.sent - s1.sent) as f64 / sec,
            self.sent,
            self.gaps,
            self.bad,
            self.closed,
            self.refused,
            own.0,
            own.1,
            (s2.broker.cpu_us - s1.broker.cpu_us) / dd,
            (s2.broker.utime_us - s1.broker.utime_us) / dd,
            (s2.broker.stime_us - s1.broker.stime_us) / dd,
            (s2.broker.cpu_us - s1.broker.cpu_us) / sec / 1e4,
            (s2.broker.ctxt.saturating_sub(s1.broker.ctxt)) as f64 / dd,
            s2.broker.threads,
            end.rss_kb,
            end.hwm_kb,
            (s2.own - s1.own) / dd,
        );
        if let Some((p50, p99)) = acks {
            let _ = write!(o, ",\"ack_p50_us\":{p50:.0},\"ack_p99_us\":{p99:.0}");
        }
        o.push('}');
        o
    }

    fn quantiles(&self) -> (f64, f64) {
        (self.hist.q_us(0.5), self.hist.q_us(0.99))
    }

    /// Waits for what is under way.
    fn drain(&mut self) {
        let mut seen = self.done();
        let mut last = sys::now_ns();
        while self.closed == 0 && self.done() < self.sent && sys::now_ns() - last < 2 * LOST_NS {
            self.poll(100);
            if self.done() != seen {
                seen = self.done();
                last = sys::now_ns();
            }
        }
    }

    fn snap(&self, pids: &[u32]) -> Snap {
        Snap {
            t: sys::now_ns(),
            broker: sys::proc_snap(pids),
            own: sys::self_cpu_us(),
            done: self.done(),
            sent: self.sent,
        }
    }
}

#[derive(Clone, Copy)]
struct Snap {
    t: u64,
    broker: sys::ProcSnap,
    own: f64,
    done: u64,
    sent: u64,
}
