//! A handshake, from the ClientHello that has brought its cookie to both Finished (RFC 6347, 4.2; RFC 5246, 7).
//!
//! The server's part alone, without renegotiation, resumption and compression. It does no I/O: records come in, and
//! datagrams to be sent are left in a list.

use super::message::{self, Assembly, ClientHello, Fragment, Reader, Whole, kind, put_vec};
use super::psk::{IDENTITY, Keys};
use super::secrets::Secrets;
use super::signature;
use super::suite::{self, Cipher, Proof, Suite};
use aws_lc_rs::{constant_time, rand};
use emqttd_config::CertField;
use emqttd_tls::Credentials;
use rustls::SignatureAlgorithm;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{ActiveKeyExchange, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;

/// Content types of records.
pub(super) mod content {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
}

/// Bytes of a datagram of ours: what every path of IPv6 carries, less its headers.
const MTU: usize = 1200;
/// Most certificates in a client's chain.
const CHAIN: usize = 8;
/// A record that comes before its keys do is kept when it is not longer.
const EARLY: usize = 256;
/// The first record number of epoch 1.
pub(super) const EPOCH_1: u64 = 1 << 48;

/// Why a handshake ends: the alert that the client gets, and the reason for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub alert: u8,
    pub why: String,
}

/// Numbers of alerts.
pub(super) mod alert {
    pub const CLOSE_NOTIFY: u8 = 0;
    pub const UNEXPECTED_MESSAGE: u8 = 10;
    pub const HANDSHAKE_FAILURE: u8 = 40;
    pub const BAD_CERTIFICATE: u8 = 42;
    pub const ILLEGAL_PARAMETER: u8 = 47;
    pub const DECODE_ERROR: u8 = 50;
    pub const DECRYPT_ERROR: u8 = 51;
    pub const PROTOCOL_VERSION: u8 = 70;
    pub const INTERNAL_ERROR: u8 = 80;
    pub const NO_RENEGOTIATION: u8 = 100;
}

fn refused<T>(alert: u8, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        alert,
        why: why.into(),
    })
}

fn internal<E>(_: E) -> Refused {
    Refused {
        alert: alert::INTERNAL_ERROR,
        why: "the cryptography does not work".into(),
    }
}

fn unreadable() -> Refused {
    Refused {
        alert: alert::DECODE_ERROR,
        why: "a message that cannot be read".into(),
    }
}

/// What the server has, for all handshakes.
pub(super) struct Offer {
    pub credentials: Option<Arc<Credentials>>,
    pub keys: Arc<Keys>,
}

impl Offer {
    /// The suite of the client's choice among those that can be.
    fn choose(&self, suites: &[u16]) -> Option<Suite> {
        let ours = |suite: &Suite| match suite.proof {
            Proof::Psk => self.keys.len() > 0,
            proof => self.proof() == Some(proof),
        };
        suites.iter().copied().filter_map(suite::by_id).find(ours)
    }

    /// What our certificate can prove.
    fn proof(&self) -> Option<Proof> {
        let credentials = self.credentials.as_ref()?;
        match credentials.identity.key.algorithm() {
            SignatureAlgorithm::RSA => Some(Proof::Rsa),
            SignatureAlgorithm::ECDSA | SignatureAlgorithm::ED25519 => Some(Proof::Ecdsa),
            _ => None,
        }
    }
}

/// What is wanted next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Certificate,
    KeyExchange,
    CertificateVerify,
    Finished,
}

/// What a handshake has brought about.
pub(super) struct Established {
    pub read: Cipher,
    pub write: Cipher,
    /// identity of the key, or common name of the certificate
    pub identity: Option<Arc<str>>,
    /// number of the client's record with its Finished
    pub read_number: u64,
    /// number of our next record
    pub write_number: u64,
    /// our last flight, to be repeated when it was lost
    pub last: LastFlight,
}

/// ChangeCipherSpec and Finished.
pub(super) struct LastFlight {
    finished: Vec<u8>,
    /// number of our next record of epoch 0
    plain_number: u64,
}

impl LastFlight {
    /// The datagram; `number` is that of our next record of epoch 1.
    pub fn write(&mut self, cipher: &Cipher, number: &mut u64) -> Option<Vec<u8>> {
        let mut datagram = Vec::new();
        put_plain(
            &mut datagram,
            content::CHANGE_CIPHER_SPEC,
            &mut self.plain_number,
            &[1],
        );
        cipher
            .seal(content::HANDSHAKE, *number, &self.finished, &mut datagram)
            .ok()?;
        *number += 1;
        Some(datagram)
    }

