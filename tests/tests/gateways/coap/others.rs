//! Clients that others wrote: libcoap's `coap-client` and aiocoap.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use emqttd_tests::peers::{gateways_python, program, run};
use emqttd_tests::{Broker, Publish, Version, unique};

use super::endpoint::{config, gateway};
use crate::common::{address, eventually, watcher};

const PACKAGE: &str = "libcoap3-bin";

/// `coap-client` with these arguments, the last one is path and query.
fn libcoap(broker: &Broker, args: &[&str], path: &str) -> Option<Command> {
    let mut command = Command::new(program("coap-client-notls", PACKAGE)?);
    let uri = format!("coap://{}/{path}", address(broker, "coap:udp"));
    command.args(["-B", "10"]).args(args).arg(uri);
    Some(command)
}

/// The same over DTLS.
fn libcoap_secure(broker: &Broker, args: &[&str], path: &str) -> Option<Command> {
    let mut command = Command::new(program("coap-client-openssl", PACKAGE)?);
    let uri = format!("coaps://{}/{path}", address(broker, "coap:dtls"));
    command.args(["-B", "10"]).args(args).arg(uri);
    Some(command)
}

/// The user's own command, and check 1.
#[test]
fn the_commands_of_the_page() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "#", 0);
    let form = "qos=0&retain=0&message=payload&topic=hello";
    let Some(mut command) = libcoap(&broker, &["-m", "post", "-e", form], "mqtt") else {
        return;
    };
    run(&mut command);
    heard.expect("hello", "payload");
    let path = "mqtt/topic1?c=client1&u=tom&p=secret";
    run(&mut libcoap(&broker, &["-m", "put", "-e", "1234"], path).unwrap());
    heard.expect("topic1", "1234");
    run(&mut libcoap(&broker, &["-N", "-m", "put", "-e", "non"], path).unwrap());
    heard.expect("topic1", "non");
    let text = run(&mut libcoap(&broker, &["-m", "get"], ".well-known/core").unwrap());
    assert!(text.contains("</mqtt>,</ps>"), "{text}");
}

#[test]
fn large_payloads_go_in_blocks() {
    let broker = gateway("");
    let mut heard = watcher(&broker, "big", 0);
    let payload = "B".repeat(5000);
    let file = std::env::temp_dir().join(unique("coap-block"));
    std::fs::write(&file, &payload).unwrap();
    let name = file.to_str().unwrap();
    for size in ["16", "64", "1024"] {
        let args = ["-m", "put", "-b", size, "-f", name];
        let Some(mut command) = libcoap(&broker, &args, "mqtt/big?c=coap-big") else {
            return;
        };
        run(&mut command);
        heard.expect("big", &payload);
    }
    std::fs::remove_file(&file).unwrap();
}

/// `coap-client` that observes; killed when dropped.
struct Observer {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Observer {
    fn start(broker: &Broker, path: &str, id: &str) -> Option<Observer> {
        let mut command = libcoap(broker, &["-m", "get", "-s", "60", "-w"], path)?;
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        eventually("it observes", || {
            broker.ctl(&["subscriptions", "show", id]).1.contains(id)
        });
        Some(Observer { child, output })
    }

