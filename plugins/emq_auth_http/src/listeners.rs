//! The default URL is at port 8080, where the broker's own management API listens: many have asked that by mistake.

use emqttd_http_client::Url;
use emqttd_plugin_sdk::Context;
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// When it is looked at after the plugin has started: the broker opens its listeners after its plugins.
const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Says so in the log, soon, when a URL leads back to this process.
pub(crate) fn warn_of_own<'a>(ctx: &Context, urls: impl Iterator<Item = &'a Url>) {
    let urls = urls.filter(|url| is_here(url.host()));
    let mut suspects: Vec<(u16, String)> = urls.map(|url| (url.port(), url.to_string())).collect();
    let own = ctx.clone();
    let watch = async move {
        for pause in PAUSES {
            if suspects.is_empty() {
                return;
            }
            tokio::time::sleep(pause).await;
            let Some(ports) = own.blocking(listening).await else {
                return;
            };
            suspects.retain(|(port, url)| {
                let found = ports.contains(port);
                if found {
                    log::warn!(
                        "emq_auth_http: {url} is a listener of this broker, not the service that knows its \
                         clients: see auth.http.auth_req, super_req and acl_req in etc/plugins/emq_auth_http.conf"
                    );
                }
                !found
            });
        }
    };
    drop(ctx.spawn(watch));
}

fn is_here(host: &str) -> bool {
    let ip = host.parse::<IpAddr>();
    ip.map_or(host.eq_ignore_ascii_case("localhost"), |ip| {
        let ip = ip.to_canonical();
        ip.is_loopback() || ip.is_unspecified()
    })
}

/// TCP ports on which this process listens, as the system knows them; none where it does not tell.
fn listening() -> HashSet<u16> {
    let fds = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let links = fds.flatten().flat_map(|fd| std::fs::read_link(fd.path()));
    let sockets: HashSet<String> = links.filter_map(|to| inode(to.to_str()?)).collect();
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .into_iter()
        .flat_map(std::fs::read_to_string)
        .flat_map(|table| ports(&table, &sockets))
        .collect()
}

/// The number in `socket:[4711]`.
fn inode(link: &str) -> Option<String> {
    let number = link.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some(number.to_string())
}

/// Ports of the sockets that listen.
fn ports(table: &str, sockets: &HashSet<String>) -> Vec<u16> {
    const LISTEN: &str = "0A";
    let port = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let ours = *state == LISTEN && sockets.contains(*inode);
        let port = local.rsplit(':').next()?;
        u16::from_str_radix(port, 16).ok().filter(|_| ours)
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn our_own_ports() {
        if !std::path::Path::new("/proc/self/net/tcp").exists() {
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listening().contains(&port));
        drop(listener);
        assert!(!listening().contains(&port));
    }

    #[test]
    fn sockets_of_others() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0\n   \
                     1: 0100007F:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0\n";
        let ours = |inode: &str| ports(table, &HashSet::from([inode.to_string()]));
        assert_eq!(ours("77"), [8080]);
        assert_eq!(ours("78"), [0; 0], "it does not listen");
        assert_eq!(ours("79"), [0; 0]);
    }

    #[test]
    fn places_of_this_machine() {
        for host in [
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "localhost",
            "LOCALHOST",
            "0.0.0.0",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_here(host), "{host}");
        }
        for host in ["10.0.0.1", "example.com", "::2"] {
            assert!(!is_here(host), "{host}");
        }
    }
}
