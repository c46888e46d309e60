//! The gRPC health protocol, `grpc.health.v1.Health/Check`, without a gRPC library: one request
//! message with a text, one answer with a number.

use super::{beside, connect};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// No health answer is longer.
const LONGEST: usize = 4096;

pub(super) async fn probe(address: &str, port: u16, service: &str) -> Result<(), String> {
    let stream = connect(address, port).await?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| format!("grpc: {error}"))?;
    let request = Request::post(format!("http://{address}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(request_frame(service)))
        .map_err(|error| format!("bad request: {error}"))?;
    beside(connection, async move {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| format!("grpc: {error}"))?;
        if !answer.status().is_success() {
            return Err(format!("grpc: HTTP status {}", answer.status().as_u16()));
        }
        // An error without a message has its status in the head.
        check_status(answer.headers())?;
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| format!("grpc: {error}"))?;
        if let Some(trailers) = body.trailers() {
            check_status(trailers)?;
        }
        serving(&body.to_bytes())
    })
    .await
}

/// `HealthCheckRequest { service }` (field 1, text) behind the frame's flag and length.
fn request_frame(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put(message);
    frame.freeze()
}

fn put_varint(buffer: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        buffer.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

fn check_status(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(format!("grpc status {status} {message}").trim_end().to_owned())
        }
    }
}

/// `HealthCheckResponse { status }` (field 1, number) must be 1, SERVING. The message has one field
/// of one byte, and none at all for 0, UNKNOWN.
fn serving(frame: &[u8]) -> Result<(), String> {
    match frame.get(5..) {
        Some([0x08, 1, ..]) => Ok(()),
        Some([0x08, 2, ..]) => Err("grpc health: NOT_SERVING".to_owned()),
        Some([0x08, 3, ..]) => Err("grpc health: SERVICE_UNKNOWN".to_owned()),
        Some(_) => Err("grpc health: UNKNOWN".to_owned()),
        None => Err("grpc health: no answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_protobuf_in_a_grpc_frame() {
        assert_eq!(request_frame("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(request_frame("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = request_frame(&"x".repeat(200));
        assert_eq!(long[5..8], [0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn only_serving_is_well() {
        assert_eq!(serving(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        for (frame, word) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], "NOT_SERVING"),
            (&[0, 0, 0, 0, 2, 8, 3][..], "SERVICE_UNKNOWN"),
            (&[0, 0, 0, 0, 0][..], "UNKNOWN"),
            (&[][..], "no answer"),
        ] {
            assert!(serving(frame).is_err_and(|text| text.ends_with(word)), "{word}");
        }
    }
}
