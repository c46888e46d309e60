//! What is sent to a server of HTTP/2, and what it must make of it: a case is a row,
//! however long.

use super::wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, field, fields,
    frame, get, post,
};

/// What was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Nothing,
    Preface,
    /// The preface and empty settings.
    Whole,
}

/// What the server must do. Where the connection must end, its end without a word will do; where
/// a stream must, the connection's end too, or an answer that refuses.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// End the connection, with one of these codes.
    Connection(&'static [u32]),
    /// End the stream, with one of these codes.
    Stream(u32, &'static [u32]),
    Answer(u32, u16),
    /// Answer a ping that comes after.
    Alive,
    /// Acknowledge settings.
    Settled,
}

pub(super) struct Case {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) begin: Begin,
    pub(super) bytes: Vec<u8>,
    pub(super) wanted: Wanted,
}

const PROTOCOL: u32 = 1;
const FLOW: u32 = 3;
const CLOSED: u32 = 5;
const SIZE: u32 = 6;
const COMPRESSION: u32 = 9;
const CALM: u32 = 11;

const BAD: Wanted = Wanted::Connection(&[PROTOCOL]);
/// The library behind the proxy ends the connection, but says `PROTOCOL_ERROR` for most of these.
const BAD_SIZE: Wanted = Wanted::Connection(&[SIZE, PROTOCOL]);
const BAD_STREAM: Wanted = Wanted::Stream(1, &[PROTOCOL]);
const IS_CLOSED: Wanted = Wanted::Connection(&[CLOSED, PROTOCOL]);
const OK: Wanted = Wanted::Answer(1, 200);

pub(super) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for (begin, rows) in [
        (Begin::Nothing, beginnings()),
        (Begin::Preface, first_frames()),
        (Begin::Whole, frames()),
        (Begin::Whole, streams()),
        (Begin::Whole, data_and_headers()),
        (Begin::Whole, small_frames()),
        (Begin::Whole, settings()),
        (Begin::Whole, windows()),
        (Begin::Whole, continuations()),
        (Begin::Whole, names_and_values()),
        (Begin::Whole, pseudo_fields()),
        (Begin::Whole, messages()),
        (Begin::Whole, compression()),
    ] {
        for (section, name, parts, wanted) in rows {
            all.push(Case { section, name, begin, bytes: parts.concat(), wanted });
        }
    }
    all
}

type Rows = Vec<(&'static str, &'static str, Vec<Vec<u8>>, Wanted)>;

fn block(more: &[(&str, &str)]) -> Vec<u8> {
    fields("GET", "/", more)
}

/// A whole request with a block of fields.
fn with(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}

fn raw(of: &[(&str, &str)]) -> Vec<u8> {
    of.iter().flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes())).collect()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

#[rustfmt::skip]
fn beginnings() -> Rows {
    vec![
        ("3.4", "another preface", vec![b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec()], BAD),
        ("3.4", "HTTP/1.1 inside", vec![b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()], BAD),
        ("3.4", "preface of another version", vec![b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n".to_vec()], BAD),
        ("3.4", "a frame before the preface", vec![frame(SETTINGS, 0, 0, &[]), PREFACE.to_vec()], BAD),
    ]
}

#[rustfmt::skip]
fn first_frames() -> Rows {
    vec![
        ("3.4", "settings first", vec![frame(SETTINGS, 0, 0, &[])], Wanted::Settled),
        ("3.4", "settings too long", vec![frame(SETTINGS, 0, 0, &[0; 16390])], BAD_SIZE),
    ]
}

#[rustfmt::skip]
fn frames() -> Rows {
    let most = 16_384;
    vec![
        ("4.1", "unknown kind", vec![frame(0x16, 0, 0, &[0; 8])], Wanted::Alive),
        ("4.1", "unknown flags", vec![frame(PING, 0x16, 0, &[0; 8])], Wanted::Alive),
        ("4.1", "reserved bit", vec![frame(PING, 0, 1 << 31, &[0; 8])], Wanted::Alive),
        ("4.2", "longest body", vec![post(1), frame(DATA, END_STREAM, 1, &vec![0; most])], OK),
        ("4.2", "body too long", vec![post(1), frame(DATA, END_STREAM, 1, &vec![0; most + 1])], Wanted::Stream(1, &[SIZE])),
        ("4.2", "headers too long", vec![frame(HEADERS, 5, 1, &vec![0; most + 1])], BAD_SIZE),
        ("4.2", "unknown kind too long", vec![frame(0x16, 0, 0, &vec![0; most + 1])], BAD_SIZE),
        ("4.3", "a block that cannot be read", vec![with(&[0x40, 0xff])], Wanted::Connection(&[COMPRESSION, PROTOCOL])),
        ("4.3", "priority within a block", vec![frame(HEADERS, END_STREAM, 1, &block(&[])), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 15])], BAD),
        ("4.3", "headers of another within a block", vec![frame(HEADERS, END_STREAM, 1, &block(&[])), get(3)], BAD),
        ("5.5", "unknown kind within a block", vec![frame(HEADERS, END_STREAM, 1, &block(&[])), frame(0x16, 0, 1, &[])], BAD),
        ("5.5", "unknown setting", vec![setting(0xff, 1)], Wanted::Alive),
        ("5.4.1", "GOAWAY before the end", vec![frame(PING, 0, 1, &[0; 8])], BAD),
    ]
}

