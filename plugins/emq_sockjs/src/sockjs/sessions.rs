//! The sessions that requests find by their names.

use super::frame::Close;
use super::session::{Limits, Session, Socket};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Sessions of one service, with or without a name; there are so many at the most.
#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    places: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    named: HashMap<String, Arc<Session>>,
    /// of WebSockets
    nameless: Vec<Weak<Session>>,
    /// nothing is opened any more
    closed: bool,
}

/// What has come of a name.
pub enum Found {
    /// It was there.
    Old(Arc<Session>),
    /// It is new: the application gets its side, and [`Sessions::watch`] is to run.
    New(Arc<Session>, Socket, Place),
    /// There is no place for it.
    Full,
}

/// A place, given back when it is dropped.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Sessions {
    /// None yet.
    pub fn new(limits: Limits, most: usize) -> Sessions {
        Sessions {
            limits,
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            open: Mutex::default(),
        }
    }

    /// A session that is there.
    pub fn get(&self, name: &str) -> Option<Arc<Session>> {
        self.open.lock().named.get(name).cloned()
    }

    /// A session of that name, a new one if need be.
    pub fn get_or_open(&self, name: &str) -> Found {
        let mut open = self.open.lock();
        if let Some(session) = open.named.get(name) {
            return Found::Old(Arc::clone(session));
        }
        let Some(place) = self.place(&open) else {
            return Found::Full;
        };
        let (session, socket) = Session::open(self.limits, false);
        open.named.insert(name.to_owned(), Arc::clone(&session));
        Found::New(session, socket, place)
    }

    /// A session that lives as long as its only receiver. `bytes`: its messages need not be text.
    pub fn open_nameless(&self, bytes: bool) -> Option<(Arc<Session>, Socket, Place)> {
        let mut open = self.open.lock();
        let place = self.place(&open)?;
        let (session, socket) = Session::open(self.limits, bytes);
        if open.nameless.len() == open.nameless.capacity() {
            open.nameless.retain(|session| session.strong_count() > 0);
        }
        open.nameless.push(Arc::downgrade(&session));
        Some((session, socket, place))
    }

    /// Removes the session when it has been alone for its time.
    pub async fn watch(&self, name: &str, session: Arc<Session>, place: Place) {
        session.abandoned().await;
        self.open.lock().named.remove(name);
        session.end(Close::GO_AWAY);
        drop(place);
    }

    /// Ends all of them, and lets no more in.
    pub fn close(&self) {
        self.open.lock().closed = true;
        for session in self.all() {
            session.end(Close::GO_AWAY);
        }
    }

    /// Whether some client still receives.
    pub fn is_receiving(&self) -> bool {
        self.all().iter().any(|session| session.is_received())
    }

    fn all(&self) -> Vec<Arc<Session>> {
        let open = self.open.lock();
        let nameless = open.nameless.iter().filter_map(Weak::upgrade);
        open.named.values().cloned().chain(nameless).collect()
    }

    fn place(&self, open: &Open) -> Option<Place> {
        if open.closed {
            return None;
        }
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }
}
