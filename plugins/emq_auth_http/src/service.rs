//! Asking the service.

use crate::requests::{Requests, Template};
use emqttd_backend::{Backend, Fault, Health, Question, Trace};
use emqttd_http_client::{HttpClient, Request};
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The body that says "somebody else decides".
const IGNORE: &[u8] = b"ignore";
/// So much of a body is read, that its connection can serve again; bytes.
const MOST: usize = 4096;

/// The web service.
#[derive(Debug)]
pub(crate) struct WebService {
    client: HttpClient,
    requests: Requests,
    health: Arc<Health>,
    /// by then, from the beginning of a login, it is known who is no superuser
    patience: Duration,
}

/// What a status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    Ignore,
}

impl WebService {
    /// Asks by `client`; all answers of a login have to come within `timeout`.
    pub fn new(
        client: HttpClient,
        requests: Requests,
        health: &Arc<Health>,
        timeout: Duration,
    ) -> WebService {
        WebService {
            client,
            requests,
            health: Arc::clone(health),
            patience: timeout.mul_f64(0.9),
        }
    }

    async fn ask(
        &self,
        template: &Template,
        question: &Question<'_>,
        trace: &mut Trace,
    ) -> Result<Verdict, Fault> {
        trace.note(|| template.shown(question));
        let filled = match template.fill(question) {
            Ok(filled) => filled,
            Err(why) => {
                trace.note(|| why);
                return Ok(Verdict::No);
            }
        };
        let request = Request {
            url: &filled.url,
            post: filled.post.as_ref().map(|(kind, body)| (*kind, body)),
            most: MOST,
        };
        let answer = self.client.ask(&request).await?;
        if answer.redirections > 0 {
            trace.note(|| format!("redirected {} times", answer.redirections));
        }
        let ignores = answer.body.as_deref() == Some(IGNORE);
        let status = answer.status;
        match status {
            200 if ignores => {
                trace.note(|| "status 200, `ignore`".into());
                Ok(Verdict::Ignore)
            }
            200 => {
                trace.note(|| "status 200: yes".into());
                Ok(Verdict::Yes)
            }
            // It is broken, or what stands before it does not reach it: it has not said no.
            500.. => Err(Fault::Refused(format!("{}: status {status}", template.url))),
            _ => {
                trace.note(|| format!("status {status}: no"));
                Ok(Verdict::No)
            }
        }
    }

    /// Asked about who has come in. Who cannot be asked about is none.
    async fn is_superuser(
        &self,
        question: &Question<'_>,
        deadline: Instant,
        trace: &mut Trace,
    ) -> bool {
        let Some(template) = &self.requests.superuser else {
            return false;
        };
        // The password has been looked at; this is about who has come in.
        let question = Question::login(question.client, None);
        let fault = match timeout_at(deadline, self.ask(template, &question, trace)).await {
            Ok(Ok(verdict)) => return verdict != Verdict::No,
            Ok(Err(fault)) => fault.why().to_string(),
            Err(_) => format!("{}: no answer in time", template.url),
        };
        self.health
            .complain(&format!("{fault}: nobody is a superuser"));
        trace.note(|| format!("{fault}; so no superuser"));
        false
    }
}

impl Backend for WebService {
    async fn login(
        &self,
        question: &Question<'_>,
        _password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let deadline = Instant::now() + self.patience;
        let Some(template) = &self.requests.auth else {
            return Ok(AuthAnswer::Ignore);
        };
        Ok(match self.ask(template, question, trace).await? {
            Verdict::No => AuthAnswer::Deny,
            Verdict::Ignore => AuthAnswer::Ignore,
            Verdict::Yes => AuthAnswer::Allow {
                superuser: self.is_superuser(question, deadline, trace).await,
            },
        })
    }

    async fn act(
        &self,
        question: &Question<'_>,
        _access: Access,
        _topic: &str,
        trace: &mut Trace,
    ) -> Result<AclAnswer, Fault> {
        let Some(template) = &self.requests.acl else {
            return Ok(AclAnswer::Ignore);
        };
        Ok(match self.ask(template, question, trace).await? {
            Verdict::No => AclAnswer::Deny,
            Verdict::Ignore => AclAnswer::Ignore,
            Verdict::Yes => AclAnswer::Allow,
        })
    }
}