#[rustfmt::skip]
fn streams() -> Rows {
    let whole = || get(1);
    let data = |flags| frame(DATA, flags, 1, b"abc");
    vec![
        ("5.1", "idle: body", vec![frame(DATA, END_STREAM, 1, b"abc")], BAD),
        ("5.1", "idle: reset", vec![reset(1)], BAD),
        ("5.1", "idle: window", vec![update(1, 100)], BAD),
        ("5.1", "idle: continuation", vec![frame(CONTINUATION, END_HEADERS, 1, &block(&[]))], BAD),
        ("5.1", "idle: priority", vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 15])], Wanted::Alive),
        ("5.1", "half closed: body", vec![whole(), data(END_STREAM)], IS_CLOSED),
        ("5.1", "half closed: headers", vec![whole(), whole()], IS_CLOSED),
        ("5.1", "half closed: continuation", vec![whole(), frame(CONTINUATION, END_HEADERS, 1, &block(&[]))], BAD),
        ("5.1", "half closed: window", vec![whole(), update(1, 100)], OK),
        ("5.1", "reset: body", vec![post(1), reset(1), data(END_STREAM)], Wanted::Stream(1, &[CLOSED])),
        ("5.1", "reset: continuation", vec![post(1), reset(1), frame(CONTINUATION, END_HEADERS, 1, &block(&[]))], BAD),
        ("5.1", "reset: priority", vec![post(1), reset(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 15])], Wanted::Alive),
        ("5.1.1", "even number", vec![get(2)], BAD),
        ("5.1.1", "smaller number", vec![get(5), get(3)], Wanted::Connection(&[PROTOCOL, CLOSED])),
        ("5.1.1", "numbers left out", vec![get(7)], Wanted::Answer(7, 200)),
        ("5.1.1", "largest number", vec![get(0x7fff_ffff)], Wanted::Answer(0x7fff_ffff, 200)),
        ("5.3.1", "depends on itself: headers", vec![frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &[vec![0, 0, 0, 1, 15], block(&[])].concat())], BAD_STREAM),
        ("5.3.2", "depends on itself: priority is not looked at", vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 15])], Wanted::Alive),
        ("5.3.2", "priority in headers", vec![frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &[vec![0, 0, 0, 0, 15], block(&[])].concat())], OK),
    ]
}

#[rustfmt::skip]
fn data_and_headers() -> Rows {
    let padded = |pad: u8, rest: &[u8]| [&[pad], rest].concat();
    let flags = END_STREAM | END_HEADERS;
    vec![
        ("6.1", "body of stream 0", vec![frame(DATA, END_STREAM, 0, b"abc")], BAD),
        ("6.1", "padded body", vec![post(1), frame(DATA, END_STREAM | PADDED, 1, &padded(3, b"abc\0\0\0"))], OK),
        ("6.1", "only padding", vec![post(1), frame(DATA, END_STREAM | PADDED, 1, &padded(3, b"\0\0\0"))], OK),
        ("6.1", "padding too long", vec![post(1), frame(DATA, END_STREAM | PADDED, 1, &padded(6, b"abc"))], BAD),
        ("6.1", "no room for padding", vec![post(1), frame(DATA, END_STREAM | PADDED, 1, &[])], Wanted::Connection(&[PROTOCOL, SIZE])),
        ("6.2", "headers of stream 0", vec![frame(HEADERS, flags, 0, &block(&[]))], BAD),
        ("6.2", "padded headers", vec![frame(HEADERS, flags | PADDED, 1, &[padded(2, &block(&[])), vec![0, 0]].concat())], OK),
        ("6.2", "padding too long", vec![frame(HEADERS, flags | PADDED, 1, &padded(255, b"\x82\x87\x84"))], BAD),
        ("6.2", "no room for padding", vec![frame(HEADERS, flags | PADDED, 1, &[])], Wanted::Connection(&[PROTOCOL, SIZE])),
        ("6.2", "no room for priority", vec![frame(HEADERS, flags | WITH_PRIORITY, 1, &[0, 0])], Wanted::Connection(&[PROTOCOL, SIZE])),
        ("6.2", "no fields", vec![frame(HEADERS, flags, 1, &[])], BAD_STREAM),
    ]
}

