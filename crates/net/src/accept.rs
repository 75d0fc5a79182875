//! How connections come to an event loop, from its listeners and from other event loops, and how all
//! of them go.

use crate::admission::{RateLimit, allowed};
use crate::listen::OpenListener;
use crate::shard_loop::{Alarm, Command, LISTENERS, Moved, ShardLoop};
use crate::socket::{Layers, Socket, Stage, Transport};
use emqttd_broker::{ListenerState, Peer};
use mio::net::TcpStream;
use mio::{Interest, Token};
use std::io::ErrorKind;
use std::sync::Arc;

/// Connections accepted before those that are there have their turn.
const ACCEPTS: usize = 64;
/// How long connections may take to end when the broker stops, milliseconds.
const FAREWELL: u64 = 2000;

impl ShardLoop {
    pub(crate) fn open_listener(&mut self, mut listener: OpenListener) {
        let entry = self.listeners.vacant_entry();
        let token = Token(LISTENERS + entry.key());
        if let Err(error) =
            self.poll
                .registry()
                .register(&mut listener.socket, token, Interest::READABLE)
        {
            log::error!("listener on {}: {error}", listener.state.listen_on());
            return;
        }
        let (state, key) = (Arc::clone(&listener.state), entry.key());
        entry.insert(listener);
        let (protocol, on, acceptors) = (
            state.protocol(),
            state.listen_on(),
            state.settings.acceptors,
        );
        log::info!("{protocol} listen on {on} with {acceptors} acceptors.");
        self.broker.listener_opened(state);
        self.accept(key);
    }

    pub(crate) fn close_listener(&mut self, state: &Arc<ListenerState>) {
        let key = self
            .listeners
            .iter()
            .find(|(_, l)| Arc::ptr_eq(&l.state, state))
            .map(|(key, _)| key);
        if let Some(key) = key {
            let mut listener = self.listeners.remove(key);
            // The descriptor goes with it in any case.
            let _ = self.poll.registry().deregister(&mut listener.socket);
            self.broker.listener_closed(state);
        }
        state.set_closed();
        for key in self.sockets.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            let socket = &self.sockets[key];
            let theirs = match socket.layers() {
                Some(layers) => Arc::ptr_eq(&layers.peer.listener, state),
                None => self.shard.came_by(key as u32, state),
            };
            if theirs {
                self.lost(key, "shutdown");
            }
        }
    }

    pub(crate) fn shutdown(&mut self) {
        for (_, mut listener) in std::mem::take(&mut self.listeners) {
            let _ = self.poll.registry().deregister(&mut listener.socket);
            self.broker.listener_closed(&listener.state);
        }
        self.ending = Some(self.now + FAREWELL);
        for key in self.sockets.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            if self.sockets[key].open {
                self.shard.shut_down(key as u32);
            } else {
                self.drop_socket(key, "shutdown");
            }
        }
    }

    pub(crate) fn accept(&mut self, key: usize) {
        for _ in 0..ACCEPTS {
            let now = self.now;
            let Some(listener) = self.listeners.get_mut(key) else {
                return;
            };
            if listener.paused_until > now || !listener.may_accept(now) {
                self.alarms
                    .insert((listener.paused_until, Alarm::Accept(key)), ());
                return;
            }
            match listener.socket.accept() {
                Ok((stream, addr)) => self.accepted(key, stream, addr),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return listener.none_came(),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors, most likely: those who wait stay in the backlog.
                    log::error!(
                        "listener on {}: accept: {error}",
                        listener.state.listen_on()
                    );
                    listener.paused_until = now + 200;
                    self.alarms
                        .insert((listener.paused_until, Alarm::Accept(key)), ());
                    return;
                }
            }
        }
        self.alarms.insert((self.now, Alarm::Accept(key)), ());
    }

    fn accepted(&mut self, listener: usize, stream: TcpStream, addr: std::net::SocketAddr) {
        let now = self.now;
        let listener = &mut self.listeners[listener];
        let state = &listener.state;
        // In the order of the sheet (2.6): max_clients, then access rules. Dropping the stream closes it.
        if !state.enter() {
            return log::warn!(
                "listener on {}: max_clients reached, {addr} is refused",
                state.listen_on()
            );
        }
        if !allowed(&state.settings.access, addr.ip()) {
            state.leave("access_denied");
            return log::warn!(
                "listener on {}: {addr} is denied by an access rule",
                state.listen_on()
            );
        }
        listener.look_at_files(now);
        let layers = Layers::new(&listener.state, addr, listener.tls.as_ref(), now);
        let transport = match layers {
            None => Transport::Tcp(stream),
            Some(layers) => Transport::Layered(stream, layers),
        };
        let limit = listener.state.settings.rate_limit;
        let limit = limit.map(|(burst, rate)| RateLimit::new(burst, rate, now));
        let socket = Socket::new(transport, limit);
        let state = Arc::clone(&listener.state);
        let Some(key) = self.register(socket) else {
            return state.leave("closed");
        };
        match self.sockets[key].layers() {
            Some(layers) if layers.stage != Stage::Ready => {
                self.alarms.insert((layers.deadline, Alarm::Setup(key)), ());
            }
            Some(layers) => {
                let peer = layers.peer.clone();
                self.open(key, peer);
            }
            None => self.open(
                key,
                Peer {
                    addr,
                    listener: state,
                    cert_username: None,
                    anonymous: true,
                    headers: None,
                },
            ),
        }
    }

    fn register(&mut self, mut socket: Socket) -> Option<usize> {
        let entry = self.sockets.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = match &mut socket.transport {
            Transport::Tcp(stream) | Transport::Layered(stream, _) => {
                registry.register(stream, Token(key), interest)
            }
            Transport::Pipe(end) => {
                end.arrive(key);
                Ok(())
            }
        };
        if let Err(error) = registered {
            log::error!("a connection cannot be watched: {error}");
            return None;
        }
        entry.insert(socket);
        Some(key)
    }

    pub(crate) fn open(&mut self, key: usize, peer: Peer) {
        self.sockets[key].open = true;
        self.shard.open(key as u32, peer);
    }

    pub(crate) fn adopt(&mut self, moved: Moved) {
        let Moved { mut socket, peer } = moved;
        let listener = Arc::clone(&peer.listener);
        socket.again = false;
        let bytes = std::mem::take(&mut socket.partial);
        if listener.is_closed() || self.ending.is_some() {
            return listener.leave("shutdown");
        }
        let paused_until = socket.paused_until;
        let is_pipe = matches!(socket.transport, Transport::Pipe(_));
        let Some(key) = self.register(socket) else {
            return listener.leave("closed");
        };
        self.open(key, peer);
        if paused_until > 0 {
            self.alarms.insert((paused_until, Alarm::Resume(key)), ());
        }
        // What came while it was on its way raises an event now, as it is registered.
        self.input(key, &bytes);
        if is_pipe {
            self.read(key, true);
        }
    }

    pub(crate) fn move_to(&mut self, key: usize, shard: usize) {
        let mut socket = self.sockets.remove(key);
        socket.open = false;
        let peer = self.shard.give_away(key as u32);
        let deregistered = match &mut socket.transport {
            Transport::Tcp(stream) | Transport::Layered(stream, _) => {
                self.poll.registry().deregister(stream)
            }
            Transport::Pipe(end) => {
                end.leave_for(&self.all[shard]);
                Ok(())
            }
        };
        if let (Some(peer), Ok(())) = (peer, deregistered) {
            // Refused by an event loop that has ended: then the connection ends here.
            let _ = self.all[shard].send(Command::Adopt(Box::new(Moved { socket, peer })));
        }
    }
}
