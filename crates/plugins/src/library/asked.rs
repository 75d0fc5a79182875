//! Questions to the providers of a library. One that is not answered at once has a ticket, by which the
//! answer comes later, from a thread of the library.

use super::{Instance, spoken};
use emqttd_plugin_abi::Fault;
use emqttd_plugin_sdk::wire::request::{self, Completion};
use emqttd_plugin_sdk::wire::{self, number, to_plugin};
use emqttd_plugin_sdk::{Access, Client};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Of answers, the one for "cannot be known now".
const UNAVAILABLE: u64 = 4;

/// Questions of one instance that wait for their answer.
#[derive(Default)]
pub(super) struct Tickets(Mutex<List>);

#[derive(Default)]
struct List {
    waiting: HashMap<u64, Ticket>,
    last: u64,
    ended: bool,
}

enum Ticket {
    Waiting(Waker),
    Answered(Completion),
}

impl Tickets {
    /// A new ticket; `None` when the instance has ended.
    fn draw(&self, waker: &Waker) -> Option<u64> {
        let mut list = self.0.lock();
        if list.ended {
            return None;
        }
        list.last += 1;
        let number = list.last;
        list.waiting.insert(number, Ticket::Waiting(waker.clone()));
        Some(number)
    }

    /// The answer, if it has come; `waker` is told when it does.
    fn look(&self, ticket: u64, waker: &Waker) -> Poll<Option<Completion>> {
        let mut list = self.0.lock();
        match list.waiting.remove(&ticket) {
            Some(Ticket::Waiting(_)) => {
                let waiting = Ticket::Waiting(waker.clone());
                list.waiting.insert(ticket, waiting);
                Poll::Pending
            }
            Some(Ticket::Answered(completion)) => Poll::Ready(Some(completion)),
            None => Poll::Ready(None),
        }
    }

    /// Nobody waits for this one any more.
    fn give_back(&self, ticket: u64) {
        self.0.lock().waiting.remove(&ticket);
    }

    /// The answer has come. A ticket that is not waited for is nobody's, and a second answer counts nothing.
    pub fn complete(&self, ticket: u64, completion: Completion) {
        let mut list = self.0.lock();
        let Some(slot) = list.waiting.get_mut(&ticket) else {
            return;
        };
        if let Ticket::Waiting(waker) = slot {
            let waker = waker.clone();
            *slot = Ticket::Answered(completion);
            drop(list);
            waker.wake();
        }
    }

    /// No answers come any more.
    pub fn end(&self) {
        let mut list = self.0.lock();
        list.ended = true;
        let waiting = std::mem::take(&mut list.waiting);
        drop(list);
        for ticket in waiting.into_values() {
            if let Ticket::Waiting(waker) = ticket {
                waker.wake();
            }
        }
    }
}

/// What is asked.
pub(super) enum Question {
    Auth(Arc<Client>, Option<Vec<u8>>),
    Acl(Arc<Client>, Access, String),
}

impl Question {
    fn ask(&self, instance: &Instance, provider: u64, ticket: u64) -> Result<u64, Fault> {
        let (op, args, body) = match self {
            Question::Auth(client, password) => {
                let args = wire::encode(&request::Auth {
                    ticket,
                    client: (&**client).into(),
                    has_password: password.is_some(),
                });
                let body = password.as_deref().unwrap_or_default();
                (to_plugin::AUTH, args, body)
            }
            Question::Acl(client, access, topic) => {
                let args = wire::encode(&request::Acl {
                    ticket,
                    client: (&**client).into(),
                    access: *access,
                    topic,
                });
                (to_plugin::ACL, args, &[][..])
            }
        };
        let (answer, _) = instance.remote.call(op, provider, &args, body)?;
        Ok(answer)
    }
}

/// A question and, in the end, the number of its answer.
pub(super) struct Asked {
    instance: Arc<Instance>,
    provider: u64,
    state: State,
}

