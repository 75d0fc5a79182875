//! rumqttc against the broker: `rumqttc-client <port> <3|5> <CA file or -> <topic>`.
//!
//! Subscribes, publishes with each QoS, reads all back, and checks that a retained message is there for a
//! second client. Prints `ok`, or ends with an error.

use std::time::{Duration, Instant};

use rumqttc::{TlsConfiguration, Transport};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const WAIT: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, version, ca, topic] = args.as_slice() else {
        return Err("four arguments are wanted".into());
    };
    let port: u16 = port.parse()?;
    let transport = match ca.as_str() {
        "-" => Transport::Tcp,
        file => Transport::Tls(TlsConfiguration::Simple {
            ca: std::fs::read(file)?,
            alpn: None,
            client_auth: None,
        }),
    };
    match version.as_str() {
        "3" => v3(port, transport, topic)?,
        "5" => v5(port, transport, topic)?,
        other => return Err(format!("version {other}").into()),
    }
    println!("ok");
    Ok(())
}

/// What was published, in its order.
fn payloads() -> Vec<String> {
    (0..3).map(|qos| format!("QoS {qos}")).collect()
}

fn v3(port: u16, transport: Transport, topic: &str) -> Result<()> {
    use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let open = |name: &str| {
        let mut options = MqttOptions::new(format!("{topic}-{name}"), "127.0.0.1", port);
        options.set_transport(transport.clone());
        Client::new(options, 10)
    };
    let collect = |connection: &mut rumqttc::Connection,
                   client: &Client,
                   count: usize,
                   publish: bool|
     -> Result<Vec<(String, bool)>> {
        let mut got = Vec::new();
        let until = Instant::now() + WAIT;
        while got.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            match connection
                .recv_timeout(left)
                .map_err(|e| format!("{e:?}"))??
            {
                Event::Incoming(Incoming::SubAck(_)) if publish => {
                    for (qos, payload) in qos.iter().zip(payloads()) {
                        client.try_publish(topic, *qos, *qos == QoS::ExactlyOnce, payload)?;
                    }
                }
                Event::Incoming(Incoming::Publish(message)) => {
                    got.push((String::from_utf8(message.payload.to_vec())?, message.retain));
                }
                _ => {}
            }
        }
        Ok(got)
    };
    let (client, mut connection) = open("a");
    client.subscribe(topic, QoS::ExactlyOnce)?;
    let mut got = collect(&mut connection, &client, 3, true)?;
    got.sort();
    check(got, payloads().into_iter().map(|p| (p, false)).collect())?;
    let (second, mut connection) = open("b");
    second.subscribe(topic, QoS::AtLeastOnce)?;
    check(
        collect(&mut connection, &second, 1, false)?,
        vec![("QoS 2".into(), true)],
    )
}

fn v5(port: u16, transport: Transport, topic: &str) -> Result<()> {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{Client, Event, MqttOptions};
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let open = |name: &str| {
        let mut options = MqttOptions::new(format!("{topic}-{name}"), "127.0.0.1", port);
        options.set_transport(transport.clone());
        Client::new(options, 10)
    };
    let collect = |connection: &mut rumqttc::v5::Connection,
                   client: &Client,
                   count: usize,
                   publish: bool|
     -> Result<Vec<(String, bool)>> {
        let mut got = Vec::new();
        let until = Instant::now() + WAIT;
        while got.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            match connection
                .recv_timeout(left)
                .map_err(|e| format!("{e:?}"))??
            {
                Event::Incoming(Packet::SubAck(_)) if publish => {
                    for (qos, payload) in qos.iter().zip(payloads()) {
                        client.try_publish(topic, *qos, *qos == QoS::ExactlyOnce, payload)?;
                    }
                }
                Event::Incoming(Packet::Publish(message)) => {
                    got.push((String::from_utf8(message.payload.to_vec())?, message.retain));
                }
                _ => {}
            }
        }
        Ok(got)
    };
    let (client, mut connection) = open("a");
    client.subscribe(topic, QoS::ExactlyOnce)?;
    let mut got = collect(&mut connection, &client, 3, true)?;
    got.sort();
    check(got, payloads().into_iter().map(|p| (p, false)).collect())?;
    let (second, mut connection) = open("b");
    second.subscribe(topic, QoS::AtLeastOnce)?;
    check(
        collect(&mut connection, &second, 1, false)?,
        vec![("QoS 2".into(), true)],
    )
}

fn check(got: Vec<(String, bool)>, wanted: Vec<(String, bool)>) -> Result<()> {
    if got == wanted {
        Ok(())
    } else {
        Err(format!("got {got:?}, wanted {wanted:?}").into())
    }
}
