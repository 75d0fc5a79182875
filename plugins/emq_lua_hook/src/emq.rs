//! The library `emq`: what scripts may do beside answering. Nothing in it waits.

use crate::budget::{Budget, Phase};
use crate::errors::{bad_argument, raise};
use crate::json;
use crate::kv::{self, Figures, Kv};
use crate::lines::{Admission, Lines};
use crate::settings::Settings;
use emqttd_plugin_sdk::{Context, Metric, Publish, QoS};
use mlua::{Function, IntoLua, Lua, LuaString, MultiValue, Table, Value};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Sender of the messages that scripts publish.
pub(crate) const SENDER: &str = "emq_lua_hook";
/// Messages that one call may publish.
const MAX_PUBLISHED: u32 = 100;
/// Longest line that goes to the log, bytes.
const MAX_LINE: usize = 4096;
/// Steps for a line, a message, an entry of `emq.kv`; and bytes for a further one.
const COST: (u64, u64, u64) = (100, 100, 30);
const COPIED: usize = 32;

/// What all interpreters share.
pub(crate) struct Library {
    ctx: Context,
    kv: Kv,
    lines: Lines,
    published: Metric,
}

impl Library {
    /// Of a plugin.
    pub fn new(ctx: &Context, settings: &Settings) -> Arc<Library> {
        Arc::new(Library {
            ctx: ctx.clone(),
            kv: Kv::new(settings.kv_bytes),
            lines: Lines::default(),
            published: ctx.metric("published"),
        })
    }

    /// How much is in `emq.kv`.
    pub fn kv_figures(&self) -> Figures {
        self.kv.figures(Instant::now())
    }
}

