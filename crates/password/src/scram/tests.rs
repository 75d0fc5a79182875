#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// The example of RFC 7677, section 3.
mod rfc7677 {
    pub const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    pub const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    pub const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    pub const CHALLENGE: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                 s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    pub const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    pub const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
}

fn rfc_challenge() -> Challenge {
    let first = ClientFirst::parse(rfc7677::FIRST.as_bytes()).unwrap();
    assert_eq!(first.username(), "user");
    let salt = BASE64.decode(rfc7677::SALT).unwrap();
    Challenge::with_nonce(
        &first,
        Keys::with_salt(b"pencil", 4096, &salt),
        rfc7677::NONCE,
    )
}

/// The second message of a client that sent `first`, and the server's answer to it.
fn prove(first: &str, challenge: &str, password: &[u8]) -> (String, String) {
    let client = Client::of_first(first, password).unwrap();
    client.last(challenge.as_bytes()).unwrap()
}

#[test]
fn example_of_rfc_7677() {
    let challenge = rfc_challenge();
    assert_eq!(challenge.message(), rfc7677::CHALLENGE);
    let answer = challenge.check(rfc7677::FINAL.as_bytes());
    assert_eq!(answer.as_deref(), Some(rfc7677::SERVER_FINAL));
    let (proof, server) = prove(rfc7677::FIRST, rfc7677::CHALLENGE, b"pencil");
    assert_eq!((&*proof, &*server), (rfc7677::FINAL, rfc7677::SERVER_FINAL));
}

#[test]
fn proofs_that_fail() {
    let challenge = rfc_challenge();
    let good = rfc7677::FINAL;
    let (wrong, _) = prove(rfc7677::FIRST, challenge.message(), b"pencils");
    for message in [
        wrong,
        String::new(),
        // another nonce: only the client's, one more letter
        good.replace("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
        good.replace("$k0,", "$k0x,"),
        // another header than at first
        good.replace("biws", "eSws"),
        good.replace("c=biws,", ""),
        good.replace("p=d", "p=e"),
        good.replace("p=dHzb", "p="),
        good.replace(",p=", ",m=x,p="),
        good.replace(",p=", ",x=y,p="),
        format!("{good},p=AAAA"),
        format!("{good}AAAA"),
        good.split(",p=").next().unwrap().into(),
    ] {
        assert_eq!(challenge.check(message.as_bytes()), None, "{message}");
    }
    assert_eq!(challenge.check(&[0xff; 40]), None);
    assert_eq!(challenge.check(&vec![b'a'; 1 << 20]), None);
    assert!(challenge.check(good.as_bytes()).is_some());
}

#[test]
fn nobody_has_a_salt_that_stays() {
    let nobody = Keys::of_nobody("eve", 15_000, b"secret");
    assert_eq!(nobody, Keys::of_nobody("eve", 15_000, b"secret"));
    let others = [
        Keys::of_nobody("eva", 15_000, b"secret"),
        Keys::of_nobody("eve", 15_000, b"Secret"),
    ];
    assert!(others.iter().all(|other| other.salt != nobody.salt));
    let user = Keys::new(b"x", 15_000).unwrap();
    assert_eq!(user.salt.len(), nobody.salt.len());
    let first = ClientFirst::parse(b"n,,n=eve,r=abc").unwrap();
    let challenge = Challenge::new(&first, nobody).unwrap();
    for password in [&b""[..], b"secret", b"eve"] {
        let (proof, _) = prove("n,,n=eve,r=abc", challenge.message(), password);
        assert_eq!(challenge.check(proof.as_bytes()), None);
    }
}

#[test]
fn nonces_differ() {
    let first = ClientFirst::parse(b"n,,n=user,r=abc").unwrap();
    let keys = Keys::new(b"x", 4096).unwrap();
    let one = Challenge::new(&first, keys.clone()).unwrap();
    let two = Challenge::new(&first, keys).unwrap();
    assert_ne!(one.nonce, two.nonce);
    assert!(one.nonce.starts_with("abc") && one.nonce.len() == 3 + 24);
    let (proof, _) = prove("n,,n=user,r=abc", one.message(), b"x");
    assert!(one.check(proof.as_bytes()).is_some());
    assert_eq!(two.check(proof.as_bytes()), None, "a proof serves once");
}

#[test]
fn first_messages() {
    for (message, username) in [
        ("n,,n=user,r=abc", "user"),
        ("y,,n=user,r=abc", "user"),
        ("n,a=user,n=user,r=abc", "user"),
        ("n,,n=a=2Cb=3Dc=2C,r=abc", "a,b=c,"),
        ("n,,n=ключ,r=!~", "ключ"),
        ("n,,n=user,r=abc,x=1,y=2", "user"),
    ] {
        let first = ClientFirst::parse(message.as_bytes()).unwrap();
        assert_eq!(first.username(), username);
        let challenge = Challenge::new(&first, Keys::new(b"pw", 4096).unwrap()).unwrap();
        let (proof, server) = prove(message, challenge.message(), b"pw");
        assert_eq!(challenge.check(proof.as_bytes()), Some(server), "{message}");
    }
    let long = format!("n,,n={},r=abc", "x".repeat(MAX_MESSAGE));
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=user,r=",
        "n,,n=,r=abc",
        "n,,r=abc,n=user",
        "n,,m=x,n=user,r=abc",
        "n,,n=user,r=abc,m=x",
        "n,,n=user,r=abc,x",
        "n,,n=user,r=abc,x=",
        "n,,n=user,r=abc,r=def",
        "n,,n=user,r=a bc",
        "n,,n=user,r=ключ",
        "n,,n=us=er,r=abc",
        "n,,n=us=2cer,r=abc",
        "n,,n=user=,r=abc",
        "n,a=other,n=user,r=abc",
        "n,x,n=user,r=abc",
        "p=tls-unique,,n=user,r=abc",
        "N,,n=user,r=abc",
        "n,,n=us\0er,r=abc",
        &long,
    ] {
        assert_eq!(
            ClientFirst::parse(message.as_bytes()),
            Err(Malformed),
            "{message}"
        );
    }
    assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=abc"), Err(Malformed));
}

