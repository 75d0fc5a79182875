//! ADVERTISE: when it goes out, and where to.

use crate::packet::{Packet, encode};
use crate::settings::{DISCOVERY_PORT, Settings};
use emqttd_gateway::UdpSocket;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The broadcast addresses of the interfaces that a socket at `bound` can be reached by.
///
/// # Errors
/// When the system does not tell its interfaces.
fn targets(bound: IpAddr) -> io::Result<Vec<SocketAddr>> {
    let IpAddr::V4(bound) = bound else {
        // IPv6 has no broadcast.
        return Ok(Vec::new());
    };
    if bound.is_loopback() {
        return Ok(vec![to(Ipv4Addr::new(127, 255, 255, 255))]);
    }
    let interfaces = if_addrs::get_if_addrs()?.into_iter();
    let own = interfaces.filter_map(|interface| match interface.addr {
        if_addrs::IfAddr::V4(address) => Some((address.ip, address.broadcast?)),
        if_addrs::IfAddr::V6(_) => None,
    });
    Ok(covered(bound, own))
}

/// Of interfaces with address and broadcast address, the broadcast addresses of those that are covered.
fn covered(
    bound: Ipv4Addr,
    interfaces: impl Iterator<Item = (Ipv4Addr, Ipv4Addr)>,
) -> Vec<SocketAddr> {
    let covered = interfaces
        .filter(|(own, broadcast)| {
            // One between two ends has the other one there.
            let is_one = broadcast != own && !broadcast.is_unspecified() && !own.is_loopback();
            is_one && (bound.is_unspecified() || bound == *own)
        })
        .map(|(_, broadcast)| to(broadcast));
    let mut targets: Vec<SocketAddr> = covered.collect();
    targets.sort();
    targets.dedup();
    targets
}

fn to(broadcast: Ipv4Addr) -> SocketAddr {
    (broadcast, DISCOVERY_PORT).into()
}

/// ADVERTISE, which goes out when the gateway begins and then again and again.
pub struct Advertising {
    /// seconds between them; 0 = none is sent
    duration: u16,
    /// empty = the broadcast address of each interface
    to: Vec<SocketAddr>,
    /// when the next one is due
    pub due: u64,
}

impl Advertising {
    /// The first one is due at once.
    pub fn new(settings: &Settings, socket: &UdpSocket) -> Advertising {
        if settings.advertise_duration > 0
            && let Err(error) = socket.set_broadcast()
        {
            log::warn!("emq_sn: ADVERTISE cannot be sent to broadcast addresses: {error}");
        }
        Advertising {
            duration: settings.advertise_duration,
            to: settings.advertise_to.clone(),
            due: match settings.advertise_duration {
                0 => u64::MAX,
                _ => 0,
            },
        }
    }

    /// Sends one to all, and the next one is due.
    pub fn send(&mut self, now: u64, gateway_id: u8, socket: &UdpSocket) {
        self.due = now + u64::from(self.duration) * 1000;
        let packet = Packet::Advertise {
            gateway_id,
            duration: self.duration,
        };
        let mut bytes = Vec::new();
        encode(&packet, &mut bytes);
        let targets = match self.to.as_slice() {
            // Interfaces come and go.
            [] => targets(socket.local_addr().ip()).unwrap_or_else(|error| {
                log::warn!("emq_sn: ADVERTISE: the interfaces are not known: {error}");
                Vec::new()
            }),
            to => to.to_vec(),
        };
        for to in targets {
            socket.try_send_to(&bytes, to);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn loopback_stays_on_this_machine() {
        let targets = targets(Ipv4Addr::LOCALHOST.into()).unwrap();
        assert_eq!(targets, ["127.255.255.255:1884".parse().unwrap()]);
        assert_eq!(super::targets("::1".parse().unwrap()).unwrap(), []);
    }

    #[test]
    fn interfaces_that_are_covered() {
        let interfaces = [
            ([127, 0, 0, 1], [127, 255, 255, 255]),
            ([10, 0, 0, 7], [10, 0, 0, 255]),
            ([10, 0, 0, 8], [10, 0, 0, 255]),
            ([192, 168, 1, 2], [192, 168, 1, 255]),
            ([172, 16, 0, 1], [0, 0, 0, 0]),
        ];
        let interfaces = || interfaces.iter().map(|(a, b)| ((*a).into(), (*b).into()));
        let shown = |bound: [u8; 4]| {
            let targets = covered(bound.into(), interfaces()).into_iter();
            targets.map(|to| to.to_string()).collect::<Vec<_>>()
        };
        let all = ["10.0.0.255:1884", "192.168.1.255:1884"];
        assert_eq!(shown([0, 0, 0, 0]), all);
        assert_eq!(shown([192, 168, 1, 2]), ["192.168.1.255:1884"]);
        assert_eq!(shown([192, 168, 1, 3]), [""; 0]);
    }
}
