//! A connection whose peer is given only so much time: to send the head of a request, to send the next request, to take
//! an answer.

use futures_util::task::AtomicWaker;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The time a peer is given.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// for the head of a request, from its first byte on; for the first request from the beginning of the connection on
    pub head: Duration,
    /// between two requests
    pub idle: Duration,
    /// while it takes nothing of what is written
    pub write: Duration,
}

/// Nothing of a request is there.
const IDLE: u8 = 0;
/// Something of its head is there.
const HEAD: u8 = 1;
/// It is being answered.
const BUSY: u8 = 2;

/// What the connection is at; shared with those who answer.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    part: AtomicU8,
    /// something of an answer waits for the peer to take it
    writes: AtomicBool,
    /// who reads, to begin to measure when an answer has been sent
    reader: AtomicWaker,
}

impl Pace {
    /// Of a connection that begins: the head of its first request is awaited.
    pub fn new() -> Pace {
        Pace(Arc::new(Shared {
            part: AtomicU8::new(HEAD),
            writes: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        }))
    }

    /// Whether a request is answered, or the end of an answer is not written yet.
    pub fn is_busy(&self) -> bool {
        self.0.part.load(Ordering::Acquire) == BUSY || self.0.writes.load(Ordering::Acquire)
    }

    /// Whether a request has been answered, and there is nothing of the next.
    pub fn is_idle(&self) -> bool {
        self.0.part.load(Ordering::Acquire) == IDLE
    }

    /// A request is answered from now on, until what this gives is dropped.
    pub fn busy(&self) -> Busy {
        self.0.part.store(BUSY, Ordering::Release);
        Busy(self.clone())
    }
}

/// While a request is answered.
#[derive(Debug)]
pub struct Busy(Pace);

impl Drop for Busy {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.part.store(IDLE, Ordering::Release);
        shared.reader.wake();
    }
}

/// A stream with that patience.
pub struct Paced<S> {
    stream: S,
    patience: Patience,
    pace: Pace,
    /// which part of the connection `reading` is for
    timed: u8,
    reading: Pin<Box<Sleep>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// A connection that begins now.
    pub fn new(stream: S, patience: Patience, pace: Pace) -> Paced<S> {
        Paced {
            stream,
            patience,
            pace,
            timed: HEAD,
            reading: Box::pin(tokio::time::sleep(patience.head)),
            writing: None,
        }
    }

    /// Begins to measure when another part of the connection has begun.
    fn measure(&mut self, part: u8) {
        if self.timed == part {
            return;
        }
        self.timed = part;
        let patience = match part {
            HEAD => self.patience.head,
            _ => self.patience.idle,
        };
        self.reading.as_mut().reset(Instant::now() + patience);
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let waits = poll.is_pending();
        self.pace.0.writes.store(waits, Ordering::Release);
        if !waits {
            self.writing = None;
            return poll;
        }
        let patience = self.patience.write;
        let writing = self
            .writing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match writing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let part = self.pace.0.part.load(Ordering::Acquire);
        self.measure(part);
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        match poll {
            Poll::Ready(_) => {
                if part == IDLE && buf.filled().len() > before {
                    // Only from idle: a request that is answered meanwhile stays one.
                    let _ = self.pace.0.part.compare_exchange(
                        IDLE,
                        HEAD,
                        Ordering::AcqRel,
                        Ordering::Acquire,
                    );
                    self.measure(HEAD);
                }
                poll
            }
            Poll::Pending => {
                if part == BUSY {
                    self.pace.0.reader.register(cx.waker());
                    // Its answer and its body have times of their own. It may have ended just now.
                    let part = self.pace.0.part.load(Ordering::Acquire);
                    if part == BUSY {
                        return Poll::Pending;
                    }
                    self.measure(part);
                }
                match self.reading.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.written(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, poll)
    }
}
