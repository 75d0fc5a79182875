//! One connection as a machine without I/O: bytes of the client and events of the broker in, bytes for the client and
//! things to ask of the broker out.
//!
//! Frames are obeyed in their order. What the broker has to answer before the next frame can be understood (CONNECT,
//! SUBSCRIBE, UNSUBSCRIBE, DISCONNECT) is *awaited*: no frame is taken meanwhile. SEND is not; its receipt stands in a
//! queue with all other receipts ([`Due`]), so that a RECEIPT says what STOMP wants it to: this frame and all before it
//! have been dealt with.

mod deliveries;
mod headers;
mod login;
mod messages;
mod sending;
mod subscriptions;
mod transactions;

#[cfg(test)]
pub(crate) mod tests;

use crate::connection::{End, Mode};
use crate::frame::{Decoder, Encoder, Frame, Version, receipt_of};
use crate::heart_beat::HeartBeat;
use crate::settings::{Nack, Settings};
use bytes::{Buf, BytesMut};
use deliveries::{Deliveries, Verdict};
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Event, Incoming, Outgoing};
use headers::Headers;
use messages::Spreading;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subscriptions::{Asked, Subscriptions, Wanted};
use transactions::Transactions;

/// Time until CONNECT.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Bytes for the client beyond which nothing is added that can wait.
const OUTPUT: usize = 64 * 1024;
/// Bytes for the client beyond which no frame of it is obeyed: it does not read what it is answered.
const OUTPUT_OF_ANSWERS: usize = 4 * OUTPUT;
/// Things that wait for the broker beyond which no frame is obeyed.
const WAITING: usize = 256;
/// Messages that are kept for their memory.
const SPARE: usize = 32;
/// Bytes of one that is.
const SPARE_BYTES: usize = 512;

/// What the broker is asked for, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// awaited: [`Machine::connected`]
    Connect(Box<Login>),
    /// awaited: [`Machine::subscribed`]
    Subscribe(Asked),
    /// awaited: [`Machine::unsubscribed`]
    Unsubscribe(String),
    /// `answered`: [`Machine::published`] is called, for these in their order
    Publish { message: Outgoing, answered: bool },
    /// a message that the client has
    Ack(u16),
    /// awaited: [`Machine::disconnected`]
    Disconnect,
}

/// As whom the client comes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub options: ConnectOptions,
    /// whether `mqtt.allow_anonymous` counts
    pub anonymous: bool,
}

/// What the broker said to something it was asked for.
pub(crate) type Answer = Result<(), String>;

/// What the client is owed, in the order of its frames.
#[derive(Debug)]
enum Due {
    /// an answer of the broker's to a message; then a receipt
    Published(Option<String>),
    /// the same, for one of the messages of a COMMIT; only if it fails the receipt of that one is named
    Committed(Option<Arc<str>>),
    Receipt(String),
    /// an ERROR frame, after which the connection ends
    Error(Vec<u8>),
    /// the client goes; then a receipt
    Disconnect(Option<String>),
}

/// What is awaited.
#[derive(Debug)]
enum Awaited {
    Connect {
        /// heart-beats as agreed
        agreed: (u32, u32),
    },
    Subscribe {
        key: String,
        receipt: Option<String>,
    },
    Unsubscribe {
        receipt: Option<String>,
    },
    Disconnect {
        receipt: Option<String>,
    },
}

/// Counts of what an operator may want to know.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub refused_logins: u64,
    pub refused_frames: u64,
    pub requeued: u64,
    pub expired_transactions: u64,
}

