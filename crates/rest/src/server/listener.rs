//! A listener that is open: who comes in by it, and how it ends.

use super::body::Sent;
use super::crowd::Crowd;
use super::paced::{Pace, Paced, Patience};
use super::settings::Opening;
use super::site::Site;
use crate::auth::Came;
use emqttd_broker::ListenerState;
use emqttd_net::admission::{ConnectionRate, allowed};
use emqttd_tls::TlsContext;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(15);
/// How long a connection may be silent between two requests.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of the head of a request, and of an answer that waits to be written.
const BUFFER: usize = 64 * 1024;
/// Headers of a request.
const MOST_HEADERS: usize = 100;
/// How long requests that are open when a listener closes have to end.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);
/// How long the end of a listener is waited for.
const CLOSING: Duration = Duration::from_secs(5);
/// How long a peer's system may confirm nothing of what was sent to it, at least; and at most, about the system's own limit.
#[cfg(target_os = "linux")]
const UNCONFIRMED: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(15 * 60)];
/// How long nobody is accepted when that has failed, or when they come too fast.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How often certificates are looked at; only when somebody connects.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);
/// How long a connection that gives up its place has to write what is left.
pub(super) const LEAVING: Duration = Duration::from_millis(100);
/// Two lines of the log about the same are at least so far apart.
const QUIET: Duration = Duration::from_secs(10);

/// A socket that is bound.
pub struct Bound {
    socket: std::net::TcpListener,
    opening: Opening,
    state: Arc<ListenerState>,
    tls: Option<Arc<Secured>>,
}

/// TLS of a listener, with certificates that follow their files.
pub struct Secured {
    pub context: TlsContext,
    handshake: Duration,
    looked_at: Mutex<Instant>,
}

/// A listener that is open.
pub struct Open {
    /// what the broker shows
    pub state: Arc<ListenerState>,
    /// where
    pub addr: SocketAddr,
    /// its TLS
    pub tls: Option<Arc<Secured>>,
    close: watch::Sender<bool>,
    closed: Mutex<mpsc::Receiver<()>>,
}

impl Bound {
    /// Binds; the error is a sentence that names the address and, for TLS, the file.
    pub fn new(opening: &Opening) -> Result<Bound, String> {
        let name = format!("listener on {}", opening.state().settings.listen_on);
        let tls = match &opening.tls {
            None => None,
            Some(tls) => {
                let (context, warnings) =
                    TlsContext::from_settings(tls).map_err(|e| format!("{name}: {e}"))?;
                for warning in warnings {
                    log::warn!("{name}: {warning}");
                }
                Some(Arc::new(Secured {
                    context,
                    handshake: tls.handshake_timeout,
                    looked_at: Mutex::new(Instant::now()),
                }))
            }
        };
        let bound = bind(opening).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (addr, socket) = bound.map_err(|e| format!("{name}: {e}"))?;
        let mut opening = opening.clone();
        opening.settle(addr);
        Ok(Bound {
            socket,
            state: Arc::new(opening.state()),
            opening,
            tls,
        })
    }

    /// How it was opened, the port included.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Accepts as soon as `ready` says so, on the runtime within which this is called.
    ///
    /// # Errors
    /// When the system cannot watch the socket.
    pub fn serve(self, site: Site, ready: watch::Receiver<bool>) -> Result<Open, String> {
        let name = format!("listener on {}", self.state.settings.listen_on);
        let failed = |error: io::Error| format!("{name}: {error}");
        let socket = TcpListener::from_std(self.socket).map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        let (close, closing) = watch::channel(false);
        let (end, closed) = mpsc::sync_channel(1);
        let listening = Listening {
            about: Arc::new(About {
                came: Came {
                    peer: addr,
                    protocol: self.state.protocol().into(),
                    listen_on: self.state.listen_on().into(),
                    secure: self.tls.is_some(),
                    old_http: false,
                },
                state: Arc::clone(&self.state),
                site,
                tls: self.tls.clone(),
                opening: self.opening,
                closing,
                complained: Mutex::new(None),
            }),
            socket,
        };
        tokio::spawn(async move {
            listening.run(ready).await;
            // Nobody may be waiting.
            let _ = end.send(());
        });
        Ok(Open {
            state: self.state,
            addr,
            tls: self.tls,
            close,
            closed: Mutex::new(closed),
        })
    }
}

