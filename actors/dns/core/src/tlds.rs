//! Top-level domains of the public DNS.
//!
//! A deployment of such a name must not take `<anything>.<name>` away from the world. The list
//! is that of IANA's root zone; one that is missing costs only the users of a deployment of that
//! name, who can write `.jaco.internal`.

use std::sync::LazyLock;

/// In ASCII, lower case, sorted.
static NAMES: LazyLock<Box<[&str]>> = LazyLock::new(|| include_str!("tlds.txt").lines().collect());

/// Whether `label`, in lower case, is a top-level domain.
pub(crate) fn is_top_level(label: &str) -> bool {
    let is_country = label.len() == 2 && label.bytes().all(|byte| byte.is_ascii_lowercase());
    is_country || label == "arpa" || NAMES.binary_search(&label).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_and_generic_ones_are_known_and_deployments_are_not() {
        assert!(
            ["com", "dev", "app", "shop", "io", "zz", "arpa", "xn--p1ai"].map(is_top_level)
                == [true; 8]
        );
        assert!(["webshop", "a", "backend", "c", "internal", ""].map(is_top_level) == [false; 6]);
    }
}
