//! STOMP over TCP and TLS.

use crate::connection::{End, FrameReader, FrameWriter};
use bytes::BytesMut;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes that are read at once when little comes.
const LITTLE: usize = 2 * 1024;
/// And when much does.
const MUCH: usize = 64 * 1024;
/// A client that takes nothing for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);

/// What a client sends.
pub(crate) struct Reader<S> {
    stream: S,
    size: usize,
}

impl<S> Reader<S> {
    pub fn new(stream: S) -> Reader<S> {
        Reader {
            stream,
            size: LITTLE,
        }
    }
}

impl<S: AsyncRead + Unpin + Send> FrameReader for Reader<S> {
    async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        into.reserve(self.size);
        let room = into.capacity() - into.len();
        let count = self.stream.read_buf(into).await?;
        // As much as came, twice: a quiet connection holds a small buffer.
        if count == room {
            self.size = (room * 2).min(MUCH);
        } else if count < self.size / 4 {
            self.size = (self.size / 2).max(LITTLE);
        }
        Ok(count)
    }
}

/// What a client is sent.
pub(crate) struct Writer<S> {
    stream: S,
}

impl<S> Writer<S> {
    pub fn new(stream: S) -> Writer<S> {
        Writer { stream }
    }
}

impl<S: AsyncWrite + Unpin + Send> FrameWriter for Writer<S> {
    async fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            match timeout(SEND_TIMEOUT, self.stream.write(rest)).await?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => rest = &rest[count..],
            }
        }
        timeout(SEND_TIMEOUT, self.stream.flush()).await?
    }

    async fn close(&mut self, _end: End) {
        // A client that is gone cannot be told.
        let _ = timeout(SEND_TIMEOUT, self.stream.shutdown()).await;
    }
}