impl Open {
    /// Begins to close it: nobody is accepted any more.
    pub fn begin_to_close(&self) {
        self.state.set_closed();
        self.close.send_replace(true);
    }

    /// Waits for the end of its connections. Blocks, for little more than a second.
    pub fn wait(&self) -> Result<(), String> {
        let closed = self.closed.lock().recv_timeout(CLOSING);
        closed.map_err(|_| "timeout".to_string())
    }
}

pub(super) fn bind(opening: &Opening) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(opening.addr);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(opening.reuseaddr)?;
    // Accepted sockets take these over from the one that listens.
    socket.set_tcp_nodelay(opening.nodelay)?;
    // Who has vanished without a word does not keep streams, which only the heartbeat goes to, for long.
    #[cfg(target_os = "linux")]
    {
        let [least, most] = UNCONFIRMED;
        socket.set_tcp_user_timeout(Some(opening.send_timeout.clamp(least, most)))?;
    }
    if let Some(size) = opening.recbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = opening.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    if opening.addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&opening.addr.into())?;
    socket.listen(i32::try_from(opening.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The task that accepts.
struct Listening {
    socket: TcpListener,
    about: Arc<About>,
}

/// What all connections of a listener share.
struct About {
    came: Came,
    state: Arc<ListenerState>,
    site: Site,
    tls: Option<Arc<Secured>>,
    opening: Opening,
    closing: watch::Receiver<bool>,
    complained: Mutex<Option<Instant>>,
}

/// Counts a connection while it is open.
struct Place(Arc<About>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state.leave("normal");
    }
}

impl Listening {
    async fn run(self, mut ready: watch::Receiver<bool>) {
        let about = self.about;
        let mut closing = about.closing.clone();
        let mut crowd = Crowd::default();
        tokio::select! {
            // An error: nobody will ever say that it is ready.
            ready = said(&mut ready) => if !ready { return },
            _ = said(&mut closing) => return,
        }
        let start = Instant::now();
        let now = || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut rate = ConnectionRate::new(about.opening.max_conn_rate, 0);
        loop {
            tokio::select! {
                _ = said(&mut closing) => break,
                Some(()) = crowd.one_gone() => {}
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(place) = about.admit(peer, &mut crowd).await {
                            crowd.add(|pace, leave| async move {
                                connection(place, stream, peer, pace, &leave).await;
                            });
                        }
                        while !rate.admit(now()) {
                            tokio::time::sleep(BACK_OFF).await;
                        }
                    }
                    // It has gone again.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        about.complain(|name| log::error!("{name}: accept: {error}"));
                        tokio::time::sleep(BACK_OFF).await;
                    }
                },
            }
        }
        drop(self.socket);
        let all = async { while crowd.one_gone().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, all).await;
        crowd.end().await;
    }
}

impl About {
    /// A place for a connection, unless there are too many or the rules keep it out.
    async fn admit(self: &Arc<About>, peer: SocketAddr, crowd: &mut Crowd) -> Option<Place> {
        if !allowed(&self.opening.access, peer.ip()) {
            self.complain(|name| log::warn!("{name}: {peer} is refused by the access rules"));
            return None;
        }
        if let Some(place) = self.place() {
            return Some(place);
        }
        let most = self.state.max_clients();
        // More than one when `max_clients` has become less.
        let over = (self.state.current() + 1).saturating_sub(most);
        if let Some(place) = crowd.make_room(over, || self.place()).await {
            self.complain(|name| {
                log::warn!("{name}: max_clients ({most}) reached, the oldest connections without a request made room");
            });
            return Some(place);
        }
        self.complain(|name| log::warn!("{name}: max_clients ({most}) reached, {peer} is refused"));
        None
    }

    fn place(self: &Arc<About>) -> Option<Place> {
        self.state.enter().then(|| Place(Arc::clone(self)))
    }

