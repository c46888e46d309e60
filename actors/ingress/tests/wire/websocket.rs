//! WebSockets (RFC 6455) as bytes: nothing passes before the service agreed, everything after, and
//! what is no agreement is an ordinary answer.

use crate::differential::talk;
use crate::messages::Message;
use crate::support::{PATIENCE, Proxy, read_head, scripted, table};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ASK: &str = "GET /ws?x=1 HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin: http://a.test\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\r\n";
/// A text in two frames with a ping between, an empty frame, a reserved code, bits that no
/// extension gives a meaning, and a close with a reason: all of it is the service's business.
const FRAMES: &[u8] = b"\x01\x83\0\0\0\0abc\x89\x81\0\0\0\0p\x80\x82\0\0\0\0de\x82\x80\0\0\0\0\
    \x83\x80\0\0\0\0\xf1\x81\0\0\0\0z\r\n\r\nGET / HTTP/1.1\r\n\r\n\x88\x85\0\0\0\0\x03\xe9bye";
/// Long enough for bytes that should not come.
const MOMENT: Duration = Duration::from_millis(200);

async fn serve(proxy: &Proxy, port: u16) -> TcpStream {
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], port, |_| {}));
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn exactly(stream: &mut TcpStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    let reading = stream.read_exact(&mut got);
    tokio::time::timeout(PATIENCE, reading).await.expect("all of it comes").unwrap();
    assert_eq!(got, wanted);
}

async fn says_nothing(stream: &mut TcpStream) {
    let mut byte = [0];
    let said = tokio::time::timeout(MOMENT, stream.read(&mut byte)).await;
    assert!(said.is_err(), "{said:?} {byte:?}");
}

#[tokio::test]
async fn bytes_pass_only_after_the_service_agreed() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        let head = read_head(&mut stream).await.to_lowercase();
        for field in [
            "get /ws?x=1 http/1.1\r\n",
            "\r\nupgrade: websocket\r\n",
            "\r\nconnection: upgrade\r\n",
            "\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n",
            "\r\nsec-websocket-version: 13\r\n",
            "\r\nsec-websocket-protocol: chat\r\n",
            "\r\nsec-websocket-extensions: permessage-deflate\r\n",
            "\r\norigin: http://a.test\r\n",
        ] {
            assert!(head.contains(field), "{field:?} in {head}");
        }
        says_nothing(&mut stream).await;
        stream.write_all(AGREED.as_bytes()).await.unwrap();
        exactly(&mut stream, FRAMES).await;
        stream.write_all(FRAMES).await.unwrap();
        exactly(&mut stream, b"last").await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the client's end is the service's");
        stream.write_all(b"late").await.unwrap();
    })
    .await;
    let mut client = serve(&proxy, service.port()).await;
    // The client does not wait for the answer, as it should.
    client.write_all(&[ASK.as_bytes(), FRAMES].concat()).await.unwrap();
    let head = read_head(&mut client).await.to_lowercase();
    for field in [
        "http/1.1 101 ",
        "\r\nupgrade: websocket\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "\r\nsec-websocket-protocol: chat\r\n",
    ] {
        assert!(head.contains(field), "{field:?} in {head}");
    }
    exactly(&mut client, FRAMES).await;
    client.write_all(b"last").await.unwrap();
    client.shutdown().await.unwrap();
    exactly(&mut client, b"late").await;
    let end = tokio::time::timeout(PATIENCE, client.read(&mut [0])).await;
    assert_eq!(end.expect("it ends").unwrap(), 0);
}

#[tokio::test]
async fn the_client_hears_nothing_before_the_service_agreed() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(2 * MOMENT).await;
        // The first message in one piece with the agreement.
        let _ = stream.write_all(format!("{AGREED}\u{1}\u{2}hi").as_bytes()).await;
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let mut client = serve(&proxy, service.port()).await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    says_nothing(&mut client).await;
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
    exactly(&mut client, b"\x01\x02hi").await;
}

/// What follows the wish is a request like any other when the service does not agree; frames are
/// none.
#[tokio::test]
async fn without_agreement_all_is_http() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let Some(line) = head.lines().next() else { return };
            let status = if head.contains("websocket") { "426 Upgrade" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{line}", line.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], service.port(), |_| {}));
    let next = "GET /next HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let answers = talk(proxy.http, format!("{ASK}{next}").as_bytes(), usize::MAX).await;
    let told: Vec<_> = answers.all.iter().map(|it| (it.status(), it.text())).collect();
    let line = |path| format!("GET {path} HTTP/1.1");
    assert_eq!(told, [(426, line("/ws?x=1")), (200, line("/next"))], "{answers:?}");
    let bytes = [ASK.as_bytes(), FRAMES, next.as_bytes()].concat();
    let answers = talk(proxy.http, &bytes, usize::MAX).await;
    let told: Vec<u16> = answers.all.iter().map(Message::status).collect();
    assert_eq!(told, [426, 400], "{answers:?}");
}

/// A wish that is none: nothing is switched, whatever the service says.
#[tokio::test]
async fn nobody_is_switched_who_did_not_ask() {
    let proxy = Proxy::start(|_| {});
    let service = scripted("127.0.0.1:0", |mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(!head.to_lowercase().contains("upgrade:"), "{head}");
        let _ = stream.write_all(AGREED.as_bytes()).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("secret"), "{rest:?}");
    })
    .await;
    proxy.serve(table(&[Ipv4Addr::LOCALHOST], service.port(), |_| {}));
    for (name, fields, body) in [
        ("upgrade without connection", "Upgrade: websocket\r\n", ""),
        ("connection without upgrade", "Connection: upgrade\r\n", ""),
        (
            "with a body",
            "Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n",
            "abc",
        ),
        (
            "with chunks",
            "Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let head = format!("POST /ws HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{body}");
        let secret = "GET /secret HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n";
        let answers = talk(proxy.http, format!("{head}{secret}").as_bytes(), usize::MAX).await;
        let told: Vec<u16> = answers.all.iter().map(Message::status).collect();
        assert_eq!(told, [502, 404], "{name}: {answers:?}");
    }
    let old = ASK.replace("HTTP/1.1", "HTTP/1.0");
    let answers = talk(proxy.http, old.as_bytes(), usize::MAX).await;
    assert_eq!(answers.all[0].status(), 502, "{answers:?}");
}
