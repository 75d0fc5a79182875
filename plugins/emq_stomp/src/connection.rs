//! A STOMP connection, whatever carries it: the I/O around the [machine](crate::machine).
//!
//! One task serves a client. Nothing in it waits for one thing alone: while the broker is asked or output is on its way,
//! events of the broker are taken, so that neither holds up the other. Frames are read as long as the machine takes
//! them; TCP holds back a client that sends more.

use crate::machine::{Answer, Ask, Counts, Machine};
use crate::settings::{Settings, Shared};
use bytes::BytesMut;
use emqttd_plugin_sdk::virtual_client::{
    Event, Events, Failed, NotNow, Publishing, Refused, VirtualClient,
};
use emqttd_plugin_sdk::{Context, PeerInfo};
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};
use std::task::{self, Poll, Waker};
use std::time::{Duration, Instant};

/// How long a client that was sent ERROR is still listened to, so that the frame is not lost to a reset connection.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of it that are listened to.
const FAREWELL_BYTES: usize = 1024 * 1024;
/// An output buffer that is larger is not kept.
const BUFFER: usize = 128 * 1024;

/// What carries the bytes of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A TCP connection.
    Tcp,
    /// A SockJS session, which has heart-beats and time limits of its own: there are none here, and a client that asks
    /// for heart-beats is told `0,0`.
    SockJs,
}

/// Why the server ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client said DISCONNECT, or is gone.
    Normal,
    /// The client broke the rules; an ERROR frame has told it how.
    ProtocolError,
    /// It has ended for this reason: by the broker (`kick`, `conflict`, `shutdown`, ...), of which an ERROR frame has
    /// told, or because the client was silent (`idle_timeout`, `keepalive_timeout`).
    Closed(String),
}

/// Where the bytes of a client come from.
pub trait FrameReader: Send {
    /// Appends what has come; 0 = the end. A call that is given up loses nothing.
    fn read(&mut self, into: &mut BytesMut) -> impl Future<Output = io::Result<usize>> + Send;
}

/// Where the bytes for a client go.
pub trait FrameWriter: Send {
    /// Sends one or more whole frames, or the LF of a heart-beat. An error means that the client is gone.
    fn write(&mut self, frames: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Ends the connection. Nothing is written after that.
    fn close(&mut self, end: End) -> impl Future<Output = ()> + Send;
}

/// Serves one client until its connection ends.
pub async fn serve<R: FrameReader, W: FrameWriter>(
    ctx: Context,
    peer: PeerInfo,
    settings: Shared<Settings>,
    mode: Mode,
    reader: R,
    writer: W,
) {
    count(&ctx, &Counts::default());
    let machine = Machine::new(mode, settings.load_full(), Instant::now());
    let connection = Connection {
        ctx,
        peer,
        settings,
        machine,
        reader,
        input: BytesMut::new(),
        at_end: false,
        client: None,
        events: None,
        publishing: VecDeque::new(),
        step: None,
    };
    connection.run(writer).await;
}

/// Something that the broker is asked and that frames wait for.
type StepFuture = Pin<Box<dyn Future<Output = Stepped> + Send>>;

/// How it ended.
enum Stepped {
    Connected(Result<(VirtualClient, Events), Refused>),
    Subscribed(Answer),
    Unsubscribed(Answer),
    Published { answered: bool, answer: Answer },
    Disconnected,
}

/// A message whose answer the machine is to be told, in the order of the messages.
enum Sent {
    Publishing(Publishing),
    Answered(Answer),
}

struct Connection<R> {
    ctx: Context,
    peer: PeerInfo,
    settings: Shared<Settings>,
    machine: Machine,
    reader: R,
    input: BytesMut,
    /// the client sends nothing more
    at_end: bool,
    client: Option<VirtualClient>,
    events: Option<Events>,
    publishing: VecDeque<Sent>,
    step: Option<StepFuture>,
}

impl<R: FrameReader> Connection<R> {
    async fn run<W: FrameWriter>(mut self, writer: W) {
        // The writer goes into the future of a write, and comes back with its end.
        let mut idle = Some((writer, Vec::new()));
        let mut writing = pin!(None);
        let mut acknowledge = Vec::new();
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut armed: Option<Instant> = None;
        loop {
            self.work();
            if self.machine.has_output()
                && let Some((writer, spare)) = idle.take()
            {
                let (frames, written) = self.machine.take_output(spare);
                acknowledge = written;
                writing.set(Some(write(writer, frames)));
            }
            if let (Some((writer, _)), Some(end)) = (&mut idle, self.machine.ended().cloned()) {
                return self.finish(writer, end).await;
            }
            // Set anew only when it would be late: most that happens puts deadlines off.
            let deadline = self.machine.deadline();
            if let Some(deadline) = deadline
                && armed.is_none_or(|armed| deadline < armed)
            {
                timer.as_mut().reset(deadline.into());
                armed = Some(deadline);
            }
            let listening = self.listens();
            tokio::select! {
                biased;
                (writer, mut frames, result) = current(writing.as_mut()) => {
                    writing.set(None);
                    if result.is_err() {
                        // Nobody is there to be told anything.
                        return self.lost();
                    }
                    self.machine.told(Instant::now());
                    if let Some(client) = &self.client
                        && !acknowledge.is_empty()
                    {
                        let _cork = client.cork();
                        for id in acknowledge.drain(..) {
                            client.ack(id);
                        }
                    }
                    frames.clear();
                    if frames.capacity() > BUFFER {
                        frames = Vec::new();
                    }
                    idle = Some((writer, frames));
                }
                stepped = step(self.step.as_mut()) => {
                    self.step = None;
                    self.stepped(stepped);
                }
                answer = first(&mut self.publishing) => {
                    self.publishing.pop_front();
                    self.machine.published(answer);
                    self.further_answers();
                }
                result = self.reader.read(&mut self.input), if listening => match result {
                    Ok(0) | Err(_) => self.at_end = true,
                    Ok(_) => {
                        self.machine.heard(Instant::now());
                        self.machine.configure(&self.settings.load());
                    }
                },
                event = next(self.events.as_mut()), if self.machine.has_room() => {
                    self.machine.event(event);
                }
                () = timer.as_mut(), if armed.is_some() => {
                    armed = None;
                    self.machine.configure(&self.settings.load());
                    self.machine.on_time(Instant::now(), listening, idle.is_none());
                }
            }
        }
    }

