//! What the daemon and the helper say to each other: JSON, one line each way at a time.
//!
//! The first line of a connection is `Hello`. Whoever finds another version on the other end
//! replaces the helper, so there is no negotiation. Source of the format: this file.

use crate::Error;
use jaco_netmesh_core::{InstalledPeer, PeerChange, PublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Raised with every change of these types or of what they mean.
pub const VERSION: u32 = 1;

/// Longest line, in bytes: 50 peers with a thousand prefixes each are a tenth of it.
const LINE: u64 = 16 << 20;

/// What the daemon asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Who is there.
    Hello { version: u32 },
    /// Listen on another port unless it is this one.
    Listen { port: u16 },
    /// Change peers, all at once.
    Change { changes: Vec<PeerChange> },
    /// Tell the peers and their figures.
    Peers,
    /// End; the interface goes with the process.
    Stop,
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Hello(Hello),
    Done,
    Peers { port: u16, peers: BTreeMap<PublicKey, InstalledPeer> },
    Failed { reason: String },
}

/// What a helper says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Version of this protocol.
    pub(crate) version: u32,
    /// Its process.
    pub(crate) pid: u32,
    /// The key it holds.
    pub(crate) public_key: PublicKey,
    /// Name of its interface.
    pub(crate) interface: String,
}

/// Reads one line; `None` at the end of the stream.
pub(crate) async fn receive<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<T>, Error> {
    let mut line = Vec::new();
    from.take(LINE).read_until(b'\n', &mut line).await.map_err(Error::io("read a line"))?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| Error::Helper(error.to_string()))
}

/// Writes one line.
pub(crate) async fn send<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), Error> {
    let mut line = serde_json::to_vec(message).map_err(|error| Error::Helper(error.to_string()))?;
    line.push(b'\n');
    to.write_all(&line).await.map_err(Error::io("write a line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_back_and_damage_is_an_error() {
        let key = PublicKey([7; 32]);
        let allowed = ["10.80.0.2/32".parse().unwrap()].into();
        let change = PeerChange::Add { key, endpoint: None, allowed, keepalive_seconds: 25 };
        let sent = Request::Change { changes: vec![change] };
        let mut bytes = Vec::new();
        send(&mut bytes, &sent).await.unwrap();
        let got: Request = receive(&mut bytes.as_slice()).await.unwrap().unwrap();
        assert_eq!(got, sent);
        for end in 1..bytes.len() - 1 {
            assert!(receive::<Request>(&mut &bytes[..end]).await.is_err(), "{end}");
        }
        assert!(receive::<Request>(&mut [].as_slice()).await.unwrap().is_none());
    }
}
