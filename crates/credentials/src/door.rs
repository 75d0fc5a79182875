//! The provider of the authentication chain.

use crate::Kind;
use crate::book::{Book, Record};
use emqttd_password::{Gate, Mark};
use emqttd_plugin_sdk::{AuthAnswer, AuthProvider, Client, Context, Metric};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Clients that wait for a check, all together; each holds its CONNECT.
const WAITING: usize = 10_000;

/// How often a check is begun anew because the password was changed meanwhile.
const TRIES: usize = 3;

/// Asks the book.
pub(crate) struct Door {
    kind: &'static Kind,
    ctx: Context,
    book: Arc<Book>,
    waiting: Semaphore,
    checked: Metric,
    remembered: Metric,
    busy: Metric,
}

impl Door {
    pub(crate) fn new(kind: &'static Kind, ctx: &Context, book: &Arc<Book>) -> Door {
        Door {
            kind,
            ctx: ctx.clone(),
            book: Arc::clone(book),
            waiting: Semaphore::new(WAITING),
            checked: ctx.metric("checked"),
            remembered: ctx.metric("remembered"),
            busy: ctx.metric("busy"),
        }
    }

    /// Whether it is the password of that record; `None` = cannot be known now.
    async fn is_right(&self, record: &Arc<Record>, password: &[u8]) -> Option<bool> {
        if !record.is_slow() {
            return Some(record.verify(password));
        }
        let mark = self.book.mark(password);
        if let Some(right) = self.recall(record, mark) {
            return Some(right);
        }
        let _waiting = self.waiting.try_acquire().ok()?;
        let _turn = record.turn.lock().await;
        // The one before may have come with the same password.
        if let Some(right) = self.recall(record, mark) {
            return Some(right);
        }
        let inside = Gate::shared().enter().await?;
        self.checked.inc();
        let (asked, password) = (Arc::clone(record), password.to_vec());
        let check = move || {
            let right = asked.verify(&password);
            // Not before: the check goes on when nobody waits for it any more.
            drop(inside);
            right
        };
        let right = self.ctx.blocking(check).await?;
        if let Some(mark) = mark {
            record.learn(mark, right);
        }
        Some(right)
    }

    fn recall(&self, record: &Record, mark: Option<Mark>) -> Option<bool> {
        let right = record.recall(mark?);
        if right.is_some() {
            self.remembered.inc();
        }
        right
    }
}

impl AuthProvider for Door {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        self.answer(client, password).await.0
    }

    async fn explain(&self, client: &Client, password: Option<&[u8]>) -> (AuthAnswer, String) {
        let (answer, why) = self.answer(client, password).await;
        (answer, why.into())
    }
}

impl Door {
    async fn answer(&self, client: &Client, password: Option<&[u8]>) -> (AuthAnswer, &'static str) {
        let (Some(name), Some(password)) = ((self.kind.name_of)(client), password) else {
            return (AuthAnswer::Deny, "name or password is missing");
        };
        for _ in 0..TRIES {
            let Some(record) = self.book.get(name) else {
                return (AuthAnswer::Ignore, "no such name");
            };
            let right = self.is_right(&record, password).await;
            // Who was deleted, or has another password by now, is not let in by what was.
            if !self.book.is_current(name, &record) {
                continue;
            }
            return match right {
                Some(true) => (
                    AuthAnswer::Allow { superuser: false },
                    "the password is right",
                ),
                Some(false) => (AuthAnswer::Deny, "the password is wrong"),
                None => {
                    self.busy.inc();
                    (
                        AuthAnswer::Unavailable,
                        "too many passwords are being checked",
                    )
                }
            };
        }
        (
            AuthAnswer::Unavailable,
            "the password was changed meanwhile",
        )
    }
}
