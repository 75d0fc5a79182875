//! A plugin for tests of libraries: it does at one place what a plugin should not do, and has a command that
//! uses all that a plugin may ask of the broker.

mod callbacks;
mod operations;

use emqttd_plugin_sdk::{
    Config, Context, Descriptor, Key, KeyKind, Plugin, StartError, export_plugin,
};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

export_plugin!(plugin);

fn plugin() -> Descriptor {
    let key = |name, kind, default| Key::new(name, kind, "").default(default);
    Descriptor::new("emq_plugin_fixture", "0.1.0", "Misbehaves", start).keys([
        key("emq_plugin_fixture.at", KeyKind::Text, "nowhere"),
        key("emq_plugin_fixture.do", KeyKind::Text, "nothing"),
        key("emq_plugin_fixture.time", KeyKind::Duration, "0s"),
        key("emq_plugin_fixture.guard", KeyKind::Switch, "off"),
        key("emq_plugin_fixture.listen", KeyKind::Switch, "off"),
        key("emq_plugin_fixture.hot", KeyKind::Text, "").hot(),
    ])
}

/// What is to be done, and where.
struct Doing {
    at: String,
    what: String,
    time: Duration,
    /// `publish <topic>` and `subscribe <topic>` that the guard refuses, and tells nobody of
    denied: Mutex<HashSet<String>>,
}

impl Doing {
    fn new(config: &Config) -> Doing {
        let text = |key: &str| config.text(key).unwrap_or_default().to_string();
        Doing {
            at: text("emq_plugin_fixture.at"),
            what: text("emq_plugin_fixture.do"),
            time: config
                .duration("emq_plugin_fixture.time")
                .unwrap_or_default(),
            denied: Mutex::default(),
        }
    }

    fn is(&self, at: &str, what: &str) -> bool {
        self.at == at && self.what == what
    }

    /// The place `at` is reached.
    fn act(&self, at: &str) {
        if self.at != at {
            return;
        }
        match self.what.as_str() {
            "panic" => panic!("as told, at {at}"),
            "throw" => std::panic::panic_any(Thrown),
            "block" => std::thread::sleep(self.time),
            "hang" => loop {
                std::thread::park();
            },
            _ => {}
        }
    }
}

/// Panics again when it is dropped.
struct Thrown;

impl Drop for Thrown {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let doing = Arc::new(Doing::new(&ctx.config()));
    doing.act("start");
    if doing.is("start", "fail") {
        return Err("as told".into());
    }
    callbacks::register(ctx, &doing);
    operations::register(ctx, &doing);
    if doing.is("start", "leave") {
        // A thread that nobody ends, and that goes on calling the broker.
        let ctx = ctx.clone();
        std::thread::spawn(move || {
            loop {
                ctx.kick("nobody");
                emqttd_plugin_sdk::log::debug!("still here");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
    Ok(Box::new(Fixture(doing)))
}

struct Fixture(Arc<Doing>);

impl Plugin for Fixture {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        self.0.act("reconfigure");
        match ctx.config().text("emq_plugin_fixture.hot") {
            Some("bad") => Err("it does not like that".into()),
            _ => Ok(()),
        }
    }

    fn stop(&self) {
        self.0.act("stop");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.0.act("drop");
    }
}
