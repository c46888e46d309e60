//! Flow control of what the proxy sends (RFC 9113, 6.9), and uploads that break off.

use super::wire::{
    DATA, END_HEADERS, GOAWAY, HEADERS, PING, SETTINGS, WINDOW_UPDATE, Wire, fields, frame, get,
    post, serve,
};
use crate::messages::{Kind, Messages};
use crate::servers::{Which, echo};
use crate::support::{PATIENCE, Proxy};
use crate::tap::{Place, Tap};
use jaco_ingress_core::Table;

fn window(size: u32) -> Vec<u8> {
    [&[0, 4][..], &size.to_be_bytes()].concat()
}

#[tokio::test]
async fn no_more_is_sent_than_the_window_lets() {
    let proxy = Proxy::start(|_| {});
    let root = serve(&proxy, echo().await.port(), |_| {});
    let mut wire = Wire::begun(proxy.https, &root, &window(1)).await;
    wire.send(&get(1)).await;
    let mut total = 0;
    for _ in 0..4 {
        let data = wire.until(|frame| frame.kind == DATA).await.expect("a byte");
        assert_eq!(data.payload.len(), 1);
        total += 1;
        wire.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
    }
    // Smaller settings make it negative: nothing comes until it is positive again.
    let data = wire.until(|frame| frame.kind == DATA).await.expect("a byte");
    assert_eq!(data.payload.len() + total, 5);
    wire.send(&frame(SETTINGS, 0, 0, &window(0))).await;
    wire.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
    wire.send(&frame(PING, 0, 0, &[7; 8])).await;
    let next = wire.until(|frame| frame.kind == DATA || frame.kind == PING).await.unwrap();
    assert_eq!(next.kind, PING, "{next:?}");
    wire.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2])).await;
    let data = wire.until(|frame| frame.kind == DATA).await.expect("two bytes");
    assert!(data.payload.len() <= 2, "{data:?}");
}

/// Uploads that end by RST_STREAM, by GOAWAY and by the connection's end: the service sees a body
/// that is not whole, and never a request in it.
#[tokio::test]
async fn an_upload_that_breaks_off_is_no_whole_body() {
    let server = Which::Hyper.start().await;
    let tap = Tap::before(match &server.place {
        Place::Tcp(address) => Place::Tcp(*address),
        Place::Unix(path) => Place::Unix(path.clone()),
    })
    .await;
    let proxy = Proxy::start(|_| {});
    let root = serve(&proxy, tap.address.port(), |_| {});
    let part = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let cancel = frame(super::wire::RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    let sized = fields("POST", "/", &[("content-length", "100000")]);
    for (head, end) in [
        (post(1), cancel.clone()),
        (post(1), Vec::new()),
        (post(1), frame(GOAWAY, 0, 0, &[0; 8])),
        (frame(HEADERS, END_HEADERS, 1, &sized), cancel),
        (frame(HEADERS, END_HEADERS, 1, &sized), Vec::new()),
    ] {
        let mut wire = Wire::begun(proxy.https, &root, &[]).await;
        wire.send(&[head, frame(DATA, 0, 1, part)].concat()).await;
        // A window for it means that the service has read it, or at least the proxy.
        wire.send(&frame(PING, 0, 0, &[1; 8])).await;
        wire.until(|frame| frame.kind == PING).await;
        wire.send(&end).await;
        drop(wire);
        let mut wire = Wire::begun(proxy.https, &root, &[]).await;
        wire.send(&get(1)).await;
        let answer = wire.until(|frame| frame.kind == HEADERS).await.unwrap();
        assert_eq!(super::wire::status(&answer), Some(200));
    }
    proxy.serve(Table::default());
    let (conversations, is_over) = tap.finish(PATIENCE).await;
    assert!(is_over, "connections to the server stay open");
    for conversation in conversations {
        let asked = Messages::read(&conversation.asked, Kind::Request);
        assert_eq!(asked.fault, None, "{conversation:?}");
        for message in &asked.all {
            assert_eq!(message.target(), "/");
            let is_upload = message.line.starts_with("POST");
            assert!(!(is_upload && message.is_whole), "{message:?}");
        }
    }
}
