//! What a fault of the resources costs.
#![allow(clippy::unwrap_used)]

use crate::codec::{Code, Kind, Token, Writer};
use crate::gateway::Gateway;
use crate::request::{
    Action, Application, Ended, Fate, Method, Outcome, Request, Response, Ticket,
};
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Config, Descriptor};
use std::net::UdpSocket;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Resources that fall over a DELETE and count their requests.
struct Fragile(u8);

impl Application for Fragile {
    fn handle(&mut self, _: Instant, request: &Request<'_>) -> Outcome {
        assert_ne!(request.method, Method::Delete, "as the test wants it");
        self.0 += 1;
        Outcome::Now(Response::content(0, vec![self.0]))
    }

    fn notified(&mut self, _: Instant, _: Ticket, _: u64, _: Fate) {}

    fn ended(&mut self, _: Instant, _: Ticket, _: Ended) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: Instant) {}

    fn poll_action(&mut self, _: &mut Context<'_>) -> Poll<Action> {
        Poll::Pending
    }

    async fn close(&mut self) {}
}

fn send(device: &UdpSocket, id: u16, method: Code) {
    let mut out = Vec::new();
    let token = Token::new(&[]).unwrap();
    Writer::new(&mut out, Kind::Confirmable, method, id, &token);
    device.send(&out).unwrap();
}

/// The last byte of the answer.
fn ask(device: &UdpSocket, id: u16, method: Code) -> Option<u8> {
    send(device, id, method);
    let mut answer = [0; 64];
    let len = device.recv(&mut answer).ok()?;
    Some(answer[len - 1])
}

#[test]
fn after_a_panic_it_begins_anew() {
    let broker = FakeBroker::new();
    let plugin = Descriptor::new("emq_coap", "1", "", |ctx| {
        Ok(Box::new(Gateway::start(ctx, |_, _, _| Fragile(0))?))
    });
    let keys = Config::of(&[
        ("coap.port", "127.0.0.1:0"),
        ("coap.keepalive", "120s"),
        ("coap.max_clients", "10"),
        ("coap.max_message_size", "64KB"),
        ("coap.ps.max_topics", "10"),
        ("coap.ps.max_bytes", "1MB"),
    ]);
    broker.start(&plugin, keys).unwrap();
    let device = UdpSocket::bind("127.0.0.1:0").unwrap();
    device.connect(&broker.listeners()[0].listen_on).unwrap();
    device
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(ask(&device, 1, Code::GET), Some(1));
    assert_eq!(ask(&device, 2, Code::GET), Some(2));
    // It is not answered; the next one is, at the same socket, by resources that know nothing of before.
    send(&device, 3, Code::DELETE);
    assert_eq!(ask(&device, 4, Code::GET), Some(1));
}
