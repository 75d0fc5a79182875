//! A socket over UDP, and what comes in by it.

use crate::address::Opening;
use crate::fair::{Datagram, Fair};
use emqttd_plugin_sdk::{Context, Metric, PeerInfo, PluginListener, StartError};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Buffers in the kernel that are asked for, bytes; it may give less.
const BUFFER: usize = 4 * 1024 * 1024;
/// Longest datagram.
const LONGEST: usize = 65_535;
/// Datagrams read before the first of them is given out.
const READ_AT_ONCE: usize = 64;
/// Datagrams read for each that is given out while others wait: more than one, so that what is lost when too many
/// come is lost here, where the loud lose it, and not in the kernel, where all do.
const READ_ON: usize = 8;
/// Datagrams given out before other tasks have their turn, however many more there are: all gateways may share a thread.
const BEFORE_OTHERS: u32 = 256;
/// How long nothing is read after that has failed.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How a socket is opened.
#[derive(Debug, Clone)]
pub struct UdpSettings {
    /// as `emqttd_ctl listeners` shows it: `mqtt-sn:udp`
    pub protocol: String,
    /// where, as configured: `1884`, `127.0.0.1:1884`; port 0 = any
    pub listen_on: String,
    /// the key it was configured with, for errors
    pub key: &'static str,
    /// most clients at a time; the broker counts them
    pub max_clients: usize,
}

/// A socket over UDP that the broker knows; clones are the same.
#[derive(Clone)]
pub struct UdpSocket(Arc<Inner>);

struct Inner {
    /// Watched for what comes in alone. A socket of UDP tells each time that a datagram has left it that it takes more,
    /// which would wake the gateway once more for each that it sends; and nobody waits for that.
    socket: AsyncFd<std::net::UdpSocket>,
    addr: SocketAddr,
    listener: (String, String),
    /// `dropped/in`, `dropped/out`
    dropped_in: Metric,
    dropped_out: Metric,
}

impl UdpSocket {
    /// Opens the socket and shows it in the list of listeners. Blocks: where a plugin starts, or takes other values.
    /// It is closed when the last clone, and its [`Inbox`], are gone. Datagrams that are lost are counted in
    /// `dropped/in` (too many wait) and `dropped/out` (the kernel takes no more).
    ///
    /// # Errors
    /// When the address cannot be used: the key, the address, and why.
    pub fn open(ctx: &Context, settings: UdpSettings) -> Result<UdpSocket, StartError> {
        let opening = Opening {
            ctx,
            key: settings.key,
            listen_on: &settings.listen_on,
        };
        let addr = opening.address()?;
        let socket = bind(addr).and_then(|socket| {
            // Within the runtime, which watches the socket.
            ctx.block_on(async { watch(socket) })
        });
        let socket = socket.map_err(|error| opening.refused(error))?;
        let addr = socket
            .get_ref()
            .local_addr()
            .map_err(|error| opening.refused(error))?;
        let listener = (settings.protocol, addr.to_string());
        ctx.listener(PluginListener {
            protocol: listener.0.clone(),
            listen_on: listener.1.clone(),
            acceptors: 1,
            max_clients: settings.max_clients,
            mountpoint: None,
        });
        log::info!("{} listen on {addr}.", listener.0);
        Ok(UdpSocket(Arc::new(Inner {
            socket,
            addr,
            listener,
            dropped_in: ctx.metric("dropped/in"),
            dropped_out: ctx.metric("dropped/out"),
        })))
    }

    /// Where it is open; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// The device at that address, for
    /// [`VirtualClient::connect`](emqttd_plugin_sdk::virtual_client::VirtualClient::connect).
    pub fn peer(&self, peername: SocketAddr) -> PeerInfo {
        PeerInfo {
            listener: self.0.listener.clone(),
            peername,
            cert_username: None,
            anonymous: true,
        }
    }

    /// Takes it out of the list of listeners and ends its clients, when another takes its place. Blocks; the socket
    /// itself is closed when the last clone is gone.
    pub fn retire(&self, ctx: &Context) {
        let (protocol, listen_on) = &self.0.listener;
        ctx.listener_gone(protocol, listen_on);
    }

