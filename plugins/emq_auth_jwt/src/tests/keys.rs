//! Keys of each kind, and what is signed with them.

use super::encoded;
use crate::jwks;
use crate::key::{Algorithm, Key};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;

const ALL: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "EdDSA",
];

const TEXT: &[u8] = b"header.claims";

fn named(name: &str) -> Algorithm {
    Algorithm::named(name).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// What was signed by each algorithm of a kind, and the public key as DER and JWK.
struct Signed {
    signatures: Vec<(&'static str, Vec<u8>)>,
    spki: Vec<u8>,
    jwk: Value,
}

fn rsa(bits: rsa::KeySize) -> (RsaKeyPair, Signed) {
    let pair = RsaKeyPair::generate(bits).unwrap();
    let forms: [(&str, &dyn sig::RsaEncoding); 6] = [
        ("RS256", &sig::RSA_PKCS1_SHA256),
        ("RS384", &sig::RSA_PKCS1_SHA384),
        ("RS512", &sig::RSA_PKCS1_SHA512),
        ("PS256", &sig::RSA_PSS_SHA256),
        ("PS384", &sig::RSA_PSS_SHA384),
        ("PS512", &sig::RSA_PSS_SHA512),
    ];
    let sign = |(name, form): (&'static str, &'static dyn sig::RsaEncoding)| {
        let mut signature = vec![0; pair.public_modulus_len()];
        let random = SystemRandom::new();
        pair.sign(form, &random, TEXT, &mut signature).unwrap();
        (name, signature)
    };
    let signatures = forms.into_iter().map(sign).collect();
    let public = pair.public_key();
    let (_, numbers) = RSAPublicKey::from_der(public.as_ref()).unwrap();
    let jwk = json!({
        "kty": "RSA", "n": encoded(numbers.modulus), "e": encoded(numbers.exponent)
    });
    let spki = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(public);
    let spki = spki.unwrap().as_ref().to_vec();
    let signed = Signed {
        signatures,
        spki,
        jwk,
    };
    (pair, signed)
}

fn ec(name: &'static str, crv: &str, form: &'static sig::EcdsaSigningAlgorithm) -> Signed {
    let pair = EcdsaKeyPair::generate(form).unwrap();
    let signature = pair.sign(&SystemRandom::new(), TEXT).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(point.len() / 2);
    let spki = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
    Signed {
        signatures: vec![(name, signature.as_ref().to_vec())],
        spki: spki.unwrap().as_ref().to_vec(),
        jwk: json!({"kty": "EC", "crv": crv, "x": encoded(x), "y": encoded(y)}),
    }
}

fn ed25519() -> Signed {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref();
    let spki = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
    Signed {
        signatures: vec![("EdDSA", pair.sign(TEXT).as_ref().to_vec())],
        spki: spki.unwrap().as_ref().to_vec(),
        jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(public)}),
    }
}

fn jwk(value: &Value) -> Result<Key, String> {
    Key::from_jwk(value.as_object().unwrap())
}

