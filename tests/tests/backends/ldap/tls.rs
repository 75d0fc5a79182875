//! TLS from the start and after a request for it.

use super::*;
use std::path::Path;

/// The seed's file over TLS.
fn tls(ldap: &Ldap, host: &str, more: &str) -> String {
    seed(ldap)
        .replace(
            &format!("127.0.0.1:{}", ldap.port()),
            &format!("{host}:{}", ldap.tls_port()),
        )
        .replace("ssl = false", "ssl = true")
        + more
}

/// And by StartTLS.
fn starttls(ldap: &Ldap, host: &str, more: &str) -> String {
    seed(ldap).replace("127.0.0.1", host) + "auth.ldap.starttls = on\n" + more
}

fn ca(path: &Path) -> String {
    format!("auth.ldap.ssl.cacertfile = {}\n", path.display())
}

#[test]
fn certificates_of_servers() {
    let Some(ldap) = Ldap::shared() else { return };
    let alice = person(ldap, "pw", "");
    let broker = broker(&seed(ldap));
    let (right, wrong) = (ca(&ldap.ca()), ca(&ldap.other_ca()));
    let none = "auth.ldap.ssl.verify = verify_none\n";
    let name = |name: &str| format!("auth.ldap.ssl.server_name = {name}\n");
    let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    for (host, more, code) in [
        ("localhost", right.clone(), 0),
        ("127.0.0.1", right.clone(), 0),
        ("[::1]", right.clone(), 0),
        ("localhost", wrong.clone(), 3),
        ("[::1]", wrong.clone(), 3),
        // Whom this machine trusts has not issued it; nobody is trusted where nothing is said.
        ("127.0.0.1", wrong.clone() + none, 0),
        ("127.0.0.1", none.into(), 0),
        ("[::1]", none.into(), 0),
        ("127.0.0.1", right.clone() + &name("localhost"), 0),
        ("localhost", right.clone() + &name("127.0.0.1"), 0),
        ("localhost", right.clone() + &name("::1"), 0),
        ("localhost", right.clone() + &name("elsewhere.example"), 3),
        ("127.0.0.1", right.clone() + &name("::2"), 3),
    ] {
        if host == "[::1]" && !has_ipv6 {
            continue;
        }
        for conf in [tls(ldap, host, &more), starttls(ldap, host, &more)] {
            reload(&broker, &conf);
            assert_eq!(login(&broker, &alice, "pw"), code, "{conf}");
            if code == 0 {
                assert_eq!(login(&broker, &alice, "x"), 4, "{conf}");
            }
        }
    }
    let log = broker.log();
    assert!(
        log.contains("UnknownIssuer") || log.contains("certificate"),
        "{log}"
    );
    // As a URL, among others.
    let url = tls(ldap, "ldaps://localhost", &right).replace("ssl = true", "ssl = false");
    reload(&broker, &url);
    assert_eq!(login(&broker, &alice, "pw"), 0);
    // Entries are searched for in the same way.
    let conf = search(ldap).replace("servers = 127.0.0.1", "servers = localhost")
        + "auth.ldap.starttls = on\n"
        + &right;
    reload(&broker, &conf);
    assert_eq!(login(&broker, &alice, "pw"), 0);
    assert_eq!(login(&broker, &alice, "x"), 4);
}

#[test]
fn certificates_of_the_broker() {
    let Some(ldap) = Ldap::start_with("TLSVerifyClient demand") else {
        return;
    };
    let alice = person(&ldap, "pw", "");
    let broker = broker(&seed(&ldap));
    let right = ca(&ldap.ca());
    let own = format!(
        "{right}auth.ldap.ssl.certfile = {}\nauth.ldap.ssl.keyfile = {}\n",
        ldap.client_cert().display(),
        ldap.client_key().display()
    );
    for (more, code) in [(&own, 0), (&right, 3)] {
        for conf in [
            tls(&ldap, "localhost", more),
            starttls(&ldap, "localhost", more),
        ] {
            reload(&broker, &conf);
            assert_eq!(login(&broker, &alice, "pw"), code, "{conf}");
        }
    }
}

/// A server that does not speak TLS is not spoken to.
#[test]
fn nothing_goes_unencrypted() {
    let Some(ldap) = Ldap::shared() else { return };
    let alice = person(ldap, "pw", "");
    let plain = seed(ldap).replace("ssl = false", "ssl = true") + &ca(&ldap.ca());
    let broker = broker(&plain);
    assert_eq!(login(&broker, &alice, "pw"), 3);
    // The other way round, too.
    let to_tls = seed(ldap).replace(&ldap.port().to_string(), &ldap.tls_port().to_string());
    reload(&broker, &to_tls);
    assert_eq!(login(&broker, &alice, "pw"), 3);
}
