//! The server over real sockets, by somebody who means no good.

#![allow(clippy::unwrap_used)]

use super::Web;
use super::listener::converse;
use super::paced::{Pace, Paced, Patience};
#[cfg(target_os = "linux")]
use super::settings::Opening;
use crate::App;
use bytes::Bytes;
use emqttd_broker::{Broker, Severity, Shard};
use emqttd_config::{Listener, ListenerKind};
use emqttd_management::Core;
use emqttd_plugin_sdk::{Config, HttpResponse, PluginListener, WebFile, WebListener};
use http_body_util::Full;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, watch};

/// How long something may take that is to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// `admin:public`
const ADMIN: &str = "Authorization: Basic YWRtaW46cHVibGlj\r\n";

static FILES: [WebFile; 1] = [WebFile {
    path: "/index.html",
    content_type: "text/html; charset=utf-8",
    content: b"<!doctype html>",
    gzip: None,
    immutable: false,
}];

/// A server before a broker whose event loops answer mail only.
struct Bench {
    web: Arc<Web>,
    listener: Listener,
    addr: SocketAddr,
    /// requests that the plugin has got
    asked: Arc<AtomicUsize>,
    _dir: TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.web.end();
    }
}

fn drive(mut shard: Shard) {
    thread::spawn(move || {
        loop {
            shard.begin_round();
            shard.receive();
            shard.timers();
            thread::sleep(Duration::from_millis(5));
        }
    });
}

