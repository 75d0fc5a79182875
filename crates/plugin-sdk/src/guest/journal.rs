//! What a library logs comes into the broker's log.

use super::pending::text_of;
use crate::wire::to_broker;
use emqttd_plugin_abi::Remote;
use log::{Level, LevelFilter, Metadata, Record};
use std::sync::{Arc, Once, PoisonError, RwLock};

/// The logger of this library: it has a `log` crate of its own.
struct Journal(RwLock<Option<Arc<Remote>>>);

static JOURNAL: Journal = Journal(RwLock::new(None));

/// From now on what is logged goes to this broker, as far as its log wants it.
pub(super) fn begin(broker: &Arc<Remote>, level: u8) {
    static ONCE: Once = Once::new();
    let mut current = JOURNAL.0.write().unwrap_or_else(PoisonError::into_inner);
    *current = Some(Arc::clone(broker));
    drop(current);
    set_level(level.into());
    ONCE.call_once(|| {
        // An error means that the plugin has a logger of its own.
        let _ = log::set_logger(&JOURNAL);
        std::panic::set_hook(Box::new(|panic| {
            let text = text_of(panic.payload());
            match panic.location() {
                Some(place) => log::error!("panicked at {place}: {text}"),
                None => log::error!("panicked: {text}"),
            }
        }));
    });
}

/// Takes over the level of the broker's log.
pub(super) fn set_level(level: u64) {
    log::set_max_level(match level {
        0 => LevelFilter::Off,
        1 => LevelFilter::Error,
        2 => LevelFilter::Warn,
        3 => LevelFilter::Info,
        4 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    });
}

impl log::Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let broker = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(broker) = broker.clone() else {
            return;
        };
        let level = match record.level() {
            Level::Error => 1,
            Level::Warn => 2,
            Level::Info => 3,
            Level::Debug => 4,
            Level::Trace => 5,
        };
        let text = record.args().to_string();
        // A plugin that has ended has no log any more.
        let _ = broker.call(
            to_broker::LOG,
            level,
            record.target().as_bytes(),
            text.as_bytes(),
        );
    }

    fn flush(&self) {}
}