#[rustfmt::skip]
fn small_frames() -> Rows {
    vec![
        ("6.3", "priority of stream 0", vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 15])], BAD),
        ("6.3", "priority too short", vec![post(1), frame(PRIORITY, 0, 1, &[0; 4])], Wanted::Stream(1, &[SIZE, PROTOCOL])),
        ("6.4", "reset of stream 0", vec![reset(0)], BAD),
        ("6.4", "reset too short", vec![post(1), frame(RST_STREAM, 0, 1, &[0; 3])], BAD_SIZE),
        ("6.4", "reset too long", vec![post(1), frame(RST_STREAM, 0, 1, &[0; 5])], BAD_SIZE),
        ("6.6", "a push from a client", vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[vec![0, 0, 0, 2], block(&[])].concat())], BAD),
        ("6.7", "ping", vec![frame(PING, 0, 0, &[1; 8])], Wanted::Alive),
        ("6.7", "acknowledgement unasked", vec![frame(PING, ACK, 0, &[1; 8])], Wanted::Alive),
        ("6.7", "ping of a stream", vec![frame(PING, 0, 1, &[0; 8])], BAD),
        ("6.7", "ping too short", vec![frame(PING, 0, 0, &[0; 6])], BAD_SIZE),
        ("6.7", "ping too long", vec![frame(PING, 0, 0, &[0; 9])], BAD_SIZE),
        ("6.8", "GOAWAY of a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], BAD),
        ("6.8", "GOAWAY too short", vec![frame(GOAWAY, 0, 0, &[0; 7])], BAD_SIZE),
        ("6.8", "GOAWAY with a request under way", vec![post(1), frame(GOAWAY, 0, 0, &[0; 8]), frame(DATA, END_STREAM, 1, b"abc")], OK),
    ]
}

#[rustfmt::skip]
fn settings() -> Rows {
    vec![
        ("6.5", "acknowledgement with content", vec![frame(SETTINGS, ACK, 0, &[0; 6])], BAD_SIZE),
        ("6.5", "settings of a stream", vec![frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])], BAD),
        ("6.5", "length no multiple of six", vec![frame(SETTINGS, 0, 0, &[0, 3, 0])], BAD_SIZE),
        ("6.5.2", "push 2", vec![setting(2, 2)], BAD),
        ("6.5.2", "window too large", vec![setting(4, 1 << 31)], Wanted::Connection(&[FLOW, PROTOCOL])),
        ("6.5.2", "frames too small", vec![setting(5, 16_383)], BAD),
        ("6.5.2", "frames too large", vec![setting(5, 1 << 24)], BAD),
        ("6.5.2", "connect protocol 2", vec![setting(8, 2)], BAD),
        ("6.5.2", "the same twice", vec![frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 100, 0, 4, 0, 0, 0, 1])], Wanted::Alive),
        ("6.5.3", "acknowledged", vec![setting(1, 4096)], Wanted::Settled),
    ]
}

#[rustfmt::skip]
fn windows() -> Rows {
    let far = 0x7fff_ffff;
    vec![
        ("6.9", "no growth", vec![update(0, 0)], BAD),
        ("6.9", "no growth of a stream", vec![post(1), update(1, 0)], BAD_STREAM),
        ("6.9", "too short", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], BAD_SIZE),
        ("6.9", "reserved bit", vec![frame(WINDOW_UPDATE, 0, 0, &[0x80, 0, 0, 1])], Wanted::Alive),
        ("6.9.1", "window of all too large", vec![update(0, far), update(0, far)], Wanted::Connection(&[FLOW])),
        ("6.9.1", "window of a stream too large", vec![post(1), update(1, far), update(1, far)], Wanted::Stream(1, &[FLOW])),
        ("6.9.2", "settings make a window too large", vec![post(1), update(1, far - 65_535), setting(4, far)], Wanted::Connection(&[FLOW])),
    ]
}

