//! `acl` and `auth`: reload the rules, and ask the real chains what they would say.

use super::Core;
use crate::cli::{Cli, usage_row};
use emqttd_broker::{AdminError, ChainStep};
use std::net::IpAddr;

const ACL_TEST: &str = "acl test <ClientId> <Username> <Ip> publish|subscribe <Topic>";
const NOT_FOUND: &str = "Not Found.\n";
const ACL_CLEAN: [(&str, &str); 3] = [
    (
        "acl cache clean",
        "Forget decisions, ask about subscriptions",
    ),
    ("acl cache clean client <ClientId>", "The same for a client"),
    (
        "acl cache clean topic <Topic>",
        "The same for a topic or filter",
    ),
];
const AUTH_TEST: &str = "auth test <ClientId> <Username> <Ip>";

/// Each step, then the outcome: the walk ends with the step that decided.
fn chain(steps: &[ChainStep]) -> String {
    let mut out = String::new();
    for step in steps {
        out += &format!("{:<24}: {}", step.module, step.answer);
        if !step.detail.is_empty() {
            out += &format!(" ({})", step.detail);
        }
        out.push('\n');
    }
    let outcome = match steps.last() {
        Some(last) if last.answer.starts_with("allow") => "allow",
        // Nobody decided, or who should have could not: nothing becomes open by that.
        _ => "deny",
    };
    out + &format!("{:<24}: {outcome}\n", "result")
}

fn cleaned(done: Result<(), AdminError>) -> String {
    match done {
        Ok(()) => "ok\n".into(),
        Err(AdminError::NotFound) => NOT_FOUND.into(),
        Err(AdminError::BadTopic) => "Error: not a topic filter\n".into(),
        Err(e) => format!("Error: {e}\n"),
    }
}

/// An absent user name is written `""` or as it is printed, `undefined`.
fn username(word: &str) -> Option<&str> {
    Some(word).filter(|w| !w.is_empty() && *w != "undefined")
}

/// `acl reload`, `acl test`, `acl cache clean`
pub fn register_acl(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "acl",
        &[("acl reload", "reload etc/acl.conf")],
        Box::new(move |call| {
            Some(match *call.args {
                ["reload"] => match broker.acl_reload() {
                    Ok(()) => "reload acl_internal successfully\n".into(),
                    Err(e) => format!("reload acl_internal error: {e}\nThe former rules stay.\n"),
                },
                [
                    "test",
                    id,
                    user,
                    ip,
                    access @ ("publish" | "subscribe"),
                    topic,
                ] => {
                    let Ok(ip) = ip.parse::<IpAddr>() else {
                        return Some(format!("Bad address: {ip}\n"));
                    };
                    let publish = access == "publish";
                    chain(&broker.acl_test(id, username(user), ip, publish, topic))
                }
                ["cache", "clean"] => {
                    broker.clean_acl_cache();
                    "ok\n".into()
                }
                ["cache", "clean", "client", id] => cleaned(broker.clean_acl_cache_of(id)),
                ["cache", "clean", "topic", topic] => cleaned(broker.clean_acl_cache_about(topic)),
                // Not in the usage of `acl`, which scripts compare; `auth` points here.
                ["test", ..] => usage_row(ACL_TEST, "Ask the ACL chain"),
                ["cache", ..] => ACL_CLEAN
                    .iter()
                    .map(|(call, what)| usage_row(call, what))
                    .collect(),
                _ => return None,
            })
        }),
    );
}

/// `auth test`
pub fn register_auth(cli: &Cli, core: &Core) {
    let broker = core.broker.clone();
    cli.register(
        "auth",
        &[(
            AUTH_TEST,
            "Ask the authentication chain (also: acl test, acl cache clean)",
        )],
        Box::new(move |call| match *call.args {
            ["test", id, user, ip] | ["test", id, user, ip, "-"] => {
                let Ok(ip) = ip.parse::<IpAddr>() else {
                    return Some(format!("Bad address: {ip}\n"));
                };
                let password = call.stdin.map(str::as_bytes);
                Some(chain(&broker.auth_test(id, username(user), password, ip)))
            }
            _ => None,
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(module: &str, answer: &str, detail: &str) -> ChainStep {
        ChainStep {
            module: module.into(),
            answer: answer.into(),
            detail: detail.into(),
        }
    }

    #[test]
    fn the_walk_and_its_outcome() {
        let text = chain(&[
            step("emq_auth_redis", "ignore", ""),
            step("acl_internal", "deny", "acl.conf:12"),
        ]);
        assert_eq!(
            text,
            "emq_auth_redis          : ignore\n\
             acl_internal            : deny (acl.conf:12)\n\
             result                  : deny\n"
        );
        let superuser = chain(&[step("superuser", "allow (superuser)", "")]);
        assert!(superuser.ends_with("result                  : allow\n"));
    }

    #[test]
    fn undecided_is_not_open() {
        let text = chain(&[step("emq_auth_http", "unavailable", "connection refused")]);
        assert!(text.ends_with(": deny\n"));
        assert!(chain(&[]).ends_with(": deny\n"));
    }

    #[test]
    fn no_user_name() {
        assert_eq!(username(""), None);
        assert_eq!(username("undefined"), None);
        assert_eq!(username("u"), Some("u"));
    }
}
