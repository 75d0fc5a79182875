//! How one side calls the other.

use crate::{Buffer, Data, Slice};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The function of a [`Face`]: context, operation, handle, message, body, where to leave the answer. The
/// result is a number that is not negative, or a status.
pub type CallFn = unsafe extern "C" fn(usize, u32, u64, Slice, Slice, *mut Buffer) -> i64;

/// How a side is called: its function, and what it is to be given first.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Face {
    /// length of this struct; a longer one has more at its end
    pub(crate) size: u32,
    /// minor version of the ABI of that side
    pub(crate) minor: u32,
    pub(crate) context: usize,
    pub(crate) call: Option<CallFn>,
}

impl Face {
    pub(crate) const fn new(context: usize, call: CallFn) -> Face {
        Face {
            size: size_of::<Face>() as u32,
            minor: crate::MINOR as u32,
            context,
            call: Some(call),
        }
    }

    /// Of nobody.
    #[cfg(any(test, feature = "broker"))]
    pub(crate) const NONE: Face = Face {
        size: size_of::<Face>() as u32,
        minor: 0,
        context: 0,
        call: None,
    };
}

/// A call that has come in.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// what is to be done
    pub op: u32,
    /// on which object
    pub handle: u64,
    /// the message
    pub args: &'a [u8],
    /// bytes that go beside the message, such as the payload of a PUBLISH
    pub body: &'a [u8],
}

/// A good answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// a number; at most `i64::MAX`
    pub value: u64,
    /// a message, or other bytes
    pub data: Vec<u8>,
}

impl From<u64> for Reply {
    fn from(value: u64) -> Reply {
        Reply {
            value,
            data: Vec::new(),
        }
    }
}

impl From<Vec<u8>> for Reply {
    fn from(data: Vec<u8>) -> Reply {
        Reply { value: 0, data }
    }
}

/// Why a call did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// the other side does not know the operation: it is older
    NotSupported,
    /// the message cannot be read
    Malformed,
    /// what the handle stood for is not there any more
    Gone,
    /// the other side panicked: what it said
    Panicked(String),
    /// it could not be done: why
    Failed(String),
}

impl Fault {
    fn status(&self) -> i64 {
        match self {
            Fault::NotSupported => -1,
            Fault::Malformed => -2,
            Fault::Gone => -3,
            Fault::Panicked(_) => -4,
            Fault::Failed(_) => -5,
        }
    }

    fn of(status: i64, data: &[u8]) -> Fault {
        let text = || String::from_utf8_lossy(data).into_owned();
        match status {
            -1 => Fault::NotSupported,
            -3 => Fault::Gone,
            -4 => Fault::Panicked(text()),
            -5 => Fault::Failed(text()),
            _ => Fault::Malformed,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotSupported => f.write_str("not supported by the other side"),
            Fault::Malformed => f.write_str("a message that cannot be read"),
            Fault::Gone => f.write_str("has ended"),
            Fault::Panicked(text) => write!(f, "panicked: {text}"),
            Fault::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fault {}

/// A side that can be called, from any thread.
pub trait Answer: Send + Sync + 'static {
    /// Answers one call.
    ///
    /// # Errors
    /// They go to the caller. A panic does too, as [`Fault::Panicked`].
    fn answer(&self, call: Call<'_>) -> Result<Reply, Fault>;
}

/// The other side.
#[derive(Debug)]
pub struct Remote {
    context: usize,
    call: CallFn,
    /// says [`crate::RELEASE`] at its end
    owned: bool,
}

impl Remote {
    /// The other side, as it has introduced itself; `None` when the face cannot be one.
    ///
    /// # Safety
    /// `face` comes from a function that keeps the contract of the ABI: `call` may be called from any thread
    /// with this context, for ever, or, if `owned`, until it has been told [`crate::RELEASE`].
    pub(crate) unsafe fn new(face: &Face, owned: bool) -> Option<Remote> {
        if (face.size as usize) < size_of::<Face>() {
            return None;
        }
        Some(Remote {
            context: face.context,
            call: face.call?,
            owned,
        })
    }

    /// Makes a call: the number and the bytes of the answer.
    ///
    /// # Errors
    /// Those of the other side.
    pub fn call(
        &self,
        op: u32,
        handle: u64,
        args: &[u8],
        body: &[u8],
    ) -> Result<(u64, Data), Fault> {
        let mut out = Buffer::EMPTY;
        let (lent_args, lent_body) = (Slice::lend(args), Slice::lend(body));
        // SAFETY: `new` was promised that the function may be called; args, body and out outlive the call.
        let status =
            unsafe { (self.call)(self.context, op, handle, lent_args, lent_body, &mut out) };
        // SAFETY: the other side has left `out` empty or filled it by the contract of the ABI.
        let data = unsafe { Data::new(out) }.ok_or(Fault::Malformed)?;
        match u64::try_from(status) {
            Ok(value) => Ok((value, data)),
            Err(_) => Err(Fault::of(status, &data)),
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if self.owned {
            // Nobody is left who could do something about an error.
            let _ = self.call(crate::RELEASE, 0, &[], &[]);
        }
    }
}

/// What each side's [`CallFn`] does: looks at what came, finds who answers, and lets nothing unwind.
///
/// # Safety
/// `args` and `body` are lent for this call; `out` is null or may be written to.
pub(crate) unsafe fn serve<'a>(
    who: impl FnOnce() -> Option<&'a dyn Answer>,
    (op, handle): (u32, u64),
    (args, body): (Slice, Slice),
    out: *mut Buffer,
) -> i64 {
    // SAFETY: the caller's promise.
    let (args, body) = unsafe { (args.get(), body.get()) };
    let answer = match (args, body) {
        (Some(args), Some(body)) if !out.is_null() => guarded(|| {
            let call = Call {
                op,
                handle,
                args,
                body,
            };
            who().ok_or(Fault::Gone)?.answer(call)
        }),
        _ => Err(Fault::Malformed),
    };
    let (status, data) = match answer {
        Ok(reply) => match i64::try_from(reply.value) {
            Ok(value) => (value, reply.data),
            Err(_) => (Fault::Malformed.status(), Vec::new()),
        },
        Err(fault) => (fault.status(), text_of(fault)),
    };
    if !out.is_null() {
        // SAFETY: not null, and the caller's promise.
        unsafe { out.write(Buffer::from_vec(data)) };
    }
    status
}

fn text_of(fault: Fault) -> Vec<u8> {
    match fault {
        Fault::Panicked(text) | Fault::Failed(text) => text.into_bytes(),
        Fault::NotSupported | Fault::Malformed | Fault::Gone => Vec::new(),
    }
}

/// Runs `f`; a panic in it becomes [`Fault::Panicked`].
pub(crate) fn guarded<T>(f: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|payload| {
        let text = panic_text(&*payload);
        // To drop what a panic carries could panic again.
        std::mem::forget(payload);
        Err(Fault::Panicked(text))
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_string()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "with something that is no text".into()
    }
}
