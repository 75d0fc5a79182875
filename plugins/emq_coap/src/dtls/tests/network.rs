//! Clients in memory, over a network that loses, repeats and forges.

mod attacks;
mod hand;

use super::*;
use crate::dtls::{HANDSHAKE, HANDSHAKES, IDLE, MAKES_ROOM, SENDS, listen_on};
use dimpl::crypto::Dtls12CipherSuite;
use dimpl::{DtlsCertificate, PskResolver};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// dimpl as a client at an address.
struct Client {
    addr: SocketAddr,
    dtls: dimpl::Dtls,
    connected: bool,
    closed: bool,
    failed: bool,
    due: Option<Instant>,
    heard: Vec<Vec<u8>>,
}

struct Key(&'static [u8]);

impl PskResolver for Key {
    fn resolve(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.to_vec())
    }
}

fn addr(number: u16) -> SocketAddr {
    ([10, 0, (number >> 8) as u8, number as u8], 40_000).into()
}

impl Client {
    fn psk(number: u16, now: Instant, identity: &str, key: &'static [u8]) -> Client {
        let config = dimpl::Config::builder()
            .with_psk_client(identity.as_bytes().to_vec(), Arc::new(Key(key)))
            .dtls12_cipher_suites(&[Dtls12CipherSuite::PSK_AES128_CCM_8])
            .build()
            .unwrap();
        Client::new(number, dimpl::Dtls::new_12_psk(Arc::new(config), now), now)
    }

    fn certificate(
        number: u16,
        now: Instant,
        certificate: &(rcgen::Certificate, rcgen::KeyPair),
    ) -> Client {
        let config = dimpl::Config::builder().build().unwrap();
        let certificate = DtlsCertificate {
            certificate: certificate.0.der().to_vec(),
            private_key: certificate.1.serialize_der(),
        };
        let dtls = dimpl::Dtls::new_12(Arc::new(config), certificate, now);
        Client::new(number, dtls, now)
    }

    fn new(number: u16, mut dtls: dimpl::Dtls, now: Instant) -> Client {
        dtls.set_active(true);
        let mut client = Client {
            addr: addr(number),
            dtls,
            connected: false,
            closed: false,
            failed: false,
            due: None,
            heard: Vec::new(),
        };
        client.failed = client.dtls.handle_timeout(now).is_err();
        client
    }

    /// What it sends.
    fn poll(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut buffer = vec![0; 70_000];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                dimpl::Output::Packet(packet) => sent.push(packet.to_vec()),
                dimpl::Output::Timeout(due) => {
                    self.due = Some(due);
                    return sent;
                }
                dimpl::Output::Connected => self.connected = true,
                dimpl::Output::ApplicationData(data) => self.heard.push(data.to_vec()),
                dimpl::Output::CloseNotify => self.closed = true,
                _ => {}
            }
        }
    }
}

/// A network between a server and clients, with a clock of its own.
struct Network {
    server: Opened,
    now: Instant,
    received: Vec<(SocketAddr, Option<Arc<str>>, Vec<u8>)>,
    gone: Vec<SocketAddr>,
    /// all datagrams so far, to and from clients
    log: Vec<Vec<u8>>,
    /// says of the n-th datagram how often it arrives
    arrives: Box<dyn Fn(usize) -> usize>,
    /// what is sent at once arrives the other way round
    reversed: bool,
}

impl Network {
    fn new(server: Opened) -> Network {
        Network {
            server,
            now: Instant::now(),
            received: Vec::new(),
            gone: Vec::new(),
            log: Vec::new(),
            arrives: Box::new(|_| 1),
            reversed: false,
        }
    }

    /// How often a datagram arrives that is sent now.
    fn send(&mut self, datagram: &[u8]) -> usize {
        self.log.push(datagram.to_vec());
        (self.arrives)(self.log.len())
    }

    fn hand_over(&mut self, from: SocketAddr, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        self.server.dtls.receive(self.now, from, &mut datagram);
    }

