//! A client of HTTP/2 that sends what it is told, right or wrong, and understands only frames.

use crate::support::{PATIENCE, Proxy, certify, table};
use jaco_model::spec::RouteSpec;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Kinds of frames (RFC 9113, 6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

// Flags.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        self.payload[at..at + 4].iter().fold(0, |code, byte| code << 8 | u32::from(*byte))
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that enters no table and is not compressed (RFC 7541, 6.2.2).
pub(crate) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        assert!(text.len() < 127, "the length has one byte");
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text);
    }
    bytes
}

/// Fields of a whole request for `path` at a.test, with further ones.
pub(crate) fn fields(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own =
        [(":method", method), (":scheme", "https"), (":path", path), (":authority", "a.test")];
    own.iter()
        .chain(more)
        .flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes()))
        .collect()
}

/// A request without a body.
pub(crate) fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields("GET", "/", &[]))
}

/// A request whose body is to come.
pub(crate) fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields("POST", "/", &[]))
}

pub(crate) async fn connect(
    to: SocketAddr,
    root: &[u8],
    protocol: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("a.test").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Serves a.test from there; returns the certificate.
pub(crate) fn serve(proxy: &Proxy, port: u16, adjust: impl FnOnce(&mut RouteSpec)) -> Vec<u8> {
    let mut table = table(&[Ipv4Addr::LOCALHOST], port, adjust);
    let root = certify(&mut table, "a.test");
    proxy.serve(table);
    root
}

/// A connection.
pub(crate) struct Wire {
    stream: TlsStream<TcpStream>,
}

impl Wire {
    /// A connection on which nothing was said.
    pub(crate) async fn silent(to: SocketAddr, root: &[u8]) -> Wire {
        Wire { stream: connect(to, root, "h2").await.unwrap() }
    }

    /// One that has begun, with these settings of ours.
    pub(crate) async fn begun(to: SocketAddr, root: &[u8], settings: &[u8]) -> Wire {
        let mut wire = Wire::silent(to, root).await;
        wire.send(PREFACE).await;
        wire.send(&frame(SETTINGS, 0, 0, settings)).await;
        wire
    }

    /// Sends what the other side may refuse by closing.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(PATIENCE, sending).await.is_ok_and(|sent| sent.is_ok())
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("a frame, or the end")
    }

    /// Reads up to a frame for which `is_it` holds.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Frame) -> bool) -> Option<Frame> {
        while let Some(frame) = self.next().await {
            if is_it(&frame) {
                return Some(frame);
            }
        }
        None
    }
}

/// The status of an answer, from the tables that hyper's encoder uses for it.
pub(crate) fn status(headers: &Frame) -> Option<u16> {
    assert_eq!(headers.kind, HEADERS);
    let mut block = headers.payload.as_slice();
    // Sizes of the dynamic table come first.
    while let [0x20..=0x3f, rest @ ..] = block {
        block = rest;
    }
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [at @ 0x88..=0x8e, ..] => indexed.get(usize::from(at - 0x88)).copied(),
        // `:status` by its index, with a value of digits, compressed or not.
        [0x08 | 0x48, 3, digits @ ..] => std::str::from_utf8(digits.get(..3)?).ok()?.parse().ok(),
        [0x08 | 0x48, length @ 0x80..=0xff, coded @ ..] => {
            huffman_digits(coded.get(..usize::from(length & 0x7f))?)
        }
        _ => None,
    }
}

/// Three digits in the code of RFC 7541, B: `0` to `2` have five bits, the others six.
fn huffman_digits(coded: &[u8]) -> Option<u16> {
    let mut bits = coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0;
        for _ in 0..5 {
            code = code << 1 | bits.next()?;
        }
        let digit = match code {
            0..=2 => code,
            _ => match code << 1 | bits.next()? {
                code @ 0x19..=0x1f => code - 0x19 + 3,
                _ => return None,
            },
        };
        number = number * 10 + u16::from(digit);
    }
    Some(number)
}
