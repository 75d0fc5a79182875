//! The keys, but for those that say which events there are and how payloads are written.

use crate::lanes::Amount;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use emqttd_backend::TlsSettings;
use emqttd_http_client::{Headers, HttpSettings, Url, Version};
use emqttd_plugin_sdk::{Config, Entry, StartError};
use std::time::Duration;

/// What is lost when there is no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFull {
    DropOldest,
    DropNewest,
    /// nothing: what there is no room for waits on disk
    Spill,
}

/// Where events go.
#[derive(Debug, Clone)]
pub(crate) struct TargetSettings {
    pub url: Url,
    pub http: HttpSettings,
}

/// What the keys say.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub target: TargetSettings,
    /// requests under way at a time
    pub pool: usize,
    /// a request without answer for so long has failed
    pub timeout: Duration,
    /// an event that could not be delivered is tried again for so long
    pub deadline: Duration,
    /// most events in a request
    pub batch_size: usize,
    /// what waits in memory
    pub queue: Amount,
    pub on_full: OnFull,
    /// bytes that wait on disk
    pub spill_max_bytes: u64,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// The key, where it stands, and what is wrong.
    pub fn read(config: &Config) -> Result<Settings, StartError> {
        let pool = number(config, "web.hook.pool", 8)?;
        Ok(Settings {
            target: TargetSettings::read(config)?,
            pool,
            timeout: period(config, "web.hook.timeout", Duration::from_secs(5))?,
            deadline: period(config, "web.hook.deadline", Duration::from_secs(60))?,
            batch_size: number(config, "web.hook.batch_size", 1)?,
            queue: Amount {
                count: number(config, "web.hook.queue.max_count", 100_000)?,
                bytes: bytes(config, "web.hook.queue.max_bytes", 64 << 20)?
                    .try_into()
                    .unwrap_or(usize::MAX),
            },
            on_full: on_full(config)?,
            spill_max_bytes: bytes(config, "web.hook.spill.max_bytes", 1 << 30)?,
        })
    }
}

impl TargetSettings {
    /// Reads the keys about the web server.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn read(config: &Config) -> Result<TargetSettings, StartError> {
        let url = match given(config, "web.hook.api.url") {
            None => Url::parse("http://127.0.0.1").map_err(StartError)?,
            Some(entry) => Url::parse(&entry.value).map_err(|what| entry.refused(what))?,
        };
        Ok(TargetSettings {
            http: HttpSettings {
                version: version(config)?,
                tls: tls(config, &url)?,
                headers: headers(config)?,
                connections: number(config, "web.hook.pool", 8)?,
            },
            url,
        })
    }
}

/// A key with a value that is not empty.
fn given<'a>(config: &'a Config, key: &str) -> Option<&'a Entry> {
    let entry = config.entry(key)?;
    (!entry.value.trim().is_empty()).then_some(entry)
}

fn number(config: &Config, key: &str, default: usize) -> Result<usize, StartError> {
    match given(config, key) {
        None => Ok(default),
        Some(entry) => match entry.value.trim().parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(entry.refused("takes a number greater than 0")),
        },
    }
}

fn period(config: &Config, key: &str, default: Duration) -> Result<Duration, StartError> {
    match given(config, key) {
        None => Ok(default),
        Some(entry) => match config.duration(key) {
            Some(period) if !period.is_zero() => Ok(period),
            _ => Err(entry.refused("takes a time such as 5s")),
        },
    }
}

fn bytes(config: &Config, key: &str, default: u64) -> Result<u64, StartError> {
    match given(config, key) {
        None => Ok(default),
        Some(entry) => match config.size(key) {
            Some(bytes) if bytes > 0 => Ok(bytes),
            _ => Err(entry.refused("takes a size such as 64MB")),
        },
    }
}

fn on_full(config: &Config) -> Result<OnFull, StartError> {
    let Some(entry) = given(config, "web.hook.on_full") else {
        return Ok(OnFull::DropOldest);
    };
    match entry.value.trim() {
        "drop_oldest" => Ok(OnFull::DropOldest),
        "drop_newest" => Ok(OnFull::DropNewest),
        "spill" => Ok(OnFull::Spill),
        _ => Err(entry.refused("takes `drop_oldest`, `drop_newest` or `spill`")),
    }
}

fn version(config: &Config) -> Result<Version, StartError> {
    let Some(entry) = given(config, "web.hook.http_version") else {
        return Ok(Version::Auto);
    };
    match entry.value.trim() {
        "auto" => Ok(Version::Auto),
        "1.1" => Ok(Version::Http1),
        "2" => Ok(Version::Http2),
        _ => Err(entry.refused("takes `auto`, `1.1` or `2`")),
    }
}

/// Nothing is read of files that only `https:` needs, unless the keys name them.
fn tls(config: &Config, url: &Url) -> Result<TlsSettings, StartError> {
    const HEAD: &str = "web.hook.ssl";
    let named = |name: &str| given(config, &format!("{HEAD}.{name}")).is_some();
    if url.is_https() || ["cacertfile", "certfile", "keyfile"].into_iter().any(named) {
        return TlsSettings::options(config, HEAD);
    }
    // For a server that redirects to https.
    let text = |name: &str| Some(given(config, &format!("{HEAD}.{name}"))?.value.trim());
    Ok(TlsSettings {
        cacertfile: None,
        identity: None,
        verify: text("verify") != Some("verify_none"),
        server_name: text("server_name").map(str::to_string),
    })
}

