//! New clients with user name and password, so many at a time, once each.
use crate::codec;
use crate::hist::Hist;
use crate::sys::{self, Epoll};
use crate::Args;
use std::net::Ipv4Addr;

/// Without an answer for so long, the broker is given up.
const PATIENCE_NS: u64 = 30_000_000_000;

#[derive(Clone, Copy)]
struct Client {
    fd: i32,
    /// when it began to connect
    since: u64,
    asked: bool,
    answered: bool,
}

/// Client i is user `--user` followed by i, without `--user` it is nobody; its connection stays until all have theirs.
/// Times are from the begin of the connect to CONNACK.
pub fn run(a: &Args) -> Result<String, String> {
    let n = a.num("n", 2000) as usize;
    let inflight = a.num("inflight", 64) as usize;
    let login = super::login(a);
    let (addr, pids) = (a.addr(), a.pids());
    let ep = Epoll::new();
    let mut clients: Vec<Client> = Vec::with_capacity(n);
    let mut events = vec![sys::no_event(); 256];
    let mut buffer = [0u8; 64];
    let mut packet = Vec::new();
    let mut times = Hist::new();
    let (mut done, mut refused, mut closed) = (0, 0, 0);
    let before = (sys::now_ns(), sys::proc_snap(&pids), sys::self_cpu_us());
    let mut last = before.0;
    while done < n {
        while clients.len() < n && clients.len() - done < inflight {
            let source = Ipv4Addr::from(0x7f00_0002u32 + clients.len() as u32 % 200);
            let since = sys::now_ns();
            let fd = sys::tcp_connect(addr, Some(source))
                .map_err(|e| format!("connect {}: {e}", clients.len()))?;
            ep.add(fd, clients.len() as u64, sys::OUT);
            clients.push(Client {
                fd,
                since,
                asked: false,
                answered: false,
            });
        }
        let ready = ep.wait(&mut events, 1000);
        let now = sys::now_ns();
        if now - last > PATIENCE_NS {
            return Err(format!("no answer after {done} of {n} logins"));
        }
        for event in &events[..ready] {
            let i = event.u64 as usize;
            let Client {
                fd,
                since,
                asked,
                answered,
            } = clients[i];
            if answered {
                // The broker has closed it; closing it here as well ends the events.
                sys::close(fd);
                clients[i].fd = -1;
                continue;
            }
            if !asked && sys::so_error(fd) == 0 {
                let user = login.as_ref().map(|(user, _)| format!("{user}{i}"));
                let login = user
                    .as_deref()
                    .zip(login.as_ref())
                    .map(|(user, (_, password))| (user, &**password));
                packet.clear();
                codec::connect_as(&mut packet, &format!("login-{i}"), 600, true, login);
                // A fresh socket takes so little in one piece.
                sys::write(fd, &packet);
                ep.modify(fd, i as u64, sys::IN);
                clients[i].asked = true;
                continue;
            }
            // CONNACK is four bytes, which come in one piece.
            match if asked { sys::read(fd, &mut buffer) } else { 0 } {
                -1 => continue,
                4 if buffer[0] == 0x20 => {
                    refused += u64::from(buffer[3] != 0);
                    times.add(now - since);
                }
                _ => closed += 1,
            }
            // It stays open; only its end is told.
            ep.modify(fd, i as u64, 0);
            clients[i].answered = true;
            done += 1;
            last = now;
        }
    }
    let secs = (sys::now_ns() - before.0) as f64 / 1e9;
    let after = sys::proc_snap(&pids);
    let own = sys::self_cpu_us() - before.2;
    for client in clients.iter().filter(|client| client.fd >= 0) {
        sys::close(client.fd);
    }
    let each = |us: f64| us / n as f64;
    Ok(format!(
        "{{\"mode\":\"logins\"{},\"n\":{n},\"inflight\":{inflight},\"login_s\":{:.1},\"p50_ms\":{:.3},\"p99_ms\":{:.3},\
         \"broker_us_login\":{:.1},\"broker_user_us\":{:.1},\"broker_sys_us\":{:.1},\"refused\":{refused},\"closed\":{closed},\
         \"gen_us_login\":{:.1},\"rss_kb\":{}}}",
        a.label(),
        n as f64 / secs,
        times.q_us(0.5) / 1e3,
        times.q_us(0.99) / 1e3,
        each(after.run_us - before.1.run_us),
        each(after.utime_us - before.1.utime_us),
        each(after.stime_us - before.1.stime_us),
        each(own),
        after.rss_kb,
    ))
}
