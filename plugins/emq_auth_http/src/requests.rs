//! The three requests that the keys describe.

use crate::HEAD;
use crate::params::Params;
use bytes::Bytes;
use emqttd_backend::{Question, Var};
use emqttd_http_client::Url;
use emqttd_plugin_sdk::{Config, StartError};

/// What may stand in `auth_req.params`.
pub(crate) const AUTH_VARS: &[Var] = &[Var::Username, Var::Clientid, Var::Peer, Var::Password];
/// What may stand in `super_req.params`.
pub(crate) const SUPER_VARS: &[Var] = &[Var::Username, Var::Clientid, Var::Peer];
/// What may stand in `acl_req.params`.
pub(crate) const ACL_VARS: &[Var] = &[
    Var::Username,
    Var::Clientid,
    Var::Peer,
    Var::Access,
    Var::Topic,
];

/// How the service is asked.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    /// may this client come in?
    pub auth: Option<Template>,
    /// is it a superuser?
    pub superuser: Option<Template>,
    /// may it do that?
    pub acl: Option<Template>,
}

/// A request with places for what is asked about.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub url: Url,
    pub method: Method,
    params: Params,
}

/// Where the parameters go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// behind the `?`
    Get,
    /// `application/x-www-form-urlencoded`
    PostForm,
    /// `application/json`
    PostJson,
}

impl Method {
    /// As HTTP calls it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::PostForm | Method::PostJson => "POST",
        }
    }
}

/// A request with all in its place.
pub(crate) struct Filled {
    pub url: Url,
    pub post: Option<(&'static str, Bytes)>,
}

impl Requests {
    /// Reads the keys; a URL that is absent or empty is never asked.
    pub fn read(config: &Config) -> Result<Requests, StartError> {
        let who = "clientid=%c,username=%u";
        let read = |name, method, params, vars| Template::read(config, name, method, params, vars);
        Ok(Requests {
            auth: read("auth_req", "post", &format!("{who},password=%P"), AUTH_VARS)?,
            superuser: read("super_req", "post", who, SUPER_VARS)?,
            acl: read(
                "acl_req",
                "get",
                "access=%A,username=%u,clientid=%c,ipaddr=%a,topic=%t",
                ACL_VARS,
            )?,
        })
    }

    /// All URLs.
    pub fn urls(&self) -> impl Iterator<Item = &Url> {
        let all = [&self.auth, &self.superuser, &self.acl];
        all.into_iter().flatten().map(|template| &template.url)
    }
}

impl Template {
    /// One of the three; `method` and `params` count where the file has none.
    fn read(
        config: &Config,
        name: &str,
        method: &str,
        params: &str,
        vars: &[Var],
    ) -> Result<Option<Template>, StartError> {
        let key = |more: &str| format!("{HEAD}.{name}{more}");
        let entry = config.entry(&key(""));
        let Some(entry) = entry.filter(|entry| !entry.value.trim().is_empty()) else {
            return Ok(None);
        };
        let url = Url::parse(&entry.value).map_err(|what| entry.refused(what))?;
        let json = config.text(&format!("{HEAD}.content_type")) == Some("json");
        let method = match config.text(&key(".method")).unwrap_or(method).trim() {
            "get" => Method::Get,
            "post" if json => Method::PostJson,
            "post" => Method::PostForm,
            _ => {
                let entry = config.entry(&key(".method")).unwrap_or(entry);
                return Err(entry.refused("takes `post` or `get`"));
            }
        };
        let entry = config.entry(&key(".params"));
        let params = Params::parse(entry.map_or(params, |entry| &entry.value), vars);
        let params = params.map_err(|what| match entry {
            Some(entry) => entry.refused(what),
            None => StartError(what),
        })?;
        Ok(Some(Template {
            url,
            method,
            params,
        }))
    }

    /// The request about that.
    ///
    /// # Errors
    /// Why it cannot be put: what a client calls itself does not fit.
    pub fn fill(&self, question: &Question<'_>) -> Result<Filled, String> {
        let (kind, body) = match self.method {
            Method::Get => {
                return Ok(Filled {
                    url: self.url.with_query(&self.params.form(question))?,
                    post: None,
                });
            }
            Method::PostForm => (
                "application/x-www-form-urlencoded",
                self.params.form(question).into_bytes(),
            ),
            Method::PostJson => {
                let body = self.params.json(question);
                let why = "cannot be asked: a password that is not UTF-8 has no place in JSON";
                ("application/json", body.ok_or(why)?)
            }
        };
        Ok(Filled {
            url: self.url.clone(),
            post: Some((kind, body.into())),
        })
    }

    /// The request about that, for people.
    pub fn shown(&self, question: &Question<'_>) -> String {
        let params = self.params.shown(question);
        format!("{} {} {params}", self.method.name(), self.url)
    }
}
