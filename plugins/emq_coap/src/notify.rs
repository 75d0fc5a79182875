//! Notifications to observers, and what the peers say to our messages.

use crate::codec::{Code, Kind, Message};
use crate::endpoint::Endpoint;
use crate::machine::{Machine, SMALL, WAITING, Wire};
use crate::message::MAX_RETRANSMIT;
use crate::observe::Waiting;
use crate::peer::Sending;
use crate::request::{Application, Ended, Fate, Response, Ticket};
use crate::respond::{Frame, TAKING, encode, part_of, payload_room};
use std::time::Instant;

impl Machine {
    /// A notification for an observer: at once, or behind those that wait.
    pub(crate) fn notify(
        &mut self,
        now: Instant,
        observation: Ticket,
        receipt: u64,
        response: Response,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        let observed = self.observations.get_mut(&observation);
        let Some(observed) = observed.filter(|observed| !observed.is_closing) else {
            return tell(now, observation, receipt, Fate::Dropped, app);
        };
        observed.is_closing = !response.code.is_success();
        let key = observed.peer;
        if response.payload.len() > self.limits.max_message {
            self.counters.dropped += 1;
            return tell(now, observation, receipt, Fate::Dropped, app);
        }
        let Some(peer) = self.peers.get(key) else {
            return tell(now, observation, receipt, Fate::Dropped, app);
        };
        let waiting = Waiting {
            observation,
            receipt,
            response,
        };
        let (held, dropped) = (&mut self.waiting_bytes, &mut self.counters.dropped);
        if let Some(back) = peer.queue.push(waiting, held, WAITING, dropped) {
            tell(now, back.observation, back.receipt, Fate::Dropped, app);
            if !back.response.code.is_success() {
                self.end(now, observation, None, app);
            }
        }
        self.proceed(now, key, app, wire);
    }

    /// Sends what may be sent to a peer now.
    pub(crate) fn proceed(
        &mut self,
        now: Instant,
        key: u64,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        loop {
            let Some(peer) = self.peers.get(key) else {
                return;
            };
            if peer.sending.is_some() {
                break;
            }
            if !peer.responses.is_empty() {
                self.send_response(now, key, wire);
                continue;
            }
            if peer.hold.is_some_and(|until| until > now) && !peer.queue.is_empty() {
                break;
            }
            peer.hold = peer.hold.filter(|until| *until > now);
            let Some(next) = peer.queue.pop(&mut self.waiting_bytes) else {
                break;
            };
            self.send_notification(now, key, next, app, wire);
        }
        self.schedule(key);
    }

    fn send_notification(
        &mut self,
        now: Instant,
        key: u64,
        next: Waiting,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        let Waiting {
            observation,
            receipt,
            response,
        } = next;
        let timeout = self.chance.ack_timeout();
        let (Some(observed), Some(peer)) =
            (self.observations.get_mut(&observation), self.peers.get(key))
        else {
            return tell(now, observation, receipt, Fate::Dropped, app);
        };
        let is_last = !response.code.is_success();
        let room = if peer.proven { usize::MAX } else { SMALL };
        let room = payload_room(&response, &observed.token, room);
        // The first block is always there.
        let (payload, block2) = part_of(&response, None, observed.szx, room)
            .unwrap_or_else(|| (response.payload.clone(), None));
        let in_blocks = block2.is_some();
        let size = u32::try_from(response.payload.len()).ok();
        let (id, token) = (peer.take_id(), observed.token);
        let mut frame = Frame {
            observe: (!is_last).then(|| observed.next_sequence()),
            block2,
            size2: size.filter(|_| in_blocks),
            ..Frame::default()
        };
        let body_key = observed.key;
        let may_be_non = !observed.confirmable && !observed.needs_proof(now);
        if in_blocks {
            frame.etag = Some(self.keep(now, key, Some(body_key), &response, true));
        }
        let mut bytes = std::mem::take(&mut self.scratch);
        let kind = if may_be_non {
            Kind::NonConfirmable
        } else {
            Kind::Confirmable
        };
        encode(&mut bytes, (kind, id, &token), &response, &frame, &payload);
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        if in_blocks {
            peer.hold = Some(now + TAKING);
        }
        if may_be_non && (peer.proven || peer.credit >= bytes.len()) {
            peer.credit = peer.credit.saturating_sub(bytes.len());
            wire.send(&peer.endpoint, &bytes);
            peer.remember(id, observation);
            self.scratch = bytes;
            if let Some(observed) = self.observations.get_mut(&observation) {
                observed.sent();
            }
            tell(now, observation, receipt, Fate::Sent, app);
        } else {
            Kind::Confirmable.set(&mut bytes);
            wire.send(&peer.endpoint, &bytes);
            peer.sending = Some(Sending {
                id,
                bytes,
                again: 0,
                timeout,
                due: now + timeout,
                notification: Some((observation, receipt)),
            });
        }
        if is_last {
            self.detach(now, observation, app);
        }
    }