/// Headers of every request, the login among them. There is one way to log in at the most: it would be a guess which
/// of two counts.
fn headers(config: &Config) -> Result<Headers, StartError> {
    let mut headers = Headers::default();
    let mut logins = Vec::new();
    for name in config.ids("web.hook.header.$id") {
        let Some(entry) = config.entry(&format!("web.hook.header.{name}")) else {
            continue;
        };
        headers
            .add(&name, &entry.value)
            .map_err(|what| entry.refused(what))?;
        if name.eq_ignore_ascii_case("authorization") {
            logins.push(entry);
        }
    }
    let mut login = |entry, value: String| match headers.add("authorization", &value) {
        Ok(()) => {
            logins.push(entry);
            Ok(())
        }
        Err(what) => Err(entry.refused(what)),
    };
    let password = given(config, "web.hook.password");
    match given(config, "web.hook.username") {
        Some(entry) => {
            let password = password.map_or("", |entry| entry.value.as_str());
            let plain = format!("{}:{password}", entry.value.trim());
            login(entry, format!("Basic {}", STANDARD.encode(plain)))?;
        }
        None => {
            if let Some(entry) = password {
                return Err(entry.refused("is given without web.hook.username"));
            }
        }
    }
    if let Some(entry) = given(config, "web.hook.token") {
        login(entry, format!("Bearer {}", entry.value.trim()))?;
    }
    match logins[..] {
        [first, second, ..] => {
            Err(second.refused(format!("cannot be given together with {}", first.key)))
        }
        _ => Ok(headers),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn refused(pairs: &[(&str, &str)]) -> String {
        Settings::read(&Config::of(pairs)).unwrap_err().0
    }

    #[test]
    fn what_counts_where_nothing_is_said() {
        let settings = Settings::read(&Config::default()).unwrap();
        assert_eq!(settings.target.url.to_string(), "http://127.0.0.1/");
        assert_eq!(settings.target.http.version, Version::Auto);
        assert_eq!(settings.target.http.connections, 8);
        assert_eq!((settings.pool, settings.batch_size), (8, 1));
        assert_eq!(settings.timeout, Duration::from_secs(5));
        assert_eq!(settings.deadline, Duration::from_secs(60));
        assert_eq!(settings.queue.count, 100_000);
        assert_eq!(settings.queue.bytes, 64 << 20);
        assert_eq!(settings.on_full, OnFull::DropOldest);
        assert_eq!(settings.spill_max_bytes, 1 << 30);
    }

    #[test]
    fn each_key() {
        let settings = Settings::read(&Config::of(&[
            ("web.hook.api.url", "http://h:8080/a?b=c"),
            ("web.hook.pool", "3"),
            ("web.hook.timeout", "250ms"),
            ("web.hook.deadline", "2h"),
            ("web.hook.batch_size", "100"),
            ("web.hook.queue.max_count", "7"),
            ("web.hook.queue.max_bytes", "1KB"),
            ("web.hook.on_full", "spill"),
            ("web.hook.spill.max_bytes", "2MB"),
            ("web.hook.http_version", "2"),
            ("web.hook.header.x-one", "secret"),
            ("web.hook.username", "me"),
            ("web.hook.password", "secret"),
            ("web.hook.ssl.verify", "verify_none"),
            ("web.hook.ssl.server_name", "n"),
        ]))
        .unwrap();
        assert_eq!(settings.target.url.to_string(), "http://h:8080/a");
        assert_eq!((settings.pool, settings.batch_size), (3, 100));
        assert_eq!(settings.target.http.connections, 3);
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!(settings.deadline, Duration::from_secs(7200));
        assert_eq!(
            settings.queue,
            Amount {
                count: 7,
                bytes: 1024
            }
        );
        assert_eq!(settings.on_full, OnFull::Spill);
        assert_eq!(settings.spill_max_bytes, 2 << 20);
        assert_eq!(settings.target.http.version, Version::Http2);
        assert!(!settings.target.http.tls.verify);
        assert_eq!(settings.target.http.tls.server_name.as_deref(), Some("n"));
        let shown = format!("{settings:?}");
        assert!(shown.contains("authorization") && shown.contains("x-one"));
        assert!(!shown.contains("secret") && !shown.contains("bWU6c2VjcmV0"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (key, value) in [
            ("web.hook.api.url", "ftp://h"),
            ("web.hook.pool", "0"),
            ("web.hook.timeout", "0s"),
            ("web.hook.deadline", "soon"),
            ("web.hook.batch_size", "x"),
            ("web.hook.queue.max_bytes", "0"),
            ("web.hook.on_full", "panic"),
            ("web.hook.http_version", "3"),
            ("web.hook.header.content-length", "1"),
            ("web.hook.password", "secret"),
            ("web.hook.ssl.certfile", "c.pem"),
        ] {
            let why = refused(&[(key, value)]);
            assert!(why.starts_with(&format!("{key} (test) ")), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn one_login() {
        let [user, token] = [("web.hook.username", "me"), ("web.hook.token", "secret")];
        let header = ("web.hook.header.Authorization", "secret");
        for pairs in [[user, token], [user, header], [header, token]] {
            let why = refused(&pairs);
            assert!(why.contains("cannot be given together with"), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
        for pair in [user, token, header] {
            assert!(Settings::read(&Config::of(&[pair])).is_ok());
        }
        assert!(refused(&[("web.hook.token", "a\rb")]).contains("control characters"));
    }
}
