//! What a caller needs to be allowed to do something.

use axum::http::Method;
use emqttd_management::Scope;

/// What `method` on `path` needs; `None` = nothing but to be known.
///
/// Paths are compared as they are written, which is how they are routed, too. What is not named here needs all.
pub fn needed(method: &Method, path: &str) -> Option<Scope> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if path.starts_with("/api/plugins/") {
        return Some(if reads { Scope::Read } else { Scope::Manage });
    }
    if path == "/metrics" {
        return Some(Scope::Read);
    }
    let Some(below) = path.strip_prefix("/api/v2/") else {
        return Some(Scope::Admin);
    };
    let mut words = below.split('/');
    let (first, second, third) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if reads {
        return match first {
            "me" => None,
            "users" | "api_keys" | "audit" => Some(Scope::Admin),
            // What is behind the name of a trace is its log, which shows what clients send.
            "traces" if !third.is_empty() => Some(Scope::Manage),
            _ => Some(Scope::Read),
        };
    }
    match (first, second, third) {
        ("logout", ..) | ("login", "refresh", _) => None,
        ("mqtt", ..) => Some(Scope::Publish),
        ("clients" | "sessions" | "bans" | "retained", ..) | ("acl", "clean_cache", _) => {
            Some(Scope::Clients)
        }
        ("nodes", _, "plugins" | "plugin_configs" | "configs")
        | ("plugins" | "listeners" | "configs" | "logging" | "traces" | "test", ..)
        | ("acl", "reload", _) => Some(Scope::Manage),
        _ => Some(Scope::Admin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed() {
        let of = |method: Method, path: &str| needed(&method, &format!("/api/v2/{path}"));
        for (path, scope) in [
            ("overview", Scope::Read),
            ("nodes/n/clients", Scope::Read),
            ("users", Scope::Admin),
            ("users/", Scope::Admin),
            ("users/admin", Scope::Admin),
            ("api_keys", Scope::Admin),
            ("audit", Scope::Admin),
        ] {
            assert_eq!(of(Method::GET, path), Some(scope), "{path}");
            assert_eq!(of(Method::HEAD, path), Some(scope), "{path}");
        }
        assert_eq!(of(Method::GET, "me"), None);
        assert_eq!(of(Method::GET, "traces"), Some(Scope::Read));
        for path in ["traces/client/c/log", "traces/client/c/log/"] {
            assert_eq!(of(Method::GET, path), Some(Scope::Manage), "{path}");
        }
        for (path, scope) in [
            ("mqtt/publish", Scope::Publish),
            ("clients/c", Scope::Clients),
            ("clients/c/clean_acl_cache", Scope::Clients),
            ("bans", Scope::Clients),
            ("retained/a/b", Scope::Clients),
            ("acl/clean_cache", Scope::Clients),
            ("acl/reload", Scope::Manage),
            ("nodes/n/plugins/p", Scope::Manage),
            ("nodes/n/configs/a", Scope::Manage),
            ("nodes/n/unheard_of", Scope::Admin),
            ("listeners/mqtt:tcp/1883", Scope::Manage),
            ("test/acl", Scope::Manage),
            ("users", Scope::Admin),
            ("change_pwd/admin", Scope::Admin),
            ("api_keys/ak_1", Scope::Admin),
            ("unheard_of", Scope::Admin),
            ("", Scope::Admin),
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                assert_eq!(of(method, path), Some(scope), "{path}");
            }
        }
        assert_eq!(needed(&Method::GET, "/api/plugins/x/y"), Some(Scope::Read));
        assert_eq!(
            needed(&Method::POST, "/api/plugins/x/y"),
            Some(Scope::Manage)
        );
        assert_eq!(needed(&Method::GET, "/metrics"), Some(Scope::Read));
        assert_eq!(needed(&Method::GET, "/api/other"), Some(Scope::Admin));
    }
}
