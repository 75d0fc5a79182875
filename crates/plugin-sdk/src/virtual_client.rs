//! Virtual clients: MQTT clients inside the broker, for gateways of other protocols.
//!
//! A gateway makes one for each of its devices. To the broker it is a client like any other, from the address
//! of the device: it is authenticated, asked about by ACL, told to hooks, listed, limited, kicked and taken
//! over as one that came through a socket.
//!
//! ```no_run
//! use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Event, Outgoing, Refused, VirtualClient};
//! use emqttd_plugin_sdk::{Context, PeerInfo, QoS};
//!
//! async fn serve(ctx: Context, peer: PeerInfo) -> Result<(), Refused> {
//!     let options = ConnectOptions::new("device-7").credentials("tom", "secret");
//!     let (client, mut events) = VirtualClient::connect(&ctx, peer, options).await?;
//!     let codes = client.subscribe(&[("cmd/7", QoS::AtLeastOnce)]).await;
//!     println!("granted: {codes:?}");
//!     let publisher = client.clone();
//!     ctx.spawn(async move {
//!         let reading = Outgoing::new("reading/7", "21.5").qos(QoS::AtLeastOnce);
//!         // Done when the broker has taken responsibility for it.
//!         if let Err(why) = publisher.publish(&reading).await {
//!             println!("not published: {why}");
//!         }
//!     });
//!     while let Some(event) = events.recv().await {
//!         match event {
//!             Event::Message(message) => {
//!                 // ... give it to the device, and when the device has it:
//!                 client.ack(message.id);
//!             }
//!             Event::Released { .. } => {}
//!             Event::Closed(end) => println!("over: {}", end.reason),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # What is bounded, and what happens when it is full
//!
//! | what waits | bound | when it is full |
//! |---|---|---|
//! | events that the gateway has not taken | [`ConnectOptions::events`] events, 1 MB | nothing more comes in, acknowledgements of what the client publishes included. The broker keeps what follows as for a client that does not read: QoS 1 and 2 in the session's queue, QoS 0 until the send buffer is full; and ends the connection (`timeout`) when nothing is taken for 15 seconds |
//! | packets that the broker has not taken | 64 KB | `publish`, `subscribe` and `unsubscribe` wait, `try_publish` says so |
//! | messages at QoS 1 and 2 without acknowledgement | [`ConnectOptions::inflight`] | `publish` waits, `try_publish` says so |
//! | SUBSCRIBE and UNSUBSCRIBE without answer | 16 | `subscribe` and `unsubscribe` wait |
//! | messages at QoS 1 and 2 that the gateway has not acknowledged | the broker's window (`mqtt.session.max_inflight`) | they wait in the session's queue |
//!
//! So take events in a task that does not wait for the broker itself: who awaits `publish` and takes no events
//! meanwhile may wait for an acknowledgement that stands behind a message he does not take.

mod about;
mod options;
mod publishing;
mod state;
#[cfg(test)]
mod tests;

pub use about::About;
pub use options::{ConnectOptions, Outgoing, Will};
pub use publishing::{NotNow, Publishing};
pub use state::{End, Event, Incoming};

use crate::{Context, HostError, PeerInfo, Pipe, PipeEvents, QoS};
use state::{Answer, State};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// SUBSCRIBE and UNSUBSCRIBE that wait for their answers at the most.
const ASKS: usize = 16;

/// How long an acknowledgement may take before the broker is asked about it: it is there at once when the message
/// waits for nothing, and never when the ACL denies it.
const SOON: Duration = Duration::from_millis(100);
/// The same, once the broker has been asked.
const LONG: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The broker has no place for it: its listener is unknown or full.
    NoPlace(HostError),
    /// The options cannot be put into a CONNECT.
    Invalid(&'static str),
    /// CONNACK with that code: one of MQTT 3.1.1 (4: user name or password), or an MQTT 5 reason code.
    Code(u8),
    /// It ended before CONNACK, with that reason (`kick`, `shutdown`, `idle_timeout`, ...).
    Closed(String),
}

impl Refused {
    /// The code of CONNACK; 3 (not available) when there was none.
    pub fn code(&self) -> u8 {
        match self {
            Refused::Code(code) => *code,
            _ => 3,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoPlace(error) => error.fmt(f),
            Refused::Invalid(what) => f.write_str(what),
            Refused::Code(code) => write!(f, "refused with code {code}"),
            Refused::Closed(reason) => write!(f, "closed: {reason}"),
        }
    }
}

