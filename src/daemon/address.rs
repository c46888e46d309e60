//! The addresses this node listens on and tells others.
//!
//! An unspecified host in the configuration means one private address of this machine: a port that
//! speaks for the cluster is never opened to the Internet by default.

use nix::ifaddrs::getifaddrs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs};

/// Where this node is, for itself and for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The API port to listen on.
    pub(crate) api: SocketAddr,
    /// The peer port to listen on.
    pub(crate) peer: SocketAddr,
    /// Host and port of the API as others reach it.
    pub(crate) public_api: String,
    /// Host and port of the peer port as others reach it.
    pub(crate) public_peer: String,
}

/// The addresses cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing but public addresses, and none was chosen.
    #[error(
        "this host has no private address; set listen_addr and cluster_addr (and advertise_addr, \
         if others reach it by another one)"
    )]
    NoPrivate,
    /// A name does not resolve.
    #[error("{key}: {value} is no address of this host")]
    Unknown {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        value: String,
    },
}

/// Resolves the keys `listen_addr`, `cluster_addr` and `advertise_addr`.
pub(crate) fn resolve(listen: &str, cluster: &str, advertise: &str) -> Result<Addresses, Error> {
    let api = bound("listen_addr", listen)?;
    let peer = bound("cluster_addr", cluster)?;
    let public = |at: SocketAddr| match advertise {
        "" => at.to_string(),
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{}", at.port()),
        host => format!("{host}:{}", at.port()),
    };
    Ok(Addresses { api, peer, public_api: public(api), public_peer: public(peer) })
}

fn bound(key: &'static str, value: &str) -> Result<SocketAddr, Error> {
    let unknown = || Error::Unknown { key, value: value.to_owned() };
    let found = value.to_socket_addrs().ok().and_then(|mut found| found.next());
    let at = found.ok_or_else(unknown)?;
    if !at.ip().is_unspecified() {
        return Ok(at);
    }
    let ip = choose(&interfaces()).ok_or(Error::NoPrivate)?;
    Ok(SocketAddr::V4(SocketAddrV4::new(ip, at.port())))
}

/// Names and IPv4 addresses of the interfaces.
fn interfaces() -> Vec<(String, Ipv4Addr)> {
    let Ok(found) = getifaddrs() else { return Vec::new() };
    found
        .filter_map(|interface| {
            let address = interface.address?;
            Some((interface.interface_name, address.as_sockaddr_in()?.ip()))
        })
        .collect()
}

/// Bridges and links that container engines and this daemon make, by the start of their name.
const INTERNAL: [&str; 6] = ["lo", "docker", "br-", "veth", "virbr", "jaco"];

/// The best private address: RFC 1918 before overlay networks before link-local, then by the name
/// of the interface.
fn choose(interfaces: &[(String, Ipv4Addr)]) -> Option<Ipv4Addr> {
    let usable = interfaces
        .iter()
        .filter(|(name, _)| !INTERNAL.iter().any(|prefix| name.starts_with(prefix)));
    usable.filter_map(|(name, ip)| Some((rank(*ip)?, name, *ip))).min().map(|(_, _, ip)| ip)
}

/// `None` for public addresses. 100.64.0.0/10 is the shared space of RFC 6598, which overlay
/// networks use.
fn rank(ip: Ipv4Addr) -> Option<u8> {
    let [a, b, ..] = ip.octets();
    if ip.is_private() {
        Some(0)
    } else if a == 100 && (64..128).contains(&b) {
        Some(1)
    } else if ip.is_link_local() {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(interfaces: &[(&str, [u8; 4])]) -> Option<[u8; 4]> {
        let all: Vec<_> =
            interfaces.iter().map(|(name, ip)| ((*name).to_owned(), Ipv4Addr::from(*ip))).collect();
        choose(&all).map(|ip| ip.octets())
    }

    #[test]
    fn a_private_address_of_the_host_is_chosen() {
        assert_eq!(chosen(&[("eth0", [203, 0, 113, 5])]), None);
        assert_eq!(chosen(&[("docker0", [172, 17, 0, 1]), ("lo", [127, 0, 0, 1])]), None);
        let both = [("tailscale0", [100, 101, 2, 3]), ("eth1", [192, 168, 7, 2])];
        assert_eq!(chosen(&both), Some([192, 168, 7, 2]));
        let two = [("eth1", [10, 0, 0, 9]), ("eth0", [10, 9, 9, 9]), ("br-1", [10, 0, 0, 1])];
        assert_eq!(chosen(&two), Some([10, 9, 9, 9]));
    }

    #[test]
    fn what_is_said_is_used() {
        let found = resolve("127.0.0.1:7000", "127.0.0.1:7001", "node.example.com").unwrap();
        assert_eq!(found.peer.to_string(), "127.0.0.1:7001");
        assert_eq!(found.public_peer, "node.example.com:7001");
        let found = resolve("127.0.0.1:7000", "127.0.0.1:7001", "fd00::7").unwrap();
        assert_eq!(found.public_api, "[fd00::7]:7000");
        let error = resolve("no such host:7000", "127.0.0.1:7001", "").unwrap_err();
        assert!(error.to_string().starts_with("listen_addr: no such host:7000"), "{error}");
    }
}
