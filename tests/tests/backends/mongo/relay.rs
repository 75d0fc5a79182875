//! Another address for a server, such as one of IPv6, which counts connections.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Lasts until the test process ends.
pub struct Relay {
    address: SocketAddr,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Relay {
    /// Passes on to that port of 127.0.0.1.
    pub fn start(ip: IpAddr, port: u16) -> Relay {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let relay = Relay {
            address: listener.local_addr().unwrap(),
            now: Arc::default(),
            most: Arc::default(),
        };
        let (now, most) = (Arc::clone(&relay.now), Arc::clone(&relay.most));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A server that is not there closes the connection.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
                    continue;
                };
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let now = Arc::clone(&now);
                thread::spawn(move || copy(back, client));
                thread::spawn(move || {
                    copy(forth, server);
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        relay
    }

    /// As `auth.mongo.server` takes it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections at a time, at most.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
