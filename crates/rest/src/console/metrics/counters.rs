//! The broker's counters as families with labels.

use super::page::{Kind, Page};

/// A family that is made of the broker's counters.
struct Counted {
    name: &'static str,
    help: &'static str,
    /// what tells its samples apart
    label: Option<&'static str>,
}

const fn counted(name: &'static str, label: Option<&'static str>, help: &'static str) -> Counted {
    Counted { name, help, label }
}

const COUNTED: [Counted; 11] = [
    counted(
        "emqttd_bytes_received_total",
        None,
        "Bytes received from clients.",
    ),
    counted("emqttd_bytes_sent_total", None, "Bytes sent to clients."),
    counted(
        "emqttd_packets_received_total",
        Some("type"),
        "Packets received, by type.",
    ),
    counted(
        "emqttd_packets_sent_total",
        Some("type"),
        "Packets sent, by type.",
    ),
    counted(
        "emqttd_packets_missed_total",
        Some("type"),
        "Acknowledgements received for which nothing was sent, by type.",
    ),
    counted(
        "emqttd_messages_received_total",
        Some("qos"),
        "Messages received from clients, by QoS.",
    ),
    counted(
        "emqttd_messages_sent_total",
        Some("qos"),
        "Messages sent to clients, by QoS.",
    ),
    counted(
        "emqttd_messages_dropped_total",
        None,
        "Messages dropped, as EMQ counts them.",
    ),
    counted(
        "emqttd_messages_dropped_by_reason_total",
        Some("reason"),
        "Messages dropped, by reason.",
    ),
    counted(
        "emqttd_messages_qos2_dropped_total",
        None,
        "Messages of QoS 2 not taken because too many wait for PUBREL.",
    ),
    counted(
        "emqttd_clients_rate_limited_total",
        None,
        "Times a client was held back by a rate limit.",
    ),
];

/// Where a counter of the broker belongs: the family, and the value of its label. `None` for sums, which Prometheus makes
/// itself, and for numbers that go up and down.
fn place(counter: &str) -> Option<(&'static str, &str)> {
    let parts: Vec<&str> = counter.split('/').collect();
    Some(match *parts.as_slice() {
        ["bytes", "received"] => ("emqttd_bytes_received_total", ""),
        ["bytes", "sent"] => ("emqttd_bytes_sent_total", ""),
        ["packets", "received" | "sent"] => return None,
        [
            "packets",
            packet @ ("connect" | "subscribe" | "unsubscribe" | "pingreq" | "disconnect"),
        ]
        | ["packets", packet, "received"] => ("emqttd_packets_received_total", packet),
        [
            "packets",
            packet @ ("connack" | "suback" | "unsuback" | "pingresp"),
        ]
        | ["packets", packet, "sent"] => ("emqttd_packets_sent_total", packet),
        ["packets", packet, "missed"] => ("emqttd_packets_missed_total", packet),
        ["messages", "received" | "sent" | "retained"] => return None,
        ["messages", "dropped"] => ("emqttd_messages_dropped_total", ""),
        ["messages", "dropped", reason] => ("emqttd_messages_dropped_by_reason_total", reason),
        ["messages", "qos2", "dropped"] => ("emqttd_messages_qos2_dropped_total", ""),
        ["messages", qos, "received"] => (
            "emqttd_messages_received_total",
            qos.trim_start_matches("qos"),
        ),
        ["messages", qos, "sent"] => ("emqttd_messages_sent_total", qos.trim_start_matches("qos")),
        ["clients", "rate_limited"] => ("emqttd_clients_rate_limited_total", ""),
        _ => return None,
    })
}

/// Writes the families of `counters`.
pub fn write(page: &mut Page, counters: &[(&'static str, u64)]) {
    for counted in &COUNTED {
        let mut family = page.family(counted.name, Kind::Counter, counted.help);
        for (counter, n) in counters {
            match (place(counter), counted.label) {
                (Some((name, value)), Some(label)) if name == counted.name => {
                    family.sample(&[(label, value)], n);
                }
                (Some((name, _)), None) if name == counted.name => family.sample(&[], n),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Counters that are left out, for [`place`] says why.
    const LEFT_OUT: [&str; 5] = [
        "messages/received",
        "messages/retained",
        "messages/sent",
        "packets/received",
        "packets/sent",
    ];

    #[test]
    fn every_counter_has_its_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("emq.conf"), "").unwrap();
        let settings = emqttd_config::load(dir.path(), std::iter::empty())
            .unwrap()
            .settings;
        let (broker, _shards) = emqttd_broker::Broker::new(settings, 1).unwrap();
        let counters = broker.all_metrics();
        for (counter, _) in &counters {
            match place(counter) {
                Some((name, _)) => {
                    assert!(COUNTED.iter().any(|c| c.name == name), "{counter}: {name}");
                }
                None => assert!(LEFT_OUT.contains(counter), "{counter} has no place"),
            }
        }
        let mut page = Page::default();
        write(&mut page, &counters);
        let text = page.into_text();
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(samples, counters.len() - LEFT_OUT.len());
        for line in [
            "emqttd_packets_received_total{type=\"connect\"} 0\n",
            "emqttd_packets_received_total{type=\"publish\"} 0\n",
            "emqttd_packets_sent_total{type=\"disconnect\"} 0\n",
            "emqttd_messages_received_total{qos=\"2\"} 0\n",
            "emqttd_messages_dropped_by_reason_total{reason=\"expired\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
    }
}