    /// An alert instead, in the clear: the client does not read anything else yet.
    pub fn fatal(&mut self, alert: u8) -> Vec<u8> {
        fatal(self.plain_number, alert)
    }
}

/// A handshake under way.
pub(super) struct Handshake {
    offer: Arc<Offer>,
    suite: Suite,
    extended_master_secret: bool,
    pub client_random: [u8; 32],
    server_random: [u8; 32],
    expect: Expect,
    assembly: Assembly,
    /// all messages so far, ours and the client's
    transcript: Vec<u8>,
    key_exchange: Option<Box<dyn ActiveKeyExchange>>,
    certificates: Vec<CertificateDer<'static>>,
    identity: Option<Arc<str>>,
    secrets: Option<Secrets>,
    /// a record of epoch 1 that came before there were keys
    early: Option<Vec<u8>>,
    /// with a pre-shared key: what came in the place of the client's Finished cannot be read
    unreadable: bool,
    /// our messages, to be sent again
    flight: Vec<Vec<u8>>,
    /// number of our next record of epoch 0
    plain_number: u64,
    /// number of our next message
    message_number: u16,
}

impl Handshake {
    /// Answers a ClientHello; the first flight is in [`Handshake::flight`]. `number` is that of its record, where ours
    /// go on after a HelloVerifyRequest with the same.
    pub fn begin(
        offer: &Arc<Offer>,
        number: u64,
        fragment: &Fragment<'_>,
        hello: &ClientHello<'_>,
    ) -> Result<Handshake, Refused> {
        // DTLS counts its versions downwards; 0xFEFF is 1.0.
        if !(0xFE00..=0xFEFD).contains(&hello.version) {
            return refused(alert::PROTOCOL_VERSION, "the client has no DTLS 1.2");
        }
        let Some(suite) = offer.choose(&hello.suites) else {
            return refused(alert::HANDSHAKE_FAILURE, "no cipher suite in common");
        };
        let mut server_random = [0; 32];
        rand::fill(&mut server_random).map_err(internal)?;
        let body = fragment.whole().ok_or_else(unreadable)?;
        let mut handshake = Handshake {
            offer: Arc::clone(offer),
            suite,
            extended_master_secret: hello.extended_master_secret,
            client_random: hello.random,
            server_random,
            expect: Expect::KeyExchange,
            assembly: Assembly::new(fragment.number.wrapping_add(1)),
            transcript: message::write(kind::CLIENT_HELLO, fragment.number, body),
            key_exchange: None,
            certificates: Vec::new(),
            identity: None,
            secrets: None,
            early: None,
            unreadable: false,
            flight: Vec::new(),
            plain_number: number.wrapping_add(1),
            message_number: fragment.number,
        };
        handshake.put_server_hello(hello);
        match suite.proof {
            Proof::Psk => {}
            Proof::Ecdsa | Proof::Rsa => handshake.put_certificate(hello)?,
        }
        handshake.put(kind::SERVER_HELLO_DONE, &[]);
        Ok(handshake)
    }

    /// Adds a message to the transcript and to the flight.
    fn put(&mut self, kind: u8, body: &[u8]) {
        let message = message::write(kind, self.message_number, body);
        self.message_number = self.message_number.wrapping_add(1);
        self.transcript.extend_from_slice(&message);
        self.flight.push(message);
    }

    fn put_server_hello(&mut self, hello: &ClientHello<'_>) {
        let mut body = vec![0xFE, 0xFD];
        body.extend_from_slice(&self.server_random);
        // No session is resumed.
        put_vec(&mut body, 1, &[]);
        body.extend_from_slice(&self.suite.id.to_be_bytes());
        body.push(0);
        let mut extensions = Vec::new();
        let mut put = |number: u16, data: &[u8]| {
            extensions.extend_from_slice(&number.to_be_bytes());
            put_vec(&mut extensions, 2, data);
        };
        if hello.safe_renegotiation {
            put(0xFF01, &[0]);
        }
        if hello.extended_master_secret {
            put(23, &[]);
        }
        if hello.point_formats && self.suite.proof != Proof::Psk {
            put(11, &[1, 0]);
        }
        if !extensions.is_empty() {
            put_vec(&mut body, 2, &extensions);
        }
        self.put(kind::SERVER_HELLO, &body);
    }

