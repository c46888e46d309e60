//! Requests that software has read differently, and what must become of them. `{m}` stands for a
//! mark that nobody else uses.

/// What must become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// 400, the connection ends, and nothing of what follows is read.
    Refused,
    /// The service answers, and has seen a body of so many bytes.
    Served(usize),
    /// As `Served`, and the connection ends.
    Last(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) bytes: String,
    pub(crate) wanted: Wanted,
}

const FIRST: &str = "POST /headers?m={m} HTTP/1.1\r\nHost: a.test\r\n";
/// What an attacker would like to be taken for a request.
const INNER: &str = "GET /headers?m=smuggled-{m} HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// All of them.
pub(crate) fn all() -> Vec<Vector> {
    let mut all = Vec::new();
    let mut add = |wanted, of: &[(&'static str, &str)]| {
        for (name, text) in of {
            let bytes = match text.strip_prefix('~') {
                Some(fields) => format!("{FIRST}{fields}"),
                None => (*text).to_owned(),
            };
            all.push(Vector { name, bytes: bytes.replace("{inner}", INNER), wanted });
        }
    };
    add(Wanted::Refused, LENGTHS);
    add(Wanted::Refused, CODINGS);
    add(Wanted::Refused, CHUNKS);
    add(Wanted::Refused, LINES);
    add(Wanted::Refused, HOSTS);
    add(Wanted::Refused, FIRST_LINES);
    add(Wanted::Served(0), WITHOUT_BODY);
    add(Wanted::Served(3), THREE_BYTES);
    add(Wanted::Last(3), THREE_BYTES_AND_CLOSE);
    let inner = INNER.replace("{m}", "x");
    for (name, wanted, field) in [
        (
            "a body that looks like a request",
            inner.len(),
            format!("Content-Length: {}", inner.len()),
        ),
        (
            "the same, and an upgrade",
            inner.len(),
            format!("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: {}", inner.len()),
        ),
    ] {
        let bytes = format!("{FIRST}{field}\r\n\r\n{inner}");
        all.push(Vector { name, bytes, wanted: Wanted::Served(wanted) });
    }
    let data = format!("0\r\n\r\n{inner}");
    let bytes =
        format!("{FIRST}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{data}\r\n0\r\n\r\n", data.len());
    let name = "a chunk that looks like the end and a request";
    all.push(Vector { name, bytes, wanted: Wanted::Served(data.len()) });
    all
}

type Table = &'static [(&'static str, &'static str)];

const LENGTHS: Table = &[
    ("length, coding", "~Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
    ("coding, length", "~Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n{inner}"),
    (
        "length 0 and coding",
        "~Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    ("same length twice", "~Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ("two lengths", "~Content-Length: 0\r\nContent-Length: 70\r\n\r\n{inner}"),
    ("two lengths apart", "~Content-Length: 3\r\nA: b\r\ncontent-length: 0\r\n\r\nabc"),
    ("list of lengths", "~Content-Length: 3, 3\r\n\r\nabc"),
    ("plus", "~Content-Length: +3\r\n\r\nabc"),
    ("minus", "~Content-Length: -3\r\n\r\nabc"),
    ("hexadecimal", "~Content-Length: 0x3\r\n\r\nabc"),
    ("blank within", "~Content-Length: 3 0\r\n\r\nabc"),
    ("vertical tab", "~Content-Length: 3\x0b\r\n\r\nabc"),
    ("form feed before", "~Content-Length: \x0c3\r\n\r\nabc"),
    ("no number", "~Content-Length: \r\n\r\n"),
    ("fraction", "~Content-Length: 3.0\r\n\r\nabc"),
    ("exponent", "~Content-Length: 3e0\r\n\r\nabc"),
    ("underscore", "~Content-Length: 1_0\r\n\r\n0123456789"),
    ("quoted", "~Content-Length: \"3\"\r\n\r\nabc"),
    ("over 64 bits", "~Content-Length: 18446744073709551619\r\n\r\nabc"),
    ("Arabic digit", "~Content-Length: \u{663}\r\n\r\nabc"),
    ("blank before colon", "~Content-Length : 3\r\n\r\nabc"),
    ("tab before colon", "~Content-Length\t: 3\r\n\r\nabc"),
    ("NUL in name", "~Content-Length\0: 3\r\n\r\nabc"),
    ("NUL after", "~Content-Length: 3\0\r\n\r\nabc"),
    ("folded length", "~Content-Length:\r\n 3\r\n\r\nabc"),
    ("continued length", "~Content-Length: 3\r\n 0\r\n\r\nabc"),
];

const CODINGS: Table = &[
    ("gzip, chunked", "~Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{inner}"),
    ("chunked, identity", "~Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
    ("chunked, chunked", "~Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("identity", "~Transfer-Encoding: identity\r\n\r\n"),
    ("xchunked", "~Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("parameter", "~Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    ("quoted coding", "~Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("vertical tab before", "~Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("comma before", "~Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    ("comma after", "~Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    ("no coding", "~Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ("coding twice", "~Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked and identity",
        "~Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "identity and chunked",
        "~Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("coding, blank", "~Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
    ("coding, blank, length", "~Transfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabc"),
    ("folded coding", "~Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("indented coding", "~A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("coding behind LF", "~A: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("coding behind CR", "~A: b\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (
        "coding of 1.0",
        "POST /headers?m={m} HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
    ),
];

const CHUNKS: Table = &[
    ("extension", "~Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n"),
    ("empty extension", "~Transfer-Encoding: chunked\r\n\r\n3;\r\nabc\r\n0\r\n\r\n"),
    ("extension with LF", "~Transfer-Encoding: chunked\r\n\r\n3;\n\r\nabc\r\n0\r\n\r\n{inner}"),
    ("extension with CR", "~Transfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("extension of the last", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0;a\r\n\r\n"),
    ("blank after size", "~Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n"),
    ("blank before size", "~Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n"),
    ("size 0x3", "~Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"),
    ("size +3", "~Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n"),
    ("size -1", "~Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n"),
    ("size 1_0", "~Transfer-Encoding: chunked\r\n\r\n1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    ("no size", "~Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n"),
    ("no hexadecimal size", "~Transfer-Encoding: chunked\r\n\r\ng\r\nabc\r\n0\r\n\r\n"),
    (
        "size over 64 bits",
        "~Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
    ),
    ("size of 64 bits", "~Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ("size over a terabyte", "~Transfer-Encoding: chunked\r\n\r\n10000000001\r\nabc\r\n0\r\n\r\n"),
    ("many zeros", "~Transfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("LF after size", "~Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"),
    ("CR after size", "~Transfer-Encoding: chunked\r\n\r\n3\rabc\r\n0\r\n\r\n"),
    ("LF after data", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n"),
    ("CR after data", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r0\r\n\r\n"),
    ("nothing after data", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n{inner}"),
    ("more data", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
    ("less data", "~Transfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n{inner}"),
    ("LF after the last", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\n\n{inner}"),
    ("LF ends trailers", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\n{inner}"),
    ("LF in trailers", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\n\r\n"),
    ("folded trailer", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n c\r\n\r\n"),
    ("trailer without name", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n: b\r\n\r\n"),
    ("trailer is a request", "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{inner}"),
    ("NUL in size", "~Transfer-Encoding: chunked\r\n\r\n3\0\r\nabc\r\n0\r\n\r\n"),
];

const LINES: Table = &[
    ("LF everywhere", "GET /headers?m={m} HTTP/1.1\nHost: a.test\n\n"),
    ("LF after first line", "GET /headers?m={m} HTTP/1.1\nHost: a.test\r\n\r\n"),
    ("LF after a field", "~A: b\nC: d\r\n\r\n"),
    ("LF ends fields", "~A: b\r\n\n"),
    ("CR within value", "~A: b\rc\r\n\r\n"),
    ("CR CR LF", "~A: b\r\r\n\r\n"),
    ("NUL within value", "~A: b\0c\r\n\r\n"),
    ("control in value", "~A: b\x01c\r\n\r\n"),
    ("DEL in value", "~A: b\x7fc\r\n\r\n"),
    ("folded value", "~A: b\r\n c\r\n\r\n"),
    ("folded by tab", "~A: b\r\n\tc\r\n\r\n"),
    ("first field folded", "GET /headers?m={m} HTTP/1.1\r\n Host: a.test\r\n\r\n"),
    ("no name", "~: b\r\n\r\n"),
    ("no colon", "~A\r\n\r\n"),
    ("blank in name", "~A B: c\r\n\r\n"),
    ("bracket in name", "~A[]: c\r\n\r\n"),
    ("name not ASCII", "~\u{e4}: c\r\n\r\n"),
];

const HOSTS: Table = &[
    ("two hosts", "~Host: b.test\r\n\r\n"),
    ("same host twice", "~Host: a.test\r\n\r\n"),
    ("no host", "GET /headers?m={m} HTTP/1.1\r\n\r\n"),
    ("no host in 1.0", "GET /headers?m={m} HTTP/1.0\r\n\r\n"),
    ("empty host", "GET /headers?m={m} HTTP/1.1\r\nHost: \r\n\r\n"),
    ("host with user", "GET /headers?m={m} HTTP/1.1\r\nHost: b.test@a.test\r\n\r\n"),
    ("host with path", "GET /headers?m={m} HTTP/1.1\r\nHost: a.test/x\r\n\r\n"),
    ("list of hosts", "GET /headers?m={m} HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n"),
    ("host with blank", "GET /headers?m={m} HTTP/1.1\r\nHost: a.test b.test\r\n\r\n"),
    ("target of another", "GET http://b.test/headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target with user", "GET http://b.test@a.test/headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target with port", "GET http://a.test:81/headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("target with host, no host", "GET http://a.test/headers?m={m} HTTP/1.1\r\n\r\n"),
];

const FIRST_LINES: Table = &[
    ("two blanks", "GET  /headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("tab", "GET\t/headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("blank before", " GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("blank after", "GET /headers?m={m} HTTP/1.1 \r\nHost: a.test\r\n\r\n"),
    ("line break before", "\r\nGET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("blank in target", "GET /headers?m={m} x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("control in target", "GET /headers?m={m}\x01 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("DEL in target", "GET /headers?m={m}\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("NUL in target", "GET /headers?m={m}\0 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("control in method", "G\x01T /headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("method with colon", "GET: /headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("no version", "GET /headers?m={m}\r\nHost: a.test\r\n\r\n"),
    ("version 1.2", "GET /headers?m={m} HTTP/1.2\r\nHost: a.test\r\n\r\n"),
    ("version 1.10", "GET /headers?m={m} HTTP/1.10\r\nHost: a.test\r\n\r\n"),
    ("version 0.9", "GET /headers?m={m} HTTP/0.9\r\nHost: a.test\r\n\r\n"),
    ("lower case version", "GET /headers?m={m} http/1.1\r\nHost: a.test\r\n\r\n"),
    ("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("asterisk", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("authority", "GET a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("path above the root", "GET /../headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
];

const WITHOUT_BODY: Table = &[
    ("GET", "GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("length 0", "~Content-Length: 0\r\n\r\n"),
    ("no length", "~\r\n"),
    ("no chunk", "~Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("absolute target", "GET http://a.test/headers?m={m} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("host in capitals", "GET /headers?m={m} HTTP/1.1\r\nHost: A.TEST\r\n\r\n"),
    ("bytes over 127 in a value", "~A: \u{e4}\r\n\r\n"),
    ("odd but legal name", "~!#$%&'*+.^`|~: b\r\n\r\n"),
    ("length with underscore", "~Content_Length: 70\r\n\r\n"),
    (
        "wish for an upgrade",
        "GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ),
    (
        "wish for h2c",
        "GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
    ),
    (
        "connection names the host",
        "GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\nConnection: host\r\n\r\n",
    ),
    (
        "expectation without body",
        "GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n",
    ),
];

const THREE_BYTES: Table = &[
    ("length", "~Content-Length: 3\r\n\r\nabc"),
    ("length, zero before", "~Content-Length: 03\r\n\r\nabc"),
    ("length, blanks around", "~Content-Length: \t 3 \t\r\n\r\nabc"),
    ("length in capitals", "~CONTENT-LENGTH: 3\r\n\r\nabc"),
    (
        "GET with a body",
        "GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "GET with chunks",
        "GET /headers?m={m} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    ("chunks", "~Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
    ("coding in capitals", "~TRANSFER-ENCODING: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ("coding, blanks around", "~Transfer-Encoding: \t chunked \t\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    ("size with zeros", "~Transfer-Encoding: chunked\r\n\r\n0003\r\nabc\r\n000\r\n\r\n"),
    ("trailers", "~Transfer-Encoding: chunked\r\nTrailer: A\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"),
    (
        "length in trailers",
        "~Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 70\r\nTransfer-Encoding: gzip\r\nHost: b.test\r\n\r\n",
    ),
    ("connection names the length", "~Connection: content-length\r\nContent-Length: 3\r\n\r\nabc"),
    (
        "connection names the coding",
        "~Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "length and another name",
        "~Content-Length: 3\r\nX-Content-Length: 70\r\nContent_Length: 0\r\n\r\nabc",
    ),
    (
        "length and a coding by another name",
        "~Content-Length: 3\r\nTransfer_Encoding: chunked\r\nX-Transfer-Encoding: chunked\r\n\r\nabc",
    ),
    ("expectation", "~Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"),
    (
        "expectation of chunks",
        "~Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "upgrade with a body",
        "~Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "upgrade with chunks",
        "~Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "h2c with a body",
        "~Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 3\r\n\r\nabc",
    ),
    ("content coding", "~Content-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"),
];

const THREE_BYTES_AND_CLOSE: Table = &[
    ("1.0", "POST /headers?m={m} HTTP/1.0\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc"),
    ("close", "~Connection: close\r\nContent-Length: 3\r\n\r\nabc"),
    (
        "close, and a length named",
        "~Connection: close, content-length\r\nContent-Length: 3\r\n\r\nabc",
    ),
];
