//! How MongoDB is asked about a client.

use crate::fields::{bytes, field};
use crate::rules::allows;
use crate::selector::Selector;
use crate::server::Server;
use crate::settings::{Rules, Superusers, Users};
use emqttd_backend::{Backend, Checker, Fault, Health, Question, Trace};
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer};
use mongodb::bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Documents with rules for one client that are looked at; whoever has more has made a mistake in a selector.
const MOST_RULES: u32 = 1000;

/// Finds users, superusers and rules.
#[derive(Debug)]
pub struct Lookup {
    pub server: Server,
    pub checker: Checker,
    pub users: Users,
    pub superusers: Option<Superusers>,
    pub rules: Option<Rules>,
    pub health: Arc<Health>,
}

impl Backend for Lookup {
    async fn login(
        &self,
        question: &Question<'_>,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let users = &self.users;
        let found = self.first(&users.collection, &users.selector, question, trace);
        let Some(user) = found.await? else {
            return Ok(AuthAnswer::Ignore);
        };
        let read = |path: &str| {
            let value = field(&user, path).map_err(Fault::Refused)?;
            Ok(value.and_then(bytes))
        };
        let stored = read(&users.password)?;
        let salt = users.salt.as_deref().map(read).transpose()?.flatten();
        match self.checker.is_right(password, stored, salt, trace).await? {
            true => Ok(AuthAnswer::Allow {
                superuser: self.is_superuser(question, &user, trace).await,
            }),
            false => Ok(AuthAnswer::Deny),
        }
    }

    async fn act(
        &self,
        question: &Question<'_>,
        access: Access,
        topic: &str,
        trace: &mut Trace,
    ) -> Result<AclAnswer, Fault> {
        let Some(rules) = &self.rules else {
            return Ok(AclAnswer::Ignore);
        };
        let filters = rules
            .selectors
            .iter()
            .filter_map(|one| one.filter(question));
        let filter = match any_of(filters.collect()) {
            Some(filter) => filter,
            None => {
                trace.note(|| "not asked: the client has no user name".into());
                return Ok(AclAnswer::Ignore);
            }
        };
        trace.note(|| format!("find in {} {filter}", rules.collection));
        let who = question.client.by_name();
        let odd = |what: &str| {
            self.health
                .complain(&format!("{}: {what}", rules.collection))
        };
        let (mut sound, mut allowed) = (0, false);
        let look = |document: &RawDocument| {
            match allows(document, &who, access, topic, odd) {
                Ok(yes) => {
                    sound += 1;
                    allowed |= yes;
                }
                Err(why) => odd(&format!("a document with rules is passed over: {why}")),
            }
            match allowed {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let seen = self
            .server
            .each(&rules.collection, filter, MOST_RULES, look)
            .await?;
        if seen == MOST_RULES && !allowed {
            odd(&format!(
                "of more than {MOST_RULES} documents with rules for one client the others are passed over"
            ));
        }
        trace.note(|| match (sound, allowed) {
            (_, true) => "a document allows it".into(),
            (0, false) if seen > 0 => format!("{}, none of which makes sense", documents(seen)),
            (_, false) if seen > 0 => format!("{}, none of which allows it", documents(seen)),
            _ => documents(0),
        });
        Ok(match (sound, allowed) {
            (_, true) => AclAnswer::Allow,
            (0, false) => AclAnswer::Ignore,
            (_, false) => AclAnswer::Deny,
        })
    }
}

impl Lookup {
    async fn first(
        &self,
        collection: &str,
        selector: &Selector,
        question: &Question<'_>,
        trace: &mut Trace,
    ) -> Result<Option<RawDocumentBuf>, Fault> {
        let Some(filter) = selector.filter(question) else {
            return Ok(None);
        };
        trace.note(|| format!("find in {collection} {filter}"));
        let found = self.server.first(collection, filter).await?;
        trace.note(|| documents(found.is_some().into()));
        Ok(found)
    }

    /// Who is none, or cannot be asked about, comes in without being one.
    async fn is_superuser(
        &self,
        question: &Question<'_>,
        user: &RawDocument,
        trace: &mut Trace,
    ) -> bool {
        let Some(query) = &self.superusers else {
            return false;
        };
        let value = |document: &RawDocument| field(document, &query.field).map(is_true);
        let same =
            query.collection == self.users.collection && query.selector == self.users.selector;
        let answer = match same {
            // One question instead of two with the same answer.
            true => value(user).map_err(Fault::Refused),
            false => match self
                .first(&query.collection, &query.selector, question, trace)
                .await
            {
                Ok(Some(document)) => value(&document).map_err(Fault::Refused),
                Ok(None) => Ok(false),
                Err(fault) => Err(fault),
            },
        };
        match answer {
            Ok(superuser) => {
                trace.note(|| format!("{}: {superuser}", query.field));
                superuser
            }
            Err(fault) => {
                self.health.complain(fault.why());
                trace.note(|| format!("no superuser: {}", fault.why()));
                false
            }
        }
    }
}

/// Only `true`: neither 1 nor "true".
fn is_true(value: Option<RawBsonRef<'_>>) -> bool {
    value == Some(RawBsonRef::Boolean(true))
}

/// A filter for what at least one of them matches; `None` = there is none.
fn any_of(mut filters: Vec<Document>) -> Option<Document> {
    match filters.len() {
        0 | 1 => filters.pop(),
        _ => Some(doc! {"$or": filters}),
    }
}

fn documents(n: u32) -> String {
    match n {
        0 => "no document".into(),
        1 => "1 document".into(),
        n => format!("{n} documents"),
    }
}
