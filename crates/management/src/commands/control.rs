//! What `emqttd ping|pid|stop|restart` ask: commands with a dot, that no usage text shows.

use super::Core;
use crate::cli::Cli;
use std::sync::atomic::Ordering;

/// `.ping`, `.pid`, `.stop`, `.restart`
///
/// The last two never answer: the connection ends when the process does, and that end is what the
/// other side waits for.
pub fn register(cli: &Cli, core: &Core) {
    cli.register_hidden(".ping", Box::new(|_| Some("pong\n".into())));
    cli.register_hidden(
        ".pid",
        Box::new(|_| Some(format!("{}\n", std::process::id()))),
    );
    let this = core.clone();
    cli.register_hidden(
        ".stop",
        Box::new(move |_| {
            this.stop();
            wait_for_the_end()
        }),
    );
    let this = core.clone();
    cli.register_hidden(
        ".restart",
        Box::new(move |_| {
            this.restart.store(true, Ordering::Release);
            this.stop();
            wait_for_the_end()
        }),
    );
}

fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}
