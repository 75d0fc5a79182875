//! Every message, as the first version of the ABI wrote it. `frozen.txt` gets lines, and none is ever changed:
//! libraries out there write and read these bytes.

use crate::testing::{client, entry, message};
use crate::virtual_client::Will;
use crate::wire::{ClientParts, KeyParts, encode, request};
use crate::{
    Access, Entry, Figures, Holder, HttpRequest, HttpResponse, Key, KeyKind, LoopFigures, Message,
    PeerInfo, PluginListener, Publish, QoS, Reloadable, RetainSettings, RetainStorage, Severity,
};
use minicbor::Encode;
use std::time::Duration;

fn line<T: Encode<()>>(name: &str, message: &T) -> String {
    let bytes = encode(message);
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{name} {hex}")
}

#[test]
fn what_is_written_does_not_change() {
    let lines = [of_the_plugin(), of_hooks(), of_the_sdk(), of_services()].concat();
    let frozen: Vec<&str> = include_str!("frozen.txt").lines().collect();
    assert_eq!(lines, frozen, "written now, and frozen");
}

fn of_the_plugin() -> Vec<String> {
    let c = client("c");
    let key = Key::new("x.$id", KeyKind::OneOf(vec!["a".into()]), "what").default("a");
    vec![
        line(
            "About",
            &request::About {
                name: "x".into(),
                version: "1".into(),
                description: "d".into(),
                guards: true,
                depends: vec!["y".into()],
                keys: vec![KeyParts::from(&key.hot())],
            },
        ),
        line(
            "Start",
            &request::Start {
                plugin: "x".into(),
                node: "n@h".into(),
                version: "0.1.0".into(),
                data_dir: "data".into(),
                log_dir: "log".into(),
                log_level: 3,
            },
        ),
        line(
            "Auth",
            &request::Auth {
                ticket: 7,
                client: ClientParts::from(&c),
                has_password: true,
            },
        ),
        line(
            "Acl",
            &request::Acl {
                ticket: 7,
                client: ClientParts::from(&c),
                access: Access::Subscribe,
                topic: "t",
            },
        ),
        line(
            "Completion",
            &request::Completion {
                answer: 100,
                panic: Some("p".into()),
            },
        ),
        line(
            "Place",
            &request::Place {
                order: -1,
                points: 0xfff,
            },
        ),
        line(
            "Words",
            &request::Words {
                args: vec!["a", "b"],
                stdin: Some("s"),
            },
        ),
        line(
            "Usage",
            &request::Usage {
                name: "cmd".into(),
                usage: vec![("a".into(), "b".into())],
            },
        ),
    ]
}

fn of_hooks() -> Vec<String> {
    let c = client("c");
    let passing = Message {
        qos: QoS::ExactlyOnce,
        retain: true,
        from: Some(c.by_name()),
        properties: &[1, 0],
        timestamp: 1_700_000_000_000,
        ..message("t", b"not in it")
    };
    vec![
        line(
            "Connected",
            &request::Connected {
                client: ClientParts::from(&c),
                connack: 5,
            },
        ),
        line(
            "Disconnected",
            &request::Disconnected {
                client: ClientParts::from(&c),
                reason: "normal",
                code: Some(0),
            },
        ),
        line(
            "OfClient",
            &request::OfClient {
                client: c.by_name().into(),
                table: vec![entry("t", QoS::AtLeastOnce)],
                reason: Some("normal"),
            },
        ),
        line(
            "OfMessage",
            &request::OfMessage {
                message: (&passing).into(),
                client: Some(c.by_name().into()),
                reason: Some("r"),
            },
        ),
        line(
            "Changed",
            &request::Changed {
                topic: Some("t".into()),
                payload: true,
                qos: Some(QoS::AtMostOnce),
                retain: Some(false),
            },
        ),
    ]
}

fn of_the_sdk() -> Vec<String> {
    vec![
        line(
            "Entry",
            &Entry {
                key: "k".into(),
                value: "v".into(),
                origin: "o".into(),
            },
        ),
        line("TopicEntry", &entry("t", QoS::AtLeastOnce)),
        line("Publish", &Publish::new("t", "").from("c")),
        line(
            "Alarm",
            &request::Alarm {
                id: "i",
                severity: Severity::Critical,
                title: "t",
                summary: Some("s"),
            },
        ),
        line(
            "RowKey",
            &request::RowKey {
                table: "t",
                key: &[0xff],
            },
        ),
        line(
            "Rows",
            &request::Rows {
                rows: vec![(vec![1].into(), Vec::new().into())],
            },
        ),
        line(
            "Tick",
            &request::Tick {
                metrics: vec![("m".into(), 9)],
            },
        ),
    ]
}

fn of_services() -> Vec<String> {
    vec![
        line(
            "HttpRequest",
            &HttpRequest {
                method: "GET".into(),
                path: "/".into(),
                query: vec![("q".into(), "1".into())],
                headers: vec![("h".into(), "2".into())],
                body: Vec::new(),
            },
        ),
        line(
            "HttpResponse",
            &HttpResponse {
                status: 404,
                content_type: "text/plain".into(),
                body: Vec::new(),
            },
        ),
        line(
            "PluginListener",
            &PluginListener {
                protocol: "p".into(),
                listen_on: "l".into(),
                acceptors: 4,
                max_clients: 5,
                mountpoint: Some("m".into()),
            },
        ),
        line(
            "PeerInfo",
            &PeerInfo {
                listener: ("p".into(), "l".into()),
                peername: ([1, 2, 3, 4], 5).into(),
                cert_username: Some("u".into()),
                anonymous: true,
            },
        ),
        line(
            "PeerInfo-anonymous",
            &PeerInfo {
                listener: ("p".into(), "l".into()),
                peername: ([1, 2, 3, 4], 5).into(),
                cert_username: Some("u".into()),
                anonymous: false,
            },
        ),
        line(
            "Will",
            &Will {
                topic: "t".into(),
                payload: Vec::new(),
                qos: QoS::AtLeastOnce,
                retain: true,
            },
        ),
        line(
            "RetainSettings",
            &RetainSettings {
                storage: RetainStorage::DiscOnly,
                max_message_num: 1,
                max_payload_size: 2,
                expiry_interval: Duration::from_millis(1500),
            },
        ),
        line(
            "Figures",
            &Figures {
                loops: vec![LoopFigures::default()],
                held: vec![("h".into(), 1)],
                traffic: (2, 3),
                tasks: 4,
                uptime: 5,
            },
        ),
        line("Holder", &Holder::default()),
        line(
            "Reloadable",
            &Reloadable {
                name: "n".into(),
                files: vec!["f".into()],
            },
        ),
    ]
}
