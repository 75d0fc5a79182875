//! What a call costs: `cargo test --profile fast -p emq_lua_hook cost -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

use super::{Hook, LuaHook};
use crate::emq::Library;
use crate::engine::Engine;
use crate::settings::Settings;
use emqttd_plugin_sdk::testing::{FakeBroker, by_name, message};
use emqttd_plugin_sdk::{Config, Context, Descriptor, Hooks, Message, Verdict};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const CALLS: u32 = 20_000;

fn engine(ctx: &Context, keys: &[(&str, &str)], source: &str) -> Arc<Engine> {
    let settings = Settings::read(&Config::of(keys)).unwrap();
    let library = Library::new(ctx, &settings);
    let engine = Engine::new(ctx, settings, library).unwrap();
    engine.load("x", source.as_bytes()).unwrap();
    engine
}

#[test]
#[ignore = "gives figures"]
fn cost() {
    let trivial = "function on_message_publish(c, u, t, p, q, r) return t, p, q, r end
                   function register_hook() return 'on_message_publish' end";
    let typical = "local prefix = 'sensors/'
                   local limits = {low = 0, high = 100}
                   local function within(n) return n and n >= limits.low and n <= limits.high end
                   function on_message_publish(c, u, t, p, q, r)
                     if string.sub(t, 1, #prefix) ~= prefix then return t, p, q, r end
                     local n = tonumber(p)
                     if not within(n) then return false end
                     return 'seen/' .. t, p .. ';' .. c, q, r
                   end
                   function register_hook() return 'on_message_publish' end";
    let context = Arc::new(Mutex::new(None));
    let given = Arc::clone(&context);
    let broker = FakeBroker::new();
    let plugin = Descriptor::new("cost", "1", "", move |ctx| {
        *given.lock().unwrap() = Some(ctx.clone());
        Ok(Box::new(()))
    });
    broker.start(&plugin, Config::default()).unwrap();
    let ctx = context.lock().unwrap().clone().unwrap();
    for (name, state, source, payload, changed) in [
        ("trivial", "reset", trivial, vec![b'x'; 64], false),
        ("trivial", "keep", trivial, vec![b'x'; 64], false),
        ("trivial, 4 KB", "reset", trivial, vec![b'x'; 4096], false),
        ("typical", "reset", typical, b"17.5".to_vec(), true),
        ("typical", "keep", typical, b"17.5".to_vec(), true),
    ] {
        let engine = engine(&ctx, &[("lua.state", state)], source);
        let hook = LuaHook {
            hook: Hook::MessagePublish,
            engine,
        };
        let message = Message {
            from: Some(by_name("client-1", Some("user-1"))),
            ..message("sensors/room/5", &payload)
        };
        let run = || {
            let begun = Instant::now();
            for _ in 0..CALLS {
                let verdict = hook.message_publish(std::hint::black_box(&message));
                assert_eq!(verdict != Verdict::Pass, changed);
            }
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
        };
        let best = (0..10).map(|_| run()).fold(f64::MAX, f64::min);
        println!("{name}, {state}: {best:.2} us a call");
    }
}
