//! WebSockets: with frames of SockJS, or with the bare messages.

use super::frame::{Close, Frame, Refused, messages_or_one};
use super::hixie::{self, Keys};
use super::reply::{Reply, empty, not_allowed, set, text};
use super::session::{Receiver, Session};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, StatusCode, Version};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// How long the peer's answer to a close frame is waited for.
const PARTING: Duration = Duration::from_secs(2);
/// How long the last part of an old handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);
const KEY_1: HeaderName = HeaderName::from_static("sec-websocket-key1");
const KEY_2: HeaderName = HeaderName::from_static("sec-websocket-key2");

/// What is spoken through a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 6455
    Rfc,
    /// the one before it
    Hixie(Keys),
}

/// The answer to a request for a WebSocket: 101, or why not. `secure`: the connection has TLS.
///
/// # Errors
/// When it asks for no WebSocket, or for one that is not spoken here.
pub fn accept<B>(
    request: &Request<B>,
    protocols: &[&'static str],
    secure: bool,
) -> Result<(Reply, Dialect), Box<Reply>> {
    if request.method() != Method::GET {
        return Err(Box::new(not_allowed("GET")));
    }
    let headers = request.headers();
    let bad = |why: &'static str| Err(Box::new(text(StatusCode::BAD_REQUEST, why)));
    if !has_token(headers, &UPGRADE, "websocket") {
        return bad("Can \"Upgrade\" only to \"WebSocket\".");
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return bad("\"Connection\" must be \"Upgrade\".");
    }
    if request.version() != Version::HTTP_11 {
        return bad("HTTP/1.1 is expected.");
    }
    let mut reply = empty(StatusCode::SWITCHING_PROTOCOLS);
    set(&mut reply, UPGRADE, "websocket");
    set(&mut reply, CONNECTION, "Upgrade");
    let offered = |protocol: &&&str| has_token(headers, &SEC_WEBSOCKET_PROTOCOL, protocol);
    if let Some(protocol) = protocols.iter().find(offered) {
        set(&mut reply, SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    // 7 and 8 are drafts of 13 with the same frames.
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    if version.is_none()
        && let (Some(first), Some(second)) = (headers.get(KEY_1), headers.get(KEY_2))
    {
        let Some(keys) = Keys::read(first.as_bytes(), second.as_bytes()) else {
            return bad("\"Sec-WebSocket-Key1\" or \"Sec-WebSocket-Key2\" is wrong.");
        };
        where_it_is(&mut reply, request, secure);
        return Ok((reply, Dialect::Hixie(keys)));
    }
    if !version.is_some_and(|version| [&b"13"[..], b"8", b"7"].contains(&version.as_bytes())) {
        let mut reply = empty(StatusCode::UPGRADE_REQUIRED);
        set(&mut reply, SEC_WEBSOCKET_VERSION, "13, 8, 7");
        return Err(Box::new(reply));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else {
        return bad("\"Sec-WebSocket-Key\" is missing.");
    };
    let Ok(answer) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) else {
        return bad("\"Sec-WebSocket-Key\" is wrong.");
    };
    reply.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, answer);
    Ok((reply, Dialect::Rfc))
}

/// By these an old client sees that the answer is for it.
fn where_it_is<B>(reply: &mut Reply, request: &Request<B>, secure: bool) {
    let headers = request.headers();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let scheme = if secure { "wss" } else { "ws" };
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    let location = format!("{scheme}://{}{path}", host.unwrap_or_default());
    if let Ok(location) = HeaderValue::try_from(location) {
        let name = HeaderName::from_static("sec-websocket-location");
        reply.headers_mut().insert(name, location);
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let name = HeaderName::from_static("sec-websocket-origin");
        reply.headers_mut().insert(name, origin.clone());
    }
}

/// Whether a header is a list that has the word in it.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Carries a session, which nobody else receives, until it or the connection ends. `raw`: without frames of SockJS.
/// Messages have `most` bytes at the most.
pub async fn carry<S>(
    mut stream: S,
    dialect: Dialect,
    session: &Session,
    receiver: Receiver,
    raw: bool,
    most: usize,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match dialect {
        Dialect::Rfc => {
            let config = WebSocketConfig::default()
                .max_message_size(Some(most))
                .max_frame_size(Some(most))
                .read_buffer_size(8 * 1024);
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
            let (sink, source) = socket.split();
            exchange(sink, source, session, receiver, raw, true).await;
        }
        Dialect::Hixie(keys) => {
            let answered = tokio::time::timeout(HANDSHAKE, keys.answer(&mut stream)).await;
            if let Ok(Ok(())) = answered {
                let (sink, source) = hixie::messages(stream, most);
                exchange(pin!(sink), pin!(source), session, receiver, raw, false).await;
            }
        }
    }
}

/// `pings`: the peer answers them.
async fn exchange<O, I, E>(
    mut sink: O,
    mut source: I,
    session: &Session,
    mut receiver: Receiver,
    raw: bool,
    pings: bool,
) where
    O: Sink<Message> + Unpin,
    I: Stream<Item = Result<Message, E>> + Unpin,
{
    // What has come since the last ping.
    let heard = pings.then(|| AtomicBool::new(true));
    let ended = tokio::select! {
        ended = take(&mut source, session, raw, heard.as_ref()) => Ok(ended),
        ended = give(&mut sink, &mut receiver, raw, heard.as_ref()) => ended,
    };
    receiver.detach();
    session.end(Close::INTERRUPTED);
    // A sink that has failed may not be written to again.
    let Ok(ended) = ended else { return };
    let parting = async {
        let frame = ended.map(|close| CloseFrame {
            code: CloseCode::from(close.code),
            reason: Utf8Bytes::from(close.reason.as_ref()),
        });
        let told = match frame {
            // There may have been a close frame already.
            None if pings => sink.close().await,
            frame => sink.send(Message::Close(frame)).await,
        };
        if told.is_err() {
            return;
        }
        while let Some(Ok(_)) = source.next().await {}
    };
    let _ = tokio::time::timeout(PARTING, parting).await;
}

/// Takes what comes, until the peer ends or breaks the rules: then the answer is what it is told.
async fn take<I, E>(
    source: &mut I,
    session: &Session,
    raw: bool,
    heard: Option<&AtomicBool>,
) -> Option<Close>
where
    I: Stream<Item = Result<Message, E>> + Unpin,
{
    loop {
        let message = source.next().await?.ok()?;
        if let Some(heard) = heard {
            heard.store(true, Ordering::Relaxed);
        }
        let messages = match message {
            Message::Text(text) if text.is_empty() => continue,
            Message::Text(text) if raw => Ok(vec![Bytes::from(text)]),
            Message::Text(text) => messages_or_one(&text),
            Message::Binary(bytes) if raw => Ok(vec![bytes]),
            Message::Binary(_) => Err(Refused::Broken),
            Message::Close(_) => return None,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        match messages {
            Ok(messages) => session.deliver(messages).await,
            Err(_) => return Some(Close::new(3000, "Broken framing.")),
        }
    }
}

/// Sends the frames of the session, until it is over or the peer is silent.
///
/// # Errors
/// When the peer takes nothing more.
async fn give<O>(
    sink: &mut O,
    receiver: &mut Receiver,
    raw: bool,
    heard: Option<&AtomicBool>,
) -> Result<Option<Close>, O::Error>
where
    O: Sink<Message> + Unpin,
{
    loop {
        let frame = receiver.frame().await;
        match &frame {
            Frame::Open if raw => continue,
            Frame::Messages(messages) if raw => {
                for message in messages {
                    sink.feed(bare(message)).await?;
                }
                sink.flush().await?;
            }
            Frame::Heartbeat => {
                // Nothing since the last one, not even the answer to the ping.
                if heard.is_some_and(|heard| !heard.swap(false, Ordering::Relaxed)) {
                    return Ok(None);
                }
                if !raw {
                    sink.feed(line(&frame)).await?;
                }
                sink.send(Message::Ping(Bytes::new())).await?;
            }
            Frame::Close(close) if raw => {
                // Codes below 1000 are none of WebSockets.
                let code = if close.code < 1000 { 1011 } else { close.code };
                return Ok(Some(Close {
                    code,
                    reason: close.reason.clone(),
                }));
            }
            Frame::Close(_) => {
                sink.send(line(&frame)).await?;
                return Ok(Some(Close::new(1000, "Normal closure")));
            }
            Frame::Open | Frame::Messages(_) => sink.send(line(&frame)).await?,
        }
    }
}

fn line(frame: &Frame) -> Message {
    // It is text always; if it were not, it would not be sent.
    Message::Text(Utf8Bytes::try_from(Bytes::from(frame.text())).unwrap_or_default())
}

/// A message without a frame: text when it is text.
fn bare(message: &Bytes) -> Message {
    match Utf8Bytes::try_from(message.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::Limits;
    use super::*;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    /// Says nothing and takes nothing.
    struct Gone;

    impl AsyncRead for Gone {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Gone {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_told_nothing_more() {
        let limits = Limits {
            heartbeat: Duration::from_secs(25),
            disconnect: Duration::from_secs(5),
            queue: 1024,
        };
        let (session, socket) = Session::open(limits, false);
        let (sink, source) = hixie::messages(Gone, 100);
        let receiver = session.attach();
        exchange(pin!(sink), pin!(source), &session, receiver, false, false).await;
        assert_eq!(socket.recv().await, None);
    }
}
