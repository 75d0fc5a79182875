//! Answers to requests: whole, in blocks, with their message or on their own.

use crate::block::{Block, LARGEST, Snapshot, etag_of, fitting, size, slice};
use crate::codec::{Code, Kind, Token, Writer, empty, option};
use crate::machine::{Asked, Machine, PARTIAL, Wire};
use crate::observe::{Observation, PER_PEER, following};
use crate::peer::Sending;
use crate::request::{Application, ETag, Ended, Observing, Response, Ticket};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Bytes of a message beside its payload and what of it differs in size: header, marker, and the options ETag, Observe,
/// Content-Format, Max-Age, Block1, Block2, Size1 and Size2 at their longest.
const OVERHEAD: usize = 4 + 1 + 9 + 4 + 3 + 5 + 4 + 4 + 5 + 6;
/// How long a notification waits for the next block of the one before to be taken.
pub(crate) const TAKING: Duration = Duration::from_secs(3);

/// What a message has that is not part of what it says.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub observe: Option<u32>,
    pub block1: Option<Block>,
    pub block2: Option<Block>,
    pub size1: Option<u32>,
    pub size2: Option<u32>,
    pub etag: Option<ETag>,
}

/// One message of a response, with that part of its payload.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    (kind, id, token): (Kind, u16, &Token),
    response: &Response,
    frame: &Frame,
    payload: &[u8],
) {
    out.clear();
    let mut writer = Writer::new(out, kind, response.code, id, token);
    if let Some(etag) = frame.etag.or(response.etag) {
        writer.option(option::ETAG, etag.as_bytes());
    }
    let number = |writer: &mut Writer<'_>, number, value: Option<u32>| {
        if let Some(value) = value {
            writer.uint(number, value);
        }
    };
    number(&mut writer, option::OBSERVE, frame.observe);
    for segment in &response.location {
        writer.option(option::LOCATION_PATH, segment.as_bytes());
    }
    let format = response.content_format.map(u32::from);
    number(&mut writer, option::CONTENT_FORMAT, format);
    number(&mut writer, option::MAX_AGE, response.max_age);
    number(&mut writer, option::BLOCK2, frame.block2.map(Block::value));
    number(&mut writer, option::BLOCK1, frame.block1.map(Block::value));
    number(&mut writer, option::SIZE2, frame.size2);
    number(&mut writer, option::SIZE1, frame.size1);
    writer.payload(payload);
}

/// Bytes of payload that a message of the response may have at most, where the message has `room`.
pub(crate) fn payload_room(response: &Response, token: &Token, room: usize) -> usize {
    let location: usize = response.location.iter().map(|part| part.len() + 3).sum();
    room.saturating_sub(OVERHEAD + token.as_bytes().len() + location)
}

/// The part of the payload that goes out, and its Block2 option. `wanted` is the block that the client asks for, `szx` the
/// exponent of the largest that it wants. `None` = there is no such block.
pub(crate) fn part_of(
    response: &Response,
    wanted: Option<Block>,
    szx: u8,
    room: usize,
) -> Option<(Bytes, Option<Block>)> {
    let payload = &response.payload;
    let num = wanted.map_or(0, |block| block.num);
    if num == 0 && payload.len() <= size(szx).min(room) {
        let told = wanted.filter(|_| !payload.is_empty());
        let block = told.map(|block| Block {
            more: false,
            ..block
        });
        return Some((payload.clone(), block));
    }
    // A smaller block at the same place has another number.
    let fits = szx.min(fitting(room));
    let (part, block) = slice(payload, num << (szx - fits), fits)?;
    Some((part, Some(block)))
}

