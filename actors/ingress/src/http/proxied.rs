//! Takes the PROXY header off the front of a connection, and no byte more.

use jaco_ingress_core::{ProxyEnds, read_proxy_header};
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Reads the header that a connection must begin with; `None` when its sender speaks for itself.
///
/// # Errors
/// When something else comes, or the connection ends.
pub(super) async fn take(stream: &mut TcpStream) -> io::Result<Option<ProxyEnds>> {
    let mut seen = Vec::new();
    let mut fresh = [0; 536];
    loop {
        let count = stream.peek(&mut fresh).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = seen.len();
        seen.extend_from_slice(&fresh[..count]);
        let header = read_proxy_header(&seen).map_err(|_| io::ErrorKind::InvalidData)?;
        // What is not complete belongs to the header as a whole.
        let length = header.map_or(seen.len(), |header| header.length);
        stream.read_exact(&mut fresh[..length.saturating_sub(before)]).await?;
        if let Some(header) = header {
            return Ok(header.ends);
        }
    }
}