    /// Certificate, ServerKeyExchange, and CertificateRequest where clients have to show one.
    fn put_certificate(&mut self, hello: &ClientHello<'_>) -> Result<(), Refused> {
        let credentials = self.offer.credentials.clone().ok_or_else(|| internal(()))?;
        let mut chain = Vec::new();
        for certificate in &credentials.identity.cert {
            put_vec(&mut chain, 3, certificate);
        }
        let mut body = Vec::new();
        put_vec(&mut body, 3, &chain);
        self.put(kind::CERTIFICATE, &body);

        let group = choose_group(hello.groups.as_deref())?;
        let key_exchange = group.start().map_err(internal)?;
        // named_curve (RFC 8422, 5.4)
        let mut parameters = vec![3];
        parameters.extend_from_slice(&u16::from(group.name()).to_be_bytes());
        put_vec(&mut parameters, 1, key_exchange.pub_key());
        let schemes = signature::offered(hello.schemes.as_deref());
        let Some(signer) = credentials.identity.key.choose_scheme(&schemes) else {
            return refused(alert::HANDSHAKE_FAILURE, "no kind of signature in common");
        };
        let signed = [&self.client_random, &self.server_random, &parameters[..]].concat();
        let signature = signer.sign(&signed).map_err(internal)?;
        let mut body = parameters;
        body.extend_from_slice(&u16::from(signer.scheme()).to_be_bytes());
        put_vec(&mut body, 2, &signature);
        self.put(kind::SERVER_KEY_EXCHANGE, &body);
        self.key_exchange = Some(key_exchange);

        if credentials.verifier.offer_client_auth() {
            // rsa_sign, ecdsa_sign
            let mut body = vec![2, 1, 64];
            let schemes: Vec<u8> = signature::SCHEMES
                .iter()
                .flat_map(|scheme| u16::from(*scheme).to_be_bytes())
                .collect();
            put_vec(&mut body, 2, &schemes);
            let mut names = Vec::new();
            for name in credentials.verifier.root_hint_subjects() {
                put_vec(&mut names, 2, name.as_ref());
            }
            // More than can be said: any certificate may be shown then.
            if names.len() > usize::from(u16::MAX) {
                names.clear();
            }
            put_vec(&mut body, 2, &names);
            self.put(kind::CERTIFICATE_REQUEST, &body);
            self.expect = Expect::Certificate;
        }
        Ok(())
    }

    /// What the handshake costs us, in those of a pre-shared key: signing with RSA takes its time.
    pub fn cost(&self) -> f64 {
        match self.suite.proof {
            Proof::Psk | Proof::Ecdsa => 1.0,
            Proof::Rsa => 4.0,
        }
    }

    /// The datagrams of our flight, each time with new record numbers.
    pub fn flight(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        for message in &self.flight {
            for fragment in message::fragments(message, MTU - suite::HEADER) {
                let len = suite::HEADER + fragment.len();
                match datagrams.last_mut() {
                    Some(last) if last.len() + len <= MTU => {
                        put_plain(last, content::HANDSHAKE, &mut self.plain_number, &fragment);
                    }
                    _ => {
                        let mut datagram = Vec::with_capacity(MTU);
                        let number = &mut self.plain_number;
                        put_plain(&mut datagram, content::HANDSHAKE, number, &fragment);
                        datagrams.push(datagram);
                    }
                }
            }
        }
        datagrams
    }

    /// An alert for the client, in the clear.
    pub fn fatal(&mut self, alert: u8) -> Vec<u8> {
        let mut datagram = Vec::new();
        put_plain(
            &mut datagram,
            content::ALERT,
            &mut self.plain_number,
            &[2, alert],
        );
        datagram
    }

    /// A record of epoch 0 with handshake messages, in fragments.
    pub fn plain(&mut self, mut body: Reader<'_>) -> Result<Option<Established>, Refused> {
        if self.expect == Expect::Finished {
            return Ok(None);
        }
        while !body.is_empty() {
            // Anybody may have sent it: what cannot be read is not the client's fault.
            let Some(fragment) = Fragment::read(&mut body) else {
                return Ok(None);
            };
            // The last message is not sent in the clear.
            if fragment.kind != kind::FINISHED {
                self.assembly.push(&fragment);
            }
        }
        while self.expect != Expect::Finished {
            let Some(message) = self.assembly.pop() else {
                return Ok(None);
            };
            self.message(&message)?;
        }
        // From here on nothing in the clear counts.
        self.assembly.clear();
        let step = match self.early.take() {
            Some(mut record) => self.secret(&mut record),
            None => Ok(None),
        };
        // Anybody may have sent that before.
        self.unreadable = false;
        step
    }

    /// Whether what came last in the place of the client's Finished was made with another key, or forged.
    pub fn take_unreadable(&mut self) -> bool {
        std::mem::take(&mut self.unreadable)
    }

