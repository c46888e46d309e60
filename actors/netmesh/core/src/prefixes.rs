//! Sets of addresses as the fewest prefixes.

use ipnet::Ipv4Net;
use std::collections::BTreeSet;

/// The same addresses in as few prefixes as there can be: adjacent ones are joined, those inside
/// others left out.
pub fn aggregated(prefixes: impl IntoIterator<Item = Ipv4Net>) -> BTreeSet<Ipv4Net> {
    let prefixes: Vec<Ipv4Net> = prefixes.into_iter().map(|net| net.trunc()).collect();
    Ipv4Net::aggregate(&prefixes).into_iter().collect()
}

/// The addresses that are in both.
pub(crate) fn common(a: &BTreeSet<Ipv4Net>, b: &BTreeSet<Ipv4Net>) -> BTreeSet<Ipv4Net> {
    let mut both = Vec::new();
    for left in a {
        for right in b {
            // Two prefixes are apart, or one is inside the other.
            if left.contains(right) {
                both.push(*right);
            } else if right.contains(left) {
                both.push(*left);
            }
        }
    }
    aggregated(both)
}

/// Whether two prefixes have an address in common.
pub(crate) fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}
