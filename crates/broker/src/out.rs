//! What waits to be written to one connection.
//!
//! A *gate* stands before bytes that speak of something that must be on disk first: an acknowledgement, or
//! a packet whose identifier must not be forgotten. It is named by the round in which that was handed to the
//! store, and nothing behind it leaves before the round is durable. Order is kept: what stands behind a
//! closed gate waits with it.

use emqttd_session::Message;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Payloads of at least this many bytes are not copied for each receiver but referred to.
pub(crate) const SHARE_FROM: usize = 4096;

/// Bytes in order, some of them payloads shared with other receivers. Holds no memory while empty.
#[derive(Debug, Default)]
pub struct OutBuf {
    bytes: Vec<u8>,
    /// bytes of `bytes` already written
    start: usize,
    /// what most outputs have none of
    extra: Option<Box<Extra>>,
}

#[derive(Debug, Default)]
struct Extra {
    /// position in `bytes` before which the payload stands
    payloads: VecDeque<(usize, Arc<Message>)>,
    /// bytes of the first payload already written
    start: usize,
    len: usize,
    /// closed gates: position in `bytes` before which each stands, and its round; both ascend. A payload at
    /// the position of a gate stands before it: each has the head of its packet in `bytes` before itself.
    gates: VecDeque<(usize, u64)>,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.payloads.is_empty() && self.gates.is_empty()
    }
}

