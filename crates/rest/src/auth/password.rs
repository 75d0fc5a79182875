//! Looking at passwords: who may try, how often, from where.

use super::failures::{Failures, From};
use super::origin::is_at_machine;
use super::refusals::Refusals;
use super::remembered::{Known, Remembered};
use super::token::{Ended, Token};
use super::{Came, now};
use crate::App;
use crate::answer::{Refusal, code};
use axum::http::{HeaderMap, StatusCode};
use emqttd_management::{Core, Entry, Verified, Via};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::Semaphore;

/// The password that a fresh tree is started with, which everybody knows.
const DEFAULT_PASSWORD: &str = "public";
/// Passwords that are hashed at a time: each takes a processor for a moment.
const HASHING: usize = 2;
/// Longest user name and password that are looked at, bytes.
const LONGEST: usize = 1024;
/// Most characters of a name in the audit log.
const SHOWN: usize = 128;
/// The table of logins that were ended.
const ENDED: &str = "rest/ended";
/// The key of tokens, by the name under which management keeps it.
const TOKEN_KEY: &str = "rest/tokens";

/// What is remembered of those who have come in, and who did not.
pub(crate) struct Door {
    failures: Failures,
    remembered: Option<Remembered>,
    hashing: Arc<Semaphore>,
    ended: Ended,
    refusals: Refusals,
    token_key: OnceLock<[u8; 32]>,
}

impl Default for Door {
    fn default() -> Door {
        Door {
            failures: Failures::default(),
            remembered: Remembered::new(),
            hashing: Arc::new(Semaphore::new(HASHING)),
            ended: Ended::default(),
            refusals: Refusals::default(),
            token_key: OnceLock::new(),
        }
    }
}

impl Door {
    pub fn ended(&self) -> &Ended {
        &self.ended
    }

    /// What tokens are signed with: kept in the store, so that a restart logs nobody out.
    pub async fn token_key(&self, app: &App) -> Result<[u8; 32], Refusal> {
        if let Some(key) = self.token_key.get() {
            return Ok(*key);
        }
        let door = app.clone();
        let read = app.ask_first(move |core| {
            let over = door.door().restore_ended(core)?;
            Ok((core.secret(TOKEN_KEY)?, over))
        });
        let (key, over) = read.await?.map_err(|why: String| unavailable(&why))?;
        forget_rows(app, over);
        Ok(*self.token_key.get_or_init(|| key))
    }

    /// Which logins were ended before the last restart: before the first token is looked at. The answer is the rows
    /// that are over.
    fn restore_ended(&self, core: &Core) -> Result<Vec<Vec<u8>>, String> {
        let rows = core.broker.table(ENDED).rows();
        let rows = rows.map_err(|error| format!("ended logins: {error}"))?;
        let rows = rows.into_iter().map(|(name, at)| {
            let at = at.try_into().map_or(0, u64::from_be_bytes);
            (name, at)
        });
        Ok(self.ended.restore(rows, now()))
    }

    /// Ends the login of a token, for good: when this returns a restart does not bring it back.
    ///
    /// # Errors
    /// When the store does not take it: the login is ended, and would count again after a restart.
    pub async fn end_login(&self, app: &App, token: &Token) -> Result<(), Refusal> {
        let ((name, at), over) = self.ended.end(token, now());
        let put = app.ask_first(move |core| core.broker.table(ENDED).put(&name, &at.to_be_bytes()));
        if let Err(error) = put.await? {
            log::warn!("a logout would be forgotten by a restart: {error}");
            // Rows that are over stay: the one that may stand for them was not written.
            return Err(Refusal::status(
                StatusCode::SERVICE_UNAVAILABLE,
                code::UNKNOWN,
                "logged out, but that could not be stored: a restart would forget it; see the log",
            ));
        }
        forget_rows(app, over);
        Ok(())
    }
}

/// Deletes rows of ended logins. There may be thousands; nobody waits for that.
fn forget_rows(app: &App, over: Vec<Vec<u8>>) {
    if over.is_empty() {
        return;
    }
    let app = app.clone();
    tokio::spawn(async move {
        let deleted = app.ask(move |core| {
            let table = core.broker.table(ENDED);
            over.iter().try_for_each(|name| table.delete(name))
        });
        if let Ok(Err(error)) = deleted.await {
            log::debug!("ended logins stay in the store for now: {error}");
        }
    });
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turned {
    /// wrong user name or password
    Wrong,
    /// right or not: the default password counts on the machine itself only
    NotFromHere(String),
    /// too often; seconds to wait
    TooOften(u64),
    /// nobody can look it up now
    Unavailable(String),
}

impl Turned {
    /// What the answer to a login says.
    pub fn refusal(self) -> Refusal {
        match self {
            Turned::Wrong => Refusal::code(code::WRONG_PASSWORD, "Password error"),
            Turned::NotFromHere(why) => Refusal::code(code::WRONG_PASSWORD, why),
            Turned::TooOften(seconds) => Refusal {
                retry_after: Some(seconds),
                ..Refusal::status(
                    StatusCode::TOO_MANY_REQUESTS,
                    code::WRONG_PASSWORD,
                    format!("too many wrong passwords: try again in {seconds} s"),
                )
            },
            Turned::Unavailable(why) => unavailable(&why),
        }
    }

    fn outcome(&self) -> &'static str {
        match self {
            Turned::Wrong => "wrong user name or password",
            Turned::NotFromHere(_) => "default password from another address",
            Turned::TooOften(_) => "too many wrong passwords",
            Turned::Unavailable(_) => "the user could not be looked up",
        }
    }
}

