//! How frames come in responses of HTTP.

use super::frame::Frame;
use super::session::Receiver;
use bytes::Bytes;
use hyper::body::{Body, Frame as Part};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// A way to receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A frame in a response.
    Xhr,
    /// Lines.
    XhrStreaming,
    /// Server-sent events.
    EventSource,
    /// A page that never ends, with a script for each frame that calls the function.
    HtmlFile(String),
    /// A script that calls the function with one frame.
    Jsonp(String),
}

impl Transport {
    /// Of the response.
    pub fn content_type(&self) -> &'static str {
        match self {
            Transport::Xhr | Transport::XhrStreaming | Transport::Jsonp(_) => {
                "application/javascript; charset=UTF-8"
            }
            Transport::EventSource => "text/event-stream",
            Transport::HtmlFile(_) => "text/html; charset=UTF-8",
        }
    }

    /// What comes before all frames.
    fn prelude(&self) -> Option<Bytes> {
        match self {
            Transport::Xhr | Transport::Jsonp(_) => None,
            // Browsers show nothing before they have so much.
            Transport::XhrStreaming => {
                let mut prelude = vec![b'h'; 2048];
                prelude.push(b'\n');
                Some(prelude.into())
            }
            // For Opera.
            Transport::EventSource => Some(Bytes::from_static(b"\r\n")),
            Transport::HtmlFile(callback) => Some(html_prelude(callback)),
        }
    }

    /// A frame as the transport writes it.
    fn wrap(&self, frame: &Frame) -> Bytes {
        let mut text = frame.text();
        match self {
            Transport::Xhr | Transport::XhrStreaming => {
                text.push(b'\n');
                text
            }
            Transport::EventSource => {
                let mut event = b"data: ".to_vec();
                // Clients take it through decodeURI().
                percents(&text, &mut event);
                event.extend_from_slice(b"\r\n\r\n");
                event
            }
            Transport::HtmlFile(_) => {
                let mut script = b"<script>\np(".to_vec();
                script_text(&text, &mut script);
                script.extend_from_slice(b");\n</script>\r\n");
                script
            }
            Transport::Jsonp(callback) => {
                // The comment keeps the callback from being the first bytes of a file of another type.
                let mut script = format!("/**/{callback}(").into_bytes();
                script_text(&text, &mut script);
                script.extend_from_slice(b");\r\n");
                script
            }
        }
        .into()
    }

    /// Bytes after which a response ends, when streaming ones end after so many.
    fn limit(&self, streaming: usize) -> usize {
        match self {
            Transport::Xhr | Transport::Jsonp(_) => 1,
            _ => streaming,
        }
    }
}

/// A callback is a name, so that it can be nothing else.
pub fn is_callback(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed)
}

fn html_prelude(callback: &str) -> Bytes {
    let page = format!(
        r#"<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.{callback};
    c.start();
    function p(d) {{c.message(d);}};
    window.onload = function() {{c.stop();}};
  </script>"#
    );
    // Browsers run nothing before they have 1024 bytes.
    format!("{page:<1024}\r\n\r\n").into()
}

/// Appends ASCII text with percent signs as `%25`.
fn percents(text: &[u8], into: &mut Vec<u8>) {
    for (index, piece) in text.split(|&byte| byte == b'%').enumerate() {
        if index > 0 {
            into.extend_from_slice(b"%25");
        }
        into.extend_from_slice(piece);
    }
}

/// Appends the text of a frame, in which control characters are escaped already, as a string of JavaScript that may
/// stand inside of HTML.
fn script_text(text: &[u8], into: &mut Vec<u8>) {
    into.reserve(text.len() + text.len() / 8 + 2);
    into.push(b'"');
    for &byte in text {
        match byte {
            b'"' => into.extend_from_slice(b"\\\""),
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'<' => into.extend_from_slice(b"\\u003c"),
            other => into.push(other),
        }
    }
    into.push(b'"');
}

/// A body of a response.
#[derive(Debug)]
pub enum Content {
    /// All of it; `None` = has been given.
    Whole(Option<Bytes>),
    /// Frames of a session.
    Frames(Box<Frames>),
    /// Pieces at their times.
    Timed(Box<Timed>),
}

impl Content {
    /// Of these bytes.
    pub fn of(bytes: impl Into<Bytes>) -> Content {
        Content::Whole(Some(bytes.into()))
    }

