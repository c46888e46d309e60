//! The process that carries packets where the kernel has no WireGuard.
//!
//! It holds the TUN interface and the private key and does what the daemon says over a unix
//! socket. It outlives the daemon, so a restart or an upgrade cuts no connection of a container;
//! the next daemon adopts it. It ends when it is told to, when its interface is deleted, or when
//! another helper has taken its place.

pub(crate) mod device;
mod offload;
pub(crate) mod protocol;
mod serve;
mod sys;
mod tun;
mod udp;

pub use protocol::VERSION;

use crate::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A task that does not end within this ends with the process.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// The helper's files below a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Its directory.
    pub(crate) directory: PathBuf,
    /// Where it listens.
    pub(crate) socket: PathBuf,
    /// Locked while it lives; holds its process id.
    pub(crate) lock: PathBuf,
    /// What it has to say.
    pub(crate) log: PathBuf,
}

impl Files {
    pub(crate) fn below(data_dir: &Path) -> Files {
        let directory = data_dir.join("mesh");
        Files {
            socket: directory.join("helper.sock"),
            lock: directory.join("helper.lock"),
            log: directory.join("helper.log"),
            directory,
        }
    }
}

/// What the helper is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The daemon's data directory.
    pub(crate) data_dir: PathBuf,
    /// Name of the interface.
    pub(crate) interface: String,
    /// UDP port.
    pub(crate) port: u16,
}

impl Arguments {
    pub(crate) fn to_words(&self) -> [OsString; 6] {
        [
            "--data-dir".into(),
            self.data_dir.clone().into(),
            "--interface".into(),
            self.interface.clone().into(),
            "--port".into(),
            self.port.to_string().into(),
        ]
    }

    fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, Error> {
        let (mut data_dir, mut interface, mut port) = (None, None, None);
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let name = word.to_string_lossy().into_owned();
            let missing = || Error::Helper(format!("{name} needs a value"));
            let value = words.next().ok_or_else(missing)?;
            match name.as_str() {
                "--data-dir" => data_dir = Some(PathBuf::from(value)),
                "--interface" => interface = value.into_string().ok(),
                "--port" => port = value.to_str().and_then(|text| text.parse().ok()),
                _ => return Err(Error::Helper(format!("{name} is not known"))),
            }
        }
        let missing = |what: &str| Error::Helper(format!("{what} is missing"));
        Ok(Arguments {
            data_dir: data_dir.ok_or_else(|| missing("--data-dir"))?,
            interface: interface.ok_or_else(|| missing("--interface"))?,
            port: port.ok_or_else(|| missing("--port"))?,
        })
    }
}

/// The whole life of a helper: what `jacod mesh-helper` runs with the words after the verb.
///
/// It runs on threads of its own and returns when it was told to stop.
///
/// # Errors
/// When the arguments are wrong, another helper lives, the key cannot be read, the interface or
/// the socket cannot be made, or the interface was deleted.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let arguments = Arguments::parse(args)?;
    // It must not get the signals of the daemon's terminal. Fails for a leader of a group, which
    // has a group of its own already.
    let _ = rustix::process::setsid();
    let files = Files::below(&arguments.data_dir);
    let lock = serve::lock(&files)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::io("start threads"))?;
    let ended = runtime.block_on(serve::serve(&arguments, &files));
    // The tunnel's tasks hold its port and its interface until they are dropped. Whoever gets the
    // lock takes both, so it is given up after them.
    runtime.shutdown_timeout(LAST_TASKS);
    drop(lock);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        let arguments = Arguments {
            data_dir: PathBuf::from("/var/lib/jaco"),
            interface: "wg-jaco".to_owned(),
            port: 51820,
        };
        assert_eq!(Arguments::parse(arguments.to_words()).unwrap(), arguments);
    }

    #[test]
    fn wrong_words_are_refused() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for text in [
            "",
            "--data-dir",
            "--data-dir /d --interface wg",
            "--data-dir /d --interface wg --port 70000",
            "--data-dir /d --interface wg --port 1 --other 2",
        ] {
            assert!(Arguments::parse(words(text)).is_err(), "{text}");
        }
    }
}
