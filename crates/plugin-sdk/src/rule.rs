//! What access rules are made of: networks and topic patterns, matched as `acl.conf` does.
//!
//! A name put in by a client never widens a rule. What `%u` and `%c` stand for is compared as it is: a name with a
//! `/`, one with a wildcard and an empty one are granted nothing through them, and where there is no name a pattern
//! with its placeholder does not match at all.

use crate::ClientRef;
use std::fmt;
use std::net::IpAddr;

/// The leading bits of an address; addresses of the two families never match each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net(Bits);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    V4 { value: u32, bits: u8 },
    V6 { value: u128, bits: u8 },
}

impl Net {
    /// `address` or `address/bits`; bits of the host part are masked off. `None` = it is neither.
    pub fn parse(text: &str) -> Option<Net> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => {
                // `parse` would take a sign
                let digits = bits.bytes().all(|b| b.is_ascii_digit());
                (address, Some(bits.parse::<u8>().ok().filter(|_| digits)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(longest);
        if bits > longest {
            return None;
        }
        // The addresses ::ffff:a.b.c.d are those of IPv4 clients on a socket of both families.
        Some(match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) if bits >= 96 => Net::v4(v4.to_bits(), bits - 96),
            (IpAddr::V4(v4), _) => Net::v4(v4.to_bits(), bits),
            (IpAddr::V6(v6), _) => Net::v6(v6.to_bits(), bits),
        })
    }

    fn v4(value: u32, bits: u8) -> Net {
        let value = value & mask_v4(bits);
        Net(Bits::V4 { value, bits })
    }

    fn v6(value: u128, bits: u8) -> Net {
        let value = value & mask_v6(bits);
        Net(Bits::V6 { value, bits })
    }

    /// Whether the address is one of this network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.0, ip.to_canonical()) {
            (Bits::V4 { value, bits }, IpAddr::V4(ip)) => ip.to_bits() & mask_v4(bits) == value,
            (Bits::V6 { value, bits }, IpAddr::V6(ip)) => ip.to_bits() & mask_v6(bits) == value,
            _ => false,
        }
    }
}

fn mask_v4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask_v6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// Where `%u` (user name) and `%c` (client identifier) mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholders {
    /// Only where they are a whole level, as in `acl.conf` and rows of SQL; elsewhere they are text.
    WholeLevel,
    /// Everywhere, inside a level too and each time, as in filters of Redis and MongoDB.
    Anywhere,
}

/// Why a text is no pattern. Such a pattern could never have matched: no topic has a wildcard in such a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    /// There is nothing.
    Empty,
    /// `+` or `#` beside other characters of its level, or `#` before the last level.
    WildcardPlace,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PatternError::Empty => "a topic cannot be empty",
            PatternError::WildcardPlace => "+ and # must stand alone in a level, # in the last one",
        })
    }
}

impl std::error::Error for PatternError {}

/// The topic of a rule: which topic names it covers, and which topic filters, those taken as they are written.
///
/// A rule on `a/+` covers a subscription to `a/+`, one on `a/b` does not. The `+` of a rule that allows does not
/// cover a `#` of the filter, which asks for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    form: Form,
    /// A wildcard in front may allow what begins with `$`.
    dollar: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// `eq`, and any filter in which nothing is special
    Exact(Box<str>),
    Levels(Box<[Level]>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Name(Box<str>),
    /// `+`
    One,
    /// `#`, always the last
    Rest,
    /// `%u` or `%c` and nothing else; a name that is more than one level equals none
    Own(Name),
    /// with placeholders anywhere; a name may be more than one level where that denies
    Parts(Box<[Part]>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Own(Name),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// `%u`
    Username,
    /// `%c`
    Clientid,
}

impl Name {
    fn of<'a>(self, who: &ClientRef<'a>) -> Option<&'a str> {
        match self {
            Name::Username => who.username,
            Name::Clientid => Some(who.clientid),
        }
    }
}

impl TopicPattern {
    /// The form `eq`: the topic name or filter must be this text. Nothing in it is special.
    pub fn exact(text: &str) -> TopicPattern {
        TopicPattern {
            form: Form::Exact(text.into()),
            dollar: false,
        }
    }

