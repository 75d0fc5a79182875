//! CONNECT, and who may come in.

use super::{Ask, Awaited, Login, Machine};
use crate::connection::Mode;
use crate::frame::{Encoder, Frame, Version};
use crate::heart_beat::{HeartBeat, Offer};
use emqttd_plugin_sdk::virtual_client::ConnectOptions;
use std::borrow::Cow;
use std::time::Instant;

/// Text of the original's ERROR.
const WRONG: &str = "Login or passcode error!";
/// Seconds that a session outlives its connection when the client wants it kept and does not say how long.
const KEPT: u32 = 7200;
/// Messages at QoS 1 and 2 of the client that the broker works on at the same time.
const INFLIGHT: u16 = 128;
/// Messages at QoS 1 and 2 for the client that it has not acknowledged; `mqtt.session.max_inflight` may be less.
const UNACKNOWLEDGED: u16 = 1000;

/// Headers of CONNECT, which are not escaped.
#[derive(Default)]
struct Greeting<'a> {
    accept_version: Option<Cow<'a, str>>,
    heart_beat: Option<Cow<'a, str>>,
    login: Option<Cow<'a, str>>,
    passcode: Option<Cow<'a, str>>,
    client_id: Option<Cow<'a, str>>,
    clean_session: Option<Cow<'a, str>>,
    session_expiry: Option<Cow<'a, str>>,
}

impl<'a> Greeting<'a> {
    fn read(frame: &Frame<'a>) -> Greeting<'a> {
        let mut greeting = Greeting::default();
        for (name, value) in frame.headers() {
            let place = match &*name {
                "accept-version" => &mut greeting.accept_version,
                "heart-beat" => &mut greeting.heart_beat,
                "login" => &mut greeting.login,
                "passcode" => &mut greeting.passcode,
                "client-id" => &mut greeting.client_id,
                "clean-session" => &mut greeting.clean_session,
                "session-expiry" => &mut greeting.session_expiry,
                _ => continue,
            };
            if place.is_none() {
                *place = Some(value);
            }
        }
        greeting
    }

    /// A login or passcode as it is meant: clients that know of no version but 1.0 put a blank behind the colon.
    fn meant<'b>(&self, text: &'b str) -> &'b str {
        match self.accept_version {
            None => text.trim_start_matches(' '),
            Some(_) => text,
        }
    }

    /// The highest version that both speak.
    fn version(&self) -> Option<Version> {
        let Some(offered) = &self.accept_version else {
            return Some(Version::V1_0);
        };
        let mut versions = Version::ALL.into_iter();
        versions.find(|version| {
            offered
                .split(',')
                .any(|offer| offer.trim() == version.as_str())
        })
    }
}

impl Machine {
    /// CONNECT and STOMP, before which there is nothing.
    pub(super) fn connect(&mut self, frame: &Frame<'_>) {
        let greeting = Greeting::read(frame);
        let Some(version) = greeting.version() else {
            let mut frame = Vec::new();
            Encoder::new(&mut frame, "ERROR", Version::V1_0)
                .header("version", "1.0,1.1,1.2")
                .header("content-type", "text/plain")
                .body(b"Supported protocol versions < 1.2");
            self.counts.refused_frames += 1;
            return self.fail_with(frame);
        };
        let Some(offer) = greeting
            .heart_beat
            .as_deref()
            .map_or(Some(Offer::default()), Offer::parse)
        else {
            return self.refuse("Invalid heart-beat: two numbers with a comma", None);
        };
        let options = match session(&greeting) {
            Ok(options) => options,
            Err(text) => return self.refuse(text, None),
        };
        let Some(login) = self.login(&greeting, options) else {
            return self.refuse_login();
        };
        self.version = version;
        self.durable = !login.options.clean;
        // A client that knows other versions does not send any in 1.0, which has none; one that knows no other may.
        let has_none = version == Version::V1_0 && greeting.accept_version.is_some();
        let agreed = match self.mode {
            Mode::Tcp if !has_none => offer.answer(),
            Mode::Tcp | Mode::SockJs => (0, 0),
        };
        self.await_answer(Ask::Connect(Box::new(login)), Awaited::Connect { agreed });
    }

    /// As whom the broker is to be asked; `None` = it need not be.
    fn login(&self, greeting: &Greeting<'_>, options: ConnectOptions) -> Option<Login> {
        let settings = &self.settings;
        let passcode = greeting.meant(greeting.passcode.as_deref().unwrap_or_default());
        match greeting.login.as_deref().map(|name| greeting.meant(name)) {
            None | Some("") => settings.allow_anonymous.then_some(Login {
                options,
                anonymous: true,
            }),
            Some(name) if name == settings.login => {
                settings.is_passcode(passcode.as_bytes()).then(|| Login {
                    options: options.credentials(name, passcode),
                    anonymous: true,
                })
            }
            // Somebody has to know it.
            Some(name) => Some(Login {
                options: options.credentials(name, passcode),
                anonymous: false,
            }),
        }
    }

    fn refuse_login(&mut self) {
        self.counts.refused_logins += 1;
        self.version = Version::V1_0;
        let frame = self.error(WRONG, None, None);
        self.fail_with(frame);
    }

    /// The broker has answered to CONNECT. `Err(None)` = it does not let the client in; `Err(why)` = it has no place.
    pub fn connected(&mut self, answer: Result<(), Option<String>>, now: Instant) {
        let Some(Awaited::Connect { agreed }) = self.awaited.take() else {
            return;
        };
        match answer {
            Err(None) => self.refuse_login(),
            Err(Some(why)) => {
                self.version = Version::V1_0;
                self.refuse(&format!("Not connected: {why}"), None);
            }
            Ok(()) => {
                self.connected = true;
                self.heart_beat = HeartBeat::agreed(agreed, now);
                let (sends, wants) = agreed;
                Encoder::new(&mut self.out, "CONNECTED", Version::V1_0)
                    .header("server", "emq-stomp/1.2")
                    .header("version", self.version.as_str())
                    .header("heart-beat", &format!("{sends},{wants}"))
                    .body(&[]);
            }
        }
    }
}

/// What CONNECT says of the session.
fn session(greeting: &Greeting<'_>) -> Result<ConnectOptions, &'static str> {
    let clean = match greeting.clean_session.as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err("Invalid clean-session: true or false"),
    };
    let clientid = greeting.client_id.as_deref().unwrap_or_default();
    if !clean && clientid.is_empty() {
        return Err("clean-session:false needs a client-id");
    }
    let kept = match greeting.session_expiry.as_deref() {
        None => KEPT,
        Some(seconds) => seconds
            .parse()
            .map_err(|_| "Invalid session-expiry: seconds")?,
    };
    // MQTT 5: a message comes once, however many filters it is for, and what the ACL denies is told.
    let options = ConnectOptions::new(clientid).v5(if clean { 0 } else { kept });
    Ok(ConnectOptions {
        clean,
        inflight: INFLIGHT,
        receive_maximum: UNACKNOWLEDGED,
        ..options
    })
}
