//! A proxy in a process of its own, whose memory is its own too: this test binary run once more,
//! with only [`proxy_of_a_test`], which else does nothing.

use crate::h2::wire::serve;
use crate::support::Proxy;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Has the port of the service behind the proxy.
const PORT: &str = "JACO_TEST_WIRE_PORT";

pub(crate) struct Process {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) root: Vec<u8>,
}

impl Process {
    /// A proxy in front of a service on this machine; it ends with its guard.
    pub(crate) async fn start(service: SocketAddr) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::proxy_of_a_test", "--nocapture"]);
        command.env(PORT, service.port().to_string()).kill_on_drop(true);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this binary runs");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = loop {
            let line = lines.next_line().await.unwrap().expect("the child says where it listens");
            if let Some((_, rest)) = line.split_once("listens ") {
                break rest.to_owned();
            }
        };
        let words: Vec<&str> = line.split(' ').collect();
        let byte = |at: usize| u8::from_str_radix(&words[2][at..at + 2], 16).unwrap();
        let root = (0..words[2].len()).step_by(2).map(byte).collect();
        let (http, https) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        Process { child, http, https, root }
    }

    fn kilobytes(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id().expect("it runs"));
        let text = std::fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).expect("Linux has it");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Memory in use now, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.kilobytes("VmRSS:")
    }

    /// From now on [`Process::peak`] is new.
    pub(crate) fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id().expect("it runs"));
        std::fs::write(path, "5").unwrap();
    }

    /// The most memory that was in use, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        self.kilobytes("VmHWM:")
    }
}

#[tokio::test]
async fn proxy_of_a_test() {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse().ok()) else { return };
    let proxy = Proxy::start(|config| {
        config.header_timeout = Duration::from_secs(60);
        config.connections.client = 4096;
        config.connections.young = 4096;
    });
    let root = serve(&proxy, port, |spec| spec.options.https_redirect = false);
    let root: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut output = std::io::stdout();
    writeln!(output, "listens {} {} {root}", proxy.http, proxy.https).unwrap();
    output.flush().unwrap();
    // It goes on until whoever started it is gone.
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let _ = waiting.await;
}