impl std::error::Error for Refused {}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// The connection has ended, with that reason. Whether a message at QoS 1 or 2 has arrived is not known.
    Closed(String),
    /// It cannot be said in MQTT; nothing was sent.
    Invalid(&'static str),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Closed(reason) => write!(f, "closed: {reason}"),
            Failed::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failed {}

/// A connected virtual client; clones are the same client. When the last one is dropped the connection ends
/// as if the device were gone: its will is published.
#[derive(Clone)]
pub struct VirtualClient(Arc<Owner>);

/// Closes the connection when nobody has it any more.
struct Owner {
    inner: Arc<Inner>,
    clientid: String,
    session_present: bool,
    keepalive: u16,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.inner.close("closed");
    }
}

/// What comes from the broker, for one task to take.
pub struct Events(Arc<Inner>);

impl Drop for Events {
    /// Messages that come from now on are dropped; those at QoS 1 and 2 stay unacknowledged.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let blocked = state.stop_listening();
        drop(state);
        self.0.resume(blocked);
    }
}

/// What the client, the events and the broker's callbacks share.
struct Inner {
    state: Mutex<State>,
    /// set as soon as the connection is open
    pipe: OnceLock<Arc<dyn Pipe>>,
    /// an event has come
    event: Notify,
    /// room for packets, or the end
    room: Notify,
    /// messages that may still be on their way
    window: Arc<Semaphore>,
    asks: Arc<Semaphore>,
    /// no message is left without an answer: MQTT 5
    always_answers: bool,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands packets to the broker, as many as it takes. It hears of them when the state is free again, for it
    /// answers at once and from another thread.
    fn flush(&self, mut state: MutexGuard<'_, State>) {
        if let Some(pipe) = self.pipe.get() {
            let left = state.flush(&**pipe) && !state.is_corked();
            drop(state);
            if left {
                pipe.tell();
            }
        }
    }

    fn close(&self, reason: &str) {
        if let Some(pipe) = self.pipe.get() {
            pipe.close(reason);
        }
    }

    fn resume(&self, blocked: bool) {
        if let Some(pipe) = self.pipe.get().filter(|_| blocked) {
            pipe.resume();
        }
    }

    /// Puts packets behind those that wait, once there is room.
    async fn put<T>(&self, write: impl FnOnce(&mut State) -> T) -> Result<T, Failed> {
        loop {
            let mut room = pin!(self.room.notified());
            // From here on a notification is not missed.
            room.as_mut().enable();
            {
                let mut state = self.lock();
                if let Some(end) = state.ended() {
                    return Err(Failed::Closed(end.reason.clone()));
                }
                if state.has_room() {
                    let result = write(&mut state);
                    self.flush(state);
                    return Ok(result);
                }
            }
            room.await;
        }
    }

