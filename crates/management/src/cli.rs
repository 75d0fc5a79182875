//! The registry of commands and the frame of their answers: usage texts and exit codes.

use crate::wire::{Progress, Reply};
use parking_lot::RwLock;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// Who is told how far a long command is; most often nobody.
#[derive(Clone, Copy, Default)]
pub struct Watcher<'a>(Option<&'a dyn Fn(Progress)>);

impl<'a> Watcher<'a> {
    /// `told` is called with each step; it must not take long.
    pub fn new(told: &'a dyn Fn(Progress)) -> Watcher<'a> {
        Watcher(Some(told))
    }

    /// So much of so much is done.
    pub fn tell(&self, done: u64, total: u64) {
        if let Some(told) = self.0 {
            told(Progress { done, total });
        }
    }
}

impl std::fmt::Debug for Watcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "told" } else { "nobody" })
    }
}

/// The arguments of one call, without the name of the command.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Arguments, as the shell passed them: blanks inside one are kept.
    pub args: &'a [&'a str],
    /// Standard input of `emqttd_ctl`, where the command asked for it.
    pub stdin: Option<&'a str>,
    /// Who is told how far it is.
    pub watcher: Watcher<'a>,
}

/// Answers a call with the text to print, or `None` when the arguments are not understood: then
/// the usage rows of the command are printed.
pub type Handler = Box<dyn Fn(Call<'_>) -> Option<String> + Send + Sync>;

/// A [`Handler`] of a command that may fail: what is wrong goes with exit code 1.
pub type Task = Box<dyn Fn(Call<'_>) -> Option<Result<String, String>> + Send + Sync>;

struct Command {
    name: String,
    /// `None`: built in and not part of the usage text.
    usage: Option<Vec<(String, String)>>,
    task: Task,
}

/// `<command padded to 48># <what it does>`
pub(crate) fn usage_row(call: &str, what: &str) -> String {
    let space = if call.len() < 48 { "" } else { " " };
    format!("{call:<48}{space}# {what}\n")
}

impl Command {
    fn new(name: &str, usage: Option<&[(&str, &str)]>, task: Task) -> Command {
        let row = |(call, what): &(&str, &str)| ((*call).to_owned(), (*what).to_owned());
        Command {
            name: name.to_owned(),
            usage: usage.map(|rows| rows.iter().map(row).collect()),
            task,
        }
    }

    fn usage_rows(&self, out: &mut String) {
        for (call, what) in self.usage.iter().flatten() {
            out.push_str(&usage_row(call, what));
        }
    }
}

/// A command that was carried out: its words were understood.
#[derive(Debug, Clone, Copy)]
pub struct Done<'a> {
    /// its words, the name first
    pub argv: &'a [&'a str],
    /// the exit code
    pub exit: i32,
    /// what was printed
    pub text: &'a str,
    /// who asked: `uid 1000`
    pub caller: &'a str,
}

