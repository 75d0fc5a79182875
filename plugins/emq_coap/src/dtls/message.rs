//! Handshake messages (RFC 6347, 4.2; RFC 5246, 7.4): reading those of a client, writing ours, in fragments.

use super::suite::HEADER as RECORD_HEADER;

/// Type, length, number, offset and length of the fragment.
pub(super) const HEADER: usize = 12;
/// Longest message that is taken, bytes: a chain of certificates.
const LONGEST: usize = 16 * 1024;
/// Messages that are put together at once.
const AT_ONCE: u16 = 4;
/// Bytes of all of them.
const ALL: usize = 20 * 1024;

/// Types of messages.
pub(super) mod kind {
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    pub const CERTIFICATE_REQUEST: u8 = 13;
    pub const SERVER_HELLO_DONE: u8 = 14;
    pub const CERTIFICATE_VERIFY: u8 = 15;
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub const FINISHED: u8 = 20;
}

/// What is left of some bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u24(&mut self) -> Option<usize> {
        let [a, b, c] = self.array()?;
        usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()
    }

    /// A vector with a length of one byte, and so on.
    pub fn vec8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.bytes(len.into())
    }

    pub fn vec16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.bytes(len.into())
    }

    pub fn vec24(&mut self) -> Option<&'a [u8]> {
        let len = self.u24()?;
        self.bytes(len)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Numbers of two bytes, one behind the other.
fn numbers(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

/// A piece of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    pub kind: u8,
    /// bytes of the whole message
    pub len: usize,
    pub number: u16,
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The next one of a record.
    pub fn read(reader: &mut Reader<'a>) -> Option<Fragment<'a>> {
        let (kind, len, number) = (reader.u8()?, reader.u24()?, reader.u16()?);
        let offset = reader.u24()?;
        let bytes = reader.vec24()?;
        (offset + bytes.len() <= len).then_some(Fragment {
            kind,
            len,
            number,
            offset,
            bytes,
        })
    }

    /// The message's body, if this is all of it.
    pub fn whole(&self) -> Option<&'a [u8]> {
        (self.bytes.len() == self.len).then_some(self.bytes)
    }
}

/// Puts a client's messages together, in their order.
#[derive(Debug)]
pub(super) struct Assembly {
    /// of the message that is wanted
    next: u16,
    messages: Vec<Partial>,
}

#[derive(Debug)]
struct Partial {
    number: u16,
    kind: u8,
    body: Vec<u8>,
    /// which bytes of the body have come
    come: Vec<bool>,
    missing: usize,
}

/// A message as it counts for the transcript, and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub kind: u8,
    /// header and body, as if it had come in one piece
    pub bytes: Vec<u8>,
}

impl Whole {
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }
}

impl Assembly {
    /// `next` is the number of the first message wanted.
    pub fn new(next: u16) -> Assembly {
        Assembly {
            next,
            messages: Vec::new(),
        }
    }

    /// Forgets what has come of messages that are not whole, or not due.
    pub fn clear(&mut self) {
        self.messages.clear();
    }

    /// Takes a fragment. What is old, too far ahead, too long, or contradicts what has come says nothing.
    pub fn push(&mut self, fragment: &Fragment<'_>) {
        let ahead = fragment.number.wrapping_sub(self.next);
        let room = ALL.saturating_sub(self.messages.iter().map(|m| m.body.len()).sum());
        if ahead >= AT_ONCE || fragment.len > LONGEST {
            return;
        }
        let known = self
            .messages
            .iter()
            .position(|m| m.number == fragment.number);
        let at = match known {
            Some(at) => at,
            None if fragment.len > room => return,
            None => {
                self.messages.push(Partial {
                    number: fragment.number,
                    kind: fragment.kind,
                    body: vec![0; fragment.len],
                    come: vec![false; fragment.len],
                    missing: fragment.len,
                });
                self.messages.len() - 1
            }
        };
        let message = &mut self.messages[at];
        if message.kind != fragment.kind || message.body.len() != fragment.len {
            return;
        }
        for (i, byte) in fragment.bytes.iter().enumerate() {
            // The fragment lies within the message.
            let at = fragment.offset + i;
            if !message.come[at] {
                message.come[at] = true;
                message.body[at] = *byte;
                message.missing -= 1;
            }
        }
    }