    async fn permit(&self, semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failed> {
        let permit = Arc::clone(semaphore).acquire_owned();
        let permit = self.patiently(permit).await;
        permit.map_err(|_| self.failed())
    }

    /// Awaits what the broker's answers to messages will bring about; when that takes long, asks what has become
    /// of all of them.
    async fn patiently<F: Future>(&self, answer: F) -> F::Output {
        if self.always_answers {
            return answer.await;
        }
        let mut answer = pin!(answer);
        let mut patience = SOON;
        loop {
            if let Ok(answer) = tokio::time::timeout(patience, answer.as_mut()).await {
                return answer;
            }
            self.ask_after(None);
            patience = LONG;
        }
    }

    /// Asks what has become of the messages up to `serial`, or of all.
    fn ask_after(&self, serial: Option<u64>) {
        let mut state = self.lock();
        state.ask_after(serial);
        self.flush(state);
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Failed> {
        answer.await.map_err(|_| self.failed())
    }

    fn failed(&self) -> Failed {
        let state = self.lock();
        let reason = state.ended().map_or("closed", |end| &end.reason);
        Failed::Closed(reason.to_string())
    }
}

/// The broker's callbacks.
struct Callbacks(Arc<Inner>);

impl PipeEvents for Callbacks {
    fn output(&mut self, bytes: &[u8]) -> usize {
        let mut state = self.0.lock();
        let taken = state.take(bytes);
        let (news, broken) = (state.has_events(), state.is_broken());
        let caught_up = state.take_caught_up();
        self.0.flush(state);
        if news {
            self.0.event.notify_one();
        }
        for told in caught_up {
            // Whoever asked may have given up waiting.
            let _ = told.send(());
        }
        if broken {
            self.0.close("protocol_error");
        }
        taken
    }

    fn room(&mut self) {
        self.0.flush(self.0.lock());
        self.0.room.notify_waiters();
    }

    fn closed(&mut self, reason: &str) {
        self.0.lock().end(reason);
        self.0.window.close();
        self.0.asks.close();
        self.0.event.notify_one();
        self.0.room.notify_waiters();
    }
}

impl Drop for Callbacks {
    /// Nothing comes any more, whoever has decided that: nobody is left waiting.
    fn drop(&mut self) {
        if self.0.lock().ended().is_none() {
            self.closed("closed");
        }
    }
}

/// As [`PipeEvents`] of what is in the box.
impl PipeEvents for Box<dyn PipeEvents> {
    fn output(&mut self, bytes: &[u8]) -> usize {
        (**self).output(bytes)
    }

    fn room(&mut self) {
        (**self).room();
    }

    fn closed(&mut self, reason: &str) {
        (**self).closed(reason);
    }
}

impl VirtualClient {
    /// Connects for a device. The listener that `peer` names must have been registered
    /// ([`Context::listener`]).
    ///
    /// # Errors
    /// When the broker has no place for it or does not let it in. Both hooks of a refused client have run then.
    pub async fn connect(
        ctx: &Context,
        peer: PeerInfo,
        options: ConnectOptions,
    ) -> Result<(VirtualClient, Events), Refused> {
        VirtualClient::connect_by(|events| ctx.open(peer, events), options).await
    }

    /// As [`VirtualClient::connect`], through a pipe that `open` opens.
    ///
    /// # Errors
    /// As [`VirtualClient::connect`].
    pub async fn connect_by(
        open: impl FnOnce(Box<dyn PipeEvents>) -> Result<Arc<dyn Pipe>, HostError>,
        options: ConnectOptions,
    ) -> Result<(VirtualClient, Events), Refused> {
        let packet = options.encode().map_err(Refused::Invalid)?;
        let (sender, connack) = oneshot::channel();
        let inner = Arc::new(Inner {
            state: Mutex::new(State::new(&options, sender)),
            pipe: OnceLock::new(),
            event: Notify::new(),
            room: Notify::new(),
            window: Arc::new(Semaphore::new(usize::from(options.inflight.max(1)))),
            asks: Arc::new(Semaphore::new(ASKS)),
            always_answers: options.v5,
        });
        let mut owner = Owner {
            inner: Arc::clone(&inner),
            clientid: options.clientid,
            session_present: false,
            keepalive: options.keepalive,
        };
        let pipe = open(Box::new(Callbacks(Arc::clone(&inner)))).map_err(Refused::NoPlace)?;
        // It is set once, here.
        let _ = inner.pipe.set(pipe);
        {
            let mut state = inner.lock();
            state.put_raw(&packet);
            inner.flush(state);
        }
        let connack = inner.answer(connack).await.map_err(|failed| match failed {
            Failed::Closed(reason) => Refused::Closed(reason),
            Failed::Invalid(what) => Refused::Invalid(what),
        })?;
        if connack.code != 0 {
            return Err(Refused::Code(connack.code));
        }
        owner.session_present = connack.session_present;
        if let Some(seconds) = connack.keepalive {
            owner.keepalive = seconds;
        }
        if let Some(id) = connack.clientid {
            owner.clientid = id;
        }
        // [MQTT-3.3.4-9]
        let most = usize::from(connack.receive_maximum.unwrap_or(u16::MAX));
        let window = inner.window.available_permits();
        inner.window.forget_permits(window.saturating_sub(most));
        Ok((VirtualClient(Arc::new(owner)), Events(inner)))
    }

    /// Client identifier, also one that the broker gave out.
    pub fn clientid(&self) -> &str {
        &self.0.clientid
    }

    /// Whether the broker has kept its session from before.
    pub fn session_present(&self) -> bool {
        self.0.session_present
    }

    /// Keep alive in force, seconds; 0 = none. The broker ends the connection after one and a half times that
    /// without a packet; [`VirtualClient::ping`] is one.
    pub fn keepalive(&self) -> u16 {
        self.0.keepalive
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.0.inner.lock().ended().is_some()
    }

    /// Publishes. Done when the broker has acknowledged it, at QoS 0 when it is on its way. The answer is the
    /// reason code: 0 and others below 0x80 = the broker has it; 0x87 = the ACL denies it. MQTT 3.1.1 has no answer
    /// for what is not taken: there it is 0x87 whatever the reason, and known only after 100 milliseconds or more.
    /// Messages of one task keep their order; dropping the future does not call one back that is on its way.
    ///
    /// # Errors
    /// When the connection ends before that, or the message cannot be said in MQTT.
    pub async fn publish(&self, message: &Outgoing) -> Result<u8, Failed> {
        message.check().map_err(Failed::Invalid)?;
        let inner = &self.0.inner;
        if message.qos == QoS::AtMostOnce {
            inner.put(|state| state.publish(message, None)).await?;
            return Ok(0);
        }
        let permit = inner.permit(&inner.window).await?;
        let (sender, answer) = oneshot::channel();
        let pending = Answer::new(sender, permit);
        let serial = inner
            .put(|state| state.publish(message, Some(pending)))
            .await?;
        Publishing::new(inner, answer, serial).await
    }

    /// Publishes without waiting for room, or for an answer. At QoS 0 the message is on its way when this returns.
    /// At QoS 1 and 2 it is in its place in the order, and [`Publishing`] is awaited for the reason code, as that
    /// of [`VirtualClient::publish`]; or dropped, which calls nothing back.
    ///
    /// # Errors
    /// When there is no room now, the connection has ended, or the message cannot be said in MQTT. Nothing is sent
    /// then.
    pub fn try_publish(&self, message: &Outgoing) -> Result<Publishing, NotNow> {
        message.check().map_err(NotNow::Invalid)?;
        let inner = &self.0.inner;
        let mut state = inner.lock();
        if let Some(end) = state.ended() {
            return Err(NotNow::Closed(end.reason.clone()));
        }
        if !state.has_room() {
            return Err(NotNow::Busy);
        }
        if message.qos == QoS::AtMostOnce {
            state.publish(message, None);
            inner.flush(state);
            return Ok(Publishing::done());
        }
        let Ok(permit) = Arc::clone(&inner.window).try_acquire_owned() else {
            // Places may be taken by messages that the ACL has denied, whose senders await nothing.
            state.ask_after(None);
            inner.flush(state);
            return Err(NotNow::Busy);
        };
        let (sender, answer) = oneshot::channel();
        let serial = state.publish(message, Some(Answer::new(sender, permit)));
        inner.flush(state);
        Ok(Publishing::new(inner, answer, serial))
    }

    /// For several calls in a row: what the client sends is left for the broker, but it is told of it only when the value
    /// returned is dropped. Otherwise the first one wakes it, and it works on that while the others are still to come. Not
    /// to be held while something is awaited.
    #[must_use = "the broker is told when it is dropped"]
    pub fn cork(&self) -> Cork {
        let inner = Arc::clone(&self.0.inner);
        inner.lock().cork();
        Cork(inner)
    }

    /// Subscribes; the answer has for each filter the QoS granted, or a code of 0x80 and more.
    ///
    /// # Errors
    /// When the connection ends before that, or a filter is too long.
    pub async fn subscribe(&self, filters: &[(&str, QoS)]) -> Result<Vec<u8>, Failed> {
        self.subscribe_as(filters, 0).await
    }

    /// As [`VirtualClient::subscribe`], and messages that come by these filters say so in
    /// [`Incoming::subscriptions`]. Only MQTT 5; 0 = they do not, as in 3.1.1.
    ///
    /// # Errors
    /// As [`VirtualClient::subscribe`]; when the identifier is greater than 268,435,455.
    pub async fn subscribe_as(
        &self,
        filters: &[(&str, QoS)],
        identifier: u32,
    ) -> Result<Vec<u8>, Failed> {
        if identifier > 0x0FFF_FFFF {
            return Err(Failed::Invalid("a subscription identifier is too large"));
        }
        check_filters(filters.iter().map(|(filter, _)| *filter))?;
        if filters.is_empty() {
            return Ok(Vec::new());
        }
        let inner = &self.0.inner;
        let permit = inner.permit(&inner.asks).await?;
        let (sender, answer) = oneshot::channel();
        let pending = Answer::new(sender, permit);
        inner
            .put(|state| state.subscribe(filters, identifier, pending))
            .await?;
        inner.answer(answer).await
    }

    /// Takes subscriptions away; fine when there are none.
    ///
    /// # Errors
    /// As [`VirtualClient::subscribe`].
    pub async fn unsubscribe(&self, filters: &[&str]) -> Result<(), Failed> {
        check_filters(filters.iter().copied())?;
        if filters.is_empty() {
            return Ok(());
        }
        let inner = &self.0.inner;
        let permit = inner.permit(&inner.asks).await?;
        let (sender, answer) = oneshot::channel();
        let pending = Answer::new(sender, permit);
        inner
            .put(|state| state.unsubscribe(filters, pending))
            .await?;
        inner.answer(answer).await
    }

    /// The device has the message with that [`Incoming::id`]: PUBACK, or PUBREC at QoS 2. `false` when no such
    /// message waits for it (id 0 never does).
    pub fn ack(&self, id: u16) -> bool {
        self.write(|state| state.ack(id))
    }

    /// The device has completed the message after [`Event::Released`]: PUBCOMP. Only with
    /// [`ConnectOptions::release_by_hand`]. `false` when no such message waits for it.
    pub fn complete(&self, id: u16) -> bool {
        self.write(|state| state.complete(id))
    }

    /// Puts another will in the place of that of [`ConnectOptions`], or none. It counts from now on, as if it had been
    /// said at CONNECT: the ACL is asked when it is to be published.
    ///
    /// # Errors
    /// When it cannot be said in MQTT, or the connection has ended.
    pub fn set_will(&self, will: Option<Will>) -> Result<(), Failed> {
        will.as_ref()
            .map_or(Ok(()), Will::check)
            .map_err(Failed::Invalid)?;
        let inner = &self.0.inner;
        if let Some(end) = inner.lock().ended() {
            return Err(Failed::Closed(end.reason.clone()));
        }
        if let Some(pipe) = inner.pipe.get() {
            pipe.set_will(will);
        }
        Ok(())
    }

    /// The device lives: PINGREQ, for the keep alive. Nothing when packets wait for the broker already.
    pub fn ping(&self) {
        self.write(|state| {
            state.ping();
            true
        });
    }

    /// Done when what the broker had for the client before this call is among its events: a PINGREQ is answered behind it.
    /// Done at once when many are on their way already, or the connection has ended.
    pub fn catch_up(&self) -> impl Future<Output = ()> + Send + use<> {
        let inner = &self.0.inner;
        let mut state = inner.lock();
        let answer = state.catch_up();
        inner.flush(state);
        async move {
            // No answer comes after the end.
            let _ = answer.await;
        }
    }

    /// Ends the connection in good order: the will is not published. Done when the broker has closed it.
    pub async fn disconnect(&self) {
        self.write(|state| {
            state.disconnect();
            true
        });
        loop {
            let mut room = pin!(self.0.inner.room.notified());
            room.as_mut().enable();
            if self.is_closed() {
                return;
            }
            room.await;
        }
    }

    /// The device is gone: the connection ends for that reason (a word as in `client.disconnected`), and the
    /// will is published. What the broker has taken before is worked on first.
    pub fn abort(&self, reason: &str) {
        self.0.inner.close(reason);
    }

    fn write(&self, f: impl FnOnce(&mut State) -> bool) -> bool {
        let mut state = self.0.inner.lock();
        if state.ended().is_some() {
            return false;
        }
        let done = f(&mut state);
        self.0.inner.flush(state);
        done
    }
}

/// As long as it is there the broker is not told that something was sent; see [`VirtualClient::cork`].
pub struct Cork(Arc<Inner>);

impl Drop for Cork {
    fn drop(&mut self) {
        let free = self.0.lock().uncork();
        if let Some(pipe) = self.0.pipe.get().filter(|_| free) {
            pipe.tell();
        }
    }
}

impl Events {
    /// The next event, which is awaited; `None` after [`Event::Closed`]. A call that is given up loses nothing.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.try_recv() {
                return Some(event);
            }
            if self.0.lock().is_over() {
                return None;
            }
            self.0.event.notified().await;
        }
    }

    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        let mut state = self.0.lock();
        let event = state.next_event();
        let blocked = state.may_go_on();
        drop(state);
        self.0.resume(blocked);
        event
    }
}

fn check_filters<'a>(mut filters: impl Iterator<Item = &'a str>) -> Result<(), Failed> {
    if filters.any(|filter| filter.len() > usize::from(u16::MAX)) {
        return Err(Failed::Invalid("a topic filter is longer than 65535 bytes"));
    }
    Ok(())
}
