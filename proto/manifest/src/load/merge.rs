//! One compose tree over another, by the rules of compose.
//!
//! Maps merge key by key. Lists append, except that items which mean the same thing (a volume at
//! one target, a port, a secret) replace each other; a few lists, such as `command`, are replaced
//! whole. `!reset` drops a field, `!override` replaces it whole.

use crate::emit::emit;
use crate::node::{Entry, Node, Position, Value};
use crate::yaml::{Mark, Marks};
use std::collections::BTreeMap;

/// Merges `over` over `base`. `path` is where both stand: empty for documents.
pub(crate) fn merge(base: Node, over: Node, path: &mut Vec<String>, marks: &Marks) -> Node {
    if marks.get(&over.at) == Some(&Mark::Override) {
        return over;
    }
    let rule = rule(path);
    if matches!(rule, Rule::Replace) {
        return over;
    }
    let (base, over) = match rule {
        Rule::Pairs(bare) => (pairs(base, bare), pairs(over, bare)),
        Rule::Names => (names(base, path), names(over, path)),
        Rule::Items(_) => (one_item(base), one_item(over)),
        Rule::Usual | Rule::Replace => (base, over),
    };
    let at = base.at;
    match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) if !drivers_differ(path, &base, &over) => {
            Node { value: Value::Map(merge_maps(base, over, path, marks)), at }
        }
        (Value::List(base), Value::List(over)) => {
            let key = match rule {
                Rule::Items(key) => key,
                Rule::Usual | Rule::Pairs(_) | Rule::Names | Rule::Replace => whole,
            };
            Node { value: Value::List(merge_lists(base, over, key)), at }
        }
        (value @ (Value::Map(_) | Value::List(_)), Value::Null) => Node { value, at },
        (_, value) => Node { value, at: over.at },
    }
}

/// Removes what is tagged `!reset`, after all merging.
pub(crate) fn drop_resets(node: &mut Node, marks: &Marks) {
    let stays = |node: &Node| marks.get(&node.at) != Some(&Mark::Reset);
    match &mut node.value {
        Value::Null | Value::Scalar { .. } => {}
        Value::List(items) => {
            items.retain(stays);
            items.iter_mut().for_each(|item| drop_resets(item, marks));
        }
        Value::Map(entries) => {
            entries.retain(|entry| stays(&entry.value));
            entries.iter_mut().for_each(|entry| drop_resets(&mut entry.value, marks));
        }
    }
}

/// What a `KEY` without a value stands for.
#[derive(Clone, Copy)]
pub(crate) enum Bare {
    /// The variable of that name, filled in later.
    Variable,
    /// Empty text.
    Empty,
}

/// How the value at one path merges.
#[derive(Clone, Copy)]
enum Rule {
    /// Maps merge, lists append without repeats, anything else is replaced.
    Usual,
    /// The later value wins whole.
    Replace,
    /// A map, or a list of `KEY=value`.
    Pairs(Bare),
    /// A map, or a list of its keys.
    Names,
    /// A list, or one item of it; items with the same key replace each other.
    Items(fn(&Node) -> String),
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if path.contains(&"x-jaco") && path.last() != Some(&"x-jaco") {
        return Rule::Replace;
    }
    match path.as_slice() {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => {
            Rule::Replace
        }
        ["services", _, "environment"] | ["services", _, "build", "args"] => {
            Rule::Pairs(Bare::Variable)
        }
        ["services", _, "annotations" | "sysctls"] | [.., "labels"] => Rule::Pairs(Bare::Empty),
        ["services", _, "depends_on" | "networks"] => Rule::Names,
        ["services", _, "ports"] => Rule::Items(port_key),
        ["services", _, "volumes"] => Rule::Items(volume_key),
        ["services", _, "devices"] => Rule::Items(device_key),
        ["services", _, "secrets" | "configs"] => Rule::Items(object_key),
        [
            "services",
            _,
            "env_file" | "label_file" | "dns" | "dns_search" | "dns_opt" | "tmpfs" | "expose",
        ] => Rule::Items(whole),
        _ => Rule::Usual,
    }
}

/// Options of one logging driver mean nothing to another.
fn drivers_differ(path: &[String], base: &[Entry], over: &[Entry]) -> bool {
    let driver = |entries: &[Entry]| {
        entries.iter().find(|entry| entry.key == "driver").map(|entry| emit(&entry.value))
    };
    path.len() == 3
        && path.last().is_some_and(|key| key == "logging")
        && matches!((driver(base), driver(over)), (Some(a), Some(b)) if a != b)
}

