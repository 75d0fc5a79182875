//! The plugins of the broker: those that are built in, and libraries.

use emqttd_management::{Cli, Core};
use emqttd_plugin_sdk::Descriptor;
use emqttd_plugins::{Manager, Setup, load_library};
use std::path::Path;
use std::sync::Arc;

/// Who runs them, for the broker of `core`; none runs yet.
///
/// # Errors
/// When the system gives no thread.
pub fn manager(
    core: &Core,
    cli: &Arc<Cli>,
    etc: &Path,
    built_in: Vec<Descriptor>,
) -> Result<Arc<Manager>, Vec<String>> {
    // Libraries are copied before they are opened.
    let run = core.broker.settings().node.data_dir.join("run");
    let setup = Setup {
        broker: core.broker.clone(),
        cli: Arc::clone(cli),
        config: Arc::clone(&core.config),
        etc: etc.to_owned(),
        built_in,
        open_library: Arc::new(move |library| load_library(library, &run)),
        stopping: Arc::clone(core.stopping()),
    };
    Manager::new(setup).map_err(|e| vec![format!("emqttd: plugins: {e}")])
}
