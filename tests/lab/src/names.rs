//! A name server that says what a test tells it: `pebble-challtestsrv`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::wait::until;

/// Port of the name server.
const DNS: u16 = 8_053;

/// Port of its management.
const MANAGEMENT: u16 = 8_055;

/// Longest time until it answers.
const LIMIT: Duration = Duration::from_secs(30);

/// Counts the addresses that this process has taken.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// An address of the loopback interface that no other test uses, so that ports need no choice.
#[must_use]
pub fn loopback() -> Ipv4Addr {
    let taken = TAKEN.fetch_add(1, Ordering::Relaxed) % 32;
    // Process ids have 22 bits.
    let bits = 0x7f00_0000 | 0x40_0000 | (std::process::id() & 0x1_ffff) << 5 | taken;
    Ipv4Addr::from_bits(bits)
}

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct Names {
    address: Ipv4Addr,
    child: Child,
}

impl Names {
    /// Starts one in the namespace of this process. Names nothing was said about lead to
    /// `default`, or nowhere.
    ///
    /// # Errors
    /// When the program is missing or does not answer.
    pub fn start_here(address: Ipv4Addr, default: Option<Ipv4Addr>, log: &Path) -> Result<Self> {
        Self::start(Command::new("pebble-challtestsrv"), address, default, log)
    }

    pub(crate) fn start(
        mut command: Command,
        address: Ipv4Addr,
        default: Option<Ipv4Addr>,
        log: &Path,
    ) -> Result<Self> {
        let default = default.map(|to| to.to_string()).unwrap_or_default();
        command.args(["-dns01", &format!("{address}:{DNS}")]);
        command.args(["-management", &format!("{address}:{MANAGEMENT}")]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-defaultIPv4", &default, "-defaultIPv6", ""]);
        let child = spawn(&mut command, log)?;
        let names = Self { address, child };
        until("the name server", LIMIT, || {
            Ok(TcpStream::connect((address, MANAGEMENT)).is_ok().then_some(()))
        })?;
        Ok(names)
    }

    /// Where it is asked.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        (self.address, DNS).into()
    }

    /// The URL of its management.
    #[must_use]
    pub fn management(&self) -> String {
        format!("http://{}:{MANAGEMENT}", self.address)
    }

    /// Where a name leads from now on.
    ///
    /// # Errors
    /// When the name server does not take it.
    pub fn resolve(&self, name: &str, to: &[Ipv4Addr]) -> Result<()> {
        self.tell("add-a", &json!({ "host": format!("{name}."), "addresses": to }))
    }

    /// Posts to its management, such as `add-caa` or `set-servfail`.
    ///
    /// # Errors
    /// When the name server does not take it.
    pub fn tell(&self, path: &str, body: &Value) -> Result<()> {
        let (body, length) = (body.to_string(), body.to_string().len());
        let mut stream = TcpStream::connect((self.address, MANAGEMENT))?;
        write!(
            stream,
            "POST /{path} HTTP/1.1\r\nHost: names\r\nConnection: close\r\nContent-Length: {length}\
             \r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program that writes into a file.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let log = File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let name = command.get_program().to_string_lossy().into_owned();
    command.spawn().with_context(|| format!("cannot start {name}"))
}
