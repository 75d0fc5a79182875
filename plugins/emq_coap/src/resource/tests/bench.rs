//! Sessions on a broker that does what the test says.

use crate::app::App;
use crate::brokerage::{Answer, Broker, ClientNo};
use crate::codec::{Code, Kind, Message, Token, Writer, option};
use crate::endpoint::Endpoint;
use crate::request::{Action, Fate, Head, Observing, Outcome, Response, Ticket};
use crate::settings::{Settings, Shared};
use arc_swap::ArcSwap;
use bytes::Bytes;
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Incoming, NotNow, Outgoing, Refused};
use emqttd_plugin_sdk::{PeerInfo, QoS};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A broker that writes down what it is asked.
#[derive(Default)]
pub struct Fake {
    pub log: Vec<String>,
    pub closed: HashSet<ClientNo>,
    pub options: Vec<ConnectOptions>,
    pub peers: Vec<PeerInfo>,
    pub refuses: Option<NotNow>,
    jobs: Vec<u64>,
    clients: Vec<ClientNo>,
}

impl Broker for Fake {
    fn connect(&mut self, client: ClientNo, peer: PeerInfo, options: ConnectOptions) {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        self.log.push(format!(
            "connect {} {:?} {:?}",
            options.clientid,
            options.username.as_deref().unwrap_or("-"),
            options.password.as_ref().map_or("-".into(), text),
        ));
        self.options.push(options);
        self.peers.push(peer);
        self.clients.push(client);
    }

    fn is_closed(&self, client: ClientNo) -> bool {
        self.closed.contains(&client)
    }

    fn publish(&mut self, _: ClientNo, message: &Outgoing, job: u64) -> Result<bool, NotNow> {
        if let Some(refusal) = &self.refuses {
            return Err(refusal.clone());
        }
        let Outgoing {
            topic, qos, retain, ..
        } = message;
        let payload = String::from_utf8_lossy(&message.payload);
        let retain = if *retain { " retain" } else { "" };
        self.log.push(format!(
            "publish {topic} {payload:?} {}{retain}",
            *qos as u8
        ));
        if *qos == QoS::AtMostOnce {
            return Ok(true);
        }
        self.jobs.push(job);
        Ok(false)
    }

    fn subscribe(&mut self, _: ClientNo, filter: &Arc<str>) {
        self.log.push(format!("subscribe {filter}"));
    }

    fn unsubscribe(&mut self, _: ClientNo, filter: &Arc<str>) {
        self.log.push(format!("unsubscribe {filter}"));
    }

    fn ack(&mut self, _: ClientNo, id: u16) {
        self.log.push(format!("ack {id}"));
    }

    fn ping(&mut self, _: ClientNo) {
        self.log.push("ping".into());
    }

    fn leave(&mut self, _: ClientNo) {
        self.log.push("leave".into());
    }
}

/// A request as it comes from a device.
#[derive(Clone)]
pub struct Ask {
    method: Code,
    path: Vec<String>,
    query: Vec<String>,
    numbers: Vec<(u16, u32)>,
    if_match: Option<Vec<u8>>,
    if_none_match: bool,
    payload: Vec<u8>,
    endpoint: Endpoint,
    identity: Option<&'static str>,
    renews: Option<Ticket>,
}

/// `/mqtt/a?c=1`: neither part is decoded, but `%2F`.
pub fn ask(method: Code, uri: &str) -> Ask {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let path = path.strip_prefix('/').unwrap_or(path);
    let texts = |text: &str, at| {
        let all = text.split(at).map(|part: &str| part.replace("%2F", "/"));
        if text.is_empty() {
            Vec::new()
        } else {
            all.collect()
        }
    };
    Ask {
        method,
        path: texts(path, '/'),
        query: texts(query, '&'),
        numbers: Vec::new(),
        if_match: None,
        if_none_match: false,
        payload: Vec::new(),
        endpoint: endpoint(1, 5000),
        identity: None,
        renews: None,
    }
}

pub fn get(uri: &str) -> Ask {
    ask(Code::GET, uri)
}

pub fn put(uri: &str, payload: &str) -> Ask {
    ask(Code::PUT, uri).payload(payload)
}

pub fn post(uri: &str, payload: &str) -> Ask {
    ask(Code::POST, uri).payload(payload)
}

pub fn delete(uri: &str) -> Ask {
    ask(Code::DELETE, uri)
}