    /// Reads until this has come.
    #[track_caller]
    fn reads(&mut self, wanted: &str) {
        let mut all = String::new();
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            all += &line;
            if all.contains(wanted) {
                return;
            }
            line.clear();
        }
        let mut rest = String::new();
        let _ = self.output.read_to_string(&mut rest);
        panic!("{wanted:?} is not in {all}{rest}");
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn observing() {
    let broker = gateway("");
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let Some(mut observer) = Observer::start(&broker, "mqtt/o%2F%2B?c=coap-o", "coap-o") else {
        return;
    };
    for payload in ["one", "two"] {
        mqtt.publish(Publish::new("o/x", payload).qos(1));
        observer.reads(payload);
    }
    let large = "Z".repeat(3000);
    mqtt.publish(Publish::new("o/x", &large).qos(1));
    observer.reads(&large);
}

const AIOCOAP: &str = r#"
import asyncio, sys
from aiocoap import *

async def main(host):
    context = await Context.create_client_context()
    async def ask(code, path, payload=b"", **options):
        message = Message(code=code, uri=f"coap://{host}/{path}", payload=payload, **options)
        return await context.request(message).response
    got = await ask(GET, ".well-known/core")
    assert got.payload == b"</mqtt>,</ps>", got
    got = await ask(PUT, "mqtt/aio/x?c=aio", b"hello")
    assert got.code == CHANGED, got
    got = await ask(PUT, "mqtt/aio/big?c=aio", b"B" * 5000)
    assert got.code == CHANGED, got
    got = await ask(PUT, "ps/aio/value?c=aio", b"V" * 3000, content_format=42)
    assert got.code == CREATED and got.opt.location_path == ("ps", "aio", "value"), got
    got = await ask(GET, "ps/aio/value?c=aio")
    assert got.payload == b"V" * 3000, got
    request = Message(code=GET, uri=f"coap://{host}/mqtt/aio/down?c=aio-o", observe=0)
    watching = context.request(request)
    first = await watching.response
    assert first.code == CONTENT and first.payload == b"", first
    print("observes", flush=True)
    async for notification in watching.observation:
        print("got", notification.payload.decode(), flush=True)
        if notification.payload == b"last":
            break
    await context.shutdown()

asyncio.run(asyncio.wait_for(main(sys.argv[1]), 30))
"#;

#[test]
fn aiocoap() {
    let broker = gateway("");
    let Some(python) = gateways_python("aiocoap") else {
        return;
    };
    let mut heard = watcher(&broker, "aio/#", 0);
    let mut mqtt = broker.client(Version::V5, "mqtt");
    let to = address(&broker, "coap:udp").to_string();
    let mut child = Command::new(python)
        .args(["-c", AIOCOAP, &to])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    heard.expect("aio/x", "hello");
    heard.expect("aio/big", &"B".repeat(5000));
    heard.expect("aio/value", &"V".repeat(3000));
    assert_eq!(lines.next().unwrap().unwrap(), "observes");
    for payload in ["first", "last"] {
        mqtt.publish(Publish::new("aio/down", payload).qos(1));
        assert_eq!(lines.next().unwrap().unwrap(), format!("got {payload}"));
    }
    assert!(child.wait().unwrap().success());
}

const AIOCOAP_SECURE: &str = r#"
import asyncio, sys
from aiocoap import *

async def main(host):
    context = await Context.create_client_context()
    known = {"psk": {"ascii": "secret"}, "client-identity": {"ascii": "device-2"}}
    context.client_credentials.load_from_dict({f"coaps://{host}/*": {"dtls": known}})
    uri = f"coaps://{host}/mqtt/aio/sealed?c=aio-dtls"
    got = await context.request(Message(code=PUT, uri=uri, payload=b"S" * 3000)).response
    assert got.code == CHANGED, got
    uri = f"coaps://{host}/mqtt/aio/down?c=aio-dtls"
    watching = context.request(Message(code=GET, uri=uri, observe=0))
    assert (await watching.response).code == CONTENT
    print("observes", flush=True)
    async for notification in watching.observation:
        print("got", notification.payload.decode(), flush=True)
        break
    await context.shutdown()

asyncio.run(asyncio.wait_for(main(sys.argv[1]), 30))
"#;

/// aiocoap over DTLS, which is tinydtls: it knows no extended master secret.
#[test]
fn aiocoap_with_a_key_that_both_know() {
    let Some(python) = gateways_python("aiocoap") else {
        return;
    };
    let import = ["-c", "import DTLSSocket"];
    if !Command::new(&python)
        .args(import)
        .status()
        .unwrap()
        .success()
    {
        // It has to be built where it is used, which not every machine can.
        eprintln!("skipped: aiocoap has no DTLS here (DTLSSocket)");
        return;
    }
    let conf = "coap.dtls.port = 127.0.0.1:0\ncoap.dtls.psk_file = etc/coap_psk\n";
    let broker = Broker::start(config(conf).file("etc/coap_psk", "device-2:736563726574\n"));
    let mut heard = watcher(&broker, "aio/sealed", 0);
    let mut mqtt = broker.client(Version::V311, "mqtt");
    let to = address(&broker, "coap:dtls").to_string();
    let mut child = Command::new(python)
        .args(["-c", AIOCOAP_SECURE, &to])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    heard.expect("aio/sealed", &"S".repeat(3000));
    assert_eq!(lines.next().unwrap().unwrap(), "observes");
    mqtt.publish(Publish::new("aio/down", "sealed").qos(1));
    assert_eq!(lines.next().unwrap().unwrap(), "got sealed");
    assert!(child.wait().unwrap().success());
    let row = crate::common::shown(&broker, "aio-dtls").unwrap_or_default();
    assert!(row.is_empty() || row.contains("username=device-2"), "{row}");
}

/// Check 8: with the configured certificate.
#[test]
fn dtls_with_a_certificate() {
    let broker = Broker::start(config(
        "coap.dtls.port = 127.0.0.1:0\ncoap.keyfile = etc/certs/key.pem\ncoap.certfile = etc/certs/cert.pem\n",
    ));
    let mut heard = watcher(&broker, "sealed", 0);
    let ca = broker.certs.dir.join("cacert.pem");
    let args = ["-m", "put", "-e", "secret", "-C", ca.to_str().unwrap()];
    let Some(mut command) = libcoap_secure(&broker, &args, "mqtt/sealed?c=coap-tls") else {
        return;
    };
    run(&mut command);
    heard.expect("sealed", "secret");
}

#[test]
fn dtls_with_a_key_that_both_know() {
    let conf = "coap.dtls.port = 127.0.0.1:0\ncoap.dtls.psk_file = etc/coap_psk\n";
    let config = config(conf).file("etc/coap_psk", "device-1:736563726574\n");
    let broker = Broker::start(config);
    let mut heard = watcher(&broker, "sealed", 0);
    let args = ["-m", "put", "-e", "psk", "-u", "device-1", "-k", "secret"];
    let path = "mqtt/sealed?c=coap-psk";
    let Some(mut command) = libcoap_secure(&broker, &args, path) else {
        return;
    };
    run(&mut command);
    heard.expect("sealed", "psk");
    // The identity of the key is the user name where the request has none.
    let row = crate::common::wait_for_client(&broker, "coap-psk");
    assert!(row.contains("username=device-1"), "{row}");
    // A wrong key is not let in.
    let wrong = [
        "-m", "put", "-e", "wrong", "-u", "device-1", "-k", "guessed", "-B", "2",
    ];
    run_whatever(&mut libcoap_secure(&broker, &wrong, path).unwrap());
    heard.nothing_from(&mut broker.client(Version::V311, "marker"));
}

/// Runs a client that need not succeed.
fn run_whatever(command: &mut Command) {
    let _ = emqttd_tests::peers::attempt(command);
}

/// Check 8: files that are missing cost DTLS only.
#[test]
fn without_a_certificate_there_is_no_dtls() {
    let broker =
        gateway("coap.keyfile = etc/certs/nokey.pem\ncoap.certfile = etc/certs/nocert.pem\n");
    let (_, listeners) = broker.ctl(&["listeners"]);
    assert!(listeners.contains("coap:udp:"), "{listeners}");
    assert!(!listeners.contains("coap:dtls"), "{listeners}");
    let log = broker.log();
    assert!(
        log.contains("coap.certfile") || log.contains("nocert.pem") || log.contains("nokey.pem"),
        "{log}"
    );
}
