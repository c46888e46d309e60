//! Upstreams that would send a question round in a circle.

use crate::zones::Zones;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Why an address is not used as an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The resolver that the engine puts into containers, which asks us.
    Engine,
    /// An address of a container or of a bridge.
    Pool,
    /// Where this responder listens itself.
    Own,
    /// No address to send to.
    Unusable,
}

impl Rejected {
    /// The reason, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Rejected::Engine => "it is the engine's own resolver, which asks this node",
            Rejected::Pool => "it lies in the pool of container addresses",
            Rejected::Own => "it is an address where this node answers itself",
            Rejected::Unusable => "nothing can be sent there",
        }
    }
}

/// Whether `upstream` can be asked. `own` are the addresses where this responder listens.
///
/// # Errors
/// Why not.
pub fn usable(upstream: SocketAddr, zones: &Zones, own: &[SocketAddr]) -> Result<(), Rejected> {
    let ip = upstream.ip().to_canonical();
    let is_pool = matches!(ip, IpAddr::V4(address) if zones.is_pool(address));
    if ip == Ipv4Addr::new(127, 0, 0, 11) {
        Err(Rejected::Engine)
    } else if is_pool {
        Err(Rejected::Pool)
    } else if own.contains(&SocketAddr::new(ip, upstream.port())) {
        Err(Rejected::Own)
    } else if ip.is_unspecified() || ip.is_multicast() || upstream.port() == 0 {
        Err(Rejected::Unusable)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::Description;

    #[test]
    fn circles_are_seen() {
        let pool = Some("10.80.0.0/12".parse().unwrap());
        let zones = Zones::build(&Description { pool, ..Description::default() }, 1);
        let own = ["192.0.2.1:53".parse().unwrap()];
        for (upstream, expected) in [
            ("127.0.0.11:53", Err(Rejected::Engine)),
            ("[::ffff:127.0.0.11]:53", Err(Rejected::Engine)),
            ("10.80.0.1:53", Err(Rejected::Pool)),
            ("10.95.255.1:5353", Err(Rejected::Pool)),
            ("192.0.2.1:53", Err(Rejected::Own)),
            ("192.0.2.1:54", Ok(())),
            ("0.0.0.0:53", Err(Rejected::Unusable)),
            ("9.9.9.9:0", Err(Rejected::Unusable)),
            ("127.0.0.53:53", Ok(())),
            ("[2001:db8::1]:53", Ok(())),
        ] {
            assert_eq!(usable(upstream.parse().unwrap(), &zones, &own), expected, "{upstream}");
        }
    }
}
