//! A STOMP connection, whatever carries it.

use crate::settings::{Settings, Shared};
use bytes::BytesMut;
use emqttd_plugin_sdk::{Context, PeerInfo};
use std::future::Future;
use std::io;

/// What carries the bytes of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A TCP connection.
    Tcp,
    /// A SockJS session, which has heart-beats and time limits of its own: there are none here, and a client that asks
    /// for heart-beats is told `0,0`.
    SockJs,
}

/// Why the server ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client said DISCONNECT, or is gone.
    Normal,
    /// The client broke the rules; an ERROR frame has told it how.
    ProtocolError,
    /// The broker has ended it, for this reason (`kick`, `conflict`, `shutdown`, ...); an ERROR frame has told so.
    Closed(String),
}

/// Where the bytes of a client come from.
pub trait FrameReader: Send {
    /// Appends what has come; 0 = the end. A call that is given up loses nothing.
    fn read(&mut self, into: &mut BytesMut) -> impl Future<Output = io::Result<usize>> + Send;
}

/// Where the bytes for a client go.
pub trait FrameWriter: Send {
    /// Sends one or more whole frames, or the LF of a heart-beat. An error means that the client is gone.
    fn write(&mut self, frames: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Ends the connection. Nothing is written after that.
    fn close(&mut self, end: End) -> impl Future<Output = ()> + Send;
}

/// Serves one client until its connection ends.
pub async fn serve<R: FrameReader, W: FrameWriter>(
    ctx: Context,
    peer: PeerInfo,
    settings: Shared<Settings>,
    mode: Mode,
    reader: R,
    mut writer: W,
) {
    // The engine itself is on its way; these are the signatures.
    let _ = (ctx, peer, settings, mode, reader);
    writer.close(End::Normal).await;
}
