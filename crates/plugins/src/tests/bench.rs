//! A broker, its manager, and plugins that do what a test tells them to.

use crate::{Manager, Setup};
use emqttd_broker::{Broker, Shard};
use emqttd_management::{Cli, PluginControl, Reply};
use emqttd_plugin_sdk::{
    AclProvider, AuthProvider, Client, ClientRef, Context, Descriptor, HookPoint, Hooks, Message,
    Plugin, QoS, StartError,
};
use parking_lot::Mutex;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A release tree with a broker that runs in it.
pub struct Bench {
    pub tree: TempDir,
    pub broker: Broker,
    pub cli: Arc<Cli>,
    pub manager: Arc<Manager>,
    /// of a library, by its path: what opening it gives
    pub libraries: Arc<Mutex<Vec<(PathBuf, Descriptor)>>>,
    /// the broker is told to stop
    pub stopping: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    loops: Vec<JoinHandle<()>>,
}

/// Files of the tree, and the plugins that are built in.
#[derive(Default)]
pub struct Tree {
    pub conf: String,
    pub files: Vec<(String, String)>,
    pub plugins: Vec<Descriptor>,
}

impl Tree {
    pub fn with(plugins: Vec<Descriptor>) -> Tree {
        Tree {
            plugins,
            ..Tree::default()
        }
    }

    pub fn key(mut self, line: &str) -> Tree {
        self.conf += line;
        self.conf.push('\n');
        self
    }

    pub fn file(mut self, path: &str, text: &str) -> Tree {
        self.files.push((path.into(), text.into()));
        self
    }

    pub fn loaded(self, names: &str) -> Tree {
        self.file("data/loaded_plugins", names)
    }

    /// A broker in this tree; no plugin runs yet.
    pub fn open(self) -> Bench {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        for dir in ["etc/plugins", "data", "plugins"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let conf = format!(
            "node.name = emq@127.0.0.1\nnode.data_dir = {0}/data\npersistence.sync = off\n\
             mqtt.allow_anonymous = true\nmqtt.acl_nomatch = allow\nmqtt.plugins.etc_dir = {0}/etc/plugins\n\
             mqtt.plugins.loaded_file = {0}/data/loaded_plugins\n{1}",
            root.display(),
            self.conf
        );
        fs::write(root.join("etc/emq.conf"), conf).unwrap();
        for (path, text) in &self.files {
            fs::write(root.join(path), text).unwrap();
        }
        let names: Vec<&str> = self.plugins.iter().map(|p| &*p.name).collect();
        let loaded =
            emqttd_config::load_with(&root.join("etc"), std::iter::empty(), &names).unwrap();
        let (broker, shards) = Broker::new(loaded.settings, 2).unwrap();
        let cli = Arc::new(Cli::new("emq@127.0.0.1"));
        let libraries: Arc<Mutex<Vec<(PathBuf, Descriptor)>>> = Arc::default();
        let known = Arc::clone(&libraries);
        let stopping = Arc::default();
        let manager = Manager::new(Setup {
            stopping: Arc::clone(&stopping),
            broker: broker.clone(),
            cli: Arc::clone(&cli),
            config: Arc::new(Mutex::new(loaded.config)),
            etc: root.join("etc"),
            built_in: self.plugins,
            open_library: Arc::new(move |path| {
                let known = known.lock();
                let found = known
                    .iter()
                    .find(|(p, _)| p.file_name() == path.file_name());
                let descriptor =
                    found.map(|(_, descriptor)| (descriptor.clone(), "ABI 1.0".into()));
                descriptor.ok_or_else(|| format!("{}: not a library", path.display()))
            }),
        })
        .unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let loops = shards.into_iter().map(|s| run(s, &ended)).collect();
        Bench {
            tree,
            broker,
            cli,
            manager,
            libraries,
            stopping,
            ended,
            loops,
        }
    }
}

/// An event loop without sockets.
fn run(mut shard: Shard, ended: &Arc<AtomicBool>) -> JoinHandle<()> {
    let ended = Arc::clone(ended);
    thread::spawn(move || {
        let this = thread::current();
        shard.set_waker(Box::new(move || this.unpark()));
        while !ended.load(Ordering::Acquire) {
            shard.begin_round();
            shard.receive();
            shard.timers();
            shard.post();
            shard.flushed();
            if !shard.has_mail() {
                thread::park_timeout(Duration::from_millis(5));
            }
        }
    })
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.manager.stop();
        self.ended.store(true, Ordering::Release);
        for thread in self.loops.drain(..) {
            thread.thread().unpark();
            thread.join().unwrap();
        }
        self.manager.end_runtime();
    }
}

