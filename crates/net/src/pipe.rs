//! Virtual connections: a gateway of a plugin instead of a socket.
//!
//! A pipe has two ends. The gateway holds the handle ([`Pipe`]): it leaves bytes in a queue and wakes the event
//! loop. The event loop holds the [`PipeEnd`] in the place of a socket: it takes the bytes out, and gives the
//! broker's output to the gateway's [`PipeEvents`] as it would write to a socket. A pipe moves between event
//! loops as sockets do.

use crate::shard_loop::{Command, Inbox};
use emqttd_broker::OutBuf;
use emqttd_plugin_sdk::virtual_client::Will;
use emqttd_plugin_sdk::{Pipe, PipeEvents};
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes for the broker that wait in a pipe at the most.
const INBOUND: usize = 64 * 1024;

/// What both ends of a pipe have in common. No callback is made while it is locked.
pub(crate) struct Shared {
    state: Mutex<State>,
}

struct State {
    /// bytes for the broker; holds no memory while empty
    inbound: Vec<u8>,
    /// the event loop that has the pipe, or will have it
    home: Arc<Inbox>,
    /// its number there; `None` = on its way
    key: Option<usize>,
    /// a command that tells of news is on its way
    told: bool,
    /// bytes were left of which nobody has told
    untold: bool,
    /// a `send` found too little room
    short: bool,
    /// output may go on
    resumed: bool,
    /// the will that counts from now on
    will: Option<Box<Option<Will>>>,
    /// the gateway ends the connection once what it has sent is used, and this is why
    closing: Option<&'static str>,
    /// nothing goes through any more
    ended: bool,
}

impl State {
    /// Keeps bytes for the broker, as many as there is room for.
    fn put(&mut self, bytes: &[u8]) -> usize {
        if self.ended || self.closing.is_some() {
            return 0;
        }
        let taken = bytes.len().min(INBOUND - self.inbound.len());
        self.inbound.extend_from_slice(&bytes[..taken]);
        self.short |= taken < bytes.len();
        taken
    }
}

/// A pipe's two ends: the event loop's, and the gateway's.
pub(crate) fn pipe(home: &Arc<Inbox>, events: Box<dyn PipeEvents>) -> (PipeEnd, Arc<dyn Pipe>) {
    let state = State {
        inbound: Vec::new(),
        home: Arc::clone(home),
        key: None,
        told: false,
        untold: false,
        short: false,
        resumed: false,
        will: None,
        closing: None,
        ended: false,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
    });
    let end = PipeEnd {
        shared: Arc::clone(&shared),
        events,
        blocked: false,
        told_end: false,
    };
    (end, Arc::new(Handle(shared)))
}

/// The gateway's end. Letting it go closes the connection.
struct Handle(Arc<Shared>);

impl Handle {
    /// Changes the state and lets the event loop know, unless a command is on its way that will.
    fn change<T>(&self, f: impl FnOnce(&mut State) -> (T, bool)) -> T {
        let mut state = self.0.state.lock();
        let (result, news) = f(&mut state);
        if !news || state.told || state.ended {
            return result;
        }
        state.told = true;
        let home = Arc::clone(&state.home);
        drop(state);
        // Refused by an event loop that has ended: then the pipe has ended as well.
        let _ = home.send(Command::Pipe(Arc::clone(&self.0)));
        result
    }
}

impl Pipe for Handle {
    fn send(&self, bytes: &[u8]) -> usize {
        self.change(|state| {
            let taken = state.put(bytes);
            (taken, taken > 0)
        })
    }

    fn leave(&self, bytes: &[u8]) -> usize {
        let mut state = self.0.state.lock();
        let taken = state.put(bytes);
        state.untold |= taken > 0;
        taken
    }

    fn tell(&self) {
        self.change(|state| ((), std::mem::take(&mut state.untold)));
    }

    fn close(&self, reason: &str) {
        self.change(|state| {
            let first = state.closing.is_none();
            if first {
                state.closing = Some(word(reason));
            }
            ((), first)
        });
    }

    fn resume(&self) {
        self.change(|state| {
            let first = !state.resumed;
            state.resumed = true;
            ((), first)
        });
    }

