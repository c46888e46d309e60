//! Who may import whom, and what a pure crate must not link.
//!
//! Purity of the deciding crates is what lets the simulator run them; here it is a fact that is
//! checked over the resolved dependency graph, not a habit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Crates that mean input, output or threads; no pure crate may reach one.
const IMPURE: [&str; 8] =
    ["actix", "actix-rt", "actix-web", "bollard", "hyper", "mio", "rustix", "tokio"];

/// What the directory of a member says about its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer<'a> {
    Model,
    Wire,
    Manifest,
    KitCore,
    Kit,
    State,
    /// A pure actor: `actors/<name>/core`, or `actors/<name>` of an actor without a shell.
    Core(&'a str),
    Shell(&'a str),
    Api,
    Wiring,
    Simulator,
    /// Tests of the whole product, which link none of it.
    It,
    Lab,
    Probe,
    Xtask,
    Root,
}

/// Actors that only decide and so have no shell of their own.
const ACTORS_WITHOUT_SHELL: [&str; 2] = ["scheduler", "why"];

impl<'a> Layer<'a> {
    fn of(directory: &'a str) -> Option<Self> {
        let parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
        Some(match parts.as_slice() {
            [] => Self::Root,
            ["proto", "model"] => Self::Model,
            ["proto", "wire"] => Self::Wire,
            ["proto", "manifest"] => Self::Manifest,
            ["actors", "kit", "core"] => Self::KitCore,
            ["actors", "kit"] => Self::Kit,
            ["actors", "state"] => Self::State,
            ["actors", "wiring"] => Self::Wiring,
            ["actors", "api"] => Self::Api,
            ["actors", name, "core"] => Self::Core(name),
            ["actors", name] if ACTORS_WITHOUT_SHELL.contains(name) => Self::Core(name),
            ["actors", name] => Self::Shell(name),
            ["tests", "sim"] => Self::Simulator,
            ["tests", "it"] => Self::It,
            ["tests", "lab"] => Self::Lab,
            ["tests", "probe"] => Self::Probe,
            ["xtask"] => Self::Xtask,
            _ => return None,
        })
    }

    fn is_pure(self) -> bool {
        match self {
            Self::Model | Self::Wire | Self::Manifest | Self::KitCore | Self::State => true,
            Self::Core(_) | Self::Wiring => true,
            Self::Kit | Self::Shell(_) | Self::Api | Self::Root => false,
            Self::Simulator | Self::It | Self::Lab | Self::Probe | Self::Xtask => false,
        }
    }

    fn may_import(self, other: Self) -> bool {
        let shared = [Self::Model, Self::KitCore, Self::State];
        match self {
            Self::Model | Self::KitCore if other == Self::Model => self == Self::KitCore,
            Self::Model | Self::KitCore | Self::Lab | Self::Probe => false,
            Self::Wire | Self::Manifest | Self::State => other == Self::Model,
            Self::Kit => matches!(other, Self::Model | Self::KitCore),
            Self::Core(_) => shared.contains(&other),
            Self::Shell(name) => {
                // The transport carries messages of the raft core and is no actor with a core of its
                // own.
                let carried = name == "peers" && other == Self::Core("raft");
                let own = other == Self::Core(name) || carried;
                own || shared.contains(&other) || matches!(other, Self::Kit | Self::Wire)
            }
            Self::Api => shared.contains(&other) || matches!(other, Self::Kit | Self::Manifest),
            Self::Wiring | Self::Simulator => other.is_pure(),
            Self::It => other == Self::Lab,
            // Its benchmarks measure the drivers of the packet filter and of names by themselves.
            Self::Xtask => {
                let measured = ["firewall", "dns", "ingress"].map(Self::Shell);
                let tested = matches!(other, Self::It | Self::Lab);
                other.is_pure() || other == Self::Kit || tested || measured.contains(&other)
            }
            Self::Root => true,
        }
    }
}

/// The members of the workspace and the graph of everything they link.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Package id and directory relative to the root, for each member.
    members: BTreeMap<String, String>,
    /// Package id to package name.
    names: BTreeMap<String, String>,
    /// Package id to the ids it links; development dependencies are left out.
    links: BTreeMap<String, BTreeSet<String>>,
}