    /// Says something in the log, unless something was said just before.
    fn complain(&self, say: impl FnOnce(&str)) {
        let mut complained = self.complained.lock();
        if complained.is_none_or(|at| at.elapsed() >= QUIET) {
            *complained = Some(Instant::now());
            drop(complained);
            say(&format!(
                "{} on {}",
                self.came.protocol, self.came.listen_on
            ));
        }
    }
}

impl Secured {
    /// For a connection that comes now: takes up changed files.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let look = {
            let mut looked_at = self.looked_at.lock();
            let due = looked_at.elapsed() >= LOOK_AT_FILES;
            if due {
                *looked_at = Instant::now();
            }
            due
        };
        if look && self.context.changed() {
            match self.context.reload() {
                Ok(warnings) => {
                    log::info!("{name}: certificates reloaded");
                    for warning in warnings {
                        log::warn!("{name}: {warning}");
                    }
                }
                Err(error) => log::error!("{name}: certificates stay as they were: {error}"),
            }
        }
        TlsAcceptor::from(self.context.config())
    }
}

/// Waits until it is said; `false` = it never will be.
async fn said(what: &mut watch::Receiver<bool>) -> bool {
    what.wait_for(|said| *said).await.is_ok()
}

/// Serves a connection until its end.
async fn connection(place: Place, stream: TcpStream, peer: SocketAddr, pace: Pace, leave: &Notify) {
    let about = &place.0;
    let mut closing = about.closing.clone();
    let Some(secured) = &about.tls else {
        return serve(about, stream, peer, pace, leave).await;
    };
    let name = format!("{} on {}", about.came.protocol, about.came.listen_on);
    let handshake = secured.acceptor(&name).accept(stream);
    let handshake = tokio::time::timeout(secured.handshake, handshake);
    let why = tokio::select! {
        _ = said(&mut closing) => return,
        () = leave.notified() => return,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => return serve(about, stream, peer, pace, leave).await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "handshake timeout".to_string(),
        },
    };
    about.complain(|name| log::warn!("{name}: {peer}: TLS: {}", why.escape_debug()));
}

async fn serve<S>(about: &Arc<About>, stream: S, peer: SocketAddr, pace: Pace, leave: &Notify)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = Patience {
        head: HEAD,
        idle: IDLE,
        write: about.opening.send_timeout,
    };
    let stream = Paced::new(stream, patience, pace.clone());
    let came = Came {
        peer,
        ..about.came.clone()
    };
    let (answering, busy) = (Arc::clone(about), pace.clone());
    let service = service_fn(move |request| {
        let (about, came, pace) = (Arc::clone(&answering), came.clone(), busy.clone());
        async move { Ok::<_, Infallible>(about.site.answer(request, &came, &pace).await) }
    });
    let mut closing = about.closing.clone();
    let served = converse(stream, service, &pace, leave, &mut closing).await;
    if let Err(error) = served {
        log::debug!(
            "{} on {}: {peer}: {error}",
            about.came.protocol,
            about.came.listen_on
        );
    }
}

/// Answers requests until the peer has gone, the listener closes, or the place is wanted for another.
pub(super) async fn converse<S, H>(
    stream: Paced<S>,
    service: H,
    pace: &Pace,
    leave: &Notify,
    closing: &mut watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: HttpService<Incoming, ResBody = Sent, Error = Infallible>,
{
    let mut served = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            // Paced measures it.
            .header_read_timeout(None)
            .max_headers(MOST_HEADERS)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        // First: a request that has come is read before the connection leaves.
        biased;
        served = served.as_mut() => return served,
        _ = said(closing) => served.as_mut().graceful_shutdown(),
        () = leave.notified() => {
            // Whether a request is answered is asked here, where nobody else begins to answer one between the question
            // and the end: one that was begun is always answered to its end.
            if !pace.is_busy() && !pace.is_idle() {
                return Ok(());
            }
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(LEAVING, served.as_mut()).await {
                Ok(served) => return served,
                Err(_) if !pace.is_busy() => return Ok(()),
                Err(_) => {}
            }
        }
    }
    served.await
}
