//! What the directory is asked about a client, and what its answers mean.

use crate::connection::{Connections, Login, Query, Reply, code};
use crate::entry::{Entry, Place};
use crate::rights::Rights;
use crate::scheme::{self, Stored};
use crate::settings::{LdapSettings, Mode};
use emqttd_backend::{Backend, Checker, Fault, Health, Pool, Question, Trace};
use emqttd_password::Form;
use emqttd_plugin_sdk::{Access, AclAnswer, AuthAnswer, Context};
use std::sync::Arc;

/// Values of a password attribute that are tried.
const MOST_PASSWORDS: usize = 8;

/// The directory.
#[derive(Debug)]
pub struct Directory {
    pool: Pool<Connections>,
    health: Arc<Health>,
    mode: Mode,
    checker: Checker,
    superuser_attribute: Option<String>,
    rights: Rights,
    /// attributes that are asked for when a client comes in
    of_login: Arc<[String]>,
    /// and when it wants to do something
    of_rights: Arc<[String]>,
}

/// What a search came to.
#[derive(Debug)]
enum Found {
    Entry(Entry),
    Nothing,
    /// there is not even the place where it was looked for
    NoPlace,
    Several,
}

impl Directory {
    /// The one that `pool` leads to.
    pub fn new(
        ctx: &Context,
        settings: LdapSettings,
        health: &Arc<Health>,
        pool: Pool<Connections>,
    ) -> Directory {
        let (password, form) = match &settings.mode {
            Mode::Bind { .. } => (None, Form::Plain),
            Mode::Search {
                password_attribute,
                form,
                ..
            } => (Some(password_attribute.clone()), *form),
        };
        let of_login = password
            .into_iter()
            .chain(settings.superuser_attribute.clone());
        let of_rights = settings.rights.attributes().map(String::from);
        Directory {
            pool,
            health: Arc::clone(health),
            checker: Checker::new(ctx, form, health),
            of_login: of_login.collect(),
            of_rights: of_rights.collect(),
            mode: settings.mode,
            superuser_attribute: settings.superuser_attribute,
            rights: settings.rights,
        }
    }

    /// By a bind as the client.
    async fn bind(
        &self,
        place: Place,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let Some(login) = Login::new(&place.base, password) else {
            trace.note(|| "not asked: such a password cannot be one in LDAP".into());
            return Ok(AuthAnswer::Deny);
        };
        let reply = self.pool.ask(&Query::Bind(login)).await?;
        trace.note(|| format!("bind as {} at {}: {}", place.base, reply.server, reply.said));
        match reply.code {
            code::SUCCESS => {}
            // Most servers say the same of a wrong password and of a name that they do not know. One that there
            // cannot be, such as a single space, may be bad syntax to them.
            code::INVALID_CREDENTIALS
            | code::NO_SUCH_OBJECT
            | code::INVALID_DN_SYNTAX
            | code::INAPPROPRIATE_AUTHENTICATION
            | code::CONSTRAINT_VIOLATION
            | code::INSUFFICIENT_ACCESS_RIGHTS
            | code::UNWILLING_TO_PERFORM => return Ok(AuthAnswer::Deny),
            _ => {
                return Err(Fault::Refused(format!(
                    "a bind as a client: {}",
                    reply.said
                )));
            }
        }
        let superuser = match self.superuser_attribute {
            None => false,
            Some(_) => self.has_superuser_entry(place, trace).await,
        };
        Ok(AuthAnswer::Allow { superuser })
    }

    /// For a client that is in already: what cannot be found out makes nobody a superuser.
    async fn has_superuser_entry(&self, place: Place, trace: &mut Trace) -> bool {
        match self.search(place, &self.of_login, trace).await {
            Ok(Found::Entry(entry)) => self.is_superuser(&entry, trace),
            Ok(_) => false,
            Err(fault) => {
                trace.note(|| format!("no superuser: {}", fault.why()));
                self.health.complain(fault.why());
                false
            }
        }
    }

    fn is_superuser(&self, entry: &Entry, trace: &mut Trace) -> bool {
        let Some(attribute) = &self.superuser_attribute else {
            return false;
        };
        let is_one = |value: &&[u8]| *value == b"1" || value.eq_ignore_ascii_case(b"TRUE");
        let superuser = entry.values(attribute).iter().any(is_one);
        trace.note(|| {
            let what = if superuser { "a" } else { "no" };
            format!("{attribute}: {what} superuser")
        });
        superuser
    }

