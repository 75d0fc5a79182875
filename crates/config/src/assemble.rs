//! From the checked table to [`Settings`], with the checks that concern several keys.

use std::path::PathBuf;
use std::time::Duration;

use crate::value::Value;
use crate::{
    AclDenyAction, AllowAnonymous, Config, Log, LogConsole, LogFile, LogLevel, Mqtt, Node,
    Persistence, PersistenceSync, PluginsOnFailure, Problem, QueueType, Session, Settings, Syslog,
    listener,
};

/// The largest remaining length that MQTT can express.
const MAX_REMAINING_LENGTH: u64 = 268_435_455;

/// Files that the store must have room for: one is written, while others are emptied into it.
const MIN_SEGMENTS: u64 = 4;

/// The settings that `config` means. They are complete even if there are errors among the problems.
pub(crate) fn settings(config: &Config) -> (Settings, Vec<Problem>) {
    let mut reader = Reader {
        config,
        problems: Vec::new(),
    };
    let settings = Settings {
        node: reader.node(),
        persistence: reader.persistence(),
        log: reader.log(),
        mqtt: reader.mqtt(),
        session: reader.session(),
        listeners: listener::listeners(&mut reader),
        plugins_etc_dir: reader.path("mqtt.plugins.etc_dir"),
        plugins_loaded_file: reader.path("mqtt.plugins.loaded_file"),
        plugins_on_failure: match reader.is("plugins.on_failure", "continue") {
            true => PluginsOnFailure::Continue,
            false => PluginsOnFailure::Stop,
        },
        metrics_auth: reader.flag("management.metrics.auth"),
    };
    (settings, reader.problems)
}

