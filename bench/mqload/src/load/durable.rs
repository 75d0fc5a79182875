//! Sessions that outlive their connections: publishing to them, taking what they are owed, making many of them.
//!
//! The acknowledgement is what is measured here: a publisher may send again when it has come.
use super::{ids, Engine, St};
use crate::codec;
use crate::floor::Log;
use crate::sys::{self, Epoll, ProcSnap};
use crate::Args;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

/// A publisher may have so many publishes without an answer and its times are still right.
const TIMES: usize = 4096;

/// What each session got, in order or not. Sequence numbers of a publisher begin at 1.
#[derive(Default)]
pub struct Order {
    /// of each connection, the last number of each publisher
    last: Vec<Vec<u32>>,
    first_ns: u64,
    last_ns: u64,
    got: u64,
    dups: u64,
    gaps: u64,
}

impl Order {
    pub fn see(&mut self, conn: usize, publ: u32, seq: u32, now: u64) {
        if self.got == 0 {
            self.first_ns = now;
        }
        self.got += 1;
        self.last_ns = now;
        if publ >= 65536 {
            // Not ours; the count shows it.
            return;
        }
        if self.last.len() <= conn {
            self.last.resize(conn + 1, vec![]);
        }
        let last = &mut self.last[conn];
        if last.len() <= publ as usize {
            last.resize(publ as usize + 1, 0);
        }
        let last = &mut last[publ as usize];
        if seq <= *last {
            self.dups += 1;
        } else {
            self.gaps += u64::from(seq - *last > 1);
            *last = seq;
        }
    }
}

struct Load {
    win: u64,
    rate: u64,
    tick_ns: u64,
    /// publishes in all
    most: u64,
    patience: u64,
    /// who publishes next when it is paced
    turn: usize,
}

/// What happened while it was counted.
#[derive(Default)]
struct Tally {
    ns: u64,
    cpu: f64,
    user: f64,
    own: f64,
    sent: u64,
    acked: u64,
    delivered: u64,
}

struct Mark {
    t: u64,
    b: ProcSnap,
    own: f64,
    sent: u64,
    acked: u64,
    delivered: u64,
}

impl Mark {
    fn now(e: &Engine, pids: &[u32]) -> Mark {
        Mark {
            t: sys::now_ns(),
            b: sys::proc_snap(pids),
            own: sys::self_cpu_us(),
            sent: e.sent,
            acked: e.acked,
            delivered: e.delivered,
        }
    }
}

impl Tally {
    fn add(&mut self, e: &Engine, pids: &[u32], from: &Mark) {
        let to = Mark::now(e, pids);
        self.ns += to.t - from.t;
        self.cpu += to.b.cpu_us - from.b.cpu_us;
        self.user += to.b.utime_us - from.b.utime_us;
        self.own += to.own - from.own;
        self.sent += to.sent - from.sent;
        self.acked += to.acked - from.acked;
        self.delivered += to.delivered - from.delivered;
    }
}

impl Engine {
    /// Fills the publisher's window.
    fn top_up(&mut self, p: usize, load: &Load) {
        let room = load.win.saturating_sub(self.outstanding(p));
        self.emit(p, room.min(load.most - self.sent), sys::now_ns());
    }

