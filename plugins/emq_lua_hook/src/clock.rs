//! `os.time`, `os.clock`, `os.date`: all that there is of `os`.

use crate::errors;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned, civil};
use mlua::{Lua, Table, Value};
use std::time::Instant;

/// Longest format of `os.date`.
const MAX_FORMAT: usize = 1024;

/// Sets the global table `os`.
pub(crate) fn install(lua: &Lua) -> mlua::Result<()> {
    let os = lua.create_table()?;
    os.raw_set("time", lua.create_function(time)?)?;
    os.raw_set("date", lua.create_function(date)?)?;
    let begun = Instant::now();
    let clock = move |_: &Lua, ()| Ok(begun.elapsed().as_secs_f64());
    os.raw_set("clock", lua.create_function(clock)?)?;
    lua.globals().raw_set("os", os)
}

/// Unix seconds of now, or of a date in the node's time zone.
fn time(lua: &Lua, date: Option<Table>) -> mlua::Result<f64> {
    let Some(date) = date else {
        return Ok(Timestamp::now().as_second() as f64);
    };
    let field = |name: &str, default: Option<i64>| {
        let value = lua.coerce_number(date.raw_get(name)?)?;
        // The days and months of any year stay within an i64 of seconds.
        let whole = value.filter(|n| n.abs() < 1e9).map(|n| n as i64);
        whole
            .or(default)
            .ok_or_else(|| errors::raise(lua, format_args!("field '{name}' missing in date table")))
    };
    let (year, month, day) = (
        field("year", None)?,
        field("month", None)?,
        field("day", None)?,
    );
    let seconds =
        field("hour", Some(12))? * 3600 + field("min", Some(0))? * 60 + field("sec", Some(0))?;
    unix(year, month, day, seconds)
        .map(|seconds| seconds as f64)
        .ok_or_else(|| errors::raise(lua, "there is no such time"))
}

/// Months, days and seconds may be too many or too few, as in C.
fn unix(year: i64, month: i64, day: i64, seconds: i64) -> Option<i64> {
    let months = year * 12 + (month - 1);
    let year = i16::try_from(months.div_euclid(12)).ok()?;
    let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
    let first = civil::Date::new(year, month, 1).ok()?;
    let shift = jiff::Span::new().try_days(day - 1).ok()?;
    let date = first.checked_add(shift).ok()?.at(0, 0, 0, 0);
    let shift = jiff::Span::new().try_seconds(seconds).ok()?;
    let time = date.checked_add(shift).ok()?;
    Some(
        time.to_zoned(TimeZone::system())
            .ok()?
            .timestamp()
            .as_second(),
    )
}

/// A time as text, or as a table with `*t`; in UTC with `!` in front.
fn date(lua: &Lua, (format, time): (Option<mlua::LuaString>, Option<f64>)) -> mlua::Result<Value> {
    let format = match &format {
        None => "%c".into(),
        Some(format) if format.as_bytes().len() <= MAX_FORMAT => format.to_string_lossy(),
        Some(_) => return Err(errors::bad_argument(lua, 1, "date", "format is too long")),
    };
    let at = match time {
        None => Timestamp::now(),
        Some(time) if time.abs() < 1e12 => Timestamp::from_second(time as i64)
            .map_err(|_| errors::bad_argument(lua, 2, "date", "there is no such time"))?,
        Some(_) => {
            return Err(errors::bad_argument(
                lua,
                2,
                "date",
                "there is no such time",
            ));
        }
    };
    let (format, zone) = match format.strip_prefix('!') {
        Some(format) => (format, TimeZone::UTC),
        None => (&*format, TimeZone::system()),
    };
    let at = at.to_zoned(zone);
    if format.starts_with("*t") {
        return Ok(Value::Table(fields(lua, &at)?));
    }
    let text = jiff::fmt::strtime::format(format, &at).map_err(|_| {
        errors::bad_argument(
            lua,
            1,
            "date",
            format_args!("invalid conversion in '{format}'"),
        )
    })?;
    Ok(Value::String(lua.create_string(text)?))
}

fn fields(lua: &Lua, at: &Zoned) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 9)?;
    table.raw_set("year", at.year())?;
    table.raw_set("month", at.month())?;
    table.raw_set("day", at.day())?;
    table.raw_set("hour", at.hour())?;
    table.raw_set("min", at.minute())?;
    table.raw_set("sec", at.second())?;
    table.raw_set("wday", at.weekday().to_sunday_one_offset())?;
    table.raw_set("yday", at.day_of_year())?;
    let dst = at.time_zone().to_offset_info(at.timestamp()).dst();
    table.raw_set("isdst", dst.is_dst())?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates() {
        let lua = Lua::new();
        install(&lua).unwrap();
        lua.load(
            "assert(os.date('!%Y-%m-%d %H:%M:%S', 1e9) == '2001-09-09 01:46:40')
             local t = os.date('!*t', 1e9)
             assert(t.year == 2001 and t.month == 9 and t.day == 9 and t.hour == 1 and t.min == 46 and t.sec == 40)
             assert(t.wday == 1 and t.yday == 252 and t.isdst == false)
             assert(math.abs(os.time() - os.time(os.date('*t'))) <= 1)
             local a, b = os.time{year=2020, month=13, day=1}, os.time{year=2021, month=1, day=1}
             assert(a == b)
             assert(os.time{year=2020, month=1, day=1, hour=0, sec=-1} + 1 == os.time{year=2020, month=1, day=1, hour=0})
             assert(type(os.date()) == 'string' and os.clock() >= 0)",
        )
        .exec()
        .unwrap();
    }

    #[test]
    fn nonsense_is_an_error() {
        let lua = Lua::new();
        install(&lua).unwrap();
        for wrong in [
            "os.date('%')",
            "os.date('%Q%!')",
            "os.date(('x'):rep(2000))",
            "os.date('%c', 1e300)",
            "os.date('%c', 0/0)",
            "os.date('%c', 9e11)",
            "os.time{}",
            "os.time{year=2020, month=1}",
            "os.time{year=1e8, month=1, day=1}",
            "os.time{year=2020, month=1, day=9e8}",
            "os.time{year='x', month=1, day=1}",
            "os.time(5)",
        ] {
            assert!(lua.load(wrong).exec().is_err(), "{wrong}");
        }
    }
}
