//! The resources, and what requests for them come to.

use crate::app::{App, ListenerOf};
use crate::brokerage::Brokerage;
use crate::codec::Code;
use crate::commands::Questions;
use crate::plan::Route;
use crate::request::{
    Action, Application, Ended, Fate, Method, Outcome, Request, Response, Ticket,
};
use crate::settings::Shared;
use crate::store::TopicStore;
use crate::{mqtt, ps, seed, well_known};
use emqttd_plugin_sdk::{Context, Metric};
use std::task::Poll;
use std::time::Instant;

/// What a request comes to.
///
/// # Errors
/// The answer, when nothing has to be done for it.
pub fn route(request: &Request<'_>, store: &TopicStore) -> Result<Route, Response> {
    let mut path = request.path();
    let first = path.next().unwrap_or_default();
    let behind = || request.path().skip(1);
    match first {
        "mqtt" => {
            let is_bare = behind().all(str::is_empty) && behind().count() < 2;
            let is_seed = is_bare
                && match request.method {
                    Method::Post => true,
                    Method::Get => seed::is_meant(request),
                    _ => false,
                };
            if is_seed {
                seed::route(request)
            } else {
                mqtt::route(request, behind())
            }
        }
        "ps" => ps::route(request, behind(), store),
        ".well-known" if behind().eq(["core"]) => Ok(Route::Answer(well_known::answer(request))),
        _ => Err(Response::new(Code::NOT_FOUND)),
    }
}

/// The resources of the gateway, with the broker behind them.
pub struct Resources {
    app: App<Brokerage>,
    questions: Questions,
    topics: Metric,
    topic_bytes: Metric,
    sessions: Metric,
}

impl Resources {
    /// For a plugin; `listener_of` says by which listener an endpoint comes in.
    pub fn new(ctx: &Context, settings: Shared, listener_of: ListenerOf) -> Resources {
        Resources {
            app: App::new(Brokerage::new(ctx), settings, listener_of),
            questions: Questions::new(ctx),
            topics: ctx.metric("ps/topics"),
            topic_bytes: ctx.metric("ps/bytes"),
            sessions: ctx.metric("sessions"),
        }
    }

    /// Shows how much there is.
    fn count(&self) {
        let level = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (topics, bytes) = self.app.store.size();
        self.topics.set(level(topics));
        self.topic_bytes.set(level(bytes));
        self.sessions.set(level(self.app.clients.len()));
    }
}

impl Application for Resources {
    fn handle(&mut self, now: Instant, request: &Request<'_>) -> Outcome {
        self.app.handle(now, request)
    }

    fn notified(&mut self, now: Instant, observation: Ticket, receipt: u64, fate: Fate) {
        self.app.notified(now, observation, receipt, fate);
    }

    fn ended(&mut self, _: Instant, observation: Ticket, _: Ended) {
        self.app.drop_observation(observation);
    }

    fn deadline(&self) -> Option<Instant> {
        self.app.deadline()
    }

    fn tick(&mut self, now: Instant) {
        self.app.tick(now);
        self.count();
    }

    fn poll_action(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Action> {
        let app = &self.app;
        self.questions.poll(cx, || app.clients.values());
        loop {
            if let Some(action) = self.app.actions.pop_front() {
                return Poll::Ready(action);
            }
            match self.app.broker.poll_answer(cx) {
                Poll::Ready(answer) => self.app.answered(Instant::now(), answer),
                Poll::Pending => {
                    self.count();
                    return Poll::Pending;
                }
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = ()> + Send {
        self.app.broker.close()
    }
}

#[cfg(test)]
mod tests;
