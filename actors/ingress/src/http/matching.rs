//! Which route a request means.

use super::certificates::names;
use jaco_ingress_core::{Route, Site, Table};
use std::sync::Arc;

/// The site of a host that is lower case and has neither port nor trailing dot.
pub(super) fn site<'a>(table: &'a Table, host: &str) -> Option<&'a Arc<Site>> {
    names(host).find_map(|name| table.sites.get(&name))
}

/// The route with the longest path at a segment's border, for a path that is normalised.
pub(super) fn route<'a>(site: &'a Site, path: &str) -> Option<&'a Arc<Route>> {
    let mut rest = path;
    loop {
        if let Some(route) = site.routes.get(rest) {
            return Some(route);
        }
        rest = &rest[..rest.rfind('/')?];
    }
}

/// Decodes what needs no encoding and resolves `.` and `..`. `None` when that climbs above the
/// root (RFC 3986, 5.2.4 and 6.2.2).
pub(super) fn normalise(path: &str) -> Option<String> {
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
    Some(format!("/{}", kept.join("/")))
}

fn decode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let code = rest.get(1..3).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
                rest = &rest[3..];
            }
            _ => {
                out.push('%');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
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
            ("/a/..", Some("/")),
            ("/..", None),
            ("/a/../../b", None),
            ("/%2e%2e/b", None),
            ("/%", Some("/%")),
            ("*", None),
        ] {
            assert_eq!(normalise(given).as_deref(), wanted, "{given}");
        }
    }
}