thread_local! {
    /// Scripts on this thread cannot publish.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Until it is dropped, scripts that run on this thread cannot publish.
pub(crate) struct Quiet(());

impl Quiet {
    /// From now on.
    pub fn begin() -> Quiet {
        QUIET.set(true);
        Quiet(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// Sets the global table `emq`, and the global `print`.
pub(crate) fn install(lua: &Lua, budget: &Budget, library: &Arc<Library>) -> mlua::Result<()> {
    let scope = Scope {
        budget: budget.clone(),
        library: Arc::clone(library),
    };
    let emq = lua.create_table()?;
    emq.raw_set("log", scope.function(lua, log)?)?;
    emq.raw_set("publish", scope.function(lua, publish)?)?;
    emq.raw_set("now", scope.function(lua, now)?)?;
    emq.raw_set("json", json_table(lua, &scope)?)?;
    let kv = lua.create_table()?;
    kv.raw_set("get", scope.function(lua, kv_get)?)?;
    kv.raw_set("set", scope.function(lua, kv_set)?)?;
    kv.raw_set("delete", scope.function(lua, kv_delete)?)?;
    kv.raw_set("incr", scope.function(lua, kv_incr)?)?;
    emq.raw_set("kv", kv)?;
    let globals = lua.globals();
    globals.raw_set("emq", emq)?;
    globals.raw_set("print", scope.function(lua, print)?)
}

/// What a function of the library works with.
#[derive(Clone)]
struct Scope {
    budget: Budget,
    library: Arc<Library>,
}

/// A call of a library function.
struct Call<'a> {
    lua: &'a Lua,
    budget: &'a Budget,
    library: &'a Library,
    args: MultiValue,
}

impl Scope {
    fn function<R: mlua::IntoLuaMulti + 'static>(
        &self,
        lua: &Lua,
        run: fn(&Call<'_>) -> mlua::Result<R>,
    ) -> mlua::Result<Function> {
        let scope = self.clone();
        lua.create_function(move |lua, args: MultiValue| {
            run(&Call {
                lua,
                budget: &scope.budget,
                library: &scope.library,
                args,
            })
        })
    }
}

/// What a script is told: `true`, or `nil` and a reason.
fn outcome(lua: &Lua, result: Result<Value, &str>) -> mlua::Result<MultiValue> {
    Ok(match result {
        Ok(value) => MultiValue::from_iter([value]),
        Err(reason) => MultiValue::from_iter([Value::Nil, reason.into_lua(lua)?]),
    })
}

impl Call<'_> {
    /// The argument of that number, from 1.
    fn arg(&self, n: usize) -> &Value {
        self.args.get(n - 1).unwrap_or(&Value::Nil)
    }

    /// A string; a number will do, as everywhere in Lua.
    fn string(&self, n: usize, function: &str) -> mlua::Result<LuaString> {
        match self.arg(n) {
            Value::String(text) => Ok(text.clone()),
            number @ (Value::Integer(_) | Value::Number(_)) => {
                let text = self.lua.coerce_string(number.clone())?;
                text.ok_or_else(|| self.expected(n, function, "string"))
            }
            _ => Err(self.expected(n, function, "string")),
        }
    }

    fn expected(&self, n: usize, function: &str, what: &str) -> mlua::Error {
        let got = match self.arg(n) {
            Value::Nil if n > self.args.len() => "no value",
            Value::Integer(_) | Value::Number(_) => "number",
            Value::LightUserData(_) => "userdata",
            other => other.type_name(),
        };
        bad_argument(
            self.lua,
            n,
            function,
            format_args!("{what} expected, got {got}"),
        )
    }

    /// What changes something outside of the script is for callbacks: the file is run before each of them.
    fn in_callback(&self, function: &str) -> mlua::Result<()> {
        if self.budget.phase() == Phase::Call {
            return Ok(());
        }
        let why = format_args!("{function} can only be called from a callback");
        Err(raise(self.lua, why))
    }

    fn key(&self, function: &str) -> mlua::Result<LuaString> {
        let key = self.string(1, function)?;
        let length = key.as_bytes().len();
        if length > kv::MAX_KEY {
            let why = format_args!("a key has at most {} bytes", kv::MAX_KEY);
            return Err(bad_argument(self.lua, 1, function, why));
        }
        self.budget.spend(COST.2 + (length / COPIED) as u64)?;
        Ok(key)
    }

    /// A time to live in seconds; `None` = for good.
    fn life(&self, n: usize, function: &str) -> mlua::Result<Option<Duration>> {
        let seconds = match self.arg(n) {
            Value::Nil => return Ok(None),
            Value::Integer(seconds) => *seconds as f64,
            Value::Number(seconds) => *seconds,
            _ => return Err(self.expected(n, function, "number")),
        };
        if seconds > 0.0 {
            // What is too long for a duration is for good.
            return Ok(Duration::try_from_secs_f64(seconds).ok());
        }
        Err(bad_argument(
            self.lua,
            n,
            function,
            "seconds above 0 expected",
        ))
    }
}

// ---- emq.log, print

/// Words of `emq.log`, with what the log makes of them: it knows some by the target of a record.
const LEVELS: [(&str, log::Level, &str); 9] = [
    ("debug", log::Level::Debug, SENDER),
    ("info", log::Level::Info, SENDER),
    ("notice", log::Level::Info, "notice"),
    ("warning", log::Level::Warn, SENDER),
    ("warn", log::Level::Warn, SENDER),
    ("error", log::Level::Error, SENDER),
    ("critical", log::Level::Error, "critical"),
    ("alert", log::Level::Error, "alert"),
    ("emergency", log::Level::Error, "emergency"),
];
const INFO: usize = 1;

fn log(call: &Call<'_>) -> mlua::Result<()> {
    if call.args.len() < 2 {
        return line(call, INFO, 1);
    }
    let word = call.string(1, "log")?;
    let word = word.as_bytes();
    let level = LEVELS
        .iter()
        .position(|(level, ..)| level.as_bytes() == &*word);
    let level = level
        .ok_or_else(|| bad_argument(call.lua, 1, "log", "debug, info, warning, .. expected"))?;
    line(call, level, 2)
}

fn print(call: &Call<'_>) -> mlua::Result<()> {
    line(call, INFO, 1)
}

/// Writes the arguments from that one on.
fn line(call: &Call<'_>, level: usize, from: usize) -> mlua::Result<()> {
    call.budget.spend(COST.0)?;
    let (_, level, target) = LEVELS[level];
    if call.budget.phase() == Phase::Rerun || !log::log_enabled!(target: target, level) {
        return Ok(());
    }
    let script = call.budget.script();
    match call.library.lines.admit(script, Instant::now()) {
        Admission::Drop => {}
        Admission::Mute => {
            log::warn!(target: SENDER, "{SENDER}: {script} logs too much: lines are left out");
        }
        Admission::Write(held) => {
            if held > 0 {
                log::warn!(target: SENDER, "{SENDER}: {held} lines of {script} were left out");
            }
            let text = line_text(call, from)?;
            log::log!(target: target, level, "{SENDER}: {script}: {text}");
        }
    }
    Ok(())
}

/// Arguments as text, with tabs between.
fn line_text(call: &Call<'_>, from: usize) -> mlua::Result<String> {
    let mut bytes = Vec::new();
    for n in from..=call.args.len().max(from) {
        if n > from {
            bytes.push(b'\t');
        }
        match call.arg(n) {
            Value::String(text) => {
                let text = text.as_bytes();
                bytes.extend_from_slice(&text[..text.len().min(MAX_LINE + 1)]);
            }
            value @ (Value::Integer(_) | Value::Number(_)) => {
                let text = call.lua.coerce_string(value.clone())?;
                bytes.extend(text.iter().flat_map(|text| text.as_bytes().to_vec()));
            }
            value if value.is_null() => bytes.extend_from_slice(b"null"),
            value => bytes.extend_from_slice(value.to_string()?.as_bytes()),
        }
        if bytes.len() > MAX_LINE {
            bytes.truncate(MAX_LINE);
            return Ok(format!("{}..", String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

// ---- emq.publish, emq.now

/// `publish(topic, payload [, qos [, retain]])`, or the same names in a table.
fn publish(call: &Call<'_>) -> mlua::Result<MultiValue> {
    call.in_callback("emq.publish")?;
    if QUIET.get() {
        let why = "emq.publish cannot be called because of a message of emq.publish";
        return Err(raise(call.lua, why));
    }
    let unpacked = match call.arg(1) {
        Value::Table(fields) => Some(Call {
            args: fields_of(call, fields)?,
            ..*call
        }),
        _ => None,
    };
    let call = unpacked.as_ref().unwrap_or(call);
    let topic = call.string(1, "publish")?;
    let payload = call.string(2, "publish")?;
    let qos = qos(call.arg(3))
        .ok_or_else(|| bad_argument(call.lua, 3, "publish", "a QoS of 0, 1 or 2 expected"))?;
    let retain = retain(call.arg(4))
        .ok_or_else(|| bad_argument(call.lua, 4, "publish", "true or false expected"))?;
    let length = topic.as_bytes().len() + payload.as_bytes().len();
    call.budget.spend(COST.1 + (length / COPIED) as u64)?;
    if call.budget.count_published() > MAX_PUBLISHED {
        let why = format_args!("emq.publish: more than {MAX_PUBLISHED} messages in one call");
        return Err(raise(call.lua, why));
    }
    let Ok(topic) = topic.to_str() else {
        return outcome(call.lua, Err("the topic is not UTF-8"));
    };
    let message = Publish::new(&*topic, &*payload.as_bytes())
        .qos(qos)
        .retain(retain)
        .from(SENDER);
    match call.library.ctx.publish(message) {
        Ok(()) => {
            call.library.published.inc();
            outcome(call.lua, Ok(Value::Boolean(true)))
        }
        Err(error) => outcome(call.lua, Err(&error.to_string())),
    }
}

/// The arguments of a publish that stand in a table. A name that is none is told rather than passed over.
fn fields_of(call: &Call<'_>, fields: &Table) -> mlua::Result<MultiValue> {
    const NAMES: [&str; 4] = ["topic", "payload", "qos", "retain"];
    let mut unknown = None;
    fields.for_each(|name: Value, _: Value| {
        let known = name.as_string().is_some_and(|name| {
            NAMES
                .iter()
                .any(|known| known.as_bytes() == &*name.as_bytes())
        });
        if !known {
            unknown = Some(name);
        }
        call.budget.spend(1)
    })?;
    if let Some(name) = unknown {
        let why = format_args!("no field '{}'", name.to_string()?);
        return Err(bad_argument(call.lua, 1, "publish", why));
    }
    NAMES.iter().map(|name| fields.raw_get(*name)).collect()
}

fn qos(value: &Value) -> Option<QoS> {
    match value {
        Value::Nil => Some(QoS::AtMostOnce),
        Value::Integer(qos) => u8::try_from(*qos).ok().and_then(QoS::from_u8),
        _ => None,
    }
}

fn retain(value: &Value) -> Option<bool> {
    match value {
        Value::Nil | Value::Integer(0) => Some(false),
        Value::Integer(1) => Some(true),
        Value::Boolean(retain) => Some(*retain),
        _ => None,
    }
}

/// `now()`: Unix seconds with their fraction; `now("ms")`: milliseconds without.
fn now(call: &Call<'_>) -> mlua::Result<Value> {
    // A clock before 1970 counts as one of 1970.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    if call.arg(1).is_nil() {
        return Ok(Value::Number(now.as_secs_f64()));
    }
    match &*call.string(1, "now")?.as_bytes() {
        b"s" => Ok(Value::Number(now.as_secs() as f64)),
        b"ms" => Ok(Value::Number(now.as_millis() as f64)),
        _ => Err(bad_argument(call.lua, 1, "now", "s or ms expected")),
    }
}

// ---- emq.json

fn json_table(lua: &Lua, scope: &Scope) -> mlua::Result<Table> {
    // The same for all arrays, so scripts must not get at it.
    let array = lua.create_table()?;
    array.raw_set("__metatable", "array")?;

    let json = lua.create_table()?;
    json.raw_set("null", Value::NULL)?;
    let (budget, metatable) = (scope.budget.clone(), array.clone());
    let encode = lua.create_function(move |lua, value: Value| {
        let text = json::encode(&budget, &metatable, &value);
        let text = text.map_err(|failure| told(lua, "emq.json.encode", failure))?;
        lua.create_string(text)
    })?;
    json.raw_set("encode", encode)?;
    let (budget, metatable) = (scope.budget.clone(), array.clone());
    let decode = lua.create_function(move |lua, text: Value| {
        let Value::String(text) = text else {
            let why = format_args!("string expected, got {}", text.type_name());
            return Err(bad_argument(lua, 1, "decode", why));
        };
        let value = json::decode(lua, &budget, &metatable, &text.as_bytes());
        value.map_err(|failure| told(lua, "emq.json.decode", failure))
    })?;
    json.raw_set("decode", decode)?;
    let mark = lua.create_function(move |lua, table: Value| {
        let table = match table {
            Value::Nil => lua.create_table()?,
            Value::Table(table) => table,
            _ => return Err(bad_argument(lua, 1, "array", "table expected")),
        };
        // Another one may be there for a reason: it keeps tables of the libraries from being changed.
        match table.metatable() {
            Some(other) if other != array => Err(bad_argument(
                lua,
                1,
                "array",
                "a table without metatable expected",
            )),
            Some(_) => Ok(table),
            None => {
                table.set_metatable(Some(array.clone()))?;
                Ok(table)
            }
        }
    })?;
    json.raw_set("array", mark)?;
    Ok(json)
}

/// What the script is told of a failure.
fn told(lua: &Lua, function: &str, failure: json::Failure) -> mlua::Error {
    match failure {
        json::Failure::Lua(error) => error,
        wrong => raise(lua, format_args!("{function}: {wrong}")),
    }
}

// ---- emq.kv

fn kv_get(call: &Call<'_>) -> mlua::Result<Value> {
    let key = call.key("get")?;
    match call.library.kv.get(&key.as_bytes(), Instant::now()) {
        None => Ok(Value::Nil),
        Some(kv::Value::Number(number)) => Ok(Value::Number(number)),
        Some(kv::Value::Boolean(boolean)) => Ok(Value::Boolean(boolean)),
        Some(kv::Value::Text(text)) => {
            call.budget.spend((text.len() / COPIED) as u64)?;
            Ok(Value::String(call.lua.create_string(&text)?))
        }
    }
}

/// `set(key, value [, seconds])`
fn kv_set(call: &Call<'_>) -> mlua::Result<MultiValue> {
    call.in_callback("emq.kv.set")?;
    let key = call.key("set")?;
    let value = match call.arg(2) {
        Value::Integer(number) => kv::Value::Number(*number as f64),
        Value::Number(number) => kv::Value::Number(*number),
        Value::Boolean(boolean) => kv::Value::Boolean(*boolean),
        Value::String(text) => {
            let text = text.as_bytes();
            call.budget.spend((text.len() / COPIED) as u64)?;
            kv::Value::Text((&*text).into())
        }
        _ => return Err(call.expected(2, "set", "string, number or boolean")),
    };
    let life = call.life(3, "set")?;
    let set = call
        .library
        .kv
        .set(&key.as_bytes(), value, life, Instant::now());
    let set = set.map(|()| Value::Boolean(true));
    outcome(call.lua, set.map_err(kv::Refused::word))
}

fn kv_delete(call: &Call<'_>) -> mlua::Result<bool> {
    call.in_callback("emq.kv.delete")?;
    let key = call.key("delete")?;
    Ok(call.library.kv.delete(&key.as_bytes(), Instant::now()))
}

/// `incr(key [, by [, seconds]])`
fn kv_incr(call: &Call<'_>) -> mlua::Result<MultiValue> {
    call.in_callback("emq.kv.incr")?;
    let key = call.key("incr")?;
    let by = match call.arg(2) {
        Value::Nil => 1.0,
        Value::Integer(by) => *by as f64,
        Value::Number(by) => *by,
        _ => return Err(call.expected(2, "incr", "number")),
    };
    let life = call.life(3, "incr")?;
    let sum = call
        .library
        .kv
        .incr(&key.as_bytes(), by, life, Instant::now());
    outcome(call.lua, sum.map(Value::Number).map_err(kv::Refused::word))
}

#[cfg(test)]
mod tests;
