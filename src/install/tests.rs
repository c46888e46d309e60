//! An installation below a packager's directory: which files, twice, and edited ones.

use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn target(root: &Path) -> Target {
    Target { root: root.to_owned(), prefix: PathBuf::from(PREFIX), systemd: true }
}

/// Installs a binary of a few bytes and gives what became of each path.
fn run(target: &Target, binary: &Path) -> BTreeMap<String, Action> {
    let done = install(target, binary, true, &mut |_| {}).unwrap();
    assert!(!done.started, "a packager's root starts nothing");
    done.installed.into_iter().map(|placed| (placed.path, placed.action)).collect()
}

/// Files and links below a directory with their modes; links without.
fn files(root: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                dirs.push(path);
                continue;
            }
            let mode = if meta.is_symlink() { 0 } else { meta.permissions().mode() & 0o7777 };
            let below = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(format!("/{below}"), mode);
        }
    }
    found
}

#[test]
fn an_installation_is_these_files_and_the_second_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("built");
    fs::write(&binary, "binary").unwrap();
    let root = dir.path().join("root");
    let target = target(&root);
    let first = run(&target, &binary);
    assert!(first.values().all(|action| *action == Action::Created), "{first:?}");
    let expected = BTreeMap::from([
        ("/etc/jaco/jacod.yaml".to_owned(), 0o640),
        ("/etc/systemd/system/jaco.service".to_owned(), 0o644),
        ("/etc/systemd/system/jaco.socket".to_owned(), 0o644),
        ("/usr/local/bin/jaco".to_owned(), 0o755),
        ("/usr/local/bin/jacod".to_owned(), 0),
    ]);
    assert_eq!(files(&root), expected);
    assert_eq!(fs::read_link(root.join("usr/local/bin/jacod")).unwrap(), Path::new("jaco"));
    let second = run(&target, &binary);
    assert!(second.values().all(|action| *action == Action::Kept), "{second:?}");
    assert_eq!(files(&root), expected);
}

#[test]
fn an_edited_configuration_stays_and_a_broken_rest_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("built");
    fs::write(&binary, "binary").unwrap();
    let root = dir.path().join("root");
    let target = target(&root);
    run(&target, &binary);
    fs::write(root.join("etc/jaco/jacod.yaml"), "node_name: a\n").unwrap();
    fs::write(root.join("etc/systemd/system/jaco.service"), "broken").unwrap();
    fs::remove_file(root.join("usr/local/bin/jacod")).unwrap();
    fs::write(root.join("usr/local/bin/jacod"), "a file in the link's place").unwrap();
    let again = run(&target, &binary);
    assert_eq!(again["/etc/jaco/jacod.yaml"], Action::Kept);
    assert_eq!(again["/etc/jaco/jacod.yaml.new"], Action::Created);
    assert_eq!(again["/etc/systemd/system/jaco.service"], Action::Updated);
    assert_eq!(again["/usr/local/bin/jacod"], Action::Updated);
    let edited = fs::read_to_string(root.join("etc/jaco/jacod.yaml")).unwrap();
    assert_eq!(edited, "node_name: a\n");
    assert_eq!(fs::read_to_string(root.join("etc/jaco/jacod.yaml.new")).unwrap(), dist::CONFIG);
}

#[test]
fn a_prefix_reaches_the_unit_and_the_removal() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("built");
    fs::write(&binary, "binary").unwrap();
    let root = dir.path().join("root");
    let target = Target { prefix: PathBuf::from("/opt/bin"), ..target(&root) };
    run(&target, &binary);
    let unit = fs::read_to_string(root.join("etc/systemd/system/jaco.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/bin/jacod\n"), "{unit}");
    remove(&target, Path::new("/var/lib/jaco"), false, &mut |_| {}).unwrap();
    assert_eq!(files(&root).into_keys().collect::<Vec<_>>(), ["/etc/jaco/jacod.yaml"]);
    remove(&target, Path::new("/var/lib/jaco"), true, &mut |_| {}).unwrap();
    assert!(files(&root).is_empty());
}

#[test]
fn the_default_configuration_holds_with_and_without_its_comments() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jacod.yaml");
    let defaults = crate::daemon::config::load(Some(Path::new("/dev/null")), &BTreeMap::new());
    let defaults = defaults.unwrap();
    let text = dist::CONFIG.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') || rest.starts_with("  ") => rest,
        _ => line,
    });
    fs::write(&file, text.collect::<Vec<_>>().join("\n")).unwrap();
    let loaded = crate::daemon::config::load(Some(&file), &BTreeMap::new()).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    for (shown, default) in loaded.effective.iter().zip(&defaults.effective) {
        let sample = matches!(shown.key, "node_name" | "node_labels");
        assert!(sample || shown.value == default.value, "{shown:?} {default:?}");
    }
}
