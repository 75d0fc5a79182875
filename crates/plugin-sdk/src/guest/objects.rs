//! What the broker may call, by number. Numbers are not used again, so that a late call hits nothing else.

use crate::{
    AuthMechanism, CommandHandler, DynAcl, DynAuth, Exchange, Hooks, HttpHandler, PipeEvents,
};
use emqttd_plugin_abi::Fault;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Loads something anew.
pub(super) type Reload = dyn Fn() -> Result<(), String> + Send + Sync;

type Shared<T> = Arc<Mutex<Box<T>>>;

#[derive(Clone)]
pub(super) enum Object {
    Auth(Arc<dyn DynAuth>),
    Acl(Arc<dyn DynAcl>),
    Mechanism(Arc<dyn AuthMechanism>),
    Hooks(Arc<dyn Hooks>),
    Command(Arc<CommandHandler>),
    Http(Arc<HttpHandler>),
    Reload(Arc<Reload>),
    Exchange(Shared<dyn Exchange>),
    Events(Shared<dyn PipeEvents>),
}

#[derive(Default)]
pub(super) struct Objects {
    all: RwLock<HashMap<u64, Object>>,
    last: AtomicU64,
}

macro_rules! getters {
    ($($name:ident: $variant:ident -> $type:ty;)*) => { $(
        pub fn $name(&self, number: u64) -> Result<$type, Fault> {
            match self.get(number)? {
                Object::$variant(object) => Ok(object),
                _ => Err(Fault::Gone),
            }
        }
    )* };
}

impl Objects {
    pub fn add(&self, object: Object) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(number, object);
        number
    }

    pub fn add_exchange(&self, exchange: Box<dyn Exchange>) -> u64 {
        self.add(Object::Exchange(Arc::new(Mutex::new(exchange))))
    }

    pub fn add_events(&self, events: Box<dyn PipeEvents>) -> u64 {
        self.add(Object::Events(Arc::new(Mutex::new(events))))
    }

    pub fn remove(&self, number: u64) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let removed = all.remove(&number);
        // What it drops may register something.
        drop(all);
        drop(removed);
    }

    pub fn clear(&self) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let removed = std::mem::take(&mut *all);
        drop(all);
        drop(removed);
    }

    fn get(&self, number: u64) -> Result<Object, Fault> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&number).cloned().ok_or(Fault::Gone)
    }

    getters! {
        auth: Auth -> Arc<dyn DynAuth>;
        acl: Acl -> Arc<dyn DynAcl>;
        mechanism: Mechanism -> Arc<dyn AuthMechanism>;
        hooks: Hooks -> Arc<dyn Hooks>;
        command: Command -> Arc<CommandHandler>;
        http: Http -> Arc<HttpHandler>;
        reload: Reload -> Arc<Reload>;
        exchange: Exchange -> Shared<dyn Exchange>;
        events: Events -> Shared<dyn PipeEvents>;
    }
}