    /// Lets datagrams go to and fro until nobody has any.
    fn settle(&mut self, client: &mut Client) {
        loop {
            let mut sent = client.poll();
            if self.reversed {
                sent.reverse();
            }
            for datagram in &sent {
                for _ in 0..self.send(datagram) {
                    self.hand_over(client.addr, datagram);
                }
            }
            let mut answers = VecDeque::new();
            while let Some(output) = self.server.dtls.poll() {
                match output {
                    Output::Send(to, datagram) => {
                        if to == client.addr {
                            answers.push_back(datagram);
                        }
                    }
                    Output::Received {
                        from,
                        identity,
                        plain,
                    } => self.received.push((from, identity, plain)),
                    Output::Gone(from) => self.gone.push(from),
                }
            }
            if sent.is_empty() && answers.is_empty() {
                return;
            }
            if self.reversed {
                answers.make_contiguous().reverse();
            }
            for datagram in answers {
                for _ in 0..self.send(&datagram) {
                    client.failed |= client.dtls.handle_packet(&datagram).is_err();
                    client.poll().iter().for_each(|more| {
                        let from = client.addr;
                        for _ in 0..self.send(more) {
                            self.hand_over(from, more);
                        }
                    });
                }
            }
        }
    }

    /// Goes on to when somebody has something to do, at the most so long.
    fn wait(&mut self, client: &mut Client, most: Duration) {
        let due = [self.server.dtls.next_timeout(), client.due];
        let due = due.into_iter().flatten().min();
        let end = self.now + most;
        self.now = due.unwrap_or(end).clamp(self.now, end);
        self.server.dtls.timeout(self.now);
        client.failed |= client.dtls.handle_timeout(self.now).is_err();
        self.settle(client);
    }

    /// The handshake, however long that takes.
    fn connect(&mut self, client: &mut Client) {
        let begun = self.now;
        self.settle(client);
        while !client.connected || !self.server.dtls.sessions.contains_key(&client.addr) {
            self.wait(client, Duration::from_secs(1));
            assert!(self.now < begun + HANDSHAKE, "{} datagrams", self.log.len());
        }
    }

    fn say(&mut self, client: &mut Client, text: &[u8]) {
        client.dtls.send_application_data(text).unwrap();
        self.settle(client);
    }

    fn metric(&self, name: &str) -> u64 {
        self.server.broker.metric(name).unwrap()
    }
}

fn psk() -> Site {
    Site::new().psk("dev-1:736563726574\ndev-2:00\n")
}

#[test]
fn with_a_pre_shared_key() {
    let mut network = Network::new(psk().open());
    let mut client = Client::psk(1, network.now, "dev-1", b"secret");
    network.connect(&mut client);
    network.say(&mut client, b"ping");
    assert_eq!(
        network.received,
        [(client.addr, Some("dev-1".into()), b"ping".to_vec())]
    );
    assert!(network.server.dtls.send(client.addr, b"pong"));
    assert!(!network.server.dtls.send(addr(2), b"pong"));
    assert!(!network.server.dtls.send(client.addr, &vec![0; 16_385]));
    network.settle(&mut client);
    assert_eq!(client.heard, [b"pong".to_vec()]);
    assert_eq!(network.server.dtls.handshakes.len(), 0);
    assert_eq!(
        (
            network.metric("dtls/handshakes"),
            network.metric("dtls/refused")
        ),
        (1, 0)
    );
    // What has come does not come again.
    for datagram in network.log.clone() {
        network.hand_over(client.addr, &datagram);
    }
    network.settle(&mut client);
    assert_eq!(network.received.len(), 1);
    // Whoever says goodbye is gone, and told goodbye.
    client.dtls.close().unwrap();
    network.settle(&mut client);
    assert_eq!(network.gone, [client.addr]);
    assert!(network.server.dtls.sessions.is_empty() && network.server.dtls.timers.is_empty());
}

