//! Listening over TCP.

use crate::address::Opening;
use crate::gone::{Gone, Guard, until_dropped};
use crate::stream::Stream;
use crate::tls::Secured;
use emqttd_config::Tls;
use emqttd_plugin_sdk::{Context, PeerInfo, PluginListener, StartError};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Connections that wait to be accepted, at the most.
const BACKLOG: i32 = 1024;
/// How long nobody is accepted after that has failed: out of file descriptors, most likely.
const BACK_OFF: Duration = Duration::from_millis(200);
/// Two lines of the log about the same are at least so far apart.
const QUIET: Duration = Duration::from_secs(10);
/// A peer that is silent for so long is asked by the system whether it is there: not every protocol asks itself.
const SILENCE: Duration = Duration::from_secs(600);
/// It is asked again so often,
const ASKED_EACH: Duration = Duration::from_secs(60);
/// and so many times, before the connection counts as broken.
const ASKED: u32 = 5;
/// How long the end of the task that accepts is waited for.
const CLOSING: Duration = Duration::from_secs(2);

/// How a listener is opened.
#[derive(Debug, Clone)]
pub struct TcpSettings {
    /// as `emqttd_ctl listeners` shows it: `stomp:tcp`
    pub protocol: String,
    /// where, as configured: `61613`, `127.0.0.1:61613`; port 0 = any
    pub listen_on: String,
    /// the key it was configured with, for errors
    pub key: &'static str,
    /// acceptors, as configured; one task accepts
    pub acceptors: u32,
    /// most connections at a time, those in their TLS handshake included; also most clients
    pub max_clients: usize,
    /// with TLS
    pub tls: Option<Tls>,
}

/// A socket that listens, known to the broker.
pub struct TcpListener {
    socket: tokio::net::TcpListener,
    shared: Arc<Shared>,
    guard: Guard,
}

/// A connection that has come, after its TLS handshake.
#[derive(Debug)]
pub struct Connection {
    /// its bytes
    pub stream: Stream,
    /// who it is, for [`VirtualClient::connect`](emqttd_plugin_sdk::virtual_client::VirtualClient::connect)
    pub peer: PeerInfo,
}

struct Shared {
    /// protocol and address
    listener: (String, String),
    /// `stomp:tcp listener on 0.0.0.0:61613`
    name: String,
    addr: SocketAddr,
    acceptors: u32,
    secured: Option<Secured>,
    /// connections open now
    open: AtomicUsize,
    most: AtomicUsize,
    accepting: Mutex<Option<AbortHandle>>,
    gone: Gone,
    /// when something was last said about connections that are not taken
    complained: Mutex<Option<Instant>>,
}

/// What can be done to a listener that serves.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

/// Counts a connection while it is open.
struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl TcpListener {
    /// Opens the socket and shows it in the list of listeners. Blocks: where a plugin starts.
    ///
    /// # Errors
    /// When the address or the files of TLS cannot be used: the key, the address, and why.
    pub fn open(ctx: &Context, settings: TcpSettings) -> Result<TcpListener, StartError> {
        let opening = Opening {
            ctx,
            key: settings.key,
            listen_on: &settings.listen_on,
        };
        let addr = opening.address()?;
        let protocol = &settings.protocol;
        let secured = match &settings.tls {
            None => None,
            Some(tls) => {
                let secured = Secured::new(tls, &format!("{protocol} listener"));
                Some(secured.map_err(|why| opening.refused(why))?)
            }
        };
        let socket = bind(addr).and_then(|socket| {
            // Within the runtime, which watches the socket.
            ctx.block_on(async { tokio::net::TcpListener::from_std(socket) })
        });
        let socket = socket.map_err(|error| opening.refused(error))?;
        let addr = socket
            .local_addr()
            .map_err(|error| opening.refused(error))?;
        let listener = (protocol.clone(), addr.to_string());
        ctx.listener(PluginListener {
            protocol: listener.0.clone(),
            listen_on: listener.1.clone(),
            acceptors: settings.acceptors,
            max_clients: settings.max_clients,
            mountpoint: None,
        });
        let (guard, gone) = until_dropped();
        let shared = Arc::new(Shared {
            name: format!("{protocol} listener on {addr}"),
            listener,
            addr,
            acceptors: settings.acceptors,
            secured,
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(settings.max_clients),
            accepting: Mutex::new(None),
            gone,
            complained: Mutex::new(None),
        });
        Ok(TcpListener {
            socket,
            shared,
            guard,
        })
    }

    /// Where it is open; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.addr
    }

    /// For what is to be done to it later.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// Accepts until the plugin ends or [`Control::close`] is called; `serve` is called for each connection, after
    /// its TLS handshake, and its future runs as a task of its own. A connection counts until that ends. Those
    /// beyond the limit are closed at once.
    pub fn serve<F, Fut>(self, ctx: &Context, serve: F)
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let TcpListener {
            socket,
            shared,
            guard,
        } = self;
        let (protocol, on) = (&shared.listener.0, shared.addr);
        log::info!(
            "{protocol} listen on {on} with {} acceptors.",
            shared.acceptors
        );
        let acceptor = Acceptor {
            socket,
            shared: Arc::clone(&shared),
            serve: Arc::new(serve),
            ctx: ctx.clone(),
            _guard: guard,
        };
        let task = ctx.spawn(acceptor.run());
        *shared.accepting.lock() = Some(task.abort_handle());
    }
}

