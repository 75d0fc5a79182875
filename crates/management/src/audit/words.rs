//! What the audit log says of a command: that it changed something, in words without secrets.

use crate::cli::Done;

/// Commands that only look, however they are called.
const VIEWS: &[&str] = &[
    "auth", "broker", "mnesia", "recon", "routes", "sessions", "show", "status", "store", "topics",
    "vm", "help", ".pid", ".ping",
];

/// Second words that only look.
const LOOKS: &[&str] = &[
    "list", "show", "info", "status", "stats", "topics", "lookup", "test", "options", "help",
    "pool",
];

/// Commands that change something without a second word.
const BARE: &[&str] = &["stop", "restart", ".stop", ".restart"];

/// Commands whose words are all fit to be shown.
const PLAIN: &[&str] = &[
    "acl",
    "api_keys",
    "backup",
    "bans",
    "bridges",
    "clients",
    "cluster",
    "listeners",
    "luahook",
    "plugins",
    "retainer",
    "subscriptions",
    "trace",
];

/// The words of a command that changes something, `None` when it only looks. Of those that take passwords, and of
/// those of plugins that nobody here knows, only the words are told in which none can be.
pub(crate) fn action_of(argv: &[&str]) -> Option<String> {
    let (&name, rest) = argv.split_first()?;
    let second = rest.first().copied();
    if VIEWS.contains(&name) || second.is_some_and(|word| LOOKS.contains(&word)) {
        return None;
    }
    if second.is_none() && !BARE.contains(&name) {
        return None;
    }
    let told: Vec<&str> = match name {
        "set" => keys_of(rest),
        // `add <Name> <Password>`
        "admins" | "users" | "clientid" => rest.iter().take(2).copied().collect(),
        _ if PLAIN.contains(&name) || BARE.contains(&name) => rest.to_vec(),
        _ => rest.iter().take(1).copied().collect(),
    };
    let words = std::iter::once(name).chain(told);
    Some(words.collect::<Vec<_>>().join(" "))
}

/// `ok` or `failed`. EMQ's commands end with exit code 0 whatever happens, and say it in words.
pub(crate) fn outcome_of(done: &Done<'_>) -> &'static str {
    let last = done.text.trim_end().lines().next_back().unwrap_or_default();
    let last = last.to_lowercase();
    let well = last == "ok" || last.contains("success");
    let bad = [
        "error",
        "fail",
        "not found",
        "not_found",
        "usage:",
        "invalid",
    ];
    // Commands that the usage text does not list answer with their own.
    let usage = last
        .split_once('#')
        .is_some_and(|(call, _)| call.len() >= 48);
    match done.exit == 0 && !usage && (well || !bad.iter().any(|word| last.contains(word))) {
        true => "ok",
        false => "failed",
    }
}

/// Of `key=value ... --app=x` the keys and the options. What comes after the first word that is neither may be a
/// password that somebody has typed with a blank before it.
fn keys_of<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut told = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            _ if word.starts_with("--app=") || word.starts_with("--node=") || *word == "--all" => {
                told.push(*word);
            }
            _ if ["--app", "--node", "-n"].contains(word) => {
                told.push(word);
                told.extend(words.next());
            }
            Some((key, _)) if !key.is_empty() && !key.starts_with('-') => told.push(key),
            _ => {
                told.push("...");
                return told;
            }
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_without_secrets() {
        let told = |line: &str| action_of(&line.split(' ').collect::<Vec<_>>());
        for (line, action) in [
            ("plugins load emq_stomp", "plugins load emq_stomp"),
            ("admins add bob secret viewer", "admins add bob"),
            ("admins passwd bob secret", "admins passwd bob"),
            ("users add u secret", "users add u"),
            (
                "set auth.mysql.password=secret --app=emq_auth_mysql",
                "set auth.mysql.password --app=emq_auth_mysql",
            ),
            (
                "set --app emq_auth_mysql auth.mysql.password=secret -n e@h",
                "set --app emq_auth_mysql auth.mysql.password -n e@h",
            ),
            // Blanks that do not belong there.
            ("set auth.mysql.password = secret --app=x", "set ..."),
            (
                "set auth.mysql.password= secret",
                "set auth.mysql.password ...",
            ),
            ("set --password=secret", "set ..."),
            ("clients kick c1", "clients kick c1"),
            ("acl reload", "acl reload"),
            ("stop", "stop"),
            ("acl cache clean", "acl cache clean"),
            // of a plugin that nobody knows
            ("vault open secret", "vault open"),
        ] {
            assert_eq!(told(line).as_deref(), Some(action), "{line}");
        }
        for line in [
            "status",
            "clients list",
            "acl test c u 1.1.1.1 publish t",
            "listeners",
            "set",
            "admins",
            "vm load",
            "show x --app=emqttd",
            ".ping",
            "recon node_stats 1000",
            "plugins show x",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
        assert_eq!(action_of(&[]), None);
    }

    #[test]
    fn how_it_ended() {
        let outcome = |exit, text| {
            outcome_of(&Done {
                argv: &[],
                exit,
                text,
                caller: "",
            })
        };
        for text in [
            "ok\n",
            "",
            "Start apps: [emq_stomp]\nPlugin emq_stomp loaded successfully.\n",
            "\"a\" set to \"error\" successfully\n",
        ] {
            assert_eq!(outcome(0, text), "ok", "{text}");
            assert_eq!(outcome(1, text), "failed", "{text}");
        }
        for text in [
            "load plugin error: not_found\n",
            "{error,\"Username Not Found\"}\n",
            "Error: \"username already exist\"\n",
            "Not Found.\n",
            "Failed to stop tcp listener on 1, error:not_found\n",
            "Invalid config --app: x\n",
            // What was meant was not understood.
            &crate::cli::usage_row("bans del <Kind> <Value>", "Take a ban back"),
        ] {
            assert_eq!(outcome(0, text), "failed", "{text}");
        }
    }
}