#[test]
fn with_certificates() {
    let authority = Authority::new();
    let site = Site::new().certificate(&authority).verify(&authority);
    let mut network = Network::new(site.open());
    let mut client = Client::certificate(1, network.now, &authority.issue("device-7"));
    network.connect(&mut client);
    network.say(&mut client, b"ping");
    assert_eq!(network.received[0].1.as_deref(), Some("device-7"));
    // A stranger's, and none at all where clients are not asked.
    let mut stranger = Client::certificate(2, network.now, &Authority::new().issue("device-7"));
    network.settle(&mut stranger);
    assert!(!stranger.connected);
    assert!(network.server.dtls.handshakes.is_empty());
    assert_eq!(network.metric("dtls/refused"), 1);
    // A certificate of somebody else, who has its key.
    let (certificate, _) = authority.issue("device-7");
    let stolen = (certificate, rcgen::KeyPair::generate().unwrap());
    let mut thief = Client::certificate(3, network.now, &stolen);
    network.settle(&mut thief);
    assert!(!thief.connected && network.server.dtls.handshakes.is_empty());
    assert_eq!(network.metric("dtls/refused"), 2);
    assert_eq!(network.server.dtls.sessions.len(), 1);
    let mut open = Network::new(Site::new().certificate(&authority).open());
    let mut anybody = Client::certificate(1, open.now, &Authority::new().issue("x"));
    open.connect(&mut anybody);
    open.say(&mut anybody, b"ping");
    assert_eq!(open.received[0].1, None);
}

#[test]
fn whatever_is_lost_or_comes_twice_or_late() {
    let authority = Authority::new();
    let site = psk().certificate(&authority).verify(&authority);
    let certificate = authority.issue("device-7");
    let run = |with_psk: bool, reversed: bool, arrives: Box<dyn Fn(usize) -> usize>| {
        let mut network = Network::new(site.open());
        network.arrives = arrives;
        network.reversed = reversed;
        let mut client = match with_psk {
            true => Client::psk(1, network.now, "dev-1", b"secret"),
            false => Client::certificate(1, network.now, &certificate),
        };
        network.connect(&mut client);
        let sent = network.log.len();
        network.arrives = Box::new(|_| 1);
        network.say(&mut client, b"ping");
        assert_eq!(network.received.len(), 1);
        sent
    };
    for with_psk in [true, false] {
        for reversed in [false, true] {
            let sent = run(with_psk, reversed, Box::new(|_| 1));
            assert!(sent >= 6, "{sent}");
            run(with_psk, reversed, Box::new(|_| 2));
            run(with_psk, reversed, Box::new(|_| 3));
            // Any two of them, and those that are sent in their place.
            for first in 1..=sent + 2 {
                for second in first..=sent + 4 {
                    let arrives = move |n| usize::from(n != first && n != second);
                    run(with_psk, reversed, Box::new(arrives));
                }
            }
        }
    }
}

#[test]
fn a_wrong_key_and_an_unknown_name_are_the_same() {
    for (name, key) in [
        ("dev-1", &b"other"[..]),
        ("nobody", b"secret"),
        ("", b"secret"),
    ] {
        let mut network = Network::new(psk().open());
        let mut client = Client::psk(1, network.now, name, key);
        let begun = network.now;
        network.settle(&mut client);
        // One record says nothing; the client repeats it.
        assert_eq!(network.server.dtls.handshakes.len(), 1);
        while !network.server.dtls.handshakes.is_empty() {
            network.wait(&mut client, Duration::from_secs(1));
        }
        assert!(network.now < begun + Duration::from_secs(6));
        assert!(!client.connected && network.server.dtls.sessions.is_empty());
        assert!(network.server.dtls.timers.is_empty());
        // decrypt_error, and nothing else.
        let last = network.log.last().unwrap();
        assert_eq!((last[0], &last[13..]), (21, &[2, 51][..]), "{name}");
        assert_eq!(network.metric("dtls/refused"), 1);
    }
}

/// The first datagrams of a client: the hello, the answer, and the hello with its cookie.
fn hellos(network: &mut Network, client: &mut Client) -> [Vec<u8>; 3] {
    let first = client.poll().remove(0);
    network.hand_over(client.addr, &first);
    let Some(Output::Send(to, answer)) = network.server.dtls.poll() else {
        panic!("no answer");
    };
    assert_eq!(to, client.addr);
    client.dtls.handle_packet(&answer).unwrap();
    let second = client.poll().remove(0);
    [first, answer, second]
}

