//! Names of cipher suites: OpenSSL's, as EMQ's files have them, and IANA's.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

/// OpenSSL's name, IANA's name. TLS 1.3 has only one for each.
const NAMES: &[(&str, &str, SupportedCipherSuite)] = &[
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
        suite::TLS13_AES_256_GCM_SHA384,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
        suite::TLS13_AES_128_GCM_SHA256,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        suite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
];

/// The suites that `ciphers` leaves for the versions offered, in its order.
///
/// As with OpenSSL a list that names no suite of TLS 1.3 does not speak of TLS 1.3: all of that
/// version stay.
pub(crate) fn choose(
    names: &[String],
    tls12: bool,
    tls13: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut suites: Vec<SupportedCipherSuite> = Vec::new();
    let mut unknown: Vec<&str> = Vec::new();
    // OpenSSL separates with colons, EMQ with commas, which the reader has taken apart.
    for name in names.iter().flat_map(|name| name.split(':')).map(str::trim) {
        let known = NAMES.iter().find(|(openssl, iana, _)| {
            name.eq_ignore_ascii_case(openssl) || name.eq_ignore_ascii_case(iana)
        });
        match known {
            Some((_, _, suite)) if !suites.contains(suite) => suites.push(*suite),
            Some(_) => {}
            None => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        warnings.push(format!(
            "ciphers that this broker does not have are left out: {}",
            unknown.join(", ")
        ));
    }
    if names.is_empty() {
        suites = rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec();
    } else if suites.iter().all(|suite| suite.tls13().is_none()) {
        suites.extend(
            NAMES
                .iter()
                .map(|(_, _, suite)| *suite)
                .filter(|s| s.tls13().is_some()),
        );
    }
    suites.retain(|suite| {
        if suite.tls13().is_some() {
            tls13
        } else {
            tls12
        }
    });
    if suites.is_empty() {
        return Err("ciphers and tls_versions leave no cipher to offer".to_owned());
    }
    if tls12 && suites.iter().all(|suite| suite.tls13().is_some()) {
        warnings.push("TLS 1.2 is not offered: ciphers has none of its ciphers".to_owned());
    }
    Ok(suites)
}
