//! A library's side of the ABI: an instance of its plugin that the broker calls.

mod hooked;
mod host;
mod journal;
mod objects;
mod pending;

use crate::wire::{self, number, request, to_plugin};
use crate::{Context, Descriptor, HttpRequest, Plugin, wire::ClientParts};
use emqttd_plugin_abi::{Answer, Call, Fault, Remote, Reply};
use host::RemoteHost;
use objects::Objects;
use pending::Tickets;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};

/// How long the threads of a plugin that ends are waited for.
const LAST_WORK: Duration = Duration::from_secs(3);

/// How often counters are brought to the broker, and the level of its log is taken over.
const TICK: Duration = Duration::from_secs(1);

/// An instance of a plugin, for [`crate::export_plugin!`].
pub fn instance(
    broker: Remote,
    describe: impl Fn() -> Descriptor + Send + Sync + 'static,
) -> Arc<dyn Answer> {
    Arc::new(Guest {
        broker: Arc::new(broker),
        describe: Box::new(describe),
        objects: Arc::default(),
        tickets: Arc::default(),
        runtime: OnceLock::new(),
        running: Mutex::new(None),
    })
}

struct Guest {
    broker: Arc<Remote>,
    describe: Box<dyn Fn() -> Descriptor + Send + Sync>,
    objects: Arc<Objects>,
    tickets: Arc<Tickets>,
    /// set before the plugin starts: what it registers may be called at once
    runtime: OnceLock<Handle>,
    running: Mutex<Option<Arc<Running>>>,
}

/// A plugin that has been started. Fields are dropped in this order: first the plugin, then its threads.
struct Running {
    plugin: Box<dyn Plugin>,
    context: Context,
    _runtime: OwnRuntime,
}

/// The runtime of one plugin; its threads end with it.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new(plugin: &str) -> Result<OwnRuntime, Fault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(plugin)
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => Ok(OwnRuntime(Some(runtime))),
            Err(error) => Err(Fault::Failed(format!("no threads for the plugin: {error}"))),
        }
    }

    fn handle(&self) -> Result<Handle, Fault> {
        let runtime = self.0.as_ref().ok_or(Fault::Gone)?;
        Ok(runtime.handle().clone())
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // One of its own threads cannot wait for all of them.
            match Handle::try_current() {
                Ok(_) => runtime.shutdown_background(),
                Err(_) => runtime.shutdown_timeout(LAST_WORK),
            }
        }
    }
}

impl Guest {
    fn running(&self) -> Option<Arc<Running>> {
        let running = self.running.lock();
        running.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn about(&self) -> Reply {
        let plugin = (self.describe)();
        wire::encode(&request::About {
            name: plugin.name.into_owned(),
            version: plugin.version.into_owned(),
            description: plugin.description.into_owned(),
            guards: plugin.guards,
            depends: plugin.depends.iter().map(|name| name.to_string()).collect(),
            keys: plugin.keys.iter().map(Into::into).collect(),
        })
        .into()
    }

    fn start(&self, start: request::Start) -> Result<Reply, Fault> {
        journal::begin(&self.broker, start.log_level);
        let runtime = OwnRuntime::new(&start.plugin)?;
        let handle = runtime.handle()?;
        if self.runtime.set(handle.clone()).is_err() {
            return Err(Fault::Failed("it was started before".into()));
        }
        let host = RemoteHost::new(Arc::clone(&self.broker), Arc::clone(&self.objects), start);
        let metrics = host.metrics();
        let context = Context::new(Arc::new(host), handle.clone());
        let plugin = match ((self.describe)().start)(&context) {
            Ok(plugin) => plugin,
            Err(error) => {
                context.end_tasks();
                self.objects.clear();
                return Err(Fault::Failed(error.0));
            }
        };
        handle.spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                metrics.bring();
            }
        });
        let running = Running {
            plugin,
            context,
            _runtime: runtime,
        };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(running));
        Ok(Reply::default())
    }

    fn reconfigure(&self) -> Result<Reply, Fault> {
        let running = self.running().ok_or(Fault::Gone)?;
        let answer = running.plugin.reconfigure(&running.context);
        answer.map(|()| Reply::default()).map_err(Fault::Failed)
    }

    /// Ends all of it, also when a part panics.
    fn stop(&self) {
        let running = self.running.lock();
        let running = running.unwrap_or_else(PoisonError::into_inner).take();
        self.objects.clear();
        self.tickets.clear();
        if let Some(running) = running {
            running.plugin.stop();
            running.context.end_tasks();
        }
    }

    fn runtime(&self) -> Result<&Handle, Fault> {
        self.runtime.get().ok_or(Fault::Gone)
    }

    fn auth(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let provider = self.objects.auth(call.handle)?;
        let asked: request::Auth<'_> = wire::decode(call.args)?;
        let password = asked.has_password.then(|| call.body.to_vec());
        let answer = provider.check(Arc::new(asked.client.into()), password);
        let answer = async move { number::of_auth(answer.await) };
        pending::ask(self, asked.ticket, answer)
    }

    fn acl(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let provider = self.objects.acl(call.handle)?;
        let asked: request::Acl<'_> = wire::decode(call.args)?;
        let topic = asked.topic.to_string();
        let answer = provider.check(Arc::new(asked.client.into()), asked.access, topic);
        let answer = async move { number::of_acl(answer.await) };
        pending::ask(self, asked.ticket, answer)
    }

    fn begin(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let mechanism = self.objects.mechanism(call.handle)?;
        let client: ClientParts<'_> = wire::decode(call.args)?;
        let exchange = mechanism.begin(&client.into());
        Ok(self.objects.add_exchange(exchange).into())
    }

    fn step(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let exchange = self.objects.exchange(call.handle)?;
        let mut exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, data) = number::of_step(exchange.step(call.body));
        Ok(Reply { value, data })
    }

    fn proved(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let exchange = self.objects.exchange(call.handle)?;
        let exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(exchange
            .username()
            .map_or_else(Reply::default, |name| Reply {
                value: 1,
                data: name.into(),
            }))
    }

    fn command(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let handler = self.objects.command(call.handle)?;
        let words: request::Words<'_> = wire::decode(call.args)?;
        let (value, data) = number::of_reply(handler(crate::Call {
            args: &words.args,
            stdin: words.stdin,
        }));
        Ok(Reply { value, data })
    }

    fn http(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let handler = self.objects.http(call.handle)?;
        let mut request: HttpRequest = wire::decode(call.args)?;
        request.body = call.body.to_vec();
        let response = handler(&request);
        Ok(wire::encode_with(&response, &response.body).into())
    }

    fn reload(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let reload = self.objects.reload(call.handle)?;
        reload().map_err(Fault::Failed)?;
        Ok(Reply::default())
    }

    /// Calls the events of a virtual connection.
    fn event(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let events = self.objects.events(call.handle)?;
        let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
        match call.op {
            to_plugin::OUTPUT => return Ok((events.output(call.body) as u64).into()),
            to_plugin::ROOM => events.room(),
            _ => events.closed(wire::text(call.body)?),
        }
        Ok(Reply::default())
    }
}

