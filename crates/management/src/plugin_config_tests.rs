#![allow(clippy::unwrap_used)]
use super::*;
use crate::PluginControl;
use crate::testing::{PLUGIN, Site};

const URL: &str = "web.hook.api.url";
const RULE: &str = "web.hook.rule.client.connected.1";

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

fn set(site: &Site, list: &[(&str, &str)]) -> Result<Applied, PluginConfigError> {
    site.core.set_plugin_keys(PLUGIN, &pairs(list))
}

fn key(site: &Site, name: &str) -> Option<PluginKey> {
    let keys = site.core.plugin_keys(PLUGIN).unwrap();
    keys.into_iter().find(|key| key.key == name)
}

/// A key of the plugin that it reads at its start.
fn cold(site: &Site) -> String {
    let keys = site.core.plugin_keys(PLUGIN).unwrap();
    let found = keys
        .into_iter()
        .find(|key| !key.live && key.datatype == "duration");
    found.unwrap().key
}

#[test]
fn all_that_a_form_needs() {
    let site = Site::with_plugin();
    let url = key(&site, URL).unwrap();
    assert_eq!(url.value.as_deref(), Some("http://127.0.0.1:1"));
    assert!(url.live && url.required && !url.secret);
    assert_eq!(url.datatype, "string");
    assert!(!url.desc.is_empty());
    // Of EMQ, and not loaded.
    let keys = site.core.plugin_keys("emq_retainer").unwrap();
    let storage = &keys[0];
    assert_eq!(storage.key, "retainer.storage_type");
    assert_eq!(storage.choices, ["ram", "disc", "disc_only"]);
    assert_eq!(storage.value, storage.default);
    // By an earlier name.
    assert_eq!(site.core.plugin_keys("emq_mod_retainer"), Some(keys));
    assert_eq!(site.core.plugin_keys("nope"), None);
    let answer = site.core.set_plugin_keys("nope", &[]);
    assert_eq!(answer, Err(PluginConfigError::NotFound));
}

#[test]
fn secrets_are_masked_and_a_mask_changes_nothing() {
    let site = Site::new();
    let name = "auth.mysql.password";
    let mysql = "emq_auth_mysql";
    let set = |value: &str| {
        let pairs = pairs(&[(name, value)]);
        site.core.set_plugin_keys(mysql, &pairs)
    };
    let shown = || {
        let keys = site.core.plugin_keys(mysql).unwrap();
        let found = keys.into_iter().find(|key| key.key == name).unwrap();
        assert!(found.secret);
        found.value
    };
    let is = || site.core.config.lock().get(name).map(str::to_owned);
    assert_eq!(shown().as_deref(), Some(""));
    assert_eq!(set("secret"), Ok(Applied::Kept));
    assert_eq!(shown().as_deref(), Some(MASK));
    assert_eq!(is().as_deref(), Some("secret"));
    assert_eq!(set(MASK), Ok(Applied::Kept));
    assert_eq!(is().as_deref(), Some("secret"));
    let lines = site.core.plugin_lines(
        mysql,
        &pairs(&[(name, "secret"), ("auth.mysql.server", "db:3306")]),
    );
    assert_eq!(
        lines,
        "auth.mysql.password = ******\nauth.mysql.server = db:3306\n"
    );
}

#[test]
fn as_it_runs_when_it_can() {
    let site = Site::with_plugin();
    assert_eq!(set(&site, &[(URL, "http://a")]), Ok(Applied::Live));
    assert_eq!(site.plugins.value(URL).as_deref(), Some("http://a"));
    // It has that value: nobody is told anything.
    site.plugins.refuse(Some("no"));
    assert_eq!(set(&site, &[(URL, "http://a")]), Ok(Applied::Live));
    let refused = set(&site, &[(URL, "http://b")]);
    assert_eq!(refused, Err(PluginConfigError::Refused("no".into())));
    let url = key(&site, URL).unwrap();
    assert_eq!(url.value.as_deref(), Some("http://a"));
    // What was changed outlasts loading it again, and not the broker.
    site.plugins.reload(PLUGIN).unwrap();
    assert_eq!(site.plugins.value(URL).as_deref(), Some("http://a"));
}

