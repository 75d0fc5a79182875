//! Types of values: what a key accepts, and what its text means.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::{AccessNet, AccessRule};

/// What a key accepts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Type {
    /// decimal digits within bounds
    Integer { min: u64, max: u64 },
    /// an integer, or `infinity` of 2.0 for 0
    Length,
    /// digits with a decimal point
    Float,
    /// `on` or `off`
    Flag,
    /// `on` only (`node.heartbeat`)
    FlagOn,
    /// `on` or `off`, or a period as in 2.1, which means `on`
    StatsFlag,
    /// `true` or `false`
    Bool,
    /// `1m30s`; a bare number is seconds. `zero` tells whether nothing at all makes sense
    Duration { zero: bool },
    /// a duration, or a bare number of milliseconds; 0 = never (`retainer.expiry_interval`)
    ExpiryMillis,
    /// `always`, `off` or a duration above zero (`persistence.sync`)
    Sync,
    /// bytes, or with `KB`, `MB`, `GB`
    ByteSize { min: u64, max: u64 },
    /// `60%`
    Percent,
    /// `Port` or `IP:Port`
    Address,
    /// one of these words
    Enum(&'static [&'static str]),
    /// an IP address
    Ip,
    /// anything
    Text,
    /// anything, not to be shown
    Secret,
    /// a path
    File,
    /// `name@host`
    NodeName,
    /// `allow|deny all|IP|IP/len`
    Access,
    /// `burst,rate` in KB and KB per second
    RateLimit,
    /// `topic=priority,...`
    Priorities,
    /// comma list of TLS versions
    TlsVersions,
    /// `plain`, `sha256`, `salt,sha256`, `pbkdf2,sha256,1000,20`, `argon2id`, ...
    PasswordHash,
    /// an MQTT topic filter; may hold `%c` and `%u`
    TopicFilter,
    /// `<filter> <regex> <destination>`
    RewriteRule,
}

/// What a text means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(u64),
    Float(f64),
    Flag(bool),
    Duration(Duration),
    Size(u64),
    Percent(u8),
    Address(SocketAddr),
    Text(String),
    Access(AccessRule),
    /// bytes, bytes per second
    RateLimit(u64, u64),
    Priorities(Vec<(String, u8)>),
    /// TLS 1.2, TLS 1.3
    TlsVersions(bool, bool),
}

/// A value that passed, perhaps with a remark.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    pub(crate) value: Value,
    /// the text to keep instead of the one written
    pub(crate) text: Option<String>,
    /// what to warn of
    pub(crate) note: Option<String>,
}

impl From<Value> for Checked {
    fn from(value: Value) -> Self {
        Self {
            value,
            text: None,
            note: None,
        }
    }
}

