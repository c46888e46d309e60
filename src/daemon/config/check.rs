//! From the text of one value to the value figment merges, or to what is wrong with it.

use super::keys::Kind;
use figment::value::{Dict, Value};
use jaco_manifest::parse_duration;
use jaco_model::entity::Ipam;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads one scalar, or the comma-separated form of a list or map that variables and defaults
/// use.
pub(super) fn text(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Bool => boolean(text),
        Kind::Int(low, high) => int(text, low, high),
        Kind::Number(low, high) => number(text, low, high),
        Kind::Enum(words) => word(text, words),
        Kind::Duration(low, high) => duration(text, low, high),
        Kind::Size => size(text),
        Kind::Path => path(text, usize::MAX),
        Kind::Socket => path(text, 107),
        Kind::UnixUrl => unix_url(text),
        Kind::Name => name(text),
        Kind::HostPort => host_port(text),
        Kind::PrivatePort => private_port(text),
        Kind::Cidr(low, high) => cidr(text, low, high).and_then(|_| pool(text)),
        Kind::Text => Ok(Value::from(text)),
        Kind::Listeners
        | Kind::Cidrs
        | Kind::Addresses
        | Kind::Ports
        | Kind::BindPaths
        | Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            list(kind, items)
        }
        Kind::Map => pairs(text),
        Kind::Levels => levels(text),
        Kind::Providers => Ok(Value::from(Dict::new())),
    }
}

/// Reads the items of a list.
pub(super) fn list<'a>(kind: Kind, items: impl Iterator<Item = &'a str>) -> Result<Value, String> {
    let read = |item: &'a str| match kind {
        Kind::Listeners => listener(item),
        Kind::Cidrs => cidr(item, 0, 32),
        Kind::BindPaths => bind_path(item),
        Kind::Addresses => forwarder(item),
        Kind::Ports => port(item),
        _ => Ok(Value::from(item)),
    };
    items.map(read).collect::<Result<Vec<Value>, String>>().map(Value::from)
}

/// A level by itself stands for `default`.
pub(super) fn level(text: &str) -> Result<Value, String> {
    word(text, &["debug", "info", "warn", "error"])
}

fn boolean(text: &str) -> Result<Value, String> {
    text.parse::<bool>().map(Value::from).map_err(|_| "expected true or false".to_owned())
}

fn int(text: &str, low: u64, high: u64) -> Result<Value, String> {
    let fits = text.parse().ok().filter(|number| (low..=high).contains(number));
    fits.map(Value::from).ok_or_else(|| format!("expected a whole number from {low} to {high}"))
}

fn number(text: &str, low: f64, high: f64) -> Result<Value, String> {
    let fits = text.parse::<f64>().ok().filter(|number| (low..=high).contains(number));
    fits.map(Value::from).ok_or_else(|| format!("expected a number from {low} to {high}"))
}

fn word(text: &str, words: &[&str]) -> Result<Value, String> {
    if words.contains(&text) {
        return Ok(Value::from(text));
    }
    let hint = jaco_model::suggest::closest(text, words.iter().copied());
    let hint = hint.map(|word| format!(" (did you mean \"{word}\"?)")).unwrap_or_default();
    Err(format!("expected one of {}{hint}", words.join(", ")))
}

/// Stored as milliseconds.
fn duration(text: &str, low: u64, high: u64) -> Result<Value, String> {
    let Some(found) = parse_duration(text) else {
        return Err("expected a duration such as 500ms, 30s or 1h30m".to_owned());
    };
    if (low..=high).contains(&found.0) {
        return Ok(Value::from(found.0));
    }
    let (low, high) = (jaco_model::Millis(low), jaco_model::Millis(high));
    Err(format!("expected a duration from {low} to {high}"))
}

/// Stored as bytes. Unlike in compose files, where every unit is a power of 1024, `MB` is 10^6
/// and `MiB` is 2^20 here.
fn size(text: &str) -> Result<Value, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("", 1),
    ];
    let bytes = UNITS.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.trim_end();
        number.parse::<u64>().ok()?.checked_mul(*factor)
    });
    bytes.map(Value::from).ok_or_else(|| "expected a size such as 10MB or 2GiB".to_owned())
}

/// Empty means not set.
fn path(text: &str, longest: usize) -> Result<Value, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("expected an absolute path".to_owned());
    }
    if text.len() > longest {
        return Err(format!("the path is longer than {longest} bytes"));
    }
    Ok(Value::from(text))
}

fn bind_path(text: &str) -> Result<Value, String> {
    const SYSTEM: [&str; 9] =
        ["/", "/proc", "/sys", "/dev", "/etc", "/root", "/boot", "/run", "/usr"];
    if SYSTEM.contains(&text.trim_end_matches('/')) || text == "/" {
        return Err(format!("{text} is a system directory and cannot be free to bind"));
    }
    path(text, usize::MAX)
}

fn unix_url(text: &str) -> Result<Value, String> {
    match text.strip_prefix("unix://") {
        Some(rest) if rest.starts_with('/') => Ok(Value::from(text)),
        _ => Err("expected unix:// and an absolute path; remote engines are not supported".into()),
    }
}

/// Empty takes the host's name.
fn name(text: &str) -> Result<Value, String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edges = !text.starts_with('-') && !text.ends_with('-');
    if text.len() <= 63 && edges && text.chars().all(legal) {
        return Ok(Value::from(text));
    }
    Err("expected lower-case letters, digits and inner hyphens, at most 63".to_owned())
}

