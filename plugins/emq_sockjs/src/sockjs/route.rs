//! Which resource a path names.

/// A resource below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// The prefix itself.
    Greeting,
    /// `info`
    Info,
    /// `iframe*.html`
    Iframe,
    /// `chunking_test`
    ChunkingTest,
    /// `websocket`, without frames of SockJS
    RawWebSocket,
    /// `{server}/{session}/{action}`
    Session(&'a str, Action),
    /// None of these.
    Unknown,
}

/// What is done with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `xhr`
    Xhr,
    /// `xhr_streaming`
    XhrStreaming,
    /// `xhr_send`
    XhrSend,
    /// `eventsource`
    EventSource,
    /// `htmlfile`
    HtmlFile,
    /// `jsonp`
    Jsonp,
    /// `jsonp_send`
    JsonpSend,
    /// `websocket`
    WebSocket,
}

impl Action {
    fn named(name: &str) -> Option<Action> {
        Some(match name {
            "xhr" => Action::Xhr,
            "xhr_streaming" => Action::XhrStreaming,
            "xhr_send" => Action::XhrSend,
            "eventsource" => Action::EventSource,
            "htmlfile" => Action::HtmlFile,
            "jsonp" => Action::Jsonp,
            "jsonp_send" => Action::JsonpSend,
            "websocket" => Action::WebSocket,
            _ => return None,
        })
    }

    /// Whether it is done by POST; by GET otherwise.
    pub fn is_post(self) -> bool {
        matches!(
            self,
            Action::Xhr | Action::XhrStreaming | Action::XhrSend | Action::JsonpSend
        )
    }
}

impl Route<'_> {
    /// What follows the prefix names; `None` = the path does not begin with the prefix.
    pub fn of<'a>(path: &'a str, prefix: &str) -> Option<Route<'a>> {
        let rest = path.strip_prefix(prefix)?;
        if rest.is_empty() || rest == "/" {
            return Some(Route::Greeting);
        }
        let rest = rest.strip_prefix('/')?;
        // As with sockjs-node, one slash may end the path.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let parts: Vec<&str> = rest.splitn(4, '/').collect();
        Some(match parts[..] {
            ["info"] => Route::Info,
            ["chunking_test"] => Route::ChunkingTest,
            ["websocket"] => Route::RawWebSocket,
            [page] if is_iframe(page) => Route::Iframe,
            [server, session, action] if is_name(server) && is_name(session) => {
                match Action::named(action) {
                    Some(action) => Route::Session(session, action),
                    None => Route::Unknown,
                }
            }
            _ => Route::Unknown,
        })
    }
}

/// Server and session have any name without dots; one that nobody would choose is not kept.
fn is_name(name: &str) -> bool {
    (1..=256).contains(&name.len()) && !name.contains('.')
}

/// `iframe[0-9-.a-z_]*.html`
fn is_iframe(page: &str) -> bool {
    let version = page
        .strip_prefix("iframe")
        .and_then(|rest| rest.strip_suffix(".html"));
    version.is_some_and(|version| {
        let mut bytes = version.bytes();
        bytes.all(|byte| {
            byte.is_ascii_digit() || byte.is_ascii_lowercase() || b"-._".contains(&byte)
        })
    })
}

/// The value of a field of a query or a form, decoded.
pub fn field(query: &[u8], name: &str) -> Option<Vec<u8>> {
    query.split(|&byte| byte == b'&').find_map(|pair| {
        let mut halves = pair.splitn(2, |&byte| byte == b'=');
        let key = halves.next().unwrap_or_default();
        (decode(key) == name.as_bytes()).then(|| decode(halves.next().unwrap_or_default()))
    })
}

/// Without percent signs and plus signs.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match (byte, digit(text.get(at)), digit(text.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                at += 2;
                // Two digits are below 256.
                bytes.push((high << 4 | low) as u8);
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        fn of(path: &str) -> Option<Route<'_>> {
            Route::of(path, "/stomp")
        }
        assert_eq!(of("/stomp"), Some(Route::Greeting));
        assert_eq!(of("/stomp/"), Some(Route::Greeting));
        assert_eq!(of("/stomp/info"), Some(Route::Info));
        assert_eq!(of("/stomp/info/"), Some(Route::Info));
        assert_eq!(of("/stomp/websocket"), Some(Route::RawWebSocket));
        assert_eq!(of("/stomp/chunking_test"), Some(Route::ChunkingTest));
        for page in [
            "iframe.html",
            "iframe-.html",
            "iframe-0.1.2abc-dirty.2144.html",
        ] {
            assert_eq!(of(&format!("/stomp/{page}")), Some(Route::Iframe), "{page}");
        }
        let session = Some(Route::Session("abcdefg_i-j%20", Action::Xhr));
        assert_eq!(of("/stomp/_/abcdefg_i-j%20/xhr"), session);
        assert_eq!(of("/stomp/1/abcdefg_i-j%20/xhr/"), session);
        for other in ["", "/", "/stompx", "/stomp.html", "/index.html"] {
            assert_eq!(of(other), None, "{other}");
        }
        let long = format!("/a/{}/xhr", "x".repeat(257));
        for unknown in [
            "/a",
            "/a.html",
            "//",
            "///",
            "/a/a",
            "/a/a/",
            "/a/",
            "///xhr",
            "/a./a/xhr",
            "/a/a./xhr",
            "/././xhr",
            "//xhr",
            "////xhr",
            "/a//xhr",
            "//a/xhr",
            "/a/a/xhr/x",
            "/a/a/xhr//",
            "/a/a/unknown",
            "/a/a/XHR",
            "/iframe.htm",
            "/iframe",
            "/IFRAME.HTML",
            "/iframe.HTML",
            "/iframe.xml",
            "/iframe-/.html",
            "/iframe%.html",
            &long,
        ] {
            let path = format!("/stomp{unknown}");
            assert_eq!(of(&path), Some(Route::Unknown), "{path}");
        }
    }

    #[test]
    fn fields() {
        assert_eq!(
            field(b"c=%63allback", "c").as_deref(),
            Some(&b"callback"[..])
        );
        assert_eq!(field(b"t=1&%63=a+b%", "c").as_deref(), Some(&b"a b%"[..]));
        assert_eq!(
            field(b"d=%5B%22x%22%5D", "d").as_deref(),
            Some(&b"[\"x\"]"[..])
        );
        assert_eq!(field(b"c", "c").as_deref(), Some(&b""[..]));
        assert_eq!(field(b"callback=x", "c"), None);
        assert_eq!(field(b"", "c"), None);
    }

    proptest! {
        #[test]
        fn any_path(path: String) {
            let _ = Route::of(&path, "/stomp");
            let _ = Route::of(&format!("/stomp/{path}"), "/stomp");
        }

        #[test]
        fn any_query(query: Vec<u8>) {
            let _ = field(&query, "c");
        }
    }
}