/// The longest duration taken: far beyond any use, near enough that clocks do not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Type {
    /// The name EMQ gives the type in `emqttd_ctl set` and over HTTP.
    pub(crate) fn datatype(self) -> &'static str {
        match self {
            Self::Integer { .. } | Self::Length => "integer",
            Self::Float => "float",
            Self::Flag | Self::FlagOn | Self::StatsFlag => "flag",
            Self::Bool | Self::Enum(_) => "enum",
            Self::Duration { .. } | Self::ExpiryMillis => "duration",
            Self::ByteSize { .. } => "bytesize",
            Self::Percent => "percent",
            Self::Address | Self::Ip => "ip",
            Self::File => "file",
            _ => "string",
        }
    }

    /// The words it takes, where it takes only some.
    pub(crate) fn choices(self) -> &'static [&'static str] {
        match self {
            Self::Enum(words) => words,
            Self::Flag | Self::StatsFlag => &["on", "off"],
            Self::FlagOn => &["on"],
            Self::Bool => &["true", "false"],
            _ => &[],
        }
    }

    /// Reads `text` as this type; the error says what would be right.
    pub(crate) fn check(self, text: &str) -> Result<Checked, String> {
        Ok(match self {
            Self::Integer { min, max } => Value::Integer(integer(text, min, max)?).into(),
            Self::Length => return length(text),
            Self::Float => Value::Float(float(text)?).into(),
            Self::Flag => Value::Flag(word(text, "on", "off")?).into(),
            Self::FlagOn => match text {
                "on" => Value::Flag(true).into(),
                _ => return Err(format!("`on` is expected, or no such line, not `{text}`")),
            },
            Self::StatsFlag => return stats_flag(text),
            Self::Bool => Value::Flag(word(text, "true", "false")?).into(),
            Self::Duration { zero } => return duration(text, zero),
            Self::ExpiryMillis => return expiry_millis(text),
            Self::Sync => return sync(text),
            Self::ByteSize { min, max } => {
                let size = byte_size(text)?;
                if size < min {
                    return Err(format!("`{text}` is below {min} bytes"));
                }
                if size > max {
                    return Err(format!("`{text}` is above {max} bytes"));
                }
                Value::Size(size).into()
            }
            Self::Percent => Value::Percent(percent(text)?).into(),
            Self::Address => Value::Address(address(text)?).into(),
            Self::Enum(words) => {
                if !words.contains(&text) {
                    return Err(format!(
                        "one of {} is expected, not `{text}`",
                        words.join(", ")
                    ));
                }
                Value::Text(text.to_owned()).into()
            }
            Self::Ip => match text.parse::<IpAddr>() {
                Ok(_) => Value::Text(text.to_owned()).into(),
                Err(_) => return Err(format!("an IP address is expected, not `{text}`")),
            },
            Self::Text | Self::Secret | Self::File => Value::Text(text.to_owned()).into(),
            Self::NodeName => return node_name(text),
            Self::Access => Value::Access(access(text)?).into(),
            Self::RateLimit => {
                let (burst, rate) = rate_limit(text)?;
                Value::RateLimit(burst, rate).into()
            }
            Self::Priorities => Value::Priorities(priorities(text)?).into(),
            Self::TlsVersions => return tls_versions(text),
            Self::PasswordHash => return password_hash(text),
            Self::TopicFilter => {
                topic_filter(text)?;
                Value::Text(text.to_owned()).into()
            }
            Self::RewriteRule => return rewrite_rule(text),
        })
    }

    /// `text` as EMQ prints it once read: durations in milliseconds, sizes in bytes, flags as
    /// `true`/`false`, fractions with four digits.
    pub(crate) fn print(self, text: &str) -> String {
        let Ok(checked) = self.check(text) else {
            return text.to_owned();
        };
        match checked.value {
            Value::Integer(n) | Value::Size(n) => n.to_string(),
            Value::Float(f) => format!("{f:.4}"),
            Value::Flag(f) => f.to_string(),
            Value::Duration(d) => d.as_millis().to_string(),
            Value::Percent(p) => format!("{:.4}", f64::from(p) / 100.0),
            _ => checked.text.unwrap_or_else(|| text.to_owned()),
        }
    }
}

fn integer(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let parsed = if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse::<u64>().ok()
    } else {
        None
    };
    match parsed {
        Some(n) if (min..=max).contains(&n) => Ok(n),
        Some(_) if max == u64::MAX => Err(format!("{min} or more is expected, not `{text}`")),
        Some(_) => Err(format!(
            "a number from {min} to {max} is expected, not `{text}`"
        )),
        None => Err(format!("a whole number is expected, not `{text}`")),
    }
}

fn length(text: &str) -> Result<Checked, String> {
    if text == "infinity" {
        return Ok(Checked {
            value: Value::Integer(0),
            text: Some("0".into()),
            note: Some("`infinity` is written 0 now".into()),
        });
    }
    Ok(Value::Integer(integer(text, 0, u64::MAX)?).into())
}

