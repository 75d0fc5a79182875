//! The plugin in a broker of memory, before a small service.

#![allow(clippy::unwrap_used)]

use super::*;
use emqttd_plugin_sdk::Config;
use emqttd_plugin_sdk::testing::{FakeBroker, client};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

/// Answers each request, one to a connection, with what `answer` makes of its first line.
struct Service {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Service {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some((line, body)) = request(&stream) else {
                    continue;
                };
                let answer = answer(&line);
                list.lock().unwrap().push(format!("{line} {body}"));
                // A client that is gone has its own reasons.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Service { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Method and target, and the body.
fn request(stream: &TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim().strip_suffix(" HTTP/1.1")?.to_string();
    Some((line, String::from_utf8_lossy(&body).into_owned()))
}

fn status(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn user(name: &str) -> Client {
    let mut client = client("c1");
    client.username = Some(name.into());
    client
}

fn start(pairs: &[(&str, &str)]) -> (FakeBroker, Result<(), StartError>) {
    let broker = FakeBroker::new();
    let started = broker.start(&plugin(), Config::of(pairs));
    (broker, started)
}

#[test]
fn keys_that_make_no_sense() {
    let url = ("auth.http.auth_req", "http://127.0.0.1/");
    for (key, value, what) in [
        ("auth.http.auth_req", "127.0.0.1:80", "no URL"),
        ("auth.http.acl_req", "ftp://h/", "no URL"),
        ("auth.http.auth_req.method", "put", "takes `post` or `get`"),
        ("auth.http.auth_req.params", "a=b=c", "not name=value"),
        ("auth.http.auth_req.params", "%u", "not name=value"),
        ("auth.http.header.x y", "v", "names no header"),
        ("auth.http.header.a", "v\r\nX: y", "control characters"),
        ("auth.http.header.content-length", "7", "cannot be set"),
        ("auth.http.pool", "0", "greater than 0"),
        ("auth.http.ssl_opts.cacertfile", "/nowhere", "/nowhere"),
    ] {
        let (_broker, started) = start(&[url, (key, value)]);
        let StartError(why) = started.unwrap_err();
        assert!(why.contains(what) && !why.contains("X: y"), "{key}: {why}");
    }
}

#[test]
fn who_has_no_url_asks_nobody() {
    let (broker, started) = start(&[("auth.http.auth_req", " ")]);
    started.unwrap();
    assert_eq!(broker.auth(&client("c"), None), AuthAnswer::Ignore);
    let answer = broker.acl(&client("c"), Access::Publish, "t");
    assert_eq!(answer, AclAnswer::Ignore);
}

#[test]
fn keys_that_change() {
    let service = Service::start(|line| match line {
        "POST /no" => status(403, ""),
        "POST /yes" => status(200, ""),
        _ => status(200, "ignore"),
    });
    let (broker, started) = start(&[("auth.http.auth_req", &service.url("/no"))]);
    started.unwrap();
    let ask = || broker.auth(&user("u"), Some(b"p"));
    assert_eq!(ask(), AuthAnswer::Deny);
    broker
        .set("auth.http.auth_req", &service.url("/yes"))
        .unwrap();
    assert_eq!(ask(), AuthAnswer::Allow { superuser: false });
    assert_eq!(broker.forgotten(), 1);
    assert!(broker.set("auth.http.auth_req", "nowhere").is_err());
    assert_eq!(ask(), AuthAnswer::Allow { superuser: false }, "as it was");
    service.seen();
    broker.set("auth.http.auth_req.params", "k=v").unwrap();
    ask();
    assert_eq!(service.seen(), ["POST /yes k=v"]);
    broker.set("auth.http.auth_req", "").unwrap();
    assert_eq!(ask(), AuthAnswer::Ignore);
    assert_eq!(service.seen(), [""; 0]);
    // A question that nobody was asked at the start.
    let act = || broker.acl(&user("$u"), Access::Subscribe, "a/#");
    assert_eq!(act(), AclAnswer::Ignore);
    broker
        .set("auth.http.acl_req", &service.url("/acl"))
        .unwrap();
    assert_eq!(act(), AclAnswer::Ignore);
    let asked = "GET /acl?access=1&username=%24u&clientid=c1&ipaddr=127.0.0.1&topic=a%2F%23 ";
    assert_eq!(service.seen(), [asked]);
}
