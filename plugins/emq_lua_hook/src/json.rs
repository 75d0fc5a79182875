//! JSON texts and Lua values.
//!
//! Both directions spend the budget of the call by size, and nest to a bounded depth.

use crate::budget::Budget;
use mlua::{Lua, LuaString, Table, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::ffi::c_void;
use std::fmt;
use std::ops::Range;

/// Longest text that is made, bytes.
const MAX_TEXT: usize = 16 << 20;
/// How deep values may be nested; the reader of texts has the same bound.
const MAX_DEPTH: usize = 128;
/// Steps for a value, for a table, and bytes for a step.
const COST: (u64, u64, u64) = (10, 40, 8);
/// An array with holes may be as long without being mostly holes, and else as many times its values.
const SPARSE: (usize, usize) = (10, 2);

/// Why a value was not turned into the other form.
#[derive(Debug)]
pub(crate) enum Failure {
    /// the call is over: its budget or its memory
    Lua(mlua::Error),
    /// what is wrong with the value, and where in it
    Wrong { what: String, path: String },
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Failure {
        Failure::Lua(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Lua(error) => error.fmt(f),
            Failure::Wrong { what, path } if path.is_empty() => f.write_str(what),
            Failure::Wrong { what, path } => write!(f, "{what} (at {path})"),
        }
    }
}

impl Failure {
    fn wrong<T>(what: impl Into<String>) -> Result<T, Failure> {
        Err(Failure::Wrong {
            what: what.into(),
            path: String::new(),
        })
    }

    /// It is in that place of a table.
    fn inside(self, place: &str) -> Failure {
        match self {
            Failure::Lua(error) => Failure::Lua(error),
            Failure::Wrong { what, path } => Failure::Wrong {
                what,
                path: format!("{place}{path}"),
            },
        }
    }
}

fn by_length(bytes: usize) -> u64 {
    bytes as u64 / COST.2
}

/// Reads a text. Arrays get the metatable `array`; `null` is [`Value::NULL`].
pub(crate) fn decode(
    lua: &Lua,
    budget: &Budget,
    array: &Table,
    text: &[u8],
) -> Result<Value, Failure> {
    budget.spend(by_length(text.len()))?;
    let reader = Reader {
        lua,
        budget,
        array,
        failed: Cell::new(None),
    };
    let mut source = serde_json::Deserializer::from_slice(text);
    let read = (&reader)
        .deserialize(&mut source)
        .and_then(|value| source.end().map(|()| value));
    match reader.failed.take() {
        Some(error) => Err(Failure::Lua(error)),
        None => read.or_else(|error| Failure::wrong(error.to_string())),
    }
}

/// Makes Lua values of what the parser finds.
struct Reader<'a> {
    lua: &'a Lua,
    budget: &'a Budget,
    array: &'a Table,
    /// an error of Lua; the parser was told another one
    failed: Cell<Option<mlua::Error>>,
}

impl Reader<'_> {
    fn lua<T, E: serde::de::Error>(&self, result: mlua::Result<T>) -> Result<T, E> {
        result.map_err(|error| {
            self.failed.set(Some(error));
            E::custom("the call is over")
        })
    }

    fn number<E: serde::de::Error>(&self, number: f64) -> Result<Value, E> {
        self.lua(self.budget.spend(COST.0))?;
        Ok(Value::Number(number))
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<LuaString, E> {
        self.lua(self.budget.spend(COST.0))?;
        self.lua(self.lua.create_string(text))
    }
}

