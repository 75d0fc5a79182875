//! `admins`: who may use the management API and the dashboard.

use super::Core;
use crate::cli::{Call, Cli};
use crate::users::{UserError, Users};

/// `admins add|passwd|del`, as EMQ's dashboard has them, and `admins list`.
pub fn register(cli: &Cli, core: &Core) {
    let core = core.clone();
    cli.register(
        "admins",
        &[
            (
                "admins add <Username> <Password> <Tags>",
                "Add dashboard user",
            ),
            (
                "admins passwd <Username> <Password>",
                "Reset dashboard user password",
            ),
            ("admins del <Username>", "Delete dashboard user"),
        ],
        Box::new(move |call| admins(call, core.users())),
    );
}

fn admins(call: Call<'_>, users: &Users) -> Option<String> {
    Some(match *call.args {
        ["add", name, password] => added(users.add(name, given(password, call), "")),
        ["add", name, password, tags] => added(users.add(name, given(password, call), tags)),
        ["passwd", name, password] => changed(users.set_password(name, given(password, call))),
        ["del", name] => changed(users.remove(name)),
        ["list"] => {
            let users = users.list().into_iter();
            users
                .map(|user| {
                    let default = match user.default_password {
                        true => ", password=public",
                        false => "",
                    };
                    format!("User({}, tags={}{default})\n", user.username, user.tags)
                })
                .collect()
        }
        _ => return None,
    })
}

/// `-` stands for what comes on standard input: arguments can be seen in the list of processes.
fn given<'a>(password: &'a str, call: Call<'a>) -> &'a str {
    match password {
        "-" => call.stdin.unwrap_or(password),
        given => given,
    }
}

fn added(done: Result<(), UserError>) -> String {
    match done {
        Ok(()) => "ok\n".into(),
        Err(UserError::Exists) => "Error: \"username already exist\"\n".into(),
        Err(error) => format!("Error: \"{error}\"\n"),
    }
}

fn changed(done: Result<(), UserError>) -> String {
    match done {
        Ok(()) => "ok\n".into(),
        Err(UserError::NotFound) => "{error,\"Username Not Found\"}\n".into(),
        Err(error) => format!("{{error,\"{error}\"}}\n"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::testing::Site;

    #[test]
    fn the_words_of_emq() {
        let site = Site::new();
        let cli = site.cli();
        crate::after_boot(&cli, &site.core);
        let run = |line: &str, stdin: Option<&str>| {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let reply = cli.run(&argv, stdin);
            assert_eq!(reply.exit, 0, "{line}");
            reply.text
        };
        let ask = |line: &str| run(line, None);
        assert_eq!(
            ask("admins list"),
            "User(admin, tags=administrator, password=public)\n"
        );
        assert_eq!(ask("admins add bob p1 viewer"), "ok\n");
        let again = "Error: \"username already exist\"\n";
        assert_eq!(ask("admins add bob p1 viewer"), again);
        assert_eq!(ask("admins passwd bob p2"), "ok\n");
        assert_eq!(run("admins add eve -", Some("typed")), "ok\n");
        assert!(matches!(
            site.core.users().verify("eve", "typed"),
            crate::Verified::Login(_)
        ));
        assert_eq!(
            ask("admins add a:b p"),
            "Error: \"a user name has no `:`, which HTTP Basic cannot carry\"\n"
        );
        // The command line may.
        assert_eq!(ask("admins del admin"), "ok\n");
        let unknown = "{error,\"Username Not Found\"}\n";
        assert_eq!(ask("admins del admin"), unknown);
        assert_eq!(ask("admins passwd admin p"), unknown);
        assert!(ask("admins add x").starts_with("admins add <Username> "));
    }

    #[test]
    fn stands_behind_the_commands_of_plugins() {
        let site = Site::new();
        let cli = site.cli();
        let of_plugin = Box::new(|_: crate::Call<'_>| Some(String::new()));
        cli.register("retainer", &[("retainer info", "Count")], of_plugin);
        crate::after_boot(&cli, &site.core);
        let usage = cli.run(&[], None).text;
        let last = usage.lines().rev().find(|line| line.starts_with('-'));
        let (_, behind) = usage.rsplit_once(last.unwrap()).unwrap();
        assert!(behind.starts_with("\nadmins add <Username>"), "{usage}");
    }
}
