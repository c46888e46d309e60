//! The opening handshake.

use super::base64;
use super::sha1::Sha1;
use crate::http::head::Head;
use crate::http::response::status_line;

/// The constant of RFC 6455 that shows the peer meant this protocol.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` value for a request, or `None` when it asks for no upgrade.
pub(crate) fn accept(head: &Head) -> Option<String> {
    let asks = head.lists("connection", "upgrade")
        && head.lists("upgrade", "websocket")
        && head.header("sec-websocket-version") == Some("13");
    let key = head.header("sec-websocket-key").filter(|_| asks)?;
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    Some(base64::encode(&hash.finish()))
}

/// The server's half of the handshake.
pub(crate) fn response(accept: &str) -> String {
    format!(
        "{}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n",
        status_line(101)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept_of(version: &str) -> Option<String> {
        let text = format!(
            "GET /ws HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\r\n"
        );
        accept(&Head::read(&mut text.as_bytes()).unwrap().unwrap())
    }

    #[test]
    fn the_key_of_the_rfc_gives_its_accept_value() {
        assert_eq!(accept_of("13").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(accept_of("8"), None);
    }
}
