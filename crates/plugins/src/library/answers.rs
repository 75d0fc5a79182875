//! What a library asks of the broker.

use super::Instance;
use super::proxies::{Far, FarEvents, FarHooks, FarMechanism};
use emqttd_plugin_abi::{Answer, Call, Fault, Reply};
use emqttd_plugin_sdk::virtual_client::Will;
use emqttd_plugin_sdk::wire::{self, request, to_broker};
use emqttd_plugin_sdk::{
    Command, Host, HostError, PeerInfo, Pipe, PluginListener, Publish, Reloadable, RetainSettings,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// The broker, as one instance of a plugin in a library sees it.
pub(super) struct Answers {
    host: Arc<dyn Host>,
    instance: OnceLock<Weak<Instance>>,
    pipes: Mutex<Pipes>,
    metrics: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

/// Virtual connections of the plugin, by number.
#[derive(Default)]
struct Pipes {
    open: HashMap<u64, Arc<dyn Pipe>>,
    last: u64,
}

fn failed(error: HostError) -> Fault {
    Fault::Failed(error.0)
}

/// As the answer of an operation that has none.
fn done(_: ()) -> Reply {
    Reply::default()
}

impl Answers {
    pub fn new(host: Arc<dyn Host>) -> Answers {
        Answers {
            host,
            instance: OnceLock::new(),
            pipes: Mutex::default(),
            metrics: Mutex::default(),
        }
    }

    /// Whose answers these are.
    pub fn belong_to(&self, instance: &Arc<Instance>) {
        // Said once, before the plugin starts.
        let _ = self.instance.set(Arc::downgrade(instance));
    }

    fn instance(&self) -> Result<Arc<Instance>, Fault> {
        let instance = self.instance.get().and_then(Weak::upgrade);
        instance.ok_or(Fault::Gone)
    }

    /// The object of the library that a call names.
    fn far(&self, call: &Call<'_>) -> Result<Far, Fault> {
        Ok(Far {
            instance: self.instance()?,
            number: call.handle,
        })
    }

    /// Takes in what the plugin registers.
    fn register(&self, call: &Call<'_>) -> Result<(), Fault> {
        let far = self.far(call)?;
        match call.op {
            to_broker::AUTH => {
                let place: request::Place = wire::decode(call.args)?;
                self.host.auth(place.order, Arc::new(far));
            }
            to_broker::ACL => {
                let place: request::Place = wire::decode(call.args)?;
                self.host.acl(place.order, Arc::new(far));
            }
            to_broker::MECHANISM => {
                let method = wire::text(call.body)?.to_string();
                self.host.mechanism(Arc::new(FarMechanism { far, method }));
            }
            to_broker::HOOKS => {
                let request::Place { order, points } = wire::decode(call.args)?;
                self.host.hooks(order, Arc::new(FarHooks { far, points }));
            }
            to_broker::COMMAND => {
                let request::Usage { name, usage } = wire::decode(call.args)?;
                self.host.command(Command {
                    name,
                    usage,
                    handler: Arc::new(move |call| far.command(call)),
                });
            }
            to_broker::HTTP => {
                let handler = move |request: &_| far.http(request);
                self.host.http(Arc::new(handler));
            }
            _ => {
                let what: Reloadable = wire::decode(call.args)?;
                self.host.reloadable(what, Arc::new(move || far.reload()));
            }
        }
        Ok(())
    }

    fn log(&self, call: &Call<'_>) -> Result<(), Fault> {
        let level = match call.handle {
            0 | 1 => log::Level::Error,
            2 => log::Level::Warn,
            3 => log::Level::Info,
            4 => log::Level::Debug,
            _ => log::Level::Trace,
        };
        if level <= log::max_level() {
            let target = wire::text(call.args)?;
            let text = String::from_utf8_lossy(call.body);
            log::log!(target: target, level, "{}: {text}", self.host.plugin());
        }
        Ok(())
    }

    /// Takes over what the plugin's counters stand at; gives the level of the log.
    fn tick(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let tick: request::Tick = wire::decode(call.args)?;
        let metrics = self.metrics.lock();
        for (name, value) in tick.metrics {
            if let Some(counter) = metrics.get(&name) {
                counter.store(value, Ordering::Relaxed);
            }
        }
        Ok((log::max_level() as u64).into())
    }

    fn metric(&self, call: &Call<'_>) -> Result<(), Fault> {
        let name = wire::text(call.body)?;
        let counter = self.host.metric(name);
        self.metrics.lock().insert(name.into(), counter);
        Ok(())
    }

    fn complete(&self, call: &Call<'_>) -> Result<(), Fault> {
        let completion: request::Completion = wire::decode(call.args)?;
        let instance = self.instance()?;
        instance.tickets.complete(call.handle, completion);
        Ok(())
    }

    fn alarm(&self, call: &Call<'_>) -> Result<(), Fault> {
        let alarm: request::Alarm<'_> = wire::decode(call.args)?;
        let request::Alarm {
            id,
            severity,
            title,
            summary,
        } = alarm;
        self.host.alarm(id, severity, title, summary);
        Ok(())
    }

    /// Publishes, subscribes, kicks.
    fn act(&self, call: &Call<'_>) -> Result<(), Fault> {
        match call.op {
            to_broker::PUBLISH => {
                let mut message: Publish = wire::decode(call.args)?;
                message.payload = call.body.to_vec();
                return self.host.publish(message).map_err(failed);
            }
            to_broker::SUBSCRIBE => {
                let asked: request::OfClient<'_> = wire::decode(call.args)?;
                self.host.subscribe(asked.client.into(), asked.table);
            }
            to_broker::UNSUBSCRIBE => {
                let asked: request::OfClient<'_> = wire::decode(call.args)?;
                self.host.unsubscribe(asked.client.into(), asked.table);
            }
            to_broker::KICK => self.host.kick(wire::text(call.body)?),
            _ => return self.alarm(call),
        }
        Ok(())
    }

    fn table(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        if call.op == to_broker::TABLE_ROWS {
            let table = wire::text(call.body)?;
            let rows = self.host.table_rows(table).map_err(failed)?;
            let rows = rows.into_iter();
            let rows = rows.map(|(key, value)| (key.into(), value.into()));
            let rows = request::Rows {
                rows: rows.collect(),
            };
            return Ok(wire::encode(&rows).into());
        }
        let request::RowKey { table, key } = wire::decode(call.args)?;
        match call.op {
            to_broker::TABLE_PUT => self.host.table_put(table, key, call.body).map(done),
            to_broker::TABLE_DELETE => self.host.table_delete(table, key).map(done),
            _ => self.host.table_get(table, key).map(|value| Reply {
                value: value.is_some().into(),
                data: value.unwrap_or_default(),
            }),
        }
        .map_err(failed)
    }

    fn open(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let peer: PeerInfo = wire::decode(call.args)?;
        let events = Box::new(FarEvents(self.far(call)?));
        let pipe = self.host.open(peer, events).map_err(failed)?;
        let mut pipes = self.pipes.lock();
        pipes.last += 1;
        let number = pipes.last;
        pipes.open.insert(number, pipe);
        Ok(number.into())
    }

    fn pipe(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let pipe = self.pipes.lock().open.get(&call.handle).cloned();
        let pipe = pipe.ok_or(Fault::Gone)?;
        match call.op {
            to_broker::SEND => return Ok((pipe.send(call.body) as u64).into()),
            to_broker::CLOSE => pipe.close(wire::text(call.body)?),
            to_broker::RESUME => pipe.resume(),
            to_broker::SET_WILL => {
                let will: Option<Will> = wire::decode(call.args)?;
                let payload = call.body.to_vec();
                pipe.set_will(will.map(|will| Will { payload, ..will }));
            }
            _ => {
                let forgotten = self.pipes.lock().open.remove(&call.handle);
                drop(forgotten);
            }
        }
        Ok(Reply::default())
    }

    fn retained(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        Ok(match call.op {
            to_broker::RETAIN => {
                let settings: Option<RetainSettings> = wire::decode(call.args)?;
                return self.host.retain(settings).map(done).map_err(failed);
            }
            to_broker::RETAINED_COUNT => (self.host.retained_count() as u64).into(),
            to_broker::RETAINED_TOPICS => wire::encode(&self.host.retained_topics()).into(),
            _ => (self.host.retained_clean() as u64).into(),
        })
    }

    fn listener(&self, call: &Call<'_>) -> Result<(), Fault> {
        let listener: PluginListener = wire::decode(call.args)?;
        self.host.listener(listener);
        Ok(())
    }

    fn holders(&self, call: &Call<'_>) -> Reply {
        let most = usize::try_from(call.handle).unwrap_or(usize::MAX);
        wire::encode(&self.host.holders(most)).into()
    }
}

impl Answer for Answers {
    fn answer(&self, call: Call<'_>) -> Result<Reply, Fault> {
        let host = &self.host;
        match call.op {
            to_broker::LOG => self.log(&call).map(done),
            to_broker::CONFIG => Ok(wire::encode(&host.config().entries()).into()),
            to_broker::TICK => self.tick(&call),
            to_broker::PANICKED => {
                host.panicked(wire::text(call.body)?);
                Ok(Reply::default())
            }
            to_broker::AUTH..=to_broker::HTTP | to_broker::RELOADABLE => {
                self.register(&call).map(done)
            }
            to_broker::METRIC => self.metric(&call).map(done),
            to_broker::LISTENER => self.listener(&call).map(done),
            to_broker::LISTENER_GONE => {
                let (protocol, listen_on): (&str, &str) = wire::decode(call.args)?;
                host.listener_gone(protocol, listen_on);
                Ok(Reply::default())
            }
            to_broker::COMPLETE => self.complete(&call).map(done),
            to_broker::FORGET_DECISIONS => {
                host.forget_decisions();
                Ok(Reply::default())
            }
            to_broker::PUBLISH..=to_broker::ALARM => self.act(&call).map(done),
            to_broker::TABLE_PUT..=to_broker::TABLE_ROWS => self.table(&call),
            to_broker::OPEN => self.open(&call),
            to_broker::SEND..=to_broker::SET_WILL => self.pipe(&call),
            to_broker::RETAIN..=to_broker::RETAINED_CLEAN => self.retained(&call),
            to_broker::FIGURES => Ok(wire::encode(&host.figures()).into()),
            to_broker::HOLDERS => Ok(self.holders(&call)),
            to_broker::RELOADABLES => Ok(wire::encode(&host.reloadables()).into()),
            to_broker::RELOAD => {
                let name = wire::text(call.body)?;
                host.reload(name).map(done).map_err(failed)
            }
            _ => Err(Fault::NotSupported),
        }
    }
}