    /// Publishes for so long, or until all have been sent.
    fn publish_for(&mut self, load: &mut Load, ns: u64) -> Result<(), String> {
        let start = sys::now_ns();
        let np = self.pubs.len();
        let (mut due_sent, mut seen, mut last) = (0u64, self.acked, start);
        if load.rate == 0 {
            for p in 0..np {
                self.top_up(p, load);
            }
            self.flush_dirty();
        }
        loop {
            let tick = self.poll(100);
            let now = sys::now_ns();
            if self.closed > 0 {
                return Err(format!(
                    "{} connections closed at {} acknowledged",
                    self.closed, self.acked
                ));
            }
            if now - start >= ns || self.sent >= load.most {
                return Ok(());
            }
            if self.acked != seen || self.acked == self.sent {
                (seen, last) = (self.acked, now);
            }
            if now - last > load.patience {
                return Err(format!(
                    "no acknowledgement for {} s at {seen} of {}",
                    load.patience / 1_000_000_000,
                    self.sent
                ));
            }
            let dirty = std::mem::take(&mut self.dirty_pubs);
            for &p in &dirty {
                self.pubs[p as usize].flagged = false;
                if load.rate == 0 {
                    self.top_up(p as usize, load);
                }
            }
            if load.rate > 0 && tick {
                let due = ((now - start) as f64 * load.rate as f64 / 1e9) as u64;
                while due_sent < due && self.sent < load.most {
                    self.emit(load.turn, 1, now);
                    load.turn = (load.turn + 1) % np;
                    due_sent += 1;
                }
            }
            self.flush_dirty();
        }
    }

    /// Waits for what was sent: acknowledgements, and deliveries where someone is there.
    fn drain(&mut self, patience: u64) -> Result<(), String> {
        let deliveries: u64 = self.pubs.iter().map(|p| p.sent * p.expect).sum();
        let mut seen = (self.acked, self.delivered);
        let mut last = sys::now_ns();
        while self.acked < self.sent || self.delivered < deliveries {
            self.poll(100);
            if self.closed > 0 {
                return Err(format!(
                    "{} connections closed at {} of {} acknowledged",
                    self.closed, self.acked, self.sent
                ));
            }
            let now = sys::now_ns();
            if (self.acked, self.delivered) != seen {
                (seen, last) = ((self.acked, self.delivered), now);
            }
            if now - last > patience {
                // An acknowledgement that does not come is a failure; what was not delivered is counted as lost.
                return if self.acked < self.sent {
                    Err(format!(
                        "{} of {} publishes were never acknowledged",
                        self.sent - self.acked,
                        self.sent
                    ))
                } else {
                    Ok(())
                };
            }
        }
        Ok(())
    }

    /// Disconnects and waits until the broker has closed, so that the sessions are offline on return.
    fn leave(&mut self, conns: std::ops::Range<usize>) -> Result<(), String> {
        for c in conns.clone() {
            self.conns[c].w.extend_from_slice(&codec::DISCONNECT);
            self.mark(c);
        }
        self.flush_dirty();
        let deadline = sys::now_ns() + 20_000_000_000;
        while conns.clone().any(|c| self.conns[c].st != St::Closed) {
            self.poll(100);
            if sys::now_ns() > deadline {
                return Err("the broker does not close after DISCONNECT".into());
            }
        }
        self.closed = 0;
        Ok(())
    }
}

