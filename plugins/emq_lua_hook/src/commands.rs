//! The verb `luahook` (being written by L3).

use crate::engine::Engine;
use emqttd_plugin_sdk::Context;
use std::path::Path;
use std::sync::Arc;

/// Adds the verb.
pub(crate) fn register(ctx: &Context, engine: &Arc<Engine>, dir: &Path) {
    let _ = (ctx, engine, dir);
}
