//! What each thread is doing for plugins right now, for the watchdog to look at.
//!
//! A thread writes only to its own desk, so that to note a call costs a few plain stores.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// From where a plugin is called, and therefore how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Site {
    ClientConnected,
    ClientDisconnected,
    ClientSubscribe,
    ClientUnsubscribe,
    SessionCreated,
    SessionSubscribed,
    SessionUnsubscribed,
    SessionTerminated,
    MessagePublish,
    MessageDelivered,
    MessageAcked,
    MessageDropped,
    Auth,
    Acl,
    Exchange,
    Pipe,
    Start,
    Stop,
    Reconfigure,
    Command,
    Http,
    Reload,
    Task,
}

/// All of them, by number.
const SITES: [(Site, &str); 23] = [
    (Site::ClientConnected, "client.connected"),
    (Site::ClientDisconnected, "client.disconnected"),
    (Site::ClientSubscribe, "client.subscribe"),
    (Site::ClientUnsubscribe, "client.unsubscribe"),
    (Site::SessionCreated, "session.created"),
    (Site::SessionSubscribed, "session.subscribed"),
    (Site::SessionUnsubscribed, "session.unsubscribed"),
    (Site::SessionTerminated, "session.terminated"),
    (Site::MessagePublish, "message.publish"),
    (Site::MessageDelivered, "message.delivered"),
    (Site::MessageAcked, "message.acked"),
    (Site::MessageDropped, "message.dropped"),
    (Site::Auth, "authentication"),
    (Site::Acl, "ACL"),
    (Site::Exchange, "enhanced authentication"),
    (Site::Pipe, "virtual connection"),
    (Site::Start, "start"),
    (Site::Stop, "stop"),
    (Site::Reconfigure, "reconfigure"),
    (Site::Command, "command"),
    (Site::Http, "HTTP request"),
    (Site::Reload, "reload"),
    (Site::Task, "task"),
];

impl Site {
    /// As people know it.
    pub fn name(self) -> &'static str {
        SITES[self as usize].1
    }

    /// Whether other clients wait while it runs.
    pub fn on_event_loop(self) -> bool {
        (self as u8) < Site::Start as u8
    }

    fn of(number: u8) -> Site {
        SITES.get(usize::from(number)).map_or(Site::Task, |s| s.0)
    }
}

/// Names of the hook points in a union of [`HookPoint`](emqttd_plugin_sdk::HookPoint) values, whose bits
/// have the order of the first sites.
pub(crate) fn points(union: u32) -> String {
    let names: Vec<&str> = SITES
        .iter()
        .take(12)
        .enumerate()
        .filter(|(bit, _)| union & (1 << bit) != 0)
        .map(|(_, (_, name))| *name)
        .collect();
    names.join(" ")
}

/// The call that a thread is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Current {
    /// tells this call of the thread from all its others
    pub serial: u64,
    /// number of the guard it went through
    pub guard: u64,
    pub site: Site,
}

/// Where one thread notes its call.
#[derive(Debug)]
pub(crate) struct Desk {
    /// tells the thread from all others
    pub number: usize,
    /// name of the thread
    pub thread: String,
    /// 0 = in no call
    serial: AtomicU64,
    guard: AtomicU64,
    site: AtomicU8,
}

impl Desk {
    /// The call that the thread is in, if any. What is read while it changes may be mixed; a call that has
    /// lasted is read right.
    pub fn current(&self) -> Option<Current> {
        let serial = self.serial.load(Ordering::Acquire);
        (serial != 0).then(|| Current {
            serial,
            guard: self.guard.load(Ordering::Relaxed),
            site: Site::of(self.site.load(Ordering::Relaxed)),
        })
    }

    fn set(&self, serial: u64, guard: u64, site: u8) {
        self.guard.store(guard, Ordering::Relaxed);
        self.site.store(site, Ordering::Relaxed);
        self.serial.store(serial, Ordering::Release);
    }
}

static DESKS: Mutex<Vec<Weak<Desk>>> = Mutex::new(Vec::new());
static NUMBERS: AtomicUsize = AtomicUsize::new(0);

/// A thread's hold on its desk.
struct Mine {
    desk: Arc<Desk>,
    calls: Cell<u64>,
}

impl Mine {
    fn new() -> Mine {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let desk = Arc::new(Desk {
            number,
            thread: std::thread::current().name().unwrap_or("?").to_string(),
            serial: AtomicU64::new(0),
            guard: AtomicU64::new(0),
            site: AtomicU8::new(0),
        });
        let mut desks = DESKS.lock().unwrap_or_else(PoisonError::into_inner);
        desks.retain(|desk| desk.strong_count() > 0);
        desks.push(Arc::downgrade(&desk));
        Mine {
            desk,
            calls: Cell::new(0),
        }
    }
}

thread_local! {
    static MINE: Mine = Mine::new();
}

/// The desks of all threads that have called a plugin and have not ended.
pub(crate) fn all() -> Vec<Arc<Desk>> {
    let desks = DESKS.lock().unwrap_or_else(PoisonError::into_inner);
    desks.iter().filter_map(Weak::upgrade).collect()
}

/// Runs `f`, with a note on this thread's desk meanwhile. `f` gets the number of the thread.
pub(crate) fn noted<T>(guard: u64, site: Site, f: impl FnOnce(usize) -> T) -> T {
    let begun = MINE.try_with(|mine| {
        let desk = &mine.desk;
        let serial = mine.calls.get() + 1;
        mine.calls.set(serial);
        // A plugin's command may reload another plugin: the outer call is noted again afterwards.
        let outer = (
            desk.serial.load(Ordering::Relaxed),
            desk.guard.load(Ordering::Relaxed),
            desk.site.load(Ordering::Relaxed),
        );
        desk.set(serial, guard, site as u8);
        (desk.number, outer)
    });
    // A thread that is ending has no desk any more; its calls are not watched.
    let result = f(begun.as_ref().map_or(0, |(number, _)| *number));
    if let Ok((_, (serial, guard, site))) = begun {
        let _ = MINE.try_with(|mine| mine.desk.set(serial, guard, site));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use emqttd_plugin_sdk::HookPoint;

    fn mine() -> Option<Current> {
        MINE.with(|mine| mine.desk.current())
    }

    #[test]
    fn calls_are_noted_while_they_run() {
        assert_eq!(mine(), None);
        noted(7, Site::Command, |_| {
            let outer = mine().expect("in a call");
            assert_eq!((outer.guard, outer.site), (7, Site::Command));
            noted(8, Site::Auth, |_| {
                let inner = mine().expect("in a call");
                assert_eq!((inner.guard, inner.site), (8, Site::Auth));
                assert_ne!(inner.serial, outer.serial);
            });
            assert_eq!(mine(), Some(outer));
        });
        assert_eq!(mine(), None);
    }

    #[test]
    fn the_table_of_sites_is_in_their_order() {
        for (number, (site, name)) in SITES.iter().enumerate() {
            assert_eq!(*site as usize, number, "{name}");
        }
        let two = HookPoint::ClientConnected as u32 | HookPoint::MessageDropped as u32;
        assert_eq!(points(two), "client.connected message.dropped");
        assert!(Site::MessagePublish.on_event_loop() && Site::Pipe.on_event_loop());
        assert!(!Site::Start.on_event_loop() && !Site::Command.on_event_loop());
    }
}