/// Publishes to sessions that are there or not, and reports the acknowledgements.
pub fn publish(a: &Args) -> Result<String, String> {
    let (np, ns) = (a.num("pubs", 64), a.num("subs", 1));
    let (online, clean) = (a.flag("online"), a.flag("clean"));
    if (clean || a.flag("deliveries")) && !online {
        return Err("--clean and --deliveries want --online".into());
    }
    let pids = a.pids();
    let mut e = Engine::new(a);
    e.qos = a.num("qos", 1) as u8;
    e.need_acks_only = !a.flag("deliveries");
    e.clean = clean;
    let s = ids(&e, "s", ns);
    e.connect_all(&s, 600, 64)?;
    let mut jobs: Vec<_> = (0..ns as usize)
        .map(|i| (i, vec!["dur/#".to_string()]))
        .collect();
    let q = e.qos;
    e.subscribe_all(&mut jobs, q, 100)?;
    if !online {
        e.leave(0..ns as usize)?;
    }
    e.clean = true;
    let p = ids(&e, "p", np);
    e.connect_all(&p, 600, 64)?;
    for i in 0..np as usize {
        let topic = a
            .text("topic")
            .map_or_else(|| format!("dur/{i}"), str::to_string);
        e.add_pub(ns as usize + i, topic, if online { ns } else { 0 });
        e.pubs[i].times = vec![0; TIMES];
    }
    let mut load = Load {
        win: a.num("window", 64).min(TIMES as u64),
        rate: a.num("rate", 0),
        tick_ns: a.num("tick-us", 200) * 1000,
        most: a.num("most", u64::MAX),
        patience: (a.float("patience", 20.0) * 1e9) as u64,
        turn: 0,
    };
    let warm = (a.float("warmup", 1.0) * 1e9) as u64;
    let dur = (a.float("dur", 5.0) * 1e9) as u64;
    let tfd = sys::timerfd(if load.rate > 0 {
        load.tick_ns
    } else {
        50_000_000
    });
    e.ep.add(tfd, (1 << 63) | tfd as u64, sys::IN);
    let mut floor = match a.text("floor-dir") {
        Some(dir) if load.rate > 0 => Some(Log::create(Path::new(dir), false)?),
        Some(_) => return Err("--floor-dir wants --rate".into()),
        None => None,
    };
    let floor_bytes = a.num("floor-bytes", 160) as usize;
    let slice = if floor.is_some() {
        a.num("slice-ms", 500) * 1_000_000
    } else {
        dur
    };
    if warm > 0 {
        e.publish_for(&mut load, warm)?;
    }
    if let Some(log) = &mut floor {
        e.drain(load.patience)?;
        log.paced(load.rate, floor_bytes, load.tick_ns, slice)?;
        log.hist.clear();
    }
    e.hist.clear();
    e.ack_hist.clear();
    // Either all at once, or in turns with the floor: what the disk does beside then meets both.
    let mut tally = Tally::default();
    let mut spent = 0;
    while spent < dur && e.sent < load.most {
        let from = Mark::now(&e, &pids);
        e.publish_for(&mut load, slice.min(dur - spent))?;
        if floor.is_some() {
            e.drain(load.patience)?;
        }
        tally.add(&e, &pids, &from);
        spent += slice;
        if let Some(log) = &mut floor {
            log.paced(load.rate, floor_bytes, load.tick_ns, slice)?;
        }
    }
    let expect: u64 = e.pubs.iter().map(|p| p.expect).max().unwrap_or(0);
    let behind = (e.sent * expect).saturating_sub(e.delivered);
    e.drain(load.patience)?;
    let end = sys::proc_snap(&pids);
    let lost = (e.sent * expect) as i64 - e.delivered as i64;
    let first = if online { 0 } else { ns as usize };
    e.leave(first..(ns + np) as usize)?;
    let sec = tally.ns as f64 / 1e9;
    let acked = tally.acked.max(1) as f64;
    let fan = if online {
        tally.delivered
    } else {
        tally.acked * ns
    }
    .max(1) as f64;
    let mut o = String::new();
    let _ = write!(
        o,
        "{{\"mode\":\"durable\"{},\"pubs\":{np},\"subs\":{ns},\"online\":{online},\"clean\":{clean},\"qos\":{},\
         \"size\":{},\"window\":{},\"rate\":{},\"sec\":{sec:.2},\"ack_s\":{:.0},\"fan_s\":{:.0},\"acked_total\":{},\
         \"ack_mean_us\":{:.1},\"ack_p50_us\":{:.1},\"ack_p99_us\":{:.1},\"ack_p999_us\":{:.1},\
         \"behind\":{behind},\"lost\":{lost},\"gaps\":{},\"bad\":{},\"present\":{},\
         \"broker_us_msg\":{:.3},\"broker_us_fan\":{:.3},\"broker_user_us\":{:.3},\"broker_cpu_pct\":{:.1},\"rss_kb\":{},\
         \"rss_peak_kb\":{},\"gen_us_msg\":{:.3}",
        a.label(),
        e.qos,
        e.size,
        load.win,
        load.rate,
        tally.acked as f64 / sec,
        fan / sec,
        e.acked,
        e.ack_hist.mean_us(),
        e.ack_hist.q_us(0.5),
        e.ack_hist.q_us(0.99),
        e.ack_hist.q_us(0.999),
        e.gaps,
        e.bad,
        e.present,
        tally.cpu / acked,
        tally.cpu / fan,
        tally.user / acked,
        tally.cpu / sec / 1e4,
        end.rss_kb,
        end.hwm_kb,
        tally.own / acked,
    );
    if online {
        let _ = write!(
            o,
            ",\"recv_s\":{:.0},\"p50_us\":{:.0},\"p99_us\":{:.0}",
            tally.delivered as f64 / sec,
            e.hist.q_us(0.5),
            e.hist.q_us(0.99)
        );
    }
    if let Some(log) = &floor {
        let _ = write!(
            o,
            ",\"sync_count\":{},\"sync_mean_us\":{:.1},\"sync_p50_us\":{:.1},\"sync_p99_us\":{:.1}",
            log.hist.count(),
            log.hist.mean_us(),
            log.hist.q_us(0.5),
            log.hist.q_us(0.99)
        );
    }
    o.push('}');
    Ok(o)
}

