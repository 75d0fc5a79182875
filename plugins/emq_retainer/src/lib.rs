//! `emq_retainer`: keeps the last retained message of each topic for those who subscribe later.
//!
//! The broker has the machinery; this plugin says how many, how large, for how long and where, and has the
//! verb `retainer`. README.md has the keys.

use emqttd_plugin_sdk::{
    Call, Config, Context, Descriptor, Plugin, Reply, RetainSettings, RetainStorage, StartError,
};

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_retainer",
        env!("CARGO_PKG_VERSION"),
        "EMQ Retainer",
        start,
    )
}

const USAGE: [(&str, &str); 3] = [
    ("retainer info", "Show the count of retained messages"),
    ("retainer topics", "Show all topics of retained messages"),
    ("retainer clean", "Clean all retained messages"),
];

struct Retainer;

impl Plugin for Retainer {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        let settings = settings(&ctx.config())?;
        ctx.retain(Some(settings)).map_err(|error| error.0)
    }
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let settings = settings(&ctx.config())?;
    ctx.retain(Some(settings))
        .map_err(|error| StartError(format!("emq_retainer: {error}")))?;
    let asked = ctx.clone();
    ctx.command("retainer", &USAGE, move |call| answer(&asked, call));
    Ok(Box::new(Retainer))
}

/// What the keys say.
///
/// # Errors
/// Which key cannot be used, and where it stands.
fn settings(config: &Config) -> Result<RetainSettings, String> {
    let storage = match config.text("retainer.storage_type").map(str::trim) {
        None | Some("ram") => RetainStorage::Ram,
        Some("disc") => RetainStorage::Disc,
        Some("disc_only") => RetainStorage::DiscOnly,
        Some(_) => {
            return Err(wrong(
                config,
                "retainer.storage_type",
                "ram, disc or disc_only",
            ));
        }
    };
    let number = number(config, "retainer.max_message_num", "a number", |key| {
        let number = config.integer(key)?;
        usize::try_from(number).ok()
    })?;
    let size = self::number(config, "retainer.max_payload_size", "a size", |key| {
        usize::try_from(config.size(key)?).ok()
    })?;
    let interval = "retainer.expiry_interval";
    let expiry_interval = match config.text(interval) {
        None => std::time::Duration::ZERO,
        Some(_) => config
            .duration(interval)
            .ok_or_else(|| wrong(config, interval, "a duration, or milliseconds"))?,
    };
    Ok(RetainSettings {
        storage,
        max_message_num: number.unwrap_or(1_000_000),
        max_payload_size: size.unwrap_or(64 * 1024),
        expiry_interval,
    })
}

/// A key that `read` understands, if it is there.
fn number(
    config: &Config,
    key: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<usize>,
) -> Result<Option<usize>, String> {
    match config.text(key) {
        None => Ok(None),
        Some(_) => read(key)
            .map(Some)
            .ok_or_else(|| wrong(config, key, expected)),
    }
}

fn wrong(config: &Config, key: &str, expected: &str) -> String {
    let (value, origin) = config
        .entry(key)
        .map_or(("", ""), |entry| (&entry.value, &entry.origin));
    format!("{origin}: {key} = {value}: {expected} is expected")
}

/// The verb `retainer`.
fn answer(ctx: &Context, call: Call<'_>) -> Reply {
    match call.args {
        ["info"] => Reply::Text(format!("retained/total: {}\n", ctx.retained_count())),
        ["topics"] => {
            let topics = ctx.retained_topics();
            let bytes = topics.iter().map(|topic| topic.len() + 1).sum();
            let mut text = String::with_capacity(bytes);
            for topic in topics {
                text.push_str(&topic);
                text.push('\n');
            }
            Reply::Text(text)
        }
        ["clean"] => Reply::Text(format!(
            "Cleaned {} retained messages\n",
            ctx.retained_clean()
        )),
        _ => Reply::Usage,
    }
}

#[cfg(test)]
mod tests;
