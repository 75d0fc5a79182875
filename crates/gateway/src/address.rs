//! Addresses as the configuration has them.

use emqttd_plugin_sdk::{Context, StartError};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a listener is to be opened: a key, and what it says.
pub(crate) struct Opening<'a> {
    pub ctx: &'a Context,
    pub key: &'static str,
    pub listen_on: &'a str,
}

impl Opening<'_> {
    /// The address.
    ///
    /// # Errors
    /// When it is none.
    pub fn address(&self) -> Result<SocketAddr, StartError> {
        let expected = "a port, or an IP address and a port, is expected";
        address(self.listen_on).ok_or_else(|| self.refused(expected))
    }

    /// Why it cannot be used, with the key and where that stands.
    pub fn refused(&self, why: impl Display) -> StartError {
        let what = format!("= {}: {why}", self.listen_on);
        match self.ctx.config().entry(self.key) {
            Some(entry) => entry.refused(what),
            None => StartError(format!("{} {what}", self.key)),
        }
    }
}

/// `127.0.0.1:1884`, `[::1]:1884`, or a port alone, which is one of every IPv4 address.
pub fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let Some((ip, port)) = text.rsplit_once(':') else {
        let port: u16 = text.parse().ok()?;
        return Some((Ipv4Addr::UNSPECIFIED, port).into());
    };
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(ip).parse().ok()?;
    Some((ip, port.parse().ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let shown = |text: &str| address(text).map(|address| address.to_string());
        assert_eq!(shown("1884").as_deref(), Some("0.0.0.0:1884"));
        assert_eq!(shown("127.0.0.1:0").as_deref(), Some("127.0.0.1:0"));
        assert_eq!(shown("[::1]:5").as_deref(), Some("[::1]:5"));
        assert_eq!(shown(":::5").as_deref(), Some("[::]:5"));
        for wrong in ["", "x", "70000", "localhost:1", "1.2.3.4:", "[::1:5"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
