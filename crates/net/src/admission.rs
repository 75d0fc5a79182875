//! Who may come in, how fast, and how much they may send. No clocks inside: `now` is in
//! milliseconds of any clock that does not go back.

use std::net::IpAddr;

use emqttd_config::AccessRule;

/// Whether `access.$id` rules let `peer` in: the first that matches decides; none = allowed.
pub fn allowed(rules: &[AccessRule], peer: IpAddr) -> bool {
    let _ = (rules, peer);
    unimplemented!()
}

/// `max_conn_rate`: connections a listener accepts per second.
#[derive(Debug, Clone)]
pub struct ConnectionRate {}

impl ConnectionRate {
    /// `per_second` 0 = no limit.
    pub fn new(per_second: u32, now: u64) -> ConnectionRate {
        let _ = (per_second, now);
        unimplemented!()
    }

    /// Whether one more connection may come in now.
    pub fn admit(&mut self, now: u64) -> bool {
        let _ = now;
        unimplemented!()
    }
}

/// `rate_limit = burst,rate`: bytes a connection may send.
#[derive(Debug, Clone)]
pub struct RateLimit {}

impl RateLimit {
    /// `burst` in bytes, `rate` in bytes per second.
    pub fn new(burst: u64, rate: u64, now: u64) -> RateLimit {
        let _ = (burst, rate, now);
        unimplemented!()
    }

    /// Counts bytes just read; the answer is for how many milliseconds not to read (0 = go on).
    pub fn consume(&mut self, bytes: usize, now: u64) -> u64 {
        let _ = (bytes, now);
        unimplemented!()
    }
}

/// `max_publish_rate`: packets a client may send per second.
#[derive(Debug, Clone)]
pub struct PacketRate {}

impl PacketRate {
    /// `per_second` packets; 0 = no limit.
    pub fn new(per_second: u32, now: u64) -> PacketRate {
        let _ = (per_second, now);
        unimplemented!()
    }

    /// Counts packets just read; the answer is for how many milliseconds not to read (0 = go on).
    pub fn consume(&mut self, packets: u32, now: u64) -> u64 {
        let _ = (packets, now);
        unimplemented!()
    }
}