#[test]
fn nothing_is_kept_of_who_may_not_be_there() {
    let mut network = Network::new(psk().open());
    let mut client = Client::psk(1, network.now, "dev-1", b"secret");
    let [first, answer, second] = hellos(&mut network, &mut client);
    assert!(answer.len() <= first.len(), "no amplification");
    assert!(network.server.dtls.handshakes.is_empty());
    // Somebody else's cookie, from another address or for another hello, is none.
    network.hand_over(addr(2), &second);
    assert!(
        matches!(network.server.dtls.poll(), Some(Output::Send(_, a)) if a.len() == answer.len())
    );
    let mut forged = second.clone();
    forged[30] ^= 1;
    network.hand_over(client.addr, &forged);
    assert!(matches!(network.server.dtls.poll(), Some(Output::Send(..))));
    assert!(network.server.dtls.handshakes.is_empty());
    // Bytes of all kinds, and all of a handshake cut short or changed, from somebody who has no session.
    for len in 0..first.len() {
        network.hand_over(client.addr, &first[..len]);
        network.hand_over(client.addr, &vec![22; len]);
        network.hand_over(client.addr, &vec![0xFE; len]);
    }
    assert_eq!(network.server.dtls.poll(), None);
    network.hand_over(client.addr, &second);
    assert_eq!(network.server.dtls.handshakes.len(), 1);
}

#[test]
fn what_is_forged_changes_nothing() {
    let mut network = Network::new(psk().open());
    let mut client = Client::psk(1, network.now, "dev-1", b"secret");
    network.connect(&mut client);
    network.say(&mut client, b"ping");
    for datagram in network.log.clone() {
        for at in 0..datagram.len() {
            let mut forged = datagram.clone();
            forged[at] ^= 0x55;
            network.hand_over(client.addr, &forged);
        }
    }
    // Alerts in the clear, too.
    let alert = [21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 0];
    network.hand_over(client.addr, &alert);
    network.say(&mut client, b"again");
    assert_eq!(network.received.len(), 2);
    assert!(network.gone.is_empty());
}

#[test]
fn handshakes_are_bounded_and_end() {
    let mut network = Network::new(psk().open());
    let mut most = 0;
    for number in 0..700 {
        // As many in a second as may be.
        network.now += Duration::from_millis(5);
        let mut client = Client::psk(number, network.now, "dev-1", b"secret");
        let [_, _, second] = hellos(&mut network, &mut client);
        network.hand_over(client.addr, &second);
        while network.server.dtls.poll().is_some() {}
        most = most.max(network.server.dtls.handshakes.len());
    }
    assert_eq!(most, HANDSHAKES);
    // Each sends its flight a few times, and is forgotten.
    let mut sent = 0;
    while let Some(due) = network.server.dtls.next_timeout() {
        network.now = network.now.max(due);
        network.server.dtls.timeout(network.now);
        while let Some(output) = network.server.dtls.poll() {
            assert!(matches!(output, Output::Send(..)));
            sent += 1;
        }
    }
    assert!(sent <= HANDSHAKES * usize::from(SENDS), "{sent}");
    assert!(network.server.dtls.handshakes.is_empty());
    // Too many at once are asked to come again.
    for number in 0..500 {
        let mut client = Client::psk(number, network.now, "dev-1", b"secret");
        let [_, _, second] = hellos(&mut network, &mut client);
        network.hand_over(client.addr, &second);
        while network.server.dtls.poll().is_some() {}
    }
    assert_eq!(network.server.dtls.handshakes.len(), 400);
}

