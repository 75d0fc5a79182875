//! The library's side.

use crate::face::{guarded, serve};
use crate::{Answer, Buffer, Face, Fault, RELEASE, Remote, Slice};
use std::sync::Arc;

/// What a library makes for each time its plugin is started.
pub type Instance = Arc<dyn Answer>;

/// What the entry function of a library does: takes the broker's face, makes an instance that answers the
/// broker, and gives its face back. 0 = done.
///
/// # Safety
/// `broker` points to a face of a broker that keeps the contract of the ABI, and its function may be called
/// as long as the process runs; `mine` may be written to.
pub unsafe fn open(
    broker: *const Face,
    mine: *mut Face,
    make: impl FnOnce(Remote) -> Instance,
) -> i32 {
    if broker.is_null() || mine.is_null() {
        return -1;
    }
    // SAFETY: not null, and the caller's promise.
    let broker = unsafe { broker.read() };
    // SAFETY: the caller's promise; the broker's function takes stray calls too, at any time.
    let Some(remote) = (unsafe { Remote::new(&broker, false) }) else {
        return -1;
    };
    let Ok(instance) = guarded(|| Ok(make(remote))) else {
        return -2;
    };
    // A thin pointer: it fits into the context.
    let context = Box::into_raw(Box::new(instance));
    // SAFETY: not null, and the caller's promise.
    unsafe { mine.write(Face::new(context.expose_provenance(), call)) };
    0
}

/// The function in the face of an instance.
///
/// # Safety
/// `context` is that of an instance that has not been told [`RELEASE`]; the rest as in [`serve`].
unsafe extern "C" fn call(
    context: usize,
    op: u32,
    handle: u64,
    args: Slice,
    body: Slice,
    out: *mut Buffer,
) -> i64 {
    let instance: *mut Instance = std::ptr::with_exposed_provenance_mut(context);
    if op == RELEASE {
        // SAFETY: `open` made it from a box, and RELEASE is the last call, made once.
        let instance = unsafe { Box::from_raw(instance) };
        // What the plugin drops may panic.
        return match guarded(|| {
            drop(instance);
            Ok::<(), Fault>(())
        }) {
            Ok(()) => 0,
            Err(_) => -4,
        };
    }
    // SAFETY: by contract the box is there until RELEASE; args, body and out as promised by the caller.
    unsafe { serve(|| Some(&**instance), (op, handle), (args, body), out) }
}
