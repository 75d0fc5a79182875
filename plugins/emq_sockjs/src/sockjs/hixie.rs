//! WebSockets as browsers spoke them before RFC 6455: draft-ietf-hybi-thewebsocketprotocol-00, known as hixie-76. They have
//! text and an end; no pings, no reasons, no messages that are not text.

use bytes::{Buf, BytesMut};
use futures_util::{Sink, Stream, sink, stream};
use md5::{Digest, Md5};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

/// What ends a connection, in both directions.
const END: [u8; 2] = [0xff, 0];

/// The numbers of a client's handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys(u32, u32);

impl Keys {
    /// From the values of `Sec-WebSocket-Key1` and `Sec-WebSocket-Key2`.
    pub fn read(first: &[u8], second: &[u8]) -> Option<Keys> {
        Some(Keys(number(first)?, number(second)?))
    }

    /// Says, after the last eight bytes of the client's handshake, that it has been understood.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn answer<S>(self, stream: &mut S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut last = [0; 8];
        stream.read_exact(&mut last).await?;
        let mut digest = Md5::new();
        digest.update(self.0.to_be_bytes());
        digest.update(self.1.to_be_bytes());
        digest.update(last);
        stream.write_all(&digest.finalize()).await?;
        stream.flush().await
    }
}

/// The digits of a key, divided by its blanks.
fn number(key: &[u8]) -> Option<u32> {
    let mut digits = key.iter().filter(|byte| byte.is_ascii_digit());
    let digits = digits.try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })?;
    let blanks = key.iter().filter(|byte| **byte == b' ').count() as u64;
    let number = digits.checked_div(blanks)?;
    (number * blanks == digits)
        .then(|| u32::try_from(number).ok())
        .flatten()
}

/// Messages out, and messages of `most` bytes at the most in.
pub fn messages<S>(
    stream: S,
    most: usize,
) -> (
    impl Sink<Message, Error = io::Error>,
    impl Stream<Item = io::Result<Message>>,
)
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    let out = sink::unfold(writer, |mut writer, message: Message| async move {
        writer.write_all(&encode(&message)).await?;
        writer.flush().await?;
        Ok(writer)
    });
    let state = Some((reader, BytesMut::new()));
    let incoming = stream::try_unfold(state, move |state| async move {
        // Nothing follows the end.
        let Some((mut reader, mut bytes)) = state else {
            return Ok(None);
        };
        loop {
            if let Some(message) = decode(&mut bytes, most)? {
                let state = (!message.is_close()).then_some((reader, bytes));
                return Ok(Some((message, state)));
            }
            if reader.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        }
    });
    (out, incoming)
}

/// As it is written; nothing for what there is no word for.
fn encode(message: &Message) -> Vec<u8> {
    let text = match message {
        Message::Text(text) => text.as_str().into(),
        // No byte of text is the one that ends it.
        Message::Binary(bytes) => String::from_utf8_lossy(bytes),
        Message::Close(_) => return END.to_vec(),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Vec::new(),
    };
    let mut frame = Vec::with_capacity(text.len() + 2);
    frame.push(0);
    frame.extend_from_slice(text.as_bytes());
    frame.push(0xff);
    frame
}

/// Takes the message at the front; `None` = it is not whole yet.
fn decode(bytes: &mut BytesMut, most: usize) -> io::Result<Option<Message>> {
    match bytes[..] {
        [] | [0xff] => Ok(None),
        [0xff, 0, ..] => Ok(Some(Message::Close(None))),
        [0, ..] => match memchr::memchr(0xff, bytes) {
            Some(end) if end <= most + 1 => {
                let text = String::from_utf8_lossy(&bytes[1..end]).into_owned();
                bytes.advance(end + 1);
                Ok(Some(Message::text(text)))
            }
            None if bytes.len() <= most + 1 => Ok(None),
            _ => Err(io::ErrorKind::InvalidData.into()),
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn the_example_of_the_draft() {
        let keys = Keys::read(
            b"18x 6]8vM;54 *(5:  {   U1]8  z [  8",
            b"1_ tx7X d  <  nw  334J702) 7]o}` 0",
        );
        let (mut ours, mut theirs) = tokio::io::duplex(100);
        theirs.write_all(b"Tm[K T2u").await.unwrap();
        keys.unwrap().answer(&mut ours).await.unwrap();
        let mut answer = [0; 16];
        theirs.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"fQJ,fN/4F4!~K~MH");
    }

    #[test]
    fn numbers() {
        assert_eq!(number(b"4 @1  46546xW%0l 1 5"), Some(829_309_203));
        for wrong in [&b""[..], b"12", b"1 24  3", b"99999999999 9", &[b'9'; 40]] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn frames() {
        let mut bytes = BytesMut::from(&b"\0a\xff\0\xff\0b\xed\xff\0c"[..]);
        for text in ["a", "", "b\u{fffd}"] {
            assert_eq!(decode(&mut bytes, 10).unwrap(), Some(Message::text(text)));
        }
        assert_eq!(decode(&mut bytes, 10).unwrap(), None);
        assert_eq!(
            decode(&mut BytesMut::from(&b"\xff\0"[..]), 1).unwrap(),
            Some(Message::Close(None))
        );
        for wrong in [&b"\x80\x01a"[..], b"\xff\x01", b"a", b"\0abc\xff", b"\0abc"] {
            assert!(decode(&mut BytesMut::from(wrong), 2).is_err(), "{wrong:?}");
        }
        assert_eq!(
            encode(&Message::binary(&b"\xffa"[..])),
            "\0\u{fffd}a".bytes().chain([0xff]).collect::<Vec<_>>()
        );
        assert_eq!(encode(&Message::Ping(bytes::Bytes::new())), b"");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text: String) {
            let mut bytes = BytesMut::from(&encode(&Message::text(&text))[..]);
            prop_assert_eq!(decode(&mut bytes, text.len()).unwrap(), Some(Message::text(text)));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(Message::Text(_))) = decode(&mut bytes, 5) {}
        }
    }
}
