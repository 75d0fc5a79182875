//! `bans`: who may not connect. Known to the command line, not listed by it.

use super::Core;
use crate::cli::{Cli, usage_row};
use crate::clock::unix_seconds;
use crate::figures::time;
use emqttd_broker::{AdminError, Ban, BanKind, Broker};

/// `bans list|add|del`
pub fn register(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register_hidden_task(
        "bans",
        Box::new(move |call| bans(call.args, &broker).or_else(|| Some(Ok(usage())))),
    );
}

fn usage() -> String {
    [
        usage_row("bans list", "List all bans"),
        usage_row(
            "bans add client_id|username|ip <Value>",
            "Ban until it is taken back",
        ),
        usage_row(
            "bans add <Kind> <Value> <Seconds>|forever <Reason>",
            "Ban for so long, and say why",
        ),
        usage_row("bans del client_id|username|ip <Value>", "Take a ban back"),
    ]
    .concat()
}

fn bans(args: &[&str], broker: &Broker) -> Option<Result<String, String>> {
    Some(match *args {
        ["list"] => Ok(broker.bans().list().iter().map(row).collect()),
        ["add", kind, value] => add(broker, kind, value, "forever", ""),
        ["add", kind, value, seconds] => add(broker, kind, value, seconds, ""),
        ["add", kind, value, seconds, ref reason @ ..] => {
            add(broker, kind, value, seconds, &reason.join(" "))
        }
        ["del", kind, value] => match kind.parse() {
            Ok(kind) => told(broker.bans().remove(kind, value)),
            Err(()) => Ok(usage()),
        },
        _ => return None,
    })
}

fn add(
    broker: &Broker,
    kind: &str,
    value: &str,
    seconds: &str,
    reason: &str,
) -> Result<String, String> {
    let Ok(kind) = kind.parse::<BanKind>() else {
        return Ok(usage());
    };
    let at = unix_seconds();
    let until = match seconds {
        "forever" => None,
        seconds => match seconds.parse::<u64>() {
            Ok(seconds) if seconds > 0 => Some(at.saturating_add(seconds)),
            _ => return Err("Error: seconds are a whole number above 0, or forever\n".into()),
        },
    };
    let ban = Ban {
        kind,
        value: value.into(),
        reason: reason.into(),
        until,
        by: "emqttd_ctl".into(),
        at,
    };
    told(broker.bans().add(ban).map(drop))
}

fn told(done: Result<(), AdminError>) -> Result<String, String> {
    match done {
        Ok(()) => Ok("ok\n".into()),
        Err(AdminError::NotFound) => Err("Error: there is no such ban\n".into()),
        Err(error) => Err(format!("Error: {error}\n")),
    }
}

fn row(ban: &Ban) -> String {
    format!(
        "Ban({}, {}, until={}, by={}, at={}, reason={})\n",
        ban.kind,
        ban.value.escape_debug(),
        ban.until.map_or("forever".into(), time),
        ban.by.escape_debug(),
        time(ban.at),
        ban.reason.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Site;

    #[test]
    fn a_ban_comes_and_goes() {
        let site = Site::new();
        let broker = &site.core.broker;
        let ask = |line: &str| bans(&line.split(' ').collect::<Vec<_>>(), broker).unwrap();
        assert_eq!(ask("add client_id c1"), Ok("ok\n".into()));
        assert_eq!(
            ask("add ip 10.0.0.0/8 3600 too many logins"),
            Ok("ok\n".into())
        );
        let list = ask("list").unwrap();
        assert!(
            list.contains("Ban(client_id, c1, until=forever, by=emqttd_ctl, "),
            "{list}"
        );
        assert!(list.contains(", reason=too many logins)\n"), "{list}");
        assert_eq!(ask("del client_id c1"), Ok("ok\n".into()));
        let none = Err("Error: there is no such ban\n".to_string());
        assert_eq!(ask("del client_id c1"), none);
        for line in [
            "add ip nowhere",
            "add client_id c 0",
            "add client_id c soon",
        ] {
            assert!(ask(line).unwrap_err().starts_with("Error: "), "{line}");
        }
        assert!(ask("add planet mars").unwrap().starts_with("bans list "));
        assert_eq!(bans(&["all"], broker), None);
    }
}
