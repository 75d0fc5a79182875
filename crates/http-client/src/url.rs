//! URLs of services.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use std::fmt;

/// An `http:` or `https:` URL. A user name and password in it become an Authorization header.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    uri: Uri,
    login: Option<HeaderValue>,
}

/// Without user name, password and query, which may be secrets.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.uri.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, without the URL.
    pub fn parse(text: &str) -> Result<Url, String> {
        let text = text.trim();
        // What stands behind # is not for the service.
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return Err("is no URL that begins with http:// or https://".into());
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(authorization(login)?), place),
            None => (None, authority),
        };
        if place.is_empty() || place.starts_with(':') {
            return Err("is a URL without a host".into());
        }
        check_port(place)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let uri: Uri = format!("{scheme}://{place}{slash}{path}")
            .parse()
            .map_err(|error| format!("is no URL: {error}"))?;
        Ok(Url { uri, login })
    }

    /// Whether it is `https:`.
    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        host(&self.uri)
    }

    /// The port, also when it is not written.
    pub fn port(&self) -> u16 {
        port(&self.uri)
    }

    /// `http://host:port`, as written.
    fn origin(&self) -> String {
        let authority = self.uri.authority().map_or("", |found| found.as_str());
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or("http"))
    }

    /// With more behind `?`; what is there stays in front.
    ///
    /// # Errors
    /// When that becomes too long for a URL (64 KB).
    pub fn with_query(&self, query: &str) -> Result<Url, String> {
        if query.is_empty() {
            return Ok(self.clone());
        }
        let whole = match self.uri.query() {
            None => format!("{}{}?{query}", self.origin(), self.uri.path()),
            Some("") => format!("{}{}?{query}", self.origin(), self.uri.path()),
            Some(given) => format!("{}{}?{given}&{query}", self.origin(), self.uri.path()),
        };
        let uri = whole
            .parse()
            .map_err(|error| format!("cannot be asked with this query: {error}"))?;
        let login = self.login.clone();
        Ok(Url { uri, login })
    }

    /// Where a `Location` leads that this URL has answered.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn resolve(&self, location: &str) -> Result<Url, String> {
        let location = location.trim();
        let location = location.split_once('#').map_or(location, |(l, _)| l);
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let head = location.split(['/', '?']).next().unwrap_or_default();
        if head.contains(':') {
            return Url::parse(location);
        }
        if location.starts_with("//") {
            return Url::parse(&format!("{scheme}:{location}"));
        }
        let mut next = if location.starts_with('?') {
            Url::parse(&format!("{}{}{location}", self.origin(), self.uri.path()))?
        } else if location.is_empty() {
            self.clone()
        } else {
            let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
            let directory = match path.starts_with('/') {
                true => "",
                false => self.uri.path().rsplit_once('/').map_or("", |(d, _)| d),
            };
            let path = without_dots(&format!("{directory}/{}", path.trim_start_matches('/')));
            Url::parse(&format!("{}{path}{query}", self.origin()))?
        };
        next.login = self.login.clone();
        Ok(next)
    }

    /// Whether what was meant for `self` may be told to `other` as well: the same origin, or the same host
    /// that wants TLS.
    pub(crate) fn trusts(&self, other: &Url) -> bool {
        let same_host = self.host().eq_ignore_ascii_case(other.host());
        let same_origin = self.is_https() == other.is_https() && self.port() == other.port();
        let upgraded = (self.port(), other.port()) == (80, 443) && other.is_https();
        same_host && (same_origin || upgraded)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn login(&self) -> Option<&HeaderValue> {
        self.login.as_ref()
    }
}

/// Host without the brackets of IPv6.
pub(crate) fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// Port, that of the scheme where there is none.
pub(crate) fn port(uri: &Uri) -> u16 {
    let https = uri.scheme_str() == Some("https");
    uri.port_u16().unwrap_or(if https { 443 } else { 80 })
}

