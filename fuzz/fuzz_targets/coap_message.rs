//! What a CoAP endpoint may send. First byte 0: one datagram, which is decoded, and encoded again. Else what several endpoints
//! send, what the application does and how time passes, as a row of steps: whatever comes, the transport stays within its
//! bounds, answers no more than it may, and is empty when everybody has been silent for long.
#![no_main]

// Of the plugin only its transport, which knows nothing of the broker.
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/block.rs"]
mod block;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/codec.rs"]
mod codec;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/endpoint.rs"]
mod endpoint;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/machine.rs"]
mod machine;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/message.rs"]
mod message;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/notify.rs"]
mod notify;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/observe.rs"]
mod observe;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/peer.rs"]
mod peer;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/request.rs"]
mod request;
#[allow(dead_code)]
#[path = "../../plugins/emq_coap/src/respond.rs"]
mod respond;

use codec::{Code, Kind, Message, Writer};
use endpoint::Endpoint;
use libfuzzer_sys::fuzz_target;
use machine::{Limits, Machine, Wire};
use request::{
    Action, Application, Ended, Fate, Observe, Observing, Outcome, Request, Response, Ticket,
};
use std::collections::{HashMap, HashSet};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Largest payload.
const MAX_MESSAGE: usize = 2048;
/// Endpoints that may observe.
const PEERS: usize = 4;
/// What an unproven endpoint may get for a small request.
const SMALL: usize = 150;

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((0, datagram)) => check_message(datagram),
        Some((_, steps)) => check_machine(steps),
        None => {}
    }
});

/// What is decoded is the same when it is encoded and decoded again.
fn check_message(datagram: &[u8]) {
    let Ok(message) = Message::decode(datagram) else {
        return;
    };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(
        &mut bytes,
        message.kind,
        message.code,
        message.id,
        &message.token,
    );
    for (number, value) in message.options {
        writer.option(number, value);
    }
    writer.payload(message.payload);
    let again = Message::decode(&bytes).expect("what we write is a message");
    assert_eq!(
        (again.kind, again.code, again.id, again.token, again.payload),
        (
            message.kind,
            message.code,
            message.id,
            message.token,
            message.payload
        )
    );
    assert!(again.options.iter().eq(message.options.iter()));
    assert!(bytes.len() <= datagram.len(), "ours is the shortest form");
    let _ = request::Head::read(message.options);
}

/// Answers as the first byte of a payload says, or later.
#[derive(Default)]
struct Resources {
    later: Vec<Ticket>,
    observations: HashSet<Ticket>,
    /// receipts whose fate is not known
    receipts: HashSet<u64>,
    next: u8,
}

impl Resources {
    fn response(&self, begins: bool) -> Response {
        let size = usize::from(self.next) * 9;
        let mut response = match self.next % 5 {
            0 => Response::new(Code::CHANGED),
            1 => Response::error(Code::NOT_FOUND, "there is no such thing"),
            2 => Response::busy(1),
            _ => Response::content(42, vec![self.next; size]),
        };
        if begins {
            response = Response::content(42, vec![self.next; size]);
            response.observing = Some(Observing::Begun);
        }
        response
    }
}

impl Application for Resources {
    fn handle(&mut self, _: Instant, request: &Request<'_>) -> Outcome {
        assert!(request.payload.len() <= MAX_MESSAGE);
        self.next = self
            .next
            .wrapping_add(request.payload.first().copied().unwrap_or(7));
        let registers = request.observe == Some(Observe::Register);
        if registers {
            if request.renews.is_some() && self.next % 2 == 0 {
                let mut response = Response::new(Code::CONTENT);
                response.observing = Some(Observing::Renewed);
                return Outcome::Now(response);
            }
            self.observations.insert(request.ticket);
        }
        if !registers && self.next % 3 == 0 {
            self.later.push(request.ticket);
            return Outcome::Later;
        }
        Outcome::Now(self.response(registers))
    }

    fn notified(&mut self, _: Instant, _: Ticket, receipt: u64, _: Fate) {
        assert!(receipt == 0 || self.receipts.remove(&receipt), "told once");
    }

    fn ended(&mut self, _: Instant, observation: Ticket, _: Ended) {
        assert!(self.observations.remove(&observation), "told once");
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: Instant) {}

    fn poll_action(&mut self, _: &mut Context<'_>) -> Poll<Action> {
        Poll::Pending
    }

    async fn close(&mut self) {}
}

/// What went out, and the last message that waits for an ACK of each endpoint.
#[derive(Default)]
struct Sent {
    bytes: HashMap<Endpoint, usize>,
    waits: HashMap<Endpoint, u16>,
}