fn merge_maps(
    base: Vec<Entry>,
    over: Vec<Entry>,
    path: &mut Vec<String>,
    marks: &Marks,
) -> Vec<Entry> {
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let mut result: Vec<Option<Entry>> = Vec::with_capacity(base.len() + over.len());
    for entry in base {
        index.insert(entry.key.clone(), result.len());
        result.push(Some(entry));
    }
    for entry in over {
        let slot = index.get(&entry.key).and_then(|slot| result.get_mut(*slot));
        let is_reset = marks.get(&entry.value.at) == Some(&Mark::Reset);
        match slot {
            Some(slot) if is_reset => *slot = None,
            None if is_reset => {}
            Some(slot) => {
                path.push(entry.key.clone());
                *slot = Some(match slot.take() {
                    Some(earlier) => {
                        let value = merge(earlier.value, entry.value, path, marks);
                        Entry { key: earlier.key, key_at: earlier.key_at, value }
                    }
                    None => entry,
                });
                path.pop();
            }
            None => {
                index.insert(entry.key.clone(), result.len());
                result.push(Some(entry));
            }
        }
    }
    result.into_iter().flatten().collect()
}

fn merge_lists(base: Vec<Node>, over: Vec<Node>, key: fn(&Node) -> String) -> Vec<Node> {
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    for (at, item) in base.iter().enumerate() {
        index.entry(key(item)).or_insert(at);
    }
    let mut result = base;
    for item in over {
        let key = key(&item);
        match index.get(&key).and_then(|at| result.get_mut(*at)) {
            Some(earlier) => *earlier = item,
            None => {
                index.insert(key, result.len());
                result.push(item);
            }
        }
    }
    result
}

/// A list of `KEY=value` as a map. A list with other things in it stays, for the schema to refuse.
pub(crate) fn pairs(node: Node, bare: Bare) -> Node {
    let Value::List(items) = &node.value else {
        return node;
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let Value::Scalar { text, .. } = &item.value else {
            return node;
        };
        let (key, value) = match (text.split_once('='), bare) {
            (Some((key, value)), _) => {
                (key, Value::Scalar { text: value.to_owned(), plain: false })
            }
            (None, Bare::Variable) => (text.as_str(), Value::Null),
            (None, Bare::Empty) => {
                (text.as_str(), Value::Scalar { text: String::new(), plain: false })
            }
        };
        let value = Node { value, at: item.at };
        let entry = Entry { key: key.to_owned(), key_at: item.at, value };
        match index.get(key).and_then(|at| entries.get_mut(*at)) {
            Some(earlier) => *earlier = entry,
            None => {
                index.insert(key.to_owned(), entries.len());
                entries.push(entry);
            }
        }
    }
    Node { value: Value::Map(entries), at: node.at }
}

/// A list of names as a map from name to what compose takes for a bare name.
fn names(node: Node, path: &[String]) -> Node {
    let Value::List(items) = &node.value else {
        return node;
    };
    let is_dependency = path.last().is_some_and(|key| key == "depends_on");
    let mut entries: BTreeMap<&str, (usize, Entry)> = BTreeMap::new();
    for (order, item) in items.iter().enumerate() {
        let Value::Scalar { text, .. } = &item.value else {
            return node;
        };
        let value = if is_dependency { started(item.at) } else { Value::Null };
        let value = Node { value, at: item.at };
        let entry = Entry { key: text.clone(), key_at: item.at, value };
        entries.entry(text).or_insert((order, entry));
    }
    let mut entries: Vec<(usize, Entry)> = entries.into_values().collect();
    entries.sort_by_key(|(order, _)| *order);
    let entries = entries.into_iter().map(|(_, entry)| entry).collect();
    Node { value: Value::Map(entries), at: node.at }
}

/// `{condition: service_started}`
fn started(at: Position) -> Value {
    let text = "service_started".to_owned();
    let value = Node { value: Value::Scalar { text, plain: true }, at };
    Value::Map(vec![Entry { key: "condition".to_owned(), key_at: at, value }])
}

/// A lone item as a list of one.
fn one_item(node: Node) -> Node {
    match node.value {
        Value::Scalar { .. } => {
            let at = node.at;
            Node { value: Value::List(vec![node]), at }
        }
        Value::Null | Value::List(_) | Value::Map(_) => node,
    }
}

fn whole(node: &Node) -> String {
    emit(node)
}

/// A field of a long form as text; empty when absent.
fn field<'n>(node: &'n Node, key: &str) -> &'n str {
    match node.get(key).map(|node| &node.value) {
        Some(Value::Scalar { text, .. }) => text,
        Some(Value::Null | Value::List(_) | Value::Map(_)) | None => "",
    }
}

/// Target, protocol, address and published port.
fn port_key(node: &Node) -> String {
    let Value::Scalar { text, .. } = &node.value else {
        let protocol = Some(field(node, "protocol")).filter(|p| !p.is_empty()).unwrap_or("tcp");
        let (address, published) = (field(node, "host_ip"), field(node, "published"));
        return format!("{}/{protocol} {address} {published}", field(node, "target"));
    };
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (host, target) = numbers.rsplit_once(':').unwrap_or(("", numbers));
    let (address, published) = host.rsplit_once(':').unwrap_or(("", host));
    format!("{target}/{protocol} {address} {published}")
}

fn volume_key(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } => {
            let mut parts = text.split(':');
            let first = parts.next().unwrap_or_default();
            parts.next().unwrap_or(first).trim_end_matches('/').to_owned()
        }
        Value::Null | Value::List(_) | Value::Map(_) => {
            field(node, "target").trim_end_matches('/').to_owned()
        }
    }
}

