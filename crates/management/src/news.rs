//! That plugins or listeners may have come or gone: told at once to who asked for it.

use crate::Core;
use crate::commands::plugins::{PluginControl, PluginDone, PluginError, PluginRow};
use parking_lot::Mutex;
use std::sync::Arc;

/// Is told of it. Must not block.
type Hearer = Arc<dyn Fn() + Send + Sync>;

/// Who is told.
#[derive(Default)]
pub(crate) struct News(Mutex<Vec<Hearer>>);

impl News {
    fn tell(&self) {
        let hearers = self.0.lock().clone();
        hearers.iter().for_each(|hearer| hearer());
    }
}

impl Core {
    /// Has `hearer` called, from now on, whenever somebody has started or stopped a plugin or a listener, or has tried
    /// to; it looks for itself what there is now. What does so by itself (a plugin that is switched off after panics,
    /// one that opens a listener later) is not told. `hearer` is called by who did it, and must not block.
    pub fn on_change(&self, hearer: impl Fn() + Send + Sync + 'static) {
        self.news().0.lock().push(Arc::new(hearer));
    }

    /// Does what may start or stop listeners, and tells of it.
    pub(crate) fn telling<T>(&self, what: impl FnOnce() -> T) -> T {
        let done = what();
        self.news().tell();
        done
    }
}

/// Who runs the plugins, with the news of what is done.
pub(crate) struct Told {
    pub control: Arc<dyn PluginControl>,
    pub news: Arc<News>,
}

impl Told {
    fn telling<T>(&self, what: impl FnOnce(&dyn PluginControl) -> T) -> T {
        let done = what(&*self.control);
        self.news.tell();
        done
    }
}

impl PluginControl for Told {
    fn list(&self) -> Vec<PluginRow> {
        self.control.list()
    }

    fn load(&self, name: &str) -> Result<PluginDone, PluginError> {
        self.telling(|control| control.load(name))
    }

    fn unload(&self, name: &str) -> Result<PluginDone, PluginError> {
        self.telling(|control| control.unload(name))
    }

    fn reload(&self, name: &str) -> Result<PluginDone, PluginError> {
        self.telling(|control| control.reload(name))
    }

    fn show(&self, name: &str) -> Option<Vec<(String, String)>> {
        self.control.show(name)
    }

    fn reconfigure(
        &self,
        name: &str,
        entries: Vec<emqttd_plugin_sdk::Entry>,
    ) -> Result<(), String> {
        self.telling(|control| control.reconfigure(name, entries))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::testing::{PLUGIN, Site};
    use crate::{ListenerWish, PluginControl};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_management_does_is_told_when_it_is_done() {
        let site = Site::with("listener.tcp.external = 127.0.0.1:1883\n");
        let core = &site.core;
        core.set_plugins(Arc::clone(&site.plugins) as _);
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        core.on_change(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let run = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            site.cli().run(&words, None);
        };
        let told = || told.swap(0, Ordering::SeqCst);
        let plugins: Arc<dyn PluginControl> = core.plugins().unwrap();
        plugins.list();
        assert_eq!(told(), 0);
        plugins.load(PLUGIN).unwrap();
        assert_eq!(told(), 1);
        plugins.unload(PLUGIN).unwrap();
        assert_eq!(told(), 1);
        // There are no event loops here that could open it: that it was tried is told.
        let on = "127.0.0.1:1883";
        let _ = core.listener_set("mqtt:tcp", on, ListenerWish::Running);
        assert_eq!(told(), 1);
        run(&["listeners", "start", "tcp", on]);
        assert_eq!(told(), 1);
        run(&["plugins", "load", PLUGIN]);
        assert_eq!(told(), 1);
    }
}
