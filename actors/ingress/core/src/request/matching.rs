//! Which route a request means (RFC 3986, 5.2.4 and 6.2.2).

use crate::table::{Route, Site, Table};
use jaco_model::name::ANY_HOST;
use std::borrow::Cow;
use std::sync::Arc;

impl Table {
    /// The site of a host that is lower case and has neither port nor trailing dot: its own, else
    /// the wildcard of exactly one label, else that for any host.
    pub fn site(&self, host: &str) -> Option<&Arc<Site>> {
        self.sites.host(host).or_else(|| self.sites.get(ANY_HOST))
    }

    /// The route of a domain, as it is written in its spec, and a path.
    pub fn route(&self, domain: &str, path: &str) -> Option<&Arc<Route>> {
        self.sites.get(domain)?.routes.get(path)
    }
}

impl Site {
    /// The route with the longest path at a segment's border, for a path that is normalised.
    pub fn route(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.prefix(path)
    }
}

/// Decodes what needs no encoding and resolves `.` and `..`. `None` when that climbs above the
/// root, or the path does not begin there.
pub fn normalise(path: &str) -> Option<Cow<'_, str>> {
    let is_plain = !path.contains('%') && !path.contains("/.");
    if is_plain {
        return path.starts_with('/').then_some(Cow::Borrowed(path));
    }
    let decoded = decode(path);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = decoded.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop()?;
                }
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    Some(Cow::Owned(format!("/{}", kept.join("/"))))
}

fn decode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    // Letters after a `%` that escapes nothing stay as they are, or they would become an escape.
    let mut literal_until = 0;
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match escaped(rest) {
            Some(byte) if is_unreserved(byte) && out.len() >= literal_until => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            Some(_) => {
                out.push_str(&rest[..3]);
                rest = &rest[3..];
            }
            None => {
                out.push('%');
                literal_until = out.len() + 2;
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// What the escape at the beginning stands for.
fn escaped(text: &str) -> Option<u8> {
    let code = text.get(1..3)?;
    let is_hex = code.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(code, 16).ok())?
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        for (given, wanted) in [
            ("/", Some("/")),
            ("/a/./b", Some("/a/b")),
            ("/a/../b", Some("/b")),
            ("/a//b", Some("/a//b")),
            ("/%61pi/x", Some("/api/x")),
            ("/a/%2e%2E/b", Some("/b")),
            ("/a%2fb", Some("/a%2fb")),
            ("/a%5Cb%00", Some("/a%5Cb%00")),
            ("/a/..", Some("/")),
            ("/a/.", Some("/a/")),
            ("/..", None),
            ("/a/../../b", None),
            ("/%2e%2e/b", None),
            ("/%", Some("/%")),
            ("/%+1", Some("/%+1")),
            ("/%%361", Some("/%%361")),
            ("/.well-known/x", Some("/.well-known/x")),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(normalise(given).as_deref(), wanted, "{given}");
        }
    }
}
