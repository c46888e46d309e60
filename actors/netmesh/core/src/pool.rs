//! Whether the cluster's addresses are anybody else's on a host.

use crate::prefixes::overlap;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

/// A prefix that something else on the host uses: an address's network or a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InUse {
    /// Which addresses.
    pub net: Ipv4Net,
    /// The interface where they are.
    pub interface: String,
}

/// `10.80.0.0/16 on eth1`.
impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.net, self.interface)
    }
}

/// Shorter prefixes are ways to everywhere, such as the halves of the default route that VPNs add;
/// the pool's own route comes before them.
const SHORTEST: u8 = 8;

/// The pools that a cluster may begin with, the usual one first.
const POOLS: [([u8; 4], u8); 4] =
    [([10, 80, 0, 0], 12), ([10, 64, 0, 0], 12), ([10, 112, 0, 0], 12), ([10, 48, 0, 0], 12)];

/// What else on the host uses addresses of a pool.
pub fn conflict(pool: Ipv4Net, in_use: &BTreeSet<InUse>) -> Option<&InUse> {
    let meets = |other: &&InUse| other.net.prefix_len() >= SHORTEST && overlap(&pool, &other.net);
    in_use.iter().find(meets)
}

/// The first of the usual pools that nothing else on the host uses.
pub fn free_pool(in_use: &BTreeSet<InUse>) -> Option<Ipv4Net> {
    let pools = POOLS.map(|(octets, prefix)| Ipv4Net::new_assert(Ipv4Addr::from(octets), prefix));
    pools.into_iter().find(|pool| conflict(*pool, in_use).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_use(nets: &[&str]) -> BTreeSet<InUse> {
        let used = |net: &&str| InUse { net: net.parse().unwrap(), interface: "eth0".to_owned() };
        nets.iter().map(used).collect()
    }

    #[test]
    fn overlaps_are_found_whichever_is_larger() {
        let pool = "10.80.0.0/12".parse().unwrap();
        for (nets, conflicts) in [
            (&["172.17.0.0/16", "192.168.1.0/24"][..], None),
            (&["10.96.0.0/16", "10.79.255.0/24"], None),
            (&["0.0.0.0/0", "0.0.0.0/1", "8.0.0.0/6"], None),
            (&["10.95.255.0/24"], Some("10.95.255.0/24 on eth0")),
            (&["10.0.0.0/8"], Some("10.0.0.0/8 on eth0")),
            (&["10.81.2.3/32"], Some("10.81.2.3/32 on eth0")),
        ] {
            let found = conflict(pool, &in_use(nets)).map(ToString::to_string);
            assert_eq!(found.as_deref(), conflicts, "{nets:?}");
        }
    }

    #[test]
    fn a_free_pool_is_one_that_nobody_uses() {
        let free = |nets: &[&str]| free_pool(&in_use(nets)).map(|pool| pool.to_string());
        assert_eq!(free(&[]).as_deref(), Some("10.80.0.0/12"));
        assert_eq!(free(&["10.80.0.0/16"]).as_deref(), Some("10.64.0.0/12"));
        assert_eq!(free(&["10.64.0.0/10"]).as_deref(), Some("10.48.0.0/12"));
        assert_eq!(free(&["10.0.0.0/8"]), None);
    }
}