/// Empty means not set.
fn host_port(text: &str) -> Result<Value, String> {
    let port = text.rsplit_once(':').and_then(|(host, port)| {
        port.parse::<u16>().ok().filter(|port| *port > 0 && !host.is_empty())
    });
    if text.is_empty() || port.is_some() {
        return Ok(Value::from(text));
    }
    Err("expected host:port".to_owned())
}

/// Empty means not set.
fn private_port(text: &str) -> Result<Value, String> {
    let is_private = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    };
    match text.parse::<SocketAddr>() {
        _ if text.is_empty() => Ok(Value::from(text)),
        Ok(address) if is_private(address.ip()) && address.port() > 0 => Ok(Value::from(text)),
        Ok(_) => Err("expected a loopback or private address: anyone may read it there".to_owned()),
        Err(_) => Err("expected an address and a port, such as 127.0.0.1:9464".to_owned()),
    }
}

/// A name would be looked up before there is a network, and once only.
fn listener(text: &str) -> Result<Value, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(Value::from(text)),
        _ => Err(format!(
            "\"{text}\" is no address to listen on: write an IP address and a port, such as \
             0.0.0.0:80 for all of this host or [::]:80 with IPv6; names are not looked up"
        )),
    }
}

/// A name server; the engine's own one would ask us again.
fn forwarder(text: &str) -> Result<Value, String> {
    let address = text.parse::<SocketAddr>().map(|at| at.ip()).or_else(|_| text.parse::<IpAddr>());
    match address {
        Ok(address) if address == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)) => {
            Err("127.0.0.11 is the engine's resolver, which would ask this node again".to_owned())
        }
        Ok(address) if address.is_unspecified() => Err("0.0.0.0 is no name server".to_owned()),
        Ok(_) => Ok(Value::from(text)),
        Err(_) => {
            Err("expected an address such as 10.0.0.53, 10.0.0.53:53 or [fd00::53]:53".into())
        }
    }
}

fn port(text: &str) -> Result<Value, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Value::from(port)),
        _ => Err("expected a port between 1 and 65535, which is opened for TCP and UDP".to_owned()),
    }
}

fn cidr(text: &str, low: u8, high: u8) -> Result<Value, String> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    let address = address.parse::<Ipv4Addr>();
    let length = length.parse::<u8>().ok().filter(|length| (low..=high).contains(length));
    match (address, length) {
        (Ok(_), Some(_)) => Ok(Value::from(text)),
        _ => Err(format!("expected an IPv4 prefix from /{low} to /{high}")),
    }
}

/// A prefix that containers can have addresses of.
fn pool(text: &str) -> Result<Value, String> {
    let pool = text.parse().map_err(|_| "expected an IPv4 prefix".to_owned())?;
    let plan = Ipam { pool, ..Ipam::default() };
    plan.check().map(|()| Value::from(text)).map_err(|fault| fault.message)
}

/// `k=v,k=v`, or `{}`.
fn pairs(text: &str) -> Result<Value, String> {
    let mut dict = Dict::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty() && *pair != "{}") {
        let (key, value) = pair.split_once('=').ok_or("expected key=value,key=value")?;
        dict.insert(key.to_owned(), Value::from(value));
    }
    Ok(Value::from(dict))
}

/// `info`, or `raft=debug,info`.
fn levels(text: &str) -> Result<Value, String> {
    let mut dict = Dict::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (subsystem, wanted) = part.split_once('=').unwrap_or(("default", part));
        dict.insert(subsystem.to_owned(), level(wanted)?);
    }
    Ok(Value::from(dict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_say_what_is_expected() {
        for (kind, value, part) in [
            (Kind::Int(1, 50), "0", "from 1 to 50"),
            (Kind::Duration(50, 500), "2s", "from 50ms to 500ms"),
            (Kind::Enum(&["auto", "text"]), "txt", "did you mean \"text\""),
            (Kind::UnixUrl, "tcp://1.2.3.4:2375", "unix://"),
            (Kind::Cidr(8, 20), "10.0.0.0/24", "/8 to /20"),
            (Kind::Cidr(8, 20), "10.0.0.1/16", "write 10.0.0.0/16"),
            (Kind::Cidr(8, 20), "127.0.0.0/8", "loopback"),
            (Kind::BindPaths, "/srv,/etc", "system directory"),
            (Kind::Name, "Node_1", "lower-case"),
            (Kind::HostPort, "localhost", "host:port"),
            (Kind::Listeners, "0.0.0.0:80,lb.example:80", "\"lb.example:80\" is no address"),
            (Kind::Listeners, ":80", "write an IP address and a port, such as 0.0.0.0:80"),
            (Kind::Listeners, "::1:80", "or [::]:80"),
            (Kind::Listeners, "127.0.0.1:0", "no address to listen on"),
            (Kind::PrivatePort, "0.0.0.0:9464", "private"),
            (Kind::PrivatePort, "localhost:9464", "127.0.0.1:9464"),
        ] {
            let error = text(kind, value).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn sizes_know_both_families_of_units() {
        for (written, bytes) in [("10MB", 10_000_000_u64), ("2 GiB", 2 << 30), ("0", 0)] {
            assert_eq!(text(Kind::Size, written), Ok(Value::from(bytes)), "{written}");
        }
        assert!(text(Kind::Size, "10 apples").is_err());
    }

    #[test]
    fn every_default_passes_its_own_check() {
        for key in super::super::keys::KEYS {
            assert!(text(key.kind, key.default).is_ok(), "{}: {}", key.path, key.default);
        }
    }
}