    /// The message that is wanted, once it is whole; then the next one is wanted.
    pub fn pop(&mut self) -> Option<Whole> {
        let next = self.next;
        let is_next = |message: &Partial| message.number == next && message.missing == 0;
        let at = self.messages.iter().position(is_next)?;
        let message = self.messages.swap_remove(at);
        self.next = self.next.wrapping_add(1);
        Some(Whole {
            kind: message.kind,
            bytes: write(message.kind, message.number, &message.body),
        })
    }
}

/// A message in one piece.
pub(super) fn write(kind: u8, number: u16, body: &[u8]) -> Vec<u8> {
    // Bodies are shorter than 16 MB: ours by far, those of clients by their own length of 24 bits.
    let len = (body.len() as u32).to_be_bytes();
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.push(kind);
    message.extend_from_slice(&len[1..]);
    message.extend_from_slice(&number.to_be_bytes());
    message.extend_from_slice(&[0; 3]);
    message.extend_from_slice(&len[1..]);
    message.extend_from_slice(body);
    message
}

/// The message in fragments of at most so many bytes each, headers included.
pub(super) fn fragments(message: &[u8], most: usize) -> Vec<Vec<u8>> {
    let (header, body) = message.split_at(HEADER.min(message.len()));
    let piece = most.saturating_sub(HEADER).max(1);
    let count = body.len().div_ceil(piece).max(1);
    let mut fragments = Vec::with_capacity(count);
    for n in 0..count {
        let offset = n * piece;
        let part = &body[offset..body.len().min(offset + piece)];
        let mut fragment = header.to_vec();
        fragment.truncate(6);
        fragment.extend_from_slice(&(offset as u32).to_be_bytes()[1..]);
        fragment.extend_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
        fragment.extend_from_slice(part);
        fragments.push(fragment);
    }
    fragments
}

/// Appends bytes with their length before them, in one, two or three bytes.
pub(super) fn put_vec(out: &mut Vec<u8>, bytes_of_len: usize, bytes: &[u8]) {
    let len = (bytes.len() as u32).to_be_bytes();
    out.extend_from_slice(&len[4 - bytes_of_len..]);
    out.extend_from_slice(bytes);
}

/// A ClientHello, as far as we look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientHello<'a> {
    pub version: u16,
    pub random: [u8; 32],
    pub cookie: &'a [u8],
    pub suites: Vec<u16>,
    pub groups: Option<Vec<u16>>,
    pub schemes: Option<Vec<u16>>,
    pub extended_master_secret: bool,
    /// it knows RFC 5746, by the extension or by the suite that stands for it
    pub safe_renegotiation: bool,
    pub point_formats: bool,
}

/// The suite that stands for an empty renegotiation_info (RFC 5746, 3.3).
const SCSV: u16 = 0x00FF;

