//! Defaults, file and environment: read, checked with positions, merged by figment.

use super::Config;
use super::check;
use super::keys::{self, KEYS, Key, Kind};
use super::providers;
use figment::Figment;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use jaco_manifest::node::{self, Node};
use jaco_model::suggest::closest;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A configuration that passed every check.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What the daemon uses.
    pub(crate) config: Config,
    /// Every key with its value and origin.
    pub(crate) effective: Vec<Effective>,
    /// Unknown variables and keys without effect, for the log.
    pub(crate) warnings: Vec<String>,
}

/// One key as it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    /// With dots between the parts.
    pub(crate) key: &'static str,
    /// As it would be written.
    pub(crate) value: String,
    /// `default`, `file:LINE` or `env:NAME`.
    pub(crate) origin: String,
}

/// Where values were found, by key.
#[derive(Default)]
struct Found {
    values: BTreeMap<&'static str, (String, String, Value)>,
    faults: Vec<(u32, u32, String)>,
    warnings: Vec<String>,
}

/// Reads the configuration. A file that is not named and does not exist means defaults.
///
/// # Errors
/// All faults, one line each: `file:line:column: path: message`.
pub(crate) fn load(
    file: Option<&Path>,
    variables: &BTreeMap<String, String>,
) -> Result<Loaded, Vec<String>> {
    let mut found = Found::default();
    found.read_file(file, variables)?;
    found.read_variables(variables)?;
    let mut figment = Figment::new();
    let mut effective = Vec::new();
    for key in KEYS {
        let default = || check::text(key.kind, key.default).unwrap_or_else(Value::from);
        let (value, origin, parsed) = found
            .values
            .remove(key.path)
            .unwrap_or_else(|| (key.default.to_owned(), "default".to_owned(), default()));
        if !key.used && origin != "default" {
            found.warnings.push(format!("{}: has no effect in this version", key.path));
        }
        effective.push(Effective { key: key.path, value, origin });
        figment = figment.merge(Serialized::default(key.path, parsed));
    }
    come_together(&effective, ["acme_eab.key_id", "acme_eab.hmac_key_file"])?;
    let mut config: Config = figment.extract().map_err(|error| vec![error.to_string()])?;
    let is_said = |value: &Effective| value.key == "ipam_pool" && value.origin != "default";
    config.has_ipam_pool = effective.iter().any(is_said);
    Ok(Loaded { config, effective, warnings: found.warnings })
}