fn float(text: &str) -> Result<f64, String> {
    let wrong = || format!("a number with a decimal point is expected, not `{text}`");
    let (whole, fraction) = text.split_once('.').ok_or_else(wrong)?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// `yes` is true, `no` is false, anything else is refused with a hint when it is the other pair.
fn word(text: &str, yes: &str, no: &str) -> Result<bool, String> {
    if text == yes {
        Ok(true)
    } else if text == no {
        Ok(false)
    } else {
        Err(format!("`{yes}` or `{no}` is expected, not `{text}`"))
    }
}

fn stats_flag(text: &str) -> Result<Checked, String> {
    match word(text, "on", "off") {
        Ok(flag) => Ok(Value::Flag(flag).into()),
        Err(reason) => match parse_duration(text) {
            Ok(period) => {
                let on = !period.is_zero();
                let now = if on { "on" } else { "off" };
                Ok(Checked {
                    value: Value::Flag(on),
                    text: Some(now.into()),
                    note: Some(format!(
                        "the period `{text}` of 2.1 is no longer a setting; taken as `{now}`"
                    )),
                })
            }
            Err(_) => Err(reason),
        },
    }
}

fn duration(text: &str, zero: bool) -> Result<Checked, String> {
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let duration = parse_duration(text)?;
    if duration.is_zero() && !zero {
        return Err(format!("a duration above zero is expected, not `{text}`"));
    }
    if !bare || duration.is_zero() {
        return Ok(Value::Duration(duration).into());
    }
    Ok(Checked {
        value: Value::Duration(duration),
        text: Some(format!("{text}s")),
        note: Some(format!(
            "`{text}` has no unit; taken as seconds, write `{text}s`"
        )),
    })
}

fn expiry_millis(text: &str) -> Result<Checked, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let millis = integer(text, 0, LONGEST.as_secs() * 1000)?;
        return Ok(Value::Duration(Duration::from_millis(millis)).into());
    }
    Ok(Value::Duration(parse_duration(text)?).into())
}

fn sync(text: &str) -> Result<Checked, String> {
    if matches!(text, "always" | "off") {
        return Ok(Value::Text(text.to_owned()).into());
    }
    duration(text, false).map_err(|_| {
        format!("`always`, `off` or a duration such as 200ms is expected, not `{text}`")
    })
}

/// Parts of `<number><unit>`, summed; a bare number is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("a duration such as 15s, 1m30s or 2h is expected (f w d h m s ms), not `{text}`")
    };
    let mut rest = text;
    let mut millis = 0.0_f64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') {
            return Err(wrong());
        }
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        millis += number
            * match unit.to_ascii_lowercase().as_str() {
                "f" => 14.0 * 86_400_000.0,
                "w" => 7.0 * 86_400_000.0,
                "d" => 86_400_000.0,
                "h" => 3_600_000.0,
                "m" => 60_000.0,
                "s" => 1000.0,
                "ms" => 1.0,
                // Only as the whole text: `30`, never `1m30`.
                "" if rest.len() == text.len() && tail.is_empty() => 1000.0,
                _ => return Err(wrong()),
            };
        rest = tail;
    }
    // A number that is too large ends as infinity, which is above the bound.
    if millis > LONGEST.as_secs_f64() * 1000.0 {
        return Err(format!("`{text}` is longer than 100 years"));
    }
    Duration::try_from_secs_f64(millis.ceil() / 1000.0).map_err(|_| wrong())
}

