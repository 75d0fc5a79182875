//! The client and a service that does what services should not.

#![allow(clippy::unwrap_used)]

use crate::{Answer, Headers, HttpClient, HttpSettings, Request, Url, Version};
use bytes::Bytes;
use emqttd_backend::{Fault, TlsSettings};
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Config, Context, Descriptor};
use emqttd_tests::servers::http::{HttpServer, Reply};
use emqttd_tests::servers::pki;
use emqttd_tests::servers::sink::{Mode, Post, Sink};
use std::fs;
use std::future::Future;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What a test waits for that comes without a sign.
const PATIENCE: Duration = Duration::from_secs(20);

/// A plugin that runs as long as its broker.
pub(crate) fn plugin() -> (FakeBroker, Context) {
    let (sender, context) = mpsc::channel();
    let descriptor = Descriptor::new("asks", "1.0", "Asks", move |ctx| {
        sender.send(ctx.clone()).unwrap();
        Ok(Box::new(()))
    });
    let broker = FakeBroker::new();
    broker.start(&descriptor, Config::default()).unwrap();
    let context = context.recv().unwrap();
    (broker, context)
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

fn settings(version: Version) -> HttpSettings {
    HttpSettings {
        version,
        tls: TlsSettings {
            cacertfile: Some(pki::file("ca.crt")),
            identity: Some((pki::file("client.crt"), pki::file("client.key"))),
            verify: true,
            server_name: None,
        },
        headers: Headers::default(),
        connections: 8,
    }
}

async fn post(client: &HttpClient, url: &str, body: &Bytes) -> Result<Answer, Fault> {
    let url = Url::parse(url).unwrap();
    let request = Request {
        url: &url,
        post: Some(("application/json", body)),
        most: 1024,
    };
    client.ask(&request).await
}

/// Starts a client, and asks by it.
fn with_client<F: Future>(version: Version, test: impl FnOnce(&'static HttpClient) -> F) {
    let (broker, context) = plugin();
    // Ends with the test process.
    let client: &HttpClient = Box::leak(Box::new(HttpClient::new(&context, &settings(version))));
    block_on(test(client));
    broker.stop();
}

const BODY: Bytes = Bytes::from_static(b"{}");

/// The status, or why there is none.
async fn status(client: &HttpClient, url: &str) -> Result<u16, Fault> {
    post(client, url, &BODY).await.map(|answer| answer.status)
}

#[test]
fn http2_by_prior_knowledge_shares_a_connection() {
    let sink = &Sink::start();
    with_client(Version::Http2, |client| async move {
        let mut all = JoinSet::new();
        for _ in 0..20 {
            let url = sink.url("/hook?a=1");
            all.spawn(async move { status(client, &url).await });
        }
        for answer in all.join_all().await {
            assert_eq!(answer, Ok(200));
        }
    });
    let posts = sink.take();
    assert_eq!(posts.len(), 20);
    for post in posts {
        assert_eq!((&*post.version, post.connection), ("HTTP/2.0", 0));
        assert_eq!((&*post.method, &*post.target), ("POST", "/hook?a=1"));
        assert_eq!(post.header("content-type"), Some("application/json"));
        assert_eq!(post.text(), "{}");
    }
}

#[test]
fn tls_says_what_is_spoken() {
    let sink = Sink::start_tls("server", true);
    for (version, spoken) in [
        (Version::Auto, "HTTP/2.0"),
        (Version::Http1, "HTTP/1.1"),
        (Version::Http2, "HTTP/2.0"),
    ] {
        with_client(version, |client| async {
            assert_eq!(status(client, &sink.url("/")).await, Ok(200));
        });
        assert_eq!(sink.take()[0].version, spoken, "{version:?}");
    }
    let plain = Sink::start();
    with_client(Version::Auto, |client| async {
        assert_eq!(status(client, &plain.url("/")).await, Ok(200));
    });
    assert_eq!(plain.take()[0].version, "HTTP/1.1");
}

#[test]
fn many_at_once_agree_on_http2() {
    let sink = &Sink::start_tls("server", false);
    with_client(Version::Auto, |client| async move {
        let mut all = JoinSet::new();
        for _ in 0..8 {
            let url = sink.url("/");
            all.spawn(async move { status(client, &url).await });
        }
        for answer in all.join_all().await {
            assert_eq!(answer, Ok(200));
        }
        assert_eq!(status(client, &sink.url("/")).await, Ok(200));
    });
    let posts = sink.take();
    assert!(posts.iter().all(|post| post.version == "HTTP/2.0"));
}

#[test]
fn a_service_without_http2() {
    let with_tls = HttpServer::start_tls("server", false, |_| Reply::status(200));
    let without = HttpServer::start(|_| Reply::status(200));
    with_client(Version::Http2, |client| async {
        let Err(Fault::Down(why)) = status(client, &with_tls.url("/")).await else {
            panic!("an answer");
        };
        assert!(why.contains("does not speak HTTP/2"), "{why}");
        let asked = timeout(PATIENCE, status(client, &without.url("/"))).await;
        let Err(Fault::Down(why)) = asked.unwrap() else {
            panic!("an answer");
        };
        assert!(why.contains("HTTP/2"), "{why}");
    });
}

#[test]
fn a_connection_whose_request_was_given_up_serves_no_other() {
    for version in [Version::Http1, Version::Http2] {
        let sink = Sink::start();
        with_client(version, |client| async {
            let url = sink.url("/");
            assert_eq!(status(client, &url).await, Ok(200));
            for mode in [Mode::Hang, Mode::Freeze] {
                sink.take();
                sink.set(mode);
                let asked = timeout(Duration::from_millis(200), status(client, &url)).await;
                assert!(asked.is_err());
                sink.set(Mode::Status(204));
                let given_up = sink.take();
                assert_eq!(status(client, &url).await, Ok(204), "{version:?}");
                let last = sink.wait_for(1).pop().unwrap();
                // It may be one that was opened for the former, and not used.
                let other = |post: &Post| post.connection != last.connection;
                assert!(given_up.iter().all(other), "{version:?}: {last:?}");
            }
        });
        // All that were given up have been closed.
        sink.wait_for_connections(1);
    }
}

#[test]
fn requests_that_share_a_connection_with_one_given_up_go_on() {
    let sink = &Sink::start();
    with_client(Version::Http2, |client| async move {
        let url = sink.url("/");
        assert_eq!(status(client, &url).await, Ok(200));
        sink.next([Mode::Slow(Duration::from_millis(600)), Mode::Hang]);
        let slow = {
            let url = url.clone();
            tokio::spawn(async move { status(client, &url).await })
        };
        while sink.count() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        let hanging = timeout(Duration::from_millis(100), status(client, &url)).await;
        assert!(hanging.is_err());
        assert_eq!(slow.await.unwrap(), Ok(200));
    });
    // Neither was sent a second time.
    assert_eq!(sink.take().len(), 3);
}

#[test]
fn a_service_that_goes_away_in_order() {
    for version in [Version::Http1, Version::Http2] {
        let sink = Sink::start();
        with_client(version, |client| async {
            for round in 0..5 {
                assert_eq!(status(client, &sink.url("/")).await, Ok(200), "{round}");
                sink.go_away();
            }
        });
        assert_eq!(sink.take().len(), 5, "{version:?}");
    }
}

#[test]
fn what_breaks_is_sent_again_but_not_for_ever() {
    for version in [Version::Http1, Version::Http2] {
        let sink = Sink::start();
        with_client(version, |client| async {
            let url = sink.url("/");
            sink.next([Mode::Drop, Mode::Break, Mode::Drop]);
            assert_eq!(status(client, &url).await, Ok(200), "{version:?}");
            assert_eq!(sink.take().len(), 4, "{version:?}");
            sink.set(Mode::Drop);
            assert!(matches!(status(client, &url).await, Err(Fault::Down(_))));
            assert_eq!(sink.take().len(), 4, "{version:?}");
            sink.set(Mode::Refuse);
            let begun = Instant::now();
            assert!(matches!(status(client, &url).await, Err(Fault::Down(_))));
            assert!(begun.elapsed() < Duration::from_secs(1), "{version:?}");
            sink.set(Mode::Status(201));
            assert_eq!(status(client, &url).await, Ok(201), "{version:?}");
        });
    }
}

#[test]
fn redirections_keep_the_body_and_end() {
    let (one, other) = (Sink::start(), Sink::start());
    with_client(Version::Http1, |client| async {
        one.set(Mode::Redirect(other.url("/there")));
        let answer = post(client, &one.url("/here"), &BODY).await.unwrap();
        assert_eq!((answer.status, answer.redirections), (200, 1));
        assert_eq!(other.take()[0].text(), "{}");
        one.take();
        one.set(Mode::Redirect("/again".into()));
        assert!(matches!(
            status(client, &one.url("/")).await,
            Err(Fault::Refused(_))
        ));
    });
    assert_eq!(one.take().len(), 6);
}

/// Sockets of this process that are connected to a port, and not only in the kernel's hands.
fn sockets_to(port: u16) -> usize {
    let remote = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let held = table.lines().skip(1).filter(|line| {
        let mut fields = line.split_whitespace();
        let there = fields.nth(2).is_some_and(|peer| peer.ends_with(&remote));
        there && fields.nth(6).is_some_and(|inode| inode != "0")
    });
    held.count()
}

#[cfg(target_os = "linux")]
#[test]
fn a_body_that_nobody_takes_is_not_kept() {
    for version in [Version::Http1, Version::Http2] {
        let sink = Sink::start();
        with_client(version, |client| async {
            let url = sink.url("/");
            assert_eq!(status(client, &url).await, Ok(200));
            sink.set(Mode::Freeze);
            // More than the buffers of two sockets hold.
            let large = Bytes::from(vec![b'x'; 32 << 20]);
            for _ in 0..3 {
                let asked = timeout(Duration::from_millis(300), post(client, &url, &large)).await;
                assert!(asked.is_err());
            }
            // The pool notices with the next request that it has a connection which serves none.
            let most = usize::from(version == Version::Http2);
            let begun = Instant::now();
            while sockets_to(sink.port()) > most || !large.is_unique() {
                assert!(begun.elapsed() < PATIENCE, "{version:?}: it is kept");
                sleep(Duration::from_millis(10)).await;
            }
        });
        sink.set(Mode::Status(200));
    }
}

#[test]
fn a_silent_service_does_not_hold_up_the_connect_for_ever() {
    // Accepted by the kernel, and nobody shakes hands.
    let sink = Sink::start_tls("server", false);
    sink.set(Mode::Freeze);
    with_client(Version::Auto, |client| async {
        let asked = timeout(PATIENCE, status(client, &sink.url("/"))).await;
        let Err(Fault::Down(why)) = asked.unwrap() else {
            panic!("an answer");
        };
        assert!(why.contains("no connection within"), "{why}");
    });
}

/// Who has said that it took a request is not asked again because of what it says then.
#[test]
fn where_the_status_counts_alone_the_body_may_be_anything() {
    const ANSWERS: [&str; 3] = [
        // Cut off; without end; as it should be.
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ];
    for answer in ANSWERS {
        with_client(Version::Http1, |client| async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
            let request = Request {
                url: &url,
                post: Some(("application/json", &BODY)),
                most: 0,
            };
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 4096];
                assert!(stream.read(&mut bytes).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
                // The first one ends here; the others stay open.
                if answer.contains("close") {
                    drop(stream);
                    return None;
                }
                Some(stream)
            };
            let asked = async {
                timeout(PATIENCE, client.ask(&request))
                    .await
                    .unwrap()
                    .unwrap()
            };
            let (asked, _stream) = tokio::join!(asked, serve);
            assert_eq!((asked.status, asked.body), (200, None), "{answer}");
            // It was asked once.
            let again = timeout(Duration::from_millis(200), listener.accept()).await;
            assert!(again.is_err(), "{answer}");
        });
    }
}
