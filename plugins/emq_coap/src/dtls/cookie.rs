//! Cookies (RFC 6347, 4.2.1): a client shows that it gets what is sent to its address, and until then nothing is kept.

use aws_lc_rs::{constant_time, hmac, rand};
use std::net::{IpAddr, SocketAddr};

/// Bytes of a cookie.
pub(super) const LEN: usize = 32;
/// For so many seconds a cookie is given out; it is taken for as long again.
const PERIOD: u64 = 60;

/// Makes cookies and knows them again.
pub(super) struct Baker(hmac::Key);

impl Baker {
    pub fn new() -> Result<Baker, String> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| "there are no random numbers")?;
        Ok(Baker(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The cookie for a client; `seconds` of any clock.
    pub fn bake(&self, seconds: u64, from: SocketAddr, random: &[u8; 32]) -> [u8; LEN] {
        self.of_period(seconds / PERIOD, from, random)
    }

    /// Whether a cookie is that of the client, and not old.
    pub fn is_good(
        &self,
        seconds: u64,
        from: SocketAddr,
        random: &[u8; 32],
        cookie: &[u8],
    ) -> bool {
        let now = seconds / PERIOD;
        [now, now.wrapping_sub(1)].into_iter().any(|period| {
            let ours = self.of_period(period, from, random);
            constant_time::verify_slices_are_equal(&ours, cookie).is_ok()
        })
    }

    fn of_period(&self, period: u64, from: SocketAddr, random: &[u8; 32]) -> [u8; LEN] {
        let ip = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&period.to_be_bytes());
        context.update(&ip.octets());
        context.update(&from.port().to_be_bytes());
        context.update(random);
        let mut cookie = [0; LEN];
        // SHA-256 has 32 bytes.
        cookie.copy_from_slice(context.sign().as_ref());
        cookie
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_client_and_for_a_while() {
        let baker = Baker::new().unwrap();
        let (from, random) = (SocketAddr::from(([10, 0, 0, 1], 5)), [7; 32]);
        let cookie = baker.bake(1000, from, &random);
        assert!(baker.is_good(1000, from, &random, &cookie));
        assert!(baker.is_good(1000 + PERIOD, from, &random, &cookie));
        assert!(!baker.is_good(1000 + 2 * PERIOD, from, &random, &cookie));
        assert!(!baker.is_good(1000, from, &[8; 32], &cookie));
        for other in [([10, 0, 0, 1], 6), ([10, 0, 0, 2], 5)] {
            assert!(!baker.is_good(1000, other.into(), &random, &cookie));
        }
        for wrong in [&[][..], &cookie[..31], &[0; LEN]] {
            assert!(!baker.is_good(1000, from, &random, wrong));
        }
        assert!(!Baker::new().unwrap().is_good(1000, from, &random, &cookie));
    }
}