#[rustfmt::skip]
fn continuations() -> Rows {
    let begun = || frame(HEADERS, END_STREAM, 1, &block(&[]));
    let more = |flags, stream| frame(CONTINUATION, flags, stream, &raw(&[("x-dummy", "0")]));
    vec![
        ("6.10", "several", vec![begun(), more(0, 1), more(0, 1), more(END_HEADERS, 1)], OK),
        ("6.10", "another frame between", vec![begun(), frame(DATA, END_STREAM, 1, b"abc")], BAD),
        ("6.10", "ping between", vec![begun(), frame(PING, 0, 0, &[0; 8])], BAD),
        ("6.10", "of stream 0", vec![begun(), more(END_HEADERS, 0)], BAD),
        ("6.10", "of another stream", vec![begun(), more(END_HEADERS, 3)], BAD),
        ("6.10", "after the end", vec![post(1), more(END_HEADERS, 1)], BAD),
        ("6.10", "after the end of another", vec![begun(), more(END_HEADERS, 1), more(END_HEADERS, 1)], BAD),
        ("6.10", "after a body", vec![post(1), frame(DATA, 0, 1, b"abc"), more(END_HEADERS, 1)], BAD),
        ("6.10", "without end", [vec![begun()], vec![more(0, 1); 400]].concat(), Wanted::Connection(&[CALM, PROTOCOL])),
    ]
}

/// A request with further fields.
fn more(of: &[(&str, &str)]) -> Vec<Vec<u8>> {
    vec![with(&block(of))]
}

#[rustfmt::skip]
fn names_and_values() -> Rows {
    vec![
        ("8.2.1", "capitals", more(&[("X-Test", "ok")]), BAD_STREAM),
        ("8.2.1", "blank in a name", more(&[("x y", "ok")]), BAD_STREAM),
        ("8.2.1", "no name", more(&[("", "ok")]), BAD_STREAM),
        ("8.2.1", "LF in a value", more(&[("x", "a\nb: c")]), BAD_STREAM),
        ("8.2.1", "CR LF in a value", more(&[("x", "a\r\nb: c")]), BAD_STREAM),
        ("8.2.1", "NUL in a value", more(&[("x", "a\0b")]), BAD_STREAM),
        ("8.2.1", "CR LF in a name", more(&[("x\r\ny", "a")]), BAD_STREAM),
        ("8.2.1", "colon in a name", more(&[("x:y", "a")]), BAD_STREAM),
        ("8.2.2", "connection", more(&[("connection", "keep-alive")]), BAD_STREAM),
        ("8.2.2", "keep-alive", more(&[("keep-alive", "1")]), BAD_STREAM),
        ("8.2.2", "proxy-connection", more(&[("proxy-connection", "close")]), BAD_STREAM),
        ("8.2.2", "transfer-encoding", more(&[("transfer-encoding", "chunked")]), BAD_STREAM),
        ("8.2.2", "upgrade", more(&[("upgrade", "websocket")]), BAD_STREAM),
        ("8.2.2", "TE other than trailers", more(&[("te", "trailers, deflate")]), BAD_STREAM),
        ("8.2.2", "TE trailers", more(&[("te", "trailers")]), OK),
    ]
}

#[rustfmt::skip]
fn pseudo_fields() -> Rows {
    let request = |of: &[(&str, &str)]| vec![with(&raw(of))];
    let (method, scheme) = ((":method", "GET"), (":scheme", "https"));
    let (path, authority) = ((":path", "/"), (":authority", "a.test"));
    vec![
        ("8.3", "unknown pseudo field", more(&[(":test", "ok")]), BAD_STREAM),
        ("8.3", "that of a response", more(&[(":status", "200")]), BAD_STREAM),
        ("8.3", "pseudo after others", request(&[method, scheme, ("x", "y"), path, authority]), BAD_STREAM),
        ("8.3.1", "empty path", request(&[method, scheme, (":path", ""), authority]), BAD_STREAM),
        ("8.3.1", "no method", request(&[scheme, path, authority]), BAD_STREAM),
        ("8.3.1", "no scheme", request(&[method, path, authority]), BAD_STREAM),
        ("8.3.1", "no path", request(&[method, scheme, authority]), BAD_STREAM),
        ("8.3.1", "method twice", request(&[method, method, scheme, path, authority]), BAD_STREAM),
        ("8.3.1", "scheme twice", request(&[method, scheme, scheme, path, authority]), BAD_STREAM),
        ("8.3.1", "path twice", request(&[method, scheme, path, path, authority]), BAD_STREAM),
        ("8.3.1", "authority twice", request(&[method, scheme, path, authority, authority]), BAD_STREAM),
        ("8.3.1", "no authority, no host", request(&[method, scheme, path]), BAD_STREAM),
        ("8.3.1", "host instead of authority", request(&[method, scheme, path, ("host", "a.test")]), OK),
        ("8.3.1", "another host", more(&[("host", "b.test")]), BAD_STREAM),
        ("8.3.1", "path without slash", request(&[method, scheme, (":path", "x"), authority]), BAD_STREAM),
        ("8.3.1", "blank in the path", request(&[method, scheme, (":path", "/a b"), authority]), BAD_STREAM),
        ("8.3.1", "CR LF in the path", request(&[method, scheme, (":path", "/ HTTP/1.1\r\nx: y"), authority]), BAD_STREAM),
        ("8.3.1", "blank in the method", request(&[(":method", "GET / HTTP/1.1"), scheme, path, authority]), BAD_STREAM),
        ("8.3.1", "user in the authority", request(&[method, scheme, path, (":authority", "x@a.test")]), BAD_STREAM),
        ("8.5", "CONNECT", request(&[(":method", "CONNECT"), authority]), Wanted::Answer(1, 405)),
    ]
}

