//! A small web server.

use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What it does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Status(u16),
    /// 500 for what contains `poison`, else 200
    Poison,
    /// No answer; it closes the connection once it is told something else.
    Hang,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Post {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

pub(super) struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    /// requests read, those that hang included
    seen: usize,
    posts: Vec<Post>,
}

impl Server {
    pub fn start(mode: Mode) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mode,
                seen: 0,
                posts: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Server { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.shared.state.lock().mode = mode;
        self.shared.changed.notify_all();
    }

    /// Waits until so many requests were read.
    pub fn wait_for_seen(&self, number: usize) {
        self.wait(|state| state.seen >= number);
    }

    /// Waits until so many events were taken, and gives their bodies.
    pub fn wait_for(&self, number: usize) -> Vec<String> {
        self.wait(|state| taken(state).len() >= number);
        taken(&self.shared.state.lock())
    }

    /// The bodies that were taken.
    pub fn taken(&self) -> Vec<String> {
        taken(&self.shared.state.lock())
    }

    pub fn posts(&self) -> Vec<Post> {
        self.shared.state.lock().posts.clone()
    }

    fn wait(&self, holds: impl Fn(&State) -> bool) {
        let mut state = self.shared.state.lock();
        while !holds(&state) {
            let late = self
                .shared
                .changed
                .wait_for(&mut state, Duration::from_secs(20))
                .timed_out();
            assert!(!late, "{} seen, {:?}", state.seen, taken(&state));
        }
    }
}

fn taken(state: &State) -> Vec<String> {
    let posts = state.posts.iter().filter(|post| post.status < 400);
    posts.map(|post| post.body.clone()).collect()
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        let Ok(writer) = stream.try_clone() else {
            return;
        };
        let (mut reader, mut writer) = (BufReader::new(stream), writer);
        while let Some((headers, body)) = request(&mut reader) {
            let mut state = self.state.lock();
            state.seen += 1;
            self.changed.notify_all();
            if state.mode == Mode::Hang {
                self.changed
                    .wait_while(&mut state, |state| state.mode == Mode::Hang);
                return;
            }
            let status = match state.mode {
                Mode::Status(status) => status,
                Mode::Poison if body.contains("poison") => 500,
                Mode::Poison => 200,
                Mode::Hang => return,
            };
            state.posts.push(Post {
                status,
                headers,
                body,
            });
            self.changed.notify_all();
            drop(state);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(BTreeMap<String, String>, String)> {
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => {
                let (name, value) = line.split_once(": ").unwrap_or(("", line));
                headers.insert(name.to_ascii_lowercase(), value.to_string());
            }
        }
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((headers, String::from_utf8(body).ok()?))
}