fn check_port(place: &str) -> Result<(), String> {
    let behind = place.rsplit_once(']').map_or(place, |(_, behind)| behind);
    match behind.split_once(':') {
        None => Ok(()),
        Some((_, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(()),
            _ => Err("is a URL without a port from 1 to 65535 behind its host".into()),
        },
    }
}

/// `Basic ...` of `user:password`, in which `%40` stands for `@`.
fn authorization(login: &str) -> Result<HeaderValue, String> {
    let mut plain = Vec::new();
    let mut bytes = login.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(|b| b.map(char::from));
                let value = |digit: Option<char>| digit.and_then(|d| d.to_digit(16));
                match digits.map(value) {
                    // Two hexadecimal digits are less than 256.
                    [Some(high), Some(low)] => (16 * high + low) as u8,
                    _ => return Err("is a URL with a % that is no %XX before its @".into()),
                }
            }
            byte => byte,
        });
    }
    if !plain.contains(&b':') {
        plain.push(b':');
    }
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain)))
        .map_err(|_| "is a URL with an impossible login".to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for part in path.split('/').skip(1) {
        ends_open = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let slash = if ends_open && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places() {
        for (text, host, port, shown) in [
            (
                "http://127.0.0.1:8080/mqtt/auth",
                "127.0.0.1",
                8080,
                "http://127.0.0.1:8080/mqtt/auth",
            ),
            (" HTTP://h?a=1#x ", "h", 80, "http://h/"),
            ("https://[::1]/a", "::1", 443, "https://[::1]/a"),
            ("https://u:p@h:1/a?token=x", "h", 1, "https://h:1/a"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(url.to_string(), shown);
        }
        for text in [
            "",
            "h",
            "127.0.0.1:80/x",
            "ftp://h/",
            "http://",
            "http:///x",
            "http://h:0/",
            "http://h:x/",
            "http://h:65536/",
            "http://h/a b",
            "http://h/\r\nX: y",
            "http://%4@h/",
            "http://[::1/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn logins() {
        let url = Url::parse("http://us%40er:p:w@h/").unwrap();
        // us@er:p:w
        assert_eq!(url.login().unwrap(), "Basic dXNAZXI6cDp3");
        assert!(url.login().unwrap().is_sensitive());
        assert!(!format!("{url} {url:?}").contains("p:w"));
        assert_eq!(Url::parse("http://h/@").unwrap().login(), None);
    }

    #[test]
    fn queries() {
        let with = |text: &str, query| {
            Url::parse(text)
                .unwrap()
                .with_query(query)
                .unwrap()
                .uri
                .to_string()
        };
        assert_eq!(with("http://h/a", "b=1"), "http://h/a?b=1");
        assert_eq!(with("http://h", "b=1"), "http://h/?b=1");
        assert_eq!(with("http://h/a?", "b=1"), "http://h/a?b=1");
        assert_eq!(with("http://h/a?k=v", "b=1"), "http://h/a?k=v&b=1");
        assert_eq!(with("http://h/a?k=v", ""), "http://h/a?k=v");
        let long = "x".repeat(100_000);
        assert!(Url::parse("http://h/").unwrap().with_query(&long).is_err());
    }

    #[test]
    fn locations() {
        let base = Url::parse("http://h:8080/a/b?x=1").unwrap();
        for (location, wanted) in [
            ("https://o/x", "https://o/x"),
            ("//o/x", "http://o/x"),
            ("/x/./y/../z?q", "http://h:8080/x/z?q"),
            ("c", "http://h:8080/a/c"),
            ("../c/", "http://h:8080/c/"),
            ("../../..", "http://h:8080/"),
            ("c?u=http://o/", "http://h:8080/a/c?u=http://o/"),
            ("?y=2", "http://h:8080/a/b?y=2"),
            ("#top", "http://h:8080/a/b?x=1"),
        ] {
            assert_eq!(
                base.resolve(location).unwrap().uri.to_string(),
                wanted,
                "{location}"
            );
        }
        for bad in ["ftp://o/", "javascript:x", "http://", "/a b"] {
            assert!(base.resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_may_be_told() {
        let told =
            |from: &str, to: &str| Url::parse(from).unwrap().trusts(&Url::parse(to).unwrap());
        assert!(told("http://h/a", "http://H:80/b"));
        assert!(told("http://h/", "https://h/"));
        assert!(!told("https://h/", "http://h/"));
        assert!(!told("http://h/", "http://o/"));
        assert!(!told("http://h/", "http://h:81/"));
        assert!(!told("http://h:8080/", "https://h:8443/"));
    }
}