pub fn endpoint(host: u8, port: u16) -> Endpoint {
    Endpoint::Plain(([10, 0, 0, host], port).into())
}

impl Ask {
    pub fn payload(self, payload: &str) -> Ask {
        Ask {
            payload: payload.into(),
            ..self
        }
    }

    fn number(mut self, option: u16, value: u32) -> Ask {
        self.numbers.push((option, value));
        self
    }

    pub fn format(self, format: u32) -> Ask {
        self.number(option::CONTENT_FORMAT, format)
    }

    pub fn accept(self, format: u32) -> Ask {
        self.number(option::ACCEPT, format)
    }

    pub fn max_age(self, seconds: u32) -> Ask {
        self.number(option::MAX_AGE, seconds)
    }

    pub fn observe(self, value: u32) -> Ask {
        self.number(option::OBSERVE, value)
    }

    pub fn if_match(self, etag: &[u8]) -> Ask {
        Ask {
            if_match: Some(etag.into()),
            ..self
        }
    }

    pub fn if_none_match(self) -> Ask {
        Ask {
            if_none_match: true,
            ..self
        }
    }

    pub fn from(self, endpoint: Endpoint) -> Ask {
        Ask { endpoint, ..self }
    }

    pub fn known_as(self, identity: &'static str) -> Ask {
        Ask {
            identity: Some(identity),
            ..self
        }
    }

    pub fn renews(self, ticket: Ticket) -> Ask {
        Ask {
            renews: Some(ticket),
            ..self
        }
    }

    fn datagram(&self) -> Vec<u8> {
        let mut options: Vec<(u16, Vec<u8>)> = Vec::new();
        let number = |value: u32| value.to_be_bytes().to_vec();
        for text in &self.path {
            options.push((option::URI_PATH, text.as_bytes().into()));
        }
        for text in &self.query {
            options.push((option::URI_QUERY, text.as_bytes().into()));
        }
        for (option, value) in &self.numbers {
            let bytes = number(*value);
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            options.push((*option, bytes[zeros..].to_vec()));
        }
        options.extend(self.if_match.clone().map(|etag| (option::IF_MATCH, etag)));
        if self.if_none_match {
            options.push((option::IF_NONE_MATCH, Vec::new()));
        }
        options.sort_by_key(|(number, _)| *number);
        let mut out = Vec::new();
        let token = Token::new(b"t").unwrap();
        let mut writer = Writer::new(&mut out, Kind::Confirmable, self.method, 1, &token);
        for (number, value) in &options {
            writer.option(*number, value);
        }
        writer.payload(&self.payload);
        out
    }
}

/// What a test has in hands.
pub struct Bench {
    pub app: App<Fake>,
    shared: Shared,
    pub now: Instant,
    pub last: Ticket,
}

