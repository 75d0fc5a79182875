//! What can be loaded anew while the broker runs: `acl`, `certs`, libraries, and what plugins offer.

use crate::Manager;
use crate::life::Source;
use emqttd_plugin_sdk::Reloadable;

impl Manager {
    /// All of it, each name once.
    pub fn reloadables(&self) -> Vec<Reloadable> {
        let broker = &self.shared.broker;
        let mut all = Vec::new();
        if let Some(file) = broker.settings().mqtt.acl_file.clone() {
            all.push(Reloadable {
                name: "acl".into(),
                files: vec![file],
            });
        }
        let certs = broker.cert_files();
        if !certs.is_empty() {
            all.push(Reloadable {
                name: "certs".into(),
                files: certs,
            });
        }
        for life in self.lives() {
            if let Source::Library { path, .. } = &life.source {
                all.push(Reloadable {
                    name: life.guard.name.to_string(),
                    files: vec![path.clone()],
                });
            }
            for (what, _) in life.host.reloads() {
                if !all.iter().any(|other| other.name == what.name) {
                    all.push(what);
                }
            }
        }
        all
    }

    /// Loads one of them anew; the old stays when that fails. Blocks.
    ///
    /// # Errors
    /// `nofile` when there is no such thing; else why it stays as it was.
    pub fn reload_named(&self, name: &str) -> Result<(), String> {
        let broker = &self.shared.broker;
        match name {
            "acl" if broker.settings().mqtt.acl_file.is_some() => return broker.acl_reload(),
            "certs" if !broker.cert_files().is_empty() => return broker.reload_certs(),
            _ => {}
        }
        let lives = self.lives();
        let library = lives
            .iter()
            .any(|life| *life.guard.name == *name && matches!(life.source, Source::Library { .. }));
        if library {
            let done = self.reload_now(name).map_err(|error| error.to_string())?;
            for note in done.notes {
                log::warn!("plugin {name}: {note}");
            }
            return Ok(());
        }
        let of_plugin = lives.iter().find_map(|life| {
            let offered = life.host.reloads();
            let found = offered.into_iter().find(|(what, _)| what.name == name);
            found.map(|(_, reload)| reload)
        });
        of_plugin.ok_or("nofile")?.run()
    }
}
