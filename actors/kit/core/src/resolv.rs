//! The name servers of `/etc/resolv.conf` (resolv.conf(5)).

use std::net::{IpAddr, SocketAddr};

/// Name servers that are used at most; the resolver of glibc takes as many.
const SERVERS_MAX: usize = 3;

/// The servers of a file, in its order. Lines that cannot be read are passed over, and so are
/// addresses that are only good on one link.
pub fn name_servers(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        let Some(address) = address else { continue };
        let server = SocketAddr::new(address, 53);
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers.truncate(SERVERS_MAX);
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_are_taken() {
        let text = "# nameserver 1.1.1.1\nsearch a b\n nameserver 192.0.2.1 # first\n\
                    nameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserver\nnameserver x\n\
                    nameserver 192.0.2.1\nnameservers 9.9.9.9\nnameserver 192.0.2.3\n\
                    nameserver 192.0.2.4";
        let servers: Vec<String> = name_servers(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
        assert!(name_servers("").is_empty());
    }
}