fn device_key(node: &Node) -> String {
    match &node.value {
        Value::Scalar { .. } => volume_key(node),
        Value::Null | Value::List(_) | Value::Map(_) => {
            let target = field(node, "target");
            if target.is_empty() { field(node, "source").to_owned() } else { target.to_owned() }
        }
    }
}

/// Where a secret or config appears in the container, or its name.
fn object_key(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } => text.clone(),
        Value::Null | Value::List(_) | Value::Map(_) => {
            let target = field(node, "target");
            if target.is_empty() { field(node, "source").to_owned() } else { target.to_owned() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::FileId;
    use crate::yaml::parse;

    /// Merges two documents; the result as YAML.
    fn merged(base: &str, over: &str) -> String {
        let base = parse(base.as_bytes(), FileId(0)).unwrap();
        let over = parse(over.as_bytes(), FileId(1)).unwrap();
        let mut marks = base.marks;
        marks.extend(over.marks);
        let mut node = merge(base.root, over.root, &mut Vec::new(), &marks);
        drop_resets(&mut node, &marks);
        emit(&node)
    }

    fn service(base: &str, over: &str, result: &str) {
        let wrap = |text: &str| format!("services:\n  a:\n    {}", text.replace('\n', "\n    "));
        let expected = parse(wrap(result).as_bytes(), FileId(0)).unwrap().root;
        assert_eq!(merged(&wrap(base), &wrap(over)), emit(&expected), "{base}\n{over}");
    }

    #[test]
    fn maps_merge_and_scalars_are_replaced() {
        service("image: a\ninit: true", "image: b\ntty: true", "image: b\ninit: true\ntty: true");
        service(
            "deploy: {replicas: 1}",
            "deploy: {mode: global}",
            "deploy: {replicas: 1, mode: global}",
        );
        service("deploy: {replicas: 1}", "deploy:", "deploy: {replicas: 1}");
    }

    #[test]
    fn environment_and_labels_merge_by_key_in_both_forms() {
        let result = "environment: {A: \"1\", B: \"3\", C: }";
        service("environment: [A=1, B=2]", "environment: [B=3, C]", result);
        service("labels: {a: 1}", "labels: [a=2]", "labels: {a: \"2\"}");
        service("environment: {A: 1}", "environment: {A: }", "environment: {A: }");
        service("labels: [a]", "labels: [b=1]", "labels: {a: '', b: '1'}");
    }

    #[test]
    fn lists_append_and_equal_meanings_replace() {
        service("expose: [1]", "expose: [1, 2]", "expose: [1, 2]");
        service(
            "ports: ['80:80', '81:81']",
            "ports: ['80:80/tcp']",
            "ports: ['80:80/tcp', '81:81']",
        );
        service(
            "volumes: ['a:/x', 'b:/y']",
            "volumes: [{type: volume, source: c, target: /x}]",
            "volumes: [{type: volume, source: c, target: /x}, 'b:/y']",
        );
        service("dns: 1.1.1.1", "dns: [8.8.8.8]", "dns: [1.1.1.1, 8.8.8.8]");
        service("secrets: [a]", "secrets: [a, b]", "secrets: [a, b]");
        service("cap_add: [A]", "cap_add: [B]", "cap_add: [A, B]");
    }

    #[test]
    fn commands_are_replaced() {
        service("command: [a, b]", "command: [c]", "command: [c]");
        service("entrypoint: a", "entrypoint: [c]", "entrypoint: [c]");
        let health = |test: &str| format!("healthcheck: {{test: {test}, retries: 1}}");
        service(&health("[CMD, a]"), "healthcheck: {test: [CMD, b]}", &health("[CMD, b]"));
        service("x-jaco: {hosts: [a]}", "x-jaco: {hosts: [b]}", "x-jaco: {hosts: [b]}");
    }

    #[test]
    fn dependencies_and_networks_merge_as_maps() {
        service(
            "depends_on: [a, b]",
            "depends_on: {b: {condition: service_healthy}}",
            "depends_on: {a: {condition: service_started}, b: {condition: service_healthy}}",
        );
        service("networks: [n]", "networks: {n: {aliases: [x]}}", "networks: {n: {aliases: [x]}}");
    }

    #[test]
    fn logging_options_belong_to_their_driver() {
        let base = "logging: {driver: a, options: {x: 1}}";
        service(base, "logging: {driver: b}", "logging: {driver: b}");
        service(base, "logging: {options: {y: 2}}", "logging: {driver: a, options: {x: 1, y: 2}}");
    }

    #[test]
    fn reset_and_override() {
        service("ports: ['80:80']\nimage: a", "ports: !reset []", "image: a");
        service("ports: ['80:80']", "ports: !override ['81:81']", "ports: ['81:81']");
        service(
            "environment: {A: 1, B: 2}",
            "environment: {A: !reset null}",
            "environment: {B: 2}",
        );
        service("image: a", "tty: !reset true", "image: a");
    }
}
