//! Requests of HTTP/2 on their way to a service of HTTP/1.1: framed anew, never copied, and what
//! would be two requests there is refused here.

use super::wire::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, Wire, field, fields, frame, serve,
    status,
};
use crate::messages::{Kind, Message, Messages};
use crate::servers::Which;
use crate::support::{PATIENCE, Proxy};
use crate::tap::Tap;
use jaco_ingress_core::Table;

const INNER: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// What is sent: fields, and a body where there is one.
struct Sent {
    name: &'static str,
    block: Vec<u8>,
    body: Option<Vec<u8>>,
    /// The service's view; `None` when it must not see it.
    seen: Option<usize>,
}

fn sent(
    name: &'static str,
    more: &[(&str, &str)],
    body: Option<&str>,
    seen: Option<usize>,
) -> Sent {
    let method = if body.is_some() { "POST" } else { "GET" };
    let block = fields(method, "/x", more);
    Sent { name, block, body: body.map(|body| body.as_bytes().to_vec()), seen }
}

fn all() -> Vec<Sent> {
    let other = |name, path: &str, method: &str, authority: &str| {
        let block = [
            field(b":method", method.as_bytes()),
            field(b":scheme", b"https"),
            field(b":path", path.as_bytes()),
            field(b":authority", authority.as_bytes()),
        ];
        Sent { name, block: block.concat(), body: None, seen: None }
    };
    vec![
        sent("nothing", &[], None, Some(0)),
        sent("a body without length", &[], Some(INNER), Some(INNER.len())),
        sent("a body with its length", &[("content-length", "3")], Some("abc"), Some(3)),
        sent(
            "what looks like chunks",
            &[],
            Some("0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
            Some(31),
        ),
        sent("length 0 with a body", &[("content-length", "0")], Some(INNER), None),
        sent("length too small", &[("content-length", "1")], Some(INNER), None),
        sent("coding", &[("transfer-encoding", "chunked")], Some("0\r\n\r\n"), None),
        sent(
            "coding and length",
            &[("transfer-encoding", "chunked"), ("content-length", "5")],
            Some("0\r\n\r\n"),
            None,
        ),
        sent(
            "line in a value",
            &[("x", "y\r\ntransfer-encoding: chunked")],
            Some("0\r\n\r\n"),
            None,
        ),
        sent(
            "line in a name",
            &[("x: y\r\ntransfer-encoding", "chunked")],
            Some("0\r\n\r\n"),
            None,
        ),
        sent("LF in a value", &[("x", "y\ncontent-length: 0")], Some("abc"), None),
        sent(
            "expectation",
            &[("expect", "100-continue"), ("content-length", "3")],
            Some("abc"),
            Some(3),
        ),
        sent("another host", &[("host", "b.test")], None, None),
        sent("the same host", &[("host", "a.test")], None, Some(0)),
        sent("two hosts", &[("host", "a.test"), ("host", "a.test")], None, None),
        other(
            "request in the path",
            "/ HTTP/1.1\r\nHost: a.test\r\n\r\nGET /smuggled",
            "GET",
            "a.test",
        ),
        other("blank in the path", "/smuggled HTTP/1.1", "GET", "a.test"),
        other(
            "line in the method",
            "/",
            "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\nGET",
            "a.test",
        ),
        other("line in the authority", "/", "GET", "a.test\r\nx: y"),
        other("path in the authority", "/", "GET", "a.test/smuggled"),
        other("absolute path", "https://b.test/smuggled", "GET", "a.test"),
    ]
}

/// The answer's status; `None` when the stream or the connection was ended.
async fn ask(proxy: &Proxy, root: &[u8], sent: &Sent) -> Option<u16> {
    let mut wire = Wire::begun(proxy.https, root, &[]).await;
    match &sent.body {
        None => {
            wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &sent.block)).await;
        }
        Some(body) => {
            let head = frame(HEADERS, END_HEADERS, 1, &sent.block);
            wire.send(&[head, frame(DATA, END_STREAM, 1, body)].concat()).await;
        }
    }
    let told = |kind| [HEADERS, RST_STREAM, GOAWAY].contains(&kind);
    let frame = wire.until(|frame| told(frame.kind)).await?;
    if frame.kind == HEADERS { status(&frame) } else { None }
}

async fn run(which: Which) {
    let server = which.start().await;
    let tap = Tap::before(server.place.clone()).await;
    let proxy = Proxy::start(|_| {});
    let root = serve(&proxy, tap.address.port(), |_| {});
    for sent in all() {
        let status = ask(&proxy, &root, &sent).await;
        match sent.seen {
            Some(_) => assert_eq!(status, Some(200), "{which:?}: {}", sent.name),
            None => {
                let is_refused = status.is_none_or(|status| (400..500).contains(&status));
                assert!(is_refused, "{which:?}: {}: {status:?}", sent.name);
            }
        }
    }
    proxy.serve(Table::default());
    let (conversations, is_over) = tap.finish(PATIENCE).await;
    assert!(is_over, "connections to the server stay open");
    let mut seen: Vec<usize> = Vec::new();
    for conversation in conversations {
        let asked = Messages::read(&conversation.asked, Kind::Request);
        assert_eq!(asked.fault, None, "{conversation:?}");
        let answered = Messages::read(&conversation.answered, Kind::Response);
        assert!(answered.finals().count() <= asked.all.len(), "{conversation:?}");
        let whole = asked.all.iter().filter(|message| message.is_whole);
        for message in whole.clone() {
            assert_eq!(message.target(), "/x", "{message:?}");
            assert!(!message.line.contains("smuggled"), "{message:?}");
        }
        seen.extend(whole.map(|message: &Message| message.body.len()));
    }
    seen.sort_unstable();
    let mut wanted: Vec<usize> = all().iter().filter_map(|sent| sent.seen).collect();
    wanted.sort_unstable();
    assert_eq!(seen, wanted, "{which:?}");
}

#[tokio::test]
async fn before_hyper() {
    run(Which::Hyper).await;
}

#[tokio::test]
async fn before_nginx() {
    run(Which::Nginx).await;
}

#[tokio::test]
async fn before_python() {
    run(Which::Python).await;
}