fn byte_size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("a number of bytes, or of KB, MB or GB, is expected (64KB), not `{text}`");
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.to_ascii_uppercase().as_str() {
        "" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

fn percent(text: &str) -> Result<u8, String> {
    text.strip_suffix('%')
        .and_then(|n| integer(n, 0, 100).ok())
        .and_then(|n| u8::try_from(n).ok())
        .ok_or_else(|| format!("a percentage from 0% to 100% is expected, not `{text}`"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || {
        format!("a port, or an IP address and a port (127.0.0.1:1883), is expected, not `{text}`")
    };
    let port = |p: &str| {
        integer(p, 0, 65_535)
            .ok()
            .and_then(|p| u16::try_from(p).ok())
    };
    let Some((ip, number)) = text.rsplit_once(':') else {
        let port = port(text).ok_or_else(wrong)?;
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    };
    let ip = ip
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'))
        .unwrap_or(ip);
    let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
    Ok((ip, port(number).ok_or_else(wrong)?).into())
}

/// `name@host`; the parts go into `$SYS` topics, so that nothing of a topic's syntax may be in them.
fn node_name(text: &str) -> Result<Checked, String> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '+' | '#');
    if text.is_empty() || text.contains(bad) {
        return Err(format!(
            "a node name such as emq@127.0.0.1 is expected, without blanks and `/ + #`, not `{text}`"
        ));
    }
    match text.split_once('@') {
        None => {
            let full = format!("{text}@127.0.0.1");
            Ok(Checked {
                value: Value::Text(full.clone()),
                note: Some(format!("`{text}` has no host part; taken as `{full}`")),
                text: Some(full),
            })
        }
        Some((name, host)) if name.is_empty() || host.is_empty() || host.contains('@') => Err(
            format!("a node name such as emq@127.0.0.1 is expected, not `{text}`"),
        ),
        Some(_) => Ok(Value::Text(text.to_owned()).into()),
    }
}

/// `allow` or `deny`, and whom.
impl std::str::FromStr for AccessRule {
    type Err = String;

    fn from_str(text: &str) -> Result<AccessRule, String> {
        access(text)
    }
}

fn access(text: &str) -> Result<AccessRule, String> {
    let wrong = || {
        format!(
            "`allow` or `deny` with `all`, an IP address or a network is expected, not `{text}`"
        )
    };
    let mut words = text.split_ascii_whitespace();
    let allow = word(words.next().unwrap_or(""), "allow", "deny").map_err(|_| wrong())?;
    let who = words.next().ok_or_else(wrong)?;
    if words.next().is_some() {
        return Err(wrong());
    }
    if who == "all" {
        return Ok(AccessRule {
            allow,
            net: AccessNet::All,
        });
    }
    let (ip, length) = match who.split_once('/') {
        Some((ip, length)) => (ip, Some(length)),
        None => (who, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
    let widest = if ip.is_ipv4() { 32 } else { 128 };
    let length = match length {
        Some(length) => integer(length, 0, widest).map_err(|_| wrong())?,
        None => widest,
    };
    let length = u8::try_from(length).map_err(|_| wrong())?;
    Ok(AccessRule {
        allow,
        net: AccessNet::Net(network(ip, length), length),
    })
}

/// `ip` with the bits behind the prefix cleared.
fn network(ip: IpAddr, length: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(ip) & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(ip) & mask).into())
        }
    }
}

fn rate_limit(text: &str) -> Result<(u64, u64), String> {
    let wrong = || {
        format!(
            "`burst,rate` in KB and KB per second with burst > rate > 0 is expected, not `{text}`"
        )
    };
    let (burst, rate) = text.split_once(',').ok_or_else(wrong)?;
    // The bound keeps the multiplication below from overflowing.
    let kilobytes = |n: &str| integer(n.trim(), 1, u64::MAX >> 10).map_err(|_| wrong());
    let (burst, rate) = (kilobytes(burst)?, kilobytes(rate)?);
    if burst <= rate {
        return Err(wrong());
    }
    Ok((burst << 10, rate << 10))
}

fn priorities(text: &str) -> Result<Vec<(String, u8)>, String> {
    let mut list = Vec::new();
    for item in text.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        let (topic, priority) = item
            .rsplit_once('=')
            .ok_or_else(|| format!("`topic=priority` is expected, not `{item}`"))?;
        let topic = topic.trim();
        topic_filter(topic)?;
        if topic.contains(['+', '#']) {
            return Err(format!(
                "`{topic}` is a filter; priorities are given to topic names"
            ));
        }
        let priority = integer(priority.trim(), 0, 255)
            .ok()
            .and_then(|p| u8::try_from(p).ok())
            .ok_or_else(|| format!("a priority from 0 to 255 is expected in `{item}`"))?;
        list.push((topic.to_owned(), priority));
    }
    Ok(list)
}

fn tls_versions(text: &str) -> Result<Checked, String> {
    let (mut v12, mut v13, mut old) = (false, false, Vec::new());
    for version in text.split(',').map(str::trim).filter(|s| !s.is_empty()) {
        match version {
            "tlsv1.3" => v13 = true,
            "tlsv1.2" => v12 = true,
            "tlsv1.1" | "tlsv1" | "sslv3" => old.push(version),
            _ => {
                return Err(format!(
                    "tlsv1.3 and tlsv1.2 with commas between them are expected, not `{version}`"
                ));
            }
        }
    }
    if !v12 && !v13 {
        return Err(format!(
            "`{text}` names no TLS version that is still safe; add tlsv1.2"
        ));
    }
    Ok(Checked {
        value: Value::TlsVersions(v12, v13),
        text: None,
        note: (!old.is_empty())
            .then(|| format!("{} is no longer offered, for safety", old.join(" and "))),
    })
}

