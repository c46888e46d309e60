//! `acme_dns` of jacod.yaml: providers of DNS-01 by name (manifests.md §2.6). What they must keep
//! secret is in files of the node, named by `key_file` and `headers_file`.

use jaco_manifest::node::{Node, Value};
use jaco_manifest::parse_duration;
use jaco_model::Millis;
use jaco_model::spec::{DnsMethod, DnsProvider, TsigAlgorithm};
use std::net::SocketAddr;

const COMMON: [&str; 4] = ["type", "propagation", "resolvers", "cname"];

/// Reads one provider.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn provider(node: &Node) -> Result<DnsProvider, String> {
    let Value::Map(entries) = &node.value else { return Err("expected a map".to_owned()) };
    let kind = text(node, "type")?.ok_or("type is required: rfc2136, webhook or exec")?;
    let (method, own): (DnsMethod, &[&str]) = match kind {
        "rfc2136" => (rfc2136(node)?, &["server", "zone", "key_name", "key_file", "algorithm"]),
        "webhook" => (webhook(node)?, &["url", "headers_file"]),
        "exec" => (exec(node)?, &["command"]),
        other => return Err(format!("type is rfc2136, webhook or exec, not {other}")),
    };
    for entry in entries {
        let key = entry.key.as_str();
        if !COMMON.contains(&key) && !own.contains(&key) {
            return Err(format!("{key}: unknown key of a provider of type {kind}"));
        }
    }
    let mut made = DnsProvider::new(method);
    if let Some(written) = text(node, "propagation")? {
        let most = Millis::secs(3600);
        let read = parse_duration(written).ok_or("propagation: expected a duration such as 30s")?;
        if read > most {
            return Err("propagation: at most 1h, as an order lasts".to_owned());
        }
        made.propagation = read;
    }
    for written in list(node, "resolvers")? {
        let alone = written.parse().map(|address| SocketAddr::new(address, 53));
        let read = written.parse().or(alone);
        made.resolvers.push(read.map_err(|_| format!("resolvers: {written} is no address"))?);
    }
    match text(node, "cname")? {
        None | Some("true") => {}
        Some("false") => made.follow_cname = false,
        Some(_) => return Err("cname: expected true or false".to_owned()),
    }
    Ok(made)
}

fn rfc2136(node: &Node) -> Result<DnsMethod, String> {
    let algorithm = match text(node, "algorithm")? {
        None => TsigAlgorithm::default(),
        Some(written) => {
            let mut all = TsigAlgorithm::ALL.into_iter();
            let known = all.find(|known| known.name() == written);
            known.ok_or_else(|| format!("algorithm: {written} is not known"))?
        }
    };
    Ok(DnsMethod::Rfc2136 {
        server: required(node, "server")?.to_owned(),
        zone: text(node, "zone")?.map(str::to_owned),
        key_name: required(node, "key_name")?.to_owned(),
        key_secret: absolute(node, "key_file")?.ok_or("key_file is required")?,
        algorithm,
    })
}

fn webhook(node: &Node) -> Result<DnsMethod, String> {
    let url = required(node, "url")?;
    if !url.starts_with("https://") {
        return Err(format!("url: expected an https URL, got {url}"));
    }
    let headers_secret = absolute(node, "headers_file")?;
    Ok(DnsMethod::Webhook { url: url.to_owned(), headers_secret })
}

fn exec(node: &Node) -> Result<DnsMethod, String> {
    let command: Vec<String> = list(node, "command")?.into_iter().map(str::to_owned).collect();
    match command.first() {
        Some(program) if program.starts_with('/') => Ok(DnsMethod::Exec { command }),
        _ => Err("command: a list that begins with a program's absolute path".to_owned()),
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Result<Option<&'a str>, String> {
    match node.get(key).map(|node| &node.value) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Scalar { text, .. }) => Ok(Some(text)),
        Some(_) => Err(format!("{key}: expected text")),
    }
}

fn required<'a>(node: &'a Node, key: &str) -> Result<&'a str, String> {
    let found = text(node, key)?.filter(|text| !text.is_empty());
    found.ok_or_else(|| format!("{key} is required"))
}

fn absolute(node: &Node, key: &str) -> Result<Option<String>, String> {
    match text(node, key)? {
        Some(path) if !path.starts_with('/') => {
            Err(format!("{key}: expected an absolute path, got {path}"))
        }
        found => Ok(found.map(str::to_owned)),
    }
}

fn list<'a>(node: &'a Node, key: &str) -> Result<Vec<&'a str>, String> {
    let item = |node: &'a Node| match &node.value {
        Value::Scalar { text, .. } => Ok(text.as_ref()),
        _ => Err(format!("{key}: expected a list of texts")),
    };
    match node.get(key).map(|node| &node.value) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => items.iter().map(item).collect(),
        Some(_) => Err(format!("{key}: expected a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DnsProvider, String> {
        provider(&jaco_manifest::parse_document(text, "jacod.yaml").unwrap())
    }

    #[test]
    fn providers_are_read() {
        let zone = "{type: rfc2136, server: ns.example, key_name: jaco, key_file: /etc/jaco/key,\
                    resolvers: [192.0.2.1, '[2001:db8::1]:5353'], propagation: 30s, cname: false}";
        let zone = read(zone).unwrap();
        assert_eq!(zone.method.secret(), Some("/etc/jaco/key"));
        assert_eq!((zone.propagation, zone.follow_cname), (Millis::secs(30), false));
        assert_eq!(zone.resolvers.len(), 2);
        let hook = read("{type: exec, command: [/usr/local/bin/dns, --zone, a]}").unwrap();
        assert_eq!((hook.propagation, hook.follow_cname), (DnsProvider::PROPAGATION, true));
        read("{type: webhook, url: 'https://dns.example/hook'}").unwrap();
    }

    #[test]
    fn faults_are_told() {
        for (text, part) in [
            ("{server: a}", "type is required"),
            ("{type: nsupdate}", "not nsupdate"),
            ("{type: rfc2136, key_name: a, key_file: /k}", "server is required"),
            ("{type: rfc2136, server: a, key_name: a}", "key_file is required"),
            ("{type: rfc2136, server: a, key_name: a, key_file: k}", "absolute path"),
            ("{type: webhook, url: 'http://a.example'}", "https"),
            ("{type: exec, command: [dns]}", "absolute path"),
            ("{type: exec, command: [/dns], zone: a}", "zone: unknown key"),
            ("{type: exec, command: [/dns], resolvers: [a]}", "no address"),
            ("{type: exec, command: [/dns], propagation: 2h}", "at most 1h"),
            ("[a]", "expected a map"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }
}
