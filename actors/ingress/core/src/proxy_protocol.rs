//! The PROXY protocol as its receiver reads it: a load balancer in front says who really asks
//! (haproxy's `proxy-protocol.txt`, sections 2.1 and 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1 in bytes, its line end included (2.1).
const LINE_MAX: usize = 107;
/// Longest header of version 2 in bytes that is read, extensions included.
const BINARY_MAX: usize = 4096;
const LINE_BEGIN: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its bytes; what follows them is the connection's own.
    pub length: usize,
    /// Who talks to whom; `None` when the load balancer speaks for itself or does not know.
    pub ends: Option<ProxyEnds>,
}

/// The two ends of a connection as the load balancer saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyEnds {
    /// Who asks.
    pub client: SocketAddr,
    /// What was asked.
    pub local: SocketAddr,
}

/// These bytes begin no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotProxied;

/// Reads the header that a connection begins with. `None` means that more bytes are needed, and
/// that all of these belong to the header.
///
/// # Errors
/// When no header begins so, or one that is longer than is read.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxied> {
    if begins(bytes, LINE_BEGIN) {
        line(bytes)
    } else if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else {
        Err(NotProxied)
    }
}

/// Whether the bytes, few as they may be, agree with this beginning.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(one, other)| one == other)
}

/// Version 1.
fn line(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxied> {
    let window = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        // A carriage return is the last but one byte of a line or none of it.
        let is_over = window[..window.len().saturating_sub(1)].contains(&b'\r');
        let is_legal = window.len() < LINE_MAX && !is_over;
        return if is_legal { Ok(None) } else { Err(NotProxied) };
    };
    let text = window[..end].strip_suffix(b"\r").ok_or(NotProxied)?;
    let text = std::str::from_utf8(text).map_err(|_| NotProxied)?;
    let text = text.strip_prefix("PROXY ").ok_or(NotProxied)?;
    let words: Vec<&str> = text.split(' ').collect();
    let ends = match words[..] {
        // What follows is to be ignored.
        ["UNKNOWN", ..] => None,
        ["TCP4", from, to, from_port, to_port] => {
            let address = |text: &str| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
            Some(ends_of(address(from), address(to), from_port, to_port).ok_or(NotProxied)?)
        }
        ["TCP6", from, to, from_port, to_port] => {
            let address = |text: &str| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
            Some(ends_of(address(from), address(to), from_port, to_port).ok_or(NotProxied)?)
        }
        _ => return Err(NotProxied),
    };
    Ok(Some(ProxyHeader { length: end + 1, ends }))
}

