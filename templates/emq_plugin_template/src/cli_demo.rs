//! The command `emqttd_ctl cmd`.

use emqttd_plugin_sdk::{Context, Reply};

pub fn register(ctx: &Context) {
    ctx.command("cmd", &[("cmd arg1 arg2", "cmd demo")], |call| {
        match call.args {
            ["arg1", "arg2"] => Reply::Text("ok\n".into()),
            _ => Reply::Usage,
        }
    });
}
