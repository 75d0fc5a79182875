//! The row about the dashboard: what it costs that somebody looks at it, beside what messages cost at the same broker
//! with many clients; and how long a page of the list of clients takes.
//!
//! The cost of a message differs by more from one moment to the next than the dashboard costs at all. So the broker is
//! watched without messages, with the dashboard open and without, by turns; the difference is what the dashboard costs.

use super::report::{failures, machine_lines, met, middle, number, sorted, spread};
use super::server::{Extra, Peer, Programs, Server};
use super::{OneToOne, Run};
use crate::node::free_port;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The only row.
pub const NAME: &str = "dashboard";
/// Clients that are connected and say nothing; those of the generator come on top.
const CLIENTS: u64 = 19_000;
/// Messages a second.
const RATE: u64 = 20_000;
/// Watched so often with the dashboard, and as often without, by turns.
const TURNS: usize = 2;
/// Seconds of each: a multiple of both times after which the pages ask again, so that each turn has as many questions.
const TURN: u64 = 20;
/// How often the pages of clients, and of the overview, ask again.
const CLIENTS_EACH: Duration = Duration::from_secs(5);
const OVERVIEW_EACH: Duration = Duration::from_secs(10);
/// How often it is looked what threads have used: one that ends takes what it has used since with it, and those of a
/// pool end only when they have had nothing to do for longer.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// Seconds of the measurement with messages.
const LOADED: f64 = 10.0;
/// Pages of the list that are asked for.
const QUERIES: usize = 400;
/// What the project has set itself: percent of what the messages cost, and milliseconds.
const SHARE: f64 = 2.0;
const PAGE_MS: f64 = 50.0;
/// How long an answer may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the page of clients asks for.
const CLIENTS_PAGE: &str = "search/clients?sort=client_id&limit=20";
/// The same with a search that few fit.
const SEARCH_PAGE: &str = "search/clients?sort=-connected_at&search=99&limit=20";

/// Starts the broker, connects the clients, measures by turns, and stops all of it.
pub(super) fn run(bench: &OneToOne<'_>) -> Result<Map<String, Value>, String> {
    let port = free_port()?;
    let extra = Extra {
        plugin: Some((
            "emq_dashboard",
            format!(
                "dashboard.default_user.login = admin\ndashboard.default_user.password = public\n\
                 dashboard.listener.http = 127.0.0.1:{port}\n"
            ),
        )),
        ..Extra::default()
    };
    let mut broker = Server::start(
        Peer::Ours,
        bench.programs,
        super::peers::Relay::No,
        &bench.home,
        &extra,
    )?;
    let clients = Clients::connect(bench.programs, &broker, port)?;
    let (mut closed, mut open) = (0.0, 0.0);
    for _ in 0..TURNS {
        closed += used(&broker, || Ok(()))?;
        open += used_while_open(&broker, port)?;
    }
    let load = |broker: &mut Server| {
        let bench = OneToOne {
            duration: bench.duration.max(LOADED),
            home: bench.home.clone(),
            ..*bench
        };
        let figures = bench.measure(broker, &["--pairs", "16", "--rate", &RATE.to_string()])?;
        let cost = figures.get("broker_us_msg").and_then(Value::as_f64);
        cost.ok_or_else(|| String::from("no processor time was measured"))
    };
    let messages = load(&mut broker)? * RATE as f64 / 1000.0;
    let times = thread::scope(|scope| {
        let load = scope.spawn(|| load(&mut broker));
        let times = [CLIENTS_PAGE, SEARCH_PAGE].map(|page| page_times(port, page));
        load.join().map_err(|_| "the load panicked")??;
        Ok::<_, String>(times)
    })?;
    drop(clients);
    let [list, search] = times;
    let each_second = |used: f64| used / (TURNS as u64 * TURN) as f64;
    let mut figures = Map::new();
    let (closed, open) = (each_second(closed), each_second(open));
    figures.insert("messages_ms".into(), json!(messages));
    figures.insert("closed_ms".into(), json!(closed));
    figures.insert("open_ms".into(), json!(open));
    figures.insert("more_ms".into(), json!(open - closed));
    figures.insert("share".into(), json!((open - closed) / messages * 100.0));
    for (name, mut times) in [("list", list?), ("search", search?)] {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        figures.insert(format!("{name}_p50"), json!(at(0.50)));
        figures.insert(format!("{name}_p99"), json!(at(0.99)));
        figures.insert(format!("{name}_max"), json!(at(1.0)));
    }
    Ok(figures)
}