    /// Whether the client is read from.
    fn listens(&self) -> bool {
        !self.at_end && self.step.is_none() && self.machine.takes_frames()
    }

    /// Does all that can be done without waiting.
    fn work(&mut self) {
        loop {
            self.asks();
            if self.input.is_empty() || self.step.is_some() || !self.machine.takes_frames() {
                break;
            }
            let before = self.input.len();
            self.machine.input(&mut self.input, Instant::now());
            if self.input.len() == before {
                break;
            }
        }
        self.machine.spread();
        while self.machine.has_room()
            && let Some(event) = self.events.as_mut().and_then(Events::try_recv)
        {
            self.machine.event(event);
        }
        self.machine.message_again();
        // Unless frames are left that the machine does not take yet.
        if self.at_end && self.step.is_none() && self.machine.takes_frames() {
            self.machine.gone();
        }
        self.asks();
    }

    /// Asks for what is to be asked, up to what has to be waited for. The broker hears of all of it at once.
    fn asks(&mut self) {
        let mut cork = None;
        while self.step.is_none()
            && let Some(ask) = self.machine.next_ask()
        {
            cork = cork.or_else(|| self.client.as_ref().map(VirtualClient::cork));
            self.ask(ask);
        }
    }

    fn ask(&mut self, ask: Ask) {
        if let Ask::Connect(login) = ask {
            let peer = PeerInfo {
                anonymous: login.anonymous,
                ..self.peer.clone()
            };
            let ctx = self.ctx.clone();
            self.step = Some(Box::pin(async move {
                Stepped::Connected(VirtualClient::connect(&ctx, peer, login.options).await)
            }));
            return;
        }
        // Nothing else is asked before there is a client.
        let Some(client) = &self.client else { return };
        match ask {
            Ask::Connect(_) => {}
            Ask::Ack(id) => {
                client.ack(id);
            }
            Ask::Publish { message, answered } => match client.try_publish(&message) {
                Ok(publishing) => {
                    self.machine.recycle(message);
                    if answered {
                        self.publishing.push_back(Sent::Publishing(publishing));
                    }
                }
                Err(NotNow::Busy) => {
                    let client = client.clone();
                    self.step = Some(Box::pin(async move {
                        let answer = granted(client.publish(&message).await);
                        Stepped::Published { answered, answer }
                    }));
                }
                // Of its end an event tells.
                Err(NotNow::Closed(_)) => {}
                Err(NotNow::Invalid(why)) => self.answered(answered, Err(why.into())),
            },
            Ask::Subscribe(asked) => {
                let client = client.clone();
                self.step = Some(Box::pin(async move {
                    let filters = [(asked.filter.as_str(), asked.qos)];
                    let codes = client.subscribe_as(&filters, asked.identifier).await;
                    let code = codes.map(|codes| codes.first().copied().unwrap_or(0x80));
                    Stepped::Subscribed(granted(code))
                }));
            }
            Ask::Unsubscribe(filter) => {
                let client = client.clone();
                self.step = Some(Box::pin(async move {
                    let done = client.unsubscribe(&[filter.as_str()]).await;
                    Stepped::Unsubscribed(done.map_err(|failed| failed.to_string()))
                }));
            }
            Ask::Disconnect => {
                let client = client.clone();
                self.step = Some(Box::pin(async move {
                    client.disconnect().await;
                    Stepped::Disconnected
                }));
            }
        }
    }

