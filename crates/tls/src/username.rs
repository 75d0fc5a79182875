//! `peer_cert_as_username`: the name that a client certificate gives its owner.

use std::fmt::Write as _;

use emqttd_config::CertField;
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Certificate};

/// The username that `peer_cert_as_username` takes from a client certificate: the common names
/// joined with `,`, or the subject as a string of RFC 4514.
///
/// # Errors
/// A reason for the log; the client has to be refused.
pub fn cert_username(cert: &CertificateDer<'_>, field: CertField) -> Result<String, String> {
    let (_, cert) = X509Certificate::from_der(cert)
        .map_err(|error| format!("the client certificate cannot be read: {error}"))?;
    let name = match field {
        CertField::Cn => {
            let names = cert.subject().iter_common_name().map(|name| {
                text(name.attr_value())
                    .ok_or("the client certificate has an unreadable common name")
            });
            names.collect::<Result<Vec<_>, _>>()?.join(",")
        }
        CertField::Dn => {
            // RFC 4514, 2.1: the last of the sequence comes first.
            let mut parts: Vec<String> = cert
                .subject()
                .iter_rdn()
                .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
                .collect();
            parts.reverse();
            parts.join(",")
        }
    };
    if name.is_empty() {
        let what = match field {
            CertField::Cn => "common name",
            CertField::Dn => "subject",
        };
        return Err(format!("the client certificate has no {what}"));
    }
    // Would not be a username in MQTT either [MQTT-1.5.4-2].
    if name.chars().any(char::is_control) {
        return Err("the client certificate has a name with control characters".to_owned());
    }
    Ok(name)
}

/// `CN=value`, or for a type without a name `1.2.3=#<hex of the DER value>` (RFC 4514, 2.4).
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let name = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "TITLE",
        "2.5.4.42" => "GIVENNAME",
        "2.5.4.43" => "INITIALS",
        "2.5.4.44" => "GENERATIONQUALIFIER",
        "2.5.4.65" => "PSEUDONYM",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "EMAILADDRESS",
        _ => "",
    };
    match text(attribute.attr_value()) {
        Some(value) if !name.is_empty() => format!("{name}={}", escape(&value)),
        _ => {
            let mut out = if name.is_empty() {
                oid
            } else {
                name.to_owned()
            };
            out.push_str("=#");
            for byte in attribute.attr_value().to_der_vec().unwrap_or_default() {
                // Writing to a String does not fail.
                let _ = write!(out, "{byte:02x}");
            }
            out
        }
    }
}

/// RFC 4514, 2.4: what must not stand in a value as it is.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let special = match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            '#' => i == 0,
            ' ' => i == 0 || i == last,
            _ => false,
        };
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The text of any of the string types of ASN.1 that names are made of.
fn text(value: &Any<'_>) -> Option<String> {
    let data = value.data;
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => std::str::from_utf8(data).ok().map(str::to_owned),
        // Taken for Latin-1 by everybody.
        Tag::TeletexString => Some(data.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => {
            let (units, rest) = data.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok())?
        }
        Tag::UniversalString => {
            let (units, rest) = data.as_chunks::<4>();
            let chars = units
                .iter()
                .map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            rest.is_empty().then(|| chars.collect())?
        }
        _ => None,
    }
}
