//! The benchmark's rows, and what the peers needed for them.
//!
//! Figures: medians measured on 2026-11-22 with the same generator on 2 cores (AMD EPYC, KVM, Linux 6.18, Debian
//! 12), from the table of peers that came with the generator: relay and six brokers (mosquitto 2.0.11 and 2.1.2,
//! FlashMQ 1.26.2+, NanoMQ 0.25.5, rumqttd 0.20, RMQTT 0.24), all on loopback, 64-byte payloads, MQTT 3.1.1.
//! They are only comparable after scaling by what the relay needs in the run at hand.

/// One workload of the generator.
pub struct Row {
    pub name: &'static str,
    /// Arguments of the generator.
    pub args: &'static str,
    /// Whether the relay can stand in for a broker, and how: it forwards bytes and knows no topics.
    pub relay: Relay,
    pub figures: &'static [Figure],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Relay {
    No,
    Plain,
    /// It answers for the receiver's acknowledgements.
    Ack,
}

/// One thing that a row measures; less is better.
pub struct Figure {
    /// The key in the generator's result.
    pub key: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    /// What the relay needed when the peers were measured.
    pub relay: Option<f64>,
    /// What Debian's mosquitto 2.0 needed then; scales the rows that the relay cannot run.
    pub mosquitto: f64,
    /// The least that any broker needed then, and which.
    pub best: (f64, &'static str),
    pub goal: Goal,
}

#[derive(Clone, Copy)]
pub enum Goal {
    None,
    /// So many times what the relay needs in the same run.
    Relay(f64),
    /// A figure that is scaled as those of the peers are.
    Scaled(f64),
    /// A figure that does not depend on the machine's speed: bytes.
    Plain(f64),
}

const fn cpu(
    title: &'static str,
    relay: f64,
    mosquitto: f64,
    best: (f64, &'static str),
    goal: Goal,
) -> Figure {
    Figure {
        key: "broker_us_msg",
        title,
        unit: "µs",
        relay: Some(relay),
        mosquitto,
        best,
        goal,
    }
}

const fn wild(title: &'static str, mosquitto: f64, flashmq: f64, goal: Goal) -> Figure {
    Figure {
        key: "broker_us_msg",
        title,
        unit: "µs",
        relay: None,
        mosquitto,
        best: (flashmq, "flashmq"),
        goal,
    }
}

const fn plain(
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    mosquitto: f64,
    best: (f64, &'static str),
    goal: Goal,
) -> Figure {
    Figure {
        key,
        title,
        unit,
        relay: None,
        mosquitto,
        best,
        goal,
    }
}

pub const ROWS: &[Row] = &[
    Row {
        name: "p2p-q0-max",
        args: "p2p --pairs 16 --window 100",
        relay: Relay::Plain,
        figures: &[cpu(
            "QoS 0 one to one, closed loop",
            0.073,
            7.9,
            (0.54, "flashmq"),
            Goal::Relay(2.7),
        )],
    },
    Row {
        name: "p2p-q0-50k",
        args: "p2p --pairs 16 --rate 50000",
        relay: Relay::Plain,
        figures: &[cpu(
            "QoS 0 one to one, 50k/s, lone messages",
            10.4,
            13.9,
            (12.1, "mosquitto 2.1"),
            Goal::Relay(1.08),
        )],
    },
    Row {
        name: "p2p-q0-50k-b16",
        args: "p2p --pairs 16 --rate 50000 --burst 16",
        relay: Relay::Plain,
        figures: &[cpu(
            "QoS 0 one to one, 50k/s, bursts of 16",
            0.7,
            12.0,
            (1.7, "flashmq"),
            Goal::Relay(1.4),
        )],
    },
    Row {
        name: "p2p-q1-max",
        args: "p2p --pairs 16 --qos 1 --window 100",
        relay: Relay::Ack,
        figures: &[cpu(
            "QoS 1 one to one, closed loop",
            0.12,
            17.1,
            (0.75, "flashmq"),
            Goal::Relay(2.5),
        )],
    },
    Row {
        name: "p2p-q1-20k",
        args: "p2p --pairs 16 --qos 1 --rate 20000",
        relay: Relay::Ack,
        figures: &[cpu(
            "QoS 1 one to one, 20k/s, lone messages",
            19.5,
            22.2,
            (20.2, "mosquitto 2.1"),
            Goal::Relay(1.05),
        )],
    },
    Row {
        name: "p2p-q2-max",
        args: "p2p --pairs 16 --qos 2 --window 100",
        relay: Relay::Ack,
        figures: &[cpu(
            "QoS 2 one to one, closed loop",
            0.23,
            34.1,
            (1.36, "flashmq"),
            Goal::Relay(2.4),
        )],
    },
    Row {
        name: "fanout-1k-max",
        args: "fanout --subs 1000 --window 10",
        relay: Relay::Plain,
        figures: &[cpu(
            "one to 1000, closed loop",
            0.58,
            9.8,
            (1.6, "rumqttd"),
            Goal::Relay(1.2),
        )],
    },
    Row {
        name: "fanout-1k-50k",
        args: "fanout --subs 1000 --rate 50",
        relay: Relay::Plain,
        figures: &[cpu(
            "one to 1000, 50 publishes/s",
            5.4,
            11.7,
            (8.5, "mosquitto 2.1"),
            Goal::Relay(1.1),
        )],
    },
    Row {
        name: "fanin-1k-max",
        args: "fanin --pubs 1000 --window 4",
        relay: Relay::Plain,
        figures: &[cpu(
            "1000 to one, closed loop",
            1.36,
            6.3,
            (1.9, "flashmq"),
            Goal::Relay(1.1),
        )],
    },
    Row {
        name: "fanin-1k-50k",
        args: "fanin --pubs 1000 --rate 50000",
        relay: Relay::Plain,
        figures: &[cpu(
            "1000 to one, 50k/s, lone messages",
            11.0,
            14.8,
            (12.5, "flashmq"),
            Goal::Relay(1.05),
        )],
    },
    Row {
        name: "wild-1k",
        args: "wild --filters 1000",
        relay: Relay::No,
        figures: &[wild("among 1,000 wildcard filters", 9.4, 4.1, Goal::None)],
    },
    Row {
        name: "wild-100k",
        args: "wild --filters 100000",
        relay: Relay::No,
        figures: &[wild(
            "among 100,000 wildcard filters",
            12.3,
            5.5,
            Goal::Scaled(3.8),
        )],
    },
    Row {
        name: "wild-1m",
        args: "wild --filters 1000000",
        relay: Relay::No,
        figures: &[
            wild(
                "among 1,000,000 wildcard filters",
                11.8,
                5.9,
                Goal::Scaled(4.2),
            ),
            plain(
                "bytes_per_filter",
                "… memory a filter",
                "B",
                1389.0,
                (593.0, "nanomq"),
                Goal::Plain(250.0),
            ),
            plain(
                "sub_us_cpu",
                "… to subscribe one",
                "µs",
                3.7,
                (3.5, "mosquitto 2.1"),
                Goal::None,
            ),
        ],
    },
    Row {
        name: "storm",
        args: "storm --slots 32",
        relay: Relay::Plain,
        figures: &[Figure {
            key: "broker_us_cycle",
            title: "connect, subscribe, disconnect",
            unit: "µs",
            relay: Some(38.0),
            mosquitto: 51.0,
            best: (44.0, "mosquitto 2.1"),
            goal: Goal::Relay(1.1),
        }],
    },
    Row {
        name: "retain-100k",
        args: "retain --messages 100000 --rounds 3",
        relay: Relay::No,
        figures: &[
            plain(
                "arrive_us_cpu",
                "a retained message by wildcard",
                "µs",
                2.9,
                (1.0, "flashmq"),
                Goal::Scaled(0.3),
            ),
            plain(
                "arrive_ms",
                "… until 100,000 are there",
                "ms",
                472.0,
                (106.0, "flashmq"),
                Goal::Scaled(35.0),
            ),
            plain(
                "store_us_cpu",
                "… to store one",
                "µs",
                9.1,
                (2.1, "flashmq"),
                Goal::None,
            ),
            plain(
                "bytes_per_msg",
                "… memory",
                "B",
                1172.0,
                (549.0, "rumqttd"),
                Goal::Plain(300.0),
            ),
        ],
    },
    Row {
        name: "conn-19k",
        args: "conn --n 19000 --hold 2",
        relay: Relay::Plain,
        figures: &[
            Figure {
                key: "broker_us_conn",
                title: "accept one of 19,000",
                unit: "µs",
                relay: Some(18.4),
                mosquitto: 29.5,
                best: (23.2, "mosquitto 2.1"),
                goal: Goal::Relay(1.09),
            },
            plain(
                "rss_per_conn",
                "… memory of an idle one",
                "B",
                735.0,
                (735.0, "mosquitto 2.0"),
                Goal::Plain(500.0),
            ),
        ],
    },
];
