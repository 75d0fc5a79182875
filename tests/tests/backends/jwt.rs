//! `emq_auth_jwt`: clients with tokens, and where the keys come from.

mod grants;
mod key_sets;
mod logins;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use emqttd_tests::{ALL, Broker, Client, Config, Connect, Sub, Version, unique};

const PLUGIN: &str = "emq_auth_jwt";
/// The secret of most tests.
const SECRET: &str = "a secret of ours";

/// CONNACK, in MQTT 3.1, 3.1.1 and 5.
const ACCEPTED: [u8; 3] = [0; 3];
const REFUSED: [u8; 3] = [4, 4, 0x86];
const UNAVAILABLE: [u8; 3] = [3, 3, 0x88];

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// Who signs tokens.
enum Signer {
    Secret(&'static str),
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Signer {
        Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// For `ES256` and so on.
    fn ec(alg: &str) -> Signer {
        let curve = match alg {
            "ES256" => &sig::ECDSA_P256_SHA256_FIXED_SIGNING,
            "ES384" => &sig::ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => &sig::ECDSA_P521_SHA512_FIXED_SIGNING,
        };
        Signer::Ec(EcdsaKeyPair::generate(curve).unwrap())
    }

    fn ed25519() -> Signer {
        Signer::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The public key as a PEM file.
    fn pem(&self) -> String {
        let der = match self {
            Signer::Secret(_) => panic!("there is none"),
            Signer::Rsa(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Signer::Ec(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Signer::Ed25519(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
        };
        let text = STANDARD.encode(der.unwrap().as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// The public key, or the secret, in a set.
    fn jwk(&self, kid: &str) -> String {
        let kind = match self {
            Signer::Secret(secret) => format!(r#""kty":"oct","k":"{}""#, encoded(secret)),
            Signer::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = ["P-256", "P-384", "P-521"][x.len() / 32 + x.len() / 48 - 1];
                format!(
                    r#""kty":"EC","crv":"{crv}","x":"{}","y":"{}""#,
                    encoded(x),
                    encoded(y)
                )
            }
            Signer::Ed25519(pair) => {
                let x = encoded(pair.public_key());
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#)
            }
            Signer::Rsa(_) => panic!("not needed here"),
        };
        format!(r#"{{{kind},"kid":"{kid}","use":"sig"}}"#)
    }

    /// A token with these claims; `header` has its algorithm, and more.
    fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let text = signed.as_bytes();
        let random = SystemRandom::new();
        let is = |part: &str| header.contains(part);
        let signature = match self {
            Signer::Secret(secret) => {
                let hash = match () {
                    () if is("HS384") => hmac::HMAC_SHA384,
                    () if is("HS512") => hmac::HMAC_SHA512,
                    () => hmac::HMAC_SHA256,
                };
                let key = hmac::Key::new(hash, secret.as_bytes());
                hmac::sign(&key, text).as_ref().to_vec()
            }
            Signer::Rsa(pair) => {
                let form: &dyn sig::RsaEncoding = match () {
                    () if is("RS384") => &sig::RSA_PKCS1_SHA384,
                    () if is("RS512") => &sig::RSA_PKCS1_SHA512,
                    () if is("PS256") => &sig::RSA_PSS_SHA256,
                    () => &sig::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(form, &random, text, &mut signature).unwrap();
                signature
            }
            Signer::Ec(pair) => pair.sign(&random, text).unwrap().as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(text).as_ref().to_vec(),
        };
        format!("{signed}.{}", encoded(signature))
    }
}

/// `{"alg":"..."}`
fn alg(name: &str) -> String {
    format!(r#"{{"typ":"JWT","alg":"{name}"}}"#)
}

/// A token by the secret of most tests.
fn token(claims: &str) -> String {
    Signer::Secret(SECRET).token(&alg("HS256"), claims)
}

/// A broker that lets nobody in by itself; its secret is [`SECRET`].
fn broker(conf: &str) -> Broker {
    Broker::start(config(conf))
}

fn config(conf: &str) -> Config {
    let conf = format!("auth.jwt.secret = {SECRET}\n{conf}");
    Config::with_plugin(PLUGIN, &conf).set("mqtt.allow_anonymous", "false")
}

fn connect(version: Version, token: &str) -> Connect {
    Connect::new(version, &unique("jwt"))
        .username("u")
        .password(token)
}

/// The code of CONNACK.
#[track_caller]
fn answer(broker: &Broker, connect: &Connect) -> u8 {
    let mut client = broker.raw(connect.version);
    client.send(&connect.encode());
    client.connack().1
}

/// The codes in all versions.
#[track_caller]
fn answers(broker: &Broker, token: &str) -> [u8; 3] {
    ALL.map(|version| answer(broker, &connect(version, token)))
}

/// Tries until the codes are those, for what has no sign.
#[track_caller]
fn await_answers(broker: &Broker, token: &str, codes: [u8; 3]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while answers(broker, token) != codes {
        assert!(Instant::now() < deadline, "never {codes:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What `auth test` prints.
fn auth_test(broker: &Broker, password: &str) -> String {
    let mut ctl = Command::new(broker.root.join("bin/emqttd_ctl"))
        .args(["auth", "test", "c1", "u", "127.0.0.1", "-"])
        .current_dir(&broker.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ctl.stdin.take().unwrap();
    writeln!(stdin, "{password}").unwrap();
    drop(stdin);
    let output = ctl.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The code of SUBACK.
#[track_caller]
fn subscribe(client: &mut Client, filter: &str) -> u8 {
    client.subscribe(&[Sub::new(filter, 0)], &[])[0]
}
