//! Two hosts with a cable and two tunnels between them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_lab::{Artifact, build_binary, until};
use serde_json::{Value, json};

use crate::bench::debian::Program;
use crate::bench::space::{Running, Space};

/// Longest time until an interface or socket is there.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest packet in either tunnel, as the product has it on a cable of 1,500 bytes.
const MTU: u16 = 1_420;

/// How packets get from one host to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Jaco,
    WireguardGo,
    Bare,
}

impl Way {
    pub(super) const ALL: [Way; 3] = [Way::Jaco, Way::WireguardGo, Way::Bare];

    /// The address of host 1 or 2.
    pub(super) fn address(self, host: u8) -> Ipv4Addr {
        match self {
            Way::Jaco => Ipv4Addr::new(10, 80, 0, host),
            Way::WireguardGo => Ipv4Addr::new(10, 81, 0, host),
            Way::Bare => Ipv4Addr::new(192, 168, 77, host),
        }
    }

    /// UDP port of the tunnel.
    fn port(self) -> u16 {
        if self == Way::Jaco { 51_820 } else { 51_821 }
    }
}

/// Both hosts and what runs on them.
pub(super) struct Tunnels {
    // Programs end before their hosts do.
    _programs: Vec<Running>,
    pub(super) hosts: [Space; 2],
    leftovers: Leftovers,
}

/// A directory, and sockets of wireguard-go elsewhere, that go when dropped.
struct Leftovers {
    directory: PathBuf,
    sockets: Vec<PathBuf>,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.directory);
        for socket in &self.sockets {
            let _removed = fs::remove_file(socket);
        }
    }
}

/// A host's keys, and where its programs have their files.
struct Keys {
    directory: PathBuf,
    public: String,
}

impl Tunnels {
    /// Opens all of it, with this binary of ours or a fresh one.
    pub(super) fn open(jaco: Option<PathBuf>) -> Result<Tunnels> {
        let built =
            || build_binary(Artifact { package: "jaco", is_static: true, is_release: true });
        let jaco = fs::canonicalize(jaco.map_or_else(built, Ok)?)?;
        let go = Program::fetch("wireguard-go", "wireguard-go")?;
        let wg = Program::fetch("wireguard-tools", "wg")?;
        let hosts = [Space::new()?, Space::new()?];
        let [one, two] = &hosts;
        one.link("cable", two, "cable")?;
        for (host, number) in hosts.iter().zip(1..) {
            host.ip(&format!("address add {}/24 dev cable", Way::Bare.address(number)))?;
        }
        // Sockets have short names only.
        let name = format!("jaco-bench-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let leftovers = Leftovers { directory, sockets: Vec::new() };
        let keys = [1, 2].map(|number| keys(&wg, &leftovers.directory.join(number.to_string())));
        let [one, two] = keys;
        let keys = [one?, two?];
        let mut tunnels = Tunnels { _programs: Vec::new(), hosts, leftovers };
        for (at, number) in [(0, 1), (1, 2)] {
            let (own, other) = (&keys[at], &keys[1 - at]);
            tunnels.open_ours(&jaco, at, number, own, other)?;
            tunnels.open_go(&go, &wg, at, number, own, other)?;
        }
        Ok(tunnels)
    }

    fn open_ours(&mut self, jaco: &Path, at: usize, n: u8, own: &Keys, other: &Keys) -> Result<()> {
        let mut command = Command::new(jaco);
        command.arg0("jacod").args(["mesh-helper", "--interface", "wg-jaco", "--data-dir"]);
        command.arg(&own.directory).args(["--port", &Way::Jaco.port().to_string()]);
        command.stdout(Stdio::null()).stderr(fs::File::create(own.directory.join("log"))?);
        self._programs.push(self.hosts[at].start(command)?);
        let socket = own.directory.join("mesh/helper.sock");
        let stream = until("the mesh helper", PATIENCE, || Ok(UnixStream::connect(&socket).ok()))?;
        let mut stream = BufReader::new(stream);
        let hello = ask(&mut stream, &json!({ "hello": { "version": 1 } }))?;
        ensure!(hello.get("hello").is_some(), "unexpected: {hello}");
        let add = json!({
            "key": other.public,
            "endpoint": format!("{}:{}", Way::Bare.address(3 - n), Way::Jaco.port()),
            "allowed": [format!("{}/32", Way::Jaco.address(3 - n))],
            "keepalive_seconds": 0,
        });
        let done = ask(&mut stream, &json!({ "change": { "changes": [{ "add": add }] } }))?;
        ensure!(done == "done", "unexpected: {done}");
        self.set_up(at, "wg-jaco", Way::Jaco.address(n))
    }

    fn open_go(
        &mut self,
        go: &Program,
        wg: &Program,
        at: usize,
        n: u8,
        own: &Keys,
        other: &Keys,
    ) -> Result<()> {
        // The name is also that of its socket, which all namespaces share.
        let interface = format!("wgbench{}-{n}", std::process::id() % 100_000);
        let socket = Path::new("/var/run/wireguard").join(format!("{interface}.sock"));
        self.leftovers.sockets.push(socket);
        let mut command = go.command();
        command.arg("--foreground").arg(&interface).env("LOG_LEVEL", "error");
        command.stdout(Stdio::null()).stderr(fs::File::create(own.directory.join("go.log"))?);
        self._programs.push(self.hosts[at].start(command)?);
        let words = format!(
            "set {interface} private-key {} listen-port {} peer {} allowed-ips {}/32 endpoint {}:{}",
            own.directory.join("keys/wg.key").display(),
            Way::WireguardGo.port(),
            other.public,
            Way::WireguardGo.address(3 - n),
            Way::Bare.address(3 - n),
            Way::WireguardGo.port(),
        );
        until("wireguard-go", PATIENCE, || {
            let mut command = wg.command();
            command.args(words.split(' ')).stderr(Stdio::null());
            let status = self.hosts[at].run(move || Ok(command.status()?))?;
            Ok(status.success().then_some(()))
        })?;
        self.set_up(at, &interface, Way::WireguardGo.address(n))
    }

    fn set_up(&self, at: usize, interface: &str, address: Ipv4Addr) -> Result<()> {
        let host = &self.hosts[at];
        host.ip(&format!("address add {address}/24 dev {interface}"))?;
        host.ip(&format!("link set {interface} mtu {MTU} up"))
    }
}

/// One request to a helper and its answer.
fn ask(stream: &mut BufReader<UnixStream>, request: &Value) -> Result<Value> {
    let mut line = request.to_string();
    line.push('\n');
    stream.get_mut().write_all(line.as_bytes())?;
    line.clear();
    stream.read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("from the mesh helper: {line}"))
}

/// Makes a pair of keys where the helper looks for it.
fn keys(wg: &Program, directory: &Path) -> Result<Keys> {
    fs::create_dir_all(directory.join("keys"))?;
    let secret = wg.command().arg("genkey").output()?;
    ensure!(secret.status.success(), "wg genkey: {}", secret.status);
    let file = directory.join("keys/wg.key");
    fs::write(&file, &secret.stdout)?;
    let public = wg.command().arg("pubkey").stdin(fs::File::open(&file)?).output()?;
    let public = String::from_utf8(public.stdout)?.trim().to_owned();
    Ok(Keys { directory: directory.to_owned(), public })
}
