//! What the keys of `stomp.*`, and those of `sockjs.*` that are the same, say.

use crate::frame::Limits;
use arc_swap::ArcSwap;
use emqttd_plugin_sdk::Config;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Settings that may change while connections use them.
pub type Shared<T> = Arc<ArcSwap<T>>;

/// Settings of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `default_user.login`
    pub login: String,
    /// `default_user.passcode`
    pub passcode: String,
    /// whether CONNECT may come without a login
    pub allow_anonymous: bool,
    /// limits of a frame
    pub limits: Limits,
    /// what NACK does
    pub nack: Nack,
    /// transactions of a connection that may be open at the same time
    pub max_transactions: usize,
    /// a transaction that is open for longer is aborted
    pub transaction_timeout: Duration,
}

/// What happens to a message that the client did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nack {
    /// It is sent again on the same connection, behind what waits.
    Requeue,
    /// It counts as acknowledged.
    Drop,
}

impl Settings {
    /// Reads the keys that begin with `prefix`: `stomp.` or `sockjs.`.
    pub fn read(config: &Config, prefix: &str) -> Settings {
        let key = |name: &str| format!("{prefix}{name}");
        let text = |name: &str| config.text(&key(name)).unwrap_or("guest").to_string();
        let number = |name: &str, default: usize| {
            let value = config.integer(&key(name));
            value
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(default)
        };
        let limits = Limits::default();
        Settings {
            login: text("default_user.login"),
            passcode: text("default_user.passcode"),
            allow_anonymous: config.switch(&key("allow_anonymous")).unwrap_or(true),
            limits: Limits {
                max_headers: number("frame.max_headers", limits.max_headers),
                max_header_length: number("frame.max_header_length", limits.max_header_length),
                max_body_length: number("frame.max_body_length", limits.max_body_length),
            },
            nack: match config.text(&key("nack")) {
                Some("drop") => Nack::Drop,
                _ => Nack::Requeue,
            },
            max_transactions: number("max_transactions", 16),
            transaction_timeout: config
                .duration(&key("transaction_timeout"))
                .unwrap_or(Duration::from_secs(60)),
        }
    }

    /// These settings, for connections to share.
    pub fn shared(self) -> Shared<Settings> {
        Arc::new(ArcSwap::from_pointee(self))
    }

    /// Whether the passcode is that of the default user; how long that takes tells nothing of it but its length.
    pub(crate) fn is_passcode(&self, passcode: &[u8]) -> bool {
        self.passcode.as_bytes().ct_eq(passcode).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_their_defaults() {
        let settings = Settings::read(&Config::default(), "stomp.");
        assert_eq!(settings.login, "guest");
        assert_eq!(settings.passcode, "guest");
        assert!(settings.allow_anonymous);
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.nack, Nack::Requeue);
        assert_eq!(settings.max_transactions, 16);
        assert_eq!(settings.transaction_timeout, Duration::from_secs(60));

        let config = Config::of(&[
            ("sockjs.default_user.login", "tom"),
            ("sockjs.default_user.passcode", "secret"),
            ("sockjs.allow_anonymous", "false"),
            ("sockjs.frame.max_headers", "3"),
            ("sockjs.frame.max_header_length", "40"),
            ("sockjs.frame.max_body_length", "0"),
            ("sockjs.nack", "drop"),
            ("sockjs.max_transactions", "2"),
            ("sockjs.transaction_timeout", "5s"),
        ]);
        let settings = Settings::read(&config, "sockjs.");
        assert_eq!(settings.login, "tom");
        assert!(settings.is_passcode(b"secret"));
        assert!(!settings.is_passcode(b"secre"));
        assert!(!settings.is_passcode(b"secrex"));
        assert!(!settings.allow_anonymous);
        let limits = Limits {
            max_headers: 3,
            max_header_length: 40,
            max_body_length: 0,
        };
        assert_eq!(settings.limits, limits);
        assert_eq!(settings.nack, Nack::Drop);
        assert_eq!(settings.max_transactions, 2);
        assert_eq!(settings.transaction_timeout, Duration::from_secs(5));
    }
}