pub(crate) struct Machine {
    mode: Mode,
    settings: Arc<Settings>,
    version: Version,
    decoder: Decoder,
    opened: Instant,
    connected: bool,
    /// the session outlives the connection
    durable: bool,
    /// an ERROR or DISCONNECT stands in `due`: no frame is obeyed any more
    leaving: bool,
    end: Option<End>,
    awaited: Option<Awaited>,
    asks: VecDeque<Ask>,
    due: VecDeque<Due>,
    out: Vec<u8>,
    /// messages to acknowledge when `out` is written
    written: Vec<u16>,
    heart_beat: HeartBeat,
    subscriptions: Subscriptions,
    deliveries: Deliveries,
    /// messages of a session that is older than the connection, for which no subscription has come yet
    parked: VecDeque<Incoming>,
    /// those of them that a subscription may have come for
    unparked: VecDeque<Incoming>,
    /// a message that not all of its subscriptions have
    spreading: Option<Spreading>,
    transactions: Transactions,
    /// messages that were published, for their memory
    spare: Vec<Outgoing>,
    pub counts: Counts,
}

impl Machine {
    pub fn new(mode: Mode, settings: Arc<Settings>, now: Instant) -> Machine {
        Machine {
            mode,
            settings,
            // What is escaped is the same in CONNECT of all versions, and in ERROR before it: nothing.
            version: Version::V1_0,
            decoder: Decoder::default(),
            opened: now,
            connected: false,
            durable: false,
            leaving: false,
            end: None,
            awaited: None,
            asks: VecDeque::new(),
            due: VecDeque::new(),
            out: Vec::new(),
            written: Vec::new(),
            heart_beat: HeartBeat::none(now),
            subscriptions: Subscriptions::default(),
            deliveries: Deliveries::default(),
            parked: VecDeque::new(),
            unparked: VecDeque::new(),
            spreading: None,
            transactions: Transactions::default(),
            spare: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// From now on these settings count.
    pub fn configure(&mut self, settings: &Arc<Settings>) {
        if !Arc::ptr_eq(&self.settings, settings) {
            self.settings = Arc::clone(settings);
        }
    }

    // Bytes of the client.

    /// Whether a frame would be obeyed now.
    pub fn takes_frames(&self) -> bool {
        self.awaited.is_none()
            && !self.leaving
            && self.end.is_none()
            && self.asks.len() < WAITING
            && self.due.len() < WAITING
            && self.out.len() < OUTPUT_OF_ANSWERS
    }

    /// Something has come from the client.
    pub fn heard(&mut self, now: Instant) {
        self.heart_beat.received(now);
    }

    /// Obeys the frames that are whole, and takes them out of `bytes`.
    pub fn input(&mut self, bytes: &mut BytesMut, now: Instant) {
        let mut used = 0;
        while self.takes_frames() {
            let rest = &bytes[used..];
            let limits = self.settings.limits;
            match self.decoder.decode(rest, self.version, &limits) {
                Ok(decoded) => {
                    used += decoded.used;
                    match decoded.frame {
                        Some(frame) => self.obey(&frame, now),
                        None => break,
                    }
                }
                Err(fault) => {
                    let receipt = receipt_of(rest, self.version, &limits);
                    self.refuse(&fault.to_string(), receipt);
                }
            }
        }
        bytes.advance(used);
    }

    /// The client sends nothing more; what it has sent has been obeyed as far as it was whole.
    pub fn gone(&mut self) {
        let settled = self.asks.is_empty() && self.due.is_empty() && self.awaited.is_none();
        if settled && self.end.is_none() {
            self.end = Some(End::Normal);
        }
    }

    fn obey(&mut self, frame: &Frame<'_>, now: Instant) {
        if !self.connected {
            return match frame.command {
                "CONNECT" | "STOMP" => self.connect(frame),
                _ => {
                    let receipt = frame.header("receipt").map(Into::into);
                    self.refuse("Not connected: CONNECT comes first", receipt);
                }
            };
        }
        let mut headers = Headers::read(frame);
        let receipt: Option<String> = headers.receipt.take().map(Into::into);
        match frame.command {
            "SEND" => self.send(headers, frame, receipt),
            "ACK" => self.settle(&headers, Verdict::Taken, receipt),
            "NACK" => {
                let again = match headers.requeue.as_deref() {
                    Some("false") => false,
                    _ => self.settings.nack == Nack::Requeue,
                };
                self.settle(&headers, Verdict::Refused { again }, receipt);
            }
            "SUBSCRIBE" => self.subscribe(&headers, receipt),
            "UNSUBSCRIBE" => self.unsubscribe(headers, receipt),
            "BEGIN" | "COMMIT" | "ABORT" => {
                self.transaction(frame.command, &headers, receipt, now);
            }
            "DISCONNECT" => {
                self.leaving = true;
                self.due.push_back(Due::Disconnect(receipt));
                self.pay();
            }
            "CONNECT" | "STOMP" => self.refuse("Already connected", receipt),
            unknown => self.refuse(&format!("Unknown command {}", shown(unknown)), receipt),
        }
    }

    // What the client is owed.

    fn give_receipt(&mut self, receipt: Option<String>) {
        if let Some(receipt) = receipt {
            self.due.push_back(Due::Receipt(receipt));
            self.pay();
        }
    }

    /// Refuses a frame: ERROR behind all that is owed for earlier frames; then the connection ends.
    fn refuse(&mut self, text: &str, receipt: Option<String>) {
        self.counts.refused_frames += 1;
        let frame = self.error(text, Some(text), receipt.as_deref());
        self.fail_with(frame);
    }

    /// The same with the headers that the original had: no `message`.
    fn refuse_as_observed(&mut self, text: &str, receipt: Option<String>) {
        self.counts.refused_frames += 1;
        let frame = self.error(text, None, receipt.as_deref());
        self.fail_with(frame);
    }

    fn fail_with(&mut self, frame: Vec<u8>) {
        self.leaving = true;
        self.due.push_back(Due::Error(frame));
        self.pay();
    }

    /// An ERROR frame.
    fn error(&self, text: &str, message: Option<&str>, receipt: Option<&str>) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut encoder = Encoder::new(&mut frame, "ERROR", self.version);
        if let Some(message) = message {
            encoder = encoder.header("message", message);
        }
        encoder = encoder.header("content-type", "text/plain");
        if let Some(receipt) = receipt {
            encoder = encoder.header("receipt-id", receipt);
        }
        encoder.body(text.as_bytes());
        frame
    }

    /// Gives the client what is owed, up to what the broker has not answered.
    fn pay(&mut self) {
        while let Some(due) = self.due.pop_front() {
            match due {
                Due::Published(_) | Due::Committed(_) => return self.due.push_front(due),
                Due::Receipt(receipt) => self.receipt(&receipt),
                Due::Error(frame) => return self.end_with(&frame, End::ProtocolError),
                Due::Disconnect(receipt) => {
                    self.await_answer(Ask::Disconnect, Awaited::Disconnect { receipt });
                }
            }
        }
    }

    fn receipt(&mut self, receipt: &str) {
        Encoder::new(&mut self.out, "RECEIPT", self.version)
            .header("receipt-id", receipt)
            .body(&[]);
    }

    fn end_with(&mut self, frame: &[u8], end: End) {
        self.out.extend_from_slice(frame);
        self.due.clear();
        self.awaited = None;
        self.end = Some(end);
    }

    // The broker.

    /// The next thing to ask of the broker; not before an awaited answer has come.
    pub fn next_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Takes back a message that has been published.
    pub fn recycle(&mut self, mut message: Outgoing) {
        let size = message.topic.capacity() + message.payload.capacity();
        if self.spare.len() < SPARE && size <= SPARE_BYTES {
            message.topic.clear();
            message.payload.clear();
            message.about = None;
            self.spare.push(message);
        }
    }

    fn await_answer(&mut self, ask: Ask, awaited: Awaited) {
        self.asks.push_back(ask);
        self.awaited = Some(awaited);
    }

    /// The oldest message that [`Machine::published`] has not been called for: `Err` = why it is not taken.
    pub fn published(&mut self, answer: Answer) {
        let (receipt, committed) = match self.due.pop_front() {
            Some(Due::Published(receipt)) => (receipt, None),
            Some(Due::Committed(receipt)) => (None, receipt),
            // After an ERROR nobody asks any more.
            Some(other) => return self.due.push_front(other),
            None => return,
        };
        match answer {
            Ok(()) => {
                if let Some(receipt) = receipt {
                    self.receipt(&receipt);
                }
                self.pay();
            }
            Err(why) => {
                let text = format!("Not published: {why}");
                let failed = receipt.as_deref().or(committed.as_deref());
                let frame = self.error(&text, Some(&text), failed);
                self.leaving = true;
                self.end_with(&frame, End::ProtocolError);
            }
        }
    }

    /// The client has gone in good order.
    pub fn disconnected(&mut self) {
        if let Some(Awaited::Disconnect { receipt }) = self.awaited.take() {
            if let Some(receipt) = receipt {
                self.receipt(&receipt);
            }
            self.end = Some(End::Normal);
        }
    }

    /// What comes from the broker.
    pub fn event(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.message(message),
            // Not asked for.
            Event::Released { .. } => {}
            Event::Closed(end) => self.closed(&end.reason),
        }
    }

