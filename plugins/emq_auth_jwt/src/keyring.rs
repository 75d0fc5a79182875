//! All keys of the plugin: the secret, the public key, and those of a JWKS, which come and go.

use crate::jwks::{self, Jwk};
use crate::key::{Algorithm, Key};
use crate::token::Token;
use arc_swap::ArcSwap;
use emqttd_backend::Health;
use emqttd_http_client::{HttpClient, Request, Url};
use emqttd_plugin_sdk::Context;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Bytes of a set of keys.
const MOST_SET: usize = 256 * 1024;
/// An answer of the server that takes longer is none.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses after the server has not answered: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A token with an unknown key has the set read again, but not sooner than that after the last time: anybody can
/// make up names of keys.
const LEAST_PAUSE: Duration = Duration::from_secs(5);
/// How long a login waits for that.
const PATIENCE: Duration = Duration::from_secs(4);
/// Keys that are tried for a token which does not name one.
const MOST_TRIED: usize = 16;
/// How often it is looked whether the file has changed.
const LOOK: Duration = Duration::from_secs(5);
/// For the start of the plugin: a server that is there has answered by then.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// The keys.
pub(crate) struct Keyring {
    secret: Option<Key>,
    public: Option<PublicKey>,
    set: Option<Arc<KeySet>>,
}

struct PublicKey {
    path: PathBuf,
    key: ArcSwap<Key>,
}

/// What a signature turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signature {
    Right,
    Wrong,
    /// The key that it may have been made with is not known, and cannot be fetched now.
    Unknown(String),
}

/// Where a set of keys comes from.
pub(crate) enum Source {
    File(PathBuf),
    Url {
        url: Url,
        client: Box<HttpClient>,
        refresh: Duration,
    },
}

/// A set of keys that is read again and again.
pub(crate) struct KeySet {
    source: Source,
    health: Health,
    known: watch::Sender<Known>,
    /// somebody wants it read now
    wanted: Notify,
    /// the file as it was read last
    stamp: Mutex<Option<(SystemTime, u64)>>,
}

/// What is known of a set.
#[derive(Clone, Default)]
struct Known {
    /// of the last time that it could be read; `None` = never
    keys: Option<Arc<[Jwk]>>,
    /// the last attempt, and why it failed
    attempted: Option<Instant>,
    fault: Option<String>,
}

impl Keyring {
    /// The keys that there are; files are read now.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn new(
        secret: Option<&str>,
        public: Option<&Path>,
        set: Option<Arc<KeySet>>,
    ) -> Result<Keyring, String> {
        let public = match public {
            None => None,
            Some(path) => Some(PublicKey {
                path: path.into(),
                key: ArcSwap::from_pointee(read_public(path)?),
            }),
        };
        Ok(Keyring {
            secret: secret.map(|secret| Key::Secret(secret.as_bytes().into())),
            public,
            set,
        })
    }

    /// Its files.
    pub fn files(&self) -> Vec<PathBuf> {
        let public = self.public.as_ref().map(|public| public.path.clone());
        let set = self.set.as_ref().and_then(|set| match &set.source {
            Source::File(path) => Some(path.clone()),
            Source::Url { .. } => None,
        });
        public.into_iter().chain(set).collect()
    }

    /// Reads its files again; what cannot be used leaves the keys as they were.
    pub fn reload(&self) -> Result<(), String> {
        if let Some(public) = &self.public {
            public.key.store(Arc::new(read_public(&public.path)?));
        }
        match &self.set {
            Some(set) => set.read_file(),
            None => Ok(()),
        }
    }

    /// Checks who has signed that.
    pub async fn check(&self, token: &Token<'_>) -> Signature {
        let Some(algorithm) = Algorithm::named(&token.alg) else {
            return Signature::Wrong;
        };
        let right = |key: &Key| key.verify(algorithm, token.signed, &token.signature);
        if self.secret.as_ref().is_some_and(right) {
            return Signature::Right;
        }
        if !algorithm.is_symmetric() {
            // The first poll is the event loop's: arithmetic with large numbers belongs beside it.
            tokio::task::yield_now().await;
        }
        if self.public.as_ref().is_some_and(|p| right(&p.key.load())) {
            return Signature::Right;
        }
        match &self.set {
            Some(set) => set.check(token.kid.as_deref(), algorithm, right).await,
            None => Signature::Wrong,
        }
    }
}

fn read_public(path: &Path) -> Result<Key, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Key::from_pem(&text).map_err(|why| format!("{} {why}", path.display()))
}

