//! Plugins in libraries: the broker's side of the ABI.
//!
//! A library is copied before it is opened, under a name never used before: what the linker has once opened by
//! a name it does not look at again, so that a rebuilt library would stay the old one. The copy is removed as
//! soon as it is open. A library with the same content as one that is open already is that one.
//!
//! A library is never closed. It may have left threads behind, or thread local variables whose destructors
//! run when a thread of the broker ends: their code must be there. Unloading takes away all that the plugin
//! does and ends its threads; its code stays in memory until the broker ends, and so do its statics.

mod answers;
mod asked;
mod proxies;

use answers::Answers;
use asked::Tickets;
use emqttd_plugin_abi::host::{Library, Seat};
use emqttd_plugin_abi::{Answer, Call, Fault, Remote, Reply as Answered};
use emqttd_plugin_sdk::wire::{self, request, to_plugin};
use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use parking_lot::Mutex;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::Hasher;
use std::io::Write;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// Opens the library `path` and asks what plugin it holds, and what it was made with. `run` is a directory for
/// a copy of it.
///
/// # Errors
/// A sentence that says what is wrong with the library, and what to do.
pub fn load(path: &Path, run: &Path) -> Result<(Descriptor, String), String> {
    let describe = || {
        let library = open(path, run)?;
        Ok::<_, String>((library, about(library)?))
    };
    let (library, about) = describe().map_err(|why| format!("{}: {why}", path.display()))?;
    let header = library.header();
    let (major, minor) = header.version();
    let made_with = format!(
        "ABI {major}.{minor}, emqttd-plugin-sdk {}, {}",
        header.sdk(),
        header.rustc()
    );
    let descriptor = Descriptor {
        name: about.name.into(),
        version: about.version.into(),
        description: about.description.into(),
        guards: about.guards,
        depends: about.depends.into_iter().map(Into::into).collect(),
        anew: false,
        gateway: false,
        keys: about.keys.into_iter().map(Into::into).collect(),
        start: Arc::new(move |ctx| start(library, ctx)),
    };
    Ok((descriptor, made_with))
}

/// Libraries that are open, by length and hash of their content.
static OPEN: LazyLock<Mutex<HashMap<(usize, u128), Library>>> = LazyLock::new(Mutex::default);

fn open(path: &Path, run: &Path) -> Result<Library, String> {
    let content = fs::read(path).map_err(|error| error.to_string())?;
    let mut hasher = SipHasher13::new();
    hasher.write(&content);
    let key = (content.len(), hasher.finish128().as_u128());
    let mut open = OPEN.lock();
    if let Some(library) = open.get(&key) {
        return Ok(*library);
    }
    let copy = copy(path, run, &content)
        .map_err(|(path, error)| format!("cannot be copied to {}: {error}", path.display()))?;
    let library = Library::open(&copy);
    // What is open stays readable without a name.
    let _ = fs::remove_file(&copy);
    let library = library?;
    open.insert(key, library);
    Ok(library)
}

/// Writes the library under a name that no other has or had.
fn copy(path: &Path, run: &Path, content: &[u8]) -> Result<PathBuf, (PathBuf, std::io::Error)> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    fs::create_dir_all(run).map_err(|error| (run.to_owned(), error))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let copy = run.join(format!("{stem}-{}-{number}.so", std::process::id()));
        let written = match OpenOptions::new().write(true).create_new(true).open(&copy) {
            // Left behind by an earlier process that had our number.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            file => file.and_then(|mut file: File| file.write_all(content)),
        };
        return match written {
            Ok(()) => Ok(copy),
            Err(error) => Err((copy, error)),
        };
    }
}

/// Answers a library that is only asked what it is.
struct NoBroker;

impl Answer for NoBroker {
    fn answer(&self, _: Call<'_>) -> Result<Answered, Fault> {
        Err(Fault::Gone)
    }
}