    /// By the password in the client's entry.
    async fn compare(
        &self,
        place: Place,
        attribute: &str,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let entry = match self.search(place, &self.of_login, trace).await? {
            Found::Entry(entry) => entry,
            Found::Nothing => return Ok(AuthAnswer::Ignore),
            Found::NoPlace | Found::Several => return Ok(AuthAnswer::Deny),
        };
        let values = entry.values(attribute);
        if values.is_empty() {
            trace.note(|| format!("it has no attribute {attribute}"));
            self.health.complain(&format!(
                "{:?} has no attribute {attribute} that the broker may read: its client is refused",
                entry.dn
            ));
            return Ok(AuthAnswer::Deny);
        }
        for value in values.into_iter().take(MOST_PASSWORDS) {
            if self.is_right(&entry, value, password, trace).await? {
                let superuser = self.is_superuser(&entry, trace);
                return Ok(AuthAnswer::Allow { superuser });
            }
        }
        Ok(AuthAnswer::Deny)
    }

    async fn is_right(
        &self,
        entry: &Entry,
        stored: &[u8],
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<bool, Fault> {
        let (name, rest) = match Stored::of(stored) {
            Stored::Bare(stored) => {
                let stored = Some(stored);
                return self.checker.is_right(password, stored, None, trace).await;
            }
            Stored::Scheme { name, rest } => (name, rest),
        };
        let Some(right) = scheme::verify(name, rest, password) else {
            trace.note(|| format!("nobody here can check a password of scheme {{{name}}}"));
            self.health.complain(&format!(
                "the password of {:?} is of scheme {{{name}}}, which cannot be checked: its client is refused",
                entry.dn
            ));
            return Ok(false);
        };
        trace.note(|| {
            let right = if right { "right" } else { "wrong" };
            format!("password by {{{name}}}: {right}")
        });
        Ok(right)
    }

    async fn search(
        &self,
        place: Place,
        attributes: &Arc<[String]>,
        trace: &mut Trace,
    ) -> Result<Found, Fault> {
        let query = Query::Search {
            place,
            attributes: Arc::clone(attributes),
        };
        let reply = self.pool.ask(&query).await?;
        if let Query::Search { place, .. } = &query {
            trace.note(|| {
                format!(
                    "search for {} below {} at {}: {}, {} entries",
                    place.filter,
                    place.base,
                    reply.server,
                    reply.said,
                    reply.entries.len()
                )
            });
            if reply.code == code::SIZE_LIMIT_EXCEEDED || reply.entries.len() > 1 {
                self.health.complain(&format!(
                    "more than one entry below {:?} matches {:?}: the client is refused",
                    place.base, place.filter
                ));
                return Ok(Found::Several);
            }
        }
        self.found(reply)
    }

    fn found(&self, mut reply: Reply) -> Result<Found, Fault> {
        match reply.code {
            code::SUCCESS => Ok(reply.entries.pop().map_or(Found::Nothing, Found::Entry)),
            code::NO_SUCH_OBJECT | code::INVALID_DN_SYNTAX => Ok(Found::NoPlace),
            _ => Err(Fault::Refused(format!("a search: {}", reply.said))),
        }
    }
}

impl Backend for Directory {
    async fn login(
        &self,
        question: &Question<'_>,
        password: &[u8],
        trace: &mut Trace,
    ) -> Result<AuthAnswer, Fault> {
        let Some(place) = Place::of(&self.mode, question, trace) else {
            return Ok(AuthAnswer::Deny);
        };
        match &self.mode {
            Mode::Bind { .. } => self.bind(place, password, trace).await,
            Mode::Search {
                password_attribute, ..
            } => {
                self.compare(place, password_attribute, password, trace)
                    .await
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
        let Some(place) = Place::of(&self.mode, question, trace) else {
            return Ok(AclAnswer::Ignore);
        };
        let entry = match self.search(place, &self.of_rights, trace).await? {
            Found::Entry(entry) => entry,
            Found::Nothing | Found::NoPlace => return Ok(AclAnswer::Ignore),
            Found::Several => return Ok(AclAnswer::Deny),
        };
        let who = question.client.by_name();
        let odd = |what: &str| self.health.complain(what);
        let answer = self.rights.decide(&entry, &who, access, topic, odd);
        trace.note(|| {
            let counts = self.rights.attributes().map(|name| {
                let count = entry.values(name).len();
                format!("{name}: {count} values")
            });
            counts.collect::<Vec<_>>().join(", ")
        });
        Ok(answer)
    }
}