    /// Nothing.
    pub fn none() -> Content {
        Content::Whole(None)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Part<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Content::Whole(bytes) => bytes.take(),
            Content::Frames(frames) => ready!(frames.poll_piece(cx)),
            Content::Timed(timed) => ready!(timed.poll_piece(cx)),
        };
        Poll::Ready(piece.map(|bytes| Ok(Part::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Frames(frames) => frames.over,
            Content::Timed(timed) => timed.pieces.is_empty(),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Content::Whole(bytes) => {
                let size = bytes.as_ref().map_or(0, Bytes::len);
                hyper::body::SizeHint::with_exact(size as u64)
            }
            _ => hyper::body::SizeHint::default(),
        }
    }
}

/// Frames of a session, each a chunk, until the response is long enough or the session is over.
#[derive(Debug)]
pub struct Frames {
    transport: Transport,
    receiver: Receiver,
    prelude: Option<Bytes>,
    /// bytes that may still come
    left: usize,
    over: bool,
}

impl Frames {
    /// For that receiver; `streaming` = bytes of a response that streams.
    pub fn new(transport: Transport, receiver: Receiver, streaming: usize) -> Frames {
        Frames {
            prelude: transport.prelude(),
            left: transport.limit(streaming),
            transport,
            receiver,
            over: false,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(prelude) = self.prelude.take() {
            return Poll::Ready(Some(prelude));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let frame = ready!(self.receiver.poll_frame(cx));
        let bytes = self.transport.wrap(&frame);
        self.left = self.left.saturating_sub(bytes.len());
        if self.left == 0 || matches!(frame, Frame::Close(_)) {
            // The client may come with its next request as soon as it has this.
            self.over = true;
            self.receiver.detach();
        }
        Poll::Ready(Some(bytes))
    }
}

/// Pieces that come at their times: by them old clients find out whether a proxy holds responses back.
#[derive(Debug)]
pub struct Timed {
    pieces: Vec<(Duration, Bytes)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    /// The pieces of `chunking_test`.
    pub fn chunking_test() -> Timed {
        let line = Bytes::from_static(b"h\n");
        let mut long = vec![b' '; 2048];
        long.extend_from_slice(b"h\n");
        let mut pieces = vec![
            (Duration::ZERO, line.clone()),
            (Duration::from_millis(1), long.into()),
        ];
        pieces.extend(
            [5, 25, 125, 625, 3125].map(|wait| (Duration::from_millis(wait), line.clone())),
        );
        pieces.reverse();
        Timed {
            pieces,
            sleep: None,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some((wait, _)) = self.pieces.last() else {
            return Poll::Ready(None);
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(*wait)));
        ready!(sleep.as_mut().poll(cx));
        self.sleep = None;
        Poll::Ready(self.pieces.pop().map(|(_, piece)| piece))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sockjs::frame::Close;

    fn wrapped(transport: &Transport, text: &'static str) -> String {
        let frame = Frame::Messages(vec![Bytes::from(text)]);
        String::from_utf8(transport.wrap(&frame).to_vec()).unwrap()
    }

    #[test]
    fn frames_of_each_transport() {
        let html = Transport::HtmlFile("cb".into());
        let jsonp = Transport::Jsonp("a.b".into());
        assert_eq!(wrapped(&Transport::Xhr, "x"), "a[\"x\"]\n");
        assert_eq!(wrapped(&Transport::XhrStreaming, "x"), "a[\"x\"]\n");
        assert_eq!(
            wrapped(&Transport::EventSource, "5%\r\n"),
            "data: a[\"5%25\\r\\n\"]\r\n\r\n"
        );
        assert_eq!(
            wrapped(&html, "x"),
            "<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n"
        );
        let tag = wrapped(&html, "</script>\n");
        assert!(tag.contains(r#"p("a[\"\u003c/script>\\n\"]");"#), "{tag}");
        assert_eq!(wrapped(&jsonp, "x"), "/**/a.b(\"a[\\\"x\\\"]\");\r\n");
        let close = jsonp.wrap(&Frame::Close(Close::GO_AWAY));
        assert_eq!(close, "/**/a.b(\"c[3000,\\\"Go away!\\\"]\");\r\n");
    }

    #[test]
    fn preludes() {
        let prelude = Transport::XhrStreaming.prelude().unwrap();
        assert_eq!((prelude.len(), prelude[2048]), (2049, b'\n'));
        assert!(prelude[..2048].iter().all(|&byte| byte == b'h'));
        assert_eq!(Transport::EventSource.prelude().unwrap(), "\r\n");
        let page = Transport::HtmlFile("callback".into()).prelude().unwrap();
        assert!(page.len() > 1024 && page.starts_with(b"<!doctype html>"));
    }

    #[test]
    fn callbacks_are_names() {
        for name in ["callback", "a.b_c-1", "_jp.a7vzw3i"] {
            assert!(is_callback(name), "{name}");
        }
        for name in ["", " ", "*", "abc(", "a;b", "ä", &"x".repeat(129)] {
            assert!(!is_callback(name), "{name}");
        }
    }
}
