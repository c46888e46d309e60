//! When a certificate is renewed, and that a daemon does it by itself.

use super::*;
use crate::daemon::config::{self, Config};
use crate::daemon::{Options, boot, run};
use jaco_model::ClusterId;
use jaco_model::command::Command;
use jaco_peers::pki::{Authority, PeerId, certificates_from_pem, validity};
use jaco_wiring::{decode, decode_state};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

const DAY: u64 = 24 * 60 * 60 * 1_000;

#[test]
fn a_third_before_the_end_it_is_time() {
    let validity = Validity { not_before: WallMs(0), not_after: WallMs(90 * DAY) };
    for (at, spread, due) in [
        (0, 100, false),
        (56 * DAY, 100, false),
        (57 * DAY, 100, true),
        (60 * DAY, 50, true),
        (59 * DAY, 50, false),
        (62 * DAY, 0, false),
        (63 * DAY, 0, true),
        (200 * DAY, 0, true),
    ] {
        assert_eq!(is_due(validity, WallMs(at), spread), due, "{} {spread}", at / DAY);
    }
}

fn config(dir: &Path) -> Config {
    let variables = BTreeMap::from([
        ("JACO_DATA_DIR", dir.join("data").display().to_string()),
        ("JACO_SOCKET", dir.join("jaco.sock").display().to_string()),
        ("JACO_SOCKET_GROUP", String::new()),
        // No engine: it is not what this is about.
        ("JACO_DOCKER_HOST", format!("unix://{}", dir.join("none.sock").display())),
    ]);
    let variables = variables.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let loaded = config::load(Some(Path::new("/dev/null")), &variables);
    // Any free ports, which the file cannot ask for.
    let any = || "127.0.0.1:0".to_owned();
    let config = loaded.expect("a valid configuration").config;
    Config { listen_addr: any(), cluster_addr: any(), ..config }
}

/// Runs a daemon until `enough` holds, and stops it.
fn run_until(dir: &Path, what: &str, enough: impl Fn() -> bool) {
    let (ready, is_ready) = channel();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let options = Options {
        file: None,
        init: Some("test".to_owned()),
        ready: Some(ready),
        stop: Some(stopped),
        signals: false,
        listens: true,
    };
    let config = config(dir);
    let daemon = std::thread::spawn(move || run(config, options));
    is_ready.recv_timeout(Duration::from_secs(60)).expect("the daemon starts");
    let clock = jaco_kit::Clock::new();
    while !enough() {
        assert!(clock.mono().0 < 60_000, "not within a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    stop.send(()).expect("the daemon runs");
    assert_eq!(daemon.join().expect("the daemon does not panic"), 0);
}

/// A copy of a member's files: those of a daemon that ran in this process stay locked until it ends.
fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for part in ["node", "raft"] {
        let target = to.path().join("data").join(part);
        std::fs::create_dir_all(&target).unwrap();
        for entry in std::fs::read_dir(from.join("data").join(part)).unwrap().flatten() {
            std::fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
        }
    }
    to
}

#[test]
fn a_daemon_renews_a_certificate_that_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    run_until(dir.path(), "the first certificate", || {
        NodeFiles::read(&data_dir).is_ok_and(|files| files.is_some())
    });
    let opened = copied(dir.path());
    let (_, loaded) = boot::open(&config(opened.path())).unwrap().expect("a member");
    let index = loaded.durable.snapshot.at.index;
    let state = decode_state(index, &loaded.snapshot).unwrap();
    let cluster = state.cluster.as_ref().unwrap();
    let trust = cluster.trust.as_ref().expect("an authority");
    let authority = Authority::from_pem(&trust.certificate, &trust.key).unwrap();

    let dir = copied(dir.path());
    let data_dir = dir.path().join("data");

    // As if it had been made eighty days ago.
    let now = jaco_kit::Clock::new().wall().0;
    let node = NodeId::new(loaded.marker.node_id.clone());
    let cluster_id: &ClusterId = &cluster.cluster_id;
    let key = NodeKey::create().unwrap();
    let ttl = cluster::CERTIFICATE_TTL;
    let made = WallMs(now - 80 * DAY);
    let old = authority.sign_node(&key.csr_der, cluster_id, &node, made, ttl).unwrap();
    let roots = authority.cert_pem.clone();
    let files = NodeFiles { roots, certificate: old.cert_pem, key: key.key_pem };
    files.write(&data_dir).unwrap();

    let renewed = || {
        let files = NodeFiles::read(&data_dir).ok().flatten()?;
        let ends = validity(&files.certificate).ok()?.not_after.0;
        (ends > now + 80 * DAY).then_some(files)
    };
    run_until(dir.path(), "the renewal", || renewed().is_some());
    let files = renewed().expect("it was there");
    assert!(files.identity().is_ok(), "key and certificate belong together");
    let serial = PeerId::from_der(&certificates_from_pem(&files.certificate).unwrap()[0]).unwrap();
    // The others accept it: its serial is in the log.
    let dir = copied(dir.path());
    let (_, loaded) = boot::open(&config(dir.path())).unwrap().expect("a member");
    let commands = loaded.durable.entries.iter().filter_map(|entry| decode(&entry.data).ok());
    let recorded: Vec<_> = commands
        .filter_map(|envelope| match envelope.command {
            Command::RecordCertificate { serial, .. } => Some(serial),
            _ => None,
        })
        .collect();
    assert_eq!(recorded, [serial.serial]);
}