/// Two keys of which each means nothing without the other.
fn come_together(effective: &[Effective], pair: [&'static str; 2]) -> Result<(), Vec<String>> {
    let is_set = |key: &str| effective.iter().any(|one| one.key == key && !one.value.is_empty());
    match pair.map(is_set) {
        [true, false] => Err(vec![format!("{}: {} is required with it", pair[0], pair[1])]),
        [false, true] => Err(vec![format!("{}: {} is required with it", pair[1], pair[0])]),
        _ => Ok(()),
    }
}

/// The default path; may be missing.
const DEFAULT_FILE: &str = "/etc/jaco/jacod.yaml";

impl Found {
    fn read_file(
        &mut self,
        file: Option<&Path>,
        variables: &BTreeMap<String, String>,
    ) -> Result<(), Vec<String>> {
        let named =
            file.map(Path::to_owned).or_else(|| variables.get("JACO_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
                return Ok(());
            }
            Err(error) => return Err(vec![format!("{}: {error}", path.display())]),
        };
        let name = path.display().to_string();
        let root = jaco_manifest::parse_document(&text, &name).map_err(|problems| {
            problems.errors.iter().map(|problem| problem.text(&name)).collect::<Vec<_>>()
        })?;
        self.read_map("", &root);
        self.faults.sort();
        if self.faults.is_empty() {
            return Ok(());
        }
        let faults = self.faults.iter();
        Err(faults.map(|(line, column, text)| format!("{name}:{line}:{column}: {text}")).collect())
    }

    /// Reads one level of the file; `prefix` ends with a dot below the top.
    fn read_map(&mut self, prefix: &str, node: &Node) {
        let entries = match &node.value {
            node::Value::Map(entries) => entries,
            node::Value::Null => return,
            _ => return self.fault(node, prefix.trim_end_matches('.'), "expected a map"),
        };
        for entry in entries {
            let path = format!("{prefix}{}", entry.key);
            let below = format!("{path}.");
            if let Some(key) = keys::find(&path) {
                self.read_value(key, &entry.value);
            } else if KEYS.iter().any(|key| key.path.starts_with(&below)) {
                self.read_map(&below, &entry.value);
            } else {
                let known = KEYS.iter().map(|key| key.path);
                let hint = closest(&path, known).map(|key| format!(" (did you mean \"{key}\"?)"));
                let at = entry.key_at;
                let text = format!("{path}: unknown key{}", hint.unwrap_or_default());
                self.faults.push((at.line, at.column, text));
            }
        }
    }

    fn read_value(&mut self, key: &'static Key, node: &Node) {
        if node.is_null() {
            return;
        }
        match value(key.kind, node) {
            Ok((text, value)) => {
                self.values.insert(key.path, (text, format!("file:{}", node.at.line), value));
            }
            Err(message) => self.fault(node, key.path, &message),
        }
    }

    fn fault(&mut self, node: &Node, path: &str, message: &str) {
        self.faults.push((node.at.line, node.at.column, format!("{path}: {message}")));
    }

    fn read_variables(&mut self, variables: &BTreeMap<String, String>) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        for (name, text) in variables.iter().filter(|(name, _)| name.starts_with("JACO_")) {
            let Some(key) = keys::of_variable(name) else {
                if !CLIENT_VARIABLES.contains(&name.as_str()) {
                    self.warnings.push(format!("{name}: unknown variable"));
                }
                continue;
            };
            match check::text(key.kind, text) {
                Ok(value) => {
                    self.values.insert(key.path, (text.clone(), format!("env:{name}"), value));
                }
                Err(message) => faults.push(format!("{name}: {}: {message}", key.path)),
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// Variables that belong to the command line or name the file itself.
const CLIENT_VARIABLES: [&str; 8] = [
    "JACO_CONFIG",
    "JACO_CONFIG_DIR",
    "JACO_CONTEXT",
    "JACO_OUTPUT",
    "JACO_SERVER",
    "JACO_TOKEN",
    "JACO_CA_CERT",
    "JACO_JOIN_TOKEN",
];

/// One value of the file, as text for people and as figment merges it.
fn value(kind: Kind, node: &Node) -> Result<(String, Value), String> {
    match (&node.value, kind) {
        (node::Value::Scalar { text, .. }, Kind::Levels) => {
            let dict = Dict::from([("default".to_owned(), check::level(text)?)]);
            Ok((text.clone(), Value::from(dict)))
        }
        (node::Value::Scalar { text, .. }, kind) if !is_collection(kind) => {
            Ok((text.clone(), check::text(kind, text)?))
        }
        (
            node::Value::List(items),
            Kind::Listeners
            | Kind::Cidrs
            | Kind::Addresses
            | Kind::Ports
            | Kind::BindPaths
            | Kind::List,
        ) => {
            let texts = items.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
            Ok((texts.join(","), check::list(kind, texts.iter().copied())?))
        }
        (node::Value::Map(entries), Kind::Map | Kind::Levels) => {
            let mut dict = Dict::new();
            let mut shown = Vec::new();
            for entry in entries {
                let text = scalar(&entry.value)?;
                let value = if kind == Kind::Map { Value::from(text) } else { check::level(text)? };
                shown.push(format!("{}={text}", entry.key));
                dict.insert(entry.key.clone(), value);
            }
            Ok((shown.join(","), Value::from(dict)))
        }
        (node::Value::Map(entries), Kind::Providers) => {
            let mut read = BTreeMap::new();
            for entry in entries {
                let provider = providers::provider(&entry.value);
                let named = provider.map_err(|fault| format!("{}: {fault}", entry.key))?;
                read.insert(entry.key.clone(), named);
            }
            let names: Vec<&str> = read.keys().map(String::as_str).collect();
            let shown = names.join(",");
            let value = Value::serialize(&read).map_err(|error| error.to_string())?;
            Ok((shown, value))
        }
        (_, kind) => Err(format!("expected {}, found {}", describe(kind), node.kind())),
    }
}

fn scalar(node: &Node) -> Result<&str, String> {
    match &node.value {
        node::Value::Scalar { text, .. } => Ok(text),
        _ => Err(format!("expected text, found {}", node.kind())),
    }
}

fn is_collection(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Listeners
            | Kind::Cidrs
            | Kind::Addresses
            | Kind::Ports
            | Kind::BindPaths
            | Kind::List
            | Kind::Map
            | Kind::Providers
    )
}

fn describe(kind: Kind) -> &'static str {
    match kind {
        Kind::Listeners
        | Kind::Cidrs
        | Kind::Addresses
        | Kind::Ports
        | Kind::BindPaths
        | Kind::List => "a list",
        Kind::Map | Kind::Providers => "a map",
        Kind::Levels => "a level or a map of levels",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("jacod.yaml");
        std::fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let loaded = load(Some(&file), &variables.collect());
        loaded.map_err(|faults| {
            let dir = format!("{}/", dir.path().display());
            faults.iter().map(|fault| fault.replace(&dir, "")).collect()
        })
    }

    #[test]
    fn defaults_hold_without_a_file() {
        let loaded = load_text("", &[]).unwrap();
        assert_eq!(loaded.config.data_dir, Path::new("/var/lib/jaco"));
        assert_eq!(loaded.config.raft_tick, 100);
        assert_eq!(loaded.config.admission.bind_paths, ["/srv", "/mnt", "/media"]);
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let text = "data_dir: /a\nlog_level: {default: warn, raft: debug}\n";
        let loaded =
            load_text(text, &[("JACO_DATA_DIR", "/b"), ("JACO_RAFT_TICK", "250ms")]).unwrap();
        assert_eq!(loaded.config.data_dir, Path::new("/b"));
        assert_eq!(loaded.config.raft_tick, 250);
        assert_eq!(loaded.config.log_level["raft"], "debug");
        let origin = |key| loaded.effective.iter().find(|e| e.key == key).unwrap().origin.clone();
        assert_eq!(origin("data_dir"), "env:JACO_DATA_DIR");
        assert_eq!(origin("log_level"), "file:2");
        assert_eq!(origin("wg_port"), "default");
    }

    #[test]
    fn all_faults_come_at_once_with_their_places() {
        let text = "data_dirr: /a\nraft_tick: 2s\ningress:\n  http_adr: [x]\n  https_addr: [\"[::]:443\", lb.example:443]\nwitness: yes\n";
        assert_eq!(
            load_text(text, &[]).unwrap_err(),
            [
                "jacod.yaml:1:1: data_dirr: unknown key (did you mean \"data_dir\"?)",
                "jacod.yaml:2:12: raft_tick: expected a duration from 50ms to 500ms",
                "jacod.yaml:4:3: ingress.http_adr: unknown key (did you mean \"ingress.http_addr\"?)",
                "jacod.yaml:5:15: ingress.https_addr: \"lb.example:443\" is no address to listen on: write \
                 an IP address and a port, such as 0.0.0.0:80 for all of this host or [::]:80 with \
                 IPv6; names are not looked up",
                "jacod.yaml:6:10: witness: expected a list, found text",
            ]
        );
    }

    #[test]
    fn a_key_of_a_later_version_is_checked_and_said_to_have_no_effect() {
        let loaded = load_text("dashboard: false\n", &[("JACO_NOPE", "1")]).unwrap();
        assert_eq!(
            loaded.warnings,
            ["JACO_NOPE: unknown variable", "dashboard: has no effect in this version"]
        );
        assert!(load_text("dashboard: 7\n", &[]).is_err());
    }

    #[test]
    fn the_keys_of_a_binding_come_together() {
        let text = "acme_eab: {key_id: customer-7, hmac_key_file: /etc/jaco/eab}\n";
        let loaded = load_text(text, &[]).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.config.acme_eab.key_id, "customer-7");
        for (text, fault) in [
            (
                "acme_eab: {key_id: customer-7}",
                "acme_eab.key_id: acme_eab.hmac_key_file is required with it",
            ),
            (
                "acme_eab: {hmac_key_file: /etc/jaco/eab}",
                "acme_eab.hmac_key_file: acme_eab.key_id is required with it",
            ),
        ] {
            assert_eq!(load_text(text, &[]).unwrap_err(), [fault]);
        }
        assert!(load_text("acme_eab: {key_id: a, hmac_key_file: eab}", &[]).is_err());
    }

    #[test]
    fn the_pool_of_addresses_is_taken_as_it_is_written() {
        let loaded = load_text("ipam_pool: 10.244.0.0/16\n", &[("JACO_BLOCK_PREFIX", "24")]);
        let config = loaded.unwrap().config;
        assert_eq!(
            (config.ipam_pool.to_string().as_str(), config.block_prefix),
            ("10.244.0.0/16", 24)
        );
        assert!(load_text("ipam_pool: 10.244.0.0/30\n", &[]).is_err());
        assert!(load_text("block_prefix: 30\n", &[]).is_err());
    }
}
