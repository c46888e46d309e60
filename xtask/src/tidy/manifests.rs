//! Rules for Cargo.toml files: lints and versions are stated once, in the root.
//!
//! The files are read line by line, not parsed: the rules also ask for a plain style, one
//! dependency a line, which is what a reader wants to see.

use std::collections::BTreeSet;

/// Breaches in a member's manifest.
pub(super) fn member_violations(manifest: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let has_lints = lines(manifest)
        .any(|(section, line)| section == "lints" && line.replace(' ', "") == "workspace=true");
    if !has_lints {
        violations.push("[lints] workspace = true is missing".to_owned());
    }
    for (section, line) in lines(manifest).filter(|(section, _)| is_dependency(section)) {
        if !line.replace(' ', "").contains("workspace=true") {
            violations.push(format!("[{section}] {line}: take it from the workspace"));
        }
    }
    violations
}

/// Outside dependencies of the workspace that have no row in docs/dependencies.md.
pub(super) fn unexplained(manifest: &str, reasons: &str) -> Vec<String> {
    let explained: BTreeSet<&str> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .map(|name| name.trim().trim_matches('`'))
        .collect();
    lines(manifest)
        .filter(|(section, line)| section == "workspace.dependencies" && !line.contains("path ="))
        .filter_map(|(_, line)| Some(line.split_once('=')?.0.trim().to_owned()))
        .filter(|name| !explained.contains(name.as_str()))
        .map(|name| format!("docs/dependencies.md: no row for {name}"))
        .collect()
}

/// Whether a section lists dependencies, or is the table of a single one.
fn is_dependency(section: &str) -> bool {
    let of_workspace = section.starts_with("workspace.");
    !of_workspace && section.rsplit('.').take(2).any(|word| word.ends_with("dependencies"))
}

/// Lines with content, each with the name of its section.
fn lines(manifest: &str) -> impl Iterator<Item = (String, &str)> {
    let mut section = String::new();
    manifest.lines().map(str::trim).filter_map(move |line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
            return None;
        }
        let is_content = !line.is_empty() && !line.starts_with('#');
        is_content.then(|| (section.clone(), line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_member_is_fine() {
        let manifest = "[package]\nversion.workspace = true\n[lints]\nworkspace = true\n\
                        [dependencies]\n# why\nserde.workspace = true\n\
                        tokio = { workspace = true, features = [\"net\"] }\n";
        assert!(member_violations(manifest).is_empty());
    }

    #[test]
    fn missing_lints_and_own_versions_are_found() {
        for section in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.build-dependencies"]
        {
            let manifest = format!("[package]\n[{section}]\nserde = \"1\"\n");
            assert_eq!(member_violations(&manifest).len(), 2, "{section}");
        }
        let table = "[lints]\nworkspace = true\n[dependencies.serde]\nversion = \"1\"\n";
        assert_eq!(member_violations(table).len(), 1);
    }

    #[test]
    fn every_outside_dependency_needs_a_row() {
        let manifest = "[workspace.dependencies]\nown = { path = \"own\" }\nserde = \"1\"\n\
                        tokio = { version = \"1\" }\n";
        let reasons = "| name | why |\n|---|---|\n| serde | derives |\n";
        assert_eq!(unexplained(manifest, reasons), ["docs/dependencies.md: no row for tokio"]);
        assert!(unexplained(manifest, &format!("{reasons}| `tokio` | sockets |\n")).is_empty());
    }
}
