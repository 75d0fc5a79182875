//! The event loop of one shard.
//!
//! A round: wait; read what is ready and let the shard work on it; take what other threads left; fire
//! timers; write each connection that has output once; hand batches to the other shards. For a lone
//! message that makes three system calls: wait, read, write.
//!
//! Sockets are registered once, edge-triggered, for reading and writing. Virtual connections have no socket:
//! of their events a command tells.

use crate::listen::OpenListener;
use crate::pipe::{Received, Shared};
use crate::socket::{Fed, Layers, Socket, Stage, Transport};
use emqttd_broker::{Broker, ListenerState, Next, Peer, Shard};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes read from one socket at a time, by all into the same place.
const SCRATCH: usize = 256 * 1024;
/// Bytes of an unfinished packet that are put in front of the next read; more are gathered apart.
const COPIED: usize = 4096;
/// Reads from one socket before the others have their turn.
const TURNS: usize = 4;
/// Slices handed to one `writev`.
const SLICES: usize = 64;

const WAKER: Token = Token(usize::MAX);
/// Listeners have the tokens from here on; sockets those below.
pub(crate) const LISTENERS: usize = usize::MAX / 2;

/// What other threads ask of an event loop.
pub(crate) enum Command {
    /// a connection whose client id belongs to this shard, or a new virtual one
    Adopt(Box<Moved>),
    /// news of a virtual connection
    Pipe(Arc<Shared>),
    /// a listener to accept from
    Open(Box<OpenListener>),
    /// a listener to close, with its connections; the answer comes when that is done
    Close(Arc<ListenerState>, SyncSender<()>),
    /// the broker stops
    Shutdown,
}

/// A connection on its way to another shard, with all bytes from its CONNECT on.
pub(crate) struct Moved {
    pub socket: Socket,
    pub peer: Peer,
}

/// Where commands are left for an event loop.
pub(crate) struct Inbox {
    commands: Mutex<Commands>,
    waker: Waker,
}

#[derive(Default)]
struct Commands {
    waiting: Vec<Command>,
    /// the event loop waits; else it looks here before it does
    asleep: bool,
    /// the event loop has ended
    ended: bool,
}

impl Inbox {
    /// Leaves a command; gives it back when the event loop has ended.
    pub fn send(&self, command: Command) -> Result<(), Command> {
        let mut commands = self.commands();
        if commands.ended {
            return Err(command);
        }
        commands.waiting.push(command);
        let asleep = std::mem::take(&mut commands.asleep);
        drop(commands);
        if asleep {
            self.wake();
        }
        Ok(())
    }

    /// The event loop is about to wait: whoever leaves a command from now on wakes it. `false` when there are commands.
    fn fall_asleep(&self) -> bool {
        let mut commands = self.commands();
        commands.asleep = commands.waiting.is_empty();
        commands.asleep
    }

    /// The event loop has something to do, and looks for commands before it waits again.
    fn stay_awake(&self) {
        self.commands().asleep = false;
    }

    fn commands(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It fails only when the event loop is gone, and then nobody is to be woken.
        let _ = self.waker.wake();
    }
}

/// What a timer of the event loop is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// the set-up of this socket must be over
    Setup(usize),
    /// this socket is read again
    Resume(usize),
    /// this listener accepts again
    Accept(usize),
}

/// The event loop of one shard.
pub(crate) struct ShardLoop {
    pub(crate) shard: Shard,
    pub(crate) broker: Broker,
    pub(crate) poll: Poll,
    pub(crate) inbox: Arc<Inbox>,
    /// inboxes of all shards
    pub(crate) all: Vec<Arc<Inbox>>,
    pub(crate) sockets: Slab<Socket>,
    pub(crate) listeners: Slab<OpenListener>,
    pub(crate) alarms: BTreeMap<(u64, Alarm), ()>,
    /// sockets that may have more to read although no event says so
    pub(crate) again: Vec<usize>,
    pub(crate) scratch: Box<[u8]>,
    pub(crate) plain: Vec<u8>,
    pub(crate) dirty: Vec<u32>,
    pub(crate) now: u64,
    /// when the broker stops, all ends by then at the latest
    pub(crate) ending: Option<u64>,
}

