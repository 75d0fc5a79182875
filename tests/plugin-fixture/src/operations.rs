//! The command `fixture`: each word is something that a plugin can ask of the broker.

use crate::Doing;
use emqttd_plugin_sdk::virtual_client::{ConnectOptions, Event, Outgoing, VirtualClient};
use emqttd_plugin_sdk::{
    Call, ClientRef, Context, Metric, PeerInfo, PluginListener, Publish, QoS, Reply,
    RetainSettings, RetainStorage, Severity, Table, Timer, TopicEntry, log, tokio,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Operations {
    ctx: Context,
    table: Table,
    counter: Metric,
    timer: Mutex<Option<Timer>>,
    doing: Arc<Doing>,
}

pub fn register(ctx: &Context, doing: &Arc<Doing>) {
    if ctx.config().switch("emq_plugin_fixture.listen") == Some(true) {
        ctx.listener(PluginListener {
            protocol: "fixture:udp".into(),
            listen_on: "127.0.0.1:9".into(),
            acceptors: 1,
            max_clients: 10,
            mountpoint: None,
        });
    }
    let operations = Operations {
        ctx: ctx.clone(),
        table: ctx.table("rows"),
        counter: ctx.metric("counter"),
        timer: Mutex::new(None),
        doing: Arc::clone(doing),
    };
    let doing = Arc::clone(doing);
    let usage = [("fixture <word>...", "uses the broker")];
    ctx.command("fixture", &usage, move |call| {
        doing.act("command");
        match operations.run(call) {
            Ok(Some(text)) => Reply::Text(text + "\n"),
            Ok(None) => Reply::Usage,
            Err(text) => Reply::Failed(text + "\n"),
        }
    });
}

fn entry(topic: &str) -> TopicEntry {
    TopicEntry {
        topic: topic.into(),
        qos: QoS::AtLeastOnce,
        share: None,
        local: false,
    }
}

fn error(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Operations {
    fn run(&self, call: Call<'_>) -> Result<Option<String>, String> {
        let ctx = &self.ctx;
        let done = |()| "done".to_string();
        Ok(Some(match call.args {
            ["facts"] => format!(
                "{} {} {} {}",
                ctx.plugin(),
                ctx.node(),
                ctx.data_dir().is_dir(),
                ctx.log_dir().is_dir()
            ),
            ["key", name] => {
                let name = format!("emq_plugin_fixture.{name}");
                ctx.config().text(&name).unwrap_or("none").to_string()
            }
            ["publish", topic, text] => {
                let message = Publish::new(*topic, *text).qos(QoS::AtLeastOnce);
                ctx.publish(message).map(done).map_err(error)?
            }
            ["subscribe", client, topic] => {
                ctx.subscribe(nameless(client), vec![entry(topic)]);
                done(())
            }
            ["unsubscribe", client, topic] => {
                ctx.unsubscribe(nameless(client), vec![entry(topic)]);
                done(())
            }
            ["kick", client] => {
                ctx.kick(client);
                done(())
            }
            ["alarm", text] => {
                ctx.alarm("fixture", Severity::Warning, "Fixture", Some(text));
                done(())
            }
            ["alarm"] => {
                ctx.alarm("fixture", Severity::Warning, "Fixture", None);
                done(())
            }
            ["deny", access, topic] => {
                let mut denied = self.doing.denied.lock().unwrap();
                denied.insert(format!("{access} {topic}"));
                done(())
            }
            ["forget"] => {
                ctx.forget_decisions();
                done(())
            }
            ["put", key, value] => {
                let put = self.table.put(key.as_bytes(), value.as_bytes());
                put.map(done).map_err(error)?
            }
            ["delete", key] => {
                let deleted = self.table.delete(key.as_bytes());
                deleted.map(done).map_err(error)?
            }
            ["get", key] => match self.table.get(key.as_bytes()).map_err(error)? {
                Some(value) => String::from_utf8_lossy(&value).into_owned(),
                None => "none".into(),
            },
            ["rows"] => self.rows()?,
            ["count", n] => {
                self.counter.add(n.parse().map_err(error)?);
                self.counter.get().to_string()
            }
            ["log", text] => {
                log::warn!("fixture says {text}");
                done(())
            }
            ["later", topic] => self.later(topic),
            ["every", topic] => self.every(Some(topic)),
            ["every"] => self.every(None),
            ["retain"] => ctx
                .retain(Some(RetainSettings {
                    storage: RetainStorage::Ram,
                    max_message_num: 10,
                    max_payload_size: 100,
                    expiry_interval: Duration::ZERO,
                }))
                .map(done)
                .map_err(error)?,
            ["retained"] => format!("{} {:?}", ctx.retained_count(), ctx.retained_topics()),
            ["retained", "clean"] => ctx.retained_clean().to_string(),
            ["figures"] => format!(
                "{} loops, {} holders",
                ctx.figures().loops.len(),
                ctx.holders(5).len()
            ),
            ["reloadables"] => {
                let names = ctx.reloadables().into_iter().map(|what| what.name);
                names.collect::<Vec<_>>().join(" ")
            }
            ["reload", name] => ctx.reload(name).map(done).map_err(error)?,
            ["stdin"] => call.stdin.unwrap_or("none").to_string(),
            ["device", clientid, topic] => ctx.block_on(device(ctx, clientid, topic))?,
            ["device", clientid] => {
                ctx.block_on(refused_device(ctx, peer("other:udp"), clientid))?
            }
            ["stranger", clientid] => {
                let known = PeerInfo {
                    anonymous: false,
                    ..peer("fixture:udp")
                };
                ctx.block_on(refused_device(ctx, known, clientid))?
            }
            ["unlisten"] => {
                ctx.listener_gone("fixture:udp", "127.0.0.1:9");
                done(())
            }
            _ => return Ok(None),
        }))
    }

    fn rows(&self) -> Result<String, String> {
        let rows = self.table.rows().map_err(error)?;
        let texts = rows.iter().map(|(key, value)| {
            let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            format!("{key}={value}")
        });
        Ok(texts.collect::<Vec<_>>().join(" "))
    }

    /// Publishes from a task.
    fn later(&self, topic: &str) -> String {
        let (ctx, topic) = (self.ctx.clone(), topic.to_string());
        self.ctx.spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let length = ctx.blocking(|| "slow work".len()).await;
            let _ = ctx.publish(Publish::new(topic, format!("{length:?}")));
        });
        "done".into()
    }

    /// Publishes again and again, until it is told otherwise.
    fn every(&self, topic: Option<&str>) -> String {
        let timer = topic.map(|topic| {
            let (ctx, topic) = (self.ctx.clone(), topic.to_string());
            self.ctx.every(Duration::from_millis(10), move || {
                let _ = ctx.publish(Publish::new(topic.clone(), "tick"));
            })
        });
        *self.timer.lock().unwrap() = timer;
        "done".into()
    }
}

