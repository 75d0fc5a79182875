//! Servers that speak as much of MongoDB's protocol as finding a user takes: a replica set of three, whose members
//! may be killed and which elects another primary; a sharded cluster of several mongos; one server that knows
//! SCRAM-SHA-1 only. What stands in for MongoDB in the other tests has none of these.
//!
//! They are real sockets, and the plugin's driver is the other side. Nobody may read the collection `forbidden`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, doc};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::{Digest, Sha1};

/// What the servers are to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ReplicaSet,
    Sharded,
    /// alone, with user `mqtt` and password `mqttpw` in database `admin`
    Scram,
}

/// Some servers with the same documents.
pub struct Stub(Arc<Shared>);

struct Shared {
    kind: Kind,
    ports: Vec<u16>,
    state: Mutex<State>,
}

struct State {
    users: Vec<Document>,
    members: Vec<Member>,
    primary: Option<usize>,
    elections: u32,
    /// who answered a question, in order
    answered: Vec<usize>,
}

#[derive(Default)]
struct Member {
    alive: bool,
    connections: Vec<TcpStream>,
}

impl Stub {
    /// The replica set `rs0` of three; the first one is the primary.
    pub fn replica_set(users: &[Document]) -> Stub {
        Stub::start(Kind::ReplicaSet, 3, users)
    }

    /// A sharded cluster with that many mongos.
    pub fn sharded(mongos: usize, users: &[Document]) -> Stub {
        Stub::start(Kind::Sharded, mongos, users)
    }

    /// A server that asks for SCRAM-SHA-1.
    pub fn scram_sha_1(users: &[Document]) -> Stub {
        Stub::start(Kind::Scram, 1, users)
    }

    fn start(kind: Kind, count: usize, users: &[Document]) -> Stub {
        let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listeners: Vec<TcpListener> = (0..count).map(listen).collect();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            kind,
            ports: listeners.iter().map(port).collect(),
            state: Mutex::new(State {
                users: users.to_vec(),
                members: (0..count).map(|_| Member::default()).collect(),
                primary: (kind == Kind::ReplicaSet).then_some(0),
                elections: 1,
                answered: Vec::new(),
            }),
        });
        for (member, listener) in listeners.into_iter().enumerate() {
            serve(&shared, member, listener);
        }
        Stub(shared)
    }

    /// Where a member is.
    pub fn address(&self, member: usize) -> String {
        self.0.address(member)
    }

    /// All of them, as `auth.mongo.server` takes them.
    pub fn addresses(&self) -> String {
        let all = 0..self.0.ports.len();
        all.map(|n| self.address(n)).collect::<Vec<_>>().join(",")
    }

    /// A member is gone, and its connections with it; a set without its primary has none.
    pub fn kill(&self, member: usize) {
        let mut state = self.0.state();
        state.members[member].alive = false;
        for connection in state.members[member].connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        if state.primary == Some(member) {
            state.primary = None;
        }
        drop(state);
        // Its listener looks up and closes; from then on whoever connects is refused.
        let port = self.0.ports[member];
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A member that was killed is back, as a secondary.
    pub fn revive(&self, member: usize) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.0.ports[member])).unwrap();
        serve(&self.0, member, listener);
    }

    /// The set elects that member.
    pub fn elect(&self, member: usize) {
        let mut state = self.0.state();
        state.primary = Some(member);
        state.elections += 1;
    }

    /// Who has answered questions since the last call.
    pub fn answered(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.state().answered)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        for member in 0..self.0.ports.len() {
            if self.0.state().members[member].alive {
                self.kill(member);
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn address(&self, member: usize) -> String {
        format!("127.0.0.1:{}", self.ports[member])
    }

    fn hello(&self, member: usize) -> Document {
        let state = self.state();
        let mut hello = doc! {
            "helloOk": true, "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000, "minWireVersion": 0, "maxWireVersion": 21, "readOnly": false,
            "logicalSessionTimeoutMinutes": 30,
        };
        match self.kind {
            Kind::Sharded => hello.extend(doc! {"isWritablePrimary": true, "msg": "isdbgrid"}),
            Kind::Scram => hello
                .extend(doc! {"isWritablePrimary": true, "saslSupportedMechs": ["SCRAM-SHA-1"]}),
            Kind::ReplicaSet => {
                let primary = state.primary == Some(member);
                let hosts: Vec<String> = (0..self.ports.len()).map(|n| self.address(n)).collect();
                hello.extend(doc! {
                    "isWritablePrimary": primary, "secondary": !primary, "hosts": hosts, "setName": "rs0",
                    "setVersion": 1, "me": self.address(member),
                });
                if let Some(primary) = state.primary {
                    hello.insert("primary", self.address(primary));
                }
                if primary {
                    let mut id = [0; 12];
                    id[8..].copy_from_slice(&state.elections.to_be_bytes());
                    hello.insert("electionId", ObjectId::from_bytes(id));
                }
            }
        }
        hello.insert("ismaster", hello.get("isWritablePrimary").cloned().unwrap());
        hello.insert("ok", 1.0);
        hello
    }

    fn find(&self, member: usize, command: &Document) -> Document {
        if command
            .get_str("find")
            .is_ok_and(|name| name == "forbidden")
        {
            return failure(
                13,
                "Unauthorized",
                "not authorized on mqtt to execute command",
            );
        }
        let mut state = self.state();
        let mode = command
            .get_document("$readPreference")
            .and_then(|p| p.get_str("mode"));
        let is_primary = self.kind != Kind::ReplicaSet || state.primary == Some(member);
        // Without a read preference the primary is meant.
        if !is_primary && !mode.is_ok_and(|mode| mode != "primary") {
            return failure(
                13_435,
                "NotPrimaryNoSecondaryOk",
                "not primary and secondaryOk=false",
            );
        }
        state.answered.push(member);
        let filter = command.get_document("filter").unwrap();
        let matches = |user: &&Document| {
            filter
                .iter()
                .all(|(key, value)| user.get(key) == Some(value))
        };
        let found: Vec<Document> = state.users.iter().filter(matches).cloned().collect();
        doc! {"cursor": {"id": 0_i64, "ns": "mqtt.mqtt_user", "firstBatch": found}, "ok": 1.0}
    }
}

fn failure(code: i32, name: &str, text: &str) -> Document {
    doc! {"ok": 0.0, "errmsg": text, "code": code, "codeName": name}
}

fn serve(shared: &Arc<Shared>, member: usize, listener: TcpListener) {
    shared.state().members[member].alive = true;
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut state = shared.state();
            if !state.members[member].alive {
                break;
            }
            let copy = stream.try_clone().unwrap();
            state.members[member].connections.push(copy);
            drop(state);
            let shared = Arc::clone(&shared);
            thread::spawn(move || talk(&shared, member, stream));
        }
    });
}