    /// Lets datagrams go to broadcast addresses.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn set_broadcast(&self) -> io::Result<()> {
        self.0.socket.get_ref().set_broadcast(true)
    }

    /// Sends without ever waiting; `false` when the kernel does not take it now, as UDP may.
    pub fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> bool {
        let sent = self.0.socket.get_ref().send_to(bytes, to);
        if sent.is_err() {
            self.0.dropped_out.inc();
        }
        sent.is_ok()
    }

    /// What comes in, for one task to take.
    pub fn inbox(&self) -> Inbox {
        Inbox {
            socket: self.clone(),
            waiting: Fair::new(),
            buffer: vec![0; LONGEST].into_boxed_slice(),
            given: 0,
            failing: false,
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // What the kernel does not give is done without.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Has the runtime that it is called in watch a socket for what comes in.
#[allow(
    deprecated,
    reason = "what takes its place is unsafe, for the sake of values that change their descriptor; a socket does not"
)]
fn watch(socket: std::net::UdpSocket) -> io::Result<AsyncFd<std::net::UdpSocket>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Datagrams as they come, the sources in turn.
///
/// What one source sends keeps its order. When more comes than is taken, those who send most lose: at most 4 MB
/// wait.
pub struct Inbox {
    socket: UdpSocket,
    waiting: Fair,
    buffer: Box<[u8]>,
    /// datagrams since other tasks had their turn
    given: u32,
    /// reading has failed, and that was told
    failing: bool,
}

impl Inbox {
    /// The next datagram, which is awaited. A call that is given up loses nothing.
    ///
    /// # Errors
    /// None of those a socket recovers from; it is there so that a task can end for good.
    pub async fn recv(&mut self) -> io::Result<Datagram> {
        if self.given >= BEFORE_OTHERS {
            tokio::task::yield_now().await;
            self.given = 0;
        }
        loop {
            match self.next() {
                Ok(Some(datagram)) => return Ok(datagram),
                Ok(None) => {
                    self.given = 0;
                    // It stays ready until there was nothing to read.
                    let _ready = self.socket.0.socket.readable().await?;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        log::warn!("{}: {error}", self.socket.0.listener.0);
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// A datagram that is there already.
    pub fn try_recv(&mut self) -> Option<Datagram> {
        self.next().ok().flatten()
    }

    fn next(&mut self) -> io::Result<Option<Datagram>> {
        let next = self.take()?;
        self.given = self.given.saturating_add(u32::from(next.is_some()));
        Ok(next)
    }

    fn take(&mut self) -> io::Result<Option<Datagram>> {
        if !self.waiting.is_empty() {
            // An error is met again when nothing waits any more.
            let _ = self.read(READ_ON);
            return Ok(self.waiting.pop());
        }
        let Some(first) = self.read_one()? else {
            return Ok(None);
        };
        // A datagram that is alone goes through no queue.
        let Ok(Some(second)) = self.read_one() else {
            return Ok(Some(first));
        };
        self.keep(first);
        self.keep(second);
        let _ = self.read(READ_AT_ONCE);
        Ok(self.waiting.pop())
    }

    /// Reads what is there, so many datagrams at the most.
    fn read(&mut self, most: usize) -> io::Result<()> {
        for _ in 0..most {
            let Some(datagram) = self.read_one()? else {
                return Ok(());
            };
            self.keep(datagram);
        }
        Ok(())
    }

    fn keep(&mut self, datagram: Datagram) {
        let dropped = self.waiting.push(datagram);
        if dropped > 0 {
            self.socket.0.dropped_in.add(dropped);
        }
    }

    fn read_one(&mut self) -> io::Result<Option<Datagram>> {
        let (socket, buffer) = (&self.socket.0.socket, &mut self.buffer);
        match socket.try_io(Interest::READABLE, |socket| socket.recv_from(buffer)) {
            Ok((len, from)) => {
                self.failing = false;
                Ok(Some(Datagram {
                    from,
                    bytes: self.buffer[..len].to_vec(),
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}