    /// Takes the answers that are there behind the first, so that their receipts go out in one write. Who waits for the
    /// next one says so anew before this task waits.
    fn further_answers(&mut self) {
        let mut nobody = task::Context::from_waker(Waker::noop());
        loop {
            let Poll::Ready(answer) = pin!(first(&mut self.publishing)).poll(&mut nobody) else {
                return;
            };
            self.publishing.pop_front();
            self.machine.published(answer);
        }
    }

    fn stepped(&mut self, stepped: Stepped) {
        match stepped {
            Stepped::Connected(Ok((client, events))) => {
                (self.client, self.events) = (Some(client), Some(events));
                self.machine.connected(Ok(()), Instant::now());
            }
            Stepped::Connected(Err(refused)) => {
                let (protocol, peername) = (&self.peer.listener.0, self.peer.peername);
                log::debug!("{protocol}: {peername}: {refused}");
                let why = match refused {
                    // Bad user name or password, not authorized; the same in MQTT 5.
                    Refused::Code(4 | 5 | 0x86 | 0x87) => None,
                    other => Some(other.to_string()),
                };
                self.machine.connected(Err(why), Instant::now());
            }
            Stepped::Subscribed(answer) => self.machine.subscribed(answer),
            Stepped::Unsubscribed(answer) => self.machine.unsubscribed(answer),
            Stepped::Published { answered, answer } => self.answered(answered, answer),
            Stepped::Disconnected => self.machine.disconnected(),
        }
    }

    /// There is an answer to the last message already; those before it may have none yet.
    fn answered(&mut self, wanted: bool, answer: Answer) {
        if wanted {
            self.publishing.push_back(Sent::Answered(answer));
        }
    }

    /// Ends both sides. An ERROR frame is waited for until the client has it, or a while.
    async fn finish<W: FrameWriter>(mut self, writer: &mut W, end: End) {
        if end != End::Normal {
            let (protocol, peername) = (&self.peer.listener.0, self.peer.peername);
            log::debug!("{protocol}: {peername}: {end:?}");
        }
        self.leave(match &end {
            End::Normal => "closed",
            End::ProtocolError => "protocol_error",
            End::Closed(reason) => reason,
        });
        let listen = end != End::Normal && !self.at_end;
        writer.close(end).await;
        if listen {
            let mut heard = 0;
            let listening = async {
                while heard < FAREWELL_BYTES {
                    self.input.clear();
                    match self.reader.read(&mut self.input).await {
                        Ok(0) | Err(_) => return,
                        Ok(bytes) => heard += bytes,
                    }
                }
            };
            // However it ends.
            let _ = tokio::time::timeout(FAREWELL, listening).await;
        }
    }

    /// The client is gone without a word.
    fn lost(self) {
        self.leave("closed");
    }

    fn leave(&self, reason: &str) {
        if let Some(client) = &self.client {
            // Nothing when it has ended already.
            client.abort(reason);
        }
        count(&self.ctx, &self.machine.counts);
    }
}

/// Adds what happened on a connection to the plugin's counters, which are there from the first connection on.
fn count(ctx: &Context, counts: &Counts) {
    let counters = [
        ("logins/refused", counts.refused_logins),
        ("frames/refused", counts.refused_frames),
        ("messages/requeued", counts.requeued),
        ("transactions/expired", counts.expired_transactions),
    ];
    for (name, number) in counters {
        ctx.metric(name).add(number);
    }
}

/// A reason code as an answer.
fn granted(code: Result<u8, Failed>) -> Answer {
    let why = match code {
        Ok(code) if code < 0x80 => return Ok(()),
        Ok(0x87) => "not authorized".into(),
        Ok(0x8F) => "the filter is not valid".into(),
        Ok(0x90) => "the topic is not valid".into(),
        Ok(0x95) => "it is too large".into(),
        Ok(0x97) => "a quota is used up".into(),
        Ok(code) => format!("the broker refuses it ({code:#x})"),
        Err(failed) => failed.to_string(),
    };
    Err(why)
}

async fn write<W: FrameWriter>(mut writer: W, frames: Vec<u8>) -> (W, Vec<u8>, io::Result<()>) {
    let result = writer.write(&frames).await;
    (writer, frames, result)
}

/// The future, if there is one.
async fn current<F: Future>(future: Pin<&mut Option<F>>) -> F::Output {
    match future.as_pin_mut() {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn step(step: Option<&mut StepFuture>) -> Stepped {
    match step {
        Some(step) => step.await,
        None => pending().await,
    }
}

/// The answer to the first message.
async fn first(publishing: &mut VecDeque<Sent>) -> Answer {
    match publishing.front_mut() {
        Some(Sent::Publishing(publishing)) => granted(publishing.await),
        Some(Sent::Answered(answer)) => std::mem::replace(answer, Ok(())),
        None => pending().await,
    }
}

/// The next event of the broker.
async fn next(events: Option<&mut Events>) -> Event {
    match events {
        Some(events) => match events.recv().await {
            Some(event) => event,
            None => pending().await,
        },
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