impl OutBuf {
    /// Bytes waiting, those behind gates included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start + self.extra.as_ref().map_or(0, |extra| extra.len)
    }

    /// Bytes of memory it holds; payloads that others refer to as well are counted whole.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + self.extra.as_ref().map_or(0, |extra| extra.len)
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether something can be written now.
    #[inline]
    pub fn is_ready(&self) -> bool {
        match &self.extra {
            None => self.start < self.bytes.len(),
            Some(extra) => {
                let payload = extra.payloads.front().map(|(position, _)| *position);
                let gate = self.gate();
                self.start < gate || payload.is_some_and(|position| position <= gate)
            }
        }
    }

    /// Whether something waits behind a gate.
    pub(crate) fn is_gated(&self) -> bool {
        let extra = self.extra.as_ref();
        extra.is_some_and(|extra| !extra.gates.is_empty())
    }

    /// Bytes that can be written now.
    pub fn ready_len(&self) -> usize {
        let gate = self.gate();
        let payloads = self.extra.as_ref().map_or(0, |extra| {
            let ready = extra
                .payloads
                .iter()
                .take_while(|(position, _)| *position <= gate);
            let len: usize = ready.map(|(_, message)| message.payload().len()).sum();
            len - extra.start
        });
        gate - self.start + payloads
    }

    /// Where to append packets.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Position behind what is there now, for [`OutBuf::close_gate`].
    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing from `position` on leaves before `round` is durable. `position` was the end of this output at
    /// some time since it was last written. `false` when a gate of that round stands before it already.
    pub(crate) fn close_gate(&mut self, position: usize, round: u64) -> bool {
        let gates = &mut self.extra.get_or_insert_default().gates;
        match gates.back_mut() {
            // One of this round is closed already: the earlier place serves both.
            Some((at, last)) if *last >= round => {
                *at = position.min(*at);
                let at = *at;
                // Those before it stand no further back.
                for gate in gates.iter_mut() {
                    gate.0 = gate.0.min(at);
                }
                false
            }
            _ => {
                gates.push_back((position, round));
                true
            }
        }
    }

    /// Opens the gates of all rounds up to `round`.
    pub(crate) fn open_gates(&mut self, round: u64) {
        let Some(extra) = &mut self.extra else { return };
        while extra.gates.front().is_some_and(|gate| gate.1 <= round) {
            extra.gates.pop_front();
        }
        if extra.is_empty() {
            self.extra = None;
        }
    }

    /// Position in `bytes` up to which all may be written.
    #[inline]
    fn gate(&self) -> usize {
        let gate = self.extra.as_ref().and_then(|extra| extra.gates.front());
        gate.map_or(self.bytes.len(), |gate| gate.0)
    }

    /// Appends the payload of `message` without copying it.
    pub(crate) fn push_payload(&mut self, message: &Arc<Message>) {
        let extra = self.extra.get_or_insert_default();
        extra.len += message.payload().len();
        extra
            .payloads
            .push_back((self.bytes.len(), Arc::clone(message)));
    }

    /// What may be written of the waiting bytes as slices for one `writev`, in order; returns how many were
    /// filled.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut put = |slice: &'a [u8]| {
            if !slice.is_empty() && filled < into.len() {
                into[filled] = IoSlice::new(slice);
                filled += 1;
            }
        };
        let mut at = self.start;
        let gate = self.gate();
        if let Some(extra) = &self.extra {
            let mut skip = extra.start;
            for (position, message) in &extra.payloads {
                if *position > gate {
                    break;
                }
                put(&self.bytes[at..*position]);
                put(&message.payload()[skip..]);
                skip = 0;
                at = *position;
            }
        }
        put(&self.bytes[at..gate]);
        filled
    }

    /// The first bytes that may be written, for transports that transform what they send.
    pub fn front(&self) -> &[u8] {
        let gate = self.gate();
        let first = self.extra.as_ref().and_then(|extra| {
            let (position, message) = extra.payloads.front()?;
            (*position <= gate).then_some((*position, message, extra.start))
        });
        match first {
            Some((position, message, skip)) if position == self.start => &message.payload()[skip..],
            Some((position, ..)) => &self.bytes[self.start..position],
            None => &self.bytes[self.start..gate],
        }
    }

    /// Marks `n` bytes as written.
    ///
    /// # Panics
    /// When `n` is more than [`OutBuf::len`].
    pub fn advance(&mut self, mut n: usize) {
        while let Some(extra) = &mut self.extra {
            let Some((position, message)) = extra.payloads.front() else {
                break;
            };
            let before = position - self.start;
            if n < before {
                break;
            }
            let left = message.payload().len() - extra.start;
            let taken = (n - before).min(left);
            if taken < left {
                self.start = *position;
                extra.start += taken;
                extra.len -= taken;
                return;
            }
            self.start = *position;
            n -= before + taken;
            extra.len -= taken;
            extra.start = 0;
            extra.payloads.pop_front();
            if extra.is_empty() {
                self.extra = None;
            }
        }
        self.start += n;
        assert!(
            self.start <= self.bytes.len(),
            "no more is written than was waiting"
        );
        if self.start == self.bytes.len() && self.extra.is_none() {
            self.release();
        } else if self.start > 65536 && self.start > self.bytes.len() / 2 {
            self.compact();
        }
    }

    /// Empties the buffer. A busy connection keeps its own, so that it does not allocate each round; a
    /// small one is made again in no time, and an idle connection is to hold nothing.
    fn release(&mut self) {
        self.start = 0;
        if !(256..=65536).contains(&self.bytes.capacity()) {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }

    /// Gives back the memory of a connection that has been quiet.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.start = 0;
        }
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.start);
        if let Some(extra) = &mut self.extra {
            for (position, _) in &mut extra.payloads {
                *position -= self.start;
            }
            for (position, _) in &mut extra.gates {
                *position -= self.start;
            }
        }
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emqttd_mqtt::QoS;
    use emqttd_session::MessageParts;
    use proptest::prelude::*;

    fn message(payload: &[u8]) -> Arc<Message> {
        let parts = MessageParts {
            topic: "t",
            properties: b"",
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
        };
        Arc::new(Message::new(parts, None, 0, u64::MAX))
    }

    /// Writes up to `most` bytes, as one of the two kinds of transport does.
    fn take(out: &mut OutBuf, vectored: bool, most: usize) -> Vec<u8> {
        let taken: Vec<u8> = if vectored {
            let mut slices = [IoSlice::new(&[]); 3];
            let n = out.slices(&mut slices);
            let bytes = slices[..n].iter().flat_map(|s| s.iter().copied());
            bytes.take(most).collect()
        } else {
            out.front().iter().copied().take(most).collect()
        };
        out.advance(taken.len());
        taken
    }

    proptest! {
        /// Pieces with gates before some of them; rounds become durable one after the other.
        #[test]
        fn nothing_passes_a_closed_gate(
            pieces in proptest::collection::vec((any::<bool>(), 0u64..3, 1usize..50), 1..30),
            steps in proptest::collection::vec((any::<bool>(), 1usize..70), 0..200),
        ) {
            let mut out = OutBuf::default();
            let (mut want, mut limits, mut round) = (Vec::new(), Vec::new(), 1);
            for (n, (share, more, len)) in pieces.into_iter().enumerate() {
                if more > 0 {
                    round += more - 1;
                    let position = out.end();
                    out.close_gate(position, round);
                    limits.push((want.len(), round));
                }
                let piece = vec![n as u8; len];
                want.extend_from_slice(&piece);
                // A payload always has the head of its packet before it.
                let head = if share { 1 } else { len };
                out.bytes().extend_from_slice(&piece[..head]);
                if share && len > 1 { out.push_payload(&message(&piece[1..])) }
            }
            let mut got = Vec::new();
            let mut durable = 0;
            for (vectored, most) in steps.into_iter().chain(std::iter::repeat_n((false, 1000), 200)) {
                let limit = limits.iter().find(|(_, round)| *round > durable).map_or(want.len(), |l| l.0);
                prop_assert_eq!(out.is_ready(), got.len() < limit);
                prop_assert_eq!(out.ready_len(), limit - got.len());
                if !out.is_ready() {
                    durable += 1;
                    out.open_gates(durable);
                    continue;
                }
                got.extend(take(&mut out, vectored, most));
                prop_assert!(got.len() <= limit);
            }
            prop_assert_eq!(got, want);
            prop_assert!(out.is_empty());
        }

        #[test]
        fn hands_out_what_was_put_in(
            pieces in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..20),
            steps in proptest::collection::vec((any::<bool>(), 1usize..40), 0..200),
        ) {
            let mut out = OutBuf::default();
            let mut want = Vec::new();
            for (share, piece) in &pieces {
                want.extend_from_slice(piece);
                if *share { out.push_payload(&message(piece)) } else { out.bytes().extend_from_slice(piece) }
            }
            prop_assert_eq!(out.len(), want.len());
            let mut got = Vec::new();
            for (vectored, most) in steps.into_iter().chain(std::iter::repeat_n((false, 1000), 100)) {
                if out.is_empty() { break }
                got.extend(take(&mut out, vectored, most));
                // A payload may be empty; the buffer then has nothing in front of it.
                if out.front().is_empty() { out.advance(0) }
            }
            prop_assert_eq!(got, want);
        }
    }
}