/// Milliseconds of processor time that the broker uses in a turn with the dashboard open.
fn used_while_open(broker: &Server, port: u16) -> Result<f64, String> {
    let looking = AtomicBool::new(true);
    thread::scope(|scope| {
        let watchers = [
            scope.spawn(|| listen(port, &looking)),
            scope.spawn(|| look(port, &looking, CLIENTS_EACH, CLIENTS_PAGE)),
            scope.spawn(|| look(port, &looking, OVERVIEW_EACH, "overview")),
        ];
        let used = used(broker, || match watchers.iter().any(|w| w.is_finished()) {
            true => Err("a watcher has ended".into()),
            false => Ok(()),
        });
        looking.store(false, Ordering::Release);
        for watcher in watchers {
            watcher.join().map_err(|_| "a watcher panicked")??;
        }
        used
    })
}

/// Milliseconds of processor time that the broker uses in a turn; `check` is asked meanwhile whether it counts.
fn used(broker: &Server, check: impl Fn() -> Result<(), String>) -> Result<f64, String> {
    let mut threads = broker.threads()?;
    let (begin, end) = (Instant::now(), Duration::from_secs(TURN));
    let mut used = 0;
    while begin.elapsed() < end {
        thread::sleep(LOOK_EACH.min(end.saturating_sub(begin.elapsed())));
        check()?;
        let now = broker.threads()?;
        used += grown(&threads, &now);
        threads = now;
    }
    Ok(used as f64 / 1e6)
}

/// What threads have used since then; one that was not there has begun with nothing.
fn grown(then: &HashMap<u32, u64>, now: &HashMap<u32, u64>) -> u64 {
    let before = |thread| then.get(thread).copied().unwrap_or(0);
    let more = now
        .iter()
        .map(|(thread, used)| used.saturating_sub(before(thread)));
    more.sum()
}

/// Connections that are held; they end with this value.
struct Clients(Child);

