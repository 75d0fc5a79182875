//! `api_keys`: keys of programs for the management API. Known to the command line, not listed by it.

use super::Core;
use crate::api_keys::{ApiKey, ApiKeys, NewKey, Scope};
use crate::cli::{Cli, usage_row};
use crate::figures::time;
use std::collections::BTreeSet;

/// `api_keys list|add|del`
pub fn register(cli: &Cli, core: &Core) {
    let core = core.clone();
    cli.register_hidden_task(
        "api_keys",
        Box::new(move |call| api_keys(call.args, core.api_keys()).or_else(|| Some(Ok(usage())))),
    );
}

fn usage() -> String {
    let scopes = Scope::ALL.map(Scope::as_str).join(",");
    [
        usage_row("api_keys list", "List all API keys"),
        usage_row(
            "api_keys add <Name> <Scopes>",
            &format!("Add a key ({scopes})"),
        ),
        usage_row("api_keys del <Id>", "Delete a key"),
    ]
    .concat()
}

fn api_keys(args: &[&str], keys: &ApiKeys) -> Option<Result<String, String>> {
    let failed = |error: &dyn std::fmt::Display| Err(format!("Error: {error}\n"));
    Some(match *args {
        ["list"] => Ok(keys.list().iter().map(row).collect()),
        ["add", name, scopes] => {
            let scopes: Result<BTreeSet<Scope>, String> =
                scopes.split(',').map(str::parse).collect();
            let made = scopes.and_then(|scopes| {
                let new = NewKey {
                    name: name.into(),
                    scopes,
                    expires_at: None,
                };
                keys.create(new, "emqttd_ctl").map_err(|e| e.to_string())
            });
            match made {
                Ok((key, secret)) => Ok(format!(
                    "id    : {}\nsecret: {secret}\nThe secret is not shown again. Authorization: Bearer {}.{secret}\n",
                    key.id, key.id
                )),
                Err(error) => failed(&error),
            }
        }
        ["del", id] => match keys.remove(id) {
            Ok(()) => Ok("ok\n".into()),
            Err(error) => failed(&error),
        },
        _ => return None,
    })
}

fn row(key: &ApiKey) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let time_or = |at: Option<u64>, none: &str| at.map_or(none.into(), time);
    format!(
        "ApiKey({}, name={}, scopes={}, expires={}, created_by={}, created={}, last_used={})\n",
        key.id,
        key.name.escape_debug(),
        scopes.join(","),
        time_or(key.expires_at, "never"),
        key.created_by.escape_debug(),
        time(key.created_at),
        time_or(key.last_used, "not since the start")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Site;

    #[test]
    fn a_key_comes_and_goes() {
        let site = Site::new();
        let keys = site.core.api_keys();
        let ask = |args: &[&str]| api_keys(args, keys).unwrap();
        let text = ask(&["add", "ci", "read,publish"]).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_start_matches([' ', ':']).to_owned()
        };
        let (id, secret) = (value("id"), value("secret"));
        assert!(keys.verify(&id, &secret).is_some());
        let list = ask(&["list"]).unwrap();
        assert!(
            list.contains("name=ci, scopes=read,publish, expires=never"),
            "{list}"
        );
        assert!(!list.contains(&secret));
        assert_eq!(ask(&["del", &id]), Ok("ok\n".into()));
        assert_eq!(
            ask(&["del", &id]),
            Err("Error: there is no such key\n".into())
        );
        assert!(ask(&["add", "ci", "all"]).is_err());
        assert_eq!(api_keys(&[], keys), None);
    }
}