fn peer(protocol: &str) -> PeerInfo {
    PeerInfo {
        listener: (protocol.into(), "127.0.0.1:9".into()),
        peername: ([192, 0, 2, 7], 4711).into(),
        cert_username: None,
        anonymous: true,
    }
}

/// A virtual client that publishes to itself, more than goes through the pipe at once.
async fn device(ctx: &Context, clientid: &str, topic: &str) -> Result<String, String> {
    let options = ConnectOptions::new(clientid);
    let (client, mut events) = VirtualClient::connect(ctx, peer("fixture:udp"), options)
        .await
        .map_err(|refused| format!("{refused:?}"))?;
    let codes = client.subscribe(&[(topic, QoS::AtLeastOnce)]).await;
    let (publisher, to) = (client.clone(), topic.to_string());
    let sending = ctx.spawn(async move {
        for number in 0..50u8 {
            let message = Outgoing::new(to.clone(), vec![number; 10_000]).qos(QoS::AtLeastOnce);
            publisher
                .publish(&message)
                .await
                .map_err(|failed| format!("{failed:?}"))?;
        }
        Ok::<_, String>(())
    });
    let mut received = 0;
    while received < 50 {
        match events.recv().await {
            Some(Event::Message(message)) => {
                let expected = vec![received; 10_000];
                if message.payload != expected {
                    return Err(format!("message {received} is another"));
                }
                received += 1;
                client.ack(message.id);
            }
            other => return Err(format!("{other:?}")),
        }
    }
    sending.await.map_err(error)??;
    client.disconnect().await;
    let end = match events.recv().await {
        Some(Event::Closed(end)) => end.reason,
        other => return Err(format!("{other:?}")),
    };
    Ok(format!("{codes:?} {received} {end}"))
}

/// A virtual client that does not come in.
async fn refused_device(ctx: &Context, peer: PeerInfo, clientid: &str) -> Result<String, String> {
    let options = ConnectOptions::new(clientid);
    match VirtualClient::connect(ctx, peer, options).await {
        Ok(_) => Err("it came in".into()),
        Err(refused) => Ok(format!("{refused:?}")),
    }
}

/// A client without user name.
fn nameless(clientid: &str) -> ClientRef<'_> {
    ClientRef {
        clientid,
        username: None,
    }
}