fn unavailable(why: &str) -> Refusal {
    log::error!("users cannot be looked up: {why}");
    Refusal::status(
        StatusCode::SERVICE_UNAVAILABLE,
        code::UNKNOWN,
        "users cannot be looked up now; see the log",
    )
}

/// Somebody who gave the right password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// that of the user: it rises with each change of the password
    pub generation: u64,
    /// the password is the one of a fresh tree
    pub default_password: bool,
}

/// Looks at the password of a login: with the limit on failures, the rule about the default password, and the audit
/// log. `action` is what the log says was asked for.
///
/// # Errors
/// What to answer instead.
pub async fn check_login(
    app: &App,
    came: &Came,
    headers: &HeaderMap,
    user: &str,
    password: &str,
    action: &str,
) -> Result<Welcome, Refusal> {
    match look_at(app, came, headers, user, password).await {
        Ok(known) => {
            record(app, came, user, Via::Login, action, "200");
            Ok(known)
        }
        Err(turned) => {
            record_failure(app, came, user, action, &turned);
            Err(turned.refusal())
        }
    }
}

/// Notes in the audit log that somebody was not let in. Those who have to wait were noted often enough.
pub(super) fn record_failure(app: &App, came: &Came, user: &str, action: &str, turned: &Turned) {
    if !matches!(turned, Turned::TooOften(_)) {
        record(app, came, user, Via::Login, action, turned.outcome());
    }
}

/// Notes in the audit log that a token or a key was refused, unless that address was noted just before.
pub(super) fn record_refused(app: &App, came: &Came, who: Option<&str>, via: Via, action: &str) {
    if app.door().refusals.notes(came.peer.ip(), Instant::now()) {
        let outcome = match via {
            Via::Key => "the API key does not count",
            _ => "the token does not count",
        };
        record(app, came, who.unwrap_or("unknown"), via, action, outcome);
    }
}

pub(super) fn record(app: &App, came: &Came, who: &str, via: Via, action: &str, outcome: &str) {
    let who: String = who.chars().take(SHOWN).collect();
    let from = came.peer.ip().to_canonical().to_string();
    let action: String = action.chars().take(4 * SHOWN).collect();
    app.core()
        .audit()
        .record(Entry::new(&who, &from, via, &action, outcome));
}

/// Looks at a password.
pub(super) async fn look_at(
    app: &App,
    came: &Came,
    headers: &HeaderMap,
    user: &str,
    password: &str,
) -> Result<Welcome, Turned> {
    let door = app.door();
    let here = !came.old_http && is_at_machine(came.peer, headers);
    let from = match here {
        true => From::Here,
        false => From::Address(came.peer.ip()),
    };
    if user.len() > LONGEST || password.len() > LONGEST || user.is_empty() {
        // Counts as a failure like any other.
        let attempt = door.failures.attempt(from, "", Instant::now());
        return Err(attempt.err().map_or(Turned::Wrong, Turned::TooOften));
    }
    if password == DEFAULT_PASSWORD && !here {
        // Not looked at: nobody learns from afar whether it would be right.
        let attempt = door.failures.attempt(from, user, Instant::now());
        return Err(attempt
            .err()
            .map_or_else(|| not_from_here(user), Turned::TooOften));
    }
    let Some(remembered) = &door.remembered else {
        return Err(Turned::Unavailable(
            "the system gives no random numbers".into(),
        ));
    };
    let mark = remembered.mark(user, password);
    let known = || {
        let known = remembered.get(&mark, Instant::now())?;
        let same = app.core().users().generation(user) == Some(known.generation);
        if !same {
            remembered.forget(&mark);
        }
        same.then_some(known)
    };
    if let Some(known) = known() {
        return Ok(known.into());
    }
    let _alone = remembered.alone(mark).await;
    if let Some(known) = known() {
        return Ok(known.into());
    }
    let attempt = door.failures.attempt(from, user, Instant::now());
    let attempt = attempt.map_err(Turned::TooOften)?;
    // Closed never.
    let turn = Arc::clone(&door.hashing).acquire_owned().await;
    let (name, word) = (user.to_owned(), password.to_owned());
    let verified = app
        .ask_first(move |core| {
            // Until it is hashed, also for who does not wait for the answer.
            let _turn = turn;
            core.users().verify(&name, &word)
        })
        .await;
    match verified {
        Ok(Verified::Login(login)) => {
            attempt.forgive();
            let known = Known {
                generation: login.generation,
                default_password: login.default_password,
            };
            remembered.keep(mark, known, Instant::now());
            Ok(known.into())
        }
        Ok(Verified::Wrong) => Err(Turned::Wrong),
        Ok(Verified::Unavailable(why)) => {
            attempt.forgive();
            Err(Turned::Unavailable(why))
        }
        Err(_) => {
            attempt.forgive();
            Err(Turned::Unavailable("it panicked".into()))
        }
    }
}

impl std::convert::From<Known> for Welcome {
    fn from(known: Known) -> Welcome {
        Welcome {
            generation: known.generation,
            default_password: known.default_password,
        }
    }
}

fn not_from_here(user: &str) -> Turned {
    // What goes into a command line is shown only if it is a plain word.
    let plain = user
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-.@".contains(&b));
    let user = if plain && user.len() <= 64 {
        user
    } else {
        "<user>"
    };
    Turned::NotFromHere(format!(
        "the default password counts only on the machine of the broker itself: set another one there with \
         `emqttd_ctl admins passwd {user} <password>`, or open this page there"
    ))
}

/// A token for somebody who gave the right password.
pub(super) fn token_of(user: &str, welcome: Welcome) -> Token {
    Token::new(user, welcome.generation, welcome.default_password, now())
}
