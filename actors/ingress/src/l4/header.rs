//! The PROXY header that tells a replica who its client is (haproxy's `proxy-protocol.txt`).

use jaco_model::spec::{Protocol, ProxyVersion};
use std::net::SocketAddrV4;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The header of a connection from `client` to `asked`.
pub(super) fn header(
    version: ProxyVersion,
    protocol: Protocol,
    client: SocketAddrV4,
    asked: SocketAddrV4,
) -> Vec<u8> {
    if version == ProxyVersion::V1 {
        let (from, to) = (client.ip(), asked.ip());
        return format!("PROXY TCP4 {from} {to} {} {}\r\n", client.port(), asked.port()).into();
    }
    let mut out = SIGNATURE.to_vec();
    let family = match protocol {
        Protocol::Tcp => 0x11,
        Protocol::Udp => 0x12,
    };
    // Version 2, command PROXY; twelve bytes of addresses and ports follow.
    out.extend([0x21, family, 0, 12]);
    out.extend(client.ip().octets());
    out.extend(asked.ip().octets());
    out.extend(client.port().to_be_bytes());
    out.extend(asked.port().to_be_bytes());
    out
}
