//! What waits to be written to one connection.

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
    shared: Option<Box<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// position in `bytes` before which the payload stands
    payloads: VecDeque<(usize, Arc<Message>)>,
    /// bytes of the first payload already written
    start: usize,
    len: usize,
}

impl OutBuf {
    /// Bytes waiting.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start + self.shared.as_ref().map_or(0, |shared| shared.len)
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where to append packets.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends the payload of `message` without copying it.
    pub(crate) fn push_payload(&mut self, message: &Arc<Message>) {
        let shared = self.shared.get_or_insert_with(Box::default);
        shared.len += message.payload().len();
        shared
            .payloads
            .push_back((self.bytes.len(), Arc::clone(message)));
    }

    /// The waiting bytes as slices for one `writev`, in order; returns how many were filled.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut put = |slice: &'a [u8]| {
            if !slice.is_empty() && filled < into.len() {
                into[filled] = IoSlice::new(slice);
                filled += 1;
            }
        };
        let mut at = self.start;
        if let Some(shared) = &self.shared {
            let mut skip = shared.start;
            for (position, message) in &shared.payloads {
                put(&self.bytes[at..*position]);
                put(&message.payload()[skip..]);
                skip = 0;
                at = *position;
            }
        }
        put(&self.bytes[at..]);
        filled
    }

    /// The first waiting bytes, for transports that transform what they send.
    pub fn front(&self) -> &[u8] {
        match self
            .shared
            .as_ref()
            .and_then(|shared| shared.payloads.front().map(|first| (first, shared.start)))
        {
            Some(((position, message), skip)) if *position == self.start => {
                &message.payload()[skip..]
            }
            Some(((position, _), _)) => &self.bytes[self.start..*position],
            None => &self.bytes[self.start..],
        }
    }

    /// Marks `n` bytes as written.
    ///
    /// # Panics
    /// When `n` is more than [`OutBuf::len`].
    pub fn advance(&mut self, mut n: usize) {
        while let Some(shared) = &mut self.shared {
            let Some((position, message)) = shared.payloads.front() else {
                break;
            };
            let before = position - self.start;
            if n < before {
                break;
            }
            let left = message.payload().len() - shared.start;
            let taken = (n - before).min(left);
            if taken < left {
                self.start = *position;
                shared.start += taken;
                shared.len -= taken;
                return;
            }
            self.start = *position;
            n -= before + taken;
            shared.len -= taken;
            shared.start = 0;
            shared.payloads.pop_front();
            if shared.payloads.is_empty() {
                self.shared = None;
            }
        }
        self.start += n;
        assert!(
            self.start <= self.bytes.len(),
            "no more is written than was waiting"
        );
        if self.start == self.bytes.len() && self.shared.is_none() {
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
        if let Some(shared) = &mut self.shared {
            for (position, _) in &mut shared.payloads {
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

    proptest! {
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
                let taken: Vec<u8> = if vectored {
                    let mut slices = [IoSlice::new(&[]); 3];
                    let n = out.slices(&mut slices);
                    slices[..n].iter().flat_map(|s| s.iter().copied()).take(most).collect()
                } else {
                    out.front().iter().copied().take(most).collect()
                };
                out.advance(taken.len());
                got.extend(taken);
                // A payload may be empty; the buffer then has nothing in front of it.
                if out.front().is_empty() { out.advance(0) }
            }
            prop_assert_eq!(got, want);
        }
    }
}