impl Clients {
    fn connect(programs: &Programs, broker: &Server, api: u16) -> Result<Clients, String> {
        let child = Command::new(&programs.mqload)
            .args(["conn", "--n", &CLIENTS.to_string(), "--procs", "1"])
            .args(["--hold", "900", "--keepalive", "0"])
            .args(["--port", &broker.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("{}: {e}", programs.mqload.display()))?;
        let clients = Clients(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = Api::open(api)?.get("overview")?;
            let there = answer["result"]["stats"]["clients/count"].as_u64();
            if there >= Some(CLIENTS) {
                return Ok(clients);
            }
            if Instant::now() > deadline {
                return Err(format!("{there:?} of {CLIENTS} clients are connected"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A kept connection to the HTTP API.
struct Api(BufReader<TcpStream>);

impl Api {
    fn open(port: u16) -> Result<Api, String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let stream = stream.and_then(|s| {
            s.set_nodelay(true)?;
            s.set_read_timeout(Some(PATIENCE)).map(|()| s)
        });
        Ok(Api(BufReader::new(
            stream.map_err(|e| format!("the HTTP API: {e}"))?,
        )))
    }

    /// Sends a request and reads the head of the answer: its length, if it says one.
    fn ask(&mut self, path: &str) -> Result<Option<usize>, String> {
        // admin:public
        let request = format!(
            "GET /api/v2/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic YWRtaW46cHVibGlj\r\n\r\n"
        );
        let failed = |e: std::io::Error| format!("{path}: {e}");
        self.0
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(failed)?;
        let (mut status, mut length) = (String::new(), None);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).map_err(failed)?;
            if status.is_empty() {
                status = line.trim().to_owned();
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        match status.starts_with("HTTP/1.1 200") {
            true => Ok(length),
            false => Err(format!("{path}: {status}")),
        }
    }

    fn get(&mut self, path: &str) -> Result<Value, String> {
        let length = self.ask(path)?;
        let mut body = vec![0; length.ok_or(format!("{path}: no length"))?];
        self.0
            .read_exact(&mut body)
            .map_err(|e| format!("{path}: {e}"))?;
        serde_json::from_slice(&body).map_err(|e| format!("{path}: {e}"))
    }
}

/// Asks for a page again and again, as one does that is open already: the first time after half the time.
fn look(port: u16, looking: &AtomicBool, each: Duration, path: &str) -> Result<(), String> {
    let mut api = Api::open(port)?;
    let mut next = Instant::now() + each / 2;
    while looking.load(Ordering::Acquire) {
        if Instant::now() >= next {
            api.get(path)?;
            next += each;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Takes events, as an open page does.
fn listen(port: u16, looking: &AtomicBool) -> Result<(), String> {
    let mut api = Api::open(port)?;
    api.ask("events?kinds=clients,alarms,stats")?;
    let stream = api.0.get_ref();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .map_err(|e| format!("events: {e}"))?;
    let mut some = [0; 4096];
    while looking.load(Ordering::Acquire) {
        match api.0.read(&mut some) {
            Ok(0) => return Err("the stream of events ended".into()),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(format!("events: {e}")),
        }
    }
    Ok(())
}

/// Milliseconds that each of many queries took.
fn page_times(port: u16, path: &str) -> Result<Vec<f64>, String> {
    let mut api = Api::open(port)?;
    let mut times = Vec::with_capacity(QUERIES);
    for _ in 0..QUERIES {
        let begin = Instant::now();
        let answer = api.get(path)?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        if answer["result"]["objects"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            return Err(format!("{path}: nobody in {answer}"));
        }
    }
    Ok(times)
}

/// The part of the report, without a title.
pub fn markdown(runs: &[Run], reps: usize, load: &str) -> String {
    let mut out = machine_lines(load);
    let _ = writeln!(
        out,
        "- {reps} repetitions, medians; in each the broker is watched {TURNS} times for {TURN} s without and with, by turns\n\n\
         {} clients that say nothing. While the dashboard is open, a page with the clients (asked for each {} s), one with the \
         overview (each {} s) and a stream of events: what these cost is seen by the processor time of the broker's threads while \
         there are no messages, and set beside what 16 pairs cost that send {} messages a second at QoS 0. Then {QUERIES} pages of \
         20 clients one after the other, while such messages flow.\n\n\
         | | | least to most | goal | goal met |\n|---|--:|--:|--:|---|",
        number(CLIENTS as f64),
        CLIENTS_EACH.as_secs(),
        OVERVIEW_EACH.as_secs(),
        number(RATE as f64),
    );
    let mut line = |title: &str, key: &str, form: &dyn Fn(f64) -> String, goal: Option<f64>| {
        let all = sorted(runs, NAME, key);
        let value = middle(&all);
        let _ = writeln!(
            out,
            "| {title} | {} | {} | {} | {} |",
            value.map_or("–".into(), form),
            spread(&all),
            goal.map_or("–".into(), |goal| format!("≤ {}", form(goal))),
            met(value, goal),
        );
    };
    let percent = |v: f64| format!("{v:.1} %");
    let ms = |v: f64| format!("{v:.1} ms");
    let each_second = |v: f64| format!("{v:.2} ms/s");
    line("no messages, nobody looks", "closed_ms", &each_second, None);
    line("… the dashboard is open", "open_ms", &each_second, None);
    line("what the dashboard costs", "more_ms", &each_second, None);
    line("what the messages cost", "messages_ms", &each_second, None);
    line("the dashboard beside them", "share", &percent, Some(SHARE));
    line("clients by id, p50", "list_p50", &ms, None);
    line("… p99", "list_p99", &ms, Some(PAGE_MS));
    line("… the longest", "list_max", &ms, None);
    line(
        "clients searched, newest first, p50",
        "search_p50",
        &ms,
        None,
    );
    line("… p99", "search_p99", &ms, Some(PAGE_MS));
    line("… the longest", "search_max", &ms, None);
    let mut notes = String::new();
    failures(&mut notes, runs);
    let _ = write!(out, "\n{notes}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goals_stand_beside_what_was_measured() {
        let run = |share: f64, p99: f64| Run {
            row: NAME,
            peer: "emqttd",
            result: Ok(json!({"more_ms": 1.25, "share": share, "list_p99": p99})),
        };
        let text = markdown(&[run(1.5, 80.0), run(1.0, 60.0), run(2.5, 20.0)], 3, "0");
        for line in [
            "| what the dashboard costs | 1.25 ms/s | 1.25 – 1.25 | – | – |",
            "| the dashboard beside them | 1.5 % | 1.00 – 2.50 | ≤ 2.0 % | yes |",
            "| … p99 | 60.0 ms | 20.0 – 80.0 | ≤ 50.0 ms | no, +20 % |",
            "| what the messages cost | – | – | – | – |",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn threads_come_and_go() {
        let then = HashMap::from([(1, 1000), (2, 500)]);
        let now = HashMap::from([(1, 1300), (3, 50)]);
        assert_eq!(grown(&then, &now), 350);
        assert_eq!(grown(&now, &now), 0);
    }
}