fn password_hash(text: &str) -> Result<Checked, String> {
    const PLAIN: &[&str] = &["plain", "md5", "sha", "sha256", "bcrypt"];
    const MAC: &[&str] = &[
        "md4",
        "md5",
        "ripemd160",
        "sha",
        "sha224",
        "sha256",
        "sha384",
        "sha512",
    ];
    let trimmed = text.trim_end_matches([';', ' ', '\t']);
    let words: Vec<&str> = trimmed
        .split([',', ' ', '\t'])
        .filter(|w| !w.is_empty())
        .collect();
    let known = match words.as_slice() {
        [kind] => PLAIN.contains(kind) || matches!(*kind, "pbkdf2" | "argon2id" | "scrypt"),
        ["salt", kind] | [kind, "salt"] => PLAIN[1..].contains(kind),
        ["pbkdf2", mac, iterations, length] => {
            MAC.contains(mac)
                && integer(iterations, 1, u32::MAX.into()).is_ok()
                && integer(length, 1, 1024).is_ok()
        }
        _ => false,
    };
    if !known {
        return Err(format!(
            "plain, md5, sha, sha256, `salt,sha256`, `sha256,salt`, `salt,bcrypt`, argon2id, scrypt or \
             `pbkdf2,sha256,1000,20` is expected, not `{text}`"
        ));
    }
    let stray = trimmed.len() != text.len();
    Ok(Checked {
        value: Value::Text(trimmed.to_owned()),
        text: stray.then(|| trimmed.to_owned()),
        note: stray.then(|| format!("the `;` at the end of `{text}` is left out")),
    })
}

/// The rules of [MQTT-4.7.1-2], [3.1.1: MQTT-4.7.1-3], [MQTT-4.7.3-1] to [MQTT-4.7.3-3].
fn topic_filter(text: &str) -> Result<(), String> {
    let levels = text.split('/').count();
    let fits = text.split('/').enumerate().all(|(i, level)| match level {
        "#" => i + 1 == levels,
        "+" => true,
        _ => !level.contains(['+', '#', '\0']),
    });
    if text.is_empty() || text.len() > 65_535 || !fits {
        return Err(format!("`{text}` is not a topic filter"));
    }
    Ok(())
}

/// Three words; 2.3.0 wanted them in quotes, and some wrote `rewrite` before them. What is kept has neither, but for
/// quotes around a word with a blank.
fn rewrite_rule(text: &str) -> Result<Checked, String> {
    let wrong =
        || format!("`<filter> <regular expression> <destination>` is expected, not `{text}`");
    let mut words = quoted_words(text).ok_or_else(wrong)?;
    if words.len() == 4 && words[0] == "rewrite" {
        words.remove(0);
    }
    let [filter, expression, destination] = words.as_slice() else {
        return Err(wrong());
    };
    if expression.is_empty() || destination.is_empty() {
        return Err(wrong());
    }
    topic_filter(filter)?;
    let kept = [filter, expression, destination]
        .map(|word| match word.contains([' ', '\t']) {
            true => format!("\"{word}\""),
            false => word.clone(),
        })
        .join(" ");
    Ok(Checked {
        value: Value::Text(kept.clone()),
        text: (kept != text).then_some(kept),
        note: None,
    })
}

/// Words with blanks between them; one in double quotes may hold blanks. `None` = a quote is not closed, or something
/// stands right behind one.
fn quoted_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t']);
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find([' ', '\t']).unwrap_or(rest.len())),
        };
        if !tail.is_empty() && !tail.starts_with([' ', '\t']) {
            return None;
        }
        words.push(word.to_owned());
        rest = tail.trim_start_matches([' ', '\t']);
    }
    Some(words)
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
