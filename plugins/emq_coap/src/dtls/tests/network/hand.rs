//! A client by hand, message by message: it may send what no library would.

use super::*;
use crate::dtls::handshake::{EPOCH_1, content};
use crate::dtls::message::{self, Assembly, Fragment, Reader, kind, put_vec};
use crate::dtls::secrets::Secrets;
use crate::dtls::suite::{self, Proof};
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519};

/// Groups, and signatures with ECDSA and P-256.
pub const X25519_AND_ECDSA: &[(u16, &[u8])] = &[(10, &[0, 2, 0, 29]), (13, &[0, 2, 4, 3])];
pub const P256_AND_ECDSA: &[(u16, &[u8])] = &[(10, &[0, 2, 0, 23]), (13, &[0, 2, 4, 3])];
/// TLS_PSK_WITH_AES_128_CCM_8
pub const PSK: u16 = 0xC0A8;
/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
pub const ECDSA: u16 = 0xC02B;

/// A record in the clear.
pub fn record(content_type: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let header = suite::header(content_type, number, u16::try_from(body.len()).unwrap());
    [&header[..], body].concat()
}

/// The body of a ClientHello.
pub fn hello(version: u16, cookie: &[u8], suites: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend_from_slice(&[7; 32]);
    put_vec(&mut body, 1, &[]);
    put_vec(&mut body, 1, cookie);
    let suites: Vec<u8> = suites.iter().flat_map(|id| id.to_be_bytes()).collect();
    put_vec(&mut body, 2, &suites);
    put_vec(&mut body, 1, &[0]);
    let mut all = Vec::new();
    for (number, data) in extensions {
        all.extend_from_slice(&number.to_be_bytes());
        put_vec(&mut all, 2, data);
    }
    put_vec(&mut body, 2, &all);
    body
}

impl Network {
    /// All that the server has to say now.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.server.dtls.poll()).collect()
    }

    /// The datagrams among it.
    pub fn answers(&mut self) -> Vec<Vec<u8>> {
        let outputs = self.outputs().into_iter();
        let sent = outputs.filter_map(|output| match output {
            Output::Send(_, datagram) => Some(datagram),
            _ => None,
        });
        sent.collect()
    }

    /// Says hello twice, the second time with the cookie; what comes of that.
    pub fn greet(
        &mut self,
        from: SocketAddr,
        version: u16,
        suites: &[u16],
        extensions: &[(u16, &[u8])],
    ) -> (Vec<u8>, Vec<Vec<u8>>) {
        let first = hello(version, &[], suites, extensions);
        let first = message::write(kind::CLIENT_HELLO, 0, &first);
        self.hand_over(from, &record(content::HANDSHAKE, 0, &first));
        let answer = self.answers().remove(0);
        let second = hello(version, &answer[28..], suites, extensions);
        let second = message::write(kind::CLIENT_HELLO, 1, &second);
        self.hand_over(from, &record(content::HANDSHAKE, 1, &second));
        (second, self.answers())
    }
}

/// A client at work.
pub struct Hand {
    pub from: SocketAddr,
    pub suite: suite::Suite,
    pub transcript: Vec<u8>,
    /// public key of the server's key exchange
    pub point: Vec<u8>,
    random: [u8; 32],
    /// number of the next message
    pub next: u16,
    /// number of the next record in the clear
    plain: u64,
    /// number of the next record of epoch 1
    pub sealed: u64,
    pub secrets: Option<Secrets>,
}

impl Hand {
    /// As far as to the server's first flight.
    pub fn begin(
        network: &mut Network,
        number: u16,
        suite: u16,
        extensions: &[(u16, &[u8])],
    ) -> Hand {
        let from = addr(number);
        let (mut transcript, flight) = network.greet(from, 0xFEFD, &[suite], extensions);
        let mut assembly = Assembly::new(1);
        let (mut random, mut point) = ([0; 32], Vec::new());
        for datagram in &flight {
            let mut datagram = Reader(datagram);
            while !datagram.is_empty() {
                let header: [u8; suite::HEADER] = datagram.array().unwrap();
                assert_eq!(header[0], content::HANDSHAKE, "{header:?}");
                let len = u16::from_be_bytes([header[11], header[12]]);
                let mut body = Reader(datagram.bytes(len.into()).unwrap());
                while let Some(fragment) = Fragment::read(&mut body) {
                    assembly.push(&fragment);
                }
                while let Some(message) = assembly.pop() {
                    let body = message.body();
                    match message.kind {
                        kind::SERVER_HELLO => random.copy_from_slice(&body[2..34]),
                        kind::SERVER_KEY_EXCHANGE => {
                            point = body[4..4 + usize::from(body[3])].to_vec();
                        }
                        _ => {}
                    }
                    transcript.extend_from_slice(&message.bytes);
                }
            }
        }
        Hand {
            from,
            suite: suite::by_id(suite).unwrap(),
            transcript,
            point,
            random,
            next: 2,
            plain: 2,
            sealed: EPOCH_1,
            secrets: None,
        }
    }

    /// A message in the clear, which counts for the transcript.
    pub fn say(&mut self, network: &mut Network, kind: u8, body: &[u8]) {
        let message = message::write(kind, self.next, body);
        self.next += 1;
        self.transcript.extend_from_slice(&message);
        self.plain += 1;
        network.hand_over(self.from, &record(content::HANDSHAKE, self.plain, &message));
    }

    /// ClientKeyExchange.
    pub fn key_exchange(&mut self, network: &mut Network, identity: &str, key: &[u8]) {
        let (premaster, body) = match self.suite.proof {
            Proof::Psk => {
                let (mut premaster, mut body) = (Vec::new(), Vec::new());
                put_vec(&mut premaster, 2, &vec![0; key.len()]);
                put_vec(&mut premaster, 2, key);
                put_vec(&mut body, 2, identity.as_bytes());
                (premaster, body)
            }
            _ => {
                let group: &dyn SupportedKxGroup = match self.point.len() {
                    32 => X25519,
                    _ => SECP256R1,
                };
                let ours = group.start().unwrap();
                let mut body = Vec::new();
                put_vec(&mut body, 1, ours.pub_key());
                let secret = ours.complete(&self.point).unwrap();
                (secret.secret_bytes().to_vec(), body)
            }
        };
        self.say(network, kind::CLIENT_KEY_EXCHANGE, &body);
        let randoms = (&[7; 32], &self.random);
        self.secrets = Secrets::derive(self.suite, &premaster, None, randoms).ok();
    }

    /// A record of epoch 1.
    pub fn sealed(&mut self, content_type: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // What the server reads with is what a client writes with.
        let cipher = &self.secrets.as_ref().unwrap().read;
        cipher
            .seal(content_type, self.sealed, body, &mut out)
            .unwrap();
        self.sealed += 1;
        out
    }

    /// Finished.
    pub fn finished(&mut self) -> Vec<u8> {
        let secrets = self.secrets.as_ref().unwrap();
        let data = secrets.verify_data(b"client finished", &self.transcript);
        let message = message::write(kind::FINISHED, self.next, &data);
        self.sealed(content::HANDSHAKE, &message)
    }
}
