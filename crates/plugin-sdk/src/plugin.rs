//! What a plugin is.

use crate::{Context, Key};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Why a plugin could not be started, as a sentence for the operator: what is wrong, where, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl<T: Into<String>> From<T> for StartError {
    fn from(text: T) -> StartError {
        StartError(text.into())
    }
}

/// A plugin that runs. Dropped after [`Plugin::stop`], when no call to it is under way any more.
pub trait Plugin: Send + Sync {
    /// A key was changed while it runs (`emqttd_ctl set --app=<name>`): `ctx` has the new values. The error
    /// goes to the operator and the old value stays.
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let _ = ctx;
        Err("takes effect when the plugin is loaded again".into())
    }
    /// The end begins: what was registered is gone already. When the broker stops no event loop runs any more, and
    /// what is published here reaches nobody.
    fn stop(&self) {}
}

/// A plugin with nothing to hold: all it does hangs on what it has registered.
impl Plugin for () {}

/// Starts a plugin.
pub type Start = dyn Fn(&Context) -> Result<Box<dyn Plugin>, StartError> + Send + Sync;

/// What the broker knows of a plugin before it is started.
#[derive(Clone)]
pub struct Descriptor {
    /// its name, which is that of its file below `etc/plugins`
    pub name: Cow<'static, str>,
    /// shown by `plugins list`
    pub version: Cow<'static, str>,
    /// shown by `plugins list`
    pub description: Cow<'static, str>,
    /// it decides who may come in or what they may do: a broker that cannot start it does not start
    pub guards: bool,
    /// plugins that must be loaded before
    pub depends: Vec<Cow<'static, str>>,
    /// its keys; empty = the broker's own table has them (plugins of EMQ)
    pub keys: Vec<Key>,
    /// when a key is changed while it runs, another life of it is started beside the one there is, which ends then;
    /// not for libraries
    pub anew: bool,
    /// its tasks run beside those of other gateways only; not for libraries
    pub gateway: bool,
    /// starts it
    pub start: Arc<Start>,
}

impl Descriptor {
    /// A plugin that guards nothing and needs no other.
    pub fn new(
        name: &'static str,
        version: &'static str,
        description: &'static str,
        start: impl Fn(&Context) -> Result<Box<dyn Plugin>, StartError> + Send + Sync + 'static,
    ) -> Descriptor {
        Descriptor {
            name: name.into(),
            version: version.into(),
            description: description.into(),
            guards: false,
            depends: Vec::new(),
            keys: Vec::new(),
            anew: false,
            gateway: false,
            start: Arc::new(start),
        }
    }

    /// It decides who may come in or what they may do.
    pub fn guard(self) -> Descriptor {
        Descriptor {
            guards: true,
            ..self
        }
    }

    /// It has clients of its own: its tasks run on threads that only gateways have, one for every two processors, so
    /// that a message costs few wake-ups. What takes long belongs into [`Context::blocking`] even more than elsewhere.
    pub fn gateway(self) -> Descriptor {
        Descriptor {
            gateway: true,
            ..self
        }
    }

    /// With keys of its own.
    pub fn keys(self, keys: impl IntoIterator<Item = Key>) -> Descriptor {
        Descriptor {
            keys: keys.into_iter().collect(),
            ..self
        }
    }

    /// When a key is changed while it runs, it is started anew with the new values, beside the life there is; that
    /// ends when the new one runs, and goes on when the new one cannot start. [`Plugin::reconfigure`] is not called.
    pub fn anew(self) -> Descriptor {
        Descriptor { anew: true, ..self }
    }

    /// That plugin must be loaded before.
    pub fn depends_on(mut self, name: &'static str) -> Descriptor {
        self.depends.push(name.into());
        self
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}
