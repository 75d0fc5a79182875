//! Files of a web page.

use super::empty;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY,
};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use emqttd_plugin_sdk::{WebFile, WebListener};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// What is served beside the API.
#[derive(Debug)]
pub struct Files {
    by_path: HashMap<&'static str, Page>,
    policy: HeaderValue,
}

#[derive(Debug)]
struct Page {
    file: WebFile,
    content_type: HeaderValue,
    etag: HeaderValue,
}

impl Files {
    /// Those of a listener; the error names what cannot be a header.
    pub fn new(listener: &WebListener) -> Result<Files, String> {
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| format!("`{text}` cannot be a header"))
        };
        let mut by_path = HashMap::new();
        for file in listener.files {
            let digest = Sha256::digest(file.content);
            let tag: String = digest[..12]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let page = Page {
                file: *file,
                content_type: header(file.content_type)?,
                // A weak one: it is the same file, compressed or not.
                etag: header(&format!("W/\"{tag}\""))?,
            };
            by_path.insert(file.path, page);
        }
        Ok(Files {
            by_path,
            policy: header(listener.policy)?,
        })
    }

    /// Answers a request. Paths are names in a list and nothing is looked for on the disk, so that no path leads out.
    pub fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        let path = match path {
            "/" => "/index.html",
            path => path,
        };
        let mut response = match self.by_path.get(path) {
            None => empty(StatusCode::NOT_FOUND),
            Some(_) if !matches!(*method, Method::GET | Method::HEAD) => {
                let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
                let allowed = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(ALLOW, allowed);
                response
            }
            Some(page) => page.answer(method, headers),
        };
        let answered = response.headers_mut();
        answered.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}

impl Page {
    fn answer(&self, method: &Method, headers: &HeaderMap) -> Response {
        let known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| {
            let tags = tags.to_str().unwrap_or_default();
            let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
            let own = weak(self.etag.to_str().unwrap_or_default());
            tags.split(',')
                .any(|tag| tag.trim() == "*" || weak(tag) == own)
        });
        let packed = self.file.gzip.filter(|_| takes_gzip(headers));
        let content = packed.unwrap_or(self.file.content);
        let mut response = Response::new(match *method {
            Method::HEAD => Body::empty(),
            _ if known => Body::empty(),
            _ => Body::from(Bytes::from_static(content)),
        });
        let answered = response.headers_mut();
        answered.insert(ETAG, self.etag.clone());
        answered.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        let cached = match self.file.immutable {
            true => "public, max-age=31536000, immutable",
            // Kept, and asked about each time: after an update the new page comes at once.
            false => "no-cache",
        };
        answered.insert(CACHE_CONTROL, HeaderValue::from_static(cached));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        answered.insert(CONTENT_TYPE, self.content_type.clone());
        if packed.is_some() {
            answered.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if *method == Method::HEAD {
            answered.insert(axum::http::header::CONTENT_LENGTH, content.len().into());
        }
        response
    }
}

/// Whether `Accept-Encoding` has gzip, or all, with a weight above 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut all = false;
    for list in headers.get_all(ACCEPT_ENCODING) {
        for coding in list.to_str().unwrap_or_default().split(',') {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let wanted = weight.is_none_or(|weight| weight.parse().is_ok_and(|q: f32| q > 0.0));
            if name.eq_ignore_ascii_case("gzip") {
                return wanted;
            }
            all |= name == "*" && wanted;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::BodyExt;

    static FILES: [WebFile; 2] = [
        WebFile {
            path: "/index.html",
            content_type: "text/html; charset=utf-8",
            content: b"<!doctype html>",
            gzip: None,
            immutable: false,
        },
        WebFile {
            path: "/assets/app-1234.js",
            content_type: "text/javascript; charset=utf-8",
            content: b"long long ago",
            gzip: Some(b"packed"),
            immutable: true,
        },
    ];

    fn files() -> Files {
        Files::new(&WebListener {
            protocol: "dashboard:http".into(),
            key: "dashboard.listener.http".into(),
            tls: false,
            files: &FILES,
            policy: "default-src 'none'",
        })
        .unwrap()
    }

    fn get(method: Method, path: &str, headers: &[(&'static str, &str)]) -> (Response, Vec<u8>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let response = files().answer(&method, path, &map);
        let (head, body) = response.into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = runtime.block_on(body.collect()).unwrap().to_bytes();
        (Response::from_parts(head, Body::empty()), body.to_vec())
    }

    #[test]
    fn a_page() {
        for path in ["/", "/index.html"] {
            let (response, body) = get(Method::GET, path, &[("accept-encoding", "gzip")]);
            assert_eq!(response.status(), 200);
            assert_eq!(body, b"<!doctype html>");
            assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
            assert_eq!(
                response.headers()[CONTENT_SECURITY_POLICY],
                "default-src 'none'"
            );
            assert!(!response.headers().contains_key(CONTENT_ENCODING));
        }
        let (response, body) = get(Method::HEAD, "/", &[]);
        assert_eq!((response.status().as_u16(), body.len()), (200, 0));
        assert_eq!(response.headers()["content-length"], "15");
        assert_eq!(get(Method::POST, "/", &[]).0.status(), 405);
    }

    #[test]
    fn compressed_for_those_who_take_it() {
        let path = "/assets/app-1234.js";
        for (given, packed) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0, *", false),
            ("identity", false),
            ("xgzip", false),
        ] {
            let (response, body) = get(Method::GET, path, &[("accept-encoding", given)]);
            assert_eq!(
                response.headers().contains_key(CONTENT_ENCODING),
                packed,
                "{given}"
            );
            assert_eq!(body == b"packed", packed);
            assert_eq!(response.headers()[VARY], "Accept-Encoding");
            assert!(
                response.headers()[CACHE_CONTROL]
                    .to_str()
                    .unwrap()
                    .contains("immutable")
            );
        }
        assert_eq!(get(Method::GET, path, &[]).1, b"long long ago");
    }

    #[test]
    fn known_already() {
        let (response, _) = get(Method::GET, "/", &[]);
        let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [
            &tag,
            &format!("\"x\", {tag}"),
            tag.trim_start_matches("W/"),
            "*",
        ] {
            let (response, body) = get(Method::GET, "/", &[("if-none-match", known)]);
            assert_eq!(
                (response.status().as_u16(), body.len()),
                (304, 0),
                "{known}"
            );
        }
        let (other, _) = get(Method::GET, "/", &[("if-none-match", "\"x\"")]);
        assert_eq!(other.status(), 200);
    }

    #[test]
    fn no_path_leads_elsewhere() {
        for path in [
            "/../Cargo.toml",
            "//index.html",
            "/./index.html",
            "/%69ndex.html",
            "/index.html%00",
            "/assets",
            "/assets/",
            "/assets/../index.html",
            "/assets/..%2findex.html",
            "index.html",
            "",
            "*",
        ] {
            assert_eq!(get(Method::GET, path, &[]).0.status(), 404, "{path}");
        }
    }
}