impl ShardLoop {
    pub fn new(shard: Shard, broker: Broker) -> io::Result<(ShardLoop, Arc<Inbox>)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let inbox = Arc::new(Inbox {
            commands: Mutex::default(),
            waker,
        });
        let waker = Arc::clone(&inbox);
        shard.set_waker(Box::new(move || waker.wake()));
        let this = ShardLoop {
            shard,
            broker,
            poll,
            inbox: Arc::clone(&inbox),
            all: Vec::new(),
            sockets: Slab::new(),
            listeners: Slab::new(),
            alarms: BTreeMap::new(),
            again: Vec::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            plain: Vec::new(),
            dirty: Vec::new(),
            now: 0,
            ending: None,
        };
        Ok((this, inbox))
    }

    /// Runs until the broker stops. `all` are the inboxes of all shards, by number.
    pub fn run(mut self, all: Vec<Arc<Inbox>>) {
        self.all = all;
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout();
            let polled = self.poll.poll(&mut events, timeout);
            self.inbox.stay_awake();
            match polled {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("event loop {}: {error}", self.shard.index());
                    return self.broker.stop();
                }
            }
            self.round(&events);
            self.shard.end_round();
            if self
                .ending
                .is_some_and(|at| self.now >= at || self.sockets.is_empty())
            {
                return;
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let busy = !self.again.is_empty() || self.shard.has_mail() || self.shard.has_dirty();
        if busy || !self.inbox.fall_asleep() {
            return Some(Duration::ZERO);
        }
        let alarm = self
            .alarms
            .keys()
            .next()
            .map(|(at, _)| at.saturating_sub(self.now));
        let end = self.ending.map(|at| at.saturating_sub(self.now));
        let next = [alarm, end, self.shard.timeout()]
            .into_iter()
            .flatten()
            .min()?;
        Some(Duration::from_millis(next))
    }

    fn round(&mut self, events: &Events) {
        self.shard.begin_round();
        self.now = self.shard.now();
        for event in events {
            match event.token() {
                WAKER => {}
                Token(token) if token >= LISTENERS => self.accept(token - LISTENERS),
                Token(key) => self.ready(key, event),
            }
            if self.shard.pressed() {
                self.flush();
            }
        }
        for key in std::mem::take(&mut self.again) {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.again = false;
                self.read(key, true);
            }
        }
        self.commands();
        self.ring();
        if self.shard.has_mail() {
            self.shard.receive();
        }
        for id in self.shard.take_awake() {
            self.wake(id as usize);
        }
        self.shard.timers();
        self.flush();
        self.shard.post();
    }

    fn commands(&mut self) {
        let commands = std::mem::take(&mut self.inbox.commands().waiting);
        for command in commands {
            match command {
                Command::Adopt(moved) => self.adopt(*moved),
                Command::Pipe(pipe) => {
                    self.pipe_ready(&pipe);
                    if self.shard.pressed() {
                        self.flush();
                    }
                }
                Command::Open(listener) => self.open_listener(*listener),
                Command::Close(state, done) => {
                    self.close_listener(&state);
                    // Whoever asked may have given up waiting.
                    let _ = done.try_send(());
                }
                Command::Shutdown => self.shutdown(),
            }
        }
    }

    fn read_again(&mut self, key: usize) {
        if let Some(socket) = self.sockets.get_mut(key)
            && !socket.again
        {
            socket.again = true;
            self.again.push(key);
        }
    }

    fn ready(&mut self, key: usize, event: &Event) {
        if !self.sockets.contains(key) {
            return;
        }
        let ended = event.is_read_closed() || event.is_error();
        if event.is_readable() || ended {
            self.read(key, ended);
        }
        if event.is_writable() && self.waits_for_room(key) {
            self.write(key);
        }
    }

    /// Whether the last write left something behind.
    fn waits_for_room(&self, key: usize) -> bool {
        let Some(socket) = self.sockets.get(key) else {
            return false;
        };
        socket.wire_waits() || (socket.open && self.shard.is_blocked(key as u32))
    }

    /// A gateway has left bytes, takes bytes again, or has ended its connection.
    fn pipe_ready(&mut self, pipe: &Shared) {
        let Some(news) = pipe.news(&self.inbox) else {
            return;
        };
        if news.resumed
            && let Some(socket) = self.sockets.get_mut(news.key)
            && let Transport::Pipe(end) = &mut socket.transport
        {
            end.resume();
            if self.waits_for_room(news.key) {
                self.write(news.key);
            }
        }
        self.read(news.key, true);
    }

    /// `ended`: the other side has closed, so reading goes on until that is seen.
    pub(crate) fn read(&mut self, key: usize, ended: bool) {
        for _ in 0..TURNS {
            let Some(socket) = self.sockets.get_mut(key) else {
                return;
            };
            if socket.paused_until > self.now || (socket.open && self.shard.closing(key as u32)) {
                return;
            }
            let stream = match &mut socket.transport {
                Transport::Tcp(stream) if socket.partial.len() <= COPIED => stream,
                _ => match self.read_slowly(key) {
                    Some(full) if full || ended => continue,
                    _ => return,
                },
            };
            // What is left of the last read goes in front, so that packets are decoded in one piece.
            let kept = socket.partial.len();
            self.scratch[..kept].copy_from_slice(&socket.partial);
            socket.partial = Vec::new();
            let n = match stream.read(&mut self.scratch[kept..]) {
                Ok(0) => return self.lost(key, "closed"),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    socket.partial = self.scratch[..kept].into();
                    return;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    socket.partial = self.scratch[..kept].into();
                    continue;
                }
                Err(_) => return self.lost(key, "closed"),
            };
            let full = kept + n == self.scratch.len();
            self.limit(key, n);
            let scratch = std::mem::take(&mut self.scratch);
            self.input(key, &scratch[..kept + n]);
            self.scratch = scratch;
            // A read that did not fill its place took all there was; the next byte raises an event, and so
            // does the end of the stream, unless the event that brought us here told of it already.
            if !full && !ended {
                return;
            }
        }
        self.read_again(key);
    }

    /// Applies the listener's `rate_limit`.
    fn limit(&mut self, key: usize, n: usize) {
        let now = self.now;
        let socket = &mut self.sockets[key];
        if let Some(limit) = &mut socket.limit {
            let pause = limit.consume(n, now);
            if pause > 0 {
                self.pause(key, pause);
            }
        }
    }

    /// Does not read a connection for so long, or for longer if that was said before.
    fn pause(&mut self, key: usize, milliseconds: u64) {
        let socket = &mut self.sockets[key];
        socket.paused_until = socket.paused_until.max(self.now + milliseconds);
        let until = socket.paused_until;
        if socket.open {
            self.shard.hold(key as u32, until - self.now);
        }
        self.alarms.insert((until, Alarm::Resume(key)), ());
    }

    /// Reads a connection with layers, a virtual one, or one in the middle of a large packet. `Some(true)`:
    /// read on.
    fn read_slowly(&mut self, key: usize) -> Option<bool> {
        let stream = match &mut self.sockets.get_mut(key)?.transport {
            Transport::Tcp(stream) | Transport::Layered(stream, _) => stream,
            Transport::Pipe(_) => return self.read_pipe(key),
        };
        let n = match stream.read(&mut self.scratch) {
            Ok(0) => {
                self.lost(key, "closed");
                return None;
            }
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Some(true),
            Err(_) => {
                self.lost(key, "closed");
                return None;
            }
        };
        self.limit(key, n);
        let socket = self.sockets.get_mut(key)?;
        let full = n == self.scratch.len();
        let mut bytes = std::mem::take(&mut socket.partial);
        let Transport::Layered(_, layers) = &mut socket.transport else {
            bytes.extend_from_slice(&self.scratch[..n]);
            self.input_or_keep(key, bytes);
            return Some(full);
        };
        let before = layers.stage;
        let protocol_header = self.shard.settings().mqtt.websocket_protocol_header;
        let mut mqtt = std::mem::take(&mut self.plain);
        mqtt.clear();
        let fed = layers.feed(&mut self.scratch[..n], &mut mqtt, protocol_header, self.now);
        let (after, deadline) = (layers.stage, layers.deadline);
        if before != after {
            if after == Stage::Ready {
                let peer = layers.peer.clone();
                self.open(key, peer);
            } else {
                self.alarms.insert((deadline, Alarm::Setup(key)), ());
            }
        }
        if bytes.is_empty() {
            self.input(key, &mqtt);
        } else {
            bytes.extend_from_slice(&mqtt);
            self.input_or_keep(key, bytes);
        }
        if mqtt.capacity() > SCRATCH * 4 {
            mqtt = Vec::new();
        }
        self.plain = mqtt;
        if self
            .sockets
            .get(key)
            .is_some_and(|socket| socket.overflows())
        {
            // Pings or handshakes without end, and nobody takes the answers.
            self.lost(key, "timeout");
            return None;
        }
        if let Fed::End(reason) = fed {
            self.write(key);
            self.lost(key, reason);
            return None;
        }
        // Replies of the layers (handshake, pong) do not wait for MQTT output.
        if self.sockets.get(key).is_some_and(Socket::wire_waits) {
            self.write(key);
        }
        Some(full)
    }

    /// Takes what a gateway has left. `Some`: there may be more.
    fn read_pipe(&mut self, key: usize) -> Option<bool> {
        let socket = self.sockets.get_mut(key)?;
        let Transport::Pipe(end) = &mut socket.transport else {
            return None;
        };
        if let Some(will) = end.take_will() {
            self.shard.set_will(key as u32, will.as_ref());
        }
        match end.receive() {
            Received::Nothing => return None,
            Received::End(reason) => {
                self.lost(key, reason);
                return None;
            }
            Received::Bytes(bytes) if socket.partial.is_empty() => self.input(key, &bytes),
            Received::Bytes(more) => {
                let mut bytes = std::mem::take(&mut socket.partial);
                bytes.extend_from_slice(&more);
                self.input_or_keep(key, bytes);
            }
        }
        Some(false)
    }

    /// Gives gathered bytes to the shard once the packet they begin with is whole: a large one in small
    /// pieces is not copied again for each of them.
    fn input_or_keep(&mut self, key: usize, bytes: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if bytes.len() >= socket.wanted as usize {
            return self.input(key, &bytes);
        }
        self.shard.grew(key as u32, bytes.len());
        socket.partial = bytes;
    }

    /// Gives bytes to the shard and keeps what it did not use.
    pub(crate) fn input(&mut self, key: usize, bytes: &[u8]) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if bytes.is_empty() || !socket.open {
            return;
        }
        let taken = self.shard.input(key as u32, bytes);
        let left = &bytes[taken.consumed..];
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        // No packet of MQTT is longer.
        socket.wanted = u32::try_from(taken.wanted).unwrap_or(u32::MAX);
        if !left.is_empty() {
            socket.partial = Vec::with_capacity(left.len().max(taken.wanted.min(SCRATCH)));
            socket.partial.extend_from_slice(left);
        }
        match taken.next {
            Next::Continue => {}
            // With 0 the outputs are full: they are written first, then what is left is used.
            Next::Pause(milliseconds) => self.pause(key, milliseconds),
            Next::Move(shard) => self.move_to(key, shard),
        }
    }

    fn ring(&mut self) {
        while let Some(entry) = self.alarms.first_entry() {
            let (at, alarm) = *entry.key();
            if at > self.now {
                return;
            }
            entry.remove();
            match alarm {
                Alarm::Setup(key) => {
                    let late =
                        self.sockets
                            .get(key)
                            .and_then(Socket::layers)
                            .is_some_and(|layers| {
                                layers.stage != Stage::Ready && layers.deadline <= self.now
                            });
                    if late {
                        self.lost(key, "handshake_timeout");
                    }
                }
                Alarm::Resume(key) => self.resume(key),
                Alarm::Accept(key) => {
                    if let Some(listener) = self.listeners.get_mut(key) {
                        listener.paused_until = 0;
                        self.accept(key);
                        if self
                            .alarms
                            .first_key_value()
                            .is_some_and(|((next, _), ())| *next <= self.now)
                        {
                            // Others have their turn first.
                            return;
                        }
                    }
                }
            }
        }
    }

    fn resume(&mut self, key: usize) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if socket.paused_until == 0 || socket.paused_until > now {
            return;
        }
        socket.paused_until = 0;
        if self.shard.pressed() {
            self.flush();
        }
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let bytes = std::mem::take(&mut socket.partial);
        self.input(key, &bytes);
        self.read_again(key);
    }

    /// What a connection waited for is there: it is read on before its pause is over.
    fn wake(&mut self, key: usize) {
        if let Some(socket) = self.sockets.get_mut(key)
            && socket.paused_until > 0
        {
            // But not before the listener's limit of bytes lets it.
            let held = socket.limit.as_ref().map_or(0, |limit| limit.held_until());
            socket.paused_until = self.now.max(held);
            self.resume(key);
        }
    }

    fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.shard.take_dirty(&mut dirty);
        for id in &dirty {
            self.write(*id as usize);
        }
        self.dirty = dirty;
        self.shard.flushed();
    }

    /// Writes what waits, and closes the connection if that was its last.
    fn write(&mut self, key: usize) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let id = key as u32;
        let result = if !socket.open {
            match &mut socket.transport {
                Transport::Layered(stream, layers) => write_layers(stream, layers, None),
                Transport::Tcp(_) | Transport::Pipe(_) => Ok((0, false)),
            }
        } else {
            let closing = self.shard.closing(id);
            let out = self.shard.output(id);
            match &mut socket.transport {
                Transport::Tcp(stream) => write_plain(stream, out),
                Transport::Layered(stream, layers) => {
                    layers.wrap(out);
                    if closing && out.is_empty() {
                        layers.say_goodbye();
                    }
                    write_layers(stream, layers, Some(out))
                }
                Transport::Pipe(end) => Ok(end.write(out)),
            }
        };
        if !socket.open {
            if result.is_err() {
                self.lost(key, "closed");
            }
            return;
        }
        match result {
            Ok((written, blocked)) => {
                self.shard.after_write(id, written, blocked);
                // Blocked, with nothing left here: what is left lies in the layers. Not blocked, with something
                // left: that waits for the disk.
                let written = !blocked && self.shard.output(id).is_empty();
                if self.shard.closing(id) && (written || self.shard.given_up(id)) {
                    let reason = self.shard.close_reason(id);
                    self.drop_socket(key, reason);
                }
            }
            Err(_) => {
                self.shard.lost(id, "closed");
                self.drop_socket(key, "closed");
            }
        }
    }

    /// The connection is over: the shard is told, and the socket closed.
    pub(crate) fn lost(&mut self, key: usize, reason: &'static str) {
        if self.sockets.get(key).is_some_and(|socket| socket.open) {
            self.shard.lost(key as u32, reason);
        }
        self.drop_socket(key, reason);
    }

    pub(crate) fn drop_socket(&mut self, key: usize, reason: &'static str) {
        // Its descriptor leaves epoll as it is closed, when `socket` goes: nobody else holds it, and a
        // system call is saved for each connection.
        let Some(mut socket) = self.sockets.try_remove(key) else {
            return;
        };
        if let Transport::Pipe(end) = &mut socket.transport {
            // What the protocol says of the end comes before what the transport saw of it.
            let reason = self.shard.close_reason(key as u32);
            self.shard.release(key as u32);
            return end.end(reason);
        }
        if socket.open {
            self.shard.release(key as u32);
        } else if let Some(layers) = socket.layers() {
            layers.peer.listener.leave(reason);
        }
    }
}

impl Drop for ShardLoop {
    /// Whatever comes from now on is refused, and what came is dropped: gateways are told.
    fn drop(&mut self) {
        let left = {
            let mut commands = self.inbox.commands();
            commands.ended = true;
            std::mem::take(&mut commands.waiting)
        };
        drop(left);
    }
}

/// Bytes written, and whether the socket takes no more now.
type Written = (usize, bool);

fn write_plain(stream: &mut TcpStream, out: &mut emqttd_broker::OutBuf) -> io::Result<Written> {
    let mut total = 0;
    while out.is_ready() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = out.slices(&mut slices);
        let result = match &slices[..filled] {
            [one] => stream.write(one),
            many => stream.write_vectored(many),
        };
        match result {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                out.advance(n);
                total += n;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((total, true)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((total, false))
}

fn write_layers(
    stream: &mut TcpStream,
    layers: &mut Layers,
    mut out: Option<&mut emqttd_broker::OutBuf>,
) -> io::Result<Written> {
    let mut total = 0;
    loop {
        if let Some(out) = &mut out {
            layers.wrap(out);
        }
        if layers.wire().is_empty() {
            return Ok((total, false));
        }
        match stream.write(layers.wire()) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                layers.sent(n);
                total += n;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((total, true)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
