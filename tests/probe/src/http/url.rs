//! URLs and query strings of the plain `http` scheme.

/// The parts of a URL that a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host and port as the `Host` header and a dial take it.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest =
            text.strip_prefix("http://").ok_or_else(|| format!("{text:?} is no http:// URL"))?;
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(split);
        if host.is_empty() || host.contains(['@', ' ']) {
            return Err(format!("{text:?} has no plain host"));
        }
        let has_port = host.rfind(':').is_some_and(|colon| !host[colon..].contains(']'));
        Ok(Self {
            authority: if has_port { host.to_owned() } else { format!("{host}:80") },
            target: if target.starts_with('/') { target.to_owned() } else { format!("/{target}") },
        })
    }
}

/// Value of a query parameter with percent signs and plus signs decoded.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => match hex_pair(*high, *low) {
                Some(byte) => (byte, after),
                None => (b'%', tail),
            },
            (b'+', _) => (b' ', tail),
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_split_into_authority_and_target() {
        for (text, authority, target) in [
            ("http://a", "a:80", "/"),
            ("http://a:81/x?y=z", "a:81", "/x?y=z"),
            ("http://a?y", "a:80", "/?y"),
            ("http://[::1]/x", "[::1]:80", "/x"),
            ("http://[::1]:8080", "[::1]:8080", "/"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.authority.as_str(), url.target.as_str()), (authority, target));
        }
        for text in ["a:80", "https://a", "http://", "http:///x", "http://u@a/"] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn query_values_are_decoded() {
        let query = "a=1&path=%2Fdata%2fx+y&flag&bad=%zz%";
        assert_eq!(query_value(query, "path").as_deref(), Some("/data/x y"));
        assert_eq!(query_value(query, "flag").as_deref(), Some(""));
        assert_eq!(query_value(query, "bad").as_deref(), Some("%zz%"));
        assert_eq!(query_value(query, "none"), None);
    }
}
