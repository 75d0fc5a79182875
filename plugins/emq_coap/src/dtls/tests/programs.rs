//! Clients of others, as programs; those that are not installed are left out, but not with `CI=true`.

use super::*;
use std::net::UdpSocket;
use std::process::{Command, Output as Finished};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server on a socket that answers each request over DTLS with the peer's identity.
struct Server {
    addr: SocketAddr,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new(site: &Site) -> Server {
        let mut opened = site.open();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .unwrap();
        let addr = socket.local_addr().unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !ended.load(Ordering::Acquire) {
                let dtls = &mut opened.dtls;
                if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    dtls.receive(Instant::now(), from, &mut buffer[..len]);
                }
                dtls.timeout(Instant::now());
                while let Some(output) = dtls.poll() {
                    match output {
                        Output::Send(to, datagram) => {
                            socket.send_to(&datagram, to).unwrap();
                        }
                        Output::Received {
                            from,
                            identity,
                            plain,
                        } => {
                            assert!(dtls.send(from, &answer(&plain, identity.as_deref())));
                        }
                        Output::Gone(_) => {}
                    }
                }
            }
        });
        Server {
            addr,
            end,
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// ACK 2.05 with the identity as payload, for a CON.
fn answer(request: &[u8], identity: Option<&str>) -> Vec<u8> {
    let token = usize::from(request[0] & 0x0F);
    let mut answer = vec![0x60 | request[0] & 0x0F, 0x45];
    answer.extend_from_slice(&request[2..4 + token]);
    answer.push(0xFF);
    answer.extend_from_slice(format!("hello {}", identity.unwrap_or("stranger")).as_bytes());
    answer
}

/// Runs a program, if it is there.
fn run(program: &str, args: &[&str]) -> Option<Finished> {
    let is_ci = std::env::var("CI").as_deref() == Ok("true");
    match Command::new(program).args(args).output() {
        Ok(finished) => Some(finished),
        Err(error) => {
            left_out(program, &error.to_string(), is_ci);
            None
        }
    }
}

/// Says that a program is missing.
///
/// # Panics
/// In CI, which has all of them.
fn left_out(program: &str, why: &str, is_ci: bool) {
    let package = match program {
        "openssl" => "openssl",
        _ => "libcoap3-bin",
    };
    let what = format!("{program} cannot be run ({why}; Debian: {package})");
    assert!(!is_ci, "{what}, and with CI=true nothing is left out");
    eprintln!("skipped: {what}");
}

#[test]
fn in_ci_nothing_is_left_out() {
    assert!(std::panic::catch_unwind(|| left_out("nothing", "it is not there", true)).is_err());
    left_out("nothing", "it is not there", false);
}

fn said(finished: &Finished) -> String {
    let out = String::from_utf8_lossy(&finished.stdout);
    let err = String::from_utf8_lossy(&finished.stderr);
    format!("{out}{err}")
}

/// A certificate with its key by OpenSSL, as people make them; `None` when it is not there.
fn openssl(site: &mut Site, kind: &[&str]) -> Option<()> {
    let (key, cert) = (site.path("key.pem"), site.path("cert.pem"));
    let mut args = vec![
        "req",
        "-x509",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ];
    args.extend(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    args.extend(kind);
    let (key, cert) = (key.display().to_string(), cert.display().to_string());
    args.extend(["-keyout", &key, "-out", &cert]);
    let made = run("openssl", &args)?;
    assert!(made.status.success(), "{}", said(&made));
    site.set("coap.keyfile", key);
    site.set("coap.certfile", cert);
    Some(())
}

const LIBCOAP: [&str; 2] = ["coap-client-openssl", "coap-client-gnutls"];

#[test]
fn libcoap_with_a_pre_shared_key() {
    let site = Site::new().psk("dev-1:736563726574\n");
    let server = Server::new(&site);
    let url = format!("coaps://{}/x", server.addr);
    for client in LIBCOAP {
        let args = ["-B", "5", "-u", "dev-1", "-k", "secret", &url];
        let Some(done) = run(client, &args) else {
            continue;
        };
        assert_eq!(said(&done).trim(), "hello dev-1", "{client}");
        for (name, key) in [("dev-1", "wrong"), ("dev-2", "secret")] {
            let args = ["-B", "3", "-u", name, "-k", key, &url];
            let done = run(client, &args).unwrap();
            assert!(!said(&done).contains("hello"), "{client} {name} {key}");
        }
    }
}

#[test]
fn libcoap_and_openssl_with_certificates() {
    let kinds: [&[&str]; 4] = [
        &["-newkey", "rsa:2048"],
        &["-newkey", "rsa:4096", "-sha512"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"],
    ];
    for kind in kinds {
        let mut site = Site::new();
        if openssl(&mut site, kind).is_none() {
            return;
        }
        let server = Server::new(&site);
        let url = format!("coaps://{}/x", server.addr);
        let ca = site.path("cert.pem").display().to_string();
        for client in LIBCOAP {
            if let Some(done) = run(client, &["-B", "5", "-R", &ca, &url]) {
                assert_eq!(said(&done).trim(), "hello stranger", "{client} {kind:?}");
            }
        }
        let address = server.addr.to_string();
        let suites: &[&str] = match kind[1].starts_with("rsa") {
            true => &["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"],
            false => &[
                "ECDHE-ECDSA-AES128-CCM",
                "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ],
        };
        for suite in suites {
            let mut args = vec!["s_client", "-dtls1_2", "-connect", &address, "-CAfile", &ca];
            args.extend(["-cipher", suite, "-verify_return_error"]);
            let said = said(&run("openssl", &args).unwrap());
            assert!(
                said.contains("Verify return code: 0 (ok)"),
                "{suite}: {said}"
            );
            let name = suite.split(':').next().unwrap();
            assert!(said.contains(&format!("Cipher is {name}\n")), "{said}");
        }
    }
}

#[test]
fn openssl_shows_its_certificate() {
    let mut site = Site::new();
    if openssl(&mut site, &["-newkey", "rsa:2048"]).is_none() {
        return;
    }
    // Clients sign with keys of each kind; who signs for them is a CA of EMQ's kind.
    let authority = Authority::new();
    site.file("coap.dtls.cacertfile", "ca.pem", &authority.pem());
    site.set("coap.dtls.verify", "verify_peer");
    let server = Server::new(&site);
    let url = format!("coaps://{}/x", server.addr);
    let (key, own, both) = (site.path("c.key"), site.path("c.pem"), site.path("c.both"));
    let [key, own, both] = [key, own, both].map(|path| path.display().to_string());
    for kind in [
        &["rsa:2048"][..],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ] {
        let (signing, ca) = (site.path("ca.key"), site.path("ca.pem"));
        std::fs::write(&signing, authority.key.serialize_pem()).unwrap();
        let [signing, ca] = [signing, ca].map(|path| path.display().to_string());
        let mut args = vec![
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=device-7",
        ];
        args.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
        args.extend([
            "-CA", &ca, "-CAkey", &signing, "-keyout", &key, "-out", &own, "-newkey",
        ]);
        args.extend(kind);
        let made = run("openssl", &args).unwrap();
        assert!(made.status.success(), "{}", said(&made));
        let text = |path: &str| std::fs::read_to_string(path).unwrap();
        std::fs::write(&both, text(&own) + &text(&key)).unwrap();
        for client in LIBCOAP {
            if let Some(done) = run(client, &["-B", "5", "-n", "-c", &own, "-j", &key, &url]) {
                // GnuTLS warns of a curve that is longer than the hash.
                let said = said(&done);
                assert!(
                    said.trim().ends_with("hello device-7"),
                    "{client} {kind:?}: {said}"
                );
            }
        }
        let address = server.addr.to_string();
        for scheme in ["RSA-PSS+SHA512:ECDSA+SHA256", "RSA+SHA384:ECDSA+SHA384"] {
            let mut args = vec!["s_client", "-dtls1_2", "-connect", &address, "-sigalgs"];
            let schemes = format!("{scheme}:RSA+SHA256");
            args.extend([&schemes, "-cert", &own, "-key", &key]);
            let said = said(&run("openssl", &args).unwrap());
            assert!(
                said.contains("Cipher is ECDHE-RSA"),
                "{scheme} {kind:?}: {said}"
            );
            assert!(!said.contains("alert"), "{scheme} {kind:?}: {said}");
        }
    }
}

/// Runs OpenSSL's client, which reads that from its terminal; what it says.
fn s_client(args: &[&str], typed: &str) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut client = Command::new("timeout")
        .args(["10", "openssl", "s_client"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    drop(stdin);
    said(&client.wait_with_output().unwrap())
}

#[test]
fn openssl_with_a_pre_shared_key_and_in_small_pieces() {
    let mut site = Site::new().psk("dev-1:736563726574\n");
    if openssl(&mut site, &["-newkey", "rsa:2048"]).is_none() {
        return;
    }
    let authority = Authority::new();
    let site = site.verify(&authority);
    let (own, its_key) = authority.issue("device-7");
    let (key, cert) = (site.path("own.key"), site.path("own.pem"));
    std::fs::write(&key, its_key.serialize_pem()).unwrap();
    std::fs::write(&cert, own.pem()).unwrap();
    let [key, cert] = [key, cert].map(|path| path.display().to_string());
    let server = Server::new(&site);
    let address = server.addr.to_string();
    let base = ["-dtls1_2", "-connect", &address];
    for suite in [
        "PSK-AES128-CCM8:@SECLEVEL=0",
        "PSK-AES128-CCM",
        "PSK-AES128-GCM-SHA256",
        "PSK-AES256-GCM-SHA384",
        "PSK-CHACHA20-POLY1305",
    ] {
        let psk = ["-psk_identity", "dev-1", "-psk", "736563726574"];
        let args = [&base[..], &psk, &["-cipher", suite]].concat();
        let said = s_client(&args, "");
        let name = suite.split(':').next().unwrap();
        assert!(said.contains(&format!("Cipher is {name}\n")), "{said}");
        assert!(said.contains("Extended master secret: yes"), "{said}");
        assert!(!said.contains("alert"), "{suite}: {said}");
    }
    // A hello and a chain in pieces that come one by one.
    let small = ["-mtu", "256", "-cipher", "ALL"];
    let own = ["-cert", &cert, "-key", &key];
    let said = s_client(&[&base[..], &small, &own].concat(), "");
    assert!(said.contains("Cipher is ECDHE-RSA"), "{said}");
    assert!(!said.contains("alert"), "{said}");
    // Nobody without one comes in by certificates, and nobody with a version that is old.
    let said = s_client(&[&base[..], &small].concat(), "");
    assert!(said.contains("alert handshake failure"), "{said}");
    let old = ["-dtls1", "-connect", &address, "-cipher", "ALL:@SECLEVEL=0"];
    let said = s_client(&old, "");
    assert!(said.contains("alert protocol version"), "{said}");
}