    /// A record of epoch 1, which has to be the client's Finished.
    pub fn secret(&mut self, record: &mut [u8]) -> Result<Option<Established>, Refused> {
        if record.first() != Some(&content::HANDSHAKE) {
            return Ok(None);
        }
        let Some(secrets) = self
            .secrets
            .as_ref()
            .filter(|_| self.expect == Expect::Finished)
        else {
            if record.len() <= EARLY && self.early.is_none() {
                self.early = Some(record.to_vec());
            }
            return Ok(None);
        };
        let Some((header, body)) = record.split_first_chunk_mut::<{ suite::HEADER }>() else {
            return Ok(None);
        };
        let mut number = [0; 8];
        number.copy_from_slice(&header[3..11]);
        // Forged, damaged, or made with another key: which of them nobody can tell.
        let Ok(plain) = secrets.read.open(header, body) else {
            self.unreadable = self.suite.proof == Proof::Psk;
            return Ok(None);
        };
        let Some(fragment) = Fragment::read(&mut Reader(plain)) else {
            return Err(unreadable());
        };
        self.assembly.push(&fragment);
        let Some(message) = self.assembly.pop() else {
            return Ok(None);
        };
        if message.kind != kind::FINISHED {
            return refused(alert::UNEXPECTED_MESSAGE, "a message that is not due");
        }
        self.finish(&message, u64::from_be_bytes(number)).map(Some)
    }

    fn finish(&mut self, message: &Whole, read_number: u64) -> Result<Established, Refused> {
        let Some(secrets) = self.secrets.take() else {
            return Err(internal(()));
        };
        let client = secrets.verify_data(b"client finished", &self.transcript);
        if constant_time::verify_slices_are_equal(&client, message.body()).is_err() {
            return refused(alert::DECRYPT_ERROR, "the client saw another handshake");
        }
        self.transcript.extend_from_slice(&message.bytes);
        let server = secrets.verify_data(b"server finished", &self.transcript);
        Ok(Established {
            read: secrets.read,
            write: secrets.write,
            identity: self.identity.take(),
            read_number,
            write_number: EPOCH_1,
            last: LastFlight {
                finished: message::write(kind::FINISHED, self.message_number, &server),
                plain_number: self.plain_number,
            },
        })
    }

    fn message(&mut self, message: &Whole) -> Result<(), Refused> {
        match (self.expect, message.kind) {
            (Expect::Certificate, kind::CERTIFICATE) => {
                self.on_certificate(message.body())?;
                self.expect = Expect::KeyExchange;
            }
            (Expect::KeyExchange, kind::CLIENT_KEY_EXCHANGE) => {
                let secret = match self.suite.proof {
                    Proof::Psk => self.psk_secret(message.body())?,
                    _ => self.shared_secret(message.body())?,
                };
                // The extended master secret covers this message.
                self.transcript.extend_from_slice(&message.bytes);
                let session = self.extended_master_secret.then_some(&*self.transcript);
                let randoms = (&self.client_random, &self.server_random);
                let secrets = Secrets::derive(self.suite, &secret, session, randoms);
                self.secrets = Some(secrets.map_err(internal)?);
                self.expect = match self.certificates.is_empty() {
                    true => Expect::Finished,
                    false => Expect::CertificateVerify,
                };
                return Ok(());
            }
            (Expect::CertificateVerify, kind::CERTIFICATE_VERIFY) => {
                self.on_certificate_verify(message.body())?;
                self.expect = Expect::Finished;
            }
            _ => return refused(alert::UNEXPECTED_MESSAGE, "a message that is not due"),
        }
        self.transcript.extend_from_slice(&message.bytes);
        Ok(())
    }

    fn on_certificate(&mut self, body: &[u8]) -> Result<(), Refused> {
        let mut reader = Reader(body);
        let mut list = Reader(reader.vec24().ok_or_else(unreadable)?);
        while !list.is_empty() {
            let certificate = list.vec24().ok_or_else(unreadable)?;
            if self.certificates.len() == CHAIN {
                return refused(
                    alert::BAD_CERTIFICATE,
                    "the chain of certificates is too long",
                );
            }
            self.certificates
                .push(CertificateDer::from(certificate.to_vec()));
        }
        if !reader.is_empty() {
            return Err(unreadable());
        }
        let Some((own, others)) = self.certificates.split_first() else {
            return refused(alert::HANDSHAKE_FAILURE, "the client shows no certificate");
        };
        let credentials = self
            .offer
            .credentials
            .as_ref()
            .ok_or_else(|| internal(()))?;
        let verifier = &credentials.verifier;
        if let Err(why) = verifier.verify_client_cert(own, others, UnixTime::now()) {
            return refused(alert::BAD_CERTIFICATE, why.to_string());
        }
        match emqttd_tls::cert_username(own, CertField::Cn) {
            Ok(name) => self.identity = Some(name.into()),
            // The chain lets it in; it has no name that anybody could ask for.
            Err(why) => log::debug!("coap:dtls: {why}"),
        }
        Ok(())
    }