    fn set_will(&self, will: Option<Will>) {
        self.change(|state| {
            let open = !state.ended && state.closing.is_none();
            if open {
                state.will = Some(Box::new(will));
            }
            ((), open)
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close("closed");
    }
}

/// What has changed since an event loop was told of the last news.
pub(crate) struct News {
    /// number of the connection
    pub key: usize,
    /// output may go on
    pub resumed: bool,
}

impl Shared {
    /// Takes the news; `None` when another event loop has the pipe by now, or will: that one looks by itself.
    pub fn news(&self, home: &Arc<Inbox>) -> Option<News> {
        let mut state = self.state.lock();
        if !Arc::ptr_eq(&state.home, home) {
            return None;
        }
        let key = state.key?;
        state.told = false;
        let resumed = std::mem::take(&mut state.resumed);
        Some(News { key, resumed })
    }
}

/// What came out of a pipe.
pub(crate) enum Received {
    /// so many bytes
    Bytes(Vec<u8>),
    /// none now
    Nothing,
    /// none any more, for this reason
    End(&'static str),
}

/// The event loop's end of a pipe.
pub(crate) struct PipeEnd {
    shared: Arc<Shared>,
    events: Box<dyn PipeEvents>,
    /// the gateway took less than there was
    blocked: bool,
    /// the gateway has been told of the end
    told_end: bool,
}

impl PipeEnd {
    /// It is here now, with that number. The event loop has to look for bytes itself.
    pub fn arrive(&self, key: usize) {
        let mut state = self.shared.state.lock();
        state.key = Some(key);
        state.told = false;
    }

    /// It goes to another event loop.
    pub fn leave_for(&self, home: &Arc<Inbox>) {
        let mut state = self.shared.state.lock();
        state.home = Arc::clone(home);
        state.key = None;
    }

    /// The will that counts from now on, if it is another one.
    pub fn take_will(&mut self) -> Option<Option<Will>> {
        let will = self.shared.state.lock().will.take();
        will.map(|will| *will)
    }

    /// Takes all bytes that wait for the broker.
    pub fn receive(&mut self) -> Received {
        let mut state = self.shared.state.lock();
        if state.inbound.is_empty() {
            return state.closing.map_or(Received::Nothing, Received::End);
        }
        let bytes = std::mem::take(&mut state.inbound);
        let short = std::mem::take(&mut state.short);
        drop(state);
        if short {
            self.events.room();
        }
        Received::Bytes(bytes)
    }

    /// Output may go on.
    pub fn resume(&mut self) {
        self.blocked = false;
    }

    /// Gives output to the gateway until it takes no more; how many bytes it took, and whether it is blocked.
    pub fn write(&mut self, out: &mut OutBuf) -> (usize, bool) {
        let mut total = 0;
        while out.is_ready() && !self.blocked {
            let front = out.front();
            let len = front.len();
            let taken = self.events.output(front).min(len);
            out.advance(taken);
            total += taken;
            self.blocked = taken < len;
        }
        (total, self.blocked)
    }

    /// The connection has ended: tells the gateway, once.
    pub fn end(&mut self, reason: &str) {
        if self.dismiss() {
            self.events.closed(reason);
        }
    }

    /// Ends the pipe without a word to the gateway; `false` when it has ended before.
    pub fn dismiss(&mut self) -> bool {
        let mut state = self.shared.state.lock();
        state.ended = true;
        state.inbound = Vec::new();
        state.will = None;
        !std::mem::replace(&mut self.told_end, true)
    }
}

impl Drop for PipeEnd {
    /// However the connection has ended, the gateway hears of it.
    fn drop(&mut self) {
        self.end("shutdown");
    }
}

/// Words for the end of a connection that gateways may bring along, besides those that are known already.
const WORDS: usize = 64;
/// Length of the longest.
const WORD: usize = 40;

/// A reason as the broker keeps them: for as long as it runs, so only a few different ones, and only words.
/// Others become `closed`.
fn word(reason: &str) -> &'static str {
    const KNOWN: [&str; 8] = [
        "closed",
        "normal",
        "keepalive_timeout",
        "timeout",
        "asleep_timeout",
        "protocol_error",
        "frame_error",
        "shutdown",
    ];
    static OTHERS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    if let Some(known) = KNOWN.iter().find(|known| **known == reason) {
        return known;
    }
    let well_formed = !reason.is_empty()
        && reason.len() <= WORD
        && reason
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !well_formed {
        return "closed";
    }
    let mut others = OTHERS.lock();
    if let Some(known) = others.iter().find(|known| **known == reason) {
        return known;
    }
    if others.len() == WORDS {
        return "closed";
    }
    let word: &'static str = String::from(reason).leak();
    others.push(word);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words_and_few() {
        assert_eq!(word("keepalive_timeout"), "keepalive_timeout");
        assert_eq!(word("device_lost"), "device_lost");
        assert_eq!(word("Device lost\n"), "closed");
        assert_eq!(word(""), "closed");
        assert_eq!(word(&"x".repeat(WORD + 1)), "closed");
        let fitting = (0..2 * WORDS).filter(|n| word(&format!("reason_{n}")) != "closed");
        assert_eq!(fitting.count(), WORDS - 1);
        assert_eq!(word("device_lost"), "device_lost");
        assert_eq!(word("reason_0"), "reason_0");
    }
}
