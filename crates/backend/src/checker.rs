//! Whether a password is the one that a server has the hash of.

use crate::{Fault, Health, Trace};
use emqttd_password::{Form, Gate, Mark, Marker, Unverifiable};
use emqttd_plugin_sdk::Context;
use lru::LruCache;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// Slow checks whose outcome is kept: whoever comes back soon does not cost a check again.
const KEPT: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Checks passwords of one `password_hash`; slow ones beside the event loops, and not too many at a time.
pub struct Checker {
    form: Form,
    ctx: Context,
    health: Arc<Health>,
    marker: Option<Marker>,
    /// by password, hash and salt together: what it says of them never changes
    done: Mutex<LruCache<[u8; 32], bool>>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checker({})", self.form)
    }
}

impl Checker {
    /// For hashes of that form.
    pub fn new(ctx: &Context, form: Form, health: &Arc<Health>) -> Checker {
        Checker {
            form,
            ctx: ctx.clone(),
            health: Arc::clone(health),
            marker: Marker::new(),
            done: Mutex::new(LruCache::new(KEPT)),
        }
    }

    /// Whether `password` is right. No stored hash (NULL) and a salt that should be there make it wrong.
    ///
    /// # Errors
    /// When too many are being checked already.
    pub async fn is_right(
        &self,
        password: &[u8],
        stored: Option<&[u8]>,
        salt: Option<&[u8]>,
        trace: &mut Trace,
    ) -> Result<bool, Fault> {
        let Some(stored) = stored else {
            trace.note(|| "there is no password".into());
            return Ok(false);
        };
        let right = match self.form.is_slow() {
            false => self.form.verify(password, stored, salt),
            true => {
                trace.checking(true);
                let right = self.slowly(password, stored, salt).await?;
                trace.checking(false);
                right
            }
        };
        let right = right.unwrap_or_else(|why| {
            trace.note(|| why.to_string());
            self.health.complain(&format!(
                "password_hash = {}: {why}; its user is refused",
                self.form
            ));
            false
        });
        trace.note(|| {
            let right = if right { "right" } else { "wrong" };
            format!("password by `{}`: {right}", self.form)
        });
        Ok(right)
    }

    async fn slowly(
        &self,
        password: &[u8],
        stored: &[u8],
        salt: Option<&[u8]>,
    ) -> Result<Result<bool, Unverifiable>, Fault> {
        let mark = self.mark(password, stored, salt);
        if let Some(right) = mark.and_then(|mark| self.done().get(&mark.bytes()).copied()) {
            return Ok(Ok(right));
        }
        let Some(turn) = Gate::shared().enter().await else {
            return Err(Fault::Busy(
                "more passwords wait to be checked than could be soon".into(),
            ));
        };
        let (form, password, stored) = (self.form, password.to_vec(), stored.to_vec());
        let salt = salt.map(<[u8]>::to_vec);
        let check = move || {
            let right = form.verify(&password, &stored, salt.as_deref());
            // Not before: the check goes on when nobody waits for it any more.
            drop(turn);
            right
        };
        let Some(right) = self.ctx.blocking(check).await else {
            return Err(Fault::Busy("the password could not be checked".into()));
        };
        if let (Some(mark), Ok(right)) = (mark, right) {
            self.done().put(mark.bytes(), right);
        }
        Ok(right)
    }

    /// Stands for the three together.
    fn mark(&self, password: &[u8], stored: &[u8], salt: Option<&[u8]>) -> Option<Mark> {
        let mut all = Vec::new();
        for part in [password, stored, salt.unwrap_or_default()] {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part);
        }
        Some(self.marker.as_ref()?.mark(&all))
    }

    fn done(&self) -> std::sync::MutexGuard<'_, LruCache<[u8; 32], bool>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