#[test]
fn sessions_are_bounded_and_end() {
    let mut network = Network::new(psk().try_open(3).unwrap().unwrap());
    let mut clients: Vec<Client> = (0..4)
        .map(|number| Client::psk(number, network.now, "dev-1", b"secret"))
        .collect();
    for client in &mut clients[..3] {
        network.connect(client);
    }
    // All are in use: no place.
    network.settle(&mut clients[3]);
    assert_eq!(network.server.dtls.sessions.len(), 3);
    assert!(network.gone.is_empty());
    // internal_error: it need not wait.
    let last = network.log.last().unwrap();
    assert_eq!((last[0], &last[13..]), (21, &[2, 80][..]));
    // One of them is quiet for a while: it makes room.
    network.now += MAKES_ROOM;
    for client in &mut clients[1..3] {
        network.say(client, b"here");
    }
    let mut late = Client::psk(9, network.now, "dev-1", b"secret");
    network.connect(&mut late);
    assert_eq!(network.gone, [clients[0].addr]);
    // In the end all go who say nothing.
    network.now += IDLE - Duration::from_secs(1);
    network.say(&mut late, b"here");
    network.now += Duration::from_secs(1);
    network.server.dtls.timeout(network.now);
    network.settle(&mut late);
    assert_eq!(network.gone.len(), 3);
    assert!(network.server.dtls.sessions.contains_key(&late.addr));
    network.server.dtls.close_all();
    network.settle(&mut late);
    assert!(late.closed && network.gone.len() == 4);
    assert_eq!(network.server.dtls.next_timeout(), None);
}

#[test]
fn a_client_that_begins_anew_follows_itself() {
    let mut network = Network::new(psk().open());
    let mut before = Client::psk(1, network.now, "dev-1", b"secret");
    network.connect(&mut before);
    network.now += Duration::from_secs(5);
    let mut after = Client::psk(1, network.now, "dev-2", b"\0");
    let [_, _, second] = hellos(&mut network, &mut after);
    network.hand_over(after.addr, &second);
    // Until that is done the old session holds.
    network.say(&mut before, b"old");
    assert_eq!(network.received.len(), 1);
    network.hand_over(after.addr, &second);
    network.settle(&mut after);
    while !after.connected {
        network.wait(&mut after, Duration::from_secs(1));
    }
    network.say(&mut after, b"new");
    assert_eq!(network.received[1].1.as_deref(), Some("dev-2"));
    assert_eq!(network.gone, [after.addr]);
}

#[test]
fn the_keys() {
    let of = |pairs: &[(&str, &str)]| listen_on(&Config::of(pairs));
    assert_eq!(of(&[]), "5684");
    assert_eq!(
        of(&[("coap.port", "5683"), ("coap.dtls.port", "6000")]),
        "6000"
    );
    assert_eq!(of(&[("coap.port", "127.0.0.1:5683")]), "127.0.0.1:5684");
    assert_eq!(of(&[("coap.port", "[::1]:5683")]), "[::1]:5684");
    let both = [
        ("coap.port", "127.0.0.1:5683"),
        ("coap.dtls.port", "1.2.3.4:5"),
    ];
    assert_eq!(of(&both), "1.2.3.4:5");

    // No files, no DTLS; files that are missing as in a new installation, the same.
    assert!(Site::new().try_open(1).unwrap().is_none());
    let mut site = Site::new();
    site.set("coap.keyfile", "nowhere/key.pem");
    site.set("coap.certfile", "nowhere/cert.pem");
    assert!(site.try_open(1).unwrap().is_none());
    site.set("coap.dtls.psk_file", "nowhere/psk");
    let StartError(why) = site.try_open(1).err().unwrap();
    assert!(why.starts_with("coap.dtls.psk_file: nowhere/psk"), "{why}");
    // One that is there and cannot be used is an error.
    let authority = Authority::new();
    let mut site = Site::new().certificate(&authority);
    site.file("coap.keyfile", "other.pem", &authority.key.serialize_pem());
    let StartError(why) = site.try_open(1).err().unwrap();
    assert!(
        why.contains("coap.keyfile") && why.contains("other.pem"),
        "{why}"
    );
}

#[test]
fn files_may_change() {
    let mut site = psk();
    let mut network = Network::new(site.open());
    site.file("coap.dtls.psk_file", "psk", "dev-3:6e6577\n");
    let touched = std::fs::File::options()
        .append(true)
        .open(site.path("psk"))
        .unwrap();
    touched
        .set_modified(std::time::SystemTime::now() + Duration::from_secs(5))
        .unwrap();
    network.now += Duration::from_secs(11);
    let mut client = Client::psk(1, network.now, "dev-3", b"new");
    network.connect(&mut client);
    let mut former = Client::psk(2, network.now, "dev-1", b"secret");
    network.settle(&mut former);
    assert!(!former.connected);
    assert_eq!(network.server.dtls.sessions.len(), 1);
}
