//! Who may come in, and what they may do: the authentication and ACL chains (sheet 6).
//!
//! A module decides, says that the question is not its own, or is unavailable. Unavailable ends the
//! chain and refuses: it never becomes "allowed" because somebody else would have said so.

use crate::acl_file::{AclFile, Who};
use crate::info::ChainStep;
use arc_swap::{ArcSwap, ArcSwapOption};
use emqttd_config::{AllowAnonymous, Mqtt};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::acl_file::Access;

/// What a module may look at.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// client identifier
    pub clientid: &'a str,
    /// user name, that of the certificate where the listener says so
    pub username: Option<&'a str>,
    /// peer address
    pub ip: IpAddr,
}

/// Answer of an authentication module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthAnswer {
    /// Accepted; superusers pass every ACL.
    Allow {
        /// passes every ACL
        superuser: bool,
    },
    /// Refused.
    Deny,
    /// Not mine: the next module is asked.
    Ignore,
    /// Cannot be known now: refused.
    Unavailable,
}

/// Answer of an ACL module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AclAnswer {
    Allow,
    Deny,
    /// Not mine: the next module is asked.
    Ignore,
    /// Cannot be known now: refused.
    Unavailable,
}

/// An authentication module.
pub trait AuthModule: Send + Sync {
    /// Its name, as the plugin's.
    fn name(&self) -> &str;
    /// Decides. Runs on an event loop: must not block.
    fn check(&self, request: &AccessRequest<'_>, password: Option<&[u8]>) -> AuthAnswer;
}

/// An ACL module.
pub trait AclModule: Send + Sync {
    /// Its name, as the plugin's.
    fn name(&self) -> &str;
    /// Decides. Runs on an event loop: must not block.
    fn check(&self, request: &AccessRequest<'_>, access: Access, topic: &str) -> AclAnswer;
}

/// One step of an enhanced authentication exchange (MQTT 5, section 4.12).
#[derive(Debug, PartialEq, Eq)]
pub enum ExchangeStep {
    /// More is needed; the data goes to the client.
    Continue(Vec<u8>),
    /// Accepted, with data for the client.
    Success {
        /// for the client; may be empty
        data: Vec<u8>,
        /// passes every ACL
        superuser: bool,
    },
    /// Refused.
    Fail,
}

/// A running exchange with one client.
pub trait Exchange: Send {
    /// Takes the client's authentication data.
    fn step(&mut self, data: &[u8]) -> ExchangeStep;
}

/// A mechanism of enhanced authentication, such as SCRAM-SHA-256.
pub trait AuthMechanism: Send + Sync {
    /// The Authentication Method it answers to.
    fn method(&self) -> &str;
    /// Begins an exchange.
    fn begin(&self, request: &AccessRequest<'_>) -> Box<dyn Exchange>;
}

type Chain<T> = ArcSwap<Vec<(i32, Arc<T>)>>;

/// The chains in force.
pub struct AccessControl {
    auth: Chain<dyn AuthModule>,
    acl: Chain<dyn AclModule>,
    mechanisms: ArcSwap<Vec<Arc<dyn AuthMechanism>>>,
    file: ArcSwapOption<AclFile>,
    generation: AtomicU64,
}

/// Higher sequence first; among equals the latest registered first (sheet 6.1).
fn put<T: ?Sized>(chain: &Chain<T>, sequence: i32, module: &Arc<T>) {
    chain.rcu(|old| {
        let mut chain = Vec::clone(old);
        let at = chain.partition_point(|(s, _)| *s > sequence);
        chain.insert(at, (sequence, Arc::clone(module)));
        chain
    });
}

impl AccessControl {
    /// Chains without modules; `acl_file` is read now and must be readable.
    pub fn new(acl_file: Option<&Path>) -> Result<AccessControl, String> {
        let file = acl_file.map(read_acl_file).transpose()?;
        Ok(AccessControl {
            auth: ArcSwap::default(),
            acl: ArcSwap::default(),
            mechanisms: ArcSwap::default(),
            file: ArcSwapOption::from_pointee(file),
            generation: AtomicU64::new(0),
        })
    }

    /// Adds an authentication module.
    pub fn add_auth(&self, sequence: i32, module: &Arc<dyn AuthModule>) {
        put(&self.auth, sequence, module);
    }

    /// Adds an ACL module; decisions made so far are asked for again.
    pub fn add_acl(&self, sequence: i32, module: &Arc<dyn AclModule>) {
        put(&self.acl, sequence, module);
        self.forget();
    }

    /// Adds a mechanism of enhanced authentication.
    pub fn add_mechanism(&self, mechanism: &Arc<dyn AuthMechanism>) {
        self.mechanisms.rcu(|old| {
            let mut all = Vec::clone(old);
            all.push(Arc::clone(mechanism));
            all
        });
    }