fn ends_of(
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    from_port: &str,
    to_port: &str,
) -> Option<ProxyEnds> {
    let port = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    Some(ProxyEnds {
        client: SocketAddr::new(from?, port(from_port)?),
        local: SocketAddr::new(to?, port(to_port)?),
    })
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, NotProxied> {
    let at = |index: usize| bytes.get(index).copied();
    // Version in the upper half, command in the lower.
    let is_own = match at(12) {
        None | Some(0x21) => false,
        Some(0x20) => true,
        Some(_) => return Err(NotProxied),
    };
    // Family in the upper half, transport in the lower.
    if at(13).is_some_and(|kind| kind >> 4 > 3 || kind & 0xf > 2) {
        return Err(NotProxied);
    }
    let (Some(kind), Some(high), Some(low)) = (at(13), at(14), at(15)) else { return Ok(None) };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > BINARY_MAX {
        return Err(NotProxied);
    }
    let Some(rest) = bytes.get(FIXED..length) else { return Ok(None) };
    let ends = if is_own { None } else { addresses(kind, rest)? };
    Ok(Some(ProxyHeader { length, ends }))
}

/// The addresses in front of the extensions, which say nothing we need.
fn addresses(kind: u8, rest: &[u8]) -> Result<Option<ProxyEnds>, NotProxied> {
    let ends = match (kind >> 4, kind & 0xf) {
        // Neither family nor transport known.
        (0, _) | (_, 0) => return Ok(None),
        (1, _) => {
            let (from, to, ports) = split::<4>(rest).ok_or(NotProxied)?;
            (Ipv4Addr::from(from).into(), Ipv4Addr::from(to).into(), ports)
        }
        (2, _) => {
            let (from, to, ports) = split::<16>(rest).ok_or(NotProxied)?;
            (Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into(), ports)
        }
        // Paths of unix sockets.
        _ if rest.len() < 216 => return Err(NotProxied),
        _ => return Ok(None),
    };
    let (from, to, [from_port, to_port]) = ends;
    let (client, local) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
    Ok(Some(ProxyEnds { client, local }))
}

/// Two addresses of `N` bytes and two ports.
fn split<const N: usize>(rest: &[u8]) -> Option<([u8; N], [u8; N], [u16; 2])> {
    let (from, rest) = rest.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let (from_port, rest) = rest.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    Some((*from, *to, [u16::from_be_bytes(*from_port), u16::from_be_bytes(*to_port)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(client: &str, local: &str) -> Option<ProxyEnds> {
        let parse = |text: &str| text.parse().expect("an address");
        Some(ProxyEnds { client: parse(client), local: parse(local) })
    }

    fn version2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, kind], &length, rest].concat()
    }

    #[test]
    fn lines_are_read() {
        let four = ends("192.0.2.1:56324", "192.0.2.2:443");
        let six = ends("[2001:db8::1]:1", "[2001:db8::2]:65535");
        for (text, wanted) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", Some(four)),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Some(six)),
            ("PROXY UNKNOWN\r\n", Some(None)),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Some(None)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 65536\r\n", None),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n", None),
            ("PROXY TCP4 ::1 ::2 1 2\r\n", None),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", None),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", None),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", None),
            ("PROXY UNKNOWN\n", None),
            ("PROXY UNKNOWN\rx\r\n", None),
            ("GET / HTTP/1.1\r\n", None),
        ] {
            let found = read_proxy_header(text.as_bytes());
            let wanted = wanted.map(|ends| Some(ProxyHeader { length: text.len(), ends }));
            assert_eq!(found, wanted.ok_or(NotProxied), "{text:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LINE_MAX));
        assert_eq!(read_proxy_header(long.as_bytes()), Err(NotProxied));
    }

    #[test]
    fn binary_headers_are_read() {
        let mut four = vec![192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];
        let wanted = ends("192.0.2.1:56324", "192.0.2.2:443");
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 80, 81);
        for (command, kind, rest, wanted) in [
            (0x21, 0x11, &four[..], Some(wanted)),
            (0x21, 0x21, &six[..], Some(ends("[::1]:80", "[::2]:81"))),
            (0x20, 0x11, &four[..], Some(None)),
            (0x20, 0x00, &[][..], Some(None)),
            (0x21, 0x00, &[1, 2, 3][..], Some(None)),
            (0x21, 0x31, &[0; 216][..], Some(None)),
            (0x21, 0x31, &[0; 215][..], None),
            (0x21, 0x11, &four[..11], None),
            (0x21, 0x21, &four[..], None),
            (0x22, 0x11, &four[..], None),
            (0x11, 0x11, &four[..], None),
            (0x21, 0x41, &four[..], None),
            (0x21, 0x13, &four[..], None),
            (0x21, 0x11, &[0; BINARY_MAX][..], None),
        ] {
            let bytes = version2(command, kind, rest);
            let wanted = wanted.map(|ends| Some(ProxyHeader { length: bytes.len(), ends }));
            let found = read_proxy_header(&bytes);
            assert_eq!(found, wanted.ok_or(NotProxied), "{command:x} {kind:x} {rest:?}");
        }
        // An extension behind the addresses: its kind, its length, its value.
        four.extend([4, 0, 1, 0]);
        let found = read_proxy_header(&version2(0x21, 0x11, &four));
        assert_eq!(found, Ok(Some(ProxyHeader { length: 32, ends: wanted })));
    }

    fn header() -> impl Strategy<Value = Vec<u8>> {
        let four = (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<u16>(), any::<u16>());
        let text = four.prop_map(|(from, to, one, two)| {
            let (from, to) = (Ipv4Addr::from(from), Ipv4Addr::from(to));
            format!("PROXY TCP4 {from} {to} {one} {two}\r\n").into_bytes()
        });
        let rest = prop::collection::vec(any::<u8>(), 36..200);
        let kind = prop::sample::select(vec![0x00, 0x11, 0x12, 0x21, 0x22]);
        let command = prop::sample::select(vec![0x20, 0x21]);
        let binary =
            (command, kind, rest).prop_map(|(command, kind, rest)| version2(command, kind, &rest));
        prop_oneof![text, binary]
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            begin in 0..3,
        ) {
            let begin = [&b""[..], LINE_BEGIN, SIGNATURE][begin as usize];
            let bytes = [begin, &bytes].concat();
            if let Ok(Some(found)) = read_proxy_header(&bytes) {
                prop_assert!(found.length <= bytes.len());
            }
        }

        #[test]
        fn a_header_is_complete_with_its_last_byte_and_not_before(
            header in header(),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            for end in 0..header.len() {
                prop_assert_eq!(read_proxy_header(&header[..end]), Ok(None));
            }
            let found = read_proxy_header(&header).expect("a header").expect("all of it");
            prop_assert_eq!(found.length, header.len());
            let more = [&header[..], &rest].concat();
            prop_assert_eq!(read_proxy_header(&more), Ok(Some(found)));
        }
    }
}