#[test]
fn passwords_of_other_keyboards() {
    let first = "n,,n=user,r=abc";
    // As a client types it, and as SASLprep has it: a soft hyphen goes, compatibility letters become plain.
    for (given, prepared) in [("I\u{ad}X", "IX"), ("\u{2168}", "IX"), ("\u{aa}", "a")] {
        let keys = Keys::new(given.as_bytes(), 4096).unwrap();
        let parsed = ClientFirst::parse(first.as_bytes()).unwrap();
        let challenge = Challenge::new(&parsed, keys).unwrap();
        let (proof, _) = prove(first, challenge.message(), prepared.as_bytes());
        assert!(challenge.check(proof.as_bytes()).is_some(), "{given:?}");
    }
    // What is not text, or not allowed, is taken as it is.
    for given in [&b"\xff\xfe"[..], b"a\x07b"] {
        assert_eq!(&*super::prepared(given), given);
    }
}

#[test]
fn keys_as_text() {
    let keys = Keys::new(b"pencil", 4096).unwrap();
    assert_eq!(keys.to_string().parse(), Ok(keys.clone()));
    let text = keys.to_string();
    for bad in [
        "",
        "SCRAM-SHA-256",
        &text.replace("256", "1"),
        &text.replace(':', ""),
        &text.replace("4096", "many"),
        &text[..text.len() - 4],
        &text.replace('$', ":"),
    ] {
        assert_eq!(bad.parse::<Keys>(), Err(Malformed), "{bad}");
    }
}

proptest! {
    /// No bytes make it panic, and what it takes it gives back.
    #[test]
    fn any_first_message(message in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[nyp]=?,(a=[a-z=,]{0,5})?,[nmra]=[a-z0-9=,é]{0,20},r=[!-~]{0,20}(,[a-z]=?[!-~]{0,5})?".prop_map(String::into_bytes),
    ]) {
        if let Ok(first) = ClientFirst::parse(&message) {
            let again = format!("{}{}", first.header(), first.bare());
            prop_assert_eq!(again.as_bytes(), &message[..]);
            prop_assert!(!first.username().is_empty());
            let keys = Keys::of_nobody(first.username(), 4096, b"x");
            let challenge = Challenge::new(&first, keys).unwrap();
            let start = format!("r={}", first.nonce());
            prop_assert!(challenge.message().starts_with(&start));
        }
    }

    /// Nothing but the proof is let in.
    #[test]
    fn any_final_message(message in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "c=[a-zA-Z=]{0,6},r=[!-~]{0,60}(,[a-z]=[!-~]{0,5})?,p=[A-Za-z0-9+/=]{0,50}".prop_map(String::into_bytes),
    ]) {
        prop_assert_eq!(rfc_challenge().check(&message), None);
    }

    /// One bit of a good proof changed is no proof.
    #[test]
    fn any_change_of_a_proof(at in 0..rfc7677::FINAL.len(), bit in 0..7u8) {
        let mut message = rfc7677::FINAL.as_bytes().to_vec();
        message[at] ^= 1 << bit;
        prop_assert_eq!(rfc_challenge().check(&message), None);
    }

    /// Every name has a form, and comes back from it.
    #[test]
    fn any_name(name in "[^\0]{1,30}") {
        let escaped = name.replace('=', "=3D").replace(',', "=2C");
        let message = format!("n,,n={escaped},r=abc");
        let first = ClientFirst::parse(message.as_bytes()).unwrap();
        prop_assert_eq!(first.username(), name);
    }
}