impl Workspace {
    pub(super) fn from_metadata(metadata: &Value, root: &Path) -> Result<Self> {
        let mut names = BTreeMap::new();
        let mut directories = BTreeMap::new();
        for package in list(metadata, "packages")? {
            let id = text(package, "id")?;
            names.insert(id.clone(), text(package, "name")?);
            let manifest = text(package, "manifest_path")?;
            if let Some(directory) = Path::new(&manifest).parent()
                && let Ok(relative) = directory.strip_prefix(root)
            {
                directories.insert(id, relative.display().to_string());
            }
        }
        let members: BTreeSet<&str> =
            list(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        directories.retain(|id, _| members.contains(id.as_str()));
        let resolve = metadata.get("resolve").context("metadata has no resolve graph")?;
        let mut links = BTreeMap::new();
        for node in list(resolve, "nodes")? {
            let linked: Result<BTreeSet<String>> = list(node, "deps")?
                .iter()
                .filter(|dependency| is_linked(dependency))
                .map(|dependency| text(dependency, "pkg"))
                .collect();
            links.insert(text(node, "id")?, linked?);
        }
        Ok(Self { members: directories, names, links })
    }

    /// Directories of all members, relative to the root.
    pub(super) fn directories(&self) -> impl Iterator<Item = &str> {
        self.members.values().map(String::as_str)
    }

    /// Every breach of the layering.
    pub(super) fn violations(&self) -> Vec<String> {
        self.members.iter().flat_map(|(id, directory)| self.check_member(id, directory)).collect()
    }

    fn check_member(&self, id: &str, directory: &str) -> Vec<String> {
        let Some(layer) = Layer::of(directory) else {
            return vec![format!("{directory}: the layering rules do not know this directory")];
        };
        let mut violations = Vec::new();
        for linked in self.links.get(id).into_iter().flatten() {
            if let Some(other) = self.members.get(linked)
                && Layer::of(other).is_some_and(|other| !layer.may_import(other))
            {
                violations.push(format!("{directory}: must not depend on {other}"));
            }
        }
        if layer.is_pure() {
            let reached = self.reachable(id);
            let impure = reached.iter().filter(|name| IMPURE.contains(&name.as_str()));
            violations.extend(impure.map(|name| format!("{directory}: pure, but links {name}")));
        }
        violations
    }

    /// Names of all packages that a package links, directly or not.
    fn reachable(&self, id: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            for linked in self.links.get(id).into_iter().flatten() {
                if seen.insert(linked) {
                    waiting.push(linked);
                }
            }
        }
        seen.into_iter().filter_map(|id| self.names.get(id).cloned()).collect()
    }
}

/// Whether a dependency ends up in the product: a build or development tool does not.
fn is_linked(dependency: &Value) -> bool {
    let kinds = dependency.get("dep_kinds").and_then(Value::as_array);
    kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind.get("kind").is_none_or(Value::is_null)))
}

fn list<'v>(value: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    value.get(name).and_then(Value::as_array).with_context(|| format!("metadata without {name}"))
}

fn text(value: &Value, name: &str) -> Result<String> {
    let found = value.get(name).and_then(Value::as_str);
    Ok(found.with_context(|| format!("metadata without {name}"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A workspace of members by directory and outside packages, with arrows between them.
    fn workspace(members: &[&str], arrows: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        let ids: BTreeSet<&str> =
            members.iter().copied().chain(arrows.iter().flat_map(|(a, b, _)| [*a, *b])).collect();
        let packages: Vec<Value> = ids
            .iter()
            .map(|id| {
                let root = if members.contains(id) { "/w" } else { "/elsewhere" };
                json!({ "id": id, "name": id, "manifest_path": format!("{root}/{id}/Cargo.toml") })
            })
            .collect();
        let nodes: Vec<Value> = ids
            .iter()
            .map(|id| {
                let own = arrows.iter().filter(|(from, ..)| from == id);
                let deps =
                    own.map(|(_, to, kind)| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] }));
                json!({ "id": id, "deps": deps.collect::<Vec<_>>() })
            })
            .collect();
        let metadata = json!({
            "packages": packages,
            "workspace_members": members,
            "resolve": { "nodes": nodes },
        });
        Workspace::from_metadata(&metadata, Path::new("/w")).unwrap().violations()
    }

    #[test]
    fn cores_and_shells_keep_to_themselves() {
        let members = ["actors/raft", "actors/raft/core", "actors/dns", "actors/dns/core"];
        let good = [("actors/raft", "actors/raft/core", None)];
        assert!(workspace(&members, &good).is_empty());
        for bad in [
            ("actors/raft", "actors/dns"),
            ("actors/raft", "actors/dns/core"),
            ("actors/raft/core", "actors/dns/core"),
            ("actors/raft/core", "actors/raft"),
        ] {
            let expected = format!("{}: must not depend on {}", bad.0, bad.1);
            assert_eq!(workspace(&members, &[(bad.0, bad.1, None)]), [expected]);
        }
    }

    #[test]
    fn the_transport_carries_messages_of_the_raft_core_alone() {
        let members = ["actors/peers", "actors/raft", "actors/raft/core", "actors/dns/core"];
        assert!(workspace(&members, &[("actors/peers", "actors/raft/core", None)]).is_empty());
        for bad in ["actors/raft", "actors/dns/core"] {
            assert_eq!(workspace(&members, &[("actors/peers", bad, None)]).len(), 1, "{bad}");
        }
    }

    #[test]
    fn the_model_depends_on_nothing_of_ours() {
        let members = ["proto/model", "proto/wire", "actors/kit/core", "actors/state"];
        assert!(workspace(&members, &[("actors/state", "proto/model", None)]).is_empty());
        assert!(workspace(&members, &[("actors/kit/core", "proto/model", None)]).is_empty());
        assert_eq!(workspace(&members, &[("proto/model", "actors/kit/core", None)]).len(), 1);
        assert_eq!(workspace(&members, &[("actors/state", "proto/wire", None)]).len(), 1);
    }

    #[test]
    fn purity_is_checked_through_other_crates_but_not_through_test_helpers() {
        let members = ["actors/scheduler"];
        let through = [("actors/scheduler", "helper", None), ("helper", "tokio", None)];
        assert_eq!(workspace(&members, &through), ["actors/scheduler: pure, but links tokio"]);
        let in_tests = [("actors/scheduler", "tokio", Some("dev"))];
        assert!(workspace(&members, &in_tests).is_empty());
        let in_shell = [("actors/raft", "tokio", None)];
        assert!(workspace(&["actors/raft"], &in_shell).is_empty());
    }

    #[test]
    fn an_unknown_directory_is_a_violation() {
        assert_eq!(workspace(&["misc/tool"], &[]).len(), 1);
    }
}