    /// The broker has ended the connection.
    pub fn closed(&mut self, reason: &str) {
        if self.end.is_some() || matches!(self.awaited, Some(Awaited::Disconnect { .. })) {
            return;
        }
        let text = format!("Connection closed: {reason}");
        let frame = self.error(&text, Some(&text), None);
        self.end_with(&frame, End::Closed(reason.into()));
    }

    // Output and time.

    /// Whether more messages of the broker's are taken.
    pub fn has_room(&self) -> bool {
        self.has_space() && self.spreading.is_none() && self.unparked.is_empty()
    }

    fn has_space(&self) -> bool {
        self.out.len() < OUTPUT && self.end.is_none()
    }

    /// Takes what is to be written, and the messages that are acknowledged when it is; leaves `spare` for what follows.
    pub fn take_output(&mut self, spare: Vec<u8>) -> (Vec<u8>, Vec<u16>) {
        let out = std::mem::replace(&mut self.out, spare);
        (out, std::mem::take(&mut self.written))
    }

    /// Whether there is something to write.
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Output has been written.
    pub fn told(&mut self, now: Instant) {
        self.heart_beat.sent(now);
    }

    /// How the connection ends, when it does: after what is to be written.
    pub fn ended(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// When [`Machine::on_time`] is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        if self.end.is_some() {
            return None;
        }
        let transactions = self
            .transactions
            .deadline(self.settings.transaction_timeout);
        let deadlines = [self.connect_by(), self.heart_beat.deadline(), transactions];
        deadlines.into_iter().flatten().min()
    }

    fn connect_by(&self) -> Option<Instant> {
        let waits = !self.connected && self.awaited.is_none() && self.mode == Mode::Tcp;
        waits.then(|| self.opened + CONNECT_WITHIN)
    }

    /// Does what is due. `listening`: the client is read from, so that it is its own fault when nothing came.
    /// `writing`: output is on its way, so that no heart-beat is missing.
    pub fn on_time(&mut self, now: Instant, listening: bool, writing: bool) {
        if self.connect_by().is_some_and(|by| now >= by) {
            self.end = Some(End::Closed("idle_timeout".into()));
        }
        let expired = self
            .transactions
            .expire(now, self.settings.transaction_timeout);
        self.counts.expired_transactions += expired as u64;
        if !listening {
            self.heart_beat.received(now);
        }
        if self.heart_beat.is_lost(now) && self.end.is_none() {
            self.end = Some(End::Closed("keepalive_timeout".into()));
        }
        if self.heart_beat.is_due(now) {
            if !writing && self.out.is_empty() {
                self.out.push(b'\n');
            }
            self.heart_beat.sent(now);
        }
    }
}

/// What a client sent, as far as an error text repeats it.
fn shown(text: &str) -> String {
    text.chars().take(40).filter(|c| !c.is_control()).collect()
}