/// Is told of each command that was carried out; must not take long.
pub type Observer = Box<dyn Fn(Done<'_>) + Send + Sync>;

/// All commands, in the order in which they were registered.
pub struct Cli {
    node: String,
    commands: RwLock<Vec<Arc<Command>>>,
    observer: OnceLock<Observer>,
}

impl Cli {
    /// An empty registry of the node `node`.
    pub fn new(node: &str) -> Cli {
        Cli {
            node: node.to_owned(),
            commands: RwLock::default(),
            observer: OnceLock::new(),
        }
    }

    /// Says who is told of commands that were carried out. The first one to be said stays.
    pub fn on_done(&self, observer: Observer) {
        // Who boots says it once.
        let _ = self.observer.set(observer);
    }

    /// Adds a command with its usage rows (call, description). A name that is already there is
    /// replaced in its place, with a warning.
    pub fn register(&self, name: &str, usage: &[(&str, &str)], handler: Handler) {
        self.register_task(name, usage, Box::new(move |call| handler(call).map(Ok)));
    }

    /// [`Cli::register`] of a command that may fail.
    pub fn register_task(&self, name: &str, usage: &[(&str, &str)], task: Task) {
        self.add(Command::new(name, Some(usage), task));
    }

    /// Adds a command that the usage text does not show.
    pub fn register_hidden(&self, name: &str, handler: Handler) {
        let task: Task = Box::new(move |call| handler(call).map(Ok));
        self.add(Command::new(name, None, task));
    }

    fn add(&self, command: Command) {
        let mut commands = self.commands.write();
        let name = command.name.clone();
        let command = Arc::new(command);
        match commands.iter_mut().find(|c| c.name == name) {
            Some(old) => {
                log::warn!("command {name} is registered again and replaces the former one");
                *old = command;
            }
            None => commands.push(command),
        }
    }

    /// Whether there is a command of that name.
    pub fn has(&self, name: &str) -> bool {
        self.commands.read().iter().any(|c| c.name == name)
    }

    /// [`Cli::register_task`], without a warning when it puts a command in the place of another.
    pub fn put(&self, name: &str, usage: &[(&str, &str)], task: Task) {
        let mut commands = self.commands.write();
        let command = Arc::new(Command::new(name, Some(usage), task));
        match commands.iter_mut().find(|c| c.name == name) {
            Some(old) => *old = command,
            None => commands.push(command),
        }
    }

    /// Takes a command away; what is running of it ends by itself.
    pub fn unregister(&self, name: &str) {
        self.commands.write().retain(|c| c.name != name);
    }

    /// [`Cli::register_hidden`] of a command that may fail.
    pub fn register_hidden_task(&self, name: &str, task: Task) {
        self.add(Command::new(name, None, task));
    }

    /// Answers `emqttd_ctl <argv>`. Never panics: a command that does is answered for.
    pub fn run(&self, argv: &[String], stdin: Option<&str>) -> Reply {
        self.run_watched(argv, stdin, Watcher::default())
    }

    /// [`Cli::run`], and `watcher` is told how far it is.
    pub fn run_watched(&self, argv: &[String], stdin: Option<&str>, watcher: Watcher<'_>) -> Reply {
        self.run_for("unknown", argv, stdin, watcher)
    }

    /// [`Cli::run_watched`] for `caller`, whom the audit log names.
    pub fn run_for(
        &self,
        caller: &str,
        argv: &[String],
        stdin: Option<&str>,
        watcher: Watcher<'_>,
    ) -> Reply {
        let Some((name, rest)) = argv.split_first().filter(|(name, _)| *name != "help") else {
            return Reply {
                exit: 0,
                text: self.usage(),
            };
        };
        // The lock is not held while the command runs: it may register others.
        let found = self
            .commands
            .read()
            .iter()
            .find(|c| c.name == *name)
            .cloned();
        let Some(command) = found else {
            return Reply {
                exit: 1,
                text: self.usage(),
            };
        };
        let args: Vec<&str> = rest.iter().map(String::as_str).collect();
        let call = Call {
            args: &args,
            stdin,
            watcher,
        };
        let reply = match catch_unwind(AssertUnwindSafe(|| (command.task)(call))) {
            Ok(Some(Ok(text))) => Reply { exit: 0, text },
            Ok(Some(Err(text))) => Reply { exit: 1, text },
            Ok(None) => {
                let mut text = String::new();
                command.usage_rows(&mut text);
                return Reply { exit: 0, text };
            }
            Err(panic) => {
                let reason = panic_text(&*panic);
                log::error!("command {name} crashed: {reason}");
                let text = format!(
                    "Reason:{reason}, get_stacktrace:[]\nRPC to {} error: {reason}\n",
                    self.node
                );
                Reply { exit: 1, text }
            }
        };
        if let Some(observer) = self.observer.get() {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            observer(Done {
                argv: &argv,
                exit: reply.exit,
                text: &reply.text,
                caller,
            });
        }
        reply
    }

    fn usage(&self) -> String {
        let mut out = String::from("Usage: emqttd_ctl\n");
        for command in self.commands.read().iter().filter(|c| c.usage.is_some()) {
            out.push_str(&"-".repeat(80));
            out.push('\n');
            command.usage_rows(&mut out);
        }
        out
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(line: &[&str]) -> Vec<String> {
        line.iter().map(|s| (*s).to_owned()).collect()
    }

    fn sample() -> Cli {
        let cli = Cli::new("emq@127.0.0.1");
        cli.register(
            "echo",
            &[("echo <Text>", "Say it"), ("echo <A> <B>", "Say both")],
            Box::new(|call| match call.args {
                ["boom"] => panic!("on purpose"),
                [one] => Some(format!("{one}|{}\n", call.stdin.unwrap_or("-"))),
                _ => None,
            }),
        );
        cli.register_hidden("secret", Box::new(|_| Some("found\n".into())));
        cli
    }

    #[test]
    fn a_long_command_keeps_its_distance() {
        assert_eq!(usage_row("x", "y"), format!("x{}# y\n", " ".repeat(47)));
        let long = "x".repeat(50);
        assert_eq!(usage_row(&long, "y"), format!("{long} # y\n"));
    }

    #[test]
    fn whole_usage_with_and_without_help() {
        let cli = sample();
        let rows = format!(
            "{:<48}# Say it\n{:<48}# Say both\n",
            "echo <Text>", "echo <A> <B>"
        );
        let usage = format!("Usage: emqttd_ctl\n{}\n{rows}", "-".repeat(80));
        assert_eq!(
            cli.run(&[], None),
            Reply {
                exit: 0,
                text: usage.clone()
            }
        );
        assert_eq!(
            cli.run(&words(&["help"]), None),
            Reply {
                exit: 0,
                text: usage.clone()
            }
        );
        assert_eq!(
            cli.run(&words(&["nope"]), None),
            Reply {
                exit: 1,
                text: usage
            }
        );
        assert_eq!(
            cli.run(&words(&["echo"]), None),
            Reply {
                exit: 0,
                text: rows
            }
        );
    }

    #[test]
    fn arguments_keep_their_blanks_and_input_arrives() {
        let cli = sample();
        assert_eq!(cli.run(&words(&["echo", "a b"]), None).text, "a b|-\n");
        assert_eq!(cli.run(&words(&["echo", "a"]), Some("pw")).text, "a|pw\n");
        assert_eq!(cli.run(&words(&["secret"]), None).text, "found\n");
    }

    #[test]
    fn a_crash_is_answered_with_exit_1() {
        let reply = sample().run(&words(&["echo", "boom"]), None);
        assert_eq!(reply.exit, 1);
        assert_eq!(
            reply.text,
            "Reason:on purpose, get_stacktrace:[]\nRPC to emq@127.0.0.1 error: on purpose\n"
        );
    }

    #[test]
    fn a_task_fails_with_exit_1_and_tells_how_far_it_is() {
        let cli = Cli::new("emq@127.0.0.1");
        cli.register_task(
            "copy",
            &[("copy <What>", "Copy it")],
            Box::new(|call| match call.args {
                ["all"] => {
                    call.watcher.tell(1, 2);
                    call.watcher.tell(2, 2);
                    Some(Ok("done\n".into()))
                }
                [_] => Some(Err("no\n".into())),
                _ => None,
            }),
        );
        let steps = std::cell::RefCell::new(Vec::new());
        let note = |p: Progress| steps.borrow_mut().push((p.done, p.total));
        let reply = cli.run_watched(&words(&["copy", "all"]), None, Watcher::new(&note));
        assert_eq!((reply.exit, reply.text.as_str()), (0, "done\n"));
        assert_eq!(steps.into_inner(), [(1, 2), (2, 2)]);
        let reply = cli.run(&words(&["copy", "none"]), None);
        assert_eq!((reply.exit, reply.text.as_str()), (1, "no\n"));
        assert_eq!(cli.run(&words(&["copy"]), None).exit, 0);
    }

    #[test]
    fn commands_come_and_go() {
        let cli = sample();
        cli.register("echo", &[("echo", "New")], Box::new(|_| Some("new".into())));
        assert_eq!(cli.run(&words(&["echo", "x"]), None).text, "new");
        cli.unregister("echo");
        assert_eq!(cli.run(&words(&["echo", "x"]), None).exit, 1);
    }
}
