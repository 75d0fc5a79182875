//! DTLS 1.2 (RFC 6347) before CoAP, as RFC 7252 has it: with certificates, or with pre-shared keys.
//!
//! A server without I/O: [`Dtls::receive`], [`Dtls::send`] and [`Dtls::timeout`] go in, [`Dtls::poll`] has what comes of
//! it. Nothing is kept of a client before it has shown by a cookie that it is where it says; handshakes and sessions
//! are bounded, and handshakes per second too.
//!
//! # Why it is our own
//!
//! We would rather use a library, and tried those that build with a C compiler alone. `dimpl` has neither RSA keys nor
//! chains of certificates, of pre-shared keys the one suite with CCM_8, and wants the extended master secret, which older
//! devices have not. `rtc-dtls` 0.21 puts fragments together by a recursion for each of them before it knows who sends them,
//! ends a session with a pre-shared key when one forged record comes, and did not complete handshakes with `dimpl` as the
//! client in our tests. Devices with CoAP need all of that on one port, and the identity of a key or certificate.
//!
//! So the messages and their order are ours, and no cryptography is: that is of aws-lc-rs and of rustls' provider (keys,
//! signatures, key exchange, chains of certificates); CCM alone, which aws-lc-rs does not give out, is RustCrypto's.
//! The server's side of version 1.2 is all there is, without resumption, renegotiation and compression. `tests` has clients
//! of OpenSSL, libcoap (OpenSSL and GnuTLS) and dimpl, and attacks message by message.

mod admission;
mod cookie;
mod files;
mod handshake;
mod hello;
mod message;
mod psk;
mod secrets;
mod signature;
mod suite;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use files::listen_on;

use admission::Admission;
use cookie::Baker;
use emqttd_plugin_sdk::{Context, Metric, StartError};
use files::Files;
use handshake::{Established, Handshake, LastFlight, Offer, Refused, alert, content};
use message::{Assembly, ClientHello, Reader};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use suite::Cipher;
use window::Window;

/// Handshakes under way at the most.
const HANDSHAKES: usize = 512;
/// Life of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// A flight without answer is sent again after that, and after twice as long each time (RFC 6347, 4.2.4.1).
const RESEND: Duration = Duration::from_secs(1);
/// How often a flight is sent at the most.
const SENDS: u8 = 8;
/// Life of a session in which nothing comes.
const IDLE: Duration = Duration::from_secs(3600);
/// When there is no place for another session, one in which nothing came for so long makes room.
const MAKES_ROOM: Duration = Duration::from_secs(60);
/// A client with another pre-shared key is told so when its Finished could not be read so often, with a while between
/// them as when it is repeated. One record does not say anything: anybody may have sent it.
const UNREADABLE: u8 = 3;
/// See [`UNREADABLE`].
const APART: Duration = Duration::from_millis(500);
/// Records of a datagram that are looked at.
const RECORDS: usize = 16;
/// How often the files are looked at; only when somebody begins a handshake.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);
/// Two lines of the log about clients that are refused are at least so far apart.
const QUIET: Duration = Duration::from_secs(10);
/// Longest plaintext (RFC 5246, 6.2.1).
const LONGEST: usize = 16 * 1024;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// a datagram for that address
    Send(SocketAddr, Vec<u8>),
    /// a client says that
    Received {
        /// its address, proven
        from: SocketAddr,
        /// identity of its pre-shared key, or common name of its certificate
        identity: Option<Arc<str>>,
        /// its datagram in the clear
        plain: Vec<u8>,
    },
    /// The session of that address has ended, or was followed by another, whoever's that is.
    Gone(SocketAddr),
}

/// All sessions over DTLS.
pub(crate) struct Dtls {
    files: Files,
    offer: Arc<Offer>,
    baker: Baker,
    handshakes: HashMap<SocketAddr, Pending>,
    sessions: HashMap<SocketAddr, Session>,
    most_sessions: usize,
    timers: BTreeSet<(Instant, Kind, SocketAddr)>,
    outputs: VecDeque<Output>,
    admission: Admission,
    /// hellos that come in pieces, of clients that have brought their cookies
    pieces: VecDeque<(SocketAddr, Assembly)>,
    begun: Instant,
    looked_at: Instant,
    complained: Option<Instant>,
    counts: Counts,
}

struct Counts {
    /// `dtls/handshakes`
    done: Metric,
    /// `dtls/refused`
    refused: Metric,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Handshake,
    Session,
}