impl Answer for Guest {
    fn answer(&self, call: Call<'_>) -> Result<Reply, Fault> {
        match call.op {
            to_plugin::DESCRIBE => Ok(self.about()),
            to_plugin::START => self.start(wire::decode(call.args)?),
            to_plugin::RECONFIGURE => self.reconfigure(),
            to_plugin::STOP => {
                self.stop();
                Ok(Reply::default())
            }
            to_plugin::AUTH => self.auth(&call),
            to_plugin::ACL => self.acl(&call),
            to_plugin::CANCEL => {
                self.tickets.cancel(call.handle);
                Ok(Reply::default())
            }
            to_plugin::BEGIN => self.begin(&call),
            to_plugin::STEP => self.step(&call),
            to_plugin::PROVED => self.proved(&call),
            to_plugin::END | to_plugin::FORGET_EVENTS => {
                self.objects.remove(call.handle);
                Ok(Reply::default())
            }
            to_plugin::COMMAND => self.command(&call),
            to_plugin::HTTP => self.http(&call),
            to_plugin::RELOAD => self.reload(&call),
            to_plugin::OUTPUT | to_plugin::ROOM | to_plugin::CLOSED => self.event(&call),
            op if (to_plugin::HOOK..to_plugin::AUTH).contains(&op) => {
                let hooks = self.objects.hooks(call.handle)?;
                hooked::run(&*hooks, op - to_plugin::HOOK, &call)
            }
            _ => Err(Fault::NotSupported),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Makes a library of the crate: gives the broker the plugin that a function describes.
///
/// ```
/// use emqttd_plugin_sdk::{Descriptor, export_plugin};
///
/// fn plugin() -> Descriptor {
///     Descriptor::new("emq_plugin_abc", env!("CARGO_PKG_VERSION"), "My plugin", |_ctx| {
///         Ok(Box::new(()))
///     })
/// }
///
/// export_plugin!(plugin);
/// ```
///
/// The crate has `crate-type = ["cdylib"]` in its `[lib]`. One plugin a library.
#[macro_export]
macro_rules! export_plugin {
    ($describe:path) => {
        /// What the broker reads before it calls anything here.
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals)]
        pub static emqttd_plugin_abi: $crate::abi::Header =
            $crate::abi::Header::new($crate::VERSION, cfg!(panic = "abort"));

        /// Where the broker comes in.
        ///
        /// # Safety
        /// For the broker only.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn emqttd_plugin_v1(
            broker: *const $crate::abi::Face,
            mine: *mut $crate::abi::Face,
        ) -> i32 {
            // SAFETY: the broker keeps the contract of the ABI.
            unsafe {
                $crate::abi::guest::open(broker, mine, |remote| {
                    $crate::guest::instance(remote, $describe)
                })
            }
        }
    };
}