/// Connects sessions again and takes what they are owed.
pub fn resume(a: &Args) -> Result<String, String> {
    let (ns, each) = (a.num("subs", 1), a.num("expect", 0));
    let mut patience = (a.float("patience", 10.0) * 1e9) as u64;
    let pids = a.pids();
    let mut e = Engine::new(a);
    e.clean = false;
    e.resumed = Some(Order::default());
    let names = match a.text("prefix") {
        Some(prefix) => (0..ns).map(|i| format!("{prefix}{i}")).collect(),
        None => ids(&e, "s", ns),
    };
    let want = ns * each;
    let b0 = sys::proc_snap(&pids);
    let start = sys::now_ns();
    e.connect_all(&names, 600, 64)?;
    if e.present == 0 {
        // The broker has forgotten all of them.
        patience = patience.min(1_000_000_000);
    }
    let mut last = sys::now_ns();
    let mut seen = 0;
    while e.delivered < want && e.closed == 0 {
        e.poll(100);
        let now = sys::now_ns();
        if e.delivered != seen {
            (seen, last) = (e.delivered, now);
        }
        if now - last > patience {
            break;
        }
    }
    let b1 = sys::proc_snap(&pids);
    // What comes now is too much.
    let quiet = sys::now_ns() + 200_000_000;
    while sys::now_ns() < quiet {
        e.poll(50);
    }
    let closed = e.closed;
    if closed == 0 {
        e.leave(0..ns as usize)?;
    }
    let order = e.resumed.take().unwrap_or_default();
    let ms = |t: u64| t.saturating_sub(start) as f64 / 1e6;
    Ok(format!(
        "{{\"mode\":\"resume\"{},\"subs\":{ns},\"present\":{},\"expect\":{want},\"got\":{},\"lost\":{},\"dups\":{},\"gaps\":{},\
         \"bad\":{},\"closed\":{closed},\"first_ms\":{:.2},\"last_ms\":{:.2},\"msg_s\":{:.0},\"broker_us_msg\":{:.3},\
         \"rss_kb\":{},\"rss_peak_kb\":{}}}",
        a.label(),
        e.present,
        order.got,
        want as i64 - order.got as i64,
        order.dups,
        order.gaps,
        e.bad,
        ms(order.first_ns),
        ms(order.last_ns),
        order.got as f64 / (ms(order.last_ns) / 1e3).max(1e-6),
        (b1.cpu_us - b0.cpu_us) / order.got.max(1) as f64,
        b1.rss_kb,
        b1.hwm_kb
    ))
}

/// One connection that comes, subscribes and goes.
#[derive(Default)]
struct Visit {
    fd: i32,
    greeted: bool,
    got: Vec<u8>,
}