struct Pending {
    handshake: Box<Handshake>,
    /// when it is looked at next
    due: Instant,
    wait: Duration,
    sends: u8,
    ends: Instant,
    /// the client, or somebody in its name, has said that it gives up: nothing is sent again
    given_up: bool,
    /// how often the client's Finished could not be read, and when that was
    unreadable: (u8, Option<Instant>),
}

struct Session {
    read: Cipher,
    write: Cipher,
    window: Window,
    write_number: u64,
    identity: Option<Arc<str>>,
    /// when something came that was the client's
    used: Instant,
    due: Instant,
    last: LastFlight,
    repeats: u8,
}

impl Dtls {
    /// DTLS as the configuration has it; `None` = it has neither a certificate nor pre-shared keys.
    ///
    /// # Errors
    /// When a file that is there cannot be used, or one is missing that only the new keys name.
    pub fn open(ctx: &Context, most_sessions: usize) -> Result<Option<Dtls>, StartError> {
        let Some((files, keys)) = Files::open(&ctx.config())? else {
            return Ok(None);
        };
        let now = Instant::now();
        Ok(Some(Dtls {
            offer: Arc::new(files.offer(Arc::new(keys))),
            files,
            baker: Baker::new().map_err(StartError)?,
            handshakes: HashMap::new(),
            sessions: HashMap::new(),
            most_sessions,
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            admission: Admission::new(now),
            pieces: VecDeque::new(),
            begun: now,
            looked_at: now,
            complained: None,
            counts: Counts {
                done: ctx.metric("dtls/handshakes"),
                refused: ctx.metric("dtls/refused"),
            },
        }))
    }

