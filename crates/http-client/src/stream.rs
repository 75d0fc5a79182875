//! A connection's bytes, with TLS or without.

use crate::transport::H2;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::client::TlsStream;

/// A connection that takes nothing for so long has ended. Without this, one whose request was given up while it
/// was being sent would stay, with what is left of the request, until the service takes it: a process that is
/// stopped never does.
const STALLED: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });

/// A connection.
pub(crate) struct Stream {
    bytes: Bytes,
    /// there is something to write, and nothing takes it
    stalls: Option<Pin<Box<Sleep>>>,
}

enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn plain(tcp: TcpStream) -> Stream {
        Stream {
            bytes: Bytes::Plain(tcp),
            stalls: None,
        }
    }

    pub fn tls(tls: TlsStream<TcpStream>) -> Stream {
        Stream {
            bytes: Bytes::Tls(Box::new(tls)),
            stalls: None,
        }
    }

    /// Whether it was agreed on HTTP/2.
    pub fn speaks_h2(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(_) => false,
            Bytes::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(H2),
        }
    }

    /// Writes, and fails when nothing has been taken for too long.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut (dyn AsyncWrite + Unpin)>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let written = match &mut self.bytes {
            Bytes::Plain(tcp) => write(Pin::new(tcp), cx),
            Bytes::Tls(tls) => write(Pin::new(&mut **tls), cx),
        };
        if written.is_ready() {
            self.stalls = None;
            return written;
        }
        let stalls = self.stalls.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        stalls.as_mut().poll(cx).map(|()| {
            Err(Error::new(
                ErrorKind::TimedOut,
                format!("nothing was taken for {STALLED:?}"),
            ))
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.speaks_h2() {
            true => Connected::new().negotiated_h2(),
            false => Connected::new(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Bytes::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.get_mut()
            .write(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.get_mut()
            .write(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    /// A body goes out as it is, and not by way of a buffer that has the headers, too.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let stream = self.get_mut();
        match &mut stream.bytes {
            // It holds nothing back, so this says nothing about who takes it.
            Bytes::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Bytes::Tls(_) => stream.write(cx, |stream, cx| stream.poll_flush(cx)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut()
            .write(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}
