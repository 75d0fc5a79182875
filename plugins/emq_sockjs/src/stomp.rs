//! The application: the messages of a session, put together, are the bytes of a STOMP connection.

use crate::sockjs::frame::{Close, surrogate};
use crate::sockjs::server::{Application, Refusal};
use crate::sockjs::session::Socket;
use bytes::{Bytes, BytesMut};
use emq_stomp::connection::{End, FrameReader, FrameWriter, Mode, serve};
use emq_stomp::settings::{Settings, Shared};
use emqttd_plugin_sdk::{Context, Metric, PeerInfo};
use std::io;
use std::sync::Arc;

/// Each byte of a frame may take that much as JSON: `\u0001`.
const ESCAPED: usize = 6;
/// Clients put frames that wait into one request.
const MORE_FRAMES: usize = 128 * 1024;

/// Serves STOMP in every session.
pub struct Stomp {
    ctx: Context,
    settings: Shared<Settings>,
    /// sessions for which there was no place
    full: Metric,
    /// requests of pages that may not connect
    origins: Metric,
}

impl Stomp {
    /// With the settings of STOMP, which may change.
    pub fn new(ctx: &Context, settings: Shared<Settings>) -> Stomp {
        Stomp {
            ctx: ctx.clone(),
            settings,
            full: ctx.metric("sessions/refused"),
            origins: ctx.metric("origins/refused"),
        }
    }
}

impl Application for Stomp {
    fn open(&self, socket: Socket, peer: &PeerInfo) {
        let socket = Arc::new(socket);
        let reader = Reader {
            socket: Arc::clone(&socket),
            half: None,
        };
        self.ctx.spawn(serve(
            self.ctx.clone(),
            peer.clone(),
            Arc::clone(&self.settings),
            Mode::SockJs,
            reader,
            Writer(socket),
        ));
    }

    fn max_payload(&self) -> usize {
        let limits = self.settings.load().limits;
        limits
            .max_headers
            .saturating_mul(limits.max_header_length)
            .saturating_add(limits.max_body_length)
            .saturating_mul(ESCAPED)
            .saturating_add(MORE_FRAMES)
    }

    fn refused(&self, why: Refusal) {
        match why {
            Refusal::Full => self.full.inc(),
            Refusal::Origin => self.origins.inc(),
        }
    }

    fn protocols(&self) -> &'static [&'static str] {
        &["v12.stomp", "v11.stomp", "v10.stomp"]
    }
}

/// What the client says.
struct Reader {
    socket: Arc<Socket>,
    /// the first half of a surrogate pair that a message ended with: clients cut long frames anywhere
    half: Option<u16>,
}

impl FrameReader for Reader {
    async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let before = into.len();
        while into.len() == before {
            let Some(message) = self.socket.recv().await else {
                break;
            };
            match self.socket.carries_bytes() {
                true => into.extend_from_slice(&message),
                false => self.append(&message, into),
            }
        }
        Ok(into.len() - before)
    }
}

impl Reader {
    /// Appends a message as UTF-8: a pair whose halves are in two messages is one character, half a pair alone is
    /// U+FFFD.
    fn append(&mut self, mut message: &[u8], into: &mut BytesMut) {
        if message.is_empty() {
            return;
        }
        if let Some(high) = self.half.take() {
            let low = message.get(..3).and_then(surrogate);
            let low = low.filter(|unit| *unit >= 0xdc00);
            let units = [Some(high), low].into_iter().flatten();
            for character in char::decode_utf16(units) {
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            message = match low {
                Some(_) => &message[3..],
                None => message,
            };
        }
        let last = message.len().saturating_sub(3);
        if let Some(high) = surrogate(&message[last..]).filter(|unit| *unit < 0xdc00) {
            self.half = Some(high);
            message = &message[..last];
        }
        match std::str::from_utf8(message) {
            Ok(text) => into.extend_from_slice(text.as_bytes()),
            Err(_) => append_mended(message, into),
        }
    }
}

/// Appends text with a U+FFFD for each half of a surrogate pair.
fn append_mended(text: &[u8], into: &mut BytesMut) {
    let mut rest = text;
    while !rest.is_empty() {
        let size = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            Err(error) => error.valid_up_to(),
        };
        into.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        if !rest.is_empty() {
            into.extend_from_slice("\u{fffd}".as_bytes());
            let broken = match rest.get(..3).and_then(surrogate) {
                Some(_) => 3,
                None => 1,
            };
            rest = &rest[broken..];
        }
    }
}

/// What the client is told.
struct Writer(Arc<Socket>);

impl FrameWriter for Writer {
    async fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            // A message for each frame: some clients expect that.
            let parts = Parts::of(rest);
            let frame = &rest[..parts.end];
            let message = match self.0.carries_bytes() || std::str::from_utf8(frame).is_ok() {
                true => Bytes::copy_from_slice(frame),
                false => as_text(frame, &parts),
            };
            if !self.0.send(message).await {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            rest = &rest[parts.end..];
        }
        Ok(())
    }

    async fn close(&mut self, end: End) {
        self.0.close(match end {
            End::ProtocolError => Close::new(500, "Internal Error!"),
            End::Normal | End::Closed(_) => Close::GO_AWAY,
        });
    }
}

/// Where the parts of a frame are that the engine has written.
struct Parts {
    /// of the value of content-length
    length: Option<(usize, usize)>,
    body: usize,
    /// with the NUL
    end: usize,
}

