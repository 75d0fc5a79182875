//! The plugin as it runs: its sockets, its keys, its end. What happens in between is in `task`.

use crate::dtls::{self, Dtls};
use crate::endpoint::Endpoint;
use crate::request::Application;
use crate::settings::{Settings, Shared};
use crate::task::{Control, Secure, Task};
use arc_swap::{ArcSwap, ArcSwapOption};
use emqttd_gateway::{Gone, UdpSettings, UdpSocket, until_dropped};
use emqttd_plugin_sdk::{Config, Context, Plugin, StartError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How long the end of the task is waited for: it closes the sockets.
const ENDING: Duration = Duration::from_secs(5);

/// The sockets, as clients of the broker have to know them; clones are the same.
#[derive(Clone)]
pub struct Listeners(Arc<Sockets>);

struct Sockets {
    plain: ArcSwap<UdpSocket>,
    secure: ArcSwapOption<UdpSocket>,
}

impl Listeners {
    /// The listener that hears an endpoint: its protocol and address.
    pub fn of(&self, endpoint: &Endpoint) -> (String, String) {
        let plain = || Arc::clone(&self.0.plain.load());
        let socket = match endpoint {
            Endpoint::Plain(_) => plain(),
            Endpoint::Secure(_) => self.0.secure.load_full().unwrap_or_else(plain),
        };
        socket.peer(endpoint.address()).listener
    }
}

/// What sockets are open for, as the keys say it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    plain: String,
    secure: String,
    /// `coap.keyfile`, `coap.certfile`
    files: [Option<String>; 2],
}

impl Wanted {
    fn read(config: &Config) -> Wanted {
        let text = |key| config.text(key).map(str::to_string);
        Wanted {
            plain: text("coap.port").unwrap_or_else(|| "5683".into()),
            secure: dtls::listen_on(config),
            files: [text("coap.keyfile"), text("coap.certfile")],
        }
    }
}

/// The plugin as it runs.
pub struct Gateway {
    settings: Shared,
    listeners: Listeners,
    open: Mutex<Wanted>,
    control: UnboundedSender<Control>,
    gone: Gone,
}

impl Gateway {
    /// Opens the sockets and starts the task. `application` makes the resources, again after a panic.
    ///
    /// # Errors
    /// When a key is wrong or an address cannot be used.
    pub fn start<A: Application + Send + 'static>(
        ctx: &Context,
        application: impl Fn(&Context, Shared, Listeners) -> A + Send + 'static,
    ) -> Result<Gateway, StartError> {
        let config = ctx.config();
        let settings = Settings::read(&config)?;
        let wanted = Wanted::read(&config);
        let plain = Arc::new(open_plain(ctx, &wanted, &settings)?);
        let secure = match Dtls::open(ctx, settings.max_clients)? {
            Some(dtls) => {
                let socket = Arc::new(open_secure(ctx, &wanted, &settings)?);
                Some(Secure::new(dtls, socket))
            }
            None => {
                log::info!("emq_coap: no certificate and no pre-shared keys: there is no DTLS");
                None
            }
        };
        let settings: Shared = Arc::new(ArcSwap::from_pointee(settings));
        let listeners = Listeners(Arc::new(Sockets {
            plain: ArcSwap::new(Arc::clone(&plain)),
            secure: ArcSwapOption::new(secure.as_ref().map(Secure::socket)),
        }));
        let make = {
            let (ctx, settings, listeners) =
                (ctx.clone(), Arc::clone(&settings), listeners.clone());
            move || application(&ctx, Arc::clone(&settings), listeners.clone())
        };
        let (control, controls) = unbounded_channel();
        let (guard, gone) = until_dropped();
        let task = Task::new(ctx, Arc::clone(&settings), make, plain, secure, controls);
        ctx.spawn(async move {
            let _guard = guard;
            task.run().await;
        });
        Ok(Gateway {
            settings,
            listeners,
            open: Mutex::new(wanted),
            control,
            gone,
        })
    }

    /// Sockets and certificates as the keys have them now. What cannot be had stays as it was.
    fn reopen(&self, ctx: &Context, settings: &Settings) -> Result<(), StartError> {
        let wanted = Wanted::read(&ctx.config());
        let mut open = self.open();
        let sockets = &self.listeners.0;
        if wanted.plain != open.plain {
            let socket = Arc::new(open_plain(ctx, &wanted, settings)?);
            let old = sockets.plain.swap(Arc::clone(&socket));
            self.tell(Control::Plain(socket));
            old.retire(ctx);
            open.plain.clone_from(&wanted.plain);
        }
        if *open == wanted {
            return Ok(());
        }
        let dtls = Dtls::open(ctx, settings.max_clients)?;
        let old = sockets.secure.load_full();
        let kept = old.clone().filter(|_| open.secure == wanted.secure);
        let secure = match (dtls, &kept) {
            (None, _) => None,
            (Some(dtls), Some(socket)) => Some(Secure::new(dtls, Arc::clone(socket))),
            (Some(dtls), None) => {
                let socket = Arc::new(open_secure(ctx, &wanted, settings)?);
                Some(Secure::new(dtls, socket))
            }
        };
        let socket = secure.as_ref().map(Secure::socket);
        sockets.secure.store(socket.clone());
        self.tell(Control::Secure(secure.map(Box::new)));
        if let Some(old) = old.filter(|_| kept.is_none() || socket.is_none()) {
            old.retire(ctx);
        }
        *open = wanted;
        Ok(())
    }

    /// The task may have ended, and then needs to know nothing.
    fn tell(&self, control: Control) {
        let _ = self.control.send(control);
    }

    fn open(&self) -> MutexGuard<'_, Wanted> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_plain(
    ctx: &Context,
    wanted: &Wanted,
    settings: &Settings,
) -> Result<UdpSocket, StartError> {
    UdpSocket::open(
        ctx,
        UdpSettings {
            protocol: "coap:udp".into(),
            listen_on: wanted.plain.clone(),
            key: "coap.port",
            max_clients: settings.max_clients,
        },
    )
}

fn open_secure(
    ctx: &Context,
    wanted: &Wanted,
    settings: &Settings,
) -> Result<UdpSocket, StartError> {
    UdpSocket::open(
        ctx,
        UdpSettings {
            protocol: "coap:dtls".into(),
            listen_on: wanted.secure.clone(),
            key: "coap.dtls.port",
            max_clients: settings.max_clients,
        },
    )
}

impl Plugin for Gateway {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let settings = Settings::read(&ctx.config()).map_err(|error| error.0)?;
        self.reopen(ctx, &settings).map_err(|error| error.0)?;
        self.settings.store(Arc::new(settings));
        self.tell(Control::Settings);
        Ok(())
    }

    fn stop(&self) {
        self.tell(Control::Close);
        if !self.gone.wait(ENDING) {
            log::warn!("emq_coap: its task has not ended within {ENDING:?}");
        }
    }
}
