#![allow(clippy::unwrap_used)]

use super::*;
use crate::face::serve;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Sample(Arc<AtomicUsize>);

impl Drop for Sample {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Answer for Sample {
    fn answer(&self, call: Call<'_>) -> Result<Reply, Fault> {
        match call.op {
            1 => Ok(Reply {
                value: call.handle,
                data: [call.args, call.body].concat(),
            }),
            2 => panic!("{}", String::from_utf8_lossy(call.body)),
            3 => Err(Fault::Failed("no".into())),
            4 => Ok(Reply::from(u64::MAX)),
            5 => std::panic::panic_any(7),
            _ => Err(Fault::NotSupported),
        }
    }
}

unsafe extern "C" fn broker(
    _: usize,
    op: u32,
    handle: u64,
    args: Slice,
    body: Slice,
    out: *mut Buffer,
) -> i64 {
    let sample = Sample(Arc::default());
    // SAFETY: args, body and out as promised by the caller.
    unsafe { serve(|| Some(&sample), (op, handle), (args, body), out) }
}

/// An instance as a library makes it, and how many have been dropped.
fn instance() -> (Remote, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (ours, mut theirs) = (Face::new(0, broker), Face::NONE);
    let sample = Arc::new(Sample(Arc::clone(&dropped)));
    // SAFETY: both faces outlive the call, and `broker` takes calls for ever.
    let status = unsafe {
        guest::open(&ours, &mut theirs, |remote| {
            // The library's side can call at once.
            let (value, data) = remote.call(1, 5, b"x", b"").unwrap();
            assert_eq!((value, &*data), (5, &b"x"[..]));
            sample
        })
    };
    assert_eq!(status, 0);
    // SAFETY: made by `open`.
    (unsafe { Remote::new(&theirs, true) }.unwrap(), dropped)
}

#[test]
fn calls_and_faults() {
    let (remote, dropped) = instance();
    let (value, data) = remote.call(1, 42, b"ab", b"cd").unwrap();
    assert_eq!((value, &*data), (42, &b"abcd"[..]));
    let (value, data) = remote.call(1, 0, b"", b"").unwrap();
    assert_eq!((value, data.len()), (0, 0));
    let fault = |op| remote.call(op, 0, b"", b"boom").unwrap_err();
    assert_eq!(fault(2), Fault::Panicked("boom".into()));
    assert_eq!(fault(3), Fault::Failed("no".into()));
    assert_eq!(fault(4), Fault::Malformed, "numbers have 63 bits");
    assert!(matches!(fault(5), Fault::Panicked(_)));
    assert_eq!(fault(99), Fault::NotSupported);
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    drop(remote);
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "released");
}

#[test]
fn what_cannot_be_bytes_is_refused() {
    let sample = Sample(Arc::default());
    let run = |args: Slice, out: *mut Buffer| {
        // SAFETY: `serve` must find out by itself that these are no bytes.
        unsafe { serve(|| Some(&sample), (1, 0), (args, Slice::lend(b"")), out) }
    };
    // SAFETY: Slice is two numbers.
    let slice =
        |ptr: usize, len: usize| unsafe { std::mem::transmute::<[usize; 2], Slice>([ptr, len]) };
    let mut out = Buffer::EMPTY;
    assert_eq!(run(slice(0, 3), &mut out), -2);
    assert_eq!(run(slice(8, usize::MAX), &mut out), -2);
    assert_eq!(run(slice(0, 0), &mut out), 0);
    assert_eq!(run(Slice::lend(b"x"), std::ptr::null_mut()), -2);
}

#[test]
fn a_gone_side_says_so() {
    let mut out = Buffer::EMPTY;
    let empty = Slice::lend(b"");
    // SAFETY: empty slices, a buffer of ours.
    let status = unsafe { serve(|| None, (1, 0), (empty, empty), &mut out) };
    assert_eq!(status, -3);
}

#[test]
fn headers_that_cannot_be_used_say_what_to_do() {
    let good = Header::new("0.1.0", false);
    assert_eq!(good.check(), Ok(()));
    assert_eq!(
        good.check_for(MAJOR, MINOR + 3),
        Ok(()),
        "an older minor version"
    );
    let newer = good.check_for(MAJOR + 1, 0).unwrap_err();
    assert!(newer.contains("this broker has 2.0: rebuild it"), "{newer}");
    assert_eq!(
        (good.sdk(), good.version()),
        ("0.1.0".into(), (MAJOR, MINOR))
    );
    assert!(good.rustc().starts_with("rustc "), "{}", good.rustc());
    let abort = Header::new("0.1.0", true).check().unwrap_err();
    assert!(abort.contains("panic = \"abort\""), "{abort}");
}

#[cfg(feature = "broker")]
mod broker_side {
    use super::*;
    use crate::host::Library;

    #[test]
    fn files_that_are_no_plugins() {
        let dir = std::env::temp_dir().join(format!("emqttd-abi-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("x.so");
        let why = |content: &[u8]| {
            std::fs::write(&file, content).unwrap();
            Library::open(&file).unwrap_err()
        };
        assert!(why(b"text").contains("not a plugin of emqttd"));
        assert!(why(&MAGIC).starts_with("cannot be opened: "));
        assert!(Library::open(&dir.join("none.so")).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