/// Typed access to the table. A key of the wrong type cannot be in it; the fallbacks of the methods
/// only stand for keys without value and default.
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a Config,
    pub(crate) problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.config.value(key)? {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(crate) fn is(&self, key: &str, word: &str) -> bool {
        self.text(key).is_some_and(|text| text == word)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.config.value(key), Some(Value::Flag(true)))
    }

    pub(crate) fn integer(&self, key: &str) -> u64 {
        match self.config.value(key) {
            Some(Value::Integer(n) | Value::Size(n)) => n,
            _ => 0,
        }
    }

    pub(crate) fn count(&self, key: &str) -> usize {
        usize::try_from(self.integer(key)).unwrap_or(usize::MAX)
    }

    pub(crate) fn duration(&self, key: &str) -> Duration {
        match self.config.value(key) {
            Some(Value::Duration(duration)) => duration,
            _ => Duration::ZERO,
        }
    }

    /// A number that is cut to `max` with a warning.
    pub(crate) fn clamped(&mut self, key: &str, max: u64) -> u64 {
        let given = self.integer(key);
        if given > max {
            self.warn(
                key,
                format!("{given} is more than can be used; taken as {max}"),
            );
        }
        given.min(max)
    }

    fn u16(&mut self, key: &str) -> u16 {
        u16::try_from(self.clamped(key, u16::MAX.into())).unwrap_or(u16::MAX)
    }

    pub(crate) fn u32(&mut self, key: &str) -> u32 {
        u32::try_from(self.clamped(key, u32::MAX.into())).unwrap_or(u32::MAX)
    }

    /// A problem about `key`, where it was given.
    pub(crate) fn report(&mut self, key: &str, problem: Problem) {
        let problem = problem.about(key);
        self.problems.push(match self.config.entries.get(key) {
            Some(entry) => problem.from_origin(&entry.origin),
            None => problem,
        });
    }

    pub(crate) fn warn(&mut self, key: &str, message: impl Into<String>) {
        self.report(key, Problem::warning(message));
    }

    pub(crate) fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.report(key, Problem::error(message));
    }

    fn node(&self) -> Node {
        Node {
            name: self.text("node.name").unwrap_or_default(),
            max_ports: self.integer("node.max_ports"),
            shards: self.count("node.shards"),
            data_dir: self.path("node.data_dir").unwrap_or_else(|| "data".into()),
        }
    }

    fn persistence(&mut self) -> Persistence {
        let sync = match self.config.value("persistence.sync") {
            Some(Value::Duration(period)) => PersistenceSync::Every(period),
            Some(Value::Text(word)) if word == "off" => PersistenceSync::Off,
            _ => PersistenceSync::Always,
        };
        let data_dir = self.node().data_dir;
        let name = self.path("persistence.dir");
        let dir = data_dir.join(name.unwrap_or_else(|| "store".into()));
        if dir == data_dir {
            self.refuse(
                "persistence.dir",
                "the store wants a directory of its own, not node.data_dir itself",
            );
        }
        let max_bytes = self.integer("persistence.max_bytes");
        let segment_bytes = self.integer("persistence.segment_bytes");
        let least = segment_bytes.saturating_mul(MIN_SEGMENTS);
        if max_bytes != 0 && max_bytes < least {
            self.refuse(
                "persistence.max_bytes",
                format!(
                    "{max_bytes} bytes are too few: the store works with {MIN_SEGMENTS} files of \
                     persistence.segment_bytes or more, which is {least} bytes"
                ),
            );
        }
        Persistence {
            sync,
            dir,
            max_bytes,
            segment_bytes,
        }
    }

    fn mqtt(&mut self) -> Mqtt {
        let allow_anonymous = match self.text("mqtt.allow_anonymous").as_deref() {
            Some("true") => AllowAnonymous::True,
            Some("local") => AllowAnonymous::Local,
            _ => AllowAnonymous::False,
        };
        if allow_anonymous == AllowAnonymous::True {
            self.warn(
                "mqtt.allow_anonymous",
                "clients without credentials are let in from everywhere; `local` takes them from this machine only",
            );
        }
        let backoff = self.config.entries.get("mqtt.keepalive_backoff");
        if backoff.is_some_and(|entry| entry.parsed != Value::Float(0.75)) {
            self.warn(
                "mqtt.keepalive_backoff",
                "has no effect: a client is given 1.5 times its keepalive, as MQTT says (in EMQ that was 0.75)",
            );
        }
        Mqtt {
            allow_anonymous,
            acl_nomatch_allow: self.is("mqtt.acl_nomatch", "allow"),
            acl_file: self.path("mqtt.acl_file"),
            acl_deny_action: if self.is("mqtt.acl_deny_action", "disconnect") {
                AclDenyAction::Disconnect
            } else {
                AclDenyAction::Ignore
            },
            cache_acl: self.flag("mqtt.cache_acl"),
            acl_cache_max_size: self.count("mqtt.acl_cache_max_size"),
            acl_cache_ttl: self.duration("mqtt.acl_cache_ttl"),
            max_clientid_len: self.count("mqtt.max_clientid_len"),
            max_connect_size: usize::try_from(
                self.clamped("mqtt.max_connect_size", MAX_REMAINING_LENGTH),
            )
            .unwrap_or(usize::MAX),
            max_packet_size: usize::try_from(
                self.clamped("mqtt.max_packet_size", MAX_REMAINING_LENGTH),
            )
            .unwrap_or(usize::MAX),
            max_topic_levels: self.count("mqtt.max_topic_levels"),
            max_topic_alias: self.u16("mqtt.max_topic_alias"),
            max_keepalive: self.u16("mqtt.max_keepalive"),
            websocket_protocol_header: self.flag("mqtt.websocket_protocol_header"),
            idle_timeout: self.duration("mqtt.client.idle_timeout"),
            max_publish_rate: self.u32("mqtt.client.max_publish_rate"),
            max_send_buffer: self.count("mqtt.client.max_send_buffer"),
            client_stats: self.flag("mqtt.client.enable_stats"),
            sys_interval: self.duration("mqtt.broker.sys_interval"),
        }
    }

    fn session(&mut self) -> Session {
        let percent = |key: &str| match self.config.value(key) {
            Some(Value::Percent(percent)) => percent,
            _ => 0,
        };
        let low = percent("mqtt.mqueue.low_watermark");
        let high = percent("mqtt.mqueue.high_watermark");
        if low > high {
            self.refuse(
                "mqtt.mqueue.low_watermark",
                format!("{low}% is above mqtt.mqueue.high_watermark = {high}%"),
            );
        }
        let queue_priorities = match self.config.value("mqtt.mqueue.priority") {
            Some(Value::Priorities(list)) => list,
            _ => Vec::new(),
        };
        Session {
            max_subscriptions: self.count("mqtt.session.max_subscriptions"),
            upgrade_qos: self.flag("mqtt.session.upgrade_qos"),
            max_inflight: self.u16("mqtt.session.max_inflight"),
            retry_interval: self.duration("mqtt.session.retry_interval"),
            max_awaiting_rel: self.u16("mqtt.session.max_awaiting_rel"),
            await_rel_timeout: self.duration("mqtt.session.await_rel_timeout"),
            enable_stats: self.flag("mqtt.session.enable_stats"),
            expiry_interval: self.duration("mqtt.session.expiry_interval"),
            max_expiry_interval: self.duration("mqtt.session.max_expiry_interval"),
            ignore_loop_deliver: self.flag("mqtt.session.ignore_loop_deliver"),
            queue_type: if self.is("mqtt.mqueue.type", "priority") {
                QueueType::Priority
            } else {
                QueueType::Simple
            },
            queue_priorities,
            queue_max_length: self.count("mqtt.mqueue.max_length"),
            queue_max_bytes: self.count("mqtt.mqueue.max_bytes"),
            queue_low_watermark: low,
            queue_high_watermark: high,
            queue_store_qos0: self.flag("mqtt.mqueue.store_qos0"),
        }
    }

    fn log(&mut self) -> Log {
        Log {
            dir: self.path("log.dir").unwrap_or_else(|| "log".into()),
            console: match self.text("log.console").as_deref() {
                Some("off") => LogConsole::Off,
                Some("console") => LogConsole::Console,
                Some("both") => LogConsole::Both,
                _ => LogConsole::File,
            },
            console_level: self.level("log.console.level"),
            console_file: self.log_file("log.console").unwrap_or(LogFile {
                path: "log/console.log".into(),
                size: 10_485_760,
                count: 5,
            }),
            info: self.log_file("log.info"),
            error: self.log_file("log.error"),
            messages_per_second: self.u32("log.error.messages_per_second"),
            crash: if self.flag("log.crash") {
                self.path("log.crash.file")
            } else {
                None
            },
            syslog: self.syslog(),
        }
    }

    fn log_file(&mut self, area: &str) -> Option<LogFile> {
        Some(LogFile {
            path: self.path(&format!("{area}.file"))?,
            size: self.integer(&format!("{area}.size")),
            count: self.u32(&format!("{area}.count")),
        })
    }

    fn level(&self, key: &str) -> LogLevel {
        match self.text(key).as_deref() {
            Some("debug") => LogLevel::Debug,
            Some("info") => LogLevel::Info,
            Some("notice") => LogLevel::Notice,
            Some("warning") => LogLevel::Warning,
            Some("critical") => LogLevel::Critical,
            Some("alert") => LogLevel::Alert,
            Some("emergency") => LogLevel::Emergency,
            Some("none") => LogLevel::None,
            _ => LogLevel::Error,
        }
    }

    fn syslog(&self) -> Option<Syslog> {
        if !self.flag("log.syslog") {
            return None;
        }
        // RFC 5424: daemon is 3, local0 to local7 are 16 to 23.
        let facility = match self.text("log.syslog.facility") {
            Some(name) => name
                .strip_prefix("local")
                .and_then(|n| n.parse::<u8>().ok())
                .map_or(3, |n| 16 + n),
            None => 16,
        };
        Some(Syslog {
            identity: self.text("log.syslog.identity").unwrap_or_default(),
            facility,
            level: self.level("log.syslog.level"),
        })
    }
}
