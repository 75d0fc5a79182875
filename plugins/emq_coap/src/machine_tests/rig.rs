//! A machine with an application that does as it is told, and times of its own.
#![allow(clippy::unwrap_used)]

use crate::codec::{Code, Kind, Message, Token, Writer, uint};
use crate::endpoint::Endpoint;
use crate::machine::{Limits, Machine, Wire};
use crate::request::{
    Action, Application, Ended, Fate, Method, Observe, Outcome, Request, Response, Ticket,
};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A request as the application has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub ticket: Ticket,
    pub method: Method,
    pub path: String,
    pub observe: Option<Observe>,
    pub renews: Option<Ticket>,
    pub payload: Vec<u8>,
}

/// Answers with what it is given: `None` = later. Without anything it answers 2.04.
#[derive(Default)]
pub struct Script {
    pub answers: VecDeque<Option<Response>>,
    pub seen: Vec<Seen>,
    pub notified: Vec<(u64, Fate)>,
    pub ended: Vec<(Ticket, Ended)>,
}

impl Application for Script {
    fn handle(&mut self, _: Instant, request: &Request<'_>) -> Outcome {
        self.seen.push(Seen {
            ticket: request.ticket,
            method: request.method,
            path: request.path().collect::<Vec<_>>().join("/"),
            observe: request.observe,
            renews: request.renews,
            payload: request.payload.to_vec(),
        });
        match self.answers.pop_front() {
            Some(Some(response)) => Outcome::Now(response),
            Some(None) => Outcome::Later,
            None => Outcome::Now(Response::new(Code::CHANGED)),
        }
    }

    fn notified(&mut self, _: Instant, _: Ticket, receipt: u64, fate: Fate) {
        self.notified.push((receipt, fate));
    }