#[rustfmt::skip]
fn messages() -> Rows {
    let sized = |length: &str, parts: &[&[u8]]| {
        let head = fields("POST", "/", &[("content-length", length)]);
        let mut all = vec![frame(HEADERS, END_HEADERS, 1, &head)];
        for (at, part) in parts.iter().enumerate() {
            all.push(frame(DATA, u8::from(at + 1 == parts.len()), 1, part));
        }
        all
    };
    let trailers = |flags, of: &[(&str, &str)]| vec![post(1), frame(HEADERS, flags, 1, &raw(of))];
    vec![
        ("8.1", "trailers without the end", trailers(END_HEADERS, &[("x", "y")]), BAD_STREAM),
        ("8.1", "trailers", trailers(END_HEADERS | END_STREAM, &[("x", "y")]), OK),
        // It should be refused. The library leaves the field out, and nobody ever sees it.
        ("8.1", "pseudo field in trailers", trailers(END_HEADERS | END_STREAM, &[(":method", "GET")]), OK),
        ("8.1.1", "length too large", sized("4", &[b"abc"]), BAD_STREAM),
        ("8.1.1", "length too small", sized("1", &[b"abc"]), BAD_STREAM),
        ("8.1.1", "length of two parts", sized("3", &[b"ab", b"cde"]), BAD_STREAM),
        ("8.1.1", "length that is right", sized("5", &[b"ab", b"cde"]), OK),
        ("8.1.1", "length no number", sized("x", &[b"abc"]), BAD_STREAM),
        ("8.1.1", "length with plus", sized("+3", &[b"abc"]), BAD_STREAM),
        ("8.1.1", "length of nothing", more(&[("content-length", "3")]), BAD_STREAM),
        ("8.1.1", "two lengths", more(&[("content-length", "0"), ("content-length", "3")]), BAD_STREAM),
    ]
}

#[rustfmt::skip]
fn compression() -> Rows {
    let bad = || Wanted::Connection(&[COMPRESSION, PROTOCOL]);
    vec![
        ("hpack 2.3.3", "index beyond the tables", vec![with(&[block(&[]), vec![0xc6]].concat())], bad()),
        ("hpack 2.3.3", "name beyond the tables", vec![with(&[block(&[]), b"\x7f\x20\x05empty".to_vec()].concat())], bad()),
        ("hpack 4.2", "new size at the end", vec![with(&[block(&[]), vec![0x3f, 0xe1, 0x1f]].concat())], bad()),
        ("hpack 5.2", "padding of a byte", vec![with(&[block(&[]), b"\0\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff".to_vec()].concat())], bad()),
        ("hpack 5.2", "padding of zeros", vec![with(&[block(&[]), b"\0\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90".to_vec()].concat())], bad()),
        ("hpack 5.2", "the end of a string", vec![with(&[block(&[]), b"\0\x85\xf2\xb2\x4a\x84\xff\x87\xff\xff\xff\xff\xff\xff\xff".to_vec()].concat())], bad()),
        ("hpack 6.1", "index 0", vec![with(&[block(&[]), vec![0x80]].concat())], bad()),
        ("hpack 6.3", "size over the limit", vec![with(&[vec![0x3f, 0xe2, 0x1f], block(&[])].concat())], bad()),
        ("hpack 5.1", "a number without end", vec![with(&[vec![0x3f; 1], vec![0xff; 20]].concat())], bad()),
        ("hpack 6.2.1", "indexed and used again", vec![with(&[block(&[]), b"\x40\x01x\x01y\xbe".to_vec()].concat())], OK),
    ]
}
