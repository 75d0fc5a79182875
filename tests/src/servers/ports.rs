//! Ports for servers: below those that the kernel gives to clients, so that a server finds its port free
//! again when it is started a second time.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 21000;
const COUNT: u16 = 7000;

/// A port that no other test process on this machine takes while this value lives.
#[derive(Debug)]
pub struct Port {
    /// the port
    pub number: u16,
    _lock: Lock,
}

/// Reserves a port that is free on both loopback addresses.
pub fn reserve() -> Port {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes begin at different places, so that they seldom meet.
    let begin = (std::process::id().wrapping_mul(131) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let number = FIRST + (begin + step) % COUNT;
        if let Some(lock) = lock(number)
            && is_free(number)
        {
            return Port {
                number,
                _lock: lock,
            };
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT - 1);
}

/// A name in the abstract namespace, which the kernel frees when this process ends in any way.
#[cfg(target_os = "linux")]
type Lock = std::os::unix::net::UnixListener;

#[cfg(target_os = "linux")]
fn lock(port: u16) -> Option<Lock> {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("emqttd-tests-port-{port}");
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name).ok()?;
    Lock::bind_addr(&name).ok()
}

/// No server is started there.
#[cfg(not(target_os = "linux"))]
type Lock = ();

#[cfg(not(target_os = "linux"))]
fn lock(_: u16) -> Option<Lock> {
    None
}

/// Whether this machine has a loopback address of IPv6.
pub(super) fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn is_free(port: u16) -> bool {
    let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port));
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        // A machine without IPv6 has nobody there.
        && !v6.is_err_and(|e| e.kind() == std::io::ErrorKind::AddrInUse)
}
