//! What the store is, in words.

use crate::figures::{bytes, millis};
use emqttd_config::{Persistence, PersistenceSync};
use emqttd_store::{Health, Status};

/// The mode, and what it means for who publishes.
pub fn mode(sync: PersistenceSync) -> String {
    match sync {
        PersistenceSync::Always => "always (a PUBACK means the message is on disk)".into(),
        PersistenceSync::Every(period) => format!(
            "every {period:?} (up to {period:?} of acknowledged messages may be lost when the machine fails)"
        ),
        PersistenceSync::Off => {
            "off (like EMQ 2.x: sessions and messages are lost when the broker stops)".into()
        }
    }
}

/// Whether more can be stored, and why not.
pub fn health(status: &Status, settings: &Persistence) -> String {
    match status.health {
        Health::Good => "good".into(),
        Health::Behind => {
            "behind: the disk is slower than what is to be stored; publishers wait".into()
        }
        Health::Full if status.exceeds(settings.max_bytes) => format!(
            "full: persistence.max_bytes ({}) is reached; publishers wait",
            bytes(settings.max_bytes)
        ),
        Health::Full => format!(
            "full: {}; publishers wait",
            status.error.as_deref().unwrap_or("the disk has no room")
        ),
        Health::Failing => format!(
            "failing: {}; tried again all the while, publishers wait",
            status.error.as_deref().unwrap_or("no reason known")
        ),
    }
}

/// The rows of `emqttd_ctl store`: plain figures, for scripts too.
pub(crate) fn rows(status: &Status, settings: &Persistence) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("mode", mode(settings.sync)),
        ("directory", settings.dir.display().to_string()),
        ("health", health(status, settings)),
        ("disk_bytes", status.disk_bytes.to_string()),
        ("needed_bytes", status.live_bytes.to_string()),
        ("max_bytes", settings.max_bytes.to_string()),
        ("position", status.position.to_string()),
        ("durable", status.durable.to_string()),
        ("syncs", status.syncs.to_string()),
        ("sync_p50_ms", millis(status.sync_p50)),
        ("sync_p99_ms", millis(status.sync_p99)),
        ("messages_owed", status.owed.to_string()),
    ];
    if let (Some(error), false) = (&status.error, status.health == Health::Failing) {
        rows.push(("last_error", error.clone()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(sync: PersistenceSync) -> Persistence {
        Persistence {
            sync,
            dir: "data/store".into(),
            max_bytes: 1 << 30,
            segment_bytes: 32 << 20,
        }
    }

    fn status(health: Health, error: Option<&str>) -> Status {
        Status {
            health,
            error: error.map(str::to_owned),
            disk_bytes: 1,
            live_bytes: 2,
            position: 3,
            durable: 4,
            owed: 5,
            syncs: 6,
            sync_p50: Duration::from_micros(1500),
            sync_p99: Duration::from_millis(7),
        }
    }

    #[test]
    fn modes_say_what_they_mean() {
        assert!(mode(PersistenceSync::Always).starts_with("always (a PUBACK means "));
        let every = mode(PersistenceSync::Every(Duration::from_millis(200)));
        assert!(every.starts_with("every 200ms (up to 200ms of "), "{every}");
        let every = mode(PersistenceSync::Every(Duration::from_secs(90)));
        assert!(every.starts_with("every 90s "), "{every}");
        assert!(mode(PersistenceSync::Off).starts_with("off (like EMQ 2.x"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_reason() {
        let settings = settings(PersistenceSync::Always);
        let text = |health, error| self::health(&status(health, error), &settings);
        assert_eq!(text(Health::Good, None), "good");
        assert!(text(Health::Behind, None).starts_with("behind: "));
        assert_eq!(
            text(Health::Full, Some("no room")),
            "full: no room; publishers wait"
        );
        let mut large = status(Health::Full, Some("no room"));
        large.disk_bytes = 1 << 30;
        assert!(health(&large, &settings).contains("persistence.max_bytes (1.0 GB)"));
        let failing = text(Health::Failing, Some("No space left on device"));
        assert!(
            failing.starts_with("failing: No space left on device; "),
            "{failing}"
        );
    }

    #[test]
    fn a_row_for_each_figure() {
        let settings = settings(PersistenceSync::Always);
        let row = |rows: &[(&'static str, String)], name: &str| {
            let found = rows.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| value.clone())
        };
        let good = rows(&status(Health::Good, None), &settings);
        for (name, value) in [
            ("disk_bytes", "1"),
            ("needed_bytes", "2"),
            ("max_bytes", "1073741824"),
            ("position", "3"),
            ("durable", "4"),
            ("messages_owed", "5"),
            ("syncs", "6"),
            ("sync_p50_ms", "1.500"),
            ("sync_p99_ms", "7.000"),
            ("directory", "data/store"),
        ] {
            assert_eq!(row(&good, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(row(&good, "last_error"), None);
        let again = rows(&status(Health::Good, Some("it was full")), &settings);
        assert_eq!(row(&again, "last_error").as_deref(), Some("it was full"));
        let failing = rows(&status(Health::Failing, Some("it is")), &settings);
        assert_eq!(row(&failing, "last_error"), None);
    }
}