impl Wire for Sent {
    fn send(&mut self, to: &Endpoint, datagram: &[u8]) {
        *self.bytes.entry(*to).or_default() += datagram.len();
        let message = Message::decode(datagram).expect("what we send is a message");
        if message.kind == Kind::Confirmable {
            self.waits.insert(*to, message.id);
        }
    }
}

fn check_machine(mut steps: &[u8]) {
    let limits = Limits {
        max_message: MAX_MESSAGE,
        peers: PEERS,
    };
    let mut now = Instant::now();
    let mut machine = Machine::new(limits, (1, 2), now);
    let (mut app, mut sent) = (Resources::default(), Sent::default());
    let mut receipt = 0;
    // A step: what, of whom, how long, and so many bytes.
    while let Some((&[what, whom, size], rest)) = steps.split_first_chunk() {
        let (bytes, rest) = rest.split_at(rest.len().min(size.into()));
        steps = rest;
        let address = ([127, 0, 0, 1], u16::from(whom % 12)).into();
        let endpoint = match whom % 5 {
            0 => Endpoint::Secure(address),
            _ => Endpoint::Plain(address),
        };
        match what % 8 {
            0..=3 => {
                let before = sent.bytes.get(&endpoint).copied().unwrap_or(0);
                let proven = sent.waits.contains_key(&endpoint) || endpoint.is_secure();
                machine.receive(now, endpoint, None, bytes, &mut app, &mut sent);
                let after = sent.bytes.get(&endpoint).copied().unwrap_or(0);
                assert!(proven || after - before <= SMALL.max(3 * bytes.len()));
            }
            4 => {
                if let Some(id) = sent.waits.get(&endpoint) {
                    let kind = match whom % 2 {
                        0 => Kind::Acknowledgement,
                        _ => Kind::Reset,
                    };
                    let settled = codec::empty(kind, *id);
                    machine.receive(now, endpoint, None, &settled, &mut app, &mut sent);
                }
            }
            5 => {
                if let Some(ticket) = app.later.pop() {
                    let response = app.response(false);
                    let action = Action::Respond { ticket, response };
                    machine.act(now, action, &mut app, &mut sent);
                }
            }
            6 => {
                let mut all = app.observations.iter().copied().collect::<Vec<_>>();
                all.sort();
                if let Some(&observation) = all.get(usize::from(whom) % all.len().max(1)) {
                    receipt += 1;
                    app.receipts.insert(receipt);
                    let response = match size {
                        0 => Response::new(Code::UNAVAILABLE),
                        _ => Response::content(42, vec![whom; usize::from(size) * 10]),
                    };
                    if size == 0 {
                        app.observations.remove(&observation);
                    }
                    let action = Action::Notify {
                        observation,
                        receipt,
                        response,
                    };
                    machine.act(now, action, &mut app, &mut sent);
                }
            }
            _ => {
                now += Duration::from_millis(u64::from(size) * 40);
                machine.tick(now, &mut app, &mut sent);
            }
        }
        check_bounds(&machine);
    }
    // Nobody says anything any more: what is left are those who observe and were told nothing.
    for ticket in std::mem::take(&mut app.later) {
        let response = Response::new(Code::CHANGED);
        machine.act(
            now,
            Action::Respond { ticket, response },
            &mut app,
            &mut sent,
        );
    }
    for observation in app.observations.clone() {
        let response = Response::new(Code::CONTENT);
        let receipt = 0;
        let action = Action::Notify {
            observation,
            receipt,
            response,
        };
        machine.act(now, action, &mut app, &mut sent);
    }
    let mut rounds = 0;
    while let Some(deadline) = machine.deadline() {
        now = now.max(deadline);
        machine.tick(now, &mut app, &mut sent);
        check_bounds(&machine);
        rounds += 1;
        assert!(rounds < 100_000, "it goes on without an end");
    }
    assert!(app.receipts.is_empty(), "every receipt has its fate");
    let rest = machine.held();
    assert_eq!((rest.pending, rest.partial, rest.waiting), (0, 0, 0));
    assert_eq!(rest.observations, app.observations.len());
    assert!(rest.peers <= rest.observations);
}

fn check_bounds(machine: &Machine) {
    let held = machine.held();
    assert!(held.peers <= 2 * PEERS && held.observations <= 4 * PEERS);
    // Two requests and four responses of each.
    assert!(held.partial <= 2 * PEERS * 6 * 4 * MAX_MESSAGE);
    assert!(held.waiting <= PEERS * 256 * 1024);
}