/// Filters of session `i`: one that all have, one of its own, and one with a wildcard that a thousand have.
fn filters(i: u64) -> [String; 3] {
    [
        "big/all".into(),
        format!("dev/{i}/cmd"),
        format!("grp/{}/+", i / 1000),
    ]
}

/// Makes sessions `b0`, `b1`, ...: each connects, subscribes and leaves.
pub fn populate(a: &Args) -> Result<String, String> {
    let n = a.num("sessions", 1_000_000);
    let slots = a.num("slots", 128).min(n).max(1);
    let pids = a.pids();
    let (addr, ep) = (a.addr(), Epoll::new());
    let b0 = sys::proc_snap(&pids);
    let start = sys::now_ns();
    let mut next = 0u64;
    let open = |slot: usize, next: &mut u64| -> Result<Visit, String> {
        let src = Ipv4Addr::from(0x7f00_0002u32 + (*next % 200) as u32);
        let fd = sys::tcp_connect(addr, Some(src)).map_err(|e| format!("connect {next}: {e}"))?;
        ep.add(fd, slot as u64 | (*next << 16), sys::OUT);
        *next += 1;
        Ok(Visit {
            fd,
            ..Visit::default()
        })
    };
    let mut visits = vec![];
    for slot in 0..slots as usize {
        visits.push(open(slot, &mut next)?);
    }
    let mut evs = vec![sys::no_event(); 256];
    let mut buf = [0u8; 4096];
    let (mut done, mut last) = (0u64, start);
    while done < n {
        let k = ep.wait(&mut evs, 1000);
        let now = sys::now_ns();
        if k > 0 {
            last = now;
        }
        if now - last > 20_000_000_000 {
            return Err(format!("stalled at {done} of {n} sessions"));
        }
        for ev in &evs[..k] {
            let (slot, i) = ((ev.u64 & 0xffff) as usize, ev.u64 >> 16);
            let v = &mut visits[slot];
            if !v.greeted {
                let error = sys::so_error(v.fd);
                if error != 0 {
                    return Err(format!("connect {i}: error {error}"));
                }
                let mut out = Vec::new();
                codec::connect(&mut out, &format!("b{i}"), 60, false);
                codec::subscribe(&mut out, 1, &filters(i), 1);
                if sys::write(v.fd, &out) != out.len() as isize {
                    return Err(format!("session {i}: short write"));
                }
                v.greeted = true;
                ep.modify(v.fd, ev.u64, sys::IN);
                continue;
            }
            match sys::read(v.fd, &mut buf) {
                -1 => continue,
                r if r <= 0 => return Err(format!("session {i}: closed by the broker")),
                r => v.got.extend_from_slice(&buf[..r as usize]),
            }
            // CONNACK and SUBACK
            if v.got.len() < 4 + 7 {
                continue;
            }
            if v.got[0] != 0x20
                || v.got[3] != 0
                || v.got[4] != 0x90
                || v.got[8..].iter().any(|&q| q != 1)
            {
                return Err(format!("session {i}: refused, {:02x?}", v.got));
            }
            sys::write(v.fd, &codec::DISCONNECT);
            sys::close(v.fd);
            done += 1;
            if next < n {
                visits[slot] = open(slot, &mut next)?;
            }
        }
    }
    let sec = (sys::now_ns() - start) as f64 / 1e9;
    let b1 = sys::proc_snap(&pids);
    Ok(format!(
        "{{\"mode\":\"populate\"{},\"sessions\":{n},\"filters\":{},\"sec\":{sec:.1},\"sessions_s\":{:.0},\
         \"broker_us_session\":{:.1},\"rss_kb\":{},\"bytes_per_session\":{:.0}}}",
        a.label(),
        n * 3,
        n as f64 / sec,
        (b1.cpu_us - b0.cpu_us) / n as f64,
        b1.rss_kb,
        (b1.rss_kb as f64 - b0.rss_kb as f64) * 1024.0 / n as f64
    ))
}
