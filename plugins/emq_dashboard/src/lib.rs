//! `emq_dashboard`: the web interface.
//!
//! Its pages are files, and all they show comes from the management API beside them, which is not this plugin's.

use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError, WebFile, WebListener};

/// What the pages may do: run the scripts that came with them, and speak to this host and to MQTT listeners. The
/// components set styles on elements; nothing else of a page is inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; manifest-src 'self'; connect-src 'self' ws: wss:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The pages, where they were there when the plugin was compiled.
static PAGES: &[WebFile] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page instead of them.
static WITHOUT_PAGES: &[WebFile] = &[WebFile {
    path: "/index.html",
    content_type: "text/html; charset=utf-8",
    content: include_bytes!("without_pages.html"),
    gzip: None,
    immutable: false,
}];

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_dashboard",
        env!("CARGO_PKG_VERSION"),
        "EMQ Web Dashboard",
        start,
    )
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let listeners = [
        ("dashboard:http", "dashboard.listener.http", false),
        ("dashboard:https", "dashboard.listener.https", true),
    ];
    let mut open = 0;
    for (protocol, key, tls) in listeners {
        if ctx
            .config()
            .text(key)
            .is_none_or(|text| text.trim().is_empty())
        {
            continue;
        }
        let listener = WebListener {
            protocol: protocol.into(),
            key: key.into(),
            tls,
            files: pages(),
            policy: POLICY,
        };
        ctx.web(listener).map_err(|error| StartError(error.0))?;
        open += 1;
    }
    if open == 0 {
        log::warn!(
            "neither dashboard.listener.http nor dashboard.listener.https says where to listen"
        );
    }
    Ok(Box::new(()))
}

fn pages() -> &'static [WebFile] {
    if PAGES.is_empty() {
        WITHOUT_PAGES
    } else {
        PAGES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_whole() {
        for files in [PAGES, WITHOUT_PAGES] {
            for file in files {
                assert!(file.path.starts_with('/'), "{}", file.path);
                assert!(!file.content.is_empty(), "{}", file.path);
                if let Some(packed) = file.gzip {
                    assert!(packed.starts_with(&[0x1f, 0x8b]), "{}", file.path);
                    assert!(packed.len() < file.content.len(), "{}", file.path);
                }
                // A page that were kept for a year would outlive the broker that served it.
                assert!(
                    !(file.immutable && file.path.ends_with(".html")),
                    "{}",
                    file.path
                );
            }
        }
        let page = pages().iter().find(|file| file.path == "/index.html");
        assert!(page.is_some_and(|page| page.content.starts_with(b"<!doctype html>")));
    }

    #[test]
    fn the_page_without_pages_keeps_to_the_policy() {
        let text = String::from_utf8_lossy(WITHOUT_PAGES[0].content);
        assert!(
            !text.contains("<script") && !text.contains("http://") && !text.contains("https://")
        );
        assert!(text.contains("cargo xtask run"));
        assert!(!POLICY.contains("unsafe-eval") && !POLICY.contains('*'));
    }
}
