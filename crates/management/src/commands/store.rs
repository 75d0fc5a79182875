//! `store`, `backup`: what outlives the broker.

use super::{Core, node::rows};
use crate::cli::{Call, Cli};
use crate::{backup, persistence};
use emqttd_broker::Broker;
use parking_lot::Mutex;
use std::path::Path;

/// Said where there is no store.
const NOTHING: &str = "Nothing is stored: persistence.sync = off.\n";

/// `store` and `backup <Dir>`
pub fn register(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "store",
        &[("store", "Show the store: size, health, latency of the disk")],
        Box::new(move |call| {
            if !call.args.is_empty() {
                return None;
            }
            let settings = broker.settings();
            Some(match broker.store() {
                Some(store) => rows(
                    &persistence::rows(&store.status(), &settings.persistence),
                    14,
                ),
                None => NOTHING.to_owned(),
            })
        }),
    );
    let broker = core.broker.clone();
    let busy = Mutex::new(());
    cli.register_task(
        "backup",
        &[("backup <Dir>", "Copy the store to a new directory")],
        Box::new(move |call| match call.args {
            [dir] => Some(match busy.try_lock() {
                Some(_alone) => backup(&broker, Path::new(dir), call),
                None => Err("Another backup is being taken.\n".into()),
            }),
            _ => None,
        }),
    );
}

fn backup(broker: &Broker, to: &Path, call: Call<'_>) -> Result<String, String> {
    let Some(store) = broker.store() else {
        return Err(NOTHING.into());
    };
    let done = backup::take(&store, &broker.settings(), to, call.watcher);
    match &done {
        Ok(text) => log::info!("{}", text.trim_end()),
        Err(text) => log::error!("{}", text.trim_end()),
    }
    done
}
