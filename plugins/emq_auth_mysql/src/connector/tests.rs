//! Against servers that are none: threads that say something and hang up.

#![allow(clippy::unwrap_used)]
use super::*;
use mysql_async::OptsBuilder;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The greeting of a server that has TLS, with a packet's head.
fn greeting(tls: bool) -> Vec<u8> {
    let mut body = b"\x0a8.0.30\0\x01\0\0\0abcdefgh\0".to_vec();
    // PROTOCOL_41, SECURE_CONNECTION, CONNECT_WITH_DB, and SSL.
    body.extend(0x8208_u16.to_le_bytes());
    if tls {
        body[22] |= 0x08;
    }
    // Character set, status, PLUGIN_AUTH, length of the scramble.
    body.extend([45, 2, 0, 0x08, 0, 21]);
    body.extend([0; 10]);
    body.extend(b"ijklmnopqrst\0caching_sha2_password\0");
    packet(0, &body)
}

fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
    out[3] = number;
    out.extend(body);
    out
}

/// A server for one connection; what it does with it, and how to get there.
fn server(
    talk: impl FnOnce(std::net::TcpStream) + Send + 'static,
) -> (OptsBuilder, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        talk(stream);
    });
    let opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(address.port())
        .user(Some("u"))
        .pass(Some("p"))
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60));
    (opts, thread)
}

/// Reads until the client hangs up.
fn to_the_end(mut stream: std::net::TcpStream) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        // Whatever way it hung up, it did.
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

/// One test: the counter of panics is the process's.
#[tokio::test]
async fn what_fails_leaves_nothing_behind() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(info);
    }));

    let no_tls = |mut stream: std::net::TcpStream| {
        stream.write_all(&greeting(true)).unwrap();
        // It asks for TLS, and gets something else.
        let mut asked = [0; 36];
        stream.read_exact(&mut asked).unwrap();
        stream.write_all(b"what?").unwrap();
        to_the_end(stream);
    };
    let tls = mysql_async::SslOpts::default();
    let (opts, thread) = server(no_tls);
    let failed = conn(opts.ssl_opts(tls.clone()).into()).await;
    assert!(failed.is_err(), "{failed:?}");
    // The server sees the end of the connection: nothing holds it.
    tokio::task::spawn_blocking(|| thread.join().unwrap())
        .await
        .unwrap();

    // One that hangs in the middle, and is given up.
    let hangs = |mut stream: std::net::TcpStream| {
        stream.write_all(&greeting(true)).unwrap();
        to_the_end(stream);
    };
    let (opts, thread) = server(hangs);
    let attempt = conn(opts.ssl_opts(tls).into());
    assert!(
        tokio::time::timeout(Duration::from_millis(200), attempt)
            .await
            .is_err()
    );
    tokio::task::spawn_blocking(|| thread.join().unwrap())
        .await
        .unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);

    // A key for the password that is none: the driver panics, and we do not.
    let nonsense = |mut stream: std::net::TcpStream| {
        stream.write_all(&greeting(false)).unwrap();
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        let length = usize::from(head[0]) | usize::from(head[1]) << 8;
        stream.read_exact(&mut vec![0; length]).unwrap();
        // Full authentication, please.
        stream.write_all(&packet(2, &[1, 4])).unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(&packet(4, b"\x01no key")).unwrap();
        to_the_end(stream);
    };
    let (opts, thread) = server(nonsense);
    let failed = conn(opts.into()).await;
    let why = "what it sends is not the protocol of MySQL";
    assert_eq!(failed.unwrap_err(), why);
    assert_eq!(PANICS.load(Ordering::SeqCst), 1);
    tokio::task::spawn_blocking(|| thread.join().unwrap())
        .await
        .unwrap();
}
