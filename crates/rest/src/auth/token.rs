//! Tokens of the web interface: what the server needs to know of a login, signed, kept by the browser.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;
use std::collections::HashMap;

/// How long a token counts, seconds.
pub const LIFE: u64 = 15 * 60;
/// How long after its login a token may be exchanged for a newer one, seconds.
pub const LONGEST: u64 = 12 * 60 * 60;
/// Logins that have been ended and whose tokens could still be shown; with more all earlier tokens are void.
const MOST_ENDED: usize = 4096;
/// A clock may go back by so much, seconds, between two looks at it.
const SKEW: u64 = 60;
/// Version, four times, flags, session: what stands before the name.
const HEAD: usize = 1 + 4 * 8 + 1 + 16;
const VERSION: u8 = 1;
const TAG: usize = 32;
/// Name of the row that says before when all tokens are void.
const VOID: &[u8] = b"void before";
/// Longest text of a token that is looked at.
const LONGEST_TEXT: usize = 2048;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// who has logged in
    pub user: String,
    /// that of the user at the login: it rises when a password is changed
    pub generation: u64,
    /// when the password was given, unix seconds
    pub login: u64,
    /// when this token was made, unix seconds
    pub issued: u64,
    /// when it ends, unix seconds
    pub expires: u64,
    /// it is good for changing the password only
    pub limited: bool,
    /// the login, through all its tokens
    pub session: [u8; 16],
}

impl Token {
    /// The first token of a login.
    pub fn new(user: &str, generation: u64, limited: bool, now: u64) -> Token {
        let mut session = [0; 16];
        // Without randomness two logins are one: ending the one ends the other, and nothing worse.
        let _ = getrandom::fill(&mut session);
        Token {
            user: user.into(),
            generation,
            login: now,
            issued: now,
            expires: now + LIFE,
            limited,
            session,
        }
    }

    /// The next token of the same login; `None` when that was too long ago.
    pub fn renewed(&self, now: u64) -> Option<Token> {
        let last = self.login + LONGEST;
        (now < last).then(|| Token {
            issued: now,
            expires: last.min(now + LIFE),
            ..self.clone()
        })
    }

