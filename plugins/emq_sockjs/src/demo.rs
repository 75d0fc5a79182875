//! The demonstration: a page that speaks STOMP with the broker, and its scripts.

use crate::sockjs::server::File;

const SCRIPT: &str = "application/javascript; charset=UTF-8";

/// Its files.
pub const FILES: &[File] = &[
    File {
        path: "/index.html",
        content_type: "text/html; charset=UTF-8",
        content: include_bytes!("../static/index.html"),
    },
    File {
        path: "/demo.css",
        content_type: "text/css; charset=UTF-8",
        content: include_bytes!("../static/demo.css"),
    },
    File {
        path: "/demo.js",
        content_type: SCRIPT,
        content: include_bytes!("../static/demo.js"),
    },
    File {
        path: "/stomp.js",
        content_type: SCRIPT,
        content: include_bytes!("../static/stomp.js"),
    },
    File {
        path: "/sockjs.js",
        content_type: SCRIPT,
        content: include_bytes!("../static/sockjs.js"),
    },
];
