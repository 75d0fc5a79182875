//! Logins and rights.

use crate::acl::{self, Notation};
use crate::command::{Command, Query};
use crate::connector::RedisConnector;
use crate::reply::{Stored, Strange, says_yes};
use emqttd_backend::{Backend, Checker, Fault, Health, Pool, Question, Trace};
use emqttd_password::Form;
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer};
use redis::Value;
use std::sync::Arc;

/// Asks the commands of the configuration.
pub(crate) struct RedisBackend {
    pub pool: Arc<Pool<RedisConnector>>,
    pub checker: Checker,
    pub password_hash: Form,
    pub health: Arc<Health>,
    pub auth: Option<Command>,
    pub superuser: Option<Command>,
    pub acl: Option<Command>,
}

impl RedisBackend {
    /// Asks; `None` = the client has no user name, which the command wants.
    async fn ask(
        &self,
        command: &Command,
        question: &Question<'_>,
        trace: &mut Trace,
    ) -> Result<Option<(Query, Value)>, Fault> {
        let Some(query) = command.fill(question) else {
            trace.note(|| "not asked: there is no user name".into());
            return Ok(None);
        };
        trace.note(|| query.to_string());
        let reply = self.pool.ask(&query).await?;
        Ok(Some((query, reply)))
    }

    async fn is_superuser(&self, question: &Question<'_>, trace: &mut Trace) -> bool {
        let Some(command) = &self.superuser else {
            return false;
        };
        match self.ask(command, question, trace).await {
            Ok(Some((_, reply))) => {
                let yes = says_yes(&reply);
                trace.note(|| if yes { "a superuser" } else { "no superuser" }.into());
                yes
            }
            Ok(None) => false,
            Err(fault) => {
                let why = format!("no superuser: {}", fault.why());
                self.health.complain(&why);
                trace.note(|| why);
                false
            }
        }
    }

    /// Whether the password is the one that Redis has; `None` = it has none.
    async fn is_right(
        &self,
        password: &[u8],
        reply: &Value,
        trace: &mut Trace,
    ) -> Result<Option<bool>, Fault> {
        let (hash, salt) = match Stored::read(reply).map_err(refused)? {
            Stored::Nothing => {
                trace.note(|| "no such user".into());
                return Ok(None);
            }
            Stored::Password { hash, salt } => (hash, salt),
        };
        // To leave the salt out would compare the password with something that was not made from it.
        let form = self.password_hash;
        // The slow forms have theirs within, and know what to do with another.
        let unsalted = !form.wants_salt() && !form.is_slow();
        if unsalted && salt.is_some() {
            let why = format!(
                "auth_cmd gives a salt, for which password_hash = {form} has no place: its users are refused"
            );
            self.health.complain(&why);
            trace.note(|| why);
            return Ok(Some(false));
        }
        let right = self
            .checker
            .is_right(password, Some(&hash), salt.as_deref(), trace)
            .await?;
        Ok(Some(right))
    }
}

fn refused(Strange(why): Strange) -> Fault {
    Fault::Refused(why)
}

impl Backend for RedisBackend {
    async fn login(
        &self,
        question: &Question<'_>,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let Some(command) = &self.auth else {
            return Ok(AuthAnswer::Ignore);
        };
        let Some((_, reply)) = self.ask(command, question, trace).await? else {
            return Ok(AuthAnswer::Ignore);
        };
        match self.is_right(password, &reply, trace).await? {
            None => Ok(AuthAnswer::Ignore),
            Some(false) => Ok(AuthAnswer::Deny),
            Some(true) => {
                let superuser = self.is_superuser(question, trace).await;
                Ok(AuthAnswer::Allow { superuser })
            }
        }
    }

    async fn act(
        &self,
        question: &Question<'_>,
        access: Access,
        topic: &str,
        trace: &mut Trace,
    ) -> Result<AclAnswer, Fault> {
        let Some(command) = &self.acl else {
            return Ok(AclAnswer::Ignore);
        };
        let Some((query, reply)) = self.ask(command, question, trace).await? else {
            return Ok(AclAnswer::Ignore);
        };
        let notation = match command.lists_members() {
            true => Notation::Set,
            false => Notation::Hash,
        };
        let decision = acl::decide(&reply, notation, question, access, topic).map_err(refused)?;
        if let Some(odd) = decision.odd {
            let odd = format!("a rule of `{query}` is passed over: {odd}");
            self.health.complain(&odd);
            trace.note(|| odd);
        }
        trace.note(|| decision.why);
        Ok(decision.answer)
    }
}
