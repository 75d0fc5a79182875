//! Endpoints over a broker without sockets. Whole conversations, with clients, are in `tests/tests/rest/console_*.rs`.

#![allow(clippy::unwrap_used)]

mod endpoints;
mod figures;
mod streams;

use crate::App;
use crate::auth::Came;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use axum::response::Response;
use emqttd_broker::{Broker, Shard, Storage};
use emqttd_management::Core;
use emqttd_store::Directory;
use http_body_util::BodyExt;
use serde_json::Value;
use std::fs;
use std::sync::{Arc, mpsc};
use std::thread;
use tempfile::TempDir;
use tower_service::Service;

/// One event loop, with nothing but mail to do; it ends when the test does.
fn drive(mut shard: Shard) {
    let (wake, woken) = mpsc::channel();
    shard.set_waker(Box::new(move || {
        let _ = wake.send(());
    }));
    thread::spawn(move || {
        while woken.recv().is_ok() {
            shard.begin_round();
            shard.receive();
            shard.post();
            shard.end_round();
        }
    });
}

/// A broker with two event loops, and the API before it.
struct Bench {
    app: App,
    router: Router,
    _dir: TempDir,
}

/// An answer: status, and the body as JSON (null when it is none).
type Answered = (u16, Value);

fn request(method: &str, path: &str, credentials: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("authorization", credentials)
        .extension(Came {
            peer: "127.0.0.1:4711".parse().unwrap(),
            protocol: "mqtt:api".into(),
            listen_on: "127.0.0.1:8080".into(),
            secure: false,
            old_http: false,
        })
}

impl Bench {
    fn new() -> Bench {
        Bench::with("")
    }

    /// With further lines of `emq.conf`; one of `persistence.` means that there is a store.
    fn with(lines: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        fs::create_dir_all(&etc).unwrap();
        let log = dir.path().join("log");
        let text = format!(
            "node.name = emq@127.0.0.1\nlog.dir = {}\nnode.data_dir = {}\n{lines}",
            log.display(),
            dir.path().display()
        );
        fs::write(etc.join("emq.conf"), text).unwrap();
        let loaded = emqttd_config::load(&etc, std::iter::empty()).unwrap();
        let storage = lines.contains("persistence.").then(|| {
            let settings = &loaded.settings.persistence;
            let disk = Directory::new(&settings.dir).unwrap();
            Storage::open(Arc::new(disk), settings).unwrap().unwrap()
        });
        let (broker, shards) = Broker::open(loaded.settings, 2, storage).unwrap();
        shards.into_iter().for_each(drive);
        let config = Arc::new(parking_lot::Mutex::new(loaded.config));
        let core = Core::new(broker, config);
        let cli = emqttd_management::core(&core);
        emqttd_management::after_boot(&cli, &core);
        let app = App::new(core);
        let guarded = utoipa_axum::router::OpenApiRouter::new()
            .nest("/api/v2", super::router().merge(crate::auth::router()))
            .split_for_parts()
            .0
            .layer(axum::extract::DefaultBodyLimit::max(1 << 20))
            .layer(axum::middleware::from_fn_with_state(
                app.clone(),
                crate::auth::guard::guard,
            ));
        let router = super::open_router()
            .split_for_parts()
            .0
            .merge(guarded)
            .with_state(app.clone());
        Bench {
            app,
            router,
            _dir: dir,
        }
    }

    /// As admin, with the default password, from the machine itself.
    async fn send(&self, method: &str, path: &str, body: Option<&str>) -> Response {
        let mut request = request(method, path, "Basic YWRtaW46cHVibGlj");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = Body::from(body.unwrap_or_default().to_owned());
        self.call(request.body(body).unwrap()).await
    }

    async fn send_as(&self, credentials: &str, path: &str) -> Response {
        let request = request("GET", path, credentials);
        self.call(request.body(Body::empty()).unwrap()).await
    }

    async fn call(&self, request: Request<Body>) -> Response {
        self.router.clone().call(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Answered {
        let path = format!("/api/v2/{path}");
        let response = self.send(method, &path, body).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, None).await
    }

    /// What is answered with 200 and code 0.
    async fn result(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        let (status, mut answer) = self.ask(method, path, body).await;
        assert_eq!(
            (status, &answer["code"]),
            (200, &Value::from(0)),
            "{path}: {answer}"
        );
        answer["result"].take()
    }

    /// The sentence with which it is refused.
    async fn refusal(&self, status: u16, method: &str, path: &str, body: Option<&str>) -> String {
        let (found, answer) = self.ask(method, path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
        assert_eq!(answer["code"], 102, "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    }
}
