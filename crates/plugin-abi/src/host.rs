//! The broker's side: opens libraries, and answers them.

use crate::elf;
use crate::face::serve;
use crate::header::{MAGIC, not_a_plugin};
use crate::{Answer, Buffer, Face, Header, Remote, Slice};
use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW, Symbol};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// A library that has been opened. It is never closed: a thread that the plugin has left behind, or a
/// destructor of a thread local variable, would run code that is not there any more. What stays is its text
/// and its statics.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    header: Header,
    entry: Entry,
}

type Entry = unsafe extern "C" fn(*const Face, *mut Face) -> i32;

impl Library {
    /// Opens a library and looks whether it can be used.
    ///
    /// The same path must not be opened again with other content, not even after it was removed: the linker
    /// would give the old code.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub fn open(path: &Path) -> Result<Library, String> {
        // Something that does not even contain the header is not opened: opening runs code.
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        if memchr::memmem::find(&bytes, &MAGIC).is_none() {
            return Err(not_a_plugin());
        }
        elf::check(&bytes).map_err(|error| format!("cannot be opened: {error}"))?;
        drop(bytes);
        // SAFETY: opening runs the initialisers of the library. A file that carries our header was built as
        // a plugin, and the operator has put it where plugins are loaded from: it is trusted like the broker.
        let library = unsafe { Opened::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| format!("cannot be opened: {error}"))?;
        let header = header_of(&library)?;
        header.check()?;
        // SAFETY: by the contract of the ABI, in a library with this header, the symbol is such a function.
        let entry: Symbol<Entry> = unsafe { library.get(b"emqttd_plugin_v1\0") }.map_err(|_| {
            "it has no function emqttd_plugin_v1: rebuild it, without stripping its dynamic symbols"
                .to_string()
        })?;
        let entry = *entry;
        // Never closed.
        std::mem::forget(library);
        Ok(Library { header, entry })
    }

    /// What the library says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Makes an instance of the plugin. `broker` answers it, until the [`Seat`] is dropped.
    ///
    /// # Errors
    /// A sentence.
    pub fn instance(&self, broker: Arc<dyn Answer>) -> Result<(Remote, Seat), String> {
        let seat = Seat::new(broker);
        let ours = Face::new(seat.0, call);
        let mut theirs = Face::NONE;
        // SAFETY: `header.check` has said that the function has this type; both faces outlive the call, and
        // `call` may be called for ever: a context that has ended is answered with Gone.
        let status = unsafe { (self.entry)(&ours, &mut theirs) };
        if status != 0 {
            return Err(format!("the library could not begin ({status})"));
        }
        // SAFETY: by the contract of the ABI the library's function takes calls until RELEASE, and the library
        // is never closed.
        let remote = unsafe { Remote::new(&theirs, true) };
        let remote = remote.ok_or_else(not_a_plugin)?;
        Ok((remote, seat))
    }
}

fn header_of(library: &Opened) -> Result<Header, String> {
    // SAFETY: the file contains our header; a static of this name has at least its length.
    let header: Symbol<*const Header> =
        unsafe { library.get(b"emqttd_plugin_abi\0") }.map_err(|_| not_a_plugin())?;
    if header.is_null() {
        return Err(not_a_plugin());
    }
    // SAFETY: as above; it holds only numbers and bytes, for which every pattern is valid.
    Ok(unsafe { header.read_unaligned() })
}

/// Those who answer libraries, by context. A library has no pointer into the broker: a thread that it has
/// left behind may call at any time, and hears that its plugin has ended.
static SEATS: LazyLock<RwLock<HashMap<usize, Arc<dyn Answer>>>> = LazyLock::new(RwLock::default);

/// The right of one instance to be answered; it ends when dropped.
#[derive(Debug)]
pub struct Seat(usize);

impl Seat {
    fn new(answers: Arc<dyn Answer>) -> Seat {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut seats = SEATS.write().unwrap_or_else(PoisonError::into_inner);
        seats.insert(number, answers);
        Seat(number)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = SEATS.write().unwrap_or_else(PoisonError::into_inner);
        let answers = seats.remove(&self.0);
        // What it drops may call back.
        drop(seats);
        drop(answers);
    }
}

/// The function in the broker's face.
///
/// # Safety
/// As in [`serve`]; `context` may be any number.
unsafe extern "C" fn call(
    context: usize,
    op: u32,
    handle: u64,
    args: Slice,
    body: Slice,
    out: *mut Buffer,
) -> i64 {
    let seats = SEATS.read().unwrap_or_else(PoisonError::into_inner);
    let answers = seats.get(&context).cloned();
    drop(seats);
    // SAFETY: args, body and out as promised by the caller.
    unsafe { serve(|| answers.as_deref(), (op, handle), (args, body), out) }
}