    /// A topic filter with placeholders. A wildcard in front of it allows nothing that begins with `$` (compare
    /// [MQTT-4.7.2-1]), but denies that too: what shuts everything out has no hole.
    ///
    /// # Errors
    /// When it is no filter.
    pub fn parse(text: &str, placeholders: Placeholders) -> Result<TopicPattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let count = text.split('/').count();
        let mut levels = Vec::with_capacity(count);
        for (index, word) in text.split('/').enumerate() {
            levels.push(match (word, placeholders) {
                ("+", _) => Level::One,
                ("#", _) if index + 1 == count => Level::Rest,
                (word, _) if word.contains(['+', '#']) => return Err(PatternError::WildcardPlace),
                ("%u", Placeholders::WholeLevel) => Level::Own(Name::Username),
                ("%c", Placeholders::WholeLevel) => Level::Own(Name::Clientid),
                (word, Placeholders::Anywhere) if word.contains("%u") || word.contains("%c") => {
                    Level::Parts(parts(word))
                }
                (word, _) => Level::Name(word.into()),
            });
        }
        let plain = levels.iter().all(|level| matches!(level, Level::Name(_)));
        Ok(TopicPattern {
            form: match plain {
                true => Form::Exact(text.into()),
                false => Form::Levels(levels.into()),
            },
            dollar: false,
        })
    }

    /// The same, but a wildcard in front also allows what begins with `$`, as `acl.conf` always had it.
    #[must_use]
    pub fn with_dollar(self) -> TopicPattern {
        TopicPattern {
            dollar: true,
            ..self
        }
    }

    /// Whether a rule with this pattern speaks of that topic name or filter. `allow` tells what the rule says: where
    /// there is doubt, a rule that allows does not match and one that denies does. Allocates nothing.
    pub fn matches(&self, who: &ClientRef<'_>, allow: bool, topic: &str) -> bool {
        let levels = match &self.form {
            Form::Exact(text) => return **text == *topic,
            Form::Levels(levels) => levels,
        };
        if allow && topic.starts_with('$') && !self.reaches_dollar(levels) {
            return false;
        }
        // What is left of the topic; `None` behind its last level.
        let mut left = Some(topic);
        for level in levels {
            if *level == Level::Rest {
                return true;
            }
            let Some(text) = left else {
                return false;
            };
            let Some(behind) = level.take(text, who, allow) else {
                return false;
            };
            left = match behind.strip_prefix('/') {
                None if !behind.is_empty() => return false,
                next => next,
            };
        }
        left.is_none()
    }

    /// Whether it may allow what begins with `$`: never because of a name, which the client has chosen.
    fn reaches_dollar(&self, levels: &[Level]) -> bool {
        match levels.first() {
            Some(Level::Name(_)) => true,
            Some(Level::One | Level::Rest) => self.dollar,
            Some(Level::Parts(parts)) => matches!(parts.first(), Some(Part::Text(_))),
            Some(Level::Own(_)) | None => false,
        }
    }
}

impl Level {
    /// What stands behind this level's text at the beginning of `topic`; `None` = something else stands there.
    fn take<'t>(&self, topic: &'t str, who: &ClientRef<'_>, allow: bool) -> Option<&'t str> {
        let word = || topic.split_once('/').map_or(topic, |(word, _)| word);
        match self {
            Level::Name(name) => topic.strip_prefix(&**name),
            // A filter that ends in `#` asks for more than one level: no + allows that.
            Level::One if allow && word() == "#" => None,
            Level::One => topic.strip_prefix(word()),
            Level::Rest => Some(""),
            Level::Own(name) => {
                let name = name.of(who)?;
                match name.contains('/') || allow && !is_harmless(name) {
                    true => None,
                    false => topic.strip_prefix(name),
                }
            }
            Level::Parts(parts) => parts.iter().try_fold(topic, |left, part| match part {
                Part::Text(text) => left.strip_prefix(&**text),
                Part::Own(name) => {
                    let name = name.of(who)?;
                    match allow && !is_harmless(name) {
                        true => None,
                        false => left.strip_prefix(name),
                    }
                }
            }),
        }
    }
}

/// Whether something may be allowed because of this name. A client called `+` must not be granted the filter
/// `own/+`, which is everybody's, nor one called `a/b` what belongs to `a`.
fn is_harmless(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '#', '/'])
}

