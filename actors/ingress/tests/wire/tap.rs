//! A relay between the proxy and a server that keeps what both said.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// One connection of the proxy to the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) asked: Vec<u8>,
    pub(crate) answered: Vec<u8>,
    is_over: bool,
}

type Kept = Arc<Mutex<Conversation>>;

pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    kept: Arc<Mutex<Vec<Kept>>>,
}

impl Tap {
    pub(crate) async fn before(server: Place) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept: Arc<Mutex<Vec<Kept>>> = Arc::default();
        let all = kept.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                client.set_nodelay(true).unwrap();
                let one = Kept::default();
                all.lock().unwrap().push(one.clone());
                tokio::spawn(relay(client, server.clone(), one));
            }
        });
        Tap { address, kept }
    }

    /// What was said on each connection, once all of them are closed. `false` when some never were.
    pub(crate) async fn finish(&self, patience: Duration) -> (Vec<Conversation>, bool) {
        let mut is_over = false;
        for _ in 0..patience.as_millis() / 20 {
            is_over = self.kept.lock().unwrap().iter().all(|one| one.lock().unwrap().is_over);
            if is_over {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let kept = self.kept.lock().unwrap();
        (kept.iter().map(|one| one.lock().unwrap().clone()).collect(), is_over)
    }
}

async fn relay(client: TcpStream, server: Place, kept: Kept) {
    match server {
        Place::Tcp(address) => {
            if let Ok(stream) = TcpStream::connect(address).await {
                stream.set_nodelay(true).unwrap();
                both(client, stream, &kept).await;
            }
        }
        Place::Unix(path) => {
            if let Ok(stream) = UnixStream::connect(path).await {
                both(client, stream, &kept).await;
            }
        }
    }
    kept.lock().unwrap().is_over = true;
}

async fn both(client: TcpStream, server: impl AsyncRead + AsyncWrite + Unpin, kept: &Kept) {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let there = copy(from_client, to_server, |bytes| {
        kept.lock().unwrap().asked.extend_from_slice(bytes);
    });
    let back = copy(from_server, to_client, |bytes| {
        kept.lock().unwrap().answered.extend_from_slice(bytes);
    });
    // What the server still has to say after the proxy is gone counts: it shows what it has read.
    let late = Duration::from_millis(500);
    let mut back = std::pin::pin!(back);
    tokio::select! {
        () = back.as_mut() => {}
        () = there => {
            let _ = tokio::time::timeout(late, back).await;
        }
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    keep: impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        keep(&buffer[..count]);
        // The other direction may be closed already; this one is still heard to its end.
        let _ = to.write_all(&buffer[..count]).await;
    }
    let _ = to.shutdown().await;
}
