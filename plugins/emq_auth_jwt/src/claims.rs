//! What a token must claim, and what it grants.

use emqttd_backend::{Question, Template};
use emqttd_plugin_sdk::rule::{Placeholders, TopicPattern};
use emqttd_plugin_sdk::{Access, ClientRef};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Topic filters of one token.
const MOST_FILTERS: usize = 1000;

/// What the keys ask of claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// by how much clocks may differ
    pub leeway: Duration,
    /// `iss`
    pub issuer: Option<String>,
    /// `aud`, or one of them
    pub audience: Option<String>,
    /// claims and the values they must have
    pub verify: Vec<(String, Template)>,
    /// claim that is `true` for superusers
    pub superuser: Option<String>,
    /// claim with topic filters
    pub acl: Option<String>,
}

/// What a token grants.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    pub superuser: bool,
    /// `None` = it does not say
    pub acl: Option<Arc<Acl>>,
    /// how long it lasts, leeway included; `None` = for ever
    pub lasts: Option<Duration>,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its claims are in order")?;
        match self.lasts {
            Some(left) => write!(f, " for {} s", left.as_secs())?,
            None => f.write_str(" for ever")?,
        }
        if self.superuser {
            f.write_str("; a superuser")?;
        }
        match &self.acl {
            Some(acl) => write!(f, "; with {acl}"),
            None => Ok(()),
        }
    }
}

impl Rules {
    /// Whether the claims are those of this client, `now` being the time since 1970.
    ///
    /// # Errors
    /// Why not, without their values.
    pub fn check(
        &self,
        claims: &Map<String, Value>,
        question: &Question<'_>,
        now: Duration,
    ) -> Result<Grant, String> {
        let leeway = self.leeway.as_secs_f64();
        let now = now.as_secs_f64();
        let mut lasts = None;
        if let Some(expiry) = time(claims, "exp")? {
            let left = expiry + leeway - now;
            if left <= 0.0 {
                return Err("the token has expired".into());
            }
            // A date that no clock will show is none.
            lasts = Duration::try_from_secs_f64(left).ok();
        }
        if time(claims, "nbf")?.is_some_and(|begin| now + leeway < begin) {
            return Err("the token is not valid yet".into());
        }
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err("iss is not auth.jwt.issuer".into());
        }
        if let Some(audience) = &self.audience
            && !is_for(claims.get("aud"), audience)
        {
            return Err("aud does not have auth.jwt.audience".into());
        }
        for (claim, wanted) in &self.verify {
            let wanted = wanted.fill(question, <[u8]>::to_vec);
            let found = claims.get(claim).and_then(text);
            if wanted.is_none() || found.map(String::into_bytes) != wanted {
                return Err(format!(
                    "{claim} is not what auth.jwt.verify_claims asks for"
                ));
            }
        }
        let claim = |name: &Option<String>| claims.get(name.as_ref()?);
        let acl = claim(&self.acl).map(Acl::parse).transpose()?.map(Arc::new);
        Ok(Grant {
            superuser: claim(&self.superuser) == Some(&Value::Bool(true)),
            acl,
            lasts,
        })
    }
}

/// A NumericDate; `None` = the claim is absent.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, String> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(format!("{name} is no number")),
    }
}

fn is_for(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(all)) => all.iter().any(|one| one == audience),
        _ => false,
    }
}

/// A value that can be compared with a text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// All that a client may do with topics: what is not in it is forbidden.
#[derive(Debug, Default)]
pub(crate) struct Acl {
    publish: Vec<TopicPattern>,
    subscribe: Vec<TopicPattern>,
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (publish, subscribe) = (self.publish.len(), self.subscribe.len());
        write!(
            f,
            "{publish} filters to publish to, {subscribe} to subscribe to"
        )
    }
}

impl Acl {
    /// `{"pub": [...], "sub": [...], "all": [...]}`; `%u` and `%c` may stand anywhere in a filter.
    fn parse(claim: &Value) -> Result<Acl, String> {
        let Value::Object(lists) = claim else {
            return Err("the ACL of the token is no object".into());
        };
        let mut acl = Acl::default();
        for (name, list) in lists {
            let (publish, subscribe) = match &**name {
                "pub" => (true, false),
                "sub" => (false, true),
                "all" => (true, true),
                _ => return Err("the ACL of the token has more than pub, sub and all".into()),
            };
            let Value::Array(filters) = list else {
                return Err("the ACL of the token has something that is no list".into());
            };
            for filter in filters {
                let Value::String(filter) = filter else {
                    return Err("the ACL of the token has a filter that is no text".into());
                };
                let pattern =
                    TopicPattern::parse(filter, Placeholders::Anywhere).map_err(|error| {
                        format!("the ACL of the token has no filter {filter:?}: {error}")
                    })?;
                if publish {
                    acl.publish.push(pattern.clone());
                }
                if subscribe {
                    acl.subscribe.push(pattern);
                }
            }
        }
        match acl.publish.len() + acl.subscribe.len() > MOST_FILTERS {
            true => Err(format!(
                "the ACL of the token has more than {MOST_FILTERS} filters"
            )),
            false => Ok(acl),
        }
    }

    /// Whether it has this.
    pub fn allows(&self, who: &ClientRef<'_>, access: Access, topic: &str) -> bool {
        let patterns = match access {
            Access::Publish => &self.publish,
            Access::Subscribe => &self.subscribe,
        };
        patterns
            .iter()
            .any(|pattern| pattern.matches(who, true, topic))
    }
}