impl Parts {
    /// Of the first frame.
    fn of(frames: &[u8]) -> Parts {
        const NAME: &[u8] = b"content-length:";
        let mut parts = Parts {
            length: None,
            body: frames.len(),
            end: frames.len(),
        };
        let mut at = 0;
        while let Some(size) = memchr::memchr(b'\n', &frames[at..]) {
            let line = &frames[at..at + size];
            if line.starts_with(NAME) && parts.length.is_none() {
                parts.length = Some((at + NAME.len(), at + size));
            }
            at += size + 1;
            // The LF of a heart-beat is an empty line before a frame.
            if line.is_empty() && at > 1 {
                parts.body = at;
                break;
            }
        }
        let length = parts.length.and_then(|(from, to)| {
            let digits = std::str::from_utf8(&frames[from..to]).ok()?;
            digits.parse::<usize>().ok()
        });
        let nul = match length {
            Some(length) => parts.body.saturating_add(length),
            None => {
                let body = &frames[parts.body..];
                parts.body + memchr::memchr(0, body).unwrap_or(body.len())
            }
        };
        parts.end = frames.len().min(nul.saturating_add(1));
        parts
    }
}

/// A frame whose body is not text, which a browser could not be given: with U+FFFD for what is none, and with
/// the length that it then has.
fn as_text(frame: &[u8], parts: &Parts) -> Bytes {
    let Some((from, to)) = parts.length else {
        return String::from_utf8_lossy(frame).into_owned().into();
    };
    let nul = frame.len() - 1;
    let body = String::from_utf8_lossy(&frame[parts.body.min(nul)..nul]);
    let head = String::from_utf8_lossy(&frame[..from]);
    let rest = String::from_utf8_lossy(&frame[to..parts.body.min(nul)]);
    format!("{head}{}{rest}{body}\0", body.len()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sockjs::frame::messages;
    use crate::sockjs::session::{Limits, Session};
    use proptest::prelude::*;
    use std::time::Duration;

    fn session(bytes: bool) -> (Arc<Session>, Arc<Socket>) {
        let limits = Limits {
            heartbeat: Duration::from_secs(25),
            disconnect: Duration::from_secs(5),
            queue: 100_000,
        };
        let (session, socket) = Session::open(limits, bytes);
        (session, Arc::new(socket))
    }

    async fn read(payload: &str) -> String {
        let (session, socket) = session(false);
        session.deliver(messages(payload.as_bytes()).unwrap()).await;
        session.end(Close::GO_AWAY);
        let mut reader = Reader { socket, half: None };
        let mut bytes = BytesMut::new();
        while reader.read(&mut bytes).await.unwrap() > 0 {}
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn messages_are_pieces_of_the_stream() {
        assert_eq!(read(r#"["SEND\n", "", "\n\u0000"]"#).await, "SEND\n\n\0");
        assert_eq!(read(r#"["a\ud83d", "\ude00b"]"#).await, "a\u{1f600}b");
        assert_eq!(
            read(r#"["\ud83d", "\ude00\ud83d", "\ude00"]"#).await,
            "\u{1f600}\u{1f600}"
        );
        assert_eq!(read(r#"["\ud83d", "b"]"#).await, "\u{fffd}b");
        assert_eq!(
            read(r#"["\ud83d", "\ud83d", "\ude00"]"#).await,
            "\u{fffd}\u{1f600}"
        );
        assert_eq!(
            read(r#"["\ude00a\ud83db\ude00"]"#).await,
            "\u{fffd}a\u{fffd}b\u{fffd}"
        );
    }

    async fn written(bytes: bool, frames: &[u8]) -> Vec<Bytes> {
        let (session, socket) = session(bytes);
        let mut writer = Writer(socket);
        writer.write(frames).await.unwrap();
        writer.close(End::Normal).await;
        assert!(writer.write(b"lost").await.is_err());
        let mut receiver = session.attach();
        receiver.frame().await;
        match receiver.frame().await {
            crate::sockjs::frame::Frame::Messages(messages) => messages,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn each_frame_is_a_message() {
        let frames = b"RECEIPT\nreceipt-id:1\n\n\0MESSAGE\ncontent-length:3\n\na\0b\0ERROR\n\nx\0";
        let messages = written(false, frames).await;
        let expected: [&[u8]; 3] = [
            b"RECEIPT\nreceipt-id:1\n\n\0",
            b"MESSAGE\ncontent-length:3\n\na\0b\0",
            b"ERROR\n\nx\0",
        ];
        assert_eq!(messages, expected);
        assert_eq!(written(false, b"\n").await, ["\n"]);
        assert_eq!(written(false, b"\nERROR\n\nx\0").await, ["\nERROR\n\nx\0"]);
    }

    #[tokio::test]
    async fn what_is_no_text() {
        let frame = b"MESSAGE\ncontent-length:3\nx:y\n\n\xff\0b\0";
        assert_eq!(written(true, frame).await, [&frame[..]]);
        let text = "MESSAGE\ncontent-length:5\nx:y\n\n\u{fffd}\0b\0";
        assert_eq!(written(false, frame).await, [text]);
        assert_eq!(written(false, b"X\n\n\xff\0").await, ["X\n\n\u{fffd}\0"]);
    }

    proptest! {
        #[test]
        fn any_frames_come_to_an_end(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let parts = Parts::of(rest);
                prop_assert!(parts.end > 0);
                let text = as_text(&rest[..parts.end], &parts);
                prop_assert!(std::str::from_utf8(&text).is_ok());
                rest = &rest[parts.end..];
            }
        }

        #[test]
        fn any_message_becomes_text(bytes: Vec<u8>) {
            let mut text = BytesMut::new();
            append_mended(&bytes, &mut text);
            prop_assert!(std::str::from_utf8(&text).is_ok());
        }
    }
}
