//! An authoritative name server, Knot DNS, with one zone that a key may change.

use jaco_lab::{Program, loopback, until};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

pub(crate) const ZONE: &str = "example.test";
pub(crate) const KEY_NAME: &str = "jaco.";
/// 32 bytes, and others.
pub(crate) const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
pub(crate) const OTHER_KEY: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
const LIMIT: Duration = Duration::from_secs(30);
/// What name servers that a zone names are asked at.
const PORT: u16 = 53;

pub(crate) struct Knot {
    server: SocketAddr,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Knot {
    /// A primary server whose zone names nobody but itself.
    pub(crate) fn start(algorithm: &str) -> Knot {
        let server = (loopback(), PORT).into();
        Knot::start_at(server, &[server], algorithm)
    }

    /// A server at an address, of a zone with these servers.
    pub(crate) fn start_at(server: SocketAddr, all: &[SocketAddr], algorithm: &str) -> Knot {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let mut zone = format!(
            "$TTL 60\n@ SOA ns0.{ZONE}. admin.{ZONE}. 1 3600 600 86400 5\n\
             _acme-challenge.alias CNAME _acme-challenge.target\nshop A 192.0.2.1\n"
        );
        for (index, other) in all.iter().enumerate() {
            zone.push_str(&format!("@ NS ns{index}\nns{index} A {}\n", other.ip()));
        }
        fs::write(dir.path().join("zone"), zone).unwrap();
        let config = format!(
            "server:\n    listen: {}@{}\n    rundir: {path}\n\
             log:\n  - target: stderr\n    any: info\n\
             database:\n    storage: {path}\n\
             key:\n  - id: {KEY_NAME}\n    algorithm: {algorithm}\n    secret: {KEY}\n\
             acl:\n  - id: change\n    key: {KEY_NAME}\n    action: update\n    \
             update-owner: name\n    update-owner-match: sub-or-equal\n    \
             update-owner-name: [{ZONE}.]\n    update-type: [TXT]\n\
             zone:\n  - domain: {ZONE}\n    storage: {path}\n    file: zone\n    acl: change\n    \
             zonefile-load: whole\n",
            server.ip(),
            server.port()
        );
        fs::write(dir.path().join("knot.conf"), config).unwrap();
        let mut command = Program::knotd().unwrap().command();
        command.arg("--config").arg(dir.path().join("knot.conf"));
        let log = fs::File::create(dir.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        let mut knot = Knot { server, child, _dir: dir };
        let listens =
            until("knotd", LIMIT, || Ok(TcpStream::connect(knot.server).is_ok().then_some(())));
        if listens.is_err() {
            panic!("knotd: {}", knot.log());
        }
        knot.server = server;
        knot
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self._dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