    fn on_certificate_verify(&mut self, body: &[u8]) -> Result<(), Refused> {
        let mut reader = Reader(body);
        let scheme = reader.u16().ok_or_else(unreadable)?;
        let signature = reader.vec16().ok_or_else(unreadable)?;
        if !reader.is_empty() {
            return Err(unreadable());
        }
        let own = self.certificates.first().ok_or_else(|| internal(()))?;
        let scheme = SignatureScheme::from(scheme);
        if !signature::is_good(own, scheme, &self.transcript, signature) {
            return refused(
                alert::DECRYPT_ERROR,
                "the client has not the key of its certificate",
            );
        }
        Ok(())
    }

    /// The premaster secret of ECDHE.
    fn shared_secret(&mut self, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut reader = Reader(body);
        let point = reader.vec8().ok_or_else(unreadable)?;
        if !reader.is_empty() {
            return Err(unreadable());
        }
        let key_exchange = self.key_exchange.take().ok_or_else(|| internal(()))?;
        match key_exchange.complete(point) {
            Ok(secret) => Ok(secret.secret_bytes().to_vec()),
            Err(_) => refused(alert::ILLEGAL_PARAMETER, "no point of the curve"),
        }
    }

    /// The premaster secret of a pre-shared key (RFC 4279, 2). Of an identity that nobody knows it is one that nobody
    /// has: the client learns no more than with a wrong key.
    fn psk_secret(&mut self, body: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut reader = Reader(body);
        let identity = reader.vec16().ok_or_else(unreadable)?;
        if !reader.is_empty() {
            return Err(unreadable());
        }
        if identity.len() > IDENTITY {
            return refused(alert::DECRYPT_ERROR, "an identity that is too long");
        }
        let mut unknown = [0; 32];
        rand::fill(&mut unknown).map_err(internal)?;
        let key = match self.offer.keys.get(identity) {
            Some((name, key)) => {
                self.identity = Some(name);
                key
            }
            None => &unknown,
        };
        let mut secret = Vec::new();
        put_vec(&mut secret, 2, &vec![0; key.len()]);
        put_vec(&mut secret, 2, key);
        Ok(secret)
    }
}

/// The client's first group that we have (RFC 8422, 5.1.1).
fn choose_group(groups: Option<&[u16]>) -> Result<&'static dyn SupportedKxGroup, Refused> {
    const OURS: [&dyn SupportedKxGroup; 3] =
        [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let Some(groups) = groups else {
        return Ok(kx_group::SECP256R1);
    };
    let ours = |id: &u16| {
        OURS.into_iter()
            .find(|group| u16::from(group.name()) == *id)
    };
    match groups.iter().find_map(ours) {
        Some(group) => Ok(group),
        None => refused(alert::HANDSHAKE_FAILURE, "no elliptic curve in common"),
    }
}

/// Appends a record in the clear and counts it.
fn put_plain(out: &mut Vec<u8>, content_type: u8, number: &mut u64, body: &[u8]) {
    // Bodies are fragments of less than 64 KB.
    out.extend_from_slice(&suite::header(content_type, *number, body.len() as u16));
    out.extend_from_slice(body);
    // Epoch 0 is long over before its numbers are.
    *number = (*number + 1) & (EPOCH_1 - 1);
}

/// An alert for a client of which nothing is kept.
pub(super) fn fatal(number: u64, alert: u8) -> Vec<u8> {
    let mut datagram = Vec::new();
    put_plain(&mut datagram, content::ALERT, &mut { number }, &[2, alert]);
    datagram
}

/// HelloVerifyRequest, with the number that the ClientHello's record has (RFC 6347, 4.2.1).
pub(super) fn hello_verify_request(number: u64, cookie: &[u8]) -> Vec<u8> {
    // DTLS 1.0, whatever will be spoken.
    let mut body = vec![0xFE, 0xFF];
    put_vec(&mut body, 1, cookie);
    let message = message::write(kind::HELLO_VERIFY_REQUEST, 0, &body);
    let mut datagram = Vec::new();
    put_plain(&mut datagram, content::HANDSHAKE, &mut { number }, &message);
    datagram
}