fn about(library: Library) -> Result<request::About, String> {
    let (remote, _seat) = library.instance(Arc::new(NoBroker))?;
    let (_, about) = remote
        .call(to_plugin::DESCRIBE, 0, &[], &[])
        .map_err(|fault| format!("asked what it is, it {}", spoken(&fault)))?;
    let about: request::About =
        wire::decode(&about).map_err(|_| "what it says of itself cannot be read".to_string())?;
    if about.name.is_empty() || about.name.contains(|c: char| !is_of_name(c)) {
        return Err(format!("{:?} is not a name for a plugin", about.name));
    }
    Ok(about)
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// What a library did instead of answering.
fn spoken(fault: &Fault) -> String {
    match fault {
        Fault::Panicked(text) => format!("panicked: {text}"),
        Fault::Failed(text) => text.clone(),
        Fault::Gone => "had ended".into(),
        Fault::NotSupported => "did not know the question".into(),
        Fault::Malformed => "did not understand the question".into(),
    }
}

/// An instance of a plugin in a library, and the questions it has not answered yet. All that the plugin has
/// registered holds it; when the last of these is gone, the library releases it.
struct Instance {
    remote: Remote,
    tickets: Tickets,
}

impl Instance {
    /// Calls the library. A panic there goes on here, where the guard sees it; so does an answer that cannot
    /// be understood. `None` = what was called is not there (any more).
    fn call(
        &self,
        op: u32,
        handle: u64,
        args: &[u8],
        body: &[u8],
    ) -> Option<(u64, emqttd_plugin_abi::Data)> {
        match self.remote.call(op, handle, args, body) {
            Ok(answer) => Some(answer),
            Err(Fault::Gone | Fault::NotSupported) => None,
            Err(Fault::Panicked(text)) => resume_unwind(Box::new(text)),
            Err(fault @ (Fault::Malformed | Fault::Failed(_))) => {
                resume_unwind(Box::new(format!("operation {op}: it {}", spoken(&fault))))
            }
        }
    }
}

/// For what a library has answered and nobody can read: as if it had panicked.
fn unreadable(op: u32) -> ! {
    resume_unwind(Box::new(format!(
        "the answer to operation {op} cannot be read"
    )))
}

/// A plugin in a library that has been started.
struct LibraryPlugin {
    instance: Arc<Instance>,
    /// the library's right to call us
    seat: Mutex<Option<Seat>>,
}

fn start(library: Library, ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let host = Arc::clone(ctx.host());
    let message = wire::encode(&request::Start {
        plugin: host.plugin().into(),
        node: host.node(),
        version: host.version(),
        data_dir: host.data_dir(),
        log_dir: host.log_dir(),
        log_level: log::max_level() as u8,
    });
    let answers = Arc::new(Answers::new(host));
    let (remote, seat) = library.instance(Arc::clone(&answers) as Arc<dyn Answer>)?;
    let instance = Arc::new(Instance {
        remote,
        tickets: Tickets::default(),
    });
    answers.belong_to(&instance);
    // Ends the instance if it does not start.
    let plugin = LibraryPlugin {
        instance,
        seat: Mutex::new(Some(seat)),
    };
    match plugin
        .instance
        .remote
        .call(to_plugin::START, 0, &message, &[])
    {
        Ok(_) => Ok(Box::new(plugin)),
        Err(Fault::Failed(text)) => Err(StartError(text)),
        Err(Fault::Panicked(text)) => {
            drop(plugin);
            resume_unwind(Box::new(text))
        }
        Err(fault) => Err(StartError(format!("the library {}", spoken(&fault)))),
    }
}

impl LibraryPlugin {
    /// Ends the instance, once; what the library says to that.
    fn end(&self) -> Result<(), Fault> {
        let Some(seat) = self.seat.lock().take() else {
            return Ok(());
        };
        let stopped = self.instance.remote.call(to_plugin::STOP, 0, &[], &[]);
        self.instance.tickets.end();
        drop(seat);
        stopped.map(|_| ())
    }
}

impl Plugin for LibraryPlugin {
    fn reconfigure(&self, _: &Context) -> Result<(), String> {
        let remote = &self.instance.remote;
        match remote.call(to_plugin::RECONFIGURE, 0, &[], &[]) {
            Ok(_) => Ok(()),
            Err(Fault::Panicked(text)) => resume_unwind(Box::new(text)),
            Err(Fault::Failed(text)) => Err(text),
            Err(fault) => Err(format!("the library {}", spoken(&fault))),
        }
    }

    fn stop(&self) {
        if let Err(Fault::Panicked(text)) = self.end() {
            resume_unwind(Box::new(text));
        }
    }
}

impl Drop for LibraryPlugin {
    fn drop(&mut self) {
        // One that was not stopped did not start, or its stop was not waited for.
        let _ = self.end();
    }
}