    /// As text.
    pub fn sign(&self, key: &[u8; 32]) -> String {
        let mut bytes = Vec::with_capacity(HEAD + self.user.len() + TAG);
        bytes.push(VERSION);
        for number in [self.generation, self.login, self.issued, self.expires] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.push(u8::from(self.limited));
        bytes.extend(self.session);
        bytes.extend(self.user.as_bytes());
        let tag = mac(key, &bytes).finalize().into_bytes();
        bytes.extend(tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that we have signed and whose time is not over.
    pub fn read(text: &str, key: &[u8; 32], now: u64) -> Option<Token> {
        if text.len() > LONGEST_TEXT {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (bytes, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        // Takes the same time wherever the two differ.
        mac(key, bytes).verify_slice(tag).ok()?;
        let (head, user) = bytes.split_at_checked(HEAD)?;
        let (version, rest) = head.split_first()?;
        let number = |at: usize| -> Option<u64> {
            let bytes = rest.get(at * 8..at * 8 + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        let token = Token {
            user: String::from_utf8(user.to_vec()).ok()?,
            generation: number(0)?,
            login: number(1)?,
            issued: number(2)?,
            expires: number(3)?,
            limited: *rest.get(32)? != 0,
            session: rest.get(33..49)?.try_into().ok()?,
        };
        let counts = *version == VERSION && now < token.expires && token.issued <= now + SKEW;
        counts.then_some(token)
    }
}

fn mac(key: &[u8; 32], bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    // Another use of the same key would sign something else.
    mac.update(b"emqttd dashboard token\0");
    mac.update(bytes);
    mac
}

/// Logins that were ended before their tokens. What is kept of them in the store is a row for each, and one of
/// [`VOID`]: a name, and a time.
#[derive(Debug, Default)]
pub struct Ended(Mutex<EndedLogins>);

/// What is kept: the login or [`VOID`], and the time in unix seconds.
pub type Row = (Vec<u8>, u64);

#[derive(Debug, Default)]
struct EndedLogins {
    /// session → when its last token ends at the latest
    sessions: HashMap<[u8; 16], u64>,
    /// tokens made before are void
    void_before: u64,
}

impl Ended {
    /// Ends a login: none of its tokens counts any more. The answer is the row to keep, and those that are over.
    pub fn end(&self, token: &Token, now: u64) -> (Row, Vec<Vec<u8>>) {
        let mut ended = self.0.lock();
        let over = |ended: &mut EndedLogins, all: bool| {
            let gone = ended.sessions.extract_if(|_, until| all || *until <= now);
            gone.map(|(session, _)| session.to_vec()).collect()
        };
        let mut gone: Vec<Vec<u8>> = over(&mut ended, false);
        if ended.sessions.len() >= MOST_ENDED {
            gone.extend(over(&mut ended, true));
            ended.void_before = now + 1;
            return ((VOID.to_vec(), now + 1), gone);
        }
        // A token made in the last second of the login's time would end then.
        let until = token.login + LONGEST;
        ended.sessions.insert(token.session, until);
        ((token.session.to_vec(), until), gone)
    }

    /// What an earlier run has kept. The answer is the rows that are over.
    pub fn restore(&self, rows: impl IntoIterator<Item = Row>, now: u64) -> Vec<Vec<u8>> {
        let mut ended = self.0.lock();
        let mut over = Vec::new();
        for (name, at) in rows {
            if name == VOID {
                ended.void_before = ended.void_before.max(at);
                continue;
            }
            match <[u8; 16]>::try_from(&name[..]) {
                // No more than there were, unless rows that were over could not be deleted.
                Ok(session) if at > now && ended.sessions.len() < 2 * MOST_ENDED => {
                    ended.sessions.insert(session, at);
                }
                _ => over.push(name),
            }
        }
        over
    }

    /// Whether the login of that token has been ended.
    pub fn has(&self, token: &Token) -> bool {
        let ended = self.0.lock();
        token.issued < ended.void_before || ended.sessions.contains_key(&token.session)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_token_says_what_it_was_made_with_until_it_ends() {
        let token = Token::new("jörg", 3, true, 1000);
        let text = token.sign(&KEY);
        assert_eq!(Token::read(&text, &KEY, 1000), Some(token.clone()));
        assert_eq!(Token::read(&text, &KEY, 1000 + LIFE - 1), Some(token));
        assert_eq!(Token::read(&text, &KEY, 1000 + LIFE), None);
        // From a future that is not near.
        assert_eq!(Token::read(&text, &KEY, 1000 - SKEW - 1), None);
    }

    #[test]
    fn nobody_else_makes_one() {
        let text = Token::new("admin", 0, true, 1000).sign(&KEY);
        assert_eq!(Token::read(&text, &[8; 32], 1000), None);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            for bit in [1, 0x80] {
                let mut other = bytes.clone();
                other[at] ^= bit;
                let other = URL_SAFE_NO_PAD.encode(other);
                assert_eq!(Token::read(&other, &KEY, 1000), None, "byte {at}");
            }
        }
        for length in 0..bytes.len() {
            let short = URL_SAFE_NO_PAD.encode(&bytes[..length]);
            assert_eq!(Token::read(&short, &KEY, 1000), None);
        }
        for wrong in ["", "x", "ÿ", &format!("{text}A"), &"A".repeat(100_000)] {
            assert_eq!(Token::read(wrong, &KEY, 1000), None);
        }
        // Signed with the right key, and too short for what should be in it.
        let mut stub = vec![VERSION];
        stub.extend(mac(&KEY, &[VERSION]).finalize().into_bytes());
        assert_eq!(Token::read(&URL_SAFE_NO_PAD.encode(stub), &KEY, 1000), None);
    }

    #[test]
    fn a_login_is_renewed_for_half_a_day() {
        let token = Token::new("admin", 0, false, 1000);
        let next = token.renewed(1600).unwrap();
        assert_eq!((next.login, next.expires), (1000, 1600 + LIFE));
        assert_eq!(next.session, token.session);
        let last = next.renewed(1000 + LONGEST - 10).unwrap();
        assert_eq!(last.expires, 1000 + LONGEST);
        assert_eq!(last.renewed(1000 + LONGEST), None);
    }

    #[test]
    fn an_ended_login_has_no_tokens() {
        let ended = Ended::default();
        let token = Token::new("admin", 0, false, 1000);
        let next = token.renewed(1010).unwrap();
        let other = Token::new("admin", 0, false, 1000);
        ended.end(&token, 1020);
        assert!(ended.has(&token) && ended.has(&next) && !ended.has(&other));
        for _ in 0..MOST_ENDED {
            ended.end(&Token::new("admin", 0, false, 1100), 1100);
        }
        // Too many to know them all.
        assert!(ended.0.lock().sessions.len() <= MOST_ENDED);
        assert!(ended.has(&token) && ended.has(&other));
        assert!(!ended.has(&Token::new("admin", 0, false, 1101)));
    }

    #[test]
    fn an_ended_login_stays_ended_after_a_restart() {
        let (token, old) = (
            Token::new("admin", 0, false, 1000),
            Token::new("admin", 0, false, 10),
        );
        let ended = Ended::default();
        let (old_row, _) = ended.end(&old, 20);
        // What is over is to be deleted, here and after a restart.
        let (row, over) = ended.end(&token, 10 + LONGEST);
        assert_eq!(over, [old.session.to_vec()]);
        let later = Ended::default();
        let rows = [old_row, row.clone(), (b"strange".to_vec(), u64::MAX)];
        let over = later.restore(rows, 10 + LONGEST);
        assert_eq!(over, [old.session.to_vec(), b"strange".to_vec()]);
        assert!(later.has(&token) && !later.has(&old));
        // With too many the rows go, and one stands for all of them.
        let mut kept = std::collections::BTreeMap::from([row]);
        for _ in 0..MOST_ENDED {
            let (row, over) = later.end(&Token::new("admin", 0, false, 1100), 1100);
            kept.extend([row]);
            for name in over {
                kept.remove(&name);
            }
        }
        assert_eq!(kept.len(), 1);
        let last = Ended::default();
        last.restore(kept, 1100);
        assert!(last.has(&token) && !last.has(&Token::new("admin", 0, false, 1101)));
    }
}