impl<'a> ClientHello<'a> {
    /// Reads the body of one; `None` = it is none, or says that this is no new connection.
    pub fn read(body: &'a [u8]) -> Option<ClientHello<'a>> {
        let mut reader = Reader(body);
        let version = reader.u16()?;
        let random = reader.array()?;
        let session = reader.vec8()?;
        let cookie = reader.vec8()?;
        let suites = reader.vec16()?;
        let compression = reader.vec8()?;
        if session.len() > 32 || suites.len() % 2 != 0 || !compression.contains(&0) {
            return None;
        }
        let suites = numbers(suites);
        let mut hello = ClientHello {
            version,
            random,
            cookie,
            safe_renegotiation: suites.contains(&SCSV),
            suites,
            groups: None,
            schemes: None,
            extended_master_secret: false,
            point_formats: false,
        };
        if reader.is_empty() {
            return Some(hello);
        }
        let mut extensions = Reader(reader.vec16()?);
        while !extensions.is_empty() {
            let (number, data) = (extensions.u16()?, extensions.vec16()?);
            let mut data = Reader(data);
            match number {
                10 => hello.groups = Some(numbers(data.vec16()?)),
                11 => hello.point_formats = true,
                13 => hello.schemes = Some(numbers(data.vec16()?)),
                23 => hello.extended_master_secret = true,
                0xFF01 => {
                    // There was no handshake before that it could speak of.
                    if !data.vec8()?.is_empty() {
                        return None;
                    }
                    hello.safe_renegotiation = true;
                }
                _ => {}
            }
        }
        reader.is_empty().then_some(hello)
    }

    /// The random number and the cookie, of which each piece of a hello is judged, if they are in this one.
    pub fn beginning(fragment: &Fragment<'a>) -> Option<([u8; 32], &'a [u8])> {
        let mut reader = Reader(fragment.bytes);
        if fragment.offset != 0 {
            return None;
        }
        reader.u16()?;
        let random = reader.array()?;
        reader.vec8()?;
        Some((random, reader.vec8()?))
    }

    /// The ClientHello of a datagram that begins with one: its record's number, the message and what it says.
    pub fn of_datagram(datagram: &'a [u8]) -> Option<(u64, Fragment<'a>, ClientHello<'a>)> {
        let (number, fragment) = ClientHello::piece_of(datagram)?;
        let hello = ClientHello::read(fragment.whole()?)?;
        Some((number, fragment, hello))
    }

    /// The piece of a ClientHello that a datagram begins with, and its record's number.
    pub fn piece_of(datagram: &'a [u8]) -> Option<(u64, Fragment<'a>)> {
        let mut reader = Reader(datagram);
        let header: [u8; RECORD_HEADER] = reader.array()?;
        let number = u64::from_be_bytes(header[3..11].try_into().ok()?);
        let body = reader.bytes(u16::from_be_bytes([header[11], header[12]]).into())?;
        // Handshake, any version of DTLS, epoch 0.
        if header[0] != 22 || header[1] != 0xFE || number >> 48 != 0 {
            return None;
        }
        let fragment = Fragment::read(&mut Reader(body))?;
        (fragment.kind == kind::CLIENT_HELLO).then_some((number, fragment))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn pieces(message: &[u8], most: usize) -> Vec<Vec<u8>> {
        let pieces = fragments(message, most);
        assert!(
            pieces
                .iter()
                .all(|piece| piece.len() <= most.max(HEADER + 1))
        );
        pieces
    }

    fn push(assembly: &mut Assembly, piece: &[u8]) {
        assembly.push(&Fragment::read(&mut Reader(piece)).unwrap());
    }

    #[test]
    fn fragments_come_together_in_any_order() {
        let body: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for (most, reversed) in [(100, false), (100, true), (5000, false), (0, true)] {
            let first = write(kind::CERTIFICATE, 7, &body);
            let second = write(kind::CLIENT_KEY_EXCHANGE, 8, b"key");
            let mut all = pieces(&first, most);
            all.extend(pieces(&second, most));
            if reversed {
                all.reverse();
            }
            let mut assembly = Assembly::new(7);
            for piece in all.iter().chain(&all) {
                push(&mut assembly, piece);
            }
            assert_eq!(assembly.pop().unwrap().bytes, first);
            assert_eq!(assembly.pop().unwrap().body(), b"key");
            assert_eq!(assembly.pop(), None);
            // What has been used comes no more.
            push(&mut assembly, &second);
            assert_eq!(assembly.pop(), None);
            assert!(assembly.messages.is_empty());
        }
        let empty = write(kind::CERTIFICATE, 1, b"");
        let mut assembly = Assembly::new(1);
        push(&mut assembly, &empty);
        assert_eq!(assembly.pop().unwrap().bytes, empty);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut assembly = Assembly::new(0);
        let fragment = |number, len| Fragment {
            kind: 11,
            len,
            number,
            offset: 0,
            bytes: b"x",
        };
        for number in 0..u16::MAX {
            assembly.push(&fragment(number, 16_000));
            assembly.push(&fragment(number, 4_000));
            assembly.push(&fragment(number, 4_000_000));
        }
        let kept: usize = assembly.messages.iter().map(|m| m.body.len()).sum();
        assert!(
            kept <= ALL && assembly.messages.len() <= usize::from(AT_ONCE),
            "{kept}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ClientHello::read(&bytes);
            let _ = ClientHello::of_datagram(&bytes);
            let mut reader = Reader(&bytes);
            let mut assembly = Assembly::new(0);
            while let Some(fragment) = Fragment::read(&mut reader) {
                assembly.push(&fragment);
                let _ = assembly.pop();
            }
        }
    }
}