/// Answers until the connection ends.
fn talk(shared: &Shared, member: usize, mut stream: TcpStream) -> Option<()> {
    let mut login = Scram::default();
    loop {
        let mut header = [0; 16];
        stream.read_exact(&mut header).ok()?;
        let int = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let mut body = vec![0; usize::try_from(int(0)).ok()?.checked_sub(16)?];
        stream.read_exact(&mut body).ok()?;
        // OP_QUERY has flags, a name, and two numbers before its document; OP_MSG flags and the kind of section.
        let query = int(12) == 2004;
        let at = match query {
            true => 4 + body[4..].iter().position(|byte| *byte == 0)? + 1 + 8,
            false => 5,
        };
        let command = Document::from_reader(&body[at..]).ok()?;
        let reply = reply(shared, member, &mut login, &command);
        let document = reply.to_vec().unwrap();
        let head: &[u8] = match query {
            true => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            false => &[0; 5],
        };
        let opcode: i32 = if query { 1 } else { 2013 };
        let length = i32::try_from(16 + head.len() + document.len()).unwrap();
        let mut message = Vec::new();
        for number in [length, 1, int(4), opcode] {
            message.extend(number.to_le_bytes());
        }
        message.extend(head);
        message.extend(document);
        stream.write_all(&message).ok()?;
    }
}

fn reply(shared: &Shared, member: usize, login: &mut Scram, command: &Document) -> Document {
    let name = command
        .keys()
        .next()
        .map(String::as_str)
        .unwrap_or_default();
    match name.to_ascii_lowercase().as_str() {
        "hello" | "ismaster" => shared.hello(member),
        "saslstart" | "saslcontinue" => login.step(command),
        _ if shared.kind == Kind::Scram && !login.done => {
            failure(13, "Unauthorized", "command requires authentication")
        }
        "find" => shared.find(member, command),
        "ping" | "endsessions" => doc! {"ok": 1.0},
        _ => failure(59, "CommandNotFound", &format!("no such command: '{name}'")),
    }
}

/// The server's side of SCRAM-SHA-1 (RFC 5802) as MongoDB does it, for `mqtt` and `mqttpw`.
#[derive(Default)]
struct Scram {
    /// what the client's proof is made of: its first message, and ours
    messages: String,
    done: bool,
}

type HmacSha1 = Hmac<Sha1>;

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mac = HmacSha1::new_from_slice(key).unwrap().chain_update(text);
    mac.finalize().into_bytes().to_vec()
}

impl Scram {
    const SALT: &[u8] = b"a salt of 16 byt";
    const ITERATIONS: u32 = 4096;

    fn step(&mut self, command: &Document) -> Document {
        let payload = command.get_binary_generic("payload").unwrap();
        let text = String::from_utf8(payload.clone()).unwrap();
        let wrong = || failure(18, "AuthenticationFailed", "Authentication failed.");
        let answer = if command.contains_key("saslStart") {
            let first = text.strip_prefix("n,,").unwrap();
            let known = command
                .get_str("mechanism")
                .is_ok_and(|name| name == "SCRAM-SHA-1")
                && command.get_str("$db").is_ok_and(|name| name == "admin")
                && first.starts_with("n=mqtt,r=");
            if !known {
                return wrong();
            }
            let nonce = first.strip_prefix("n=mqtt,r=").unwrap();
            let salt = STANDARD.encode(Scram::SALT);
            let answer = format!("r={nonce}server,s={salt},i={}", Scram::ITERATIONS);
            self.messages = format!("{first},{answer}");
            answer
        } else {
            let (without_proof, proof) = text.split_once(",p=").unwrap();
            let auth = format!("{},{without_proof}", self.messages);
            let password = Md5::digest(b"mqtt:mongo:mqttpw");
            let password: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut salted = [0; 20];
            pbkdf2::pbkdf2_hmac::<Sha1>(
                password.as_bytes(),
                Scram::SALT,
                Scram::ITERATIONS,
                &mut salted,
            );
            let stored = Sha1::digest(hmac(&salted, b"Client Key"));
            let signature = hmac(&stored, auth.as_bytes());
            let proof = STANDARD.decode(proof).unwrap();
            let key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
            if Sha1::digest(key) != stored {
                return wrong();
            }
            self.done = true;
            let server = hmac(&hmac(&salted, b"Server Key"), auth.as_bytes());
            format!("v={}", STANDARD.encode(server))
        };
        let payload = Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: answer.into_bytes(),
        });
        doc! {"conversationId": 1, "done": self.done, "payload": payload, "ok": 1.0}
    }
}