impl Bench {
    pub fn new(plugins: Vec<Descriptor>) -> Bench {
        Tree::with(plugins).open()
    }

    /// Puts a library with that plugin into the tree, or another one in its place.
    pub fn library(&self, plugin: Descriptor) {
        let file = format!(
            "{}{}{}",
            std::env::consts::DLL_PREFIX,
            plugin.name,
            std::env::consts::DLL_SUFFIX
        );
        let path = self.tree.path().join("plugins").join(file);
        fs::write(&path, "a library").unwrap();
        let mut libraries = self.libraries.lock();
        libraries.retain(|(other, _)| *other != path);
        libraries.push((path, plugin));
    }

    pub fn is_active(&self, name: &str) -> bool {
        let rows = self.manager.list();
        rows.iter().any(|row| row.name == name && row.active)
    }

    pub fn loaded_file(&self) -> String {
        fs::read_to_string(self.tree.path().join("data/loaded_plugins")).unwrap()
    }

    /// Answers of the authentication chain, with who gave them.
    pub fn auth(&self) -> Vec<(String, String)> {
        let steps =
            self.broker
                .auth_test("c", Some("u"), Some(b"p"), IpAddr::V4(Ipv4Addr::LOCALHOST));
        steps.into_iter().map(|s| (s.module, s.answer)).collect()
    }

    /// The last answer of the authentication chain.
    pub fn door(&self) -> String {
        self.auth().pop().unwrap().1
    }

    /// The last answer of the ACL chain.
    pub fn acl(&self) -> String {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let steps = self.broker.acl_test("c", Some("u"), here, true, "t");
        steps.into_iter().next_back().unwrap().answer
    }

    /// Runs the hook point `session.created`.
    pub fn session_created(&self) {
        let client = ClientRef {
            clientid: "c",
            username: None,
        };
        let hooks = self.broker.hooks();
        hooks.each(HookPoint::SessionCreated, |h| h.session_created(client));
    }

    pub fn ctl(&self, words: &[&str]) -> Reply {
        let words: Vec<String> = words.iter().map(|w| (*w).into()).collect();
        self.cli.run(&words, None)
    }

    pub fn has_alarm(&self, id: &str) -> bool {
        self.broker.alarms().iter().any(|alarm| alarm.id == id)
    }
}

/// Waits for what other threads bring about.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "still not: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A plugin that starts as `f` says.
pub fn plugin(
    name: &'static str,
    f: impl Fn(&Context) -> Result<Box<dyn Plugin>, StartError> + Send + Sync + 'static,
) -> Descriptor {
    Descriptor::new(name, "1.0", "For tests", f)
}

/// A plugin that registers something and holds nothing.
pub fn simple(name: &'static str, f: impl Fn(&Context) + Send + Sync + 'static) -> Descriptor {
    plugin(name, move |ctx| {
        f(ctx);
        Ok(Box::new(()))
    })
}

/// Calls a function at `session.created`.
pub struct OnSession<F>(pub F);

impl<F: Fn() + Send + Sync + 'static> Hooks for OnSession<F> {
    fn points(&self) -> u32 {
        HookPoint::SessionCreated as u32
    }

    fn session_created(&self, _: ClientRef<'_>) {
        (self.0)();
    }
}

/// An answer of a chain.
pub struct Says<T>(pub T);

impl AuthProvider for Says<emqttd_plugin_sdk::AuthAnswer> {
    async fn check(&self, _: &Client, _: Option<&[u8]>) -> emqttd_plugin_sdk::AuthAnswer {
        self.0
    }
}

impl AclProvider for Says<emqttd_plugin_sdk::AclAnswer> {
    async fn check(
        &self,
        _: &Client,
        _: emqttd_plugin_sdk::Access,
        _: &str,
    ) -> emqttd_plugin_sdk::AclAnswer {
        self.0
    }
}

/// A client, as hooks and providers see it.
pub fn a_client() -> Client {
    Client {
        clientid: "c".into(),
        username: None,
        peername: (Ipv4Addr::LOCALHOST, 1).into(),
        clean_sess: true,
        proto_ver: 4,
        keepalive: 60,
        will_topic: None,
        headers: None,
        mountpoint: None,
        listener: "mqtt:tcp".into(),
        connected_at: 0,
    }
}

/// A message, as hooks see it.
pub fn a_message() -> Message<'static> {
    Message {
        topic: "t",
        payload: b"m",
        qos: QoS::AtMostOnce,
        retain: false,
        from: None,
        properties: &[],
        timestamp: 0,
    }
}