    /// An ACK or RST of a peer.
    pub(crate) fn settled(
        &mut self,
        now: Instant,
        from: &Endpoint,
        message: &Message<'_>,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        if message.code != Code::EMPTY {
            return;
        }
        let Some(key) = self.peers.find(from) else {
            return;
        };
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let reset = message.kind == Kind::Reset;
        if let Some(sent) = peer.sending.take_if(|sent| sent.id == message.id) {
            peer.proves_itself();
            // From now on blocks are taken.
            peer.hold = peer.hold.map(|_| now + TAKING);
            if let Some((observation, receipt)) = sent.notification {
                let fate = if reset {
                    Fate::Dropped
                } else {
                    Fate::Acknowledged
                };
                tell(now, observation, receipt, fate, app);
                if reset {
                    self.end(now, observation, Some(Ended::Cancelled), app);
                } else if let Some(observed) = self.observations.get_mut(&observation) {
                    observed.proven(now);
                }
            }
            return self.proceed(now, key, app, wire);
        }
        let known = peer.recent.iter().find(|(id, _)| *id == message.id);
        let Some((_, observation)) = known.copied() else {
            return peer.has_guessed();
        };
        if reset {
            peer.proves_itself();
            self.end(now, observation, Some(Ended::Cancelled), app);
            self.proceed(now, key, app, wire);
        }
    }

    /// The timer of a peer has run out.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        key: u64,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        peer.due = None;
        match &mut peer.sending {
            Some(sent) if sent.due <= now => {
                if sent.again < MAX_RETRANSMIT {
                    sent.again += 1;
                    // Section 4.2: twice as long each time.
                    sent.timeout *= 2;
                    sent.due = now + sent.timeout;
                    self.counters.retransmitted += 1;
                    wire.send(&peer.endpoint, &sent.bytes);
                } else {
                    self.counters.unanswered += 1;
                    let lost = peer.sending.take();
                    // Somebody else may have the address by now.
                    peer.proven = peer.endpoint.is_secure();
                    if let Some((observation, receipt)) = lost.and_then(|sent| sent.notification) {
                        tell(now, observation, receipt, Fate::Dropped, app);
                        self.lose(now, key, app);
                    }
                }
            }
            _ => {}
        }
        self.proceed(now, key, app, wire);
    }

    /// The peer is not there any more: all that it observes ends (RFC 7641, section 4.5).
    pub(crate) fn lose(&mut self, now: Instant, key: u64, app: &mut impl Application) {
        while let Some(ticket) = self.peers.get(key).and_then(|peer| {
            let (_, ticket) = peer.observations.first()?;
            Some(*ticket)
        }) {
            self.end(now, ticket, Some(Ended::Lost), app);
        }
    }

    /// Ends an observation, and stops what is on its way for it; its peer, which may go on with others.
    pub(crate) fn end(
        &mut self,
        now: Instant,
        observation: Ticket,
        why: Option<Ended>,
        app: &mut impl Application,
    ) -> Option<u64> {
        let ended = self.observations.get(&observation)?;
        let key = ended.peer;
        let why = why.filter(|_| !ended.is_closing);
        let of_it = |sent: &mut Sending| {
            sent.notification
                .is_some_and(|(ticket, _)| ticket == observation)
        };
        if let Some(peer) = self.peers.get(key)
            && let Some((_, receipt)) = peer
                .sending
                .take_if(of_it)
                .and_then(|sent| sent.notification)
        {
            tell(now, observation, receipt, Fate::Dropped, app);
        }
        self.detach(now, observation, app);
        if let Some(why) = why {
            app.ended(now, observation, why);
        }
        Some(key)
    }

    /// Takes an observation and what waits for it away; what is on its way stays there.
    fn detach(&mut self, now: Instant, observation: Ticket, app: &mut impl Application) {
        let Some(ended) = self.observations.remove(&observation) else {
            return;
        };
        let Some(peer) = self.peers.get(ended.peer) else {
            return;
        };
        peer.observations
            .retain(|(_, ticket)| *ticket != observation);
        peer.recent.retain(|(_, ticket)| *ticket != observation);
        let dropped = peer.queue.take(Some(observation), &mut self.waiting_bytes);
        for waiting in dropped {
            tell(now, observation, waiting.receipt, Fate::Dropped, app);
        }
        if peer.observations.is_empty() {
            peer.hold = None;
            self.peers.pin(ended.peer, false);
        }
    }

    /// Sets the timer of a peer to what comes first.
    pub(crate) fn schedule(&mut self, key: u64) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let sending = peer.sending.as_ref().map(|sent| sent.due);
        // Nothing can go before that.
        let hold = peer
            .hold
            .filter(|_| sending.is_none() && !peer.queue.is_empty());
        let due = sending.or(hold);
        if due == peer.due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut peer.due, due) {
            self.timers.remove(&(old, key));
        }
        if let Some(due) = due {
            self.timers.insert((due, key));
        }
    }
}

/// Tells what became of a notification, if somebody wants to know; that the device lives is told in any case.
pub(crate) fn tell(
    now: Instant,
    observation: Ticket,
    receipt: u64,
    fate: Fate,
    app: &mut impl Application,
) {
    if receipt != 0 || fate == Fate::Acknowledged {
        app.notified(now, observation, receipt, fate);
    }
}
