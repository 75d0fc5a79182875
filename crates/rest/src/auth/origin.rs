//! Where a request comes from, as far as browsers and proxies say so.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What proxies add, beside all that begins with [`FORWARDED_BY`].
const OF_PROXIES: [&str; 8] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
];
/// `X-Forwarded-For`, `-Host`, `-Proto`, `-Port`, `-Server`, …
const FORWARDED_BY: &str = "x-forwarded";

/// Whether a browser sends it on behalf of a page that is not ours. What is no browser says nothing, and may.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        let site = headers.get(SEC_FETCH_SITE);
        return site.is_some_and(|site| matches!(site.as_bytes(), b"cross-site" | b"same-site"));
    };
    // `null` is that of a page in a sandbox, which is not ours either.
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|text| text.split_once("://"))
    else {
        return true;
    };
    let ours = [HOST, X_FORWARDED_HOST].into_iter().any(|name| {
        headers.get_all(name).iter().any(|host| {
            let host = host.to_str().unwrap_or_default();
            // Of a chain of proxies the first was nearest to the browser.
            let host = host.split(',').next().unwrap_or_default().trim();
            !host.is_empty() && same(scheme, authority, host)
        })
    });
    !ours
}

/// Browsers leave the port out when it is the scheme's own.
fn same(scheme: &str, origin: &str, host: &str) -> bool {
    let own = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(own).unwrap_or(text).to_ascii_lowercase();
    bare(origin) == bare(host)
}

/// Whether somebody asks who sits at this machine: no other address, no proxy in between, and no name that a stranger
/// could have made point here.
pub fn is_at_machine(peer: SocketAddr, headers: &HeaderMap) -> bool {
    if !peer.ip().to_canonical().is_loopback() {
        return false;
    }
    let of_proxy = |name: &HeaderName| {
        OF_PROXIES.contains(&name.as_str()) || name.as_str().starts_with(FORWARDED_BY)
    };
    if headers.keys().any(of_proxy) {
        return false;
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_here),
        _ => false,
    }
}

/// `localhost`, or an address that leads to this machine, with or without a port. Another address has brought nobody
/// here who comes from the loopback address, but by way of a proxy.
fn is_here(host: &str) -> bool {
    let own = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.is_unspecified();
    if let Ok(addr) = host.parse::<SocketAddr>() {
        return own(addr.ip());
    }
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(v6) = bracketed {
        return v6.parse().is_ok_and(|v6| own(IpAddr::V6(v6)));
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|v4| own(IpAddr::V4(v4)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn pages_of_others() {
        let foreign = |pairs: &[(&'static str, &'static str)]| is_foreign(&headers(pairs));
        assert!(!foreign(&[("host", "broker:18083")]));
        assert!(!foreign(&[
            ("host", "broker:18083"),
            ("origin", "http://broker:18083")
        ]));
        assert!(!foreign(&[("host", "Broker"), ("origin", "http://broker")]));
        assert!(!foreign(&[
            ("host", "broker:443"),
            ("origin", "https://broker")
        ]));
        assert!(!foreign(&[
            ("host", "10.0.0.1:1"),
            ("x-forwarded-host", "a.example"),
            ("origin", "https://a.example")
        ]));
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://broker",
            "http://broker:18084",
            "http://broker:18083.evil.example",
            "http://evil.example/broker:18083",
            "file://broker:18083",
            "broker:18083",
        ] {
            assert!(
                foreign(&[("host", "broker:18083"), ("origin", origin)]),
                "{origin}"
            );
        }
        assert!(foreign(&[("origin", "http://broker")]));
        assert!(foreign(&[("host", ""), ("origin", "http://")]));
        assert!(foreign(&[("host", "b"), ("sec-fetch-site", "cross-site")]));
        assert!(!foreign(&[
            ("host", "b"),
            ("sec-fetch-site", "same-origin")
        ]));
    }

    #[test]
    fn who_sits_here() {
        let at = |peer: &str, pairs: &[(&'static str, &'static str)]| {
            is_at_machine(peer.parse().unwrap(), &headers(pairs))
        };
        for host in [
            "localhost",
            "LOCALHOST:18083",
            "127.0.0.1:8080",
            "[::1]:1",
            "[::1]",
            "127.1.2.3",
            "0.0.0.0:18083",
        ] {
            assert!(at("127.0.0.1:9", &[("host", host)]), "{host}");
        }
        assert!(at("[::1]:9", &[("host", "localhost")]));
        assert!(at("[::ffff:127.0.0.1]:9", &[("host", "localhost")]));
        for host in [
            "evil.example",
            "localhost.evil.example",
            "",
            "localhost:x",
            "[::1",
            "127.0.0.1.evil",
            "::1",
            "192.0.2.1",
            "192.0.2.1:18083",
            "[2001:db8::1]:18083",
            "2130706433",
        ] {
            assert!(!at("127.0.0.1:9", &[("host", host)]), "{host}");
        }
        assert!(!at("127.0.0.1:9", &[]));
        assert!(!at(
            "127.0.0.1:9",
            &[("host", "localhost"), ("host", "evil.example")]
        ));
        assert!(!at("192.0.2.1:9", &[("host", "localhost")]));
        for proxy in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-server",
            "x-forwarded",
            "x-client-ip",
            "x-real-ip",
        ] {
            assert!(
                !at("127.0.0.1:9", &[("host", "localhost"), (proxy, "")]),
                "{proxy}"
            );
        }
    }
}