impl<'de> DeserializeSeed<'de> for &Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.lua(self.budget.spend(COST.0))?;
        Ok(Value::NULL)
    }

    fn visit_bool<E: serde::de::Error>(self, boolean: bool) -> Result<Value, E> {
        self.lua(self.budget.spend(COST.0))?;
        Ok(Value::Boolean(boolean))
    }

    // All numbers of Lua 5.2 are doubles.
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        self.number(number as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        self.number(number as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        self.number(number)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.text(text).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        self.lua(self.budget.spend(COST.1))?;
        let table = self.lua(self.lua.create_table())?;
        let mut index = 0_usize;
        while let Some(value) = source.next_element_seed(self)? {
            index += 1;
            self.lua(table.raw_set(index, value))?;
        }
        self.lua(table.set_metatable(Some(self.array.clone())))?;
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        self.lua(self.budget.spend(COST.1))?;
        let table = self.lua(self.lua.create_table())?;
        while let Some(name) = source.next_key_seed(Name(self))? {
            let value = source.next_value_seed(self)?;
            self.lua(table.raw_set(name, value))?;
        }
        Ok(Value::Table(table))
    }
}

/// The name of a member of an object.
struct Name<'a>(&'a Reader<'a>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = LuaString;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<LuaString, D::Error> {
        source.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = LuaString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<LuaString, E> {
        self.0.text(name)
    }
}

/// Writes a value. A table is an array when it has the metatable `array`, or only keys 1, 2, .. of which most are
/// there; else an object, its names sorted.
pub(crate) fn encode(budget: &Budget, array: &Table, value: &Value) -> Result<Vec<u8>, Failure> {
    let mut writer = Writer {
        budget,
        array: array.to_pointer(),
        text: Vec::new(),
        path: Vec::new(),
    };
    writer.value(value)?;
    Ok(writer.text)
}

struct Writer<'a> {
    budget: &'a Budget,
    /// the metatable of arrays
    array: *const c_void,
    text: Vec<u8>,
    /// the tables around the value that is written
    path: Vec<*const c_void>,
}

/// What a table is to become.
enum Shape {
    /// with so many places
    Array(usize),
    Object,
}

/// The keys of an object: their texts, and where in a table each value is.
#[derive(Default)]
struct Names {
    texts: Vec<u8>,
    keys: Vec<(Range<usize>, Key)>,
}