impl Bench {
    fn new(keys: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        fs::create_dir_all(&etc).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let log = dir.path().join("log");
        let text = format!(
            "node.name = emq@127.0.0.1\nlog.dir = {}\nlistener.api.mgmt = {addr}\n{keys}",
            log.display()
        );
        fs::write(etc.join("emq.conf"), text).unwrap();
        let loaded = emqttd_config::load(&etc, std::iter::empty()).unwrap();
        let (broker, shards) = Broker::new(loaded.settings, 1).unwrap();
        shards.into_iter().for_each(drive);
        let listeners = broker.settings().listeners.clone();
        let core = Core::new(broker, Arc::new(parking_lot::Mutex::new(loaded.config)));
        let cli = emqttd_management::core(&core);
        emqttd_management::after_boot(&cli, &core);
        let app = App::new(core);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        app.set_plugin_routes(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let asked = request.path.strip_prefix("/api/plugins/slow/")?;
            thread::sleep(Duration::from_millis(asked.parse().unwrap_or(0)));
            let secret = request
                .headers
                .iter()
                .any(|(name, _)| name == "authorization");
            Some(HttpResponse {
                status: 200,
                content_type: "text/plain".into(),
                body: format!("{:?} {secret} {}", request.query, request.body.len()).into_bytes(),
            })
        });
        let web = Web::new(app);
        web.open_configured(&listeners).unwrap();
        web.begin();
        let listener = listeners.into_iter().find(|l| l.kind == ListenerKind::Api);
        Bench {
            web,
            listener: listener.unwrap(),
            addr,
            asked,
            _dir: dir,
        }
    }

    fn connect(&self) -> TcpStream {
        connect(self.addr)
    }

    /// Somebody who is being answered for as long as the connection is there.
    fn listen(&self) -> TcpStream {
        let mut stream = self.connect();
        stream
            .write_all(get("/api/v2/events?kinds=alarms").as_bytes())
            .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        stream
    }

    /// Something that is told to those.
    fn happens(&self) {
        let broker = &self.web.app.core().broker;
        for summary in [Some("s"), None] {
            broker.post_alarm("x", Severity::Warning, "t", summary);
        }
    }

    /// Connections.
    fn current(&self) -> usize {
        self.web.app.core().broker.listeners()[0].current_clients
    }

    /// All that comes until the connection ends.
    fn tell(&self, text: &str) -> String {
        tell(self.addr, text.as_bytes())
    }

    fn status(&self, text: &str) -> u16 {
        status(&self.tell(text))
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn tell(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(addr);
    // It may be closed before all is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1).unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("{answer:?}"))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{ADMIN}Connection: close\r\n\r\n")
}

#[test]
fn what_every_answer_has() {
    let bench = Bench::new("");
    for (path, expected) in [
        ("/api/v2/management/nodes", 200),
        ("/api/v2/nowhere", 404),
        ("/nowhere", 404),
        ("/status", 200),
        ("/api/logout", 401),
    ] {
        let answer = bench.tell(&get(path));
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "x-frame-options: DENY",
        ] {
            assert!(answer.contains(header), "{path}: {header} in {answer}");
        }
        assert!(!answer.contains("access-control"), "{answer}");
        if expected == 404 {
            assert!(answer.contains("content-type: text/plain\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        }
    }
    // The wrong method is a wrong path, as ever.
    let put = get("/api/v2/management/nodes").replace("GET", "PUT");
    assert_eq!(bench.status(&put), 404);
    let nobody = get("/api/v2/nowhere").replace(ADMIN, "");
    assert_eq!(bench.status(&nobody), 401);
}

#[test]
fn two_lengths_are_none() {
    let bench = Bench::new("");
    let smuggled = get("/api/v2/management/nodes");
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked, identity\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -1\r\n",
    ] {
        let text = format!(
            "POST /api/v2/mqtt/publish HTTP/1.1\r\nHost: localhost\r\n{ADMIN}{lengths}\r\n0\r\n\r\n{smuggled}"
        );
        let answer = bench.tell(&text);
        // Whatever is answered, the connection ends and what follows is no request.
        assert!(
            answer.matches("HTTP/1.1").count() <= 1,
            "{lengths}: {answer}"
        );
        assert!(!answer.contains("node_status"), "{lengths}: {answer}");
    }
    // A chunked body alone is fine, and the last request of its connection.
    let text = format!(
        "POST /api/plugins/slow/0 HTTP/1.1\r\nHost: localhost\r\n{ADMIN}Transfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n{smuggled}"
    );
    let answer = bench.tell(&text);
    assert!(answer.ends_with("[] false 5"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn heads_are_bounded() {
    let bench = Bench::new("");
    let long = "x".repeat(200_000);
    let many: String = (0..2000).map(|n| format!("X-{n}: y\r\n")).collect();
    let target = format!("/api/v2/clients/{}", "y".repeat(20_000));
    assert_eq!(bench.status(&get(&target)), 414);
    for text in [
        get(&format!("/{long}")),
        get("/status").replace("Connection", &format!("X-Long: {long}\r\nConnection")),
        get("/status").replace("Connection", &format!("{many}Connection")),
        format!("GET {long}"),
    ] {
        let answer = bench.tell(&text);
        let refused = answer.is_empty() || matches!(status(&answer), 400 | 414 | 431);
        assert!(refused, "{answer}");
    }
    for text in [
        "GET /status HTTP/1.1\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET /sta tus HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
    ] {
        let answer = bench.tell(text);
        assert!(
            answer.is_empty() || status(&answer) == 400,
            "{text:?}: {answer}"
        );
    }
    assert_eq!(bench.status(&get("/status")), 200);
}

#[test]
fn bodies_are_bounded() {
    let bench = Bench::new("");
    let head = format!(
        "POST /api/v2/mqtt/publish HTTP/1.1\r\nHost: localhost\r\n{ADMIN}Content-Type: application/json\r\n"
    );
    // Nobody waits for what is too long anyway.
    let answer = bench.tell(&format!("{head}Content-Length: 1048577\r\n\r\n"));
    assert_eq!(status(&answer), 413);
    let answer = bench.tell(&format!(
        "{head}Content-Length: 18446744073709551615\r\n\r\n"
    ));
    assert!(matches!(status(&answer), 413 | 431), "{answer}");
    // A reader of its own, since both sides write.
    let mut stream = bench.connect();
    let mut reading = stream.try_clone().unwrap();
    let answer = thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = reading.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    });
    let _ = stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    let chunk = format!("10000\r\n{}\r\n", "z".repeat(0x10000));
    for _ in 0..40 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let answer = answer.join().unwrap();
    assert!(answer.is_empty() || status(&answer) == 413, "{answer}");
}

#[test]
fn paths_lead_where_they_say() {
    let bench = Bench::new("");
    for path in [
        "/api/v2/../v2/management/nodes",
        "/api/v2/%6danagement/nodes",
        "//api/v2/management/nodes",
        "/api//v2/management/nodes",
        "/API/v2/management/nodes",
        "/api/v2/management%2Fnodes",
        "/api/v2/login/../users",
        "/api/v2/auth%2f..%2fusers",
        "/api/v2/openapi.json/../users",
    ] {
        let nobody = get(path).replace(ADMIN, "");
        let answer = bench.tell(&nobody);
        assert!(!answer.contains("\"code\":0"), "{path}: {answer}");
        let answer = bench.tell(&get(path));
        assert!(!answer.contains("\"code\":0"), "{path}: {answer}");
    }
    let absolute = get("/").replace("GET /", "GET http://localhost/api/v2/management/nodes");
    assert_eq!(bench.status(&absolute), 200);
    assert_eq!(bench.status(&absolute.replace(ADMIN, "")), 401);
}

#[test]
fn no_more_than_max_clients_and_whom_the_rules_let_in() {
    let bench = Bench::new("listener.api.mgmt.max_clients = 2\n");
    let first = bench.listen();
    let second = bench.listen();
    assert_eq!(bench.tell(&get("/status")), "");
    drop(second);
    // That it has gone is seen when there is something to tell.
    until(|| {
        bench.happens();
        bench.current() == 1
    });
    assert_eq!(bench.status(&get("/status")), 200);
    drop(first);

    let bench = Bench::new(
        "listener.api.mgmt.access.10 = allow all\nlistener.api.mgmt.access.9 = deny 127.0.0.0/8\n",
    );
    assert_eq!(bench.tell(&get("/status")), "");
}

#[test]
fn who_says_nothing_keeps_no_place_from_who_does() {
    let bench = Bench::new("listener.api.mgmt.max_clients = 3\n");
    // Between two requests, before the first, within the head of one.
    let mut answered = bench.connect();
    answered
        .write_all(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(answered.read(&mut [0; 9]).unwrap(), 9);
    let silent = bench.connect();
    let mut slow = bench.connect();
    slow.write_all(b"GET /status HT").unwrap();
    until(|| bench.current() == 3);
    let streams: Vec<TcpStream> = (0..3).map(|_| bench.listen()).collect();
    for mut gone in [answered, silent, slow] {
        // The three places are those of the streams now: these are at their end, or were reset.
        let mut rest = Vec::new();
        let end = gone.read_to_end(&mut rest);
        assert_ne!(end.err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
    }
    // Who is answered stays.
    assert_eq!(bench.tell(&get("/status")), "");
    drop(streams);

    // When there may be fewer than are there, as many leave as are too many.
    let bench = Bench::new("");
    let config = Config::of(&[("dashboard.listener.http", "127.0.0.1:0")]);
    let opened = bench.web.open_for_plugin(&dashboard(), &config).unwrap();
    let addr = opened.local_addr().unwrap();
    let broker = &bench.web.app.core().broker;
    let shown = || {
        let mut all = broker.listeners().into_iter();
        all.find(|l| l.protocol == "dashboard:http").unwrap()
    };
    let silent: Vec<TcpStream> = (0..5).map(|_| connect(addr)).collect();
    until(|| shown().current_clients == 5);
    broker.set_max_clients(&PluginListener {
        protocol: "dashboard:http".into(),
        listen_on: addr.to_string(),
        acceptors: 4,
        max_clients: 2,
        mountpoint: None,
    });
    assert_eq!(shown().max_clients, 2);
    assert_eq!(status(&tell(addr, get("/status").as_bytes())), 200);
    until(|| shown().current_clients == 1);
    drop(silent);
    opened.close();

    // Thousands of them are no hindrance either.
    let bench = Bench::new("listener.api.mgmt.max_clients = 3\n");
    let crowd: Vec<TcpStream> = (0..200).map(|_| bench.connect()).collect();
    assert_eq!(bench.status(&get("/status")), 200);
    drop(crowd);
}

#[cfg(target_os = "linux")]
#[test]
fn who_vanished_is_noticed_by_what_it_does_not_confirm() {
    let bench = Bench::new("");
    let mut opening = Opening::configured(&bench.listener);
    opening.addr.set_port(0);
    for (send_timeout, expected) in [(15, 30), (60, 60), (u64::MAX, 900)] {
        opening.send_timeout = Duration::from_secs(send_timeout);
        let listening = super::listener::bind(&opening).unwrap();
        listening.set_nonblocking(false).unwrap();
        let _peer = connect(listening.local_addr().unwrap());
        let (accepted, _) = listening.accept().unwrap();
        let limit = socket2::SockRef::from(&accepted).tcp_user_timeout();
        assert_eq!(limit.unwrap(), Some(Duration::from_secs(expected)));
    }
}

#[test]
fn a_listener_closes_and_opens_again() {
    let bench = Bench::new("");
    let on = bench.listener.listen_on.clone();
    // One who asks something gets the answer, one who only waits is told goodbye, and one who never ends is cut.
    let mut asking = bench.connect();
    asking
        .write_all(get("/api/plugins/slow/400").as_bytes())
        .unwrap();
    let mut idle = bench.connect();
    idle.write_all(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
    let mut endless = bench.connect();
    endless
        .write_all(get("/api/plugins/slow/60000").as_bytes())
        .unwrap();
    // All three have been read: the one in the middle was answered, and the others came by the same listener.
    thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    bench.web.stop("mqtt:api", &on).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut answer = String::new();
    asking.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 200);
    assert_eq!(idle.read(&mut [0; 16]).unwrap_or(0), 0);
    assert_eq!(endless.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!(TcpStream::connect(bench.addr).is_err());
    assert!(bench.web.app.core().broker.listeners().is_empty());
    assert_eq!(bench.web.stop("mqtt:api", &on), Err("not_found".into()));

    bench.web.start("mqtt:api", &on).unwrap();
    assert_eq!(bench.status(&get("/status")), 200);
    assert_eq!(bench.web.start("mqtt:api", &on), Err("existed".into()));
    assert_eq!(
        bench.web.start("mqtt:api", "127.0.0.1:1"),
        Err("not_found".into())
    );
}

fn dashboard() -> WebListener {
    WebListener {
        protocol: "dashboard:http".into(),
        key: "dashboard.listener.http".into(),
        tls: false,
        files: &FILES,
        policy: "default-src 'none'",
    }
}

#[test]
fn a_listener_of_a_plugin() {
    let bench = Bench::new("");
    let listener = dashboard();
    let config = |pairs: &[(&str, &str)]| Config::of(pairs);
    let opened = bench
        .web
        .open_for_plugin(
            &listener,
            &config(&[("dashboard.listener.http", "127.0.0.1:0")]),
        )
        .unwrap();
    let addr = opened.local_addr().unwrap();
    assert_eq!(opened.shown(), format!("dashboard:http on {addr}"));
    let page = tell(addr, get("/").as_bytes());
    assert!(page.ends_with("<!doctype html>"), "{page}");
    assert!(
        page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    assert_eq!(status(&tell(addr, get("/index.htm").as_bytes())), 404);
    assert_eq!(
        status(&tell(addr, get("/api/v2/management/nodes").as_bytes())),
        200
    );
    assert_eq!(
        status(&tell(
            addr,
            get("/api/v2/management/nodes")
                .replace(ADMIN, "")
                .as_bytes()
        )),
        401
    );
    assert_eq!(
        status(&tell(addr, get("/api").replace(ADMIN, "").as_bytes())),
        401
    );
    assert_eq!(status(&tell(addr, get("/status").as_bytes())), 200);
    let shown = bench.web.app.core().broker.listeners();
    let shown = shown
        .iter()
        .find(|l| l.protocol == "dashboard:http")
        .unwrap();
    assert_eq!(
        (shown.listen_on.clone(), shown.acceptors, shown.max_clients),
        (addr.to_string(), 4, 512)
    );
    opened.close();
    assert!(TcpStream::connect(addr).is_err());
    assert_eq!(
        bench.web.start("dashboard:http", &addr.to_string()),
        Err("not_found".into())
    );

    for (pairs, expected) in [
        (
            vec![("dashboard.listener.http", "localhost:1")],
            "dashboard.listener.http (test) = localhost:1: a port",
        ),
        (
            vec![
                ("dashboard.listener.http", "0"),
                ("dashboard.listener.http.access.1", "let in"),
            ],
            "dashboard.listener.http.access.1 (test) ",
        ),
    ] {
        let error = bench
            .web
            .open_for_plugin(&listener, &config(&pairs))
            .err()
            .unwrap();
        assert!(error.starts_with(expected), "{error}");
    }
    let taken = bench.addr.to_string();
    let error = bench
        .web
        .open_for_plugin(&listener, &config(&[("dashboard.listener.http", &taken)]));
    assert!(error.err().unwrap().to_lowercase().contains("in use"));
    let secure = WebListener {
        tls: true,
        ..listener
    };
    let error = bench
        .web
        .open_for_plugin(&secure, &config(&[("dashboard.listener.http", "0")]));
    assert!(
        error
            .err()
            .unwrap()
            .contains("needs dashboard.listener.http.keyfile")
    );
}

#[test]
fn plugins_answer_below_their_names() {
    let bench = Bench::new("");
    let answer = bench.tell(&get("/api/plugins/slow/0?a=b%20c&a="));
    assert!(
        answer.ends_with("[(\"a\", \"b c\"), (\"a\", \"\")] false 0"),
        "{answer}"
    );
    for path in [
        "/api/plugins/other/x",
        "/api/plugins/",
        "/api/plugins/a%2fb/",
        "/api/plugins/slow%2f0",
    ] {
        assert_eq!(bench.status(&get(path)), 404, "{path}");
    }
    assert_eq!(
        bench.status(&get("/api/plugins/slow/0").replace(ADMIN, "")),
        401
    );
}

/// Waits until it is so.
#[track_caller]
fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "it never came to be");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_goes_before_the_answer_is_in_the_audit_log() {
    let bench = Bench::new("");
    let mut stream = bench.connect();
    let request = get("/api/plugins/slow/700").replacen("GET", "DELETE", 1);
    stream.write_all(request.as_bytes()).unwrap();
    until(|| bench.asked.load(Ordering::SeqCst) == 1);
    drop(stream);
    until(|| {
        let log = bench.tell(&get("/api/v2/audit"));
        log.contains("DELETE /api/plugins/slow/700") && log.contains("not answered")
    });
}

#[test]
fn slow_plugins_keep_nobody_out() {
    let bench = Bench::new("");
    // The password is known from here on.
    assert_eq!(bench.status(&get("/api/v2/me")), 200);
    let slow: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = bench.connect();
            let request = get("/api/plugins/slow/4000");
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    until(|| bench.asked.load(Ordering::SeqCst) >= 4);
    let start = Instant::now();
    for path in ["/health", "/api/v2/listeners"] {
        assert_eq!(bench.status(&get(path)), 200, "{path}");
    }
    assert!(start.elapsed() < Duration::from_secs(3));
    drop(slow);
}

#[test]
fn pages_of_others_do_not_publish() {
    let bench = Bench::new("");
    let publish = |origin: &str| {
        let addr = bench.addr;
        bench.status(&format!(
            "POST /mqtt/publish HTTP/1.1\r\nHost: {addr}\r\nOrigin: {origin}\r\nConnection: close\r\n\
             Content-Type: text/plain\r\nContent-Length: 17\r\n\r\ntopic=a&message=b"
        ))
    };
    assert_eq!(publish("http://evil.example"), 403);
    assert_eq!(publish("null"), 403);
    // Ours may come this far.
    assert_eq!(publish(&format!("http://{}", bench.addr)), 401);
}

#[test]
fn a_proxy_that_says_nothing_speaks_as_of_old() {
    let bench = Bench::new("");
    let ask = |version: &str| {
        bench.tell(&format!(
            "GET /api/v2/me HTTP/{version}\r\nHost: 127.0.0.1\r\n{ADMIN}Connection: close\r\n\r\n"
        ))
    };
    assert_eq!(status(&ask("1.1")), 200);
    let refused = ask("1.0");
    assert_eq!(status(&refused), 401);
    assert!(
        refused.contains("emqttd_ctl admins passwd admin"),
        "{refused}"
    );
}

/// Bytes of a long answer.
const LONG: usize = 100_000;

/// A server of hyper over a pipe, with little patience.
fn paced(head: u64, idle: u64, write: u64) -> tokio::io::DuplexStream {
    let (stream, _leave) = leaving(head, idle, write);
    stream
}

/// The same; the connection is told to leave by the other.
fn leaving(head: u64, idle: u64, write: u64) -> (tokio::io::DuplexStream, Arc<Notify>) {
    let (ours, theirs) = tokio::io::duplex(1024);
    let patience = Patience {
        head: Duration::from_secs(head),
        idle: Duration::from_secs(idle),
        write: Duration::from_secs(write),
    };
    let pace = Pace::new();
    let stream = Paced::new(ours, patience, pace.clone());
    let leave = Arc::new(Notify::new());
    let told = Arc::clone(&leave);
    tokio::spawn(async move {
        let answering = pace.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let busy = answering.busy();
            async move {
                if request.uri().path() == "/slow" {
                    tokio::time::sleep(Duration::from_secs(1000)).await;
                }
                let length = if request.uri().path() == "/long" {
                    LONG
                } else {
                    2
                };
                let body = axum::body::Body::new(Full::new(Bytes::from(vec![b'x'; length])));
                Ok::<_, Infallible>(hyper::Response::new(super::body::Sent::new(body, busy)))
            }
        });
        let (_open, mut closing) = watch::channel(false);
        let _ = converse(stream, service, &pace, &told, &mut closing).await;
    });
    (theirs, leave)
}

async fn exchange(stream: &mut tokio::io::DuplexStream, path: &str) {
    let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nxx") {
        answer.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_begun_is_not_cut_off_for_another() {
    // A request that comes when the connection is told to leave.
    let (mut stream, leave) = leaving(15, 60, 30);
    exchange(&mut stream, "/").await;
    stream
        .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    leave.notify_one();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.contains("connection: close") && answer.ends_with("\r\n\r\nxx"),
        "{answer}"
    );
    // An answer whose reader is slow: all of it has been made, and most is not written.
    let (mut stream, leave) = leaving(15, 60, 30);
    stream
        .write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![stream.read_u8().await.unwrap()];
    leave.notify_one();
    tokio::time::sleep(Duration::from_secs(10)).await;
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.len() > LONG, "{}", answer.len());
}

#[tokio::test(start_paused = true)]
async fn who_is_not_answered_leaves_at_once() {
    let (mut stream, leave) = leaving(15, 60, 30);
    exchange(&mut stream, "/").await;
    leave.notify_one();
    assert_eq!(ended(&mut stream).await, 0);
    let (mut stream, leave) = leaving(15, 60, 30);
    stream.write_all(b"GET / HT").await.unwrap();
    leave.notify_one();
    assert_eq!(ended(&mut stream).await, 0);
}

/// How long until the other side ends it, seconds.
async fn ended(stream: &mut tokio::io::DuplexStream) -> u64 {
    let begun = tokio::time::Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
    begun.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn who_sends_a_head_little_by_little_is_not_waited_for() {
    let mut stream = paced(15, 60, 30);
    assert_eq!(ended(&mut stream).await, 15);
    // A byte now and then does not help.
    let mut stream = paced(15, 60, 30);
    let begun = tokio::time::Instant::now();
    while stream.write_all(b"G").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    assert!(begun.elapsed().as_secs() <= 20);
}

#[tokio::test(start_paused = true)]
async fn between_requests_there_is_more_time_and_in_a_request_any() {
    let mut stream = paced(15, 60, 30);
    exchange(&mut stream, "/").await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    exchange(&mut stream, "/").await;
    assert_eq!(ended(&mut stream).await, 60);
    let mut stream = paced(15, 60, 30);
    exchange(&mut stream, "/slow").await;
    exchange(&mut stream, "/").await;
    // The next head has its own time from its first byte on.
    tokio::time::sleep(Duration::from_secs(30)).await;
    stream.write_all(b"GET ").await.unwrap();
    assert_eq!(ended(&mut stream).await, 15);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_is_not_waited_for() {
    let mut stream = paced(15, 60, 30);
    stream
        .write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < 10_000, "{}", answer.len());
}
