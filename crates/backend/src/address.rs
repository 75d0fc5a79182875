//! `host:port` of a server.

use std::fmt;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// a name or an IP address, without brackets
    pub host: String,
    /// port
    pub port: u16,
}

impl Address {
    /// Reads `host`, `host:port`, `1.2.3.4:port`, `[::1]:port`, `::1`, or a port alone, which is one of this machine.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, default_port: u16) -> Result<Address, String> {
        let text = text.trim();
        let port = |word: &str| match word.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("`{text}` has no port from 1 to 65535 in it")),
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            match rest.split_once(']') {
                Some((host, "")) => (host, default_port),
                Some((host, rest)) => match rest.strip_prefix(':') {
                    Some(word) => (host, port(word)?),
                    None => return Err(format!("`{text}` is no [address]:port")),
                },
                None => return Err(format!("`{text}` has no `]`")),
            }
        } else if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            ("127.0.0.1", port(text)?)
        } else if text.matches(':').count() > 1 {
            // An IPv6 address without brackets has no port.
            (text, default_port)
        } else {
            match text.split_once(':') {
                Some((host, word)) => (host, port(word)?),
                None => (text, default_port),
            }
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(format!("`{text}` is no host:port"));
        }
        Ok(Address {
            host: host.into(),
            port,
        })
    }

    /// Several, with commas.
    ///
    /// # Errors
    /// As [`Address::parse`]; also when there is none.
    pub fn parse_list(text: &str, default_port: u16) -> Result<Vec<Address>, String> {
        let words = text.split(',').filter(|word| !word.trim().is_empty());
        let all: Vec<Address> = words
            .map(|word| Address::parse(word, default_port))
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err("names no server".into());
        }
        Ok(all)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn forms() {
        for (text, written) in [
            ("127.0.0.1:3307", "127.0.0.1:3307"),
            ("db.example.com", "db.example.com:3306"),
            (" db:1 ", "db:1"),
            ("3310", "127.0.0.1:3310"),
            ("[::1]:3308", "[::1]:3308"),
            ("[fe80::1]", "[fe80::1]:3306"),
            ("::1", "[::1]:3306"),
        ] {
            let address = Address::parse(text, 3306).unwrap();
            assert_eq!(address.to_string(), written, "{text}");
        }
        for text in [
            "", ":1", "a:", "a:b", "a:0", "a:65536", "99999", "[::1", "[::1]x", "a b:1",
        ] {
            assert!(Address::parse(text, 1).is_err(), "{text}");
        }
        assert_eq!(Address::parse_list("a, b:2 ,", 1).unwrap().len(), 2);
        assert!(Address::parse_list(" , ", 1).is_err());
    }
}
