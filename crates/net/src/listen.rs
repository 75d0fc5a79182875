//! Open listeners: the socket, who may come in by it, and how fast.

use crate::admission::ConnectionRate;
use crate::tls::TlsContext;
use emqttd_broker::ListenerState;
use emqttd_config::{Listener, ListenerKind};
use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use std::sync::Arc;

/// How often the files of a listener are looked at, milliseconds; only when somebody connects.
const LOOK_AT_FILES: u64 = 10_000;

/// A listener that is bound, on its way to an event loop or in it.
pub(crate) struct OpenListener {
    pub socket: TcpListener,
    pub state: Arc<ListenerState>,
    pub tls: Option<Arc<TlsContext>>,
    rate: Option<ConnectionRate>,
    looked_at: u64,
    /// no accepting until then, milliseconds
    pub paused_until: u64,
}

impl OpenListener {
    /// Binds; the error is a sentence that names the address and, for TLS, the file.
    pub fn bind(settings: &Listener) -> Result<OpenListener, String> {
        let name = format!("listener on {}", settings.listen_on);
        let nameless = matches!(settings.kind, ListenerKind::Tcp | ListenerKind::Ws)
            && !settings.proxy_protocol;
        if settings.peer_cert_as_username.is_some() && nameless {
            return Err(format!(
                "{name}: peer_cert_as_username needs TLS or proxy_protocol = on"
            ));
        }
        let tls = match (&settings.tls, settings.kind) {
            (Some(tls), ListenerKind::Ssl | ListenerKind::Wss) => {
                let (context, warnings) =
                    TlsContext::from_settings(tls).map_err(|e| format!("{name}: {e}"))?;
                for warning in warnings {
                    log::warn!("{name}: {warning}");
                }
                Some(Arc::new(context))
            }
            _ => None,
        };
        let socket = bind(settings).map_err(|e| format!("{name}: {e}"))?;
        Ok(OpenListener {
            socket,
            state: Arc::new(ListenerState::new(settings.clone())),
            tls,
            rate: (settings.max_conn_rate > 0)
                .then(|| ConnectionRate::new(settings.max_conn_rate, 0)),
            looked_at: 0,
            paused_until: 0,
        })
    }

    /// Whether one more may be accepted now; if not, accepting pauses, and who waits stays in the
    /// backlog.
    pub fn may_accept(&mut self, now: u64) -> bool {
        if self.rate.as_mut().is_none_or(|rate| rate.admit(now)) {
            return true;
        }
        self.paused_until = now + 100;
        false
    }

    /// Nobody was there to be accepted after all.
    pub fn none_came(&mut self) {
        if let Some(rate) = &mut self.rate {
            rate.take_back();
        }
    }

    /// Takes up changed certificates. New connections use them; old ones keep theirs.
    pub fn look_at_files(&mut self, now: u64) {
        let Some(tls) = &self.tls else { return };
        if now < self.looked_at + LOOK_AT_FILES {
            return;
        }
        self.looked_at = now;
        if tls.changed() {
            match tls.reload() {
                Ok(warnings) => {
                    log::info!("{}: certificates reloaded", self.state.listen_on());
                    for warning in warnings {
                        log::warn!("{}: {warning}", self.state.listen_on());
                    }
                }
                Err(error) => log::error!(
                    "{}: certificates stay as they were: {error}",
                    self.state.listen_on()
                ),
            }
        }
    }
}

fn bind(settings: &Listener) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(settings.addr),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(settings.reuseaddr)?;
    // Accepted sockets take these over from the one that listens.
    socket.set_tcp_nodelay(settings.nodelay)?;
    if let Some(size) = settings.recbuf {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = settings.sndbuf {
        socket.set_send_buffer_size(size)?;
    }
    if settings.addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&settings.addr.into())?;
    socket.listen(i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}
