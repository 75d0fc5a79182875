//! Texts that are compared without a copy.

use std::fmt::{self, Write};
use std::net::IpAddr;

/// Whether a part of `text` is `part`, ASCII letters in either case.
pub(crate) fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty() || (text.windows(part.len())).any(|some| some.eq_ignore_ascii_case(part))
}

/// As [`contains`], where nothing to look for is in everything.
pub(crate) fn has(text: &str, part: &Option<String>) -> bool {
    part.as_ref().is_none_or(|part| contains(text, part))
}

/// Whether nothing is asked for, or this.
pub(crate) fn is<T: PartialEq>(value: T, wanted: Option<T>) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

/// Whether an address as text begins so.
pub(crate) fn begins(ip: IpAddr, with: &str) -> bool {
    let mut text = Short([0; 48], 0);
    // The longest address has 45 bytes.
    write!(text, "{ip}").is_ok() && text.0[..text.1].starts_with(with.as_bytes())
}

struct Short([u8; 48], usize);

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let to = self.0[self.1..].get_mut(..text.len()).ok_or(fmt::Error)?;
        to.copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_in_either_case() {
        for (text, part, found) in [
            ("Sensor-12", "sor", true),
            ("Sensor-12", "SOR-1", true),
            ("Sensor-12", "", true),
            ("", "", true),
            ("", "x", false),
            ("é", "É", false),
            ("aé", "Aé", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(contains(text, part), found, "{text} {part}");
        }
    }

    #[test]
    fn addresses_are_compared_as_they_are_written() {
        let longest: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert!(begins(longest, &longest.to_string()));
        assert!(begins("10.1.2.3".parse().unwrap(), "10.1."));
        assert!(!begins("10.1.2.3".parse().unwrap(), "10.1.2.30"));
        assert!(begins("::ffff:10.1.2.3".parse().unwrap(), "::ffff:10."));
    }
}
