//! The plugin as a broker uses it.
#![allow(clippy::unwrap_used)]

use super::*;
use emqttd_plugin_sdk::Reloadable;
use emqttd_plugin_sdk::testing::FakeBroker;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A broker with a module `acl` of one file, which holds `good` or what is wrong with it.
struct Fixture {
    broker: FakeBroker,
    file: PathBuf,
    loaded: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("acl.conf");
        fs::write(&file, "good").unwrap();
        let broker = FakeBroker::new();
        let loaded = Arc::new(AtomicUsize::new(0));
        let (count, read) = (Arc::clone(&loaded), file.clone());
        let what = Reloadable {
            name: "acl".into(),
            files: vec![file.clone()],
        };
        broker.add_reloadable(what, move || match fs::read_to_string(&read) {
            Ok(text) if text.starts_with("good") => {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(text) => Err(format!("acl.conf:1: {text}.")),
            Err(error) => Err(error.to_string()),
        });
        Fixture {
            broker,
            file,
            loaded,
            _dir: dir,
        }
    }

    fn start(&self, interval: &str) {
        let config = Config::of(&[(INTERVAL, interval), (LOGFILE, LOG)]);
        self.broker.start(&plugin(), config).unwrap();
    }

    fn reload(&self, args: &[&str]) -> Reply {
        let words = [&["reload"], args].concat();
        self.broker.command(&words).unwrap()
    }

    fn loaded(&self) -> usize {
        self.loaded.load(Ordering::Relaxed)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.broker.data_dir().join("log/reloader.log")).unwrap()
    }

    fn wait_for_log(&self, line: &str) {
        let there = || self.log().contains(line).then_some(());
        self.broker.eventually(there);
    }
}

#[test]
fn the_interval_is_a_duration_or_seconds_or_never() {
    let of = |value: &str| interval(&Config::of(&[(INTERVAL, value)]));
    let seconds = |n| Ok(Some(Duration::from_secs(n)));
    assert_eq!(of("60s"), seconds(60));
    assert_eq!(of("60"), seconds(60));
    assert_eq!(of("2m"), seconds(120));
    for never in ["0", "0s", "-1", "-60"] {
        assert_eq!(of(never), Ok(None), "{never}");
    }
    assert_eq!(interval(&Config::default()), seconds(60));
    for wrong in ["", "soon", "-5s"] {
        let error = of(wrong).unwrap_err();
        assert!(error.starts_with("reloader.interval: "), "{error}");
        assert!(error.ends_with(&format!("not `{wrong}`")), "{error}");
    }
}

#[test]
fn the_log_lies_below_the_directory_of_logs() {
    let of = |name| logfile(Path::new("/var/log/emqttd"), name);
    assert_eq!(
        of("reloader.log"),
        Path::new("/var/log/emqttd/reloader.log")
    );
    assert_eq!(
        of("log/reloader.log"),
        Path::new("/var/log/emqttd/reloader.log")
    );
    assert_eq!(of("x/y.log"), Path::new("/var/log/emqttd/x/y.log"));
    assert_eq!(of("/tmp/y.log"), Path::new("/tmp/y.log"));
}

#[test]
fn by_hand() {
    let fixture = Fixture::new();
    fixture.start("0");
    let text = |text: &str| Reply::Text(text.into());
    let success = "Reload module acl successfully.\n";
    assert_eq!(fixture.reload(&["acl"]), text(success));
    assert_eq!(fixture.loaded(), 1);
    let none = "Failed to reload module nosuch: nofile.\n";
    assert_eq!(fixture.reload(&["nosuch"]), text(none));
    fs::write(&fixture.file, "a comma").unwrap();
    let broken = "Failed to reload module acl: acl.conf:1: a comma.\n";
    assert_eq!(fixture.reload(&["acl"]), text(broken));
    assert_eq!(fixture.reload(&[]), Reply::Usage);
    assert_eq!(fixture.reload(&["acl", "certs"]), Reply::Usage);
    assert_eq!(
        fixture.broker.usage("reload").unwrap(),
        [("reload <Module>".into(), "Reload a Module".into())]
    );
    let log = fixture.log();
    let lines: Vec<&str> = log.lines().map(|line| &line[24..]).collect();
    assert_eq!(lines, [success.trim(), none.trim(), broken.trim()]);
}

#[test]
fn by_itself() {
    let fixture = Fixture::new();
    fixture.start("20ms");
    fs::write(&fixture.file, "good and longer").unwrap();
    fixture.wait_for_log("Reload module acl successfully.");
    assert_eq!(fixture.loaded(), 1);
    fs::write(&fixture.file, "broken by hand").unwrap();
    fixture.wait_for_log("Failed to reload module acl: acl.conf:1: broken by hand.");
    fs::write(&fixture.file, "good again, mended").unwrap();
    fixture
        .broker
        .eventually(|| (fixture.loaded() == 2).then_some(()));
    // Each change was loaded once, and nothing else was.
    fixture.wait_for_log("successfully.");
    let log = fixture.log();
    assert_eq!(log.lines().count(), 3, "{log}");
}

#[test]
fn what_was_loaded_by_hand_is_not_loaded_again() {
    let fixture = Fixture::new();
    let started = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&started);
    let never = Descriptor::new("emq_reloader", "1", "", move |ctx| {
        let reloader = Reloader::new(ctx, Journal::open(&ctx.log_dir().join(LOG)).unwrap());
        reloader.watch().look(ctx.reloadables());
        *kept.lock().unwrap() = Some(reloader);
        Ok(Box::new(()))
    });
    fixture.broker.start(&never, Config::default()).unwrap();
    let reloader = started.lock().unwrap().take().unwrap();
    fs::write(&fixture.file, "good and longer").unwrap();
    let args = ["acl"];
    reloader.answer(Call {
        args: &args,
        stdin: None,
    });
    reloader.look();
    assert_eq!(fixture.loaded(), 1);
    fs::write(&fixture.file, "good and much longer").unwrap();
    reloader.look();
    assert_eq!(fixture.loaded(), 2);
}

#[test]
fn a_log_that_cannot_be_written_is_said_at_the_start() {
    let fixture = Fixture::new();
    let dir = fixture.file.parent().unwrap().to_str().unwrap();
    let refused = fixture
        .broker
        .start(&plugin(), Config::of(&[(LOGFILE, dir)]));
    let error = refused.unwrap_err().0;
    assert!(error.starts_with("reloader.logfile: "), "{error}");
}
