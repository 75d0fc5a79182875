//! `https:`, host names and IPv6.

use super::*;
use emqttd_tests::servers::pki;
use std::net::{Ipv6Addr, ToSocketAddrs};

fn yes(_: &Received) -> Reply {
    Reply::status(200)
}

fn option(name: &str, value: &str) -> String {
    format!("auth.http.ssl_opts.{name} = {value}\n")
}

fn file(option_name: &str, name: &str) -> String {
    option(option_name, &pki::file(name).display().to_string())
}

#[test]
fn authorities_and_names() {
    let service = HttpServer::start_tls("server", false, yes);
    let misnamed = HttpServer::start_tls("misnamed", false, yes);
    let ca = file("cacertfile", "ca.crt");
    let named = option("server_name", "elsewhere.example");
    let careless = option("verify", "verify_none");
    for (service, options, codes, why) in [
        (&service, ca.clone(), ACCEPTED, ""),
        (
            &service,
            file("cacertfile", "other-ca.crt"),
            UNAVAILABLE,
            "UnknownIssuer",
        ),
        (
            &service,
            ca.clone() + &named,
            UNAVAILABLE,
            "not valid for name",
        ),
        (&misnamed, ca.clone(), UNAVAILABLE, "not valid for name"),
        (&misnamed, ca + &named, ACCEPTED, ""),
        (
            &misnamed,
            file("cacertfile", "other-ca.crt") + &careless,
            ACCEPTED,
            "",
        ),
    ] {
        let broker = broker(&(auth_only(service) + &options));
        assert_eq!(answers(&broker, "u", "p"), codes, "{options}");
        let text = auth_test(&broker, "c", "u", "p");
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn client_certificates() {
    let service = HttpServer::start_tls("server", true, yes);
    let ca = file("cacertfile", "ca.crt");
    let without = broker(&(auth_only(&service) + &ca));
    assert_eq!(answers(&without, "u", "p"), UNAVAILABLE);
    let ours = file("certfile", "client.crt") + &file("keyfile", "client.key");
    let with = broker(&(auth_only(&service) + &ca + &ours));
    assert_eq!(answers(&with, "u", "p"), ACCEPTED);
    assert_eq!(service.connections(), 1);
    // What cannot be used is said at the start.
    for broken in [
        file("certfile", "client.crt"),
        option("cacertfile", "nowhere.crt"),
        file("cacertfile", "client.key"),
    ] {
        let config = Config::with_plugin(PLUGIN, &(auth_only(&service) + &broken));
        let Err(text) = Broker::try_start(&config) else {
            panic!("started with {broken}");
        };
        assert!(text.contains("ssl_opts"), "{text}");
    }
}

/// What was asked with TLS is never asked again without.
#[test]
fn no_way_down() {
    let plain = HttpServer::start(yes);
    let place = plain.url("/auth");
    let service = HttpServer::start_tls("server", false, move |_| Reply::redirect(307, &place));
    let broker = broker(&(auth_only(&service) + &file("cacertfile", "ca.crt")));
    assert_eq!(answers(&broker, "u", "p"), UNAVAILABLE);
    assert!(auth_test(&broker, "c", "u", "p").contains("without TLS"));
    assert_eq!(plain.requests(), []);
}

/// The other way is fine.
#[test]
fn a_way_up() {
    let service = HttpServer::start_tls("server", false, yes);
    let place = service.url("/auth");
    let plain = HttpServer::start(move |_| Reply::redirect(301, &place));
    let broker = broker(&(auth_only(&plain) + &file("cacertfile", "ca.crt")));
    assert_eq!(answers(&broker, "u", "p"), ACCEPTED);
    assert_eq!(service.requests().len(), 3);
}

#[test]
fn addresses_of_both_families() {
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    let service = HttpServer::start_at(Ipv6Addr::LOCALHOST.into(), yes);
    let broker = broker(&auth_only(&service));
    assert_eq!(answers(&broker, "u", "p"), ACCEPTED);
    let came = service.requests();
    let host = format!("[::1]:{}", service.port());
    assert_eq!(came[0].header("host"), Some(&*host));
    // A name with several addresses, of which one is right. Not every machine has such a one.
    let mut addresses = ("localhost", service.port()).to_socket_addrs().unwrap();
    if addresses.any(|address| address.is_ipv6()) {
        let url = format!("http://localhost:{}/", service.port());
        set(&broker, "auth.http.auth_req", &url);
        assert_eq!(answers(&broker, "u", "p"), ACCEPTED);
    }
}