enum State {
    New(Question),
    Waiting(u64),
    Done,
}

impl Asked {
    pub fn new(instance: &Arc<Instance>, provider: u64, question: Question) -> Asked {
        Asked {
            instance: Arc::clone(instance),
            provider,
            state: State::New(question),
        }
    }

    /// Puts the question.
    fn begin(&mut self, question: &Question, waker: &Waker) -> Poll<u64> {
        let tickets = &self.instance.tickets;
        let Some(ticket) = tickets.draw(waker) else {
            return Poll::Ready(UNAVAILABLE);
        };
        let answer = question.ask(&self.instance, self.provider, ticket);
        if answer == Ok(number::PENDING) {
            self.state = State::Waiting(ticket);
            return self.look(ticket, waker);
        }
        tickets.give_back(ticket);
        match answer {
            Ok(answer) => Poll::Ready(answer),
            Err(Fault::Panicked(text)) => resume_unwind(Box::new(text)),
            Err(Fault::Gone) => Poll::Ready(UNAVAILABLE),
            Err(fault) => resume_unwind(Box::new(format!("asked, it {}", spoken(&fault)))),
        }
    }

    fn look(&mut self, ticket: u64, waker: &Waker) -> Poll<u64> {
        let Poll::Ready(completion) = self.instance.tickets.look(ticket, waker) else {
            return Poll::Pending;
        };
        self.state = State::Done;
        match completion {
            None => Poll::Ready(UNAVAILABLE),
            Some(Completion {
                panic: Some(text), ..
            }) => resume_unwind(Box::new(text)),
            Some(completion) => Poll::Ready(completion.answer),
        }
    }
}

impl Future for Asked {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::New(question) => self.begin(&question, cx.waker()),
            State::Waiting(ticket) => {
                self.state = State::Waiting(ticket);
                self.look(ticket, cx.waker())
            }
            State::Done => Poll::Ready(UNAVAILABLE),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let State::Waiting(ticket) = self.state {
            self.instance.tickets.give_back(ticket);
            // An error means that the library has ended the question by itself.
            let _ = self
                .instance
                .remote
                .call(to_plugin::CANCEL, ticket, &[], &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answer(answer: u64) -> Completion {
        Completion {
            answer,
            panic: None,
        }
    }

    fn number(answer: Poll<Option<Completion>>) -> Poll<Option<u64>> {
        answer.map(|completion| completion.map(|completion| completion.answer))
    }

    #[test]
    fn an_answer_is_taken_once_and_the_first_one_counts() {
        let (tickets, woken) = (Tickets::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let ticket = tickets.draw(&waker).expect("not ended");
        assert!(number(tickets.look(ticket, &waker)).is_pending());
        tickets.complete(ticket, answer(1));
        tickets.complete(ticket, answer(3));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(number(tickets.look(ticket, &waker)), Poll::Ready(Some(1)));
        assert_eq!(number(tickets.look(ticket, &waker)), Poll::Ready(None));
        // Nobody has these.
        tickets.complete(ticket, answer(1));
        tickets.complete(99, answer(1));
        assert!(tickets.0.lock().waiting.is_empty());
    }

    #[test]
    fn an_answer_may_come_before_it_is_looked_for() {
        let tickets = Tickets::default();
        let ticket = tickets.draw(Waker::noop()).expect("not ended");
        tickets.complete(ticket, answer(2));
        let found = tickets.look(ticket, Waker::noop());
        assert_eq!(number(found), Poll::Ready(Some(2)));
    }

    #[test]
    fn the_end_wakes_all_who_wait() {
        let (tickets, woken) = (Tickets::default(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let first = tickets.draw(&waker).expect("not ended");
        let second = tickets.draw(&waker).expect("not ended");
        tickets.give_back(second);
        tickets.end();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(number(tickets.look(first, &waker)), Poll::Ready(None));
        assert_eq!(tickets.draw(&waker), None);
    }
}
