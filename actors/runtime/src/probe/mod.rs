//! Asks a replica how it is, from the node and without any tool in the image.

mod grpc;
mod http;
mod tls;

use jaco_model::Millis;
use jaco_model::spec::ProbeCheck;
use std::future::Future;
use tokio::net::TcpStream;

/// Runs one check over the network; `Err` says what was wrong, for people.
///
/// Checks of kind `exec` need the engine and are not for this function.
pub(crate) async fn probe(
    address: &str,
    check: &ProbeCheck,
    timeout: Millis,
) -> Result<(), String> {
    let asked = async {
        match check {
            ProbeCheck::Http(http) => http::probe(address, http).await,
            ProbeCheck::Tcp { port } => connect(address, *port).await.map(drop),
            ProbeCheck::Grpc { port, service } => grpc::probe(address, *port, service).await,
            ProbeCheck::Exec { .. } => Err("a command cannot be run over the network".to_owned()),
        }
    };
    let answered = tokio::time::timeout(timeout.std(), asked).await;
    let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {timeout}")));
    answered.map_err(|reason| crate::error::last_512(&reason))
}

async fn connect(address: &str, port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((address, port)).await;
    stream.map_err(|error| format!("connect to {address}:{port}: {error}"))
}

/// Drives a connection beside the request on it, and drops it with the request.
async fn beside<T>(
    connection: impl Future<Output = Result<(), hyper::Error>>,
    request: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let idle = async {
        // Its end is no answer: what matters is how the request ends.
        let _ended = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        answer = request => answer,
        never = idle => never,
    }
}
