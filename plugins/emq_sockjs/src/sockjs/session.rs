//! A session: what is on its way between an application and a client, and who receives.
//!
//! The application holds the [`Socket`], requests of the client attach a [`Receiver`], one at a time. Both
//! directions are bounded: who sends waits for room.

use super::frame::{Close, Frame};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, Sleep};

/// What a message costs of the room beside its bytes.
const OVERHEAD: usize = 32;

/// Times and bounds of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// a heart-beat after so long without another frame
    pub heartbeat: Duration,
    /// life without a receiver
    pub disconnect: Duration,
    /// bytes that wait in a direction
    pub queue: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    /// whether messages need not be text
    bytes: bool,
    state: Mutex<State>,
    /// for the application: a message has come, or the end
    arrived: Notify,
    /// bytes that the client may still send
    inbox_room: Semaphore,
    /// bytes that the application may still send
    outbox_room: Semaphore,
}

#[derive(Debug)]
struct State {
    /// whether the client has been told that it is open
    greeted: bool,
    /// why it has ended, if it has
    end: Option<Close>,
    inbox: VecDeque<Bytes>,
    outbox: VecDeque<Bytes>,
    /// whether somebody receives
    received: bool,
    /// wakes who receives
    waker: Option<Waker>,
    /// when the last receiver went
    alone: Instant,
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Session {
    /// A new session and the application's side of it. `bytes`: its transport can carry messages that are not text.
    pub fn open(limits: Limits, bytes: bool) -> (Arc<Session>, Socket) {
        let session = Arc::new(Session {
            limits,
            bytes,
            state: Mutex::new(State {
                greeted: false,
                end: None,
                inbox: VecDeque::new(),
                outbox: VecDeque::new(),
                received: false,
                waker: None,
                alone: Instant::now(),
            }),
            arrived: Notify::new(),
            inbox_room: Semaphore::new(limits.queue as usize),
            outbox_room: Semaphore::new(limits.queue as usize),
        });
        let socket = Socket {
            session: Arc::clone(&session),
        };
        (session, socket)
    }

    /// A request that wants to receive. When somebody else does, it is told so.
    pub fn attach(self: &Arc<Session>) -> Receiver {
        let mut state = self.state.lock();
        let refusal = state.received.then_some(Close::BUSY);
        state.received = true;
        drop(state);
        Receiver {
            detached: refusal.is_some(),
            refusal,
            heartbeat: Box::pin(tokio::time::sleep(self.limits.heartbeat)),
            session: Arc::clone(self),
        }
    }

    /// Messages of the client. Done when there is room for them; what comes when the session has ended is lost.
    pub async fn deliver(&self, messages: Vec<Bytes>) {
        for message in messages {
            if message.is_empty() {
                continue;
            }
            match self.inbox_room.acquire_many(self.cost(&message)).await {
                Ok(permit) => permit.forget(),
                Err(_ended) => return,
            }
            self.state.lock().inbox.push_back(message);
            self.arrived.notify_one();
        }
    }

    /// Ends it, if that has not been done: no more comes in, and the client is told after what it still gets.
    pub fn end(&self, close: Close) {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(close);
        state.wake();
        drop(state);
        self.over();
    }

    /// Whether somebody receives.
    pub fn is_received(&self) -> bool {
        self.state.lock().received
    }

    /// Done when nobody has received for the time that a session may be alone.
    pub async fn abandoned(&self) {
        loop {
            let due = self.alone_since() + self.limits.disconnect;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    fn alone_since(&self) -> Instant {
        let state = self.state.lock();
        match state.received {
            true => Instant::now(),
            false => state.alone,
        }
    }

    /// What a message takes of the room.
    fn cost(&self, message: &Bytes) -> u32 {
        let cost = u32::try_from(message.len() + OVERHEAD).unwrap_or(u32::MAX);
        // One that is larger than all the room waits until everything else is gone.
        cost.min(self.limits.queue)
    }

    fn over(&self) {
        self.inbox_room.close();
        self.outbox_room.close();
        self.arrived.notify_one();
    }

    /// The connection of who received has broken: what was on its way may be lost, so nothing can go on.
    fn interrupted(&self) {
        self.end(Close::INTERRUPTED);
        let mut state = self.state.lock();
        state.outbox.clear();
    }
}

/// The application's side of a session. Dropping it ends the session.
#[derive(Debug)]
pub struct Socket {
    session: Arc<Session>,
}

impl Socket {
    /// Whether messages need not be text.
    pub fn carries_bytes(&self) -> bool {
        self.session.bytes
    }

    /// The next message of the client; `None` = there will be none. One task at a time; a call that is given up loses
    /// nothing.
    pub async fn recv(&self) -> Option<Bytes> {
        loop {
            {
                let mut state = self.session.state.lock();
                if let Some(message) = state.inbox.pop_front() {
                    let cost = self.session.cost(&message);
                    self.session.inbox_room.add_permits(cost as usize);
                    return Some(message);
                }
                if state.end.is_some() {
                    return None;
                }
            }
            self.session.arrived.notified().await;
        }
    }

    /// Sends a message, when there is room for it. `false` = the session has ended.
    pub async fn send(&self, message: Bytes) -> bool {
        let cost = self.session.cost(&message);
        match self.session.outbox_room.acquire_many(cost).await {
            Ok(permit) => permit.forget(),
            Err(_ended) => return false,
        }
        let mut state = self.session.state.lock();
        if state.end.is_none() {
            state.outbox.push_back(message);
            state.wake();
        }
        state.end.is_none()
    }

    /// Ends the session.
    pub fn close(&self, close: Close) {
        self.session.end(close);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.session.end(Close::GO_AWAY);
    }
}

/// A request that receives. When it is dropped without [`Receiver::detach`] its connection has broken.
#[derive(Debug)]
pub struct Receiver {
    session: Arc<Session>,
    /// all there is to say when somebody else receives
    refusal: Option<Close>,
    heartbeat: Pin<Box<Sleep>>,
    detached: bool,
}

impl Receiver {
    /// The next frame. After [`Frame::Close`] it is the same again and again.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frame> {
        if let Some(close) = &self.refusal {
            return Poll::Ready(Frame::Close(close.clone()));
        }
        if let Some(frame) = self.ready_frame(cx) {
            let again = Instant::now() + self.session.limits.heartbeat;
            self.heartbeat.as_mut().reset(again);
            return Poll::Ready(frame);
        }
        ready!(self.heartbeat.as_mut().poll(cx));
        let again = Instant::now() + self.session.limits.heartbeat;
        self.heartbeat.as_mut().reset(again);
        Poll::Ready(Frame::Heartbeat)
    }

    /// As [`Receiver::poll_frame`], awaited.
    pub async fn frame(&mut self) -> Frame {
        std::future::poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Receives no more; the client may come with another request.
    pub fn detach(&mut self) {
        if !std::mem::replace(&mut self.detached, true) {
            let mut state = self.session.state.lock();
            state.received = false;
            state.waker = None;
            state.alone = Instant::now();
        }
    }

    fn ready_frame(&self, cx: &Context<'_>) -> Option<Frame> {
        let mut state = self.session.state.lock();
        if !state.greeted {
            state.greeted = true;
            return Some(Frame::Open);
        }
        if !state.outbox.is_empty() {
            let messages: Vec<Bytes> = state.outbox.drain(..).collect();
            let costs = messages.iter().map(|message| self.session.cost(message));
            let room = costs.map(|cost| cost as usize).sum();
            self.session.outbox_room.add_permits(room);
            return Some(Frame::Messages(messages));
        }
        if let Some(end) = &state.end {
            return Some(Frame::Close(end.clone()));
        }
        state.waker = Some(cx.waker().clone());
        None
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.detached {
            self.detach();
            self.session.interrupted();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn session() -> (Arc<Session>, Socket) {
        let limits = Limits {
            heartbeat: Duration::from_secs(25),
            disconnect: Duration::from_secs(5),
            queue: 100,
        };
        Session::open(limits, false)
    }

    fn messages(texts: &[&'static str]) -> Frame {
        Frame::Messages(texts.iter().map(|&text| Bytes::from(text)).collect())
    }

    /// What a poll gives: one frame.
    async fn poll(session: &Arc<Session>) -> Frame {
        let mut receiver = session.attach();
        let frame = receiver.frame().await;
        receiver.detach();
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn messages_pass_both_ways() {
        let (session, socket) = session();
        assert_eq!(poll(&session).await, Frame::Open);
        session
            .deliver(vec!["a".into(), "".into(), "b".into()])
            .await;
        assert_eq!(socket.recv().await.unwrap(), "a");
        assert_eq!(socket.recv().await.unwrap(), "b");
        assert!(socket.send("x".into()).await && socket.send("y".into()).await);
        assert_eq!(poll(&session).await, messages(&["x", "y"]));
        // Nothing for 25 s; and a frame that comes while somebody waits.
        let began = Instant::now();
        assert_eq!(poll(&session).await, Frame::Heartbeat);
        assert_eq!(began.elapsed(), Duration::from_secs(25));
        let (frame, sent) = tokio::join!(poll(&session), socket.send("z".into()));
        assert_eq!((frame, sent), (messages(&["z"]), true));
    }

    #[tokio::test(start_paused = true)]
    async fn one_receives_at_a_time() {
        let (session, socket) = session();
        let mut first = session.attach();
        assert_eq!(first.frame().await, Frame::Open);
        let busy = Frame::Close(Close::BUSY);
        assert_eq!(poll(&session).await, busy);
        drop(session.attach());
        assert_eq!(poll(&session).await, busy);
        assert!(socket.send("x".into()).await);
        assert_eq!(first.frame().await, messages(&["x"]));
        // Its connection breaks.
        assert!(socket.send("lost".into()).await);
        drop(first);
        assert_eq!(poll(&session).await, Frame::Close(Close::INTERRUPTED));
        assert_eq!(socket.recv().await, None);
        assert!(!socket.send("x".into()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_comes_before_the_end() {
        let (session, socket) = session();
        session.deliver(vec!["a".into()]).await;
        socket.send("x".into()).await;
        drop(socket);
        assert_eq!(poll(&session).await, Frame::Open);
        assert_eq!(poll(&session).await, messages(&["x"]));
        let end = Frame::Close(Close::GO_AWAY);
        assert_eq!(poll(&session).await, end);
        assert_eq!(poll(&session).await, end);
        session.deliver(vec!["lost".into()]).await;
        let began = Instant::now();
        session.abandoned().await;
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn it_lives_on_while_somebody_receives() {
        let (session, _socket) = session();
        let receiver = session.attach();
        let mut abandoned = std::pin::pin!(session.abandoned());
        let hour = Duration::from_secs(3600);
        assert!(
            tokio::time::timeout(hour, abandoned.as_mut())
                .await
                .is_err()
        );
        // One that is refused does not count.
        let refused = session.attach();
        drop(receiver);
        let began = Instant::now();
        abandoned.await;
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        drop(refused);
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_waits_for_room() {
        let (session, socket) = session();
        assert_eq!(poll(&session).await, Frame::Open);
        // Three times 32 bytes of overhead are in 100.
        for _ in 0..3 {
            assert!(socket.send("x".into()).await);
        }
        let long = Duration::from_secs(60);
        assert!(
            tokio::time::timeout(long, socket.send("y".into()))
                .await
                .is_err()
        );
        assert_eq!(poll(&session).await, messages(&["x", "x", "x"]));
        // More than all the room goes when everything is free.
        assert!(socket.send("z".repeat(500).into()).await);
        assert!(
            tokio::time::timeout(long, socket.send("y".into()))
                .await
                .is_err()
        );
        assert!(matches!(poll(&session).await, Frame::Messages(_)));

        let many = vec!["m".into(); 4];
        assert!(
            tokio::time::timeout(long, session.deliver(many))
                .await
                .is_err()
        );
        for _ in 0..3 {
            assert_eq!(socket.recv().await.unwrap(), "m");
        }
        // Who waits is told of the end.
        session.deliver(vec!["m".into(); 3]).await;
        let (delivered, ()) = tokio::join!(
            tokio::time::timeout(long, session.deliver(vec!["m".into()])),
            async { session.end(Close::GO_AWAY) }
        );
        assert!(delivered.is_ok());
    }
}
