//! Which answers are compressed (RFC 9110, 8.4, 8.8 and 12.5.3).

/// Fewer bytes are not worth it.
const LEAST: u64 = 1024;

/// What is known of an answer before its body. Headers that are missing are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'a str,
    /// `Content-Encoding`.
    pub encoding: &'a str,
    /// `Cache-Control`.
    pub cache_control: &'a str,
    /// Whether it is a part of the whole.
    pub is_range: bool,
    /// Bytes of its body, if that is known.
    pub length: Option<u64>,
}

/// Whether an answer may be compressed, for clients that take it so.
pub fn is_worth_it(answer: &Answer<'_>) -> bool {
    let has_body = answer.status >= 200 && ![204, 205, 206, 304].contains(&answer.status);
    let is_plain = answer.encoding.is_empty() || answer.encoding.eq_ignore_ascii_case("identity");
    let mut directives = answer.cache_control.split(',').map(str::trim);
    has_body
        && is_plain
        && !answer.is_range
        && answer.length.is_none_or(|length| length >= LEAST)
        && !directives.any(|directive| directive.eq_ignore_ascii_case("no-transform"))
        && is_text(answer.kind)
}

/// Whether a media type is text of a piece: no stream, where each part is wanted at once.
fn is_text(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/event-stream" => false,
        "application/json"
        | "application/javascript"
        | "application/x-javascript"
        | "application/ecmascript"
        | "application/xml"
        | "application/toml"
        | "application/yaml" => true,
        _ if kind.starts_with("application/grpc") => false,
        _ => kind.starts_with("text/") || kind.ends_with("+json") || kind.ends_with("+xml"),
    }
}

/// Whether a client takes gzip, by the values of its `Accept-Encoding`.
pub fn takes_gzip<'a>(values: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut named, mut any) = (None, None);
    for coding in values.into_iter().flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        // A weight is 0 when none of its digits is another one.
        let is_wanted =
            weight.is_none_or(|weight| weight.bytes().any(|c| (b'1'..=b'9').contains(&c)));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            named = Some(is_wanted);
        } else if name == "*" {
            any = Some(is_wanted);
        }
    }
    named.or(any).unwrap_or(false)
}

/// Whether `Vary` names `Accept-Encoding` already.
pub fn varies<'a>(values: impl IntoIterator<Item = &'a str>) -> bool {
    let mut names = values.into_iter().flat_map(|value| value.split(',')).map(str::trim);
    names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"))
}

/// The tag of a compressed answer: the same content, not the same bytes. `None` when it says so
/// already.
pub fn weakened(tag: &str) -> Option<String> {
    (!tag.starts_with("W/")).then(|| format!("W/{tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_piece_is_compressed_and_nothing_else() {
        let page = Answer { status: 200, kind: "text/html; charset=utf-8", ..Answer::default() };
        let long = |kind| Answer { kind, length: Some(LEAST), ..page };
        for answer in [page, long("application/json"), long("image/svg+xml"), long("Text/CSS")] {
            assert!(is_worth_it(&answer), "{answer:?}");
        }
        for answer in [
            Answer { length: Some(LEAST - 1), ..page },
            Answer { status: 304, ..page },
            Answer { status: 206, ..page },
            Answer { is_range: true, ..page },
            Answer { encoding: "br", ..page },
            Answer { cache_control: "max-age=1, No-Transform", ..page },
            Answer { kind: "text/event-stream", ..page },
            Answer { kind: "application/grpc+json", ..page },
            Answer { kind: "application/x-ndjson", ..page },
            Answer { kind: "image/png", ..page },
            Answer { kind: "", ..page },
        ] {
            assert!(!is_worth_it(&answer), "{answer:?}");
        }
    }

    #[test]
    fn a_client_says_what_it_takes() {
        for (value, wanted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br;q=1.0, *;q=0.1", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*;q=0", false),
            ("br", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip([value]), wanted, "{value}");
        }
        assert!(takes_gzip(["br", "gzip"]));
        assert!(varies(["Cookie, Accept-Encoding"]) && varies(["*"]) && !varies(["Cookie"]));
        assert_eq!(weakened("\"a\"").as_deref(), Some("W/\"a\""));
        assert_eq!(weakened("W/\"a\""), None);
    }
}