    /// Sessions at the same time from now on.
    pub fn set_most_sessions(&mut self, most: usize) {
        self.most_sessions = most;
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Dtls::timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(due, ..)| *due)
    }

    /// A datagram has come. It is decrypted where it lies.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        if let Some((number, fragment, hello)) = ClientHello::of_datagram(datagram) {
            return self.hello(now, from, number, &fragment, &hello);
        }
        if let Some((number, fragment)) = ClientHello::piece_of(datagram) {
            // One that is whole could not be read.
            if fragment.whole().is_none() {
                self.piece(now, from, number, &fragment);
            }
            return;
        }
        let mut rest = datagram;
        for _ in 0..RECORDS {
            let Some((header, after)) = rest.split_first_chunk_mut::<{ suite::HEADER }>() else {
                return;
            };
            let header = *header;
            let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
            if header[1] != 0xFE || after.len() < len {
                return;
            }
            let (record, after) = rest.split_at_mut(suite::HEADER + len);
            rest = after;
            self.record(now, from, &header, record);
        }
    }

    fn record(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &[u8; suite::HEADER],
        record: &mut [u8],
    ) {
        let [_, _, _, epoch @ .., _, _, _, _, _, _, _, _] = *header;
        match u16::from_be_bytes(epoch) {
            0 => self.plain(now, from, header[0], &record[suite::HEADER..]),
            1 => self.secret(now, from, header, record),
            _ => {}
        }
    }

    /// A record in the clear: anybody may have sent it.
    fn plain(&mut self, now: Instant, from: SocketAddr, content_type: u8, body: &[u8]) {
        let Some(pending) = self.handshakes.get_mut(&from) else {
            return;
        };
        match (content_type, body) {
            (content::HANDSHAKE, body) => {
                let step = pending.handshake.plain(Reader(body));
                self.step(now, from, step);
            }
            (content::ALERT, [2, _]) => pending.given_up = true,
            _ => {}
        }
    }

    fn secret(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &[u8; suite::HEADER],
        record: &mut [u8],
    ) {
        // A client that has begun anew may still send in its old session.
        let copy = self.handshakes.contains_key(&from).then(|| record.to_vec());
        if self.of_session(now, from, header, &mut record[suite::HEADER..]) {
            return;
        }
        if let (Some(pending), Some(mut record)) = (self.handshakes.get_mut(&from), copy) {
            let mut step = pending.handshake.secret(&mut record);
            if pending.handshake.take_unreadable() {
                step = pending.unreadable(now);
            }
            self.step(now, from, step);
        }
    }

    /// A record of a session; `false` when it is none.
    fn of_session(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &[u8; suite::HEADER],
        body: &mut [u8],
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&from) else {
            return false;
        };
        let mut number = [0; 8];
        number.copy_from_slice(&header[3..11]);
        let number = u64::from_be_bytes(number);
        if !session.window.is_new(number) {
            return false;
        }
        let Ok(plain) = session.read.open(header, body) else {
            return false;
        };
        session.window.mark(number);
        session.used = now;
        match (header[0], plain) {
            // RFC 5246, 6.2.1: there is no such record.
            (_, plain) if plain.len() > LONGEST => {}
            (content::APPLICATION_DATA, plain) => self.outputs.push_back(Output::Received {
                from,
                identity: session.identity.clone(),
                plain: plain.to_vec(),
            }),
            (content::ALERT, [_, alert::CLOSE_NOTIFY]) => self.close(from),
            (content::ALERT, [2, _]) => self.forget(from),
            // The client sends its Finished again: ours was lost.
            (content::HANDSHAKE, [message::kind::FINISHED, ..]) if session.repeats < SENDS => {
                session.repeats += 1;
                let (last, number) = (&mut session.last, &mut session.write_number);
                if let Some(datagram) = last.write(&session.write, number) {
                    self.outputs.push_back(Output::Send(from, datagram));
                }
            }
            // RFC 5246, 7.4.1.1: whoever wants another session begins it in the clear.
            (content::HANDSHAKE, [message::kind::CLIENT_HELLO, ..]) if session.repeats < SENDS => {
                session.repeats += 1;
                self.seal(from, content::ALERT, &[1, alert::NO_RENEGOTIATION]);
            }
            _ => {}
        }
        true
    }

    /// What a record has brought a handshake.
    fn step(&mut self, now: Instant, from: SocketAddr, step: Result<Option<Established>, Refused>) {
        match step {
            Ok(None) => {}
            Ok(Some(established)) => {
                self.end_handshake(from);
                self.establish(now, from, established);
            }
            Err(refused) => {
                if let Some(pending) = self.handshakes.get_mut(&from) {
                    let datagram = pending.handshake.fatal(refused.alert);
                    self.outputs.push_back(Output::Send(from, datagram));
                }
                self.end_handshake(from);
                self.complain(now, from, &refused);
            }
        }
    }

    fn establish(&mut self, now: Instant, from: SocketAddr, mut established: Established) {
        // What the former client asked in the same datagram is answered to nobody: this one must not read it.
        self.outputs
            .retain(|output| !matches!(output, Output::Received { from: of, .. } if *of == from));
        self.forget(from);
        if !self.make_room(now) {
            let refused = Refused {
                alert: alert::INTERNAL_ERROR,
                why: "coap.max_clients is reached".into(),
            };
            let datagram = established.last.fatal(refused.alert);
            self.outputs.push_back(Output::Send(from, datagram));
            return self.complain(now, from, &refused);
        }
        let mut session = Session {
            read: established.read,
            write: established.write,
            window: Window::after(established.read_number),
            write_number: established.write_number,
            identity: established.identity,
            used: now,
            due: now + IDLE,
            last: established.last,
            repeats: 0,
        };
        let (last, number) = (&mut session.last, &mut session.write_number);
        if let Some(datagram) = last.write(&session.write, number) {
            self.outputs.push_back(Output::Send(from, datagram));
        }
        self.timers.insert((session.due, Kind::Session, from));
        self.sessions.insert(from, session);
        self.counts.done.inc();
    }

    /// Ends the sessions that were silent longest until there is room; `false` = none was silent for a while.
    fn make_room(&mut self, now: Instant) -> bool {
        while self.sessions.len() >= self.most_sessions {
            let mut timers = self.timers.iter();
            let first = timers.find(|(_, kind, _)| *kind == Kind::Session);
            let Some(&(due, _, from)) = first else {
                return false;
            };
            let Some(used) = self.sessions.get(&from).map(|session| session.used) else {
                return false;
            };
            if due < used + IDLE {
                // It was heard of since its timer was set. No timer is later than that of the last sign of life, so
                // the first that is right is of the one.
                self.timers.remove(&(due, Kind::Session, from));
                self.session_due(now, from);
            } else if now.saturating_duration_since(used) >= MAKES_ROOM {
                self.close(from);
            } else {
                return false;
            }
        }
        true
    }

    /// Sends what is in the clear; `false` when there is no session, or it is too long.
    pub fn send(&mut self, to: SocketAddr, plain: &[u8]) -> bool {
        if plain.len() > LONGEST {
            return false;
        }
        self.seal(to, content::APPLICATION_DATA, plain)
    }

    fn seal(&mut self, to: SocketAddr, content_type: u8, plain: &[u8]) -> bool {
        let Some(session) = self.sessions.get_mut(&to) else {
            return false;
        };
        let mut datagram = Vec::with_capacity(plain.len() + suite::OVERHEAD);
        let number = session.write_number;
        let sealed = session
            .write
            .seal(content_type, number, plain, &mut datagram);
        if sealed.is_ok() {
            session.write_number += 1;
            self.outputs.push_back(Output::Send(to, datagram));
        }
        sealed.is_ok()
    }

    /// Ends a session in good order.
    pub fn close(&mut self, to: SocketAddr) {
        self.seal(to, content::ALERT, &[1, alert::CLOSE_NOTIFY]);
        self.forget(to);
    }

    /// Ends all of them.
    pub fn close_all(&mut self) {
        let all: Vec<SocketAddr> = self.sessions.keys().copied().collect();
        for to in all {
            self.close(to);
        }
        self.handshakes.clear();
        self.pieces.clear();
        self.timers.clear();
    }

    fn forget(&mut self, from: SocketAddr) {
        if let Some(session) = self.sessions.remove(&from) {
            self.timers.remove(&(session.due, Kind::Session, from));
            self.outputs.push_back(Output::Gone(from));
        }
    }

    fn end_handshake(&mut self, from: SocketAddr) {
        if let Some(pending) = self.handshakes.remove(&from) {
            self.timers.remove(&(pending.due, Kind::Handshake, from));
        }
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        while let Some(&(due, kind, from)) = self.timers.first().filter(|(due, ..)| *due <= now) {
            self.timers.remove(&(due, kind, from));
            match kind {
                Kind::Handshake => self.handshake_due(now, from),
                Kind::Session => self.session_due(now, from),
            }
        }
    }

    fn handshake_due(&mut self, now: Instant, from: SocketAddr) {
        let Some(pending) = self.handshakes.get_mut(&from) else {
            return;
        };
        if now >= pending.ends {
            let (unreadable, _) = pending.unreadable;
            self.handshakes.remove(&from);
            return match unreadable {
                0 => self.counts.refused.inc(),
                _ => self.complain(now, from, &another_key()),
            };
        }
        if !pending.given_up {
            let flight = pending.send();
            self.outputs.extend(flight.map(|d| Output::Send(from, d)));
        }
        pending.wait *= 2;
        pending.due = (now + pending.wait).min(pending.ends);
        self.timers.insert((pending.due, Kind::Handshake, from));
    }

    fn session_due(&mut self, now: Instant, from: SocketAddr) {
        let Some(session) = self.sessions.get_mut(&from) else {
            return;
        };
        if now.saturating_duration_since(session.used) >= IDLE {
            return self.close(from);
        }
        session.due = session.used + IDLE;
        self.timers.insert((session.due, Kind::Session, from));
    }

    /// Takes up changed files for the handshakes to come.
    fn look_at_files(&mut self, now: Instant) {
        if now.saturating_duration_since(self.looked_at) < LOOK_AT_FILES {
            return;
        }
        self.looked_at = now;
        if let Some(keys) = self.files.changed(&self.offer.keys) {
            self.offer = Arc::new(self.files.offer(keys));
        }
    }

    fn complain(&mut self, now: Instant, from: SocketAddr, refused: &Refused) {
        self.counts.refused.inc();
        let quiet = self
            .complained
            .is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if !quiet {
            self.complained = Some(now);
            log::warn!(
                "coap:dtls: {from} is refused: {}",
                refused.why.escape_debug()
            );
        }
    }
}

/// Nobody is told whether it is the key or the identity.
fn another_key() -> Refused {
    Refused {
        alert: alert::DECRYPT_ERROR,
        why: "the pre-shared key is another".into(),
    }
}

impl Pending {
    /// What should have been the client's Finished cannot be read.
    fn unreadable(&mut self, now: Instant) -> Result<Option<Established>, Refused> {
        let (times, last) = &mut self.unreadable;
        if last.is_none_or(|at| now.saturating_duration_since(at) >= APART) {
            *last = Some(now);
            *times += 1;
        }
        match *times {
            ..UNREADABLE => Ok(None),
            _ => Err(another_key()),
        }
    }

    /// The flight, if it may be sent once more.
    fn send(&mut self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let may = self.sends < SENDS;
        self.sends += u8::from(may);
        let flight = if may {
            self.handshake.flight()
        } else {
            Vec::new()
        };
        flight.into_iter()
    }
}
