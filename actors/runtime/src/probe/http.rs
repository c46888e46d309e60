//! HTTP probes: one request on a fresh connection.

use super::{beside, connect, tls};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use jaco_model::spec::HttpProbe;
use tokio::io::{AsyncRead, AsyncWrite};

/// Of the body of a bad answer, for people.
const SHOWN: usize = 400;

pub(super) async fn probe(address: &str, probe: &HttpProbe) -> Result<(), String> {
    let stream = connect(address, probe.port).await?;
    if probe.https {
        return ask(tls::unverified(stream, &probe.host).await?, probe).await;
    }
    ask(stream, probe).await
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    probe: &HttpProbe,
) -> Result<(), String> {
    let request = request(probe).map_err(|error| format!("bad request: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("http: {error}"))?;
    beside(connection, async move {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| format!("http: {error}"))?;
        let status = answer.status();
        if (probe.status_min..=probe.status_max).contains(&status.as_u16()) {
            return Ok(());
        }
        let body = head(answer.into_body()).await;
        Err(format!("{} {} {body}", probe.path, status.as_u16()).trim_end().to_owned())
    })
    .await
}

fn request(probe: &HttpProbe) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .uri(&probe.path)
        .header(HOST, &probe.host)
        .header(USER_AGENT, "jaco-probe")
        .header(CONNECTION, "close");
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    request.body(Empty::new())
}

/// The begin of a body; a body that breaks off is shown as far as it came.
async fn head(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while text.len() < SHOWN
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(data);
        }
    }
    text.truncate(SHOWN);
    String::from_utf8_lossy(&text).trim().to_owned()
}