impl Machine {
    /// The response of which the block is that is asked for, if it is kept.
    pub(crate) fn later_block(&mut self, now: Instant, asked: &Asked) -> Option<Response> {
        let peer = self.peers.get(asked.peer)?;
        let snapshot = peer.snapshots.get(asked.key?)?;
        snapshot.at = now;
        let response = snapshot.response.clone();
        if snapshot.notification && peer.hold.is_some() {
            let block = asked.block2?;
            let end = block.offset() + block.size();
            // With the last block the next notification may go.
            let wait = if end < response.payload.len() {
                TAKING
            } else {
                Duration::ZERO
            };
            peer.hold = Some(now + wait);
            self.schedule(asked.peer);
        }
        Some(response)
    }

    /// Answers a request. The ticket is the name of the observation, if it begins one.
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        ticket: Ticket,
        asked: Asked,
        mut response: Response,
        app: &mut impl Application,
        wire: &mut impl Wire,
    ) {
        let other_format = |accept| response.content_format.is_some_and(|is| is != accept);
        if response.code == Code::CONTENT && asked.accept.is_some_and(other_format) {
            let observing = response.observing;
            response = Response::new(Code::NOT_ACCEPTABLE);
            response.observing = observing;
        }
        let mut frame = Frame {
            observe: self.observing(now, ticket, &asked, &response, app),
            block1: asked.block1.map(|block| Block {
                more: response.code == Code::CONTINUE,
                ..block
            }),
            size1: asked.size1,
            ..Frame::default()
        };
        // Section 5.10.6.2: it has this already.
        if response.code == Code::CONTENT
            && response
                .etag
                .is_some_and(|etag| asked.etags.contains(&etag))
        {
            response.code = Code::VALID;
            response.content_format = None;
            response.payload = Bytes::new();
        }
        let payload = match self.part(now, &asked, &response, &mut frame) {
            Some(payload) => payload,
            None => {
                frame.block2 = None;
                response = Response::new(Code::BAD_REQUEST);
                Bytes::new()
            }
        };
        self.answer(now, &asked, &response, &frame, &payload, wire);
        self.proceed(now, asked.peer, app, wire);
    }

    /// The part of the payload that goes out, and what is said about it; `None` = there is no such block.
    fn part(
        &mut self,
        now: Instant,
        asked: &Asked,
        response: &Response,
        frame: &mut Frame,
    ) -> Option<Bytes> {
        let wanted = asked.block2.filter(|_| response.code.is_success());
        let szx = wanted.map_or(LARGEST, |block| block.szx);
        let room = payload_room(response, &asked.token, asked.room);
        let (payload, block) = part_of(response, wanted, szx, room)?;
        frame.block2 = block;
        if let Some(block) = block.filter(|block| block.more || block.num > 0) {
            if block.num == 0 {
                frame.size2 = u32::try_from(response.payload.len()).ok();
            }
            frame.etag = Some(self.keep(now, asked.peer, asked.key, response, false));
        }
        Some(payload)
    }

    /// Keeps a response for those who take its blocks, and gives its ETag.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        peer: u64,
        key: Option<u64>,
        response: &Response,
        notification: bool,
    ) -> ETag {
        let etag = response.etag;
        let etag = etag.unwrap_or_else(|| etag_of(&response.payload));
        let (Some(key), Some(peer_)) = (key, self.peers.get(peer)) else {
            return etag;
        };
        // One that is there with this ETag is that one.
        let same = peer_
            .snapshots
            .get(key)
            .filter(|old| old.response.etag == Some(etag));
        if same.is_some() && !notification || response.payload.len() > PARTIAL {
            return etag;
        }
        let snapshot = Snapshot {
            key,
            at: now,
            response: Response {
                etag: Some(etag),
                observing: None,
                ..response.clone()
            },
            notification,
        };
        peer_.snapshots.keep(snapshot, &mut self.partial_bytes);
        self.keep_partial(now, peer);
        etag
    }

    /// Begins or renews the observation that the response speaks of; the value of its Observe option.
    fn observing(
        &mut self,
        now: Instant,
        ticket: Ticket,
        asked: &Asked,
        response: &Response,
        app: &mut impl Application,
    ) -> Option<u32> {
        let observing = response.observing?;
        let asks = asked.observe == Some(0);
        if observing == Observing::Renewed {
            let old = self.observations.get_mut(&asked.renews?)?;
            old.confirmable = asked.confirmable;
            old.szx = asked.block2.map_or(LARGEST, |block| block.szx);
            return (asks && response.code.is_success()).then(|| old.next_sequence());
        }
        let peer = self.peers.get(asked.peer);
        let old = peer.and_then(|peer| peer.observation(&asked.token));
        let mut sequence = 0;
        if let Some(old) = old {
            let latest = self.observations.get(&old).map(Observation::sequence);
            sequence = following(latest.unwrap_or(0));
            self.end(now, old, Some(Ended::Replaced), app);
        }
        let pinned = self.peers.pinned();
        let most = self.limits.peers;
        let begins = asks && response.code.is_success() && self.observations.len() < 4 * most;
        let peer = self.peers.get(asked.peer).filter(|peer| {
            let has_room = match peer.observations.len() {
                0 => pinned < most,
                many => many < PER_PEER,
            };
            begins && has_room
        });
        let Some(peer) = peer else {
            app.ended(now, ticket, Ended::NoRoom);
            return None;
        };
        peer.observations.push((asked.token, ticket));
        self.peers.pin(asked.peer, true);
        let observation = Observation::new(
            asked.peer,
            asked.token,
            asked.key.unwrap_or(0),
            asked.confirmable,
            asked.block2.map_or(LARGEST, |block| block.szx),
            sequence,
            now,
        );
        self.observations.insert(ticket, observation);
        Some(sequence)
    }

    /// Sends the message of a response: with the ACK, as a NON, or as a CON of its own.
    fn answer(
        &mut self,
        now: Instant,
        asked: &Asked,
        response: &Response,
        frame: &Frame,
        payload: &[u8],
        wire: &mut impl Wire,
    ) {
        let Some(peer) = self.peers.get(asked.peer) else {
            return;
        };
        // RFC 7967: a bit for each class that nobody wants to hear of.
        let silent = asked.no_response >> (response.code.class().max(1) - 1) & 1 == 1;
        let (kind, id) = match (asked.confirmable, asked.acknowledged) {
            (true, false) => (Kind::Acknowledgement, asked.id),
            (true, true) => (Kind::Confirmable, peer.take_id()),
            (false, _) => (Kind::NonConfirmable, peer.take_id()),
        };
        let mut bytes = std::mem::take(&mut self.scratch);
        encode(
            &mut bytes,
            (kind, id, &asked.token),
            response,
            frame,
            payload,
        );
        if silent {
            bytes.clear();
            if kind == Kind::Acknowledgement {
                bytes.extend_from_slice(&empty(kind, id));
            }
        }
        if !bytes.is_empty() {
            peer.credit = peer.credit.saturating_sub(bytes.len());
            match kind {
                Kind::Confirmable => peer.responses.push_back(bytes.clone()),
                _ => wire.send(&peer.endpoint, &bytes),
            }
            if kind == Kind::Acknowledgement {
                peer.seen.reply(id, &bytes, &mut self.budget);
            }
        }
        self.scratch = bytes;
        if kind == Kind::Confirmable {
            self.send_response(now, asked.peer, wire);
        }
    }

    /// Sends the next separate response, when nothing else waits for its ACK.
    pub(crate) fn send_response(&mut self, now: Instant, key: u64, wire: &mut impl Wire) {
        let timeout = self.chance.ack_timeout();
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        if peer.sending.is_some() {
            return;
        }
        let Some(bytes) = peer.responses.pop_front() else {
            return;
        };
        wire.send(&peer.endpoint, &bytes);
        peer.sending = Some(Sending {
            id: id_of(&bytes),
            bytes,
            again: 0,
            timeout,
            due: now + timeout,
            notification: None,
        });
        self.schedule(key);
    }
}

/// The message ID of a message of ours.
fn id_of(bytes: &[u8]) -> u16 {
    match bytes {
        [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}