/// One level, at its placeholders taken apart.
fn parts(word: &str) -> Box<[Part]> {
    let mut parts = Vec::new();
    let mut text = word;
    let next = |text: &str| {
        let found = |mark, name| text.find(mark).map(|at| (at, name));
        let first = [found("%u", Name::Username), found("%c", Name::Clientid)];
        first.into_iter().flatten().min_by_key(|(at, _)| *at)
    };
    while let Some((at, name)) = next(text) {
        if at > 0 {
            parts.push(Part::Text(text[..at].into()));
        }
        parts.push(Part::Own(name));
        // Both placeholders are two bytes.
        text = &text[at + 2..];
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    parts.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Placeholders::{Anywhere, WholeLevel};

    const ALICE: ClientRef<'static> = ClientRef {
        clientid: "c1",
        username: Some("alice"),
    };

    fn user(username: &str) -> ClientRef<'_> {
        ClientRef {
            clientid: "c1",
            username: Some(username),
        }
    }

    fn client(clientid: &str) -> ClientRef<'_> {
        ClientRef {
            clientid,
            username: None,
        }
    }

    fn pattern(text: &str, placeholders: Placeholders) -> TopicPattern {
        TopicPattern::parse(text, placeholders).unwrap()
    }

    fn allows(text: &str, placeholders: Placeholders, who: &ClientRef<'_>, topic: &str) -> bool {
        pattern(text, placeholders).matches(who, true, topic)
    }

    fn denies(text: &str, placeholders: Placeholders, who: &ClientRef<'_>, topic: &str) -> bool {
        pattern(text, placeholders).matches(who, false, topic)
    }

    fn is_in(net: &str, ip: &str) -> bool {
        Net::parse(net).unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn networks() {
        for (net, ip, inside) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.1.2.3/8", "10.255.0.1", true),
            ("10.1.2.3/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.9", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "fe80::1", false),
            ("::/0", "1.2.3.4", false),
            ("2001:db8::1/32", "2001:db8:5::9", true),
            ("2001:db8::1/32", "2001:db9::1", false),
            ("::ffff:192.168.0.0/112", "192.168.9.9", true),
        ] {
            assert_eq!(is_in(net, ip), inside, "{net} {ip}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10/8",
            "localhost",
            " 10.0.0.1",
            "10.0.0.1/8/8",
            "010.0.0.1",
        ] {
            assert_eq!(Net::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for placeholders in [WholeLevel, Anywhere] {
            let parse = |text| TopicPattern::parse(text, placeholders).unwrap_err();
            assert_eq!(parse(""), PatternError::Empty);
            for text in ["a+", "#/a", "a#", "+%u", "%u#", "a/##"] {
                assert_eq!(parse(text), PatternError::WildcardPlace, "{text}");
            }
        }
    }

    #[test]
    fn filters_in_both_modes() {
        for placeholders in [WholeLevel, Anywhere] {
            for (text, topic, covered) in [
                ("a/+/c", "a/b/c", true),
                ("a/+/c", "a//c", true),
                ("a/+/c", "a/b/d", false),
                ("a/+/c", "a/b/c/d", false),
                ("a/+/c", "a/b", false),
                ("b/#", "b", true),
                ("b/#", "b/", true),
                ("b/#", "b/c/d", true),
                ("b/#", "bb", false),
                ("/+", "/x", true),
                ("/+", "/", true),
                ("/+", "/x/", false),
                ("+", "a", true),
                ("+/+", "a/b", true),
                ("x//y", "x//y", true),
                ("x//y", "x/y", false),
                ("a/#", "a/+", true),
                ("a/#", "a/#", true),
                ("a/b", "a/+", false),
                ("#", "#", true),
                ("a/b", "a/bc", false),
                ("a/+/b", "a/x/bc", false),
                ("%u/+", "alice/x", true),
                ("%u/+", "alicex/x", false),
            ] {
                assert_eq!(
                    allows(text, placeholders, &ALICE, topic),
                    covered,
                    "{text} {topic}"
                );
                assert_eq!(
                    denies(text, placeholders, &ALICE, topic),
                    covered,
                    "{text} {topic}"
                );
            }
            // `+` never allows a `#`, and denies one
            assert!(!allows("a/+", placeholders, &ALICE, "a/#"));
            assert!(denies("a/+", placeholders, &ALICE, "a/#"));
        }
    }

    #[test]
    fn exact_has_nothing_special() {
        let exact = TopicPattern::exact("a/+/%u");
        assert!(exact.matches(&ALICE, true, "a/+/%u"));
        assert!(!exact.matches(&ALICE, true, "a/b/%u"));
        assert!(!exact.matches(&ALICE, false, "a/+/alice"));
        assert!(TopicPattern::exact("#").matches(&ALICE, false, "#"));
        assert!(TopicPattern::exact("$SYS/x").matches(&ALICE, true, "$SYS/x"));
    }

    #[test]
    fn dollar() {
        for text in ["#", "+/x", "+/#"] {
            assert!(!allows(text, WholeLevel, &ALICE, "$SYS/x"), "{text}");
            assert!(denies(text, WholeLevel, &ALICE, "$SYS/x"), "{text}");
            let wide = pattern(text, WholeLevel).with_dollar();
            assert!(wide.matches(&ALICE, true, "$SYS/x"), "{text}");
        }
        assert!(allows("$SYS/#", WholeLevel, &ALICE, "$SYS/x"));
        assert!(allows("$client/%c", WholeLevel, &ALICE, "$client/c1"));
        assert!(allows("a/#", WholeLevel, &ALICE, "a/$x"));
        // No name is chosen to get there.
        let sys = client("$SYS");
        for placeholders in [WholeLevel, Anywhere] {
            assert!(
                !pattern("%c/#", placeholders)
                    .with_dollar()
                    .matches(&sys, true, "$SYS/x")
            );
            assert!(denies("%c/#", placeholders, &sys, "$SYS/x"));
            assert!(allows("a/%c/#", placeholders, &sys, "a/$SYS/x"));
        }
        assert!(!allows("%uSYS/#", Anywhere, &user("$"), "$SYS/x"));
        assert!(allows("$%u/#", Anywhere, &user("me"), "$me/x"));
    }

    #[test]
    fn placeholders_by_mode() {
        assert!(allows("s/%u/x", WholeLevel, &ALICE, "s/alice/x"));
        assert!(!allows("s/u%u", WholeLevel, &ALICE, "s/ualice"));
        assert!(allows("s/u%u", WholeLevel, &ALICE, "s/u%u"));
        assert!(allows("s/u%u", Anywhere, &ALICE, "s/ualice"));
        assert!(!allows("s/u%u", Anywhere, &ALICE, "s/u%u"));
        assert!(allows("%u-%c-%u/#", Anywhere, &ALICE, "alice-c1-alice"));
        assert!(allows("%u-%c-%u/#", Anywhere, &ALICE, "alice-c1-alice/x/y"));
        assert!(!allows("%u-%c-%u/#", Anywhere, &ALICE, "alice-c1-bob/x"));
        assert!(!allows("d/%u", Anywhere, &ALICE, "d/alice2"));
        assert!(!allows("d/%u", Anywhere, &ALICE, "d/alice/2"));
        assert!(allows("%%u%", Anywhere, &ALICE, "%alice%"));
        // What is put in is not looked at again.
        let who = ClientRef {
            clientid: "secret",
            username: Some("%c"),
        };
        assert!(allows("t/%u", Anywhere, &who, "t/%c"));
        assert!(!allows("t/%u", Anywhere, &who, "t/secret"));
    }

    #[test]
    fn no_name_matches_nothing() {
        for placeholders in [WholeLevel, Anywhere] {
            for topic in ["t/%u/1", "t//1", "t/undefined/1", "t/+/1"] {
                assert!(
                    !allows("t/%u/#", placeholders, &client("c"), topic),
                    "{topic}"
                );
                assert!(
                    !denies("t/%u/#", placeholders, &client("c"), topic),
                    "{topic}"
                );
            }
        }
    }

    #[test]
    fn hostile_names_are_granted_nothing() {
        for placeholders in [WholeLevel, Anywhere] {
            for name in [
                "", "+", "#", "/", "a/b", "a/#", "a/+", "a+b", "+/+", "x/../y", "b/",
            ] {
                for text in ["t/%u/#", "t/%u", "%u/#", "%u", "t/%u/+", "+/%u"] {
                    let own = text.replace("%u", name).replace('#', "x");
                    let written = text.replace("%u", name);
                    for topic in [&*own, &*written, "t/a/b/x", "t/other/x", "t/a", "t//x", "#"] {
                        assert!(
                            !allows(text, placeholders, &user(name), topic),
                            "{name} {text} {topic}"
                        );
                    }
                }
            }
        }
        for (name, topic) in [
            ("", "dev-"),
            ("+", "dev-+"),
            ("a/b", "dev-a/b"),
            ("#", "dev-#"),
        ] {
            assert!(!allows("dev-%u", Anywhere, &user(name), topic), "{name}");
        }
    }

    #[test]
    fn no_name_escapes_what_denies() {
        for placeholders in [WholeLevel, Anywhere] {
            for (name, topic) in [("+", "t/+/x"), ("#", "t/#"), ("", "t//x"), ("a+b", "t/a+b")] {
                assert!(denies("t/%u/#", placeholders, &user(name), topic), "{name}");
            }
            assert!(!denies("t/%u/#", placeholders, &user("+"), "t/other/x"));
        }
        assert!(denies("t/%u/#", Anywhere, &user("a/b"), "t/a/b/x"));
        assert!(denies("t/d-%u", Anywhere, &user("a/b"), "t/d-a/b"));
        assert!(!denies("t/%u/#", Anywhere, &user("a/b"), "t/a/x"));
        assert!(!denies("t/%u/#", Anywhere, &user("a/b"), "t/a/bc"));
        // As in acl.conf: a whole level is one level.
        assert!(!denies("t/%u/#", WholeLevel, &user("a/b"), "t/a/b/x"));
    }
}