impl Default for Bench {
    fn default() -> Bench {
        Bench::new()
    }
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(|_| {})
    }

    pub fn settings() -> Settings {
        Settings {
            keepalive: Duration::from_secs(120),
            enable_stats: false,
            max_clients: 10,
            max_message_size: 65_536,
            ps_max_topics: 100,
            ps_max_bytes: 1 << 20,
        }
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Bench {
        let mut settings = Bench::settings();
        change(&mut settings);
        let shared = Arc::new(ArcSwap::from_pointee(settings));
        let listener_of = |endpoint: &Endpoint| {
            let kind = if endpoint.is_secure() { "dtls" } else { "udp" };
            (format!("coap:{kind}"), "5683".to_string())
        };
        Bench {
            app: App::new(Fake::default(), Arc::clone(&shared), Box::new(listener_of)),
            shared,
            now: Instant::now(),
            last: Ticket(0),
        }
    }

    /// One with a client `c=1`, and nothing in its log.
    pub fn connected() -> Bench {
        let mut bench = Bench::new();
        assert_eq!(bench.send(&get("/mqtt?c=1")), None);
        bench.let_in();
        assert_eq!(bench.answer().code, Code::CONTENT);
        bench.log();
        bench
    }

    pub fn change(&mut self, settings: Settings) {
        self.shared.store(Arc::new(settings));
    }

    /// Sends a request; the answer, if it comes at once.
    pub fn send(&mut self, ask: &Ask) -> Option<Response> {
        self.last = Ticket(self.last.0 + 1);
        let datagram = ask.datagram();
        let message = Message::decode(&datagram).unwrap();
        let head = Head::read(message.options).unwrap();
        let mut request = head.request(
            &message,
            self.last,
            ask.endpoint,
            ask.identity,
            message.payload,
        );
        request.renews = ask.renews;
        match self.app.handle(self.now, &request) {
            Outcome::Now(response) => Some(response),
            Outcome::Later => None,
        }
    }

    /// The code of the answer that comes at once.
    pub fn code(&mut self, ask: &Ask) -> Code {
        self.send(ask).expect("an answer at once").code
    }

    /// What the broker was asked since this was last asked.
    pub fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.app.broker.log)
    }

    pub fn action(&mut self) -> Option<Action> {
        self.app.actions.pop_front()
    }

    /// The answer to the last request.
    pub fn answer(&mut self) -> Response {
        let last = self.last;
        self.answer_to(last)
    }

    pub fn answer_to(&mut self, wanted: Ticket) -> Response {
        match self.action() {
            Some(Action::Respond { ticket, response }) => {
                assert_eq!(ticket, wanted);
                response
            }
            other => panic!("not an answer: {other:?}"),
        }
    }

    /// The next notification: observation, receipt, what it says.
    pub fn notification(&mut self) -> (Ticket, u64, Response) {
        match self.action() {
            Some(Action::Notify {
                observation,
                receipt,
                response,
            }) => (observation, receipt, response),
            other => panic!("not a notification: {other:?}"),
        }
    }

    pub fn nothing(&mut self) {
        let action = self.action();
        assert!(action.is_none(), "{action:?}");
    }

    /// The client that came last.
    pub fn client(&self) -> ClientNo {
        *self.app.broker.clients.last().unwrap()
    }

    pub fn let_in(&mut self) {
        self.connack(Ok(()));
    }

    pub fn connack(&mut self, result: Result<(), Refused>) {
        let client = self.client();
        let answer = Answer::Connected { client, result };
        self.app.answered(self.now, answer);
    }

    pub fn closed(&mut self, client: ClientNo) {
        self.app.answered(self.now, Answer::Closed { client });
    }

    /// The broker has the message that was published first.
    pub fn puback(&mut self, code: u8) {
        let job = self.app.broker.jobs.remove(0);
        let code = Some(code);
        self.app.answered(self.now, Answer::Published { job, code });
    }

    pub fn suback(&mut self, filter: &str, granted: bool) {
        let answer = Answer::Subscribed {
            client: self.client(),
            filter: filter.into(),
            granted: Some(granted),
        };
        self.app.answered(self.now, answer);
    }

    pub fn unsuback(&mut self, filter: &str) {
        let answer = Answer::Unsubscribed {
            client: self.client(),
            filter: filter.into(),
        };
        self.app.answered(self.now, answer);
    }

    /// A message at QoS 1, or 0 when it has no id.
    pub fn message(&mut self, topic: &str, payload: &str, id: u16) {
        self.message_with(topic, payload, id, false, false);
    }

    pub fn retained(&mut self, topic: &str, payload: &str, id: u16) {
        self.message_with(topic, payload, id, true, false);
    }

    pub fn message_with(&mut self, topic: &str, payload: &str, id: u16, retain: bool, dup: bool) {
        let message = Incoming {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::from_u8(u8::from(id > 0)).unwrap(),
            retain,
            dup,
            id,
            subscriptions: Vec::new(),
            about: None,
        };
        let client = self.client();
        self.app
            .answered(self.now, Answer::Message { client, message });
    }

    pub fn notified(&mut self, observation: Ticket, receipt: u64, fate: Fate) {
        self.app.notified(self.now, observation, receipt, fate);
    }

    /// Observes, and is let.
    pub fn observe(&mut self, uri: &str, filter: &str) -> Ticket {
        assert_eq!(self.send(&get(uri).observe(0)), None);
        self.suback(filter, true);
        let response = self.answer();
        assert_eq!(response.code, Code::CONTENT);
        assert_eq!(response.observing, Some(Observing::Begun));
        self.last
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.app.tick(self.now);
    }

    /// Reads a topic of /ps, and is let.
    pub fn read(&mut self, uri: &str, topic: &str) -> Response {
        assert_eq!(self.send(&get(uri)), None);
        self.suback(topic, true);
        if self.app.actions.is_empty() {
            self.pass(crate::watching::RETAINED);
        }
        let response = self.answer();
        self.unsuback(topic);
        response
    }
}

pub fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.payload).unwrap()
}

pub fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}