impl KeySet {
    /// A set from there. A file must be there; a server is waited for a moment.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn start(ctx: &Context, source: Source) -> Result<Arc<KeySet>, String> {
        let name = match &source {
            Source::File(path) => format!("JWKS {}", path.display()),
            Source::Url { .. } => "JWKS server".into(),
        };
        let set = Arc::new(KeySet {
            source,
            health: Health::new(ctx, name),
            known: watch::Sender::default(),
            wanted: Notify::new(),
            stamp: Mutex::default(),
        });
        let own = Arc::clone(&set);
        match set.source {
            Source::File(_) => {
                set.read_file()?;
                drop(ctx.spawn(async move { own.watch_file().await }));
            }
            Source::Url { .. } => {
                let mut first = set.known.subscribe();
                drop(ctx.spawn(async move { own.keep_fetching().await }));
                // Who comes too early waits for it in `check`.
                let _ = ctx.block_on(async { timeout(START_PATIENCE, first.changed()).await });
            }
        }
        Ok(set)
    }

    async fn check(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        right: impl Fn(&Key) -> bool,
    ) -> Signature {
        if algorithm.is_symmetric() && matches!(self.source, Source::Url { .. }) {
            // No such key comes from there.
            return Signature::Wrong;
        }
        let mut changes = self.known.subscribe();
        for waited in [false, true] {
            let known = changes.borrow_and_update().clone();
            let keys = known.keys.as_deref().unwrap_or_default();
            let fitting = keys.iter().filter(|jwk| jwk.fits(kid, algorithm));
            if fitting.take(MOST_TRIED).any(|jwk| right(&jwk.key)) {
                return Signature::Right;
            }
            let has_it = match kid {
                None => !keys.is_empty(),
                Some(kid) => keys.iter().any(|jwk| jwk.kid.as_deref() == Some(kid)),
            };
            if has_it {
                return Signature::Wrong;
            }
            let soon_again = match known.attempted {
                // The first time is under way.
                None => true,
                Some(at) => known.fault.is_none() && at.elapsed() >= LEAST_PAUSE,
            };
            if waited || !soon_again {
                return match (known.fault, known.attempted) {
                    (Some(why), _) => Signature::Unknown(why),
                    (None, None) => Signature::Unknown("the keys have not come yet".into()),
                    (None, Some(_)) => Signature::Wrong,
                };
            }
            self.wanted.notify_one();
            // What has come by then counts.
            let _ = timeout(PATIENCE, changes.changed()).await;
        }
        Signature::Wrong
    }

    /// Takes what has been read.
    fn learn(&self, text: Result<&[u8], String>) -> Result<(), String> {
        let secrets = matches!(self.source, Source::File(_));
        let read = text.and_then(|text| jwks::parse(text, secrets));
        let outcome = match &read {
            Ok((keys, left_out)) => {
                for why in left_out {
                    log::warn!(
                        "emq_auth_jwt: {}: {why}; it is left out",
                        self.health.server()
                    );
                }
                log::debug!(
                    "emq_auth_jwt: {}: {} keys",
                    self.health.server(),
                    keys.len()
                );
                self.health.up();
                Ok(())
            }
            Err(why) => {
                self.health.down(why);
                Err(format!("{}: {why}", self.health.server()))
            }
        };
        self.known.send_modify(|known| {
            known.attempted = Some(Instant::now());
            known.fault = outcome.clone().err();
            if let Ok((keys, _)) = read {
                known.keys = Some(keys.into());
            }
        });
        outcome
    }

    /// Reads the file, if there is one.
    fn read_file(&self) -> Result<(), String> {
        let Source::File(path) = &self.source else {
            return Ok(());
        };
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp(path);
        match read_bounded(path) {
            Ok(text) => self.learn(Ok(&text)),
            Err(why) => self.learn(Err(why)),
        }
    }

    async fn watch_file(&self) {
        let Source::File(path) = &self.source else {
            return;
        };
        loop {
            // Also when somebody comes with a key that is not known.
            let _ = timeout(LOOK, self.wanted.notified()).await;
            let known = *self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
            if stamp(path) != known {
                log::info!("emq_auth_jwt: {} has changed", path.display());
                // Health has told the log what is wrong.
                let _ = self.read_file();
            } else {
                // Those who wait learn that nothing is new.
                self.known
                    .send_modify(|known| known.attempted = Some(Instant::now()));
            }
        }
    }

    async fn keep_fetching(&self) {
        let Source::Url { refresh, .. } = &self.source else {
            return;
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let wait = match self.fetch().await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    *refresh
                }
                Err(_) => {
                    let wait = pause.min(*refresh);
                    pause = LONGEST_PAUSE.min(2 * pause);
                    wait
                }
            };
            let fetched = tokio::time::Instant::now();
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(fetched + wait) => break,
                    // Two who came at once have left a second word.
                    () = self.wanted.notified() => if fetched.elapsed() >= LEAST_PAUSE {
                        break;
                    },
                }
            }
        }
    }

    async fn fetch(&self) -> Result<(), String> {
        let Source::Url { url, client, .. } = &self.source else {
            return Ok(());
        };
        let request = Request {
            url,
            post: None,
            most: MOST_SET,
        };
        let answer = match timeout(FETCH_TIMEOUT, client.ask(&request)).await {
            Err(_) => Err(format!("{url}: no answer within {FETCH_TIMEOUT:?}")),
            Ok(Err(fault)) => Err(fault.why().to_string()),
            Ok(Ok(answer)) => match (answer.status, answer.body) {
                (200, Some(body)) => Ok(body),
                (200, None) => Err(format!("{url}: more than {MOST_SET} bytes")),
                (status, _) => Err(format!("{url}: status {status}")),
            },
        };
        match answer {
            Ok(body) => self.learn(Ok(&body)),
            Err(why) => self.learn(Err(why)),
        }
    }
}

/// What tells one state of a file from another.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MOST_SET as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    match text.len() > MOST_SET {
        true => Err(format!("more than {MOST_SET} bytes")),
        false => Ok(text),
    }
}
