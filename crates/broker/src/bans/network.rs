//! Addresses and networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address, or all that begin with the same bits. An IPv4 address written as one of IPv6 is one of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network {
    pub width: Width,
    /// the bits, those of the host clear
    pub bits: u128,
}

/// How much of an address counts: its family, and how many bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Width {
    pub v6: bool,
    pub prefix: u8,
}

impl Network {
    /// All of that family whose first `prefix` bits are those of `ip`.
    fn new(ip: IpAddr, prefix: u8) -> Option<Network> {
        let (ip, prefix) = match ip {
            IpAddr::V6(v6) if prefix >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => (IpAddr::V4(v4), prefix - 96),
                None => (ip, prefix),
            },
            _ => (ip, prefix),
        };
        let (v6, all, bits) = match ip {
            IpAddr::V4(ip) => (false, 32, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (true, 128, ip.to_bits()),
        };
        let width = Width { v6, prefix };
        (prefix <= all).then(|| width.network(bits))
    }

    /// The address alone.
    pub fn of(ip: IpAddr) -> Network {
        let (v6, prefix, bits) = match ip.to_canonical() {
            IpAddr::V4(ip) => (false, 32, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (true, 128, ip.to_bits()),
        };
        let width = Width { v6, prefix };
        Network { width, bits }
    }
}

impl Width {
    fn all(self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    /// The network of this width in which the bits of an address lie.
    pub fn network(self, bits: u128) -> Network {
        let host = u32::from(self.all() - self.prefix);
        let bits = bits.checked_shr(host).unwrap_or(0);
        Network {
            width: self,
            bits: bits.checked_shl(host).unwrap_or(0),
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Network, ()> {
        let (ip, prefix) = match text.split_once('/') {
            None => (text, None),
            // No signs, no blanks.
            Some((ip, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                (ip, Some(prefix.parse().map_err(drop)?))
            }
            Some(_) => return Err(()),
        };
        let ip: IpAddr = ip.parse().map_err(drop)?;
        let all = if ip.is_ipv4() { 32 } else { 128 };
        Network::new(ip, prefix.unwrap_or(all)).ok_or(())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.width.v6 {
            // It has no more than 32 bits.
            false => write!(f, "{}", Ipv4Addr::from_bits(self.bits as u32))?,
            true => write!(f, "{}", Ipv6Addr::from_bits(self.bits))?,
        }
        if self.width.prefix < self.width.all() {
            write!(f, "/{}", self.width.prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_network_has_one_form() {
        for (text, form) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("255.255.255.255/31", "255.255.255.254/31"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:10.1.2.3/64", "::/64"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("2001:db8:ffff::1/33", "2001:db8:8000::/33"),
            ("2001:db8::1/0", "::/0"),
        ] {
            let network: Result<Network, ()> = text.parse();
            assert_eq!(
                network.map(|n| n.to_string()).as_deref(),
                Ok(form),
                "{text}"
            );
            assert_eq!(form.parse(), network, "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "x",
            "10.1",
            "10.1.2.3/33",
            "10.1.2.3/",
            "10.1.2.3/+8",
            "10.1.2.3/ 8",
            "/8",
            "::/129",
            "10.1.2.3/8/8",
            "10.1.2.256",
            "::1%eth0",
            "[::1]",
            "10.1.2.3/256",
        ] {
            assert_eq!(text.parse::<Network>(), Err(()), "{text}");
        }
    }

    #[test]
    fn an_address_lies_in_its_networks() {
        let lies_in = |ip: &str, network: &str| {
            let ip = Network::of(ip.parse().expect("an address"));
            let network: Network = network.parse().expect("a network");
            network.width.v6 == ip.width.v6 && network.width.network(ip.bits) == network
        };
        assert!(lies_in("10.255.0.1", "10.0.0.0/8"));
        assert!(lies_in("::ffff:10.255.0.1", "10.0.0.0/8"));
        assert!(!lies_in("11.0.0.0", "10.0.0.0/8"));
        assert!(lies_in("203.0.113.9", "0.0.0.0/0"));
        assert!(!lies_in("203.0.113.9", "::/0"));
        assert!(lies_in("2001:db8::9", "::/0"));
        assert!(lies_in("2001:db8::9", "2001:db8::8/125"));
        assert!(!lies_in("2001:db8::10", "2001:db8::8/125"));
    }
}