#[derive(Clone, Copy)]
enum Key {
    Text,
    Number(f64),
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Failure> {
        self.budget.spend(COST.0)?;
        match value {
            Value::Nil => self.text.extend_from_slice(b"null"),
            value if value.is_null() => self.text.extend_from_slice(b"null"),
            Value::Boolean(true) => self.text.extend_from_slice(b"true"),
            Value::Boolean(false) => self.text.extend_from_slice(b"false"),
            Value::Integer(number) => self.text.extend_from_slice(number.to_string().as_bytes()),
            Value::Number(number) => number_text(*number, &mut self.text)?,
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Table(table) => self.table(table)?,
            other => return Failure::wrong(format!("a {} has no JSON", other.type_name())),
        }
        if self.text.len() > MAX_TEXT {
            return too_long();
        }
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.budget.spend(by_length(bytes.len()))?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Failure::wrong("a string is not UTF-8");
        };
        // Writing into a vector does not fail.
        serde_json::to_writer(&mut self.text, text)
            .or_else(|error| Failure::wrong(error.to_string()))
    }

    fn table(&mut self, table: &Table) -> Result<(), Failure> {
        self.budget.spend(COST.1)?;
        let this = table.to_pointer();
        if self.path.contains(&this) {
            return Failure::wrong("a table is inside itself");
        }
        if self.path.len() == MAX_DEPTH {
            return Failure::wrong(format!("tables are nested deeper than {MAX_DEPTH}"));
        }
        self.path.push(this);
        match self.shape(table)? {
            Shape::Array(length) => self.array(table, length)?,
            Shape::Object => self.object(table)?,
        }
        self.path.pop();
        Ok(())
    }

    fn shape(&self, table: &Table) -> Result<Shape, Failure> {
        let is_array = table
            .metatable()
            .is_some_and(|metatable| metatable.to_pointer() == self.array);
        let (mut count, mut length, mut others) = (0_usize, 0_usize, false);
        table.for_each(|key: Value, _: Value| {
            self.budget.spend(COST.0)?;
            match index_of(&key) {
                Some(index) => {
                    count += 1;
                    length = length.max(index);
                }
                None => others = true,
            }
            Ok(())
        })?;
        if others || (count == 0 && !is_array) {
            if is_array {
                return Failure::wrong("an array has a key that is not 1, 2, ..");
            }
            return Ok(Shape::Object);
        }
        if length > SPARSE.0 && length > count.saturating_mul(SPARSE.1) {
            return Failure::wrong("an array is mostly holes: give it strings as keys");
        }
        Ok(Shape::Array(length))
    }

    fn array(&mut self, table: &Table, length: usize) -> Result<(), Failure> {
        self.text.push(b'[');
        for index in 1..=length {
            if index > 1 {
                self.text.push(b',');
            }
            let value: Value = table.raw_get(index)?;
            self.value(&value)
                .map_err(|failure| failure.inside(&format!("[{index}]")))?;
        }
        self.text.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table) -> Result<(), Failure> {
        let mut names = self.names(table)?;
        // The order of a table is another in each interpreter.
        names
            .keys
            .sort_unstable_by(|(a, _), (b, _)| names.texts[a.clone()].cmp(&names.texts[b.clone()]));
        self.text.push(b'{');
        for (n, (range, key)) in names.keys.into_iter().enumerate() {
            if n > 0 {
                self.text.push(b',');
            }
            let name = &names.texts[range];
            self.string(name)?;
            self.text.push(b':');
            let value: Value = match key {
                Key::Text => table.raw_get(mlua::LuaString::wrap(name))?,
                Key::Number(number) => table.raw_get(number)?,
            };
            self.value(&value).map_err(|failure| {
                let name = String::from_utf8_lossy(&name[..name.len().min(40)]);
                failure.inside(&format!(".{name}"))
            })?;
        }
        self.text.push(b'}');
        Ok(())
    }

    fn names(&self, table: &Table) -> Result<Names, Failure> {
        let mut names = Names::default();
        let mut wrong = None;
        table.for_each(|key: Value, _: Value| {
            self.budget.spend(COST.0)?;
            let start = names.texts.len();
            let key = match key {
                Value::String(text) => {
                    let text = text.as_bytes();
                    self.budget.spend(by_length(text.len()))?;
                    names.texts.extend_from_slice(&text);
                    Key::Text
                }
                Value::Integer(number) => {
                    names.texts.extend_from_slice(number.to_string().as_bytes());
                    Key::Number(number as f64)
                }
                Value::Number(number) => {
                    if let Err(failure) = number_text(number, &mut names.texts) {
                        wrong = Some(failure);
                    }
                    Key::Number(number)
                }
                other => {
                    let what = format!("a {} cannot be a name", other.type_name());
                    wrong = Failure::wrong::<()>(what).err();
                    return Ok(());
                }
            };
            names.keys.push((start..names.texts.len(), key));
            Ok(())
        })?;
        if names.texts.len() > MAX_TEXT {
            return too_long();
        }
        wrong.map_or(Ok(names), Err)
    }
}

fn too_long<T>() -> Result<T, Failure> {
    Failure::wrong(format!("the text is longer than {MAX_TEXT} bytes"))
}

/// The place of a key in an array, from 1.
fn index_of(key: &Value) -> Option<usize> {
    match key {
        Value::Integer(index) => usize::try_from(*index).ok().filter(|index| *index > 0),
        _ => None,
    }
}

/// The shortest text that is read as the same number, without a fraction when it has none.
fn number_text(number: f64, out: &mut Vec<u8>) -> Result<(), Failure> {
    if !number.is_finite() {
        return Failure::wrong(format!("{number} has no JSON"));
    }
    let whole = number as i64;
    if whole as f64 == number {
        // minus zero is among them
        out.extend_from_slice(whole.to_string().as_bytes());
        return Ok(());
    }
    serde_json::to_writer(out, &number).or_else(|error| Failure::wrong(error.to_string()))
}

#[cfg(test)]
mod tests;