/// The task that accepts. Its guard is dropped last, when the socket is closed.
struct Acceptor<F> {
    socket: tokio::net::TcpListener,
    shared: Arc<Shared>,
    serve: Arc<F>,
    ctx: Context,
    _guard: Guard,
}

impl<F, Fut> Acceptor<F>
where
    F: Fn(Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    async fn run(self) {
        loop {
            let (stream, peername) = accept(&self.socket, &self.shared).await;
            let Some(place) = enter(&self.shared, peername) else {
                continue;
            };
            let (shared, serve) = (Arc::clone(&self.shared), Arc::clone(&self.serve));
            self.ctx.spawn(async move {
                let _place = place;
                if let Some(stream) = secure(&shared, stream, peername).await {
                    let peer = PeerInfo {
                        listener: shared.listener.clone(),
                        peername,
                        cert_username: None,
                        anonymous: true,
                    };
                    serve(Connection { stream, peer }).await;
                }
            });
        }
    }
}

impl Control {
    /// Where it is open; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }

    /// Most connections at a time from now on; nobody is closed for it. The broker's list shows it, too.
    pub fn set_max_clients(&self, ctx: &Context, most: usize) {
        self.0.most.store(most, Ordering::Release);
        ctx.listener(PluginListener {
            protocol: self.0.listener.0.clone(),
            listen_on: self.0.listener.1.clone(),
            acceptors: self.0.acceptors,
            max_clients: most,
            mountpoint: None,
        });
    }

    /// Closes the socket that listens; connections stay. Done on return, so that the address is free: blocks.
    pub fn close(&self) {
        if let Some(accepting) = self.0.accepting.lock().take() {
            accepting.abort();
            if !self.0.gone.wait(CLOSING) {
                log::warn!("{}: it is not closed yet", self.0.name);
            }
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets take both over.
    socket.set_tcp_nodelay(true)?;
    let asking = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(ASKED_EACH)
        .with_retries(ASKED);
    socket.set_tcp_keepalive(&asking)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The next connection, however long that takes.
async fn accept(socket: &tokio::net::TcpListener, shared: &Arc<Shared>) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok(accepted) => return accepted,
            // It has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                shared.complain(|name| log::error!("{name}: accept: {error}"));
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// A place for one more connection, unless there are too many.
fn enter(shared: &Arc<Shared>, peername: SocketAddr) -> Option<Place> {
    // Only the task that accepts counts up.
    let most = shared.most.load(Ordering::Acquire);
    if shared.open.load(Ordering::Acquire) >= most {
        shared.complain(|name| {
            log::warn!("{name}: max_clients ({most}) reached, {peername} is refused");
        });
        return None;
    }
    shared.open.fetch_add(1, Ordering::AcqRel);
    Some(Place(Arc::clone(shared)))
}

/// The stream, after the handshake where there is one; `None` = it has failed.
async fn secure(shared: &Shared, stream: TcpStream, peername: SocketAddr) -> Option<Stream> {
    let Some(secured) = &shared.secured else {
        return Some(Stream::Plain(stream));
    };
    let handshake = secured.acceptor(&shared.name).accept(stream);
    let why = match tokio::time::timeout(secured.handshake_timeout, handshake).await {
        Ok(Ok(stream)) => return Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "handshake timeout".to_string(),
    };
    shared.complain(|name| log::warn!("{name}: {peername}: TLS: {}", why.escape_debug()));
    None
}

impl Shared {
    /// Says something in the log, unless something was said just before.
    fn complain(&self, say: impl FnOnce(&str)) {
        let mut complained = self.complained.lock();
        if complained.is_none_or(|at| at.elapsed() >= QUIET) {
            *complained = Some(Instant::now());
            drop(complained);
            say(&self.name);
        }
    }
}