/// Each signature is right by its own algorithm and key, and by no other.
#[test]
fn kinds_of_keys() {
    let (pair, rsa) = rsa(rsa::KeySize::Rsa2048);
    let pkcs1 = pair.public_key().as_ref();
    let first = Key::from_pem(pem("RSA PUBLIC KEY", pkcs1).as_bytes()).unwrap();
    assert!(first.verify(named("RS256"), TEXT, &rsa.signatures[0].1));
    let kinds = [
        rsa,
        ec("ES256", "P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        ec("ES384", "P-384", &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        ec("ES512", "P-521", &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
        ed25519(),
    ];
    let all: Vec<&(&str, Vec<u8>)> = kinds.iter().flat_map(|kind| &kind.signatures).collect();
    for kind in &kinds {
        let text = pem("PUBLIC KEY", &kind.spki);
        for key in [
            Key::from_pem(text.as_bytes()).unwrap(),
            jwk(&kind.jwk).unwrap(),
        ] {
            for (of, signature) in &all {
                for name in ALL {
                    let own = kind
                        .signatures
                        .iter()
                        .any(|(n, s)| n == of && s == signature);
                    let right = key.verify(named(name), TEXT, signature);
                    assert_eq!(right, own && name == *of, "{key:?}: {of} as {name}");
                    assert!(!key.verify(named(name), b"other", signature));
                }
            }
            // The public key as a secret, in each form that an attacker could take it in.
            for secret in [text.as_bytes(), text.trim().as_bytes(), &kind.spki] {
                for (hash, name) in [(hmac::HMAC_SHA256, "HS256"), (hmac::HMAC_SHA512, "HS512")] {
                    let tag = hmac::sign(&hmac::Key::new(hash, secret), TEXT);
                    assert!(!key.verify(named(name), TEXT, tag.as_ref()));
                }
            }
        }
    }
    let secret = Key::Secret(b"s".as_slice().into());
    for name in ALL {
        assert_eq!(secret.serves(named(name)), name.starts_with("HS"));
    }
    for name in [
        "none", "NONE", "", "hs256", "HS256 ", "ES256K", "RS1", "dir",
    ] {
        assert_eq!(Algorithm::named(name), None);
    }
}

/// The examples of RFC 7515 (A.1, A.3) and RFC 8037 (A.4).
#[test]
fn examples_of_the_standard() {
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (alg, key, signed, signature) in [
        (
            "HS256",
            json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
            format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{claims}"),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            "ES256",
            json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            format!("eyJhbGciOiJFUzI1NiJ9.{claims}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            "EdDSA",
            json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_string(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = jwk(&key).unwrap();
        assert!(
            key.verify(named(alg), signed.as_bytes(), &signature),
            "{alg}"
        );
    }
}

#[test]
fn certificates() {
    for (algorithm, name) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "P-256"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "P-384"),
        (&rcgen::PKCS_ED25519, "Ed25519"),
        (&rcgen::PKCS_RSA_SHA256, "RSA"),
    ] {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let certificate = certificate.self_signed(&pair).unwrap();
        let key = Key::from_pem(certificate.pem().as_bytes()).unwrap();
        assert_eq!(format!("{key:?}"), name);
        let plain = Key::from_pem(pair.public_key_pem().as_bytes()).unwrap();
        assert_eq!(format!("{plain:?}"), name);
    }
    for broken in [
        pem("PUBLIC KEY", b"x"),
        pem("RSA PUBLIC KEY", b"x"),
        pem("CERTIFICATE", b"x"),
        "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n".into(),
        String::new(),
    ] {
        assert!(Key::from_pem(broken.as_bytes()).is_err(), "{broken}");
    }
}

#[test]
fn keys_that_cannot_be_used() {
    let weak = encoded([0xff; 128]);
    for bad in [
        json!({}),
        json!({"kty": "RSA"}),
        json!({"kty": "RSA", "n": weak, "e": "AQAB"}),
        json!({"kty": "RSA", "n": "", "e": "AQAB"}),
        json!({"kty": "RSA", "n": 5, "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": encoded([1; 32])}),
        json!({"kty": "oct", "k": ""}),
        json!({"kty": "oct", "k": "a+/="}),
        json!({"kty": "new"}),
    ] {
        assert!(jwk(&bad).is_err(), "{bad}");
    }
}

#[test]
fn sets() {
    let oct = json!({"kty": "oct", "k": encoded("secret"), "kid": "o"});
    let point = ec("ES256", "P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING).jwk;
    let with = |name: &str, value: Value| {
        let mut key = point.clone();
        key[name] = value;
        key
    };
    let set = json!({"keys": [
        oct,
        with("kid", json!("a")),
        with("use", json!("enc")),
        with("use", json!("sig")),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!(["verify"])),
        with("alg", json!("ES384")),
        {"kty": "new"},
        7,
    ]});
    let text = set.to_string();
    let (keys, left_out) = jwks::parse(text.as_bytes(), true).unwrap();
    assert_eq!((keys.len(), left_out.len()), (5, 2), "{left_out:?}");
    let (es256, hs256) = (named("ES256"), named("HS256"));
    let fits =
        |kid, algorithm| -> Vec<bool> { keys.iter().map(|key| key.fits(kid, algorithm)).collect() };
    assert_eq!(fits(Some("a"), es256), [false, true, true, true, false]);
    assert_eq!(fits(Some("b"), es256), [false, false, true, true, false]);
    assert_eq!(fits(None, es256), [false, true, true, true, false]);
    assert_eq!(fits(Some("o"), hs256), [true, false, false, false, false]);
    let (keys, left_out) = jwks::parse(text.as_bytes(), false).unwrap();
    assert_eq!((keys.len(), left_out.len()), (4, 3), "no secrets");
    let many = json!({"keys": vec![point; 150]}).to_string();
    assert_eq!(jwks::parse(many.as_bytes(), false).unwrap().0.len(), 100);
    for broken in ["", "[]", "{}", r#"{"keys":{}}"#, "null", "{\"keys\":["] {
        assert!(jwks::parse(broken.as_bytes(), true).is_err(), "{broken}");
    }
    assert!(jwks::parse(br#"{"keys":[]}"#, true).unwrap().0.is_empty());
}
