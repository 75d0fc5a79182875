//! Hellos: who has shown by its cookie where it is, and whose handshake begins.

use super::admission::source;
use super::handshake::{self, Handshake};
use super::message::{Assembly, ClientHello, Fragment, Reader};
use super::{Dtls, HANDSHAKE, HANDSHAKES, Kind, Output, Pending, RESEND};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

/// Hellos that come in pieces at the same time; the oldest makes room.
const PIECES: usize = 32;

impl Dtls {
    /// The answer to a hello without its cookie; `None` = it is the right one.
    fn ask_for_cookie(
        &self,
        now: Instant,
        from: SocketAddr,
        number: u64,
        random: &[u8; 32],
        cookie: &[u8],
    ) -> Option<Output> {
        let seconds = now.saturating_duration_since(self.begun).as_secs();
        if self.baker.is_good(seconds, from, random, cookie) {
            return None;
        }
        let cookie = self.baker.bake(seconds, from, random);
        let answer = handshake::hello_verify_request(number, &cookie);
        Some(Output::Send(from, answer))
    }

    pub(super) fn hello(
        &mut self,
        now: Instant,
        from: SocketAddr,
        number: u64,
        fragment: &Fragment<'_>,
        hello: &ClientHello<'_>,
    ) {
        if let Some(answer) = self.ask_for_cookie(now, from, number, &hello.random, hello.cookie) {
            return self.outputs.push_back(answer);
        }
        let pending = self.handshakes.get_mut(&from);
        match pending.filter(|pending| pending.handshake.client_random == hello.random) {
            // Our flight was lost.
            Some(pending) => {
                let flight = pending.send();
                self.outputs.extend(flight.map(|d| Output::Send(from, d)));
            }
            None => self.begin(now, from, number, fragment, hello),
        }
    }

    /// A piece of a hello. Nothing is kept of it before one has come with the cookie.
    pub(super) fn piece(
        &mut self,
        now: Instant,
        from: SocketAddr,
        number: u64,
        fragment: &Fragment<'_>,
    ) {
        if let Some((random, cookie)) = ClientHello::beginning(fragment) {
            if let Some(answer) = self.ask_for_cookie(now, from, number, &random, cookie) {
                return self.outputs.push_back(answer);
            }
            self.pieces.retain(|(of, ..)| *of != from);
            if self.pieces.len() >= PIECES {
                self.pieces.pop_front();
            }
            let assembly = Assembly::new(fragment.number);
            self.pieces.push_back((from, assembly));
        }
        let Some(at) = self.pieces.iter().position(|(of, _)| *of == from) else {
            return;
        };
        let (_, assembly) = &mut self.pieces[at];
        assembly.push(fragment);
        let Some(whole) = assembly.pop() else {
            return;
        };
        self.pieces.remove(at);
        let fragment = Fragment::read(&mut Reader(&whole.bytes));
        if let Some(fragment) = fragment
            && let Some(hello) = ClientHello::read(whole.body())
        {
            self.hello(now, from, number, &fragment, &hello);
        }
    }

    /// A handshake begins, of a client that is where it says.
    fn begin(
        &mut self,
        now: Instant,
        from: SocketAddr,
        number: u64,
        fragment: &Fragment<'_>,
        hello: &ClientHello<'_>,
    ) {
        self.end_handshake(from);
        if !self.admission.admit(now, from) {
            return self.counts.refused.inc();
        }
        if self.handshakes.len() >= HANDSHAKES {
            self.drop_handshake();
        }
        self.look_at_files(now);
        match Handshake::begin(&self.offer, number, fragment, hello) {
            Err(refused) => {
                let datagram = handshake::fatal(number, refused.alert);
                self.outputs.push_back(Output::Send(from, datagram));
                self.complain(now, from, &refused);
            }
            Ok(handshake) => {
                self.admission.charge(handshake.cost() - 1.0);
                let mut pending = Pending {
                    handshake: Box::new(handshake),
                    due: now + RESEND,
                    wait: RESEND,
                    sends: 0,
                    ends: now + HANDSHAKE,
                    given_up: false,
                    unreadable: (0, None),
                };
                let flight = pending.send();
                self.outputs.extend(flight.map(|d| Output::Send(from, d)));
                self.timers.insert((pending.due, Kind::Handshake, from));
                self.handshakes.insert(from, pending);
            }
        }
    }

    /// Drops a handshake to make room: of the source that has most of them the oldest.
    fn drop_handshake(&mut self) {
        let mut many: HashMap<u128, usize> = HashMap::new();
        for from in self.handshakes.keys() {
            *many.entry(source(*from)).or_default() += 1;
        }
        let rank = |(from, pending): &(&SocketAddr, &Pending)| {
            let of_source = many.get(&source(**from)).copied();
            (of_source, Reverse(pending.ends))
        };
        if let Some((from, _)) = self.handshakes.iter().max_by_key(rank) {
            self.end_handshake(*from);
            self.counts.refused.inc();
        }
    }
}
