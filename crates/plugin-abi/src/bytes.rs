//! Bytes that cross: borrowed for one call, or owned and released by who made them.

use std::mem::ManuallyDrop;
use std::ops::Deref;

/// Bytes borrowed for one call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    ptr: *const u8,
    len: usize,
}

impl Slice {
    /// Lends bytes. Whoever passes the result on keeps `bytes` alive until that call is over.
    pub(crate) fn lend(bytes: &[u8]) -> Slice {
        Slice {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// The bytes; `None` when they cannot be any.
    ///
    /// # Safety
    /// `ptr` is null, or points to `len` bytes that nobody writes to during `'a`.
    pub(crate) unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        if self.len == 0 {
            return Some(&[]);
        }
        if self.ptr.is_null() || self.len > isize::MAX as usize {
            return None;
        }
        // SAFETY: not null, not too long; the rest is the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(self.ptr, self.len) })
    }
}

/// Bytes that whoever gets them gives back through `release`.
#[repr(C)]
#[derive(Debug)]
pub struct Buffer {
    ptr: *mut u8,
    len: usize,
    cap: usize,
    release: Option<unsafe extern "C" fn(*mut u8, usize, usize)>,
}

impl Buffer {
    /// No bytes, nothing to release.
    pub(crate) const EMPTY: Buffer = Buffer {
        ptr: std::ptr::null_mut(),
        len: 0,
        cap: 0,
        release: None,
    };

    /// Gives bytes away.
    pub(crate) fn from_vec(bytes: Vec<u8>) -> Buffer {
        if bytes.capacity() == 0 {
            return Buffer::EMPTY;
        }
        let mut bytes = ManuallyDrop::new(bytes);
        Buffer {
            ptr: bytes.as_mut_ptr(),
            len: bytes.len(),
            cap: bytes.capacity(),
            release: Some(release),
        }
    }
}

/// Frees what [`Buffer::from_vec`] gave away.
///
/// # Safety
/// The three numbers are those of one [`Buffer`] of this library, and this is called once for it.
unsafe extern "C" fn release(ptr: *mut u8, len: usize, cap: usize) {
    // SAFETY: `from_vec` took them from a Vec<u8> of this side, which it did not drop.
    drop(unsafe { Vec::from_raw_parts(ptr, len, cap) });
}

/// A [`Buffer`] of the other side, given back when dropped.
#[derive(Debug)]
pub struct Data(Buffer);

// SAFETY: it is the only owner of bytes that do not change, and `release` may be called on any thread
// (it is part of the contract of the ABI, and true of `release` above).
unsafe impl Send for Data {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Data {}

impl Data {
    /// Takes over what a call has left; `None` when it cannot be a buffer.
    ///
    /// # Safety
    /// The other side has filled `buffer` as [`Buffer::from_vec`] does, or left it empty, and nobody else
    /// releases it.
    pub(crate) unsafe fn new(buffer: Buffer) -> Option<Data> {
        let can_be = match buffer.len {
            0 => true,
            len => !buffer.ptr.is_null() && len <= buffer.cap && buffer.cap <= isize::MAX as usize,
        };
        can_be.then_some(Data(buffer))
    }
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: `new` has looked at pointer and length; the bytes are ours until `release`.
        unsafe { std::slice::from_raw_parts(self.0.ptr, self.0.len) }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some(release) = self.0.release
            && !self.0.ptr.is_null()
        {
            // SAFETY: the numbers are as they came, and this is the one time.
            unsafe { release(self.0.ptr, self.0.len, self.0.cap) };
        }
    }
}
