//! How far a long command is: a bar on a terminal, lines elsewhere.

use crate::wire::Progress;
use std::io::{IsTerminal, Stderr, Write};

/// Characters of the bar.
const WIDTH: u64 = 40;

/// Steps of which each is a line when there is no terminal.
const LINES: u64 = 10;

/// Shows how far something is.
#[derive(Debug)]
pub struct Bar<W: Write> {
    what: String,
    out: W,
    terminal: bool,
    /// what was shown last: the step, or the percentage
    shown: Option<u64>,
}

impl Bar<Stderr> {
    /// On standard error.
    pub fn new(what: &str) -> Bar<Stderr> {
        let out = std::io::stderr();
        let terminal = out.is_terminal();
        Bar::on(what, out, terminal)
    }
}

impl<W: Write> Bar<W> {
    fn on(what: &str, out: W, terminal: bool) -> Bar<W> {
        Bar {
            what: what.to_owned(),
            out,
            terminal,
            shown: None,
        }
    }

    /// So far it is now.
    pub fn show(&mut self, progress: Progress) {
        let Progress { done, total } = progress;
        let part = |of: u64| match total {
            0 => of,
            _ => (u128::from(done.min(total)) * u128::from(of) / u128::from(total)) as u64,
        };
        let now = part(if self.terminal { 100 } else { LINES });
        if self.shown == Some(now) {
            return;
        }
        self.shown = Some(now);
        let (what, percent) = (&self.what, part(100));
        // Who closed standard error does not want to see it.
        let _ = if self.terminal {
            let full = "#".repeat(part(WIDTH) as usize);
            let width = WIDTH as usize;
            write!(self.out, "\r{what} [{full:.<width$}] {percent:>3} %")
                .and_then(|()| self.out.flush())
        } else {
            writeln!(self.out, "{what}: {percent} %")
        };
    }
}

/// What is written next begins a line.
impl<W: Write> Drop for Bar<W> {
    fn drop(&mut self) {
        if self.terminal && self.shown.is_some() {
            let _ = writeln!(self.out);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(terminal: bool, steps: &[(u64, u64)]) -> String {
        let mut out = Vec::new();
        let mut bar = Bar::on("backup", &mut out, terminal);
        for &(done, total) in steps {
            bar.show(Progress { done, total });
        }
        drop(bar);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_bar_on_a_terminal() {
        let text = shown(true, &[(0, 2048), (1024, 2048), (1025, 2048), (2048, 2048)]);
        let bar = |n: usize| format!("{}{}", "#".repeat(n), ".".repeat(40 - n));
        assert_eq!(
            text,
            format!(
                "\rbackup [{}]   0 %\rbackup [{}]  50 %\rbackup [{}] 100 %\n",
                bar(0),
                bar(20),
                bar(40)
            )
        );
    }

    #[test]
    fn lines_elsewhere() {
        let steps: Vec<(u64, u64)> = (0..=1000).map(|n| (n, 1000)).collect();
        let text = shown(false, &steps);
        assert_eq!(text.lines().count(), 11);
        assert!(text.starts_with("backup: 0 %\nbackup: 10 %\n"));
        assert!(text.ends_with("backup: 100 %\n"));
    }

    #[test]
    fn odd_totals() {
        assert_eq!(shown(false, &[(0, 0)]), "backup: 100 %\n");
        // It grew meanwhile.
        assert_eq!(shown(false, &[(9, 3)]), "backup: 100 %\n");
        assert_eq!(shown(false, &[(u64::MAX, u64::MAX)]).lines().count(), 1);
        assert_eq!(shown(true, &[]), "");
    }
}