#[test]
fn unloaded_and_loaded_when_it_cannot() {
    let site = Site::with_plugin();
    let cold = cold(&site);
    let rule = r#"{"action": "on_client_connected"}"#;
    let done = set(&site, &[(&cold, "77s"), (RULE, rule), (URL, "http://a")]);
    assert_eq!(done, Ok(Applied::Restarted));
    assert_eq!(site.plugins.value(&cold).as_deref(), Some("77s"));
    assert_eq!(site.plugins.value(RULE).as_deref(), Some(rule));
    assert_eq!(site.plugins.value(URL).as_deref(), Some("http://a"));
    let shown = key(&site, RULE).unwrap();
    assert_eq!(shown.value.as_deref(), Some(rule));
    // The values that are there already do not stand in the way of one that it takes as it runs.
    let done = set(&site, &[(&cold, "77s"), (URL, "http://b")]);
    assert_eq!(done, Ok(Applied::Live));
}

#[test]
fn one_that_does_not_start_runs_with_what_it_had() {
    let site = Site::with_plugin();
    let cold = cold(&site);
    let before = key(&site, &cold).unwrap().value;
    set(&site, &[(URL, "http://a")]).unwrap();
    site.plugins.cannot_start_with("77s");
    let done = set(&site, &[(&cold, "77s"), (URL, "http://b")]);
    let why = "it cannot; it runs with the values it had";
    assert_eq!(done, Err(PluginConfigError::Refused(why.into())));
    assert!(site.core.runs(PLUGIN));
    assert_eq!(key(&site, &cold).unwrap().value, before);
    assert_eq!(site.plugins.value(URL).as_deref(), Some("http://a"));
    assert_eq!(set(&site, &[(URL, "http://c")]), Ok(Applied::Live));
}

#[test]
fn all_or_none() {
    let site = Site::with_plugin();
    let cold = cold(&site);
    for (list, part) in [
        (
            vec![(URL, "http://b"), (cold.as_str(), "soon")],
            cold.as_str(),
        ),
        (
            vec![(URL, "http://b"), ("mqtt.acl_nomatch", "deny")],
            "is no key of this plugin",
        ),
        (
            vec![(URL, "http://b"), ("web.hook.none", "1")],
            "web.hook.none is no key",
        ),
    ] {
        let Err(PluginConfigError::Refused(why)) = set(&site, &list) else {
            panic!("{list:?}");
        };
        assert!(why.contains(part), "{why}");
        let url = key(&site, URL).unwrap();
        assert_eq!(url.value.as_deref(), Some("http://127.0.0.1:1"));
    }
}

#[test]
fn one_that_does_not_run_has_them_when_it_is_loaded() {
    let site = Site::with_plugin();
    site.plugins.unload(PLUGIN).unwrap();
    assert_eq!(set(&site, &[(URL, "http://a")]), Ok(Applied::Kept));
    let url = key(&site, URL).unwrap();
    assert_eq!(url.value.as_deref(), Some("http://a"));
    site.plugins.load(PLUGIN).unwrap();
    assert_eq!(site.plugins.value(URL).as_deref(), Some("http://a"));
}

#[test]
fn two_changes_at_once_are_one_after_the_other() {
    let site = Site::with_plugin();
    let cold = cold(&site);
    site.plugins.cannot_start_with("77s");
    let core = site.core.clone();
    let (told, other) = std::sync::mpsc::channel();
    let (done, waited) = std::sync::mpsc::channel();
    site.plugins.meanwhile(move || {
        std::thread::spawn(move || {
            let answer = core.set_plugin_keys(PLUGIN, &pairs(&[(URL, "http://other")]));
            told.send(answer).unwrap();
            done.send(()).unwrap();
        });
        // It must not get through now: its value would go with those that are taken back.
        let early = waited.recv_timeout(std::time::Duration::from_millis(200));
        assert!(early.is_err());
    });
    assert!(set(&site, &[(&cold, "77s")]).is_err());
    assert_eq!(other.recv().unwrap(), Ok(Applied::Live));
    assert_eq!(site.plugins.value(URL).as_deref(), Some("http://other"));
    let url = key(&site, URL).unwrap();
    assert_eq!(url.value.as_deref(), Some("http://other"));
}

#[test]
fn one_that_was_just_unloaded_stays_so() {
    let site = Site::with_plugin();
    let cold = cold(&site);
    let plugins = std::sync::Arc::clone(&site.plugins);
    site.plugins.vanish();
    assert_eq!(set(&site, &[(&cold, "77s")]), Ok(Applied::Kept));
    assert!(!site.core.runs(PLUGIN));
    plugins.load(PLUGIN).unwrap();
    assert_eq!(plugins.value(&cold).as_deref(), Some("77s"));
}