    fn ended(&mut self, _: Instant, observation: Ticket, why: Ended) {
        self.ended.push((observation, why));
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

/// What was sent, and to whom.
#[derive(Default)]
pub struct Sent(pub VecDeque<(Endpoint, Vec<u8>)>);

impl Wire for Sent {
    fn send(&mut self, to: &Endpoint, datagram: &[u8]) {
        self.0.push_back((*to, datagram.to_vec()));
    }
}

/// A message of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msg {
    pub kind: Kind,
    pub code: Code,
    pub id: u16,
    pub token: Vec<u8>,
    pub options: Vec<(u16, Vec<u8>)>,
    pub payload: Vec<u8>,
}

impl Msg {
    pub fn new(kind: Kind, code: Code, id: u16) -> Msg {
        Msg {
            kind,
            code,
            id,
            token: b"t".to_vec(),
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// A CON request.
    pub fn con(code: Code, id: u16) -> Msg {
        Msg::new(Kind::Confirmable, code, id)
    }

    pub fn non(code: Code, id: u16) -> Msg {
        Msg::new(Kind::NonConfirmable, code, id)
    }

    pub fn token(mut self, token: &[u8]) -> Msg {
        self.token = token.to_vec();
        self
    }

    pub fn option(mut self, number: u16, value: &[u8]) -> Msg {
        self.options.push((number, value.to_vec()));
        self
    }

    pub fn number(self, number: u16, value: u32) -> Msg {
        let zeros = (value.leading_zeros() / 8) as usize;
        self.option(number, &value.to_be_bytes()[zeros..])
    }

    pub fn payload(mut self, payload: &[u8]) -> Msg {
        self.payload = payload.to_vec();
        self
    }

    /// The first option of that number.
    pub fn get(&self, number: u16) -> Option<u32> {
        let (_, value) = self.options.iter().find(|(n, _)| *n == number)?;
        uint(value, 4)
    }

    pub fn value(&self, number: u16) -> Option<&[u8]> {
        let mut all = self.options.iter();
        all.find(|(n, _)| *n == number)
            .map(|(_, value)| value.as_slice())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let token = Token::new(&self.token).unwrap();
        let mut writer = Writer::new(&mut bytes, self.kind, self.code, self.id, &token);
        let mut options = self.options.clone();
        options.sort_by_key(|(number, _)| *number);
        for (number, value) in &options {
            writer.option(*number, value);
        }
        writer.payload(&self.payload);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Msg {
        let message = Message::decode(bytes).unwrap();
        let options = message.options.iter().map(|(n, value)| (n, value.to_vec()));
        Msg {
            kind: message.kind,
            code: message.code,
            id: message.id,
            token: message.token.as_bytes().to_vec(),
            options: options.collect(),
            payload: message.payload.to_vec(),
        }
    }
}

/// All of it.
pub struct Rig {
    pub machine: Machine,
    pub app: Script,
    pub sent: Sent,
    pub now: Instant,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(Limits {
            max_message: 4096,
            peers: 8,
        })
    }

    pub fn with(limits: Limits) -> Rig {
        let now = Instant::now();
        Rig {
            machine: Machine::new(limits, (1, 2), now),
            app: Script::default(),
            sent: Sent::default(),
            now,
        }
    }

    /// The next requests are answered with these.
    pub fn answers(&mut self, answers: impl IntoIterator<Item = Option<Response>>) {
        self.app.answers.extend(answers);
    }

    pub fn send_bytes(&mut self, from: Endpoint, bytes: &[u8]) {
        let (app, sent) = (&mut self.app, &mut self.sent);
        self.machine.receive(self.now, from, None, bytes, app, sent);
    }

    pub fn send(&mut self, from: Endpoint, message: &Msg) {
        self.send_bytes(from, &message.encode());
    }

    /// What was sent next.
    #[track_caller]
    pub fn next(&mut self) -> Msg {
        let (_, bytes) = self.sent.0.pop_front().expect("something was sent");
        Msg::decode(&bytes)
    }

    #[track_caller]
    pub fn bytes(&mut self) -> Vec<u8> {
        let (_, bytes) = self.sent.0.pop_front().expect("something was sent");
        bytes
    }

    #[track_caller]
    pub fn silent(&self) {
        assert_eq!(self.sent.0, [], "something was sent");
    }

    /// Sends a request, and gets what is sent then, which is all.
    #[track_caller]
    pub fn ask(&mut self, from: Endpoint, message: &Msg) -> Msg {
        self.send(from, message);
        let answer = self.next();
        self.silent();
        answer
    }

    /// ACK or RST for a message.
    pub fn settle(&mut self, from: Endpoint, kind: Kind, id: u16) {
        self.send_bytes(from, &crate::codec::empty(kind, id));
    }

    pub fn act(&mut self, action: Action) {
        let (app, sent) = (&mut self.app, &mut self.sent);
        self.machine.act(self.now, action, app, sent);
    }

    pub fn notify(&mut self, observation: Ticket, receipt: u64, payload: &[u8]) {
        self.act(Action::Notify {
            observation,
            receipt,
            response: Response::content(42, payload.to_vec()),
        });
    }

    /// Lets time pass, with all that happens meanwhile.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.machine.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let (app, sent) = (&mut self.app, &mut self.sent);
            self.machine.tick(self.now, app, sent);
        }
        self.now = until;
    }

    /// Begins an observation; its name. What is sent is taken away.
    #[track_caller]
    pub fn observe(&mut self, from: Endpoint, message: &Msg) -> Ticket {
        self.silent();
        self.observe_again(from, message)
    }

    /// The same, whatever else is on its way.
    #[track_caller]
    pub fn observe_again(&mut self, from: Endpoint, message: &Msg) -> Ticket {
        use crate::request::Observing;
        let mut response = Response::new(Code::CONTENT);
        response.observing = Some(Observing::Begun);
        self.answers([Some(response)]);
        self.send(from, &message.clone().number(6, 0));
        let (_, bytes) = self.sent.0.pop_back().unwrap();
        let answer = Msg::decode(&bytes);
        assert!(answer.get(6).is_some(), "{answer:?}");
        self.app.seen.last().unwrap().ticket
    }
}

/// Peers.
pub fn peer(n: u16) -> Endpoint {
    Endpoint::Plain(([127, 0, 0, 1], 1000 + n).into())
}

/// One of DTLS.
pub fn secure(n: u16) -> Endpoint {
    Endpoint::Secure(([127, 0, 0, 1], 1000 + n).into())
}