    /// The mechanism of that name.
    pub fn mechanism(&self, method: &str) -> Option<Arc<dyn AuthMechanism>> {
        self.mechanisms
            .load()
            .iter()
            .find(|m| m.method() == method)
            .cloned()
    }

    /// Changes whenever a decision made before may no longer hold.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every cached decision void.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Reads acl.conf again; when it cannot be read the old rules stay.
    pub fn reload(&self, path: Option<&Path>) -> Result<(), String> {
        let file = path.map(read_acl_file).transpose()?;
        self.file.store(file.map(Arc::new));
        self.forget();
        Ok(())
    }

    /// Walks the authentication chain; `steps` gets each answer.
    pub fn authenticate(
        &self,
        request: &AccessRequest<'_>,
        password: Option<&[u8]>,
        mqtt: &Mqtt,
        mut steps: impl FnMut(ChainStep),
    ) -> AuthAnswer {
        for (_, module) in self.auth.load().iter() {
            let answer = module.check(request, password);
            steps(ChainStep {
                module: module.name().into(),
                answer: auth_text(answer).into(),
                detail: String::new(),
            });
            if answer != AuthAnswer::Ignore {
                return answer;
            }
        }
        let (allow, detail) = match mqtt.allow_anonymous {
            AllowAnonymous::True => (true, "true"),
            AllowAnonymous::False => (false, "false"),
            AllowAnonymous::Local => (request.ip.to_canonical().is_loopback(), "local"),
        };
        let answer = if allow {
            AuthAnswer::Allow { superuser: false }
        } else {
            AuthAnswer::Deny
        };
        steps(ChainStep {
            module: "mqtt.allow_anonymous".into(),
            answer: auth_text(answer).into(),
            detail: format!("mqtt.allow_anonymous = {detail}, peer {}", request.ip),
        });
        answer
    }

    /// Walks the ACL chain: modules, then acl.conf, then `mqtt.acl_nomatch`.
    pub fn authorize(
        &self,
        request: &AccessRequest<'_>,
        access: Access,
        topic: &str,
        mqtt: &Mqtt,
        mut steps: Option<&mut Vec<ChainStep>>,
    ) -> bool {
        let mut step = |module: &str, answer: &str, detail: String| {
            if let Some(steps) = &mut steps {
                steps.push(ChainStep {
                    module: module.into(),
                    answer: answer.into(),
                    detail,
                });
            }
        };
        for (_, module) in self.acl.load().iter() {
            let answer = module.check(request, access, topic);
            step(module.name(), acl_text(answer), String::new());
            match answer {
                AclAnswer::Allow => return true,
                AclAnswer::Deny | AclAnswer::Unavailable => return false,
                AclAnswer::Ignore => {}
            }
        }
        if let Some(file) = &*self.file.load() {
            let who = Who {
                clientid: request.clientid,
                username: request.username,
                ip: Some(request.ip),
            };
            match file.check(&who, access, topic) {
                Some(decision) => {
                    let text = format!(
                        "line {}: {}",
                        decision.line,
                        file.rule_text(decision.line).unwrap_or_default()
                    );
                    step(
                        "acl_internal",
                        if decision.allow { "allow" } else { "deny" },
                        text,
                    );
                    return decision.allow;
                }
                None => step("acl_internal", "ignore", "no rule matches".into()),
            }
        }
        let nomatch = if mqtt.acl_nomatch_allow {
            "allow"
        } else {
            "deny"
        };
        step(
            "mqtt.acl_nomatch",
            nomatch,
            format!("mqtt.acl_nomatch = {nomatch}"),
        );
        mqtt.acl_nomatch_allow
    }
}

fn read_acl_file(path: &Path) -> Result<AclFile, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file = AclFile::parse(&text).map_err(|errors| {
        let lines: Vec<String> = errors
            .iter()
            .map(|e| format!("{}:{}:{}: {}", path.display(), e.line, e.column, e.message))
            .collect();
        lines.join("\n")
    })?;
    for warning in file.warnings() {
        log::warn!("{}: {warning}", path.display());
    }
    Ok(file)
}

fn auth_text(answer: AuthAnswer) -> &'static str {
    match answer {
        AuthAnswer::Allow { superuser: true } => "allow (superuser)",
        AuthAnswer::Allow { superuser: false } => "allow",
        AuthAnswer::Deny => "deny",
        AuthAnswer::Ignore => "ignore",
        AuthAnswer::Unavailable => "unavailable",
    }
}

fn acl_text(answer: AclAnswer) -> &'static str {
    match answer {
        AclAnswer::Allow => "allow",
        AclAnswer::Deny => "deny",
        AclAnswer::Ignore => "ignore",
        AclAnswer::Unavailable => "unavailable",
    }
}
