//! Where a request leads: what is left of its path, or where else its client is sent.

use jaco_model::spec::Redirect;

/// The path and query without the prefix of the route; at least `/`. `path` is normalised.
pub fn stripped(prefix: &str, path: &str, query: Option<&str>) -> String {
    let rest = path.strip_prefix(prefix).unwrap_or(path);
    let mut target = String::with_capacity(path.len() + query.map_or(0, str::len) + 2);
    if !rest.starts_with('/') {
        target.push('/');
    }
    target.push_str(rest);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// Where a redirect leads a request. `path` is normalised, `prefix` the path of the route.
pub fn redirected(
    redirect: &Redirect,
    (scheme, host): (&str, &str),
    (prefix, path): (&str, &str),
    query: Option<&str>,
) -> String {
    let mut to = redirect.to.replace("{host}", host).replace("{scheme}", scheme);
    to = to.replace("{path}", path);
    if redirect.keep_path {
        let rest = path.strip_prefix(prefix).unwrap_or(path);
        to = format!("{}{rest}", to.trim_end_matches('/'));
    }
    if let Some(query) = query.filter(|_| redirect.keep_query) {
        let joint = if to.contains('?') { '&' } else { '?' };
        to = format!("{to}{joint}{query}");
    }
    to
}
